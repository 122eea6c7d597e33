"""Which trial is trained next, which goes on, and what has ended: a sweep's ledger, kept while Tune trains.

The ledger is the folders of the runs: run.json says that a trial exists, found.json that it has ended, and rungs.json
who went on. Each is written before anything follows from it, so an attempt that begins after a kill at any moment knows
all trials there are, goes on with the unfinished ones and draws exactly those that are missing.
"""

import logging
from collections import Counter, deque
from collections.abc import Callable
from pathlib import Path

from sdcn_core.config.data import DataConfig
from sdcn_core.errors import BadInput
from sdcn_core.training.plan import plan_stages
from service.errors import InvalidSpec
from service.jobs.base_spec import Overrides
from service.jobs.runs import PlannedRun
from service.jobs.states import FailureReason
from service.jobs.study_results import RunFailure, RunFound, RunState
from service.jobs.sweep_spec import OptunaSearch, RandomSearch, SweepSpec
from workers.errors import AttemptStopped
from workers.study.piece_queue import TRIES
from workers.study.run import ended, run_failure
from workers.sweep.drawing import PastTrial, optuna_draw, random_draw
from workers.sweep.halving import SuccessiveHalving, read_decisions, write_decisions
from workers.sweep.ledger import Ledger, drawn_name
from workers.sweep.probes import known_runs
from workers.sweep.results import best_run
from workers.training.order import RunOrder
from workers.training.said import said_in

log = logging.getLogger(__name__)


class Conductor:
    """See Desk in workers.ray_runtime.tune_adapters.

    Args:
        spec: resolved.
        ledger: the trials that there are; written to from here alone while Tune trains.
        rungs: the file that keeps what was decided at them.
        is_stopping: whether the attempt was asked to end; then no run is handed out.
        prepare: makes the data of a run ready; quick where they are.
        tell: takes a sentence for the log.
    """

    def __init__(
        self,
        spec: SweepSpec,
        ledger: Ledger,
        *,
        rungs: Path,
        is_stopping: Callable[[], bool],
        prepare: Callable[[DataConfig], None],
        tell: Callable[[str], None],
    ) -> None:
        self._spec = spec
        self._ledger = ledger
        self._rungs = rungs
        self._is_stopping = is_stopping
        self._prepare = prepare
        self._tell = tell
        self._known = known_runs(spec)
        self._halving = _halving(spec, rungs)
        self._runs = {run.name: run for run in ledger.runs()}
        self._found = {name: found for name in self._runs if (found := ledger.found(name)) is not None}
        self._settle_earlier()
        self._waiting = deque(name for name in self._runs if name not in self._found)
        self._at_work: dict[str, PlannedRun] = {}
        self._tries: Counter[str] = Counter()

    # --- what Tune asks

    def next_run(self) -> RunOrder | None:
        while not self._is_stopping():
            run = self._runs[self._waiting.popleft()] if self._waiting else self._new_run()
            if run is None:
                return None
            try:
                self._prepare(run.experiment.data)
            except AttemptStopped:
                return None
            except BadInput as error:
                self._end(run, RunState.FAILED, run_failure(error))
                continue
            self._at_work[run.name] = run
            return self._ledger.order(run)
        return None

    def is_over(self) -> bool:
        all_are_drawn = len(self._runs) == self._spec.num_trials
        return self._is_stopping() or (all_are_drawn and not self._waiting and not self._at_work)

    def goes_on(self, run: str, step: int, value: float) -> bool:
        if self._halving is None:
            return True
        if run in self._found:  # the driver of a group reports until the group has left off
            return False
        planned = self._runs[run]
        last_step = plan_stages(planned.experiment)[-1].end_step
        decision = self._halving.decide(run, step, value, last_step=last_step)
        if decision is None:
            return True
        write_decisions(self._rungs, self._halving.decided)
        if not decision.goes_on:  # its process waits for this verdict, and lets what is written here stand
            self._end(planned, RunState.STOPPED_EARLY)
        return decision.goes_on

    def ended(self, run: str, error: BaseException | None) -> None:
        planned = self._at_work.pop(run)
        if run not in self._found:
            found = self._ledger.found(run)
            if found is not None:
                self._settle(found)
            elif error is not None:
                self._fail(planned, error)
        if run in self._found:
            self._remove_checkpoints(run)
            self._tell(self.sentence())

    # --- how it stands

    @property
    def at_work(self) -> tuple[str, ...]:
        return tuple(self._at_work)

    @property
    def runs(self) -> tuple[PlannedRun, ...]:
        """All that are written down, in the order of their numbers."""
        return tuple(self._runs.values())

    @property
    def found(self) -> tuple[RunFound, ...]:
        """What has ended, in the order of the trials' numbers."""
        return tuple(self._found[name] for name in self._runs if name in self._found)

    @property
    def is_complete(self) -> bool:
        return len(self._found) == self._spec.num_trials

    def sentence(self) -> str:
        """For example: "5 of 12 trials ended, 2 stopped early; best eval/mean_ap 0.41, trial-003"."""
        counts = Counter(run.state for run in self.found)
        text = f"{len(self._found)} of {self._spec.num_trials} trials ended"
        for state in (RunState.STOPPED_EARLY, RunState.FAILED):
            if counts[state]:
                text += f", {counts[state]} {state.replace('_', ' ')}"
        best = best_run(self._spec.goal, self.found)
        return text if best is None else f"{text}; best {self._spec.metric} {self._found[best].value:.4g}, {best}"

    # --- new trials

    def _new_run(self) -> PlannedRun | None:
        """The trial after those that are written down, written down; None: there are all of them."""
        while (number := len(self._runs)) < self._spec.num_trials:
            if self._known is not None:
                return self._write(self._known[number])
            name, overrides = drawn_name(number), self._draw(number)
            try:
                return self._write(self._spec.run_of(name, overrides, self._spec.seeds[0]))
            except InvalidSpec as error:  # each value alone was tried when the job was submitted
                self._refuse(name, overrides, error)
        return None

    def _write(self, run: PlannedRun) -> PlannedRun:
        self._ledger.write(run)
        self._runs[run.name] = run
        return run

    def _draw(self, number: int) -> Overrides:
        search = self._spec.search
        if isinstance(search, RandomSearch):
            return random_draw(self._spec.space, seed=search.seed, number=number)
        assert isinstance(search, OptunaSearch)  # the others are known in advance
        past = [self._past_trial(run) for run in self._runs.values()]
        return optuna_draw(self._spec.space, past, goal=self._spec.goal, seed=search.seed, number=number)

    def _past_trial(self, run: PlannedRun) -> PastTrial:
        found = self._found.get(run.name)
        if found is None:
            return PastTrial(dict(run.overrides), None, None)
        reports = {} if found.value is None else {found.global_step: found.value}
        return PastTrial(found.overrides, found.state, found.value, reports)

    def _refuse(self, name: str, overrides: Overrides, error: InvalidSpec) -> None:
        """A trial that cannot be composed counts as one that failed; its record shows the sweep's own experiment."""
        run = self._write(PlannedRun(name, name, self._spec.seeds[0], overrides, self._spec.resolved_experiment))
        self._end(run, RunState.FAILED, RunFailure(reason=FailureReason.BAD_INPUT, message=str(error)))
        self._tell(f"{name} cannot be composed: {error}")

    # --- ends

    def _settle_earlier(self) -> None:
        """Finish what an earlier attempt had decided but not written down when it was killed."""
        stopped = {} if self._halving is None else self._halving.stopped()
        for name, run in self._runs.items():
            if name in self._found:
                self._settle(self._found[name])
            elif name in stopped:
                self._end(run, RunState.STOPPED_EARLY)
            self._remove_checkpoints(name)

    def _remove_checkpoints(self, name: str) -> None:
        """A trial that was stopped early is ended with its process, before that comes to do it."""
        folder = self._ledger.folder(name)
        if folder.has_ended_for_good:
            folder.remove_checkpoints(self._ledger.order(self._runs[name]).storage)

    def _settle(self, found: RunFound) -> None:
        """Take note of what a run's own process has found. Without a value of the metric it has failed."""
        if found.state is RunState.SUCCEEDED and found.value is None:
            known = ", ".join(sorted(said_in(self._ledger.folder(found.name).path).values)) or "none"
            message = f"metric {self._spec.metric} was never reported; there are: {known}"
            if found.judgement is not None and (missing := found.judgement.without_boxes_sentence()):
                message = f"{missing}; compare by another metric: {message}"
            failure = RunFailure(reason=FailureReason.BAD_INPUT, message=message)
            found = found.model_copy(update={"state": RunState.FAILED, "failure": failure})
            self._ledger.write_found(found)
        self._found[found.name] = found

    def _fail(self, run: PlannedRun, error: BaseException) -> None:
        failure = run_failure(error)
        self._tries[run.name] += 1
        if failure.reason.is_retryable and self._tries[run.name] < TRIES:
            log.warning("%s is tried again: %s", run.name, failure.message)
            self._waiting.append(run.name)
        else:
            log.error("%s failed: %s", run.name, failure.message)
            self._end(run, RunState.FAILED, failure)

    def _end(self, run: PlannedRun, state: RunState, failure: RunFailure | None = None) -> None:
        found = ended(self._ledger.order(run), state, failure=failure)
        self._ledger.write_found(found)
        self._found[run.name] = found


def _halving(spec: SweepSpec, rungs: Path) -> SuccessiveHalving | None:
    stopping = spec.early_stopping
    if stopping is None:
        return None
    return SuccessiveHalving(
        stopping.grace_steps, stopping.reduction_factor, stopping.goal or spec.goal, read_decisions(rungs)
    )
