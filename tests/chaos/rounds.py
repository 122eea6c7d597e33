"""The rounds: a victim and a moment drawn at random, a kill, and whoever is in charge brings it back."""

import dataclasses
import itertools
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import structlog

from service.jobs.states import JobState
from tests.chaos import findings
from tests.chaos.clients import Clients
from tests.chaos.report import Round
from tests.chaos.subject import Subject, Victim
from tests.integration.sweep_attempts import training_steps

log = structlog.get_logger()

WEIGHTS = {
    Victim.API: 28,
    Victim.POSTGRESQL: 28,
    Victim.MLFLOW: 16,
    Victim.CHILD: 10,
    Victim.WORKER: 10,
    Victim.RAY: 8,
}
"""An attempt takes seconds to start, a Ray head still more: were they killed in every round, nothing would be trained,
and there would be little to lose. So three quarters of the rounds kill what a training must outlive."""
UNWAITED = Victim.MLFLOW
"""takes seconds to start and is on nobody's way, so the rounds go on meanwhile"""
LONGEST_PAUSE_S = 2.0
"""before a kill at any time"""
WHILE_TRAINING = 0.7
"""share of the kills of an attempt that wait until it has trained for a while"""
MOST_REPORTS = 8
MOMENT_TIMEOUT_S = 60.0
"""an attempt that has not come so far by then is killed where it is"""
RETURN_TIMEOUT_S = 300.0


class Broken(Exception):
    """The service does not come back."""


class Chaos:
    """Kills parts of the subject, one a round.

    Args:
        subject: the service.
        clients: who use it meanwhile.
        chance: draws victims and moments.
    """

    def __init__(self, subject: Subject, clients: Clients, chance: random.Random) -> None:
        self._subject = subject
        self._clients = clients
        self._chance = chance
        self._returning: dict[int, Future[float]] = {}
        self.broken: list[str] = []

    def rounds(self, victims: Sequence[Victim]) -> Iterator[Round]:
        """Each round once it is over, and the last when everything is back.

        Raises:
            Broken: what was killed has not come back.
        """
        with ThreadPoolExecutor(1) as aside:
            for number, victim in enumerate(victims, 1):
                done = self._round(number, victim, aside)
                log.info("chaos.round", **dataclasses.asdict(done))
                yield done

    def returned(self, rounds: Sequence[Round]) -> list[Round]:
        """The rounds, also with how long that took for which no round waited.

        Raises:
            Broken: it has not come back.
        """
        told = {number: returning.result() for number, returning in self._returning.items()}
        return [
            dataclasses.replace(done, back_after_s=told[done.number]) if done.number in told else done
            for done in rounds
        ]

    def _round(self, number: int, victim: Victim, aside: ThreadPoolExecutor) -> Round:
        began = time.monotonic()
        if victim is UNWAITED:
            self.returned(())
        self._await_moment(victim)
        at_work = self._subject.at_work()
        session = None if victim in (Victim.POSTGRESQL, Victim.CHILD) else self._subject.session(victim)
        killed_at, at_ms = time.monotonic(), time.time_ns() // 1_000_000
        killed = self._subject.kill(victim, self._chance)
        if killed is None:
            return Round(number, victim, None, at_ms, None, time.monotonic() - began, False)
        if victim is Victim.POSTGRESQL:
            time.sleep(self._chance.uniform(0, 2))
            self._subject.start_database(timeout_s=RETURN_TIMEOUT_S)
        back_after_s = None
        if victim is UNWAITED:
            self._returning[number] = aside.submit(self._back_after, victim, session, killed_at)
        elif victim is not Victim.CHILD:
            back_after_s = self._back_after(victim, session, killed_at)
        self._look()
        ended_an_attempt = victim.ends_an_attempt and at_work is not None
        return Round(number, victim, killed, at_ms, back_after_s, time.monotonic() - began, ended_an_attempt)

    def _await_moment(self, victim: Victim) -> None:
        """Any time; of what takes an attempt along, mostly one at which it has trained a little."""
        more_s = self._chance.uniform(0, LONGEST_PAUSE_S)
        while_training, reports = self._chance.random() < WHILE_TRAINING, self._chance.randint(1, MOST_REPORTS)
        if victim.ends_an_attempt and while_training:
            self._await_moment_of(victim, lambda: self._reports() >= reports)
            more_s /= LONGEST_PAUSE_S
        elif victim is Victim.CHILD:
            self._await_moment_of(victim, self._has_child)
        time.sleep(more_s)

    def _await_moment_of(self, victim: Victim, come: Callable[[], bool]) -> None:
        deadline = time.monotonic() + MOMENT_TIMEOUT_S
        while not come():
            time.sleep(0.1)
            if time.monotonic() > deadline:
                log.info("chaos.moment_missed", victim=victim)
                return

    def _has_child(self) -> bool:
        at_work = self._subject.at_work()
        return at_work is not None and at_work.pid is not None

    def _reports(self) -> int:
        at_work = self._subject.at_work()
        return 0 if at_work is None else len(training_steps(self._subject.attempt(at_work)))

    def _back_after(self, victim: Victim, session: int | None, killed_at_s: float) -> float:
        """Seconds from the kill until it, or what was started in its place, does its work."""
        while not self._subject.is_back(victim, session_before=session):
            self._subject.embedded.wait(0.1)
            if time.monotonic() - killed_at_s > RETURN_TIMEOUT_S:
                raise Broken(f"{victim} was killed and has not come back within {RETURN_TIMEOUT_S:.0f} s")
        return time.monotonic() - killed_at_s

    def _look(self) -> None:
        """What must hold at any moment."""
        answered = [dataclasses.replace(asked) for asked in self._clients.asked]
        jobs = self._subject.jobs()
        self.broken += findings.lost_jobs(answered, jobs)
        for job in jobs.values():
            self.broken += findings.broken_trail(job.job_id, self._subject.trail(job.job_id))


def drawn(rounds: int, chance: random.Random, weights: Mapping[Victim, float]) -> list[Victim]:
    """Whom to kill, round by round: each victim once as far as there are rounds, the others by weight."""
    victims = list(itertools.islice(weights, rounds))
    victims += chance.choices(list(weights), list(weights.values()), k=rounds - len(victims))
    chance.shuffle(victims)
    return victims


def trained_again(subject: Subject, rounds: Sequence[Round], job_ids: Sequence[str]) -> list[Round]:
    """The rounds, with how long each kill of an attempt kept the service from training."""
    began_ms = sorted(
        round(event.at.timestamp() * 1000)
        for job_id in job_ids
        for event in subject.trail(job_id)
        if event.to_state is JobState.RUNNING
    )
    told = []
    for done in rounds:
        after = next((at_ms for at_ms in began_ms if at_ms > done.at_ms), None) if done.ended_an_attempt else None
        told.append(dataclasses.replace(done, trains_after_s=None if after is None else (after - done.at_ms) / 1000))
    return told
