"""The client's streams over connections that do not hold."""

from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner, Result

from service.client import SdcnClient, cli, terminal
from service.jobs.specs import TrainSpec
from service.jobs.states import FailureReason, JobState
from service.jobs.watch_answers import EventRead, LogGap, LogText
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from tests.service.api.test_jobs import RESULTS, start
from tests.service.watching.test_log_streams import write

TINY = TrainSpec(preset="tiny")


class Cutting(httpx.BaseTransport):
    """What is between a client and the service: streams break after so many bytes, or are no streams at all."""

    def __init__(self, *, after_bytes: int) -> None:
        self._network = httpx.HTTPTransport()
        self._after_bytes = after_bytes
        self.streams = 0

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        answer = self._network.handle_request(request)
        if not answer.headers.get("Content-Type", "").startswith("text/event-stream"):
            return answer
        self.streams += 1
        return httpx.Response(answer.status_code, headers=answer.headers, stream=_Cut(answer, self._after_bytes))

    def close(self) -> None:
        self._network.close()


class _Cut(httpx.SyncByteStream):
    def __init__(self, answer: httpx.Response, after_bytes: int) -> None:
        self._answer = answer
        self._left = after_bytes

    def __iter__(self) -> Iterator[bytes]:
        for block in self._answer.iter_raw():
            yield block[: self._left]
            self._left -= len(block)
            if self._left <= 0:
                raise httpx.ReadError("connection reset")

    def close(self) -> None:
        self._answer.close()


@pytest.fixture
def job_id(client: SdcnClient) -> str:
    return client.submit(TINY).id


def settle(jobs: JobQueue, folder: Path) -> list[str]:
    """Two attempts that log; the lines."""
    told = [f"line {number}" for number in range(40)]
    claim = start(jobs)
    write(folder, 1, "\n".join(told[:20]) + "\n")
    jobs.settle(claim, Settlement.released("the worker is shutting down"))
    claim = start(jobs)
    write(folder, 2, "\n".join(told[20:]) + "\n")
    jobs.settle(claim, Settlement.succeeded(RESULTS))
    return told


@pytest.mark.parametrize("after_bytes", [1, 60, 400, 10**9])
def test_over_connections_that_break_each_event_arrives_once(
    url: str, client: SdcnClient, jobs: JobQueue, job_id: str, tmp_path: Path, after_bytes: int
) -> None:
    settle(jobs, tmp_path / "runs" / job_id)
    transport = Cutting(after_bytes=after_bytes)
    with SdcnClient(url, transport=transport) as cut:
        news = list(cut.events(job_id, sleep=lambda _: None))
    states = [event for event in news if isinstance(event, EventRead)]
    assert states == list(client.event_page(job_id).events)
    assert transport.streams > 1 or after_bytes > 400


@pytest.mark.parametrize("after_bytes", [1, 60, 400, 10**9])
def test_over_connections_that_break_each_line_arrives_once(
    url: str, jobs: JobQueue, job_id: str, tmp_path: Path, after_bytes: int
) -> None:
    told = settle(jobs, tmp_path / "runs" / job_id)
    with SdcnClient(url, transport=Cutting(after_bytes=after_bytes)) as cut:
        pieces = list(cut.logs(job_id, sleep=lambda _: None))
    assert all(isinstance(piece, LogText) for piece in pieces)
    assert [line for piece in pieces if not isinstance(piece, LogGap) for line in piece.text.split("\n")] == told


def test_a_job_is_followed_as_it_changes(client: SdcnClient, jobs: JobQueue, job_id: str) -> None:
    looks = client.follow(job_id)
    assert next(looks).state is JobState.QUEUED
    claim = start(jobs)
    states = {next(looks).state, next(looks).state}
    assert states & {JobState.CLAIMED, JobState.RUNNING}
    jobs.settle(claim, Settlement.failed(FailureReason.DIVERGED, "nan"))
    *_, last = looks
    assert (last.state, last.failure.message if last.failure else "") == (JobState.FAILED, "nan")


def test_where_no_stream_gets_through_a_job_is_asked_for_again_and_again(url: str, jobs: JobQueue, job_id: str) -> None:
    jobs.settle(start(jobs), Settlement.failed(FailureReason.DIVERGED, "nan"))
    with SdcnClient(url, transport=Cutting(after_bytes=1)) as cut:
        cut_at_once = [look.state for look in cut.follow(job_id, sleep=lambda _: None)]
    assert cut_at_once == [JobState.FAILED, JobState.FAILED]


def test_the_newest_log_can_be_read_without_being_followed(
    client: SdcnClient, jobs: JobQueue, job_id: str, tmp_path: Path
) -> None:
    told = settle(jobs, tmp_path / "runs" / job_id)
    newest, first = client.logs(job_id, follow=False), client.logs(job_id, follow=False, attempt=1)
    assert [piece.text for piece in newest if isinstance(piece, LogText)] == ["\n".join(told[20:])]
    assert [piece.text for piece in first if isinstance(piece, LogText)] == ["\n".join(told[:20])]


# --- the command


@pytest.fixture
def sdcn(url: str, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    monkeypatch.setattr(terminal, "open_client", lambda *_: SdcnClient(url))
    return lambda *arguments: CliRunner().invoke(cli.app, list(arguments))


def test_logs_prints_the_newest_attempt_and_followed_all_of_them(
    sdcn: Callable[..., Result], jobs: JobQueue, job_id: str, tmp_path: Path
) -> None:
    told = settle(jobs, tmp_path / "runs" / job_id)
    assert sdcn("logs", job_id).stdout.splitlines() == told[20:]
    assert sdcn("logs", job_id, "--follow").stdout.splitlines() == told
    assert sdcn("logs", job_id, "--attempt", "1").stdout.splitlines() == told[:20]
    refused = sdcn("logs", job_id, "--attempt", "7")
    assert (refused.exit_code, "1, 2" in refused.stderr) == (2, True)


def test_lines_in_json_are_readable_and_obey_no_terminal(
    sdcn: Callable[..., Result], jobs: JobQueue, job_id: str, tmp_path: Path
) -> None:
    claim = start(jobs)
    line = '{"event": "job.claimed", "level": "info", "timestamp": "2026-01-01T10:00:00Z", "rank": 0}'
    write(tmp_path / "runs" / job_id, 1, f"{line}\n\x1b[31mred\x1b[0m\n")
    jobs.settle(claim, Settlement.succeeded(RESULTS))
    assert sdcn("logs", job_id).stdout == "2026-01-01T10:00:00Z info: job.claimed rank=0\nred\n"
    assert sdcn("logs", job_id, "--raw").stdout.splitlines()[0] == line


def test_watch_follows_a_job_to_its_end(sdcn: Callable[..., Result], jobs: JobQueue, job_id: str) -> None:
    jobs.settle(start(jobs), Settlement.succeeded(RESULTS))
    done = sdcn("watch", job_id)
    assert (done.exit_code, "succeeded" in done.stdout) == (0, True)
