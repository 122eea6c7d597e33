"""A trained model that finds objects in images that it is handed, as it was judged: same proposals, scales and NMS."""

import time
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from sdcn_core.config.evaluation import SEARCH_SIDE_PX, EvaluationConfig
from sdcn_core.data.images import MAX_PIXELS
from sdcn_core.errors import BadInput, WeightsError
from sdcn_core.evaluation.detections import detections_by_protocol
from sdcn_core.evaluation.inference import score_proposals, search_side
from sdcn_core.evaluation.scored_boxes import ScoredBoxes
from sdcn_core.inference.prediction import FoundBox, Prediction, Seconds
from sdcn_core.inference.proposing import propose, turn_to_search
from sdcn_core.models.saved import SavedModel, load_model
from sdcn_core.structures.outputs import ScoredProposals


class Predictor:
    """One model in memory. Not for two threads at once: the caller takes turns.

    Args:
        saved: the model; the predictor moves it to the device.
        device: where the network computes; proposals are searched for on the CPU.
        search_side_px: larger images are searched at this longest side where the model has no test scales.
    """

    def __init__(
        self, saved: SavedModel, *, device: torch.device | None = None, search_side_px: int = SEARCH_SIDE_PX
    ) -> None:
        self._device = torch.device("cpu") if device is None else device
        self._network = saved.network.to(self._device)
        self._data = saved.experiment.data
        self._testing = saved.experiment.evaluation
        self._search_side_px = search_side_px
        self.classes = saved.classes
        self.sha256 = saved.sha256
        """of the model's file"""
        # The first pass compiles or loads kernels; nobody's image should wait for it.
        self._scores(torch.zeros(1, 3, 32, 32), torch.tensor([[0.0, 0.0, 32.0, 32.0]]))

    @classmethod
    def load(
        cls, model_path: Path, *, device: torch.device | None = None, search_side_px: int = SEARCH_SIDE_PX
    ) -> "Predictor":
        """The predictor of a training's model.pt.

        Raises:
            WeightsError: the file is missing, damaged or no such model.
        """
        return cls(load_model(model_path), device=device, search_side_px=search_side_px)

    @property
    def weight_bytes(self) -> int:
        """Memory that parameters and buffers take."""
        return sum(tensor.numel() * tensor.element_size() for tensor in self._network.state_dict().values())

    def predict(
        self,
        image: NDArray[np.uint8],
        *,
        score_threshold: float,
        max_boxes: int,
        fast: bool = False,
        wait_s: float | None = None,
    ) -> Prediction:
        """The objects in an image.

        By OICR's protocol a judged split keeps only its best boxes of a class over all images; here an image stands
        alone, so all enter suppression that a class may have.

        Args:
            image: (H, W, 3) RGB; also (H, W), (H, W, 1) grey and (H, W, 4), whose alpha is dropped.
            score_threshold: boxes with lower scores are left out, in [0, 1].
            max_boxes: at most this many are returned, the best ones, >= 1.
            fast: one scale, the middle one, and no mirror image.
            wait_s: how long to wait while others search images in this process; None: as long as it takes.

        Returns:
            Without detections where Selective Search finds no box that the experiment's settings keep.

        Raises:
            BadInput: the array is no such image, or has more than MAX_PIXELS pixels.
            SearchBusy: others searched all the time.
            WeightsError: the network's scores are not finite.
        """
        if not 0 <= score_threshold <= 1 or max_boxes < 1:
            raise ValueError(
                f"score_threshold must lie in [0, 1] and max_boxes be 1 or more, got {score_threshold}, {max_boxes}"
            )
        pixels = as_rgb(image)
        height, width = pixels.shape[:2]
        came = time.perf_counter()
        with turn_to_search(wait_s):
            began = time.perf_counter()
            boxes = propose(pixels, self._data.proposals, max_side_px=self._searched_side(height, width))
            proposed = time.perf_counter()
        found = self._score_all(pixels, boxes, fast=fast)
        scored = time.perf_counter()
        detections = self._select(found, score_threshold=score_threshold, max_boxes=max_boxes)
        ended = time.perf_counter()
        seconds = Seconds(proposals=proposed - began, network=scored - proposed, nms=ended - scored)
        return Prediction(width, height, detections, len(boxes), seconds, waited_s=began - came)

    def _searched_side(self, height: int, width: int) -> int:
        return search_side(
            height,
            width,
            config=self._testing,
            max_side_px=self._data.max_side_px,
            unscaled_px=self._search_side_px,
        )

    def _score_all(self, pixels: NDArray[np.uint8], boxes: NDArray[np.float32], *, fast: bool) -> ScoredBoxes:
        if len(boxes) == 0:
            return ScoredBoxes(np.zeros((0, len(self.classes)), np.float32), boxes)
        testing = _one_pass(self._testing) if fast else self._testing
        found = score_proposals(self._scores, pixels, boxes, config=testing, max_side_px=self._data.max_side_px)
        if not (np.isfinite(found.scores).all() and np.isfinite(found.boxes).all()):
            raise WeightsError(
                f"model {self.sha256[:12]}: its scores are not finite; its weights are spoilt: train it again with a"
                " lower learning rate or with clip_norm"
            )
        return found

    def _scores(self, image: Tensor, boxes: Tensor) -> ScoredProposals:
        return self._network.detect(image.to(self._device), (boxes.to(self._device),))[0]

    def _select(self, scored: ScoredBoxes, *, score_threshold: float, max_boxes: int) -> tuple[FoundBox, ...]:
        alone = self._testing.model_copy(update={"boxes_per_image_cap": self._testing.boxes_per_class})
        (found,) = detections_by_protocol([""], [scored.scores], [scored.boxes], alone)
        best = np.argsort(-found.scores, kind="stable")[:max_boxes]
        return tuple(
            FoundBox(self.classes[found.classes[i]], float(found.scores[i]), _edges(found.boxes[i]))
            for i in best
            if found.scores[i] >= score_threshold
        )


def as_rgb(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image as (H, W, 3): grey on all channels, alpha dropped.

    Raises:
        BadInput: it is of another type or shape, empty, or has more than MAX_PIXELS pixels.
    """
    if image.dtype != np.uint8:
        raise BadInput(f"an image has values of type uint8, not {image.dtype}: scale it to 0 to 255")
    plane = image[..., None] if image.ndim == 2 else image
    if plane.ndim != 3 or plane.shape[2] not in (1, 3, 4) or 0 in plane.shape:
        raise BadInput(f"an image is (H, W), or (H, W, channels) with 1, 3 or 4 channels, not {image.shape}")
    height, width, channels = plane.shape
    if height * width > MAX_PIXELS:
        raise BadInput(f"the image has {width} x {height} pixels, more than {MAX_PIXELS}: make it smaller")
    if channels == 1:
        return np.asarray(cv2.cvtColor(plane, cv2.COLOR_GRAY2RGB), np.uint8)
    return np.ascontiguousarray(plane[:, :, :3])


def _one_pass(testing: EvaluationConfig) -> EvaluationConfig:
    scales = testing.test_scales_px
    middle = None if scales is None or not scales else (sorted(scales)[len(scales) // 2],)
    return testing.model_copy(update={"test_scales_px": middle, "flip": False})


def _edges(box: NDArray[np.float32]) -> tuple[float, float, float, float]:
    x1, y1, x2, y2 = map(float, box)
    return x1, y1, x2, y2
