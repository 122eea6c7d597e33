"""The batches of a training: which images a step sees, at which scale, mirrored or not, with which proposals.

All of it is a function of (seed, stream, step, position in the step). No state is kept, so none is lost: a resumed run
reads on where it was, and the ranks of a step share among them what a single rank would have seen.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Generator, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from pathlib import Path
from threading import Lock
from zlib import crc32

import numpy as np
import torch
from numpy.typing import NDArray

from sdcn_core.config.data import DataConfig
from sdcn_core.data.image_set import ImageRecord, ImageSet
from sdcn_core.data.images import read_image
from sdcn_core.data.proposals import ProposalStore
from sdcn_core.data.transforms import distinct, flip, resize, scale_factor
from sdcn_core.errors import BadInput
from sdcn_core.structures.pseudo_boxes import PseudoBoxes
from sdcn_core.structures.sample import Batch

STEPS_READ_AHEAD = 3
IMAGE_CACHE_BYTES = 512 * 2**20
_PASS_ORDER, _SAMPLE = 0, 1
"""first word of a seed, so that an order and a sample never draw the same numbers"""


class TrainingBatches:
    """One rank's share of every step of a stage.

    Args:
        image_set: the training split.
        proposals: of its images; None: batches carry none (learning image labels).
        pseudo_boxes: of a second stage, what another detector found in each image; None: batches carry none.
        config: scales, flips, sampled proposals.
        images_per_step: over all ranks, a multiple of world_size.
        seed: the experiment's.
        rank: this process.
        world_size: processes that share a step.

    Raises:
        BadInput: images_per_step cannot be shared evenly.
    """

    def __init__(
        self,
        image_set: ImageSet,
        proposals: ProposalStore | None,
        config: DataConfig,
        *,
        images_per_step: int,
        seed: int,
        rank: int,
        world_size: int,
        pseudo_boxes: Mapping[str, PseudoBoxes] | None = None,
    ) -> None:
        if images_per_step % world_size:
            raise BadInput(
                f"images_per_step is {images_per_step}, which {world_size} workers cannot share evenly:"
                f" make it a multiple of {world_size}"
            )
        self._image_set = image_set
        self._proposals = proposals
        self._pseudo_boxes = pseudo_boxes
        self._config = config
        self._images_per_step = images_per_step
        self._seed = seed
        self._positions = range(rank, images_per_step, world_size)
        self._images = _ImageCache(IMAGE_CACHE_BYTES)
        self._pass_order = lru_cache(maxsize=2)(self._draw_pass_order)

    def at(self, stream: str, step: int) -> tuple[Batch, ...]:
        """This rank's images of the step as batches of equal image size, in order of first appearance.

        Args:
            stream: the stage; different streams draw independently.
            step: from 0, within the stream.

        Raises:
            DatasetError: an image cannot be read; the message names the file.
        """
        by_size: defaultdict[tuple[int, int], list[_Sample]] = defaultdict(list)
        for position in self._positions:
            sample = self._sample(stream, step, position)
            by_size[sample.image.shape[:2]].append(sample)
        return tuple(self._collate(samples) for samples in by_size.values())

    def iterate(self, stream: str, start: int, stop: int) -> Generator[tuple[Batch, ...], None, None]:
        """`at` for each step in [start, stop), read ahead by a thread; closing the iterator ends the thread."""
        with ThreadPoolExecutor(1, thread_name_prefix="batches") as pool:
            ahead = [pool.submit(self.at, stream, step) for step in range(start, min(start + STEPS_READ_AHEAD, stop))]
            try:
                for step in range(start, stop):
                    batches = ahead.pop(0).result()
                    if step + STEPS_READ_AHEAD < stop:
                        ahead.append(pool.submit(self.at, stream, step + STEPS_READ_AHEAD))
                    yield batches
            finally:
                for pending in ahead:
                    pending.cancel()

    def _sample(self, stream: str, step: int, position: int) -> "_Sample":
        number = step * self._images_per_step + position
        of_pass, place = divmod(number, len(self._image_set.records))
        record = self._image_set.records[self._pass_order(stream, of_pass)[place]]
        draw = np.random.default_rng([_SAMPLE, self._seed, crc32(stream.encode()), step, position])
        image = self._images.read(record.path)
        boxes = np.zeros((0, 4), np.float32) if self._proposals is None else self._proposals[record.image_id]
        config = self._config
        scales = config.train_scales_px
        side_px = None if scales is None else int(scales[draw.integers(len(scales))])
        factor = scale_factor(*image.shape[:2], side_px=side_px, side=config.train_side, max_side_px=config.max_side_px)
        found = PseudoBoxes.none() if self._pseudo_boxes is None else self._pseudo_boxes[record.image_id]
        count = len(boxes)
        image, moved = resize(image, np.concatenate([boxes, found.boxes]), factor)
        if config.flip and draw.random() < 0.5:
            image, moved = flip(image, moved)
        boxes, pseudo_boxes = moved[:count], moved[count:]
        # Shuffled before thinning, as in OICR: which of several equal boxes stays is a matter of chance.
        boxes = boxes[draw.permutation(len(boxes))]
        if config.dedup_px is not None and len(boxes):
            boxes = boxes[distinct(boxes, config.dedup_px)]
        if config.sampled_proposals is not None:
            boxes = boxes[: config.sampled_proposals]
        return _Sample(record, image, boxes, pseudo_boxes, found.classes)

    def _draw_pass_order(self, stream: str, of_pass: int) -> NDArray[np.int64]:
        draw = np.random.default_rng([_PASS_ORDER, self._seed, crc32(stream.encode()), of_pass])
        return draw.permutation(len(self._image_set.records))

    def _collate(self, samples: list["_Sample"]) -> Batch:
        labels = torch.zeros(len(samples), len(self._image_set.classes))
        for row, sample in zip(labels, samples, strict=True):
            row[list(sample.record.labels)] = 1.0
        pixels = np.stack([sample.image for sample in samples])  # (B, H, W, 3)
        taught = self._pseudo_boxes is not None
        return Batch(
            image_ids=tuple(sample.record.image_id for sample in samples),
            images=torch.from_numpy(pixels).permute(0, 3, 1, 2).float(),
            proposals=() if self._proposals is None else tuple(torch.from_numpy(sample.boxes) for sample in samples),
            image_labels=labels,
            pseudo_boxes=tuple(torch.from_numpy(sample.pseudo_boxes) for sample in samples) if taught else (),
            pseudo_classes=tuple(torch.from_numpy(sample.pseudo_classes) for sample in samples) if taught else (),
        )


class _Sample:
    """One image as a step sees it."""

    def __init__(
        self,
        record: ImageRecord,
        image: NDArray[np.uint8],
        boxes: NDArray[np.float32],
        pseudo_boxes: NDArray[np.float32],
        pseudo_classes: NDArray[np.int64],
    ) -> None:
        self.record = record
        self.image = image
        self.boxes = boxes
        self.pseudo_boxes = pseudo_boxes
        self.pseudo_classes = pseudo_classes


class _ImageCache:
    """Decoded images, the latest used, up to so many bytes: a small data set is decoded once."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._bytes = 0
        self._images: OrderedDict[Path, NDArray[np.uint8]] = OrderedDict()
        self._lock = Lock()

    def read(self, path: Path) -> NDArray[np.uint8]:
        with self._lock:
            if path in self._images:
                self._images.move_to_end(path)
                return self._images[path]
        image = read_image(path)
        with self._lock:
            if path not in self._images:
                self._images[path] = image
                self._bytes += image.nbytes
            while self._bytes > self._max_bytes and len(self._images) > 1:
                self._bytes -= self._images.popitem(last=False)[1].nbytes
        return image
