"""How long a job may stay in a state that somebody else must end."""

from dataclasses import dataclass

from service.jobs.states import JobState


@dataclass(frozen=True)
class Deadlines:
    """Seconds in each state under a lease. A worker that keeps its lease but does not move its job is stuck, too."""

    claimed_s: float = 120
    """until the child process is started"""
    starting_s: float = 900
    """until the child says its first word; Ray starts meanwhile"""
    stopping_s: float = 300
    """until the child, asked to stop, is gone"""
    grace_s: float = 60
    """beyond a deadline, for the worker to act, before the job is taken from it"""

    def at(self, state: JobState, *, now: int, ran_ms: int, max_runtime_s: float | None) -> int | None:
        """When a job that comes to the state now must have left it, ms; None: it may stay.

        Args:
            state: where it comes to.
            now: the database's time, ms.
            ran_ms: how long it has run before.
            max_runtime_s: how long it may run in all; None: for ever.
        """
        match state:
            case JobState.CLAIMED:
                return now + milliseconds(self.claimed_s)
            case JobState.STARTING:
                return now + milliseconds(self.starting_s)
            case JobState.STOPPING:
                return now + milliseconds(self.stopping_s)
            case JobState.RUNNING if max_runtime_s is not None:
                return now + max(0, milliseconds(max_runtime_s) - ran_ms)
            case _:
                return None


def milliseconds(seconds: float) -> int:
    return round(seconds * 1000)
