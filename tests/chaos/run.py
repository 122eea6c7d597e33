"""One run of chaos from its start to its verdict."""

import random
import subprocess
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mlflow.exceptions import MlflowException

from service.embedded.errors import EmbeddedError
from service.embedded.sweep import marked
from service.queue.records import Job
from tests.chaos import findings
from tests.chaos.clients import CHECKPOINT_EVERY_STEPS, Clients
from tests.chaos.findings import Resumption
from tests.chaos.postgres import postgres
from tests.chaos.report import Round, line, table
from tests.chaos.rounds import WEIGHTS, Broken, Chaos, drawn, trained_again
from tests.chaos.subject import Subject, Victim, running
from workers.tracking.mlflow_log import import_mlflow

LAST_JOBS_TIMEOUT_S = 1800.0
"""for what is open when nobody is killed any more; back-off may take minutes"""
SETTLING_TIMEOUT_S = 240.0
"""for MLflow's runs, Ray's CPUs and processes, which others put in order after a job has ended"""


@dataclass(frozen=True)
class Verdict:
    """What came of a run."""

    broken: tuple[str, ...]
    """sentences; empty: every promise was kept"""
    table: str


def run_chaos(
    home: Path,
    *,
    rounds: int,
    seed: int,
    weights: Mapping[Victim, float] = WEIGHTS,
    jobs: int | None = None,
    say: Callable[[str], None] = print,
) -> Verdict:
    """Start a service in the folder, kill it `rounds` times, let it finish, and judge.

    Args:
        home: an empty folder.
        rounds: kills.
        seed: of victims, moments and clients; a machine's own timing is not drawn.
        weights: how often each victim is drawn.
        jobs: that clients submit at most, and then leave alone; None: as many as the service takes.
        say: hears how it goes.
    """
    import_mlflow()
    victims = drawn(rounds, random.Random(f"victims {seed}"), weights)
    done: list[Round] = []
    found = _Found()
    with postgres() as database:
        try:
            say("starting the service")
            with running(home, database) as subject:
                say(f"started; {rounds} rounds with seed {seed} in {home}")
                url = subject.embedded.record.url
                with Clients(url, random.Random(f"clients {seed}"), jobs) as clients:
                    chaos = Chaos(subject, clients, random.Random(f"moments {seed}"))
                    for one in chaos.rounds(victims):
                        done.append(one)
                        eta_s = (rounds - len(done)) * sum(each.seconds for each in done) / len(done)
                        say(line(one, rounds=rounds, open_jobs=len(clients.open), eta_s=eta_s))
                    done = chaos.returned(done)
                    say("the last jobs")
                    _finish(clients, found)
                found.broken += [*chaos.broken, *clients.complaints]
                _judge(subject, clients, found)
                done = trained_again(subject, done, [job.job_id for job in found.jobs])
                mark = subject.embedded.record.embedded_id
        except (Broken, EmbeddedError) as error:
            found.broken.append(str(error))
        else:
            found.broken += [f"process {process.pid} of the service is left" for process in marked(mark)]
        found.broken += findings.processes_of(home)
    return Verdict(tuple(dict.fromkeys(found.broken)), table(done, found.jobs, found.resumed))


class _Found:
    """What is known at the end."""

    def __init__(self) -> None:
        self.broken: list[str] = []
        self.jobs: list[Job] = []
        self.resumed: list[Resumption] = []


def _finish(clients: Clients, found: _Found) -> None:
    try:
        clients.finish(timeout_s=LAST_JOBS_TIMEOUT_S)
    except AssertionError:
        left = [asked.job_id or asked.key for asked in clients.open]
        found.broken.append(f"after {LAST_JOBS_TIMEOUT_S:.0f} s without a kill jobs have not ended: {', '.join(left)}")


def _judge(subject: Subject, clients: Clients, found: _Found) -> None:
    by_key = subject.jobs()
    found.jobs = list(by_key.values())
    found.broken += findings.lost_jobs(clients.asked, by_key)
    found.broken += findings.doubled_jobs(clients.asked, found.jobs)
    for job in found.jobs:
        events = subject.trail(job.job_id)
        found.broken += findings.broken_trail(job.job_id, events)
        found.broken += findings.unfinished(job, events)
        found.broken += findings.wrongly_charged(job, subject.killed_children)
        found.resumed += findings.resumptions(job.job_id, subject.run(job.job_id).attempts())
    found.broken += findings.too_many_steps_lost(found.resumed, interval=CHECKPOINT_EVERY_STEPS)
    found.broken += _settled(lambda: findings.wrong_runs(subject, found.jobs))
    found.broken += _settled(lambda: findings.taken_resources(subject.ray_usage()))
    found.broken += _settled(lambda: findings.processes_of_attempts(subject.home))


def _settled(look: Callable[[], Iterable[str]]) -> Sequence[str]:
    """What is broken and stays so."""
    deadline = time.monotonic() + SETTLING_TIMEOUT_S
    while True:
        try:
            broken = list(look())
        except (MlflowException, subprocess.SubprocessError) as error:
            broken = [f"it cannot be seen whether all is well: {error}"]
        if not broken or time.monotonic() > deadline:
            return broken
        time.sleep(1.0)
