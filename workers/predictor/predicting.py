"""A request's images through a model: all are read and checked first, then predicted one by one."""

import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
import structlog
from numpy.typing import NDArray

from sdcn_core.data.images import decode_image
from sdcn_core.errors import DatasetError, SdcnError, SearchBusy
from service.errors import FieldProblem
from service.jobs.answers import ImageRead, PredictionsRead
from workers.predictor.errors import ImagesRefused, ModelUnusable, PredictorBusy
from workers.predictor.models import ModelShelf
from workers.predictor.settings import PredictorSettings

log = structlog.get_logger()


@dataclass(frozen=True)
class UploadedImage:
    file: str
    """as the client calls it"""
    content: BinaryIO
    """its bytes, in memory or in a temporary file"""


@dataclass(frozen=True)
class Wishes:
    """What a client asks of a prediction."""

    model_id: str
    score_threshold: float
    max_boxes: int
    fast: bool


class ImagePredictor:
    """Carries out requests; threads may share it.

    Args:
        settings: bounds of a request.
        shelf: the models.
        stopping: once set, requests end after the image they are at.
    """

    def __init__(self, settings: PredictorSettings, shelf: ModelShelf, stopping: threading.Event) -> None:
        self._settings = settings
        self._shelf = shelf
        self._stopping = stopping
        self._places = threading.BoundedSemaphore(settings.predictor_max_requests)

    def predict(self, wishes: Wishes, images: Sequence[UploadedImage]) -> PredictionsRead:
        """The boxes of all images.

        Raises:
            ImagesRefused: some cannot be used; nothing was predicted.
            ModelNotFound, ModelUnusable: see `ModelShelf.lent`.
            PredictorBusy: too many requests, others had the model or searched their images too long, or the process
                ends.
        """
        if not self._places.acquire(blocking=False):
            raise PredictorBusy(
                f"{self._settings.predictor_max_requests} requests are before this one: try again when they are done"
            )
        try:
            return self._predict(wishes, images)
        finally:
            self._places.release()

    def _predict(self, wishes: Wishes, images: Sequence[UploadedImage]) -> PredictionsRead:
        self._check(images)
        came = time.perf_counter()
        with self._shelf.lent(wishes.model_id, wait_s=self._settings.predictor_wait_s) as predictor:
            began = time.perf_counter()
            waited_s = began - came
            found = []
            for image in images:
                if self._stopping.is_set():
                    raise PredictorBusy("the predictor is about to end: try again when it is back")
                try:
                    prediction = predictor.predict(
                        self._decoded(image),
                        score_threshold=wishes.score_threshold,
                        max_boxes=wishes.max_boxes,
                        fast=wishes.fast,
                        wait_s=max(0.0, self._settings.predictor_wait_s - waited_s),
                    )
                except SearchBusy as error:
                    raise PredictorBusy(str(error)) from error
                except SdcnError as error:
                    raise ModelUnusable(f"model {wishes.model_id}, image {image.file}: {error}") from error
                waited_s += prediction.waited_s
                found.append(ImageRead.model_validate({"file": image.file, **prediction.to_json()}))
            log.info(
                "predictor.predicted",
                model=wishes.model_id,
                images=len(found),
                boxes=sum(len(image.boxes) for image in found),
                waited_s=round(waited_s, 3),
                seconds=round(time.perf_counter() - came - waited_s, 3),
            )
            return PredictionsRead(model=wishes.model_id, model_sha256=predictor.sha256, images=tuple(found))

    def _check(self, images: Sequence[UploadedImage]) -> None:
        """Refuse the request if one image cannot be used. Decoded images are not kept: all at once would fill memory
        that decoding again takes milliseconds to save.
        """
        most = self._settings.predictor_max_images
        if not 1 <= len(images) <= most:
            problem = FieldProblem("images", f"1 to {most} images are predicted at once, not {len(images)}")
            raise ImagesRefused(problem.message, (problem,))
        problems = []
        for index, image in enumerate(images):
            try:
                height, width = self._decoded(image).shape[:2]
            except DatasetError as error:
                problems.append(FieldProblem(f"images.{index}", str(error)))
                continue
            if height * width > self._settings.predictor_max_image_pixels:
                problems.append(
                    FieldProblem(
                        f"images.{index}",
                        f"image {image.file} has {width} x {height} pixels, more than"
                        f" {self._settings.predictor_max_image_pixels}: make it smaller",
                    )
                )
        if problems:
            raise ImagesRefused("; ".join(problem.message for problem in problems[:5]), tuple(problems))

    def _decoded(self, image: UploadedImage) -> NDArray[np.uint8]:
        most = self._settings.predictor_max_image_bytes
        image.content.seek(0)
        encoded = image.content.read(most + 1)
        if len(encoded) > most:
            raise DatasetError(f"image {image.file} has more than {most} bytes: make it smaller")
        return decode_image(encoded, Path(image.file))
