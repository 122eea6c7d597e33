"""The programs in docs/python.md run as they stand."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event, Thread

import pytest
from fastapi import FastAPI

from service.queue.records import Settlement
from service.queue.repository import JobQueue
from tests.service.api.test_jobs import WHOLE_RESULTS
from tests.service.server import listening

DOCUMENT = Path(__file__).parents[3] / "docs" / "python.md"
ADDRESS = "http://127.0.0.1:8000"
PROGRAMS = re.findall(r"```python\n(.*?)```", DOCUMENT.read_text(), re.DOTALL)


@contextmanager
def worked_off(jobs: JobQueue) -> Iterator[None]:
    """Whatever is submitted meanwhile succeeds."""
    over = Event()

    def work() -> None:
        while not over.wait(0.1):
            if (claim := jobs.claim("worker-1", lease_s=60)) is not None:
                jobs.start(claim, pid=1)
                jobs.settle(claim, Settlement.succeeded(WHOLE_RESULTS))

    worker = Thread(target=work)
    worker.start()
    try:
        yield
    finally:
        over.set()
        worker.join()


@pytest.mark.parametrize("program", PROGRAMS, ids=["waiting", "in-an-event-loop"])
def test_a_program_of_the_document_does_what_it_says(
    program: str, app: FastAPI, jobs: JobQueue, capsys: pytest.CaptureFixture[str]
) -> None:
    assert ADDRESS in program
    with listening(app) as url, worked_off(jobs):
        exec(compile(program.replace(ADDRESS, url), DOCUMENT.name, "exec"), {"__name__": "__main__"})
    assert capsys.readouterr().out.splitlines()[-1] == str(WHOLE_RESULTS["trained"]["mean_ap"])  # type: ignore[index, call-overload]
