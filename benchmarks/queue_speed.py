"""How fast the queue takes jobs in and gives them out, beside many jobs that have ended long ago.

    python -m benchmarks.queue_speed [--keep benchmarks/queue_speed.md]

On SQLite and on PostgreSQL, each a new database on this machine's disk, filled first: submits through HTTP, by clients
that each send one request after another over a connection that stays open; claims by worker processes that do nothing
else, of jobs that wait; and how long a job waits from its submission until its attempt runs, with one worker that has
nothing else to do and an attempt that says one word. API, clients, database and workers share the machine.
"""

import argparse
import http.client
import json
import logging
import math
import multiprocessing
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.synchronize import Event
from pathlib import Path
from urllib.parse import urlsplit

import structlog
from pydantic import SecretStr
from sqlalchemy import select, text

from benchmarks.machine import machine
from benchmarks.queue_filling import database, enqueue, fill
from service.embedded.components import answers_http
from service.embedded.ports import free_ports
from service.queue.database import open_database
from service.queue.repository import JobQueue
from service.queue.tables import JobEventRow
from workers.settings import WorkerSettings
from workers.supervisor import Supervisor
from workers.tracking.experiment_log import NullLog

START_TIMEOUT_S = 60.0
BODY = json.dumps({"preset": "tiny"}).encode()
HEADERS = {"Content-Type": "application/json"}
CHILD = """
import json, pathlib, sys, time
folder = pathlib.Path(sys.argv[1])
event = {"kind": "note", "text": "at work", "time_ms": time.time_ns() // 1_000_000}
(folder / "events.jsonl").write_text(json.dumps(event) + "\\n")
time.sleep(0.3)  # within which the worker hears it
(folder / "outcome.json").write_text(json.dumps({"status": "succeeded", "results": {}}))
"""
SPAWN = multiprocessing.get_context("spawn")


@dataclass(frozen=True)
class Sizes:
    """How much is measured."""

    ended: int
    """jobs in the table before"""
    clients: int
    submits: int
    claims: int
    """each time"""
    workers: tuple[int, ...]
    """processes that claim at once, each in turn"""
    waits: int


@dataclass(frozen=True)
class Row:
    """A line of the table; times in ms."""

    database: str
    what: str
    rate: str
    median: str
    p99: str


def measure(kind: str, sizes: Sizes) -> Iterator[Row]:
    """All lines of one database."""
    with tempfile.TemporaryDirectory(prefix="sdcn-", ignore_cleanup_errors=True) as folder:
        home = Path(folder)
        with database(kind, home) as url:
            fill(url, sizes.ended)
            rate, latencies_s = submits(url, home, clients=sizes.clients, jobs=sizes.submits)
            yield _row(kind, f"submits through HTTP, {sizes.clients} clients", latencies_s, rate)
            _end_all(url)
            for workers in sizes.workers:
                rate, latencies_s = claims(url, workers=workers, jobs=sizes.claims)
                _end_all(url)
                yield _row(kind, f"claims, {workers} worker process{'' if workers == 1 else 'es'}", latencies_s, rate)
            yield _row(kind, "from submission to running", waits(url, home, jobs=sizes.waits), None)


def submits(url: str, home: Path, *, clients: int, jobs: int) -> tuple[float, list[float]]:
    """Jobs a second, and what each request took."""
    with _api(url, home) as address, ThreadPoolExecutor(clients) as pool:
        barrier = threading.Barrier(clients + 1)
        share = math.ceil(jobs / clients)
        sent = [pool.submit(_post, address, share, barrier) for _ in range(clients)]
        barrier.wait()
        began = time.perf_counter()
        latencies_s = [latency_s for one in sent for latency_s in one.result()]
        return len(latencies_s) / (time.perf_counter() - began), latencies_s


def _post(address: str, jobs: int, barrier: threading.Barrier) -> list[float]:
    netloc = urlsplit(address).netloc
    connection = http.client.HTTPConnection(netloc, timeout=START_TIMEOUT_S)
    connection.connect()
    barrier.wait()
    latencies_s = []
    for _ in range(jobs):
        began = time.perf_counter()
        connection.request("POST", "/v1/jobs", BODY, HEADERS)
        answer = connection.getresponse()
        answer.read()
        latencies_s.append(time.perf_counter() - began)
        if answer.status != http.client.ACCEPTED:
            raise RuntimeError(f"the API answered a submit with {answer.status}")
    connection.close()
    return latencies_s


@contextmanager
def _api(url: str, home: Path) -> Iterator[str]:
    """The address of an API process on the database; its log is thrown away, as its lines are part of what is timed."""
    (port,) = free_ports([0])
    address = f"http://127.0.0.1:{port}"
    environment = {**os.environ, "SDCN_HOME": str(home), "SDCN_DATABASE_URL": url, "SDCN_API_PORT": str(port)}
    environment["SDCN_OPEN_ON_LOOPBACK"] = "true"
    with subprocess.Popen([sys.executable, "-m", "service"], env=environment, stderr=subprocess.DEVNULL) as process:
        try:
            deadline = time.monotonic() + START_TIMEOUT_S
            while not answers_http(f"{address}/readyz"):
                if time.monotonic() > deadline:
                    raise RuntimeError("the API does not answer")
                time.sleep(0.1)
            yield address
        finally:
            process.terminate()


def claims(url: str, *, workers: int, jobs: int) -> tuple[float, list[float]]:
    """Claims a second by processes that do nothing else, and what each took."""
    engine = open_database(url)
    queue = JobQueue(engine)
    for _ in range(jobs):
        enqueue(queue)
    engine.dispose()
    with SPAWN.Manager() as manager, SPAWN.Pool(workers) as pool:
        barrier = manager.Barrier(workers)
        found = pool.starmap(_claim_all, [(url, f"worker-{number}", barrier) for number in range(workers)])
    began, ended = min(one[0] for one in found), max(one[1] for one in found)
    latencies_s = [latency_s for one in found for latency_s in one[2]]
    if len(latencies_s) != jobs:
        raise RuntimeError(f"{len(latencies_s)} claims of {jobs} jobs")
    return jobs / (ended - began), latencies_s


def _claim_all(url: str, worker_id: str, barrier: threading.Barrier) -> tuple[float, float, list[float]]:
    """When it began, when it ended, what each claim took; the clock is the machine's, the same in all processes."""
    engine = open_database(url)
    queue = JobQueue(engine)
    queue.health()  # so that it is connected
    barrier.wait()
    began = ended = time.monotonic()
    latencies_s = []
    while queue.claim(worker_id, lease_s=3600) is not None:
        latencies_s.append(time.monotonic() - ended)
        ended = time.monotonic()
    engine.dispose()
    return began, ended, latencies_s


def waits(url: str, home: Path, *, jobs: int) -> list[float]:
    """Seconds from the submission of each job until it ran, one after another, by the database's clock."""
    engine = open_database(url)
    queue = JobQueue(engine)
    stop = SPAWN.Event()
    worker = SPAWN.Process(target=_work, args=(url, home, stop))
    worker.start()
    try:
        ids = []
        for number in range(jobs + 1):
            ids.append(enqueue(queue))
            while not queue.get(ids[-1]).state.is_terminal:
                time.sleep(0.05)
            time.sleep(0.013 * (number % 40))  # so that the worker's looks at the queue are met at any moment
        with engine.connect() as connection:
            trail = connection.execute(
                select(JobEventRow.job_id, JobEventRow.to_state, JobEventRow.at).where(JobEventRow.job_id.in_(ids[1:]))
            ).all()
    finally:
        stop.set()
        worker.join()
        engine.dispose()
    queued = {job_id: at for job_id, state, at in trail if state == "queued"}
    return [(at - queued[job_id]) / 1000 for job_id, state, at in trail if state == "running"]


def _work(url: str, home: Path, stop: Event) -> None:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))
    settings = WorkerSettings(home=home, database_url=SecretStr(url))
    engine = open_database(url)
    supervisor = Supervisor(
        settings,
        JobQueue(engine),
        NullLog(),
        worker_id="benchmark",
        pid=os.getpid(),
        drain=threading.Event(),
        command=lambda folder, _pid: [sys.executable, "-c", CHILD, str(folder)],
    )
    while not stop.is_set():
        if not supervisor.run_once():
            stop.wait(settings.poll_interval_s)
    engine.dispose()


def _end_all(url: str) -> None:
    """What waits or was claimed ends, so that the next measurement finds none of it."""
    engine = open_database(url)
    with engine.begin() as connection:
        connection.execute(
            text(
                "UPDATE job SET state = 'cancelled', lease_token = NULL, lease_owner = NULL, lease_expires_at = NULL"
                " WHERE state IN ('queued', 'claimed')"
            )
        )
    engine.dispose()


def _row(kind: str, what: str, latencies_s: Sequence[float], rate: float | None) -> Row:
    percentiles = statistics.quantiles(latencies_s, n=100, method="inclusive")
    return Row(
        kind,
        what,
        "" if rate is None else f"{rate:.0f}",
        f"{1000 * statistics.median(latencies_s):.1f}",
        f"{1000 * percentiles[98]:.1f}",
    )


def table(rows: Sequence[Row]) -> str:
    lines = ["| database | what | a second | p50 (ms) | p99 (ms) |", "| --- | --- | --- | --- | --- |"]
    lines += [f"| {row.database} | {row.what} | {row.rate} | {row.median} | {row.p99} |" for row in rows]
    return "\n".join(lines)


def report(sizes: Sizes, kinds: Sequence[str], command: str) -> str:
    """Measure, and put it in words."""
    began = time.monotonic()
    rows = [row for kind in kinds for row in measure(kind, sizes)]
    said = (
        f"`{command}`, {time.monotonic() - began:.0f} s. {machine()}. {sizes.ended:,} jobs that have ended are there."
    )
    samples = f"{sizes.submits} submits, {sizes.claims} claims each time, {sizes.waits} waits."
    return f"# The queue's speed\n\n{said}\n{samples}\n\n{table(rows)}\n"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--ended", type=int, default=100_000, help="jobs that have ended, in the table before")
    parser.add_argument("--clients", type=int, default=50)
    parser.add_argument("--submits", type=int, default=5000)
    parser.add_argument("--claims", type=int, default=2000)
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--waits", type=int, default=50)
    parser.add_argument("--databases", nargs="+", choices=("sqlite", "postgresql"), default=["sqlite", "postgresql"])
    parser.add_argument("--keep", type=Path, help="a file to write to as well")
    given = parser.parse_args()
    sizes = Sizes(given.ended, given.clients, given.submits, given.claims, tuple(given.workers), given.waits)
    said = report(sizes, given.databases, f"python -m benchmarks.queue_speed {' '.join(sys.argv[1:])}".strip())
    print(said)
    if given.keep is not None:
        given.keep.write_text(said)
    return 0


if __name__ == "__main__":
    sys.exit(main())
