"""Proposals of a split: read from a file, or computed once, in parallel, and kept on disk by the image's content and
the search's settings.
"""

import hashlib
import json
import multiprocessing
import os
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray

from sdcn_core.config.data import ProposalConfig, ProposalFileConfig, SelectiveSearchConfig
from sdcn_core.data.datasets import DataRoots
from sdcn_core.data.image_set import ImageRecord, ImageSet
from sdcn_core.data.images import read_image_bytes
from sdcn_core.data.proposal_files import read_proposals
from sdcn_core.data.selective_search import begin_process, search_file
from sdcn_core.errors import DatasetError

Boxes = NDArray[np.float32]


@dataclass(frozen=True)
class ProposalStore:
    """Boxes by image id: store[image_id] is (N, 4) float32 xyxy px, half-open, N >= 1."""

    boxes: Mapping[str, Boxes]

    def __getitem__(self, image_id: str, /) -> Boxes:
        return self.boxes[image_id]

    def __len__(self) -> int:
        return len(self.boxes)


def compute_proposals(
    image_set: ImageSet,
    config: ProposalConfig,
    *,
    roots: DataRoots,
    processes: int,
    progress: Callable[[int, int], None],
) -> ProposalStore:
    """The proposals of all images: of a file, or of a search; what the cache holds is read, the rest is searched for.

    Args:
        image_set: whose images.
        config: the file or the search.
        roots: what the file lies below, and the folder of the cache, which is made when needed.
        processes: that search; 1 searches in this one.
        progress: called with (images done, images to do); an exception it raises ends the search and its processes.

    Raises:
        DatasetError: an image is broken, or has no proposal, or the file of proposals is missing or broken; the message
            names the file.
    """
    if isinstance(config, ProposalFileConfig):
        progress(0, len(image_set.records))
        read = read_proposals(image_set, config, root=roots.data)
        progress(len(read), len(read))
        return ProposalStore(read)
    folder = roots.cache / "proposals" / search_digest(config)
    folder.mkdir(parents=True, exist_ok=True)
    total = len(image_set.records)
    boxes: dict[str, Boxes] = {}
    missing: list[tuple[ImageRecord, Path]] = []
    for record in image_set.records:
        kept = folder / f"{hashlib.sha256(read_image_bytes(record.path)).hexdigest()}.npy"
        cached = _read(kept)
        if cached is None:
            missing.append((record, kept))
        else:
            boxes[record.image_id] = cached
    progress(len(boxes), total)
    with _searches(missing, config, processes) as searches:
        for record, kept, found in searches:
            if len(found) == 0:
                raise DatasetError(
                    f"image {record.path}: Selective Search finds no box"
                    f"{f' with sides of {config.min_side_px} px or more' if config.min_side_px else ''}:"
                    " lower data.proposals.min_side_px, or take the image off the split list"
                )
            _write(kept, found)
            boxes[record.image_id] = found
            progress(len(boxes), total)
    return ProposalStore(boxes)


def search_digest(config: SelectiveSearchConfig) -> str:
    """Under which name the cache keeps the boxes of this search: by what decides them, so that it outlives new kinds of
    proposals.
    """
    settings = json.dumps(config.model_dump(mode="json", exclude={"kind"}), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(settings.encode()).hexdigest()[:12]


@contextmanager
def _searches(
    missing: list[tuple[ImageRecord, Path]], config: SelectiveSearchConfig, processes: int
) -> Iterator[Iterator[tuple[ImageRecord, Path, Boxes]]]:
    """What is found, as it is found; leaving the block early leaves no process."""
    settings = {
        "mode": config.mode,
        "max_side_px": config.max_image_side_px,
        "min_side_px": config.min_side_px,
        "limit": config.limit,
    }
    if processes == 1 or len(missing) <= 1:
        yield ((record, kept, search_file(record.path, **settings)) for record, kept in missing)  # type: ignore[arg-type]
        return
    # Spawned, not forked: this process may hold torch's and gRPC's threads.
    pool = ProcessPoolExecutor(
        min(processes, len(missing)), mp_context=multiprocessing.get_context("spawn"), initializer=begin_process
    )
    try:
        futures = {pool.submit(search_file, record.path, **settings): (record, kept) for record, kept in missing}  # type: ignore[arg-type]
        yield ((*futures[done], done.result()) for done in as_completed(futures))
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _read(path: Path) -> Boxes | None:
    """The cached boxes; None where there are none, or the file is damaged."""
    try:
        with path.open("rb") as file:
            boxes = np.lib.format.read_array(file, allow_pickle=False)  # np.load would open archives and pickles too
    except (OSError, ValueError, EOFError):
        return None
    is_sound = boxes.ndim == 2 and boxes.shape[1] == 4 and len(boxes) and boxes.dtype == np.float32
    return boxes if is_sound else None


def _write(path: Path, boxes: Boxes) -> None:
    partial = path.with_name(f".{path.name}.{os.getpid()}-{uuid4().hex}")
    with partial.open("wb") as file:
        np.save(file, boxes, allow_pickle=False)
    partial.replace(path)
