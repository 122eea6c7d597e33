"""Tune's three interfaces as one: a desk that says what is trained next, what goes on, and hears what has ended.

Tune starts trials, watches over them and gives their CPUs to others. It keeps nothing that matters: its trials carry a
run's name, and all that is known of a run lies with the desk.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from ray import cloudpickle
from ray.tune import Callback
from ray.tune.progress_reporter import TrialProgressCallback
from ray.tune.schedulers import FIFOScheduler, TrialScheduler
from ray.tune.search import Searcher

from workers.errors import OutOfMemory, TrainingProcessLost
from workers.memory_events import oom_kills
from workers.ray_runtime.failures import translated
from workers.ray_runtime.task_pool import KILLED_FOR_MEMORY
from workers.training.order import RunOrder

RUN = "run"
"""in a trial's configuration: the name of its run"""

ORDER = "order"
"""in a trial's configuration: the RunOrder as JSON"""

STEP = "global_step"
VALUE = "value"
"""in a trial's reports: the metric by which trials are stopped early"""

FAILED = "ERROR"
"""Tune's status of a trial that ended with an error"""


class Desk(Protocol):
    """Who keeps a sweep's trials. Called on the driver's main thread only."""

    def next_run(self) -> RunOrder | None:
        """The run that is to be trained next, written down; None: none now."""
        ...

    @property
    def at_work(self) -> tuple[str, ...]:
        """The names of the runs that were handed out and have not ended."""
        ...

    def is_over(self) -> bool:
        """Whether no run will be due any more."""
        ...

    def goes_on(self, run: str, step: int, value: float) -> bool:
        """Take note of a report; False: the run ends here, or has ended, and that is written down."""
        ...

    def ended(self, run: str, error: BaseException | None) -> None:
        """The run's process is through with it; `error` is what went wrong, where it did not say so itself."""
        ...


class DeskSearcher(Searcher):
    """Asks the desk for runs, while fewer than `concurrent` are at work.

    Tune's own limit is not told of every trial that ends with an error, and would wait for it for ever.
    """

    def __init__(self, desk: Desk, concurrent: int) -> None:
        super().__init__()
        self._desk = desk
        self._concurrent = concurrent

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:
        if len(self._desk.at_work) >= self._concurrent:
            return None
        order = self._desk.next_run()
        if order is not None:
            return {RUN: order.name, ORDER: order.model_dump_json()}
        return Searcher.FINISHED if self._desk.is_over() else None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """The desk hears of it by DeskCallback."""


class DeskScheduler(FIFOScheduler):
    """Asks the desk whether a trial goes on.

    Args:
        desk: answers.
        ends_processes: whether the process of a trial that does not go on is ended, which gives its CPUs back. Not so
            where it drives a group of processes: with their driver gone, nobody would give back theirs. Such a trial
            learns from the desk's record that it has ended, and leaves by itself.
    """

    def __init__(self, desk: Desk, *, ends_processes: bool) -> None:
        super().__init__()
        self._desk = desk
        self._ends_processes = ends_processes

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:  # noqa: ANN401
        goes_on = VALUE not in result or self._desk.goes_on(trial.config[RUN], result[STEP], result[VALUE])
        return str(TrialScheduler.CONTINUE if goes_on or not self._ends_processes else TrialScheduler.STOP)


class DeskCallback(Callback):
    """Tells the desk that a trial has ended; Tune calls it before it asks for the next one."""

    def __init__(self, desk: Desk, tick: Callable[[], None]) -> None:
        self._desk = desk
        self._tick = tick
        self._kills = oom_kills() or 0
        self._ended_trials: set[str] = set()
        self.broken: Exception | None = None
        """what went wrong at the desk itself, which Tune would take for a failure of the trial"""

    def on_step_end(self, iteration: int, trials: list[Any], **info: Any) -> None:  # noqa: ANN401
        for trial in trials:
            # One whose process could not be taken over from the trial before it ends without any other call.
            if trial.status == FAILED and trial.trial_id not in self._ended_trials:
                self.on_trial_error(iteration, trials, trial)
        self._tick()

    def on_trial_complete(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ANN401
        self._ended(trial, None)

    def on_trial_error(self, iteration: int, trials: list[Any], trial: Any, **info: Any) -> None:  # noqa: ANN401
        error = translated(_error_of(trial))
        kills = oom_kills() or 0
        if isinstance(error, TrainingProcessLost) and kills > self._kills:
            error = OutOfMemory(KILLED_FOR_MEMORY)
        self._kills = kills
        self._ended(trial, error)

    def _ended(self, trial: Any, error: BaseException | None) -> None:  # noqa: ANN401
        self._ended_trials.add(trial.trial_id)
        try:
            self._desk.ended(trial.config[RUN], error)
        except Exception as broken:
            self.broken = self.broken or broken
            raise


class Quiet(TrialProgressCallback):
    """Where it is, Tune adds none of the kind, which would print every result."""

    def on_trial_result(self, *args: Any, **info: Any) -> None:  # noqa: ANN401
        pass

    def on_trial_error(self, *args: Any, **info: Any) -> None:  # noqa: ANN401
        pass

    def on_trial_complete(self, *args: Any, **info: Any) -> None:  # noqa: ANN401
        pass


def _error_of(trial: Any) -> BaseException:  # noqa: ANN401 - Tune's Trial
    """What ended the trial: Tune, in this very process, has left it in a file a moment ago, and nowhere else."""
    try:
        error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    except (OSError, TypeError):
        return TrainingProcessLost("a trial ended without saying why")
    assert isinstance(error, BaseException)
    return error
