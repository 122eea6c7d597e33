"""How a job is run: claim it, start a child for the attempt, keep the lease, carry progress, settle what came of it.

Everything of an attempt is gone before it is settled, and nothing is written once the lease is lost: then the child is
ended first. The supervisor never trains and never imports Ray or MLflow, so neither can hang it.
"""

import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

import structlog

from service.disk import free_bytes
from service.errors import DatabaseUnavailable, LeaseLost, ServiceError
from service.jobs.specs import AblationSpec, JobSpec, SweepSpec
from service.jobs.states import Desired, FailureReason, JobState
from service.queue.records import Claim, Pulse, Settlement
from service.queue.repository import JobQueue
from workers.attempt_folder import AttemptFolder, AttemptOrder, RunFolder
from workers.child import Child
from workers.failures import failure_of
from workers.fence import seal_spools
from workers.lease import LeaseKeeper
from workers.log_bound import LogBound
from workers.memory_events import oom_kills
from workers.meter import Counted, WorkerMeter
from workers.orphans import end_earlier_attempts, end_orphans, remove_placement_groups
from workers.progress_pump import ProgressPump
from workers.ray_runtime import raylet_watch
from workers.settings import WorkerSettings
from workers.settlement import NEVER_BEGAN, TOO_LONG, StopCause, settlement_of
from workers.spool import SpoolReader
from workers.tracking.experiment_log import ExperimentLog

log = structlog.get_logger()

Written = TypeVar("Written")

NOTES = {
    StopCause.CANCEL: "cancelled on request",
    StopCause.PAUSE: "paused on request",
    StopCause.SHUTDOWN: "the worker is shutting down",
    StopCause.TOO_LONG: TOO_LONG,
    StopCause.NEVER_BEGAN: NEVER_BEGAN,
}
"""what the trail says of a child that was asked to stop"""

TICK_S = 0.1
UNREACHABLE_PAUSE_S = 1.0
ORPHANS_INTERVAL_S = 30.0


class Command(Protocol):
    """The command line of the child, for the attempt's folder and the supervisor's pid."""

    def __call__(self, folder: Path, parent_pid: int) -> Sequence[str]: ...


def attempt_command(folder: Path, parent_pid: int) -> Sequence[str]:
    return [sys.executable, "-m", "workers.attempt", str(folder), str(parent_pid)]


class Supervisor:
    """Runs jobs one after another. Create and use it on the process's main thread, which must outlive its children."""

    def __init__(
        self,
        settings: WorkerSettings,
        queue: JobQueue,
        experiment_log: ExperimentLog,
        *,
        worker_id: str,
        pid: int,
        drain: threading.Event,
        command: Command = attempt_command,
        meter: WorkerMeter | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._queue = queue
        self._log = experiment_log
        self._worker_id = worker_id
        self._pid = pid
        self._drain = drain
        self._command = command
        self._meter = meter or WorkerMeter(settings.home)
        self._monotonic = monotonic
        self._orphans_sought_at_s: float | None = None
        self._has_room = True

    def run(self) -> None:
        """Work until drained. A queue that cannot be reached is asked again after a pause."""
        while not self._drain.is_set():
            try:
                worked = self.run_once()
            except ServiceError as error:
                log.warning("worker.queue_unreachable", reason=str(error))
                worked = False
            if not worked:
                self._drain.wait(self._settings.poll_interval_s)

    def run_once(self) -> bool:
        """One look into the queue, and the whole attempt if something is due; whether something was.

        Raises:
            ServiceError: the queue cannot be asked.
        """
        self._end_orphans()
        if not self._finds_room():
            return False
        claimed_at_s = self._monotonic()
        claim = self._queue.claim(self._worker_id, lease_s=self._settings.lease_s)
        if claim is None:
            return False
        with structlog.contextvars.bound_contextvars(job_id=claim.job_id, attempt=claim.attempt):
            log.info("job.claimed", worker_id=self._worker_id)
            try:
                with LeaseKeeper(
                    self._queue,
                    claim,
                    lease_s=self._settings.lease_s,
                    interval_s=self._settings.heartbeat_interval_s,
                    claimed_at_s=claimed_at_s,
                    count=self._meter.count,
                    monotonic=self._monotonic,
                ) as lease:
                    self._attempt(claim, lease)
            except LeaseLost as error:
                self._meter.count(Counted.LEASES_LOST)
                log.warning("job.lease_lost", reason=str(error))
        return True

    def _end_orphans(self) -> None:
        now = self._monotonic()
        if self._orphans_sought_at_s is None or now - self._orphans_sought_at_s >= ORPHANS_INTERVAL_S:
            self._orphans_sought_at_s = now
            end_orphans(self._settings.home, self._queue)

    def _finds_room(self) -> bool:
        """Whether an attempt could write its files; on a full disk it would only use up one of the job's."""
        free = free_bytes(self._settings.home)
        has_room = free is None or free >= self._settings.min_free_bytes
        if has_room is not self._has_room:
            self._has_room = has_room
            tell = log.info if has_room else log.error
            tell("worker.disk", free_bytes=free, claims_jobs=has_room, needs_bytes=self._settings.min_free_bytes)
        return has_room

    # --- one attempt

    def _attempt(self, claim: Claim, lease: LeaseKeeper) -> None:
        """Run the attempt to its end and settle it.

        Raises:
            LeaseLost: the job is another worker's; every process of this attempt is gone.
        """
        run = RunFolder(self._settings.home, claim.job_id)
        folder = run.attempt(claim.attempt)
        scratch = Path(tempfile.mkdtemp(prefix="sdcn-"))
        try:
            try:
                self._prepare(claim, run, folder, scratch)
                self._log.begin(claim, run.path)
                settlement = self._supervise(claim, lease, folder, scratch)
            except LeaseLost:
                raise
            except Exception as error:  # the disk, a process table that is full, or a defect of ours
                log.exception("attempt.not_supervised")
                settlement = Settlement.retry(FailureReason.INFRASTRUCTURE, _sentence(error))
            self._log.flush(claim.job_id, timeout_s=self._settings.tracking_flush_timeout_s)
            self._settle(claim, lease, settlement)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
            shutil.rmtree(folder.work, ignore_errors=True)
            self._log.ended(claim.job_id)

    def _prepare(self, claim: Claim, run: RunFolder, folder: AttemptFolder, scratch: Path) -> None:
        settings = self._settings
        folder.path.mkdir(parents=True, exist_ok=True)
        end_earlier_attempts(run, before=claim.attempt)
        seal_spools(run.path, before=claim.attempt)
        folder.write_order(
            AttemptOrder(
                job_id=claim.job_id,
                attempt=claim.attempt,
                spec=claim.spec,
                spent=claim.spent,
                home=settings.home,
                checkpoints_url=settings.checkpoints_url,
                data_root=settings.resolved_data_root,
                weights_root=settings.resolved_weights_root,
                scratch=scratch,
                ray=settings.ray_order,
            )
        )

    def _supervise(self, claim: Claim, lease: LeaseKeeper, folder: AttemptFolder, scratch: Path) -> Settlement:
        """Start the child and stay with it until no process of it is left; the verdict.

        Raises:
            LeaseLost: the job is another worker's; every process of this attempt is gone.
        """
        kills_before = oom_kills()
        pump = ProgressPump(
            self._queue,
            claim,
            SpoolReader(folder.events),
            interval_s=self._settings.progress_interval_s,
            monotonic=self._monotonic,
        )
        child = Child(
            folder,
            self._command(folder.path, self._pid),
            mark=f"{claim.job_id}/{claim.attempt}",
            stop_grace_s=self._settings.stop_grace_s,
            interrupt_grace_s=self._settings.interrupt_grace_s,
            monotonic=self._monotonic,
        )
        log.info("attempt.started", pid=child.pid)
        lease.inform(child.hold)
        self._meter.attempt_began(child.session)
        causes: set[StopCause] = set()
        is_running = False
        log_bound = LogBound(folder.log)
        try:
            self._until_reachable(lease, lambda: self._queue.start(claim, pid=child.pid))
            while (exit_status := child.poll()) is None:
                self._check(lease)
                pump.pump()
                log_bound.keep()
                self._meter.steps(pump.steps_per_second)
                if pump.has_heard and not is_running:
                    self._until_reachable(lease, lambda: self._queue.begin_running(claim))
                    is_running = True
                for cause in self._causes(lease) - causes:
                    causes.add(cause)
                    self._ask_to_stop(claim, lease, child, cause)
                if _is_urgent(lease.pulse, causes):
                    child.end()
                child.press()
                time.sleep(TICK_S)
        finally:  # also when the lease is lost: first the child, then everything else
            self._meter.attempt_ended()
            if not child.end():
                log.error("attempt.processes_left", session=child.session.session_id)
            remove_placement_groups(folder)
            folder.session.unlink(missing_ok=True)
        log.info("attempt.ended", exit_status=exit_status)
        self._check(lease)
        pump.pump(last=True)
        return settlement_of(
            folder.read_outcome(),
            exit_status=exit_status,
            causes=causes | self._causes(lease),
            ray_is_lost=raylet_watch.is_lost(scratch),
            memory_kills=0 if _outlives_memory_kills(claim.spec) else (oom_kills() or 0) - (kills_before or 0),
        )

    def _causes(self, lease: LeaseKeeper) -> set[StopCause]:
        """Why the child should stop, as of now."""
        pulse = lease.pulse
        causes = {StopCause.SHUTDOWN} if self._drain.is_set() else set()
        if pulse.desired.is_end:
            causes.add(StopCause.CANCEL)
        if pulse.desired is Desired.PAUSE:
            causes.add(StopCause.PAUSE)
        if pulse.overdue and pulse.state is not JobState.STOPPING:
            causes.add(StopCause.TOO_LONG if pulse.state is JobState.RUNNING else StopCause.NEVER_BEGAN)
        return causes

    def _ask_to_stop(self, claim: Claim, lease: LeaseKeeper, child: Child, cause: StopCause) -> None:
        log.info("attempt.stopping", why=cause.name.lower())
        child.ask_to_stop()
        self._until_reachable(lease, lambda: self._queue.begin_stopping(claim, note=NOTES[cause]))

    def _settle(self, claim: Claim, lease: LeaseKeeper, settlement: Settlement) -> None:
        job = self._until_reachable(lease, lambda: self._queue.settle(claim, settlement))
        log.info("job.settled", state=job.state.value, reason=settlement.reason, message=settlement.message)

    def _until_reachable(self, lease: LeaseKeeper, write: Callable[[], Written]) -> Written:
        """Write to the queue, trying for as long as the lease lasts.

        Raises:
            LeaseLost: it did not last.
        """
        while True:
            self._check(lease)
            try:
                return write()
            except DatabaseUnavailable as error:
                log.warning("queue.unreachable", reason=str(error))
                time.sleep(UNREACHABLE_PAUSE_S)

    @staticmethod
    def _check(lease: LeaseKeeper) -> None:
        if lease.is_lost:
            raise LeaseLost("the lease could not be kept: another worker may have the job")


def _is_urgent(pulse: Pulse, causes: Collection[StopCause]) -> bool:
    """Whether the child must end at once, with whatever it does."""
    stuck = pulse.overdue and pulse.state is JobState.STOPPING
    return pulse.desired is Desired.KILL or stuck or StopCause.NEVER_BEGAN in causes


def _sentence(error: Exception) -> str:
    if isinstance(error, OSError):
        return failure_of(error).message
    return f"the worker could not carry out the attempt ({type(error).__name__}); its log says more"


def _outlives_memory_kills(spec: JobSpec) -> bool:
    """Whether the kernel's count over a whole attempt says nothing about its end. A study goes on without the run that
    was killed, and looks at the count itself whenever it loses one.
    """
    return isinstance(spec, AblationSpec | SweepSpec)
