"""The service that is to be killed: an embedded one in a home of its own, on free ports, with PostgreSQL."""

import dataclasses
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

import psutil
from sqlalchemy import Engine, select, text

from service.embedded.components import Component, Layout, api, mlflow, ray, worker
from service.embedded.keeper import EmbeddedService
from service.embedded.running import RestartPolicy
from service.errors import DatabaseUnavailable
from service.jobs.states import LEASED
from service.queue.database import open_database
from service.queue.event_log import EventLog
from service.queue.records import Job, JobEvent
from service.queue.repository import JobQueue
from service.queue.tables import JobRow, one_of
from tests.chaos.postgres import Postgres
from workers.attempt_folder import AttemptFolder, RunFolder

SETTINGS = {
    "SDCN_LEASE_S": "20",
    "SDCN_HEARTBEAT_INTERVAL_S": "1",
    "SDCN_RECONCILE_INTERVAL_S": "1",
    "SDCN_LEFTOVERS_INTERVAL_S": "15",
    "SDCN_PROGRESS_INTERVAL_S": "0.5",
}
"""a service that notices soon what is missing; on a busy machine too a killed database is back within the lease"""
START_TIMEOUT_S = 300.0
"""of each component: how fast the machine is, is not what is looked at"""
RESTARTS = RestartPolicy(first_delay_s=0.5, steady_after_s=0)
"""never given up: it is killed far more often than by chance"""
MANY_EVENTS = 100_000


class Victim(StrEnum):
    API = "API"
    POSTGRESQL = "PostgreSQL"
    MLFLOW = "MLflow"
    WORKER = "worker"
    CHILD = "child"
    RAY = "Ray head"

    @property
    def ends_an_attempt(self) -> bool:
        """Whether the attempt at work dies with it."""
        return self in (Victim.WORKER, Victim.CHILD, Victim.RAY)


COMPONENTS = {Victim.API: "api", Victim.MLFLOW: "mlflow", Victim.WORKER: "worker", Victim.RAY: "ray"}
"""which the service's own guard starts again"""


@dataclass(frozen=True)
class AtWork:
    """An attempt that a worker has."""

    job_id: str
    attempt: int
    pid: int | None
    """of its child; None before its start"""


class Subject:
    """The service, its database and its files."""

    def __init__(self, home: Path, database: Postgres) -> None:
        self.home = home
        self._database = database
        self._components: dict[str, Component] = {}
        self.embedded = EmbeddedService(
            home, tell=lambda *_: None, recipe=self._recipe, ports=(0, 0, 0), restarts=RESTARTS
        )
        self._engine: Engine = open_database(database.url)
        self.queue = JobQueue(self._engine)
        self._event_log = EventLog(self._engine)
        self.killed_children: set[tuple[str, int]] = set()
        """job and attempt"""

    def _recipe(self, layout: Layout) -> Sequence[Component]:
        ours = {**SETTINGS, "SDCN_DATABASE_URL": self._database.url}
        for component in (part(layout) for part in (api, mlflow, ray, worker)):
            environment = {**component.environment, **ours}
            self._components[component.name] = dataclasses.replace(
                component, environment=environment, start_timeout_s=START_TIMEOUT_S
            )
        return tuple(self._components.values())

    # --- killing

    def kill(self, victim: Victim, chance: random.Random) -> str | None:
        """SIGKILL it; what exactly was killed. None: nothing was there, or it had just ended."""
        match victim:
            case Victim.POSTGRESQL:
                pid = self._database.pid
                self._database.kill()
                return f"postgres ({pid})"
            case Victim.CHILD:
                at_work = self.at_work()
                if at_work is None or at_work.pid is None:
                    return None
                self.killed_children.add((at_work.job_id, at_work.attempt))
                return _killed(at_work.pid, f"attempt {at_work.attempt} of {at_work.job_id}")
            case Victim.RAY:
                named = self._processes_of_ray()
                name = chance.choice(sorted(named))
                return _killed(named[name], name)
            case _:
                return _killed(self.session(victim), COMPONENTS[victim])

    def session(self, victim: Victim) -> int:
        session = self.embedded.session(COMPONENTS[victim])
        assert session is not None, "the service has started"
        return session

    def _processes_of_ray(self) -> dict[str, int]:
        """The three without which a head is none, by name."""
        head = self.session(Victim.RAY)
        found = {"ray start": head}
        for process in psutil.process_iter(["name"]):
            name = process.info["name"]
            if name in ("gcs_server", "raylet") and _session_of(process.pid) == head:
                found[name] = process.pid
        return found

    def start_database(self, *, timeout_s: float) -> None:
        self._database.start(timeout_s=timeout_s)

    def is_back(self, victim: Victim, *, session_before: int | None) -> bool:
        """Whether it, or what was started in its place, does its work again."""
        match victim:
            case Victim.POSTGRESQL:
                return self._database_answers()
            case Victim.CHILD:
                raise ValueError("nobody starts a child again: a next attempt has another")
            case Victim.WORKER:
                session = self.session(victim)
                return session != session_before and f"{socket.gethostname()}:{session}" in self._workers()
            case _:
                return self.session(victim) != session_before and self._components[COMPONENTS[victim]].answers()

    def _database_answers(self) -> bool:
        try:
            self.queue.health()
        except DatabaseUnavailable:
            return False
        return True

    def _workers(self) -> set[str]:
        return {known.worker_id for known in self.queue.workers()}

    # --- looking

    def at_work(self) -> AtWork | None:
        """The attempt that the worker has; None where it has none."""
        leased = select(JobRow.id).where(text(one_of("job.state", LEASED)))
        with self._engine.connect() as connection:
            job_id = connection.scalar(leased)
        if job_id is None:
            return None
        job = self.queue.get(job_id)
        return AtWork(job_id, job.attempt, job.attempts[-1].pid)

    def jobs(self) -> dict[str | None, Job]:
        """All jobs by the key they were submitted with."""
        with self._engine.connect() as connection:
            rows = connection.execute(select(JobRow.idempotency_key, JobRow.id)).all()
        return {key: self.queue.get(job_id) for key, job_id in rows}

    def trail(self, job_id: str) -> tuple[JobEvent, ...]:
        return self._event_log.page(job_id, after=0, limit=MANY_EVENTS)

    def run(self, job_id: str) -> RunFolder:
        return RunFolder(self.home, job_id)

    def attempt(self, at_work: AtWork) -> AttemptFolder:
        return self.run(at_work.job_id).attempt(at_work.attempt)

    def ray_usage(self) -> dict[str, float]:
        """CPUs of the cluster (`total`), those that are free (`free`), its placement groups (`groups`) and processes of
        trainings (`actors`).

        Raises:
            subprocess.SubprocessError: it does not answer.
        """
        asked = [sys.executable, "-m", "tests.chaos.ray_usage", self.embedded.record.ray_address]
        environment = dict(self._components["ray"].environment)
        told = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True, timeout=180)
        usage: dict[str, float] = json.loads(told.stdout.splitlines()[-1])
        return usage

    def close(self) -> None:
        self._engine.dispose()


@contextmanager
def running(home: Path, database: Postgres) -> Iterator[Subject]:
    """The service, up until the end of the block."""
    subject = Subject(home, database)
    try:
        with subject.embedded:
            yield subject
    finally:
        subject.close()


def _killed(pid: int, name: str) -> str | None:
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return None
    return f"{name} ({pid})"


def _session_of(pid: int) -> int:
    try:
        return os.getsid(pid)
    except ProcessLookupError:
        return 0
