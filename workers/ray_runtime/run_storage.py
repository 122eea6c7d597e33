"""Ray Train's memory of a run, guarded: it writes its list of checkpoints in place, so a kill can leave half a file.

Ray refuses to go on from such a file. A copy made after each checkpoint takes its place; it names checkpoints that
still exist, because Ray deletes old ones only after the new list is written.
"""

import json
import logging
import shutil
from pathlib import Path

from service.run_files.checkpoints import PREFIX

log = logging.getLogger(__name__)

SNAPSHOT = "checkpoint_manager_snapshot.json"
COPY = "checkpoint_manager_snapshot.last.json"


def keep_copy_of_snapshot(run_path: Path) -> None:
    """Remember the list of checkpoints as it is now."""
    snapshot = run_path / SNAPSHOT
    if _is_usable(snapshot):
        partial = run_path / f".{COPY}.partial"
        shutil.copyfile(snapshot, partial)
        partial.replace(run_path / COPY)


def mend_snapshot(run_path: Path) -> None:
    """Before a run goes on: put the copy in the place of a broken list, or take the list away if both are useless.

    Checkpoints that no list names were cut off while they were written, and are removed.
    """
    snapshot, copy = run_path / SNAPSHOT, run_path / COPY
    if not snapshot.exists():
        return
    if _is_usable(snapshot):
        named = _named(snapshot)
        for folder in run_path.glob(f"{PREFIX}*"):
            if folder.name not in named:
                shutil.rmtree(folder)
        return
    snapshot.unlink()
    if _is_usable(copy):
        log.warning("the list of checkpoints in %s was broken; going on with its last copy", run_path)
        shutil.copyfile(copy, snapshot)
    else:
        log.warning("the list of checkpoints in %s was broken and has no copy; starting anew", run_path)


def _is_usable(snapshot: Path) -> bool:
    """Whether it is whole and every checkpoint it names is there."""
    try:
        return all((snapshot.parent / name).is_dir() for name in _named(snapshot))
    except (OSError, ValueError, KeyError, TypeError):
        return False


def _named(snapshot: Path) -> set[str]:
    return {entry["checkpoint_dir_name"] for entry in json.loads(snapshot.read_bytes())["checkpoint_results"]}
