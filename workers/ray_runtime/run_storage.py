"""Ray Train's memory of a run, guarded: it writes its list of checkpoints in place, so a kill can leave half a file.

Ray refuses to go on from such a file. A copy made after each checkpoint takes its place; it names checkpoints that
still exist, because Ray deletes old ones only after the new list is written.
"""

import json
import logging

from service.checkpoint_storage import Place, asked, named_so, remove, replace_file
from service.run_files.checkpoints import PREFIX

log = logging.getLogger(__name__)

SNAPSHOT = "checkpoint_manager_snapshot.json"
COPY = "checkpoint_manager_snapshot.last.json"


def keep_copy_of_snapshot(storage: Place) -> None:
    """Remember the list of checkpoints as it is now."""
    snapshot = storage / SNAPSHOT
    if _is_usable(snapshot):
        replace_file(storage / COPY, snapshot.read_bytes())


def mend_snapshot(storage: Place) -> None:
    """Before a run goes on: put the copy in the place of a broken list, or take the list away if both are useless.

    Checkpoints that no list names were cut off while they were written, and are removed.

    Args:
        storage: where Ray keeps the run.

    Raises:
        CheckpointsUnavailable: it is in a store that does not answer.
    """
    with asked(storage):
        _mend(storage)


def _mend(storage: Place) -> None:
    snapshot, copy = storage / SNAPSHOT, storage / COPY
    try:
        snapshot.read_bytes()
    except FileNotFoundError:
        return
    if _is_usable(snapshot):
        named = _named(snapshot)
        for folder in named_so(storage, PREFIX):
            if folder.name not in named:
                remove(folder)
        return
    snapshot.unlink()
    if _is_usable(copy):
        log.warning("the list of checkpoints in %s was broken; going on with its last copy", storage)
        replace_file(snapshot, copy.read_bytes())
    else:
        log.warning("the list of checkpoints in %s was broken and has no copy; starting anew", storage)


def _is_usable(snapshot: Place) -> bool:
    """Whether it is whole and every checkpoint it names is there."""
    try:
        named = _named(snapshot)
    except (FileNotFoundError, ValueError, KeyError, TypeError):  # what cannot be read just now may be sound
        return False
    return named <= {folder.name for folder in named_so(snapshot.parent, PREFIX)}


def _named(snapshot: Place) -> set[str]:
    return {entry["checkpoint_dir_name"] for entry in json.loads(snapshot.read_bytes())["checkpoint_results"]}
