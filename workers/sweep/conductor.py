"""Which trial is trained next, which goes on, and what has ended: a sweep's ledger, kept while Tune trains.

The ledger is the folders of the runs: run.json says that a trial exists, found.json that it has ended, and rungs.json
who went on. Each is written before anything follows from it, so an attempt that begins after a kill at any moment knows
all trials there are, goes on with the unfinished ones and draws exactly those that are missing.
"""

import logging
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sdcn_core.training.plan import plan_stages
from service.errors import InvalidSpec
from service.jobs.base_spec import Overrides
from service.jobs.runs import PlannedRun
from service.jobs.states import FailureReason
from service.jobs.study_results import RunFailure, RunFound, RunState
from service.jobs.sweep_spec import OptunaSearch, RandomSearch, SweepSpec
from workers.failures import failure_of
from workers.sweep.drawing import PastTrial, optuna_draw, random_draw
from workers.sweep.halving import SuccessiveHalving, read_decisions, write_decisions
from workers.sweep.ledger import Ledger, drawn_name
from workers.sweep.probes import known_runs
from workers.sweep.reports import Reported, series_of
from workers.sweep.results import best_run
from workers.training.order import RunOrder

log = logging.getLogger(__name__)


class Conductor:
    """See Desk in workers.ray_runtime.tune_adapters.

    Args:
        spec: resolved.
        ledger: the trials that there are; written to from here alone.
        rungs: the file that keeps what was decided at them.
        is_stopping: whether the attempt was asked to end; then no run is handed out.
        is_last_attempt: nobody comes after this one, so a run whose process is lost has failed.
        tell: takes a sentence for the log.
    """

    def __init__(
        self,
        spec: SweepSpec,
        ledger: Ledger,
        *,
        rungs: Path,
        is_stopping: Callable[[], bool],
        is_last_attempt: bool,
        tell: Callable[[str], None],
    ) -> None:
        self._spec = spec
        self._ledger = ledger
        self._rungs = rungs
        self._is_stopping = is_stopping
        self._is_last_attempt = is_last_attempt
        self._tell = tell
        self._known = known_runs(spec)
        self._halving = _halving(spec, rungs)
        self._settle_earlier()
        self._waiting = deque(run for run in ledger.runs() if ledger.found(run.name) is None)
        self.at_work: dict[str, PlannedRun] = {}
        self.lost: dict[str, BaseException] = {}
        """runs whose process vanished, or that failed for another passing reason: the next attempt goes on with them"""

    # --- what Tune asks

    def next_run(self) -> RunOrder | None:
        if self._is_stopping():
            return None
        run = self._waiting.popleft() if self._waiting else self._new_run()
        if run is None:
            return None
        self.at_work[run.name] = run
        return self._ledger.order(run)

    def goes_on(self, run: str, step: int, value: float) -> bool:
        if self._halving is None:
            return True
        planned = self.at_work[run]
        last_step = plan_stages(planned.experiment)[-1].end_step
        decision = self._halving.decide(run, step, value, last_step=last_step)
        if decision is None:
            return True
        write_decisions(self._rungs, self._halving.decided)
        if not decision.goes_on:
            self._stop_early(planned)
        return decision.goes_on

    def ended(self, run: str, error: BaseException | None) -> None:
        planned = self.at_work.pop(run)
        found = self._ledger.found(run)
        if found is not None:
            self._settle(found)
        elif error is not None:
            self._fail(planned, error)
        if found is not None or error is not None:
            self._tell(self.sentence())

    # --- how it stands

    def is_complete(self) -> bool:
        return len(self.found()) == self._spec.num_trials

    def found(self) -> tuple[RunFound, ...]:
        """What has ended, in the order of the trials' numbers."""
        return tuple(found for run in self._ledger.runs() if (found := self._ledger.found(run.name)) is not None)

    def sentence(self) -> str:
        """For example: "5 of 12 trials ended, 2 stopped early; best eval/mean_ap 0.41, trial-003"."""
        found = self.found()
        counts = {state: sum(run.state is state for run in found) for state in RunState}
        text = f"{len(found)} of {self._spec.num_trials} trials ended"
        if counts[RunState.STOPPED_EARLY]:
            text += f", {counts[RunState.STOPPED_EARLY]} stopped early"
        if counts[RunState.FAILED]:
            text += f", {counts[RunState.FAILED]} failed"
        name = best_run(self._spec.goal, found)
        best = next((run for run in found if run.name == name), None)
        if best is not None:
            text += f"; best {self._spec.metric} {best.value:.4g}, {best.name}"
        return text

    # --- new trials

    def _new_run(self) -> PlannedRun | None:
        """The trial after those that are written down, written down; None: there are all of them."""
        while (number := len(past := self._ledger.runs())) < self._spec.num_trials:
            if self._known is not None:
                run = self._known[number]
                self._ledger.write(run)
                return run
            overrides = self._draw(number, past)
            name = drawn_name(number)
            try:
                run = self._spec.run_of(name, overrides, self._spec.seeds[0])
            except InvalidSpec as error:  # each value alone was tried when the job was submitted
                self._refuse(
                    PlannedRun(name, name, self._spec.seeds[0], overrides, self._spec.resolved_experiment), error
                )
                continue
            self._ledger.write(run)
            return run
        return None

    def _draw(self, number: int, past: tuple[PlannedRun, ...]) -> Overrides:
        search = self._spec.search
        if isinstance(search, RandomSearch):
            return random_draw(self._spec.space, seed=search.seed, number=number)
        assert isinstance(search, OptunaSearch)  # the others are known in advance
        return optuna_draw(
            self._spec.space,
            [self._past_trial(run) for run in past],
            goal=self._spec.goal,
            seed=search.seed,
            number=number,
        )

    def _past_trial(self, run: PlannedRun) -> PastTrial:
        found = self._ledger.found(run.name)
        if found is None:
            return PastTrial(dict(run.overrides), None, None)
        stopped = found.state is RunState.STOPPED_EARLY
        reports = series_of(self._ledger.folder(run.name).path, self._spec.metric) if stopped else {}
        return PastTrial(found.overrides, found.state, found.value, reports)

    def _refuse(self, run: PlannedRun, error: InvalidSpec) -> None:
        """A trial that cannot be composed counts as one that failed; its record shows the sweep's own experiment."""
        self._ledger.write(run)
        self._ledger.write_found(
            _found(run, RunState.FAILED, failure=RunFailure(reason=FailureReason.BAD_INPUT, message=str(error)))
        )
        self._tell(f"{run.name} cannot be composed: {error}")

    # --- ends

    def _settle_earlier(self) -> None:
        """Finish what an earlier attempt had decided but not written down when it was killed."""
        stopped = {} if self._halving is None else self._halving.stopped()
        for run in self._ledger.runs():
            self._ledger.folder(run.name).forget_passing_failure()
            found = self._ledger.found(run.name)
            if found is not None:
                self._settle(found)
            elif run.name in stopped:
                self._stop_early(run)

    def _settle(self, found: RunFound) -> None:
        """A trial without a value is none: it failed."""
        if found.state is not RunState.SUCCEEDED or found.value is not None:
            return
        reported = Reported.of(self._ledger.folder(found.name).path).last
        known = ", ".join(sorted(reported)) or "none"
        message = f"metric {self._spec.metric} was never reported; there are: {known}"
        failure = RunFailure(reason=FailureReason.BAD_INPUT, message=message)
        self._ledger.write_found(found.model_copy(update={"state": RunState.FAILED, "failure": failure}))

    def _stop_early(self, run: PlannedRun) -> None:
        """Its process is about to be ended by Tune, or is gone: it writes nothing any more."""
        reported = Reported.of(self._ledger.folder(run.name).path)
        self._ledger.write_found(
            _found(
                run,
                RunState.STOPPED_EARLY,
                value=reported.last.get(self._spec.metric),
                global_step=reported.global_step,
                train_seconds=reported.seconds,
            )
        )

    def _fail(self, run: PlannedRun, error: BaseException) -> None:
        failed = failure_of(error)
        log.error("%s failed: %s", run.name, failed.message, exc_info=error)
        if failed.reason.is_retryable and not self._is_last_attempt:
            self.lost[run.name] = error
            self._tell(f"{run.name} was lost and is tried again by the next attempt: {failed.message}")
            return
        reported = Reported.of(self._ledger.folder(run.name).path)
        self._ledger.write_found(
            _found(
                run,
                RunState.FAILED,
                failure=RunFailure(reason=failed.reason, message=failed.message),
                global_step=reported.global_step,
                train_seconds=reported.seconds,
            )
        )


def _halving(spec: SweepSpec, rungs: Path) -> SuccessiveHalving | None:
    stopping = spec.early_stopping
    if stopping is None:
        return None
    return SuccessiveHalving(
        stopping.grace_steps, stopping.reduction_factor, stopping.goal or spec.goal, read_decisions(rungs)
    )


def _found(run: PlannedRun, state: RunState, **measured: Any) -> RunFound:  # noqa: ANN401 - RunFound's own fields
    return RunFound(
        name=run.name, variant=run.variant, seed=run.seed, overrides=dict(run.overrides), state=state, **measured
    )
