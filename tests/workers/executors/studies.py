"""Studies without Ray and without a training: a piece that is trained is a found.json, or a state in the store."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from types import ModuleType, SimpleNamespace

import pytest

from sdcn_core.config.data import DataConfig
from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.errors import BadInput, DatasetError
from service.jobs.states import FailureReason
from service.jobs.study_results import RunFailure, RunState
from workers.errors import TrainingProcessLost
from workers.executors.base import JobContext
from workers.ray_runtime.resources import Share
from workers.ray_runtime.tune_adapters import Desk
from workers.study.piece_queue import PieceQueue
from workers.study.run import ended
from workers.study.run_folder import StudyRunFolder
from workers.training.order import RunOrder, TrainingOrder

LOST = RunFailure(reason=FailureReason.LOST_WORKER, message="the node is gone")


class Trainings:
    """What happens to the pieces of a study, in place of Ray.

    Args:
        patch: to put it there.
        executor: the module of the study's executor.
        broken: whether data cannot be used.
    """

    def __init__(
        self, patch: pytest.MonkeyPatch, executor: ModuleType, *, broken: Callable[[DataConfig], bool] = lambda _: False
    ) -> None:
        self.failing: Mapping[str, RunFailure] = {}
        """runs that fail, however often they are tried"""
        self.stages: list[ExperimentConfig] = []
        """what shared stages were trained with"""
        self.runs: list[str] = []
        self._broken = broken
        patch.setattr(executor, "connected", self._connected)
        patch.setattr(executor, "share_of_study", lambda *_: Share(1, 1, 0))
        patch.setattr(executor, "side_by_side", lambda *_: 1)
        patch.setattr(executor, "prepare_distinct", self._prepared)
        patch.setattr(executor, "work_off", self._work_off)
        patch.setattr(executor, "trainable", lambda *_: None, raising=False)
        patch.setattr(executor, "run_trials", self._run_trials, raising=False)

    @contextmanager
    def _connected(self, *_: object) -> Iterator[SimpleNamespace]:
        yield SimpleNamespace(driver_job_id="01000000")

    def _prepared(self, context: JobContext, configurations: Iterable[DataConfig]) -> dict[str, BadInput]:
        return {data.digest(): DatasetError("no proposals") for data in configurations if self._broken(data)}

    def _work_off(self, queue: PieceQueue, *, given_up: Callable[[str], None], **_: object) -> None:
        while not queue.is_over:
            for piece in queue.start_due():
                for name in queue.ended(piece.name, self._train(piece.order)):
                    given_up(name)

    def _run_trials(self, desk: Desk, *_: object, **__: object) -> None:
        while (order := desk.next_run()) is not None:
            failure = self._train(order)
            desk.ended(order.name, None if failure is None else TrainingProcessLost(failure.message))

    def _train(self, order: TrainingOrder) -> RunFailure | None:
        if not isinstance(order, RunOrder):
            self.stages.append(order.experiment)
            return None
        self.runs.append(order.name)
        (order.checkpoints / "step-000000008-0").mkdir(parents=True, exist_ok=True)
        order.folder.work.mkdir(parents=True, exist_ok=True)
        if order.name in self.failing:
            return self.failing[order.name]
        found = ended(order, RunState.SUCCEEDED)
        value = None if order.metric is None else 0.5
        StudyRunFolder(order.run_path).write_found(found.model_copy(update={"value": value}))
        return None
