import json
from pathlib import Path

import httpx
import pytest

from service.client import SdcnClient
from service.jobs.specs import TrainSpec
from service.jobs.states import FailureReason
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from tests.service.api.studies import ABLATION, begin_run
from tests.service.api.test_jobs import RESULTS, start
from tests.service.watching.streams import Event, opened, read_all, told

TINY = TrainSpec(preset="tiny")


@pytest.fixture
def job_id(client: SdcnClient) -> str:
    return client.submit(TINY).id


@pytest.fixture
def logs_url(url: str, job_id: str) -> str:
    return f"{url}/v1/jobs/{job_id}/logs"


@pytest.fixture
def folder(tmp_path: Path, job_id: str) -> Path:
    return tmp_path / "runs" / job_id


def write(folder: Path, attempt: int, text: str) -> None:
    path = folder / f"attempt-{attempt}" / "log.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("a") as file:
        file.write(text)


def lines(events: list[Event]) -> list[str]:
    return [line for event in told(events, "log") for line in event["data"].split("\n")]


def test_a_log_is_told_line_by_line_and_its_last_line_before_the_end(
    logs_url: str, folder: Path, jobs: JobQueue
) -> None:
    with opened(logs_url) as events:
        claim = start(jobs)
        write(folder, 1, "one\ntw")
        assert next(events)["data"] == "one"
        write(folder, 1, "o\n")
        assert next(events) == {"event": "log", "data": "two", "id": "1.8"}
        write(folder, 1, "last words without an end")
        jobs.settle(claim, Settlement.succeeded(RESULTS))
        rest = list(events)
    assert lines(rest) == ["last words without an end"]
    assert rest[-1] == {"event": "end", "data": '{"state":"succeeded"}'}


def test_the_logs_of_all_attempts_are_told_one_after_the_other(logs_url: str, folder: Path, jobs: JobQueue) -> None:
    claim = start(jobs)
    write(folder, 1, "first attempt\ncut off")
    jobs.settle(claim, Settlement.released("the worker is shutting down"))
    claim = start(jobs)
    write(folder, 2, "second attempt\n")
    jobs.settle(claim, Settlement.failed(FailureReason.DIVERGED, "nan"))
    events = read_all(logs_url)
    assert lines(events) == ["first attempt", "cut off", "second attempt"]
    assert [event["id"] for event in told(events, "log")] == ["1.21", "2.15"]


def test_wherever_a_stream_breaks_no_line_is_missed_and_none_told_twice(
    logs_url: str, folder: Path, jobs: JobQueue
) -> None:
    claim = start(jobs)
    for attempt_lines in ("a\nb\n", "c" * 70_000 + "\n", "d\n\ne"):
        write(folder, 1, attempt_lines)
    jobs.settle(claim, Settlement.succeeded(RESULTS))
    whole = told(read_all(logs_url), "log")
    assert "".join(event["data"] for event in whole).count("c") == 70_000
    for seen, event in enumerate(whole, start=1):
        assert whole[:seen] + told(read_all(logs_url, event["id"]), "log") == whole


def test_a_long_log_is_told_whole(logs_url: str, folder: Path, jobs: JobQueue) -> None:
    claim = start(jobs)
    written = [f"line {number:06d} of many" for number in range(60_000)]
    write(folder, 1, "\n".join(written) + "\n")
    jobs.settle(claim, Settlement.succeeded(RESULTS))
    assert lines(read_all(logs_url)) == written


def test_the_log_of_a_run_ends_with_the_run(url: str, client: SdcnClient, jobs: JobQueue, tmp_path: Path) -> None:
    job_id = httpx.post(f"{url}/v1/jobs", json=ABLATION).json()["id"]
    claim = start(jobs)
    name = client.runs(job_id)[0].name
    run = begin_run(tmp_path, job_id, name)
    write(run, 1, "of the run\n")
    with opened(f"{url}/v1/jobs/{job_id}/logs?run={name}") as events:
        assert next(events)["data"] == "of the run"
        jobs.settle(claim, Settlement.failed(FailureReason.DIVERGED, "nan"))
        assert [event["event"] for event in events] == ["end"]
    assert httpx.get(f"{url}/v1/jobs/{job_id}/logs", params={"run": "other"}).status_code == 404


def test_text_comes_in_pieces_of_whole_lines_that_lead_to_each_other(
    url: str, logs_url: str, folder: Path, jobs: JobQueue
) -> None:
    start(jobs)
    written = "".join(f"line {number:03d}\n" for number in range(300))
    write(folder, 1, written + "not finished")
    following: str | None = f"{logs_url}?limit=1024"
    found = ""
    while following is not None:
        answer = httpx.get(following)
        assert answer.headers["Content-Type"] == "text/plain; charset=utf-8"
        found += answer.text
        following = answer.links["next"]["url"] if "next" in answer.links else None
        following = following and f"{url}{following}"
    assert found == written
    assert answer.headers["Log-Attempt"] == "1"
    end = httpx.get(logs_url, params={"offset": -30}).text
    assert end == "line 298\nline 299\n"


def test_a_job_that_waits_has_an_empty_log(logs_url: str) -> None:
    answer = httpx.get(logs_url)
    assert (answer.status_code, answer.text, answer.headers["Log-Attempt"]) == (200, "", "0")
    refused = httpx.get(logs_url, params={"attempt": 1})
    assert (refused.status_code, refused.json()["title"]) == (404, "No such log")


@pytest.mark.parametrize("last_event_id", ["7", "0.3", "a.b", "1.-4"])
def test_a_place_that_no_stream_gave_out_is_refused(logs_url: str, last_event_id: str) -> None:
    headers = {"Accept": "text/event-stream", "Last-Event-ID": last_event_id}
    answer = httpx.get(logs_url, headers=headers)
    assert answer.status_code == 400
    assert "1.4096" in json.loads(answer.content)["detail"]
