"""Each line of an attempt's log names the job and the attempt, whoever wrote it and however."""

import io
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from service.errors import DatabaseUnavailable
from service.queue.records import Job
from service.queue.repository import JobQueue
from tests.service.logged import logged
from workers.attempt_logging import LoggedOutput
from workers.supervisor import Supervisor

SPEAKERS = """
import logging, sys, threading, warnings
import structlog
from workers.attempt_logging import log_attempt, log_output
log_attempt("1a", 2, rank=0)
log_output()
print("printed", "in pieces")
print("to stderr", file=sys.stderr)
logging.getLogger("sdcn_core.training").info("resuming from step %d", 5)
thread = threading.Thread(target=structlog.get_logger("thread").info, args=("said",))
thread.start()
thread.join()
logging.getLogger("x").info("Reporting training result 1: ...")
sys.stderr.write("(RayTrainWorker pid=7, ip=10.0.0.2) ready\\n")
sys.stdout.write('(train pid=8) {"event": "step", "job_id": "1a", "attempt": 2, "rank": 1}\\n')
try:
    raise ValueError("two\\nlines")
except ValueError:
    logging.getLogger("y").exception("failed")
"""


@pytest.fixture
def log_stream() -> Iterator[io.StringIO]:
    """Where this process logs meanwhile."""
    with logged() as stream:
        yield stream


def lines_of(script: str, *arguments: str) -> list[dict[str, object]]:
    done = subprocess.run(
        [sys.executable, "-c", script, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_every_line_is_an_event_of_the_attempt() -> None:
    lines = lines_of(SPEAKERS)
    assert {(line["job_id"], line["attempt"]) for line in lines} == {("1a", 2)}
    assert [line["event"] for line in lines] == [
        "printed in pieces",
        "to stderr",
        "resuming from step 5",
        "said",
        "ready",
        "step",
        "failed",
    ]
    assert lines[4]["process"] == "RayTrainWorker pid=7, ip=10.0.0.2"
    assert (lines[5]["rank"], lines[0]["rank"]) == (1, 0), "a line of another process keeps its own"


def test_an_attempt_that_cannot_begin_says_so_in_lines_of_its_own(tmp_path: Path) -> None:
    folder = tmp_path / "runs" / "1a" / "attempt-3"
    folder.mkdir(parents=True)
    script = "import os, sys; from workers.attempt import main; sys.exit(main([sys.argv[1], str(os.getppid())]))"
    lines = lines_of(script, str(folder))
    assert lines
    assert {(line["job_id"], line["attempt"]) for line in lines} == {("1a", 3)}
    assert "spec.json" in str(lines[0]["exception"])


@pytest.mark.parametrize(("written", "said"), [("10 %\r50 %\rall\n", ["all"]), ("\n\n  \n", []), ("half", [])])
def test_a_line_is_what_a_person_would_see_of_it(written: str, said: list[str]) -> None:
    with capture_logs() as events:
        LoggedOutput("stdout", io.StringIO()).write(written)
    assert [event["event"] for event in events] == said


def test_json_that_is_no_line_of_ours_is_said_like_anything_else() -> None:
    log = io.StringIO()
    with capture_logs() as events:
        LoggedOutput("stdout", log).write('{"event": "x"}\n{broken\n')
    assert [event["event"] for event in events] == ['{"event": "x"}', "{broken"]
    assert log.getvalue() == ""


def test_on_a_full_disk_whoever_prints_goes_on() -> None:
    """Linux has a file that is a full disk."""
    script = """
import sys
from workers.attempt_logging import log_attempt, log_output
sys.__stderr__ = open("/dev/full", "w", buffering=1)
log_attempt("1a", 1)
log_output()
for number in range(100):
    print("a line that finds no room", number)
sys.stdout.write('{"event": "x", "job_id": "1a", "attempt": 1}' + chr(10))
import os
os.write(1, b"{}")
os._exit(0)
"""
    assert lines_of(script) == [{}]


def test_every_line_of_a_worker_about_an_attempt_names_it_whichever_thread_writes_it(
    worker: Callable[..., Supervisor],
    submit: Callable[..., Job],
    queue: JobQueue,
    log_stream: io.StringIO,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    job = submit()

    def away(*_: object, **__: object) -> None:
        raise DatabaseUnavailable("away")

    monkeypatch.setattr(queue, "heartbeat", away)
    worker('time.sleep(0.5)\nend(status="succeeded", results={})').run_once()
    lines = [json.loads(line) for line in log_stream.getvalue().splitlines()]
    assert {"job.claimed", "attempt.started", "lease.not_renewed", "job.settled"} <= {line["event"] for line in lines}
    assert {(line["job_id"], line["attempt"]) for line in lines} == {(job.job_id, 1)}
