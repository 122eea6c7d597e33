"""Models kept in memory: loaded when asked for, lent to one request at a time, dropped when others come."""

import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import structlog

from sdcn_core.errors import SdcnError
from sdcn_core.inference.predictor import Predictor
from service.errors import ModelNotFound
from service.models import MODEL_FILE
from workers.predictor.errors import ModelUnusable, PredictorBusy

log = structlog.get_logger()


_Stamp = tuple[int, int, int]
"""inode, size and time of change of a file: another one is another model"""


@dataclass
class _Place:
    """One model's, or that of one that is being loaded."""

    in_use: threading.Lock = field(default_factory=threading.Lock)
    predictor: Predictor | None = None
    stamp: _Stamp | None = None


class ModelShelf:
    """Models by their id, at most so many and of so many bytes; threads may share it.

    A model in use is never dropped, so with several in use there may be more for a moment.

    Args:
        runs: the folder of all jobs.
        max_models: >= 1.
        max_bytes: of all weights; the model used last stays even if it is larger.
        load: a model's file -> its predictor.
    """

    def __init__(self, runs: Path, *, max_models: int, max_bytes: int, load: Callable[[Path], Predictor]) -> None:
        self._runs = runs
        self._max_models = max_models
        self._max_bytes = max_bytes
        self._load = load
        self._guard = threading.Lock()
        self._places: OrderedDict[str, _Place] = OrderedDict()

    @property
    def in_memory(self) -> tuple[str, ...]:
        """Ids, the one used last at the end."""
        with self._guard:
            return tuple(model_id for model_id, place in self._places.items() if place.predictor is not None)

    @contextmanager
    def lent(self, model_id: str, *, wait_s: float) -> Iterator[Predictor]:
        """The model, for the caller alone until the end of the block; loaded anew if its file has changed.

        Args:
            model_id: JOB or JOB/RUN, checked against the pattern of ids.
            wait_s: how long to wait for others that have it.

        Raises:
            ModelNotFound: there is no such file.
            ModelUnusable: it cannot be loaded.
            PredictorBusy: others had it all the time.
        """
        path = self._path(model_id)
        place = self._taken(model_id, wait_s)
        try:
            yield self._loaded(place, model_id, path)
        finally:
            place.in_use.release()
            self._make_room()

    def _path(self, model_id: str) -> Path:
        job_id, _, run = model_id.partition("/")
        folder = self._runs / job_id / "runs" / run if run else self._runs / job_id
        path = folder / "artifacts" / MODEL_FILE
        # Through a link, too, nothing is read that lies elsewhere.
        if not path.is_file() or not path.resolve().is_relative_to(self._runs.resolve()):
            raise ModelNotFound(f"no training has left a model {model_id!r}; GET /v1/models lists those there are")
        return path

    def _taken(self, model_id: str, wait_s: float) -> _Place:
        """The model's place, locked."""
        until = time.monotonic() + wait_s
        while True:
            with self._guard:
                place = self._places.setdefault(model_id, _Place())
                self._places.move_to_end(model_id)
            if not place.in_use.acquire(timeout=max(0.0, until - time.monotonic())):
                raise PredictorBusy(
                    f"model {model_id} is in use by other requests and was not free within {wait_s:g} s: try again, or"
                    " send fewer images at once"
                )
            with self._guard:
                if self._places.get(model_id) is place:
                    return place
            place.in_use.release()  # dropped between the two: take the new one

    def _loaded(self, place: _Place, model_id: str, path: Path) -> Predictor:
        try:
            status = path.stat()
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            if place.predictor is None or place.stamp != stamp:
                began = time.perf_counter()
                place.predictor = None  # the old one goes before the new one takes memory
                place.predictor = self._load(path)
                place.stamp = stamp
                seconds = round(time.perf_counter() - began, 3)
                log.info("predictor.model_loaded", model=model_id, bytes=place.predictor.weight_bytes, seconds=seconds)
                self._make_room()
        except (SdcnError, OSError) as error:
            log.warning("predictor.model_refused", model=model_id, reason=str(error))
            # The reason names a path of this machine; clients know models by their ids.
            reason = str(error).replace(f"{self._runs}{os.sep}", "")
            raise ModelUnusable(f"model {model_id}: {reason}") from error
        return place.predictor

    def _make_room(self) -> None:
        """Drop models that nobody uses, those first that were used longest ago, until the rest is within bounds."""
        with self._guard:
            for model_id, place in list(self._places.items()):
                is_loaded = place.predictor is not None
                if is_loaded and (self._within_bounds() or model_id == next(reversed(self._places))):
                    continue
                if not place.in_use.acquire(blocking=False):
                    continue
                del self._places[model_id]
                place.in_use.release()
                if is_loaded:
                    log.info("predictor.model_dropped", model=model_id)

    def _within_bounds(self) -> bool:
        # Read once a place: a thread that loads a changed file sets it to None, without the guard.
        present = [found for place in self._places.values() if (found := place.predictor) is not None]
        return len(present) <= self._max_models and sum(p.weight_bytes for p in present) <= self._max_bytes
