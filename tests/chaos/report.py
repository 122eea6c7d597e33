"""What a run of chaos tells: a line a round, and a table at the end."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from service.queue.records import Job
from tests.chaos.findings import Resumption
from tests.chaos.subject import Victim


@dataclass(frozen=True)
class Round:
    """One kill."""

    number: int
    victim: Victim
    killed: str | None
    """what exactly; None: nothing was there"""
    at_ms: int
    """since 1970"""
    back_after_s: float | None
    """until the part did its work again; None of a child, which is not started again, and while it is not known"""
    seconds: float
    """of the whole round, waiting for its moment included"""
    ended_an_attempt: bool
    """whether an attempt was at work that died with it"""
    trains_after_s: float | None = None
    """until an attempt was at work again; None: nothing was left to do"""


def line(done: Round, *, rounds: int, open_jobs: int, eta_s: float) -> str:
    back = "" if done.back_after_s is None else f", back after {done.back_after_s:.1f} s"
    return (
        f"round {done.number}/{rounds}: {done.victim}: killed {done.killed or 'nothing, as none was there'}{back};"
        f" {done.seconds:.1f} s; {open_jobs} jobs open; about {eta_s / 60:.0f} min left"
    )


def table(rounds: Sequence[Round], jobs: Sequence[Job], resumed: Sequence[Resumption]) -> str:
    """Markdown."""
    lines = [
        "| killed | times | back after (s), median | worst | trains again after (s), median | worst |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for victim in Victim:
        of_it = [done for done in rounds if done.victim is victim and done.killed]
        back = [done.back_after_s for done in of_it if done.back_after_s is not None]
        trains = [done.trains_after_s for done in of_it if done.trains_after_s is not None]
        lines.append(f"| {victim} | {len(of_it)} | {_median_and_worst(back)} | {_median_and_worst(trains)} |")
    states = sorted({job.state for job in jobs})
    ends = ", ".join(f"{sum(job.state is state for job in jobs)} {state}" for state in states)
    lost = [one.steps_lost for one in resumed]
    lines += [
        "",
        "| jobs | attempts | went on from a checkpoint | steps lost, median | worst |",
        "| --- | --- | --- | --- | --- |",
        f"| {len(jobs)} ({ends}) | {sum(job.attempt for job in jobs)} | {sum(one.began_at > 0 for one in resumed)} of"
        f" {len(resumed)} | {_median_and_worst(lost)} |",
    ]
    return "\n".join(lines)


def _median_and_worst(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.1f} | {max(values):.1f}" if values else " | "
