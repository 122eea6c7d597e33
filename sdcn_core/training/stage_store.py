"""States after a stage on disk, by key: trained by one run, taken over by others."""

import hashlib
import logging
import os
import re
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import torch

from sdcn_core.models.tensor_files import save_durably
from sdcn_core.training.networks import Weights

log = logging.getLogger(__name__)

FORMAT_VERSION = 1
_KEY = re.compile(r"[0-9a-f]{12,64}")


@dataclass(frozen=True)
class StageState:
    """What a stage leaves behind: every stage starts fresh optimizers, so weights and nothing else."""

    classes: tuple[str, ...]
    """class index -> name, of the data that it was trained on"""
    networks: Weights
    """the parts that the stages so far have trained; a run initializes the others as it would have without"""


class StageStore:
    """A folder of states that several processes read and write.

    A key knows the configuration, not the files that it names: keep one store for one state of the data and weights
    roots, and for machines of one kind.

    Args:
        folder: made when needed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def find(self, key: str) -> Path | None:
        """The file of the key's state; None where there is none, or where it is damaged."""
        return None if self.load(key) is None else self._path(key)

    def load(self, key: str) -> StageState | None:
        """The key's state, on the CPU; None where there is none, or, with a warning, where it is damaged."""
        path = self._path(key)
        try:
            return _read(path, key)
        except FileNotFoundError:
            return None
        except Exception as error:  # whatever torch's unpickler stumbles over, the file is at fault
            log.warning("state %s cannot be used (%s): its stages are trained anew", path, error)
            return None

    def put(self, key: str, state: StageState) -> None:
        """Keep the state, whole or not at all; it replaces one that is there, which is the same or damaged."""
        path = self._path(key)
        self.folder.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.{os.getpid()}-{uuid4().hex}")
        content = {
            "format_version": FORMAT_VERSION,
            "sha256": _digest(key, state),
            "classes": list(state.classes),
            "networks": {part: dict(values) for part, values in state.networks.items()},
        }
        try:
            save_durably(content, partial)
            partial.replace(path)
        finally:
            partial.unlink(missing_ok=True)

    def _path(self, key: str) -> Path:
        if not _KEY.fullmatch(key):
            raise ValueError(f"{key!r} is no key of a stage: use what stage_key returns")
        return self.folder / f"{key}.pt"


def _read(path: Path, key: str) -> StageState:
    content = torch.load(path, map_location="cpu", weights_only=True)
    if content["format_version"] != FORMAT_VERSION:
        raise ValueError(f"its format is {content['format_version']}, not {FORMAT_VERSION}")
    state = StageState(tuple(content["classes"]), content["networks"])
    if content["sha256"] != _digest(key, state):
        raise ValueError("its sum is another")
    return state


def _digest(key: str, state: StageState) -> str:
    """Of the key and every class, name, type, shape and number: torch reads flipped bits without a word."""
    sums = hashlib.sha256(repr((key, state.classes)).encode())
    for part, values in sorted(state.networks.items()):
        for name, value in sorted(values.items()):
            sums.update(f"{part}.{name} {value.dtype} {tuple(value.shape)}".encode())
            sums.update(value.cpu().contiguous().flatten().view(torch.uint8).numpy().data)
    return sums.hexdigest()
