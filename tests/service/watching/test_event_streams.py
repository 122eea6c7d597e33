import json
from datetime import UTC, datetime

import httpx
import pytest
from fastapi import FastAPI

from service.client import SdcnClient
from service.jobs.progress import JobProgress
from service.jobs.specs import TrainSpec
from service.queue.event_log import EventLog
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from tests.service.api.test_jobs import RESULTS, start
from tests.service.server import listening
from tests.service.watching.conftest import MAX_STREAMS
from tests.service.watching.streams import Event, opened, read_all, told

TINY = TrainSpec(preset="tiny")


def progress(step: int) -> JobProgress:
    return JobProgress(
        stage="loop", step=step, stage_steps=9, fraction=step / 9, global_step=step, updated_at=datetime.now(UTC)
    )


@pytest.fixture
def events_url(url: str, client: SdcnClient) -> str:
    return f"{url}/v1/jobs/{client.submit(TINY).id}/events"


def test_a_job_is_told_from_its_beginning_to_its_end(events_url: str, jobs: JobQueue) -> None:
    with opened(events_url) as events:
        assert json.loads(next(events)["data"])["to_state"] == "queued"
        claim = start(jobs)
        assert json.loads(next(events)["data"])["to_state"] == "claimed"
        jobs.record_progress(claim, progress(3))
        jobs.settle(claim, Settlement.succeeded(RESULTS))
        rest = list(events)
    assert json.loads(told(rest, "state")[-1]["data"])["to_state"] == "succeeded"
    assert json.loads(told(rest, "progress")[-1]["data"])["progress"]["step"] == 3
    assert rest[-1] == {"event": "end", "data": '{"state":"succeeded"}'}


def test_wherever_a_stream_breaks_nothing_is_missed_and_nothing_told_twice(
    events_url: str, jobs: JobQueue, app: FastAPI
) -> None:
    jobs.settle(start(jobs), Settlement.succeeded(RESULTS))
    whole = told(read_all(events_url), "state")
    trail: EventLog = app.state.events
    there = trail.page(events_url.split("/")[-2], after=0, limit=100)
    assert [int(event["id"]) for event in whole] == [event.event_id for event in there]
    for seen in range(len(whole) + 1):
        last = None if seen == 0 else whole[seen - 1]["id"]
        assert whole[:seen] + told(read_all(events_url, last), "state") == whole


def test_of_a_job_that_has_ended_and_is_known_only_the_end_is_told(events_url: str, jobs: JobQueue) -> None:
    jobs.settle(start(jobs), Settlement.succeeded(RESULTS))
    last = told(read_all(events_url), "state")[-1]["id"]
    assert [event["event"] for event in read_all(events_url, last)] == ["end"]


def test_progress_is_told_once_for_each_change(events_url: str, jobs: JobQueue) -> None:
    claim = start(jobs)
    seen: list[Event] = []
    with opened(events_url) as events:
        for step in range(4):
            jobs.record_progress(claim, progress(step))
            seen.append(next(event for event in events if event["event"] == "progress"))
        jobs.request_cancel(claim.job_id)
        jobs.settle(claim, Settlement.cancelled())
        assert told(list(events), "progress") == []
    assert [json.loads(event["data"])["progress"]["step"] for event in seen] == [0, 1, 2, 3]


def test_a_quiet_stream_sends_comments(events_url: str) -> None:
    with httpx.stream("GET", events_url, timeout=5) as answer:
        found = ""
        for text in answer.iter_text():
            found += text
            if found.count(": ping") == 2:
                break
    assert answer.headers["Content-Type"].startswith("text/event-stream")
    assert answer.headers["Cache-Control"] == "no-cache"


def test_streams_are_bounded_and_a_place_is_free_again_when_its_client_leaves(events_url: str, app: FastAPI) -> None:
    with httpx.Client(timeout=5) as client:
        held = [client.send(client.build_request("GET", events_url), stream=True) for _ in range(MAX_STREAMS)]
        refused = client.get(events_url)
        assert (refused.status_code, refused.headers["Content-Type"]) == (503, "application/problem+json")
        assert refused.headers["Retry-After"] == "5"
        assert "SDCN_MAX_STREAMS" in refused.json()["detail"]
        for answer in held:
            answer.close()
        while app.state.watcher.num_streams:
            client.get(f"{events_url.partition('/v1')[0]}/healthz")
        with opened(events_url) as events:
            assert next(events)["event"] == "state"


def test_a_server_that_stops_ends_its_streams_and_they_go_on_at_the_next(app: FastAPI) -> None:
    jobs: JobQueue = app.state.queue
    with listening(app) as url:
        with SdcnClient(url) as client:
            job_id = client.submit(TINY).id
        stream = opened(f"{url}/v1/jobs/{job_id}/events")
        events = stream.__enter__()
        first = next(events)
    assert list(events) == []  # it has ended, and the server did not wait for it
    stream.__exit__(None, None, None)
    jobs.settle(start(jobs), Settlement.succeeded(RESULTS))
    from service.app import create_app  # the next process

    with listening(create_app(app.state.settings)) as url:
        rest = told(read_all(f"{url}/v1/jobs/{job_id}/events", first["id"]), "state")
    assert json.loads(rest[0]["data"])["from_state"] == "queued"


def test_events_can_be_asked_for_page_by_page(events_url: str, jobs: JobQueue) -> None:
    jobs.settle(start(jobs), Settlement.succeeded(RESULTS))
    whole = told(read_all(events_url), "state")
    walked, after = [], 0
    while after is not None:
        answer = httpx.get(events_url, params={"after": after, "limit": 2}, headers={"Accept": "application/json"})
        walked += answer.json()["events"]
        after = answer.json()["next_after"]
    assert walked == [json.loads(event["data"]) for event in whole]


@pytest.mark.parametrize("last_event_id", ["x", "-1", "1.2", "9" * 40, "١"])
def test_an_id_that_no_stream_gave_out_is_refused(events_url: str, last_event_id: str) -> None:
    answer = httpx.get(events_url, headers={"Last-Event-ID": last_event_id.encode()})
    assert answer.status_code == 400
    assert "leave it out" in answer.json()["detail"]


def test_a_job_that_is_not_there_has_no_stream(url: str, app: FastAPI) -> None:
    for kind in ("events", "logs"):
        answer = httpx.get(f"{url}/v1/jobs/abc/{kind}", headers={"Accept": "text/event-stream"})
        assert (answer.status_code, answer.json()["title"]) == (404, "No such job")
    assert app.state.watcher.num_streams == 0
