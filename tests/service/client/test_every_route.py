"""Each route of the API has a method of the client, in both of its forms, and a command."""

import asyncio
import inspect
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from fastapi import FastAPI

from service.client import AsyncSdcnClient, SdcnClient
from service.client.errors import ApiProblem
from service.jobs.access import KeySpec
from service.jobs.data_specs import DatasetSpec
from service.jobs.specs import AblationSpec, TrainSpec
from service.jobs.states import JobState
from service.jobs.webhook_answers import WebhookSpec
from service.queue.records import Settlement
from service.queue.repository import JobQueue
from tests.service.api.studies import begin_run, end_run, leave
from tests.service.api.test_jobs import WHOLE_RESULTS, start
from tests.service.client.contract import Contract
from tests.service.client.test_cli import Sdcn, sdcn
from tests.service.server import listening

__all__ = ["sdcn"]

FOR_MACHINES = {"GET /healthz", "GET /metrics", "GET /v1/jobs/{job_id}/runs/{run}/artifacts/{name}"}
"""a load balancer and Prometheus ask for these, and the pages of a report for the last"""
TINY = TrainSpec(preset="tiny")
HOOK = "https://example.org/hook"


@dataclass(frozen=True)
class World:
    """What is there to be asked for."""

    trained: str
    study: str
    run: str
    waiting: str
    image: Path
    folder: Path


@pytest.fixture
def world(client: SdcnClient, jobs: JobQueue, tmp_path: Path) -> World:
    trained = client.submit(TINY).id
    jobs.settle(start(jobs), Settlement.succeeded(WHOLE_RESULTS))
    leave(tmp_path / "runs" / trained, model_pt=b"weights")
    (tmp_path / "runs" / trained / "attempt-1").mkdir()
    (tmp_path / "runs" / trained / "attempt-1" / "log.txt").write_text("a line\n")
    study = client.submit(AblationSpec(study="oicr-against-sdcn", preset="tiny")).id
    run = begin_run(tmp_path, study, "oicr")
    end_run(run)
    leave(run, results_json=b"{}")
    leave(tmp_path / "runs" / study, table_md=b"| a |\n")
    image = tmp_path / "photo.png"
    cv2.imwrite(str(image), np.zeros((32, 32, 3), np.uint8))
    return World(trained, study, run.name, client.submit(TINY).id, image, tmp_path / "here")


def use_everything(client: SdcnClient, world: World) -> None:
    """Each method once."""
    waiting, trained, study = world.waiting, world.trained, world.study
    client.validate(TINY)
    for ask in (client.get, client.pause, client.resume, client.clone, client.cancel, client.retry):
        ask(waiting)  # type: ignore[operator]
    client.set_priority(waiting, 3)
    assert client.results(trained)
    assert client.runs(study)
    assert client.metrics(study, run=world.run, names=["loss/mil"]).series
    assert client.table(study)
    assert client.event_page(trained).events
    assert list(client.logs(trained, follow=False))
    assert list(client.events(trained))
    assert list(client.streamed_events(trained))
    assert [job.id for job in client.follow(trained)][-1] == trained
    assert [job.id for job in client.watch(trained)][-1] == trained
    world.folder.mkdir(exist_ok=True)
    for artifact in (*client.artifacts(trained), *client.artifacts(study, run=world.run)):
        client.fetch(artifact, world.folder)
    assert [model.id for model in client.models()]
    client.model(trained)
    with pytest.raises(ApiProblem, match="predictor"):
        client.predict(trained, [world.image], score_threshold=0.5, max_boxes=3, fast=True)
    client.add_dataset(DatasetSpec.model_validate({"name": "pets", "source": {"kind": "voc", "path": "pets"}}))
    assert [data.name for data in client.datasets()] == [client.dataset("pets").name]
    client.check_dataset("pets")
    with pytest.raises(ApiProblem, match="in use"):  # its check has not ended
        client.remove_dataset("pets")
    hook = client.add_webhook(WebhookSpec(url=HOOK))
    assert [client.webhook(one.id) for one in client.webhooks()]
    assert list(client.deliveries(hook.id)) == []
    client.remove_webhook(hook.id)
    key = client.create_key(KeySpec(name="mine"))
    assert len(list(client.keys())) == 1
    client.revoke_key(key.id)
    assert list(client.audit())
    assert client.presets()
    assert client.readiness().components
    client.cancel(waiting)
    client.delete(waiting)
    assert waiting not in [job.id for job in client.jobs()]


def asked_by_people(document: dict[str, Any]) -> set[str]:
    paths = document["paths"]
    return {f"{method.upper()} {path}" for path, methods in paths.items() for method in methods} - FOR_MACHINES


def test_the_client_has_a_method_for_each_route(
    client: SdcnClient, world: World, transport: Contract, document: dict[str, Any]
) -> None:
    use_everything(client, world)
    assert asked_by_people(document) - transport.routes == set()


def test_there_is_a_command_for_each_route(
    sdcn: Sdcn, world: World, transport: Contract, document: dict[str, Any], client: SdcnClient
) -> None:
    transport.routes.clear()
    for words in (
        *(f"{name} {world.waiting}" for name in ("pause", "resume", "clone", "cancel", "retry", "history")),
        f"priority {world.waiting} 3",
        *(f"{name} {world.trained}" for name in ("show", "logs", "model", "watch", "metrics")),
        *(f"{name} {world.study}" for name in ("runs", "table")),
        f"artifacts {world.trained} --fetch {world.folder}",
        f"artifacts {world.study} --run {world.run} --fetch {world.folder}",
        "datasets add pets pets; datasets; datasets show pets; datasets check pets",
        f"webhooks add {HOOK}; webhooks; keys create mine; keys",
        "submit tiny; jobs; models; presets; audit; status",
        f"cancel {world.waiting}; delete {world.waiting} --yes",
    ):
        for command in words.split("; "):
            done = sdcn(*command.split())
            assert done.exit_code == 0, f"{command}: {done.output}"
    (hook,), (key,) = client.webhooks(), client.keys()
    assert sdcn("webhooks", "show", hook.id).exit_code == 0
    assert sdcn("webhooks", "remove", hook.id).exit_code == 0
    assert sdcn("keys", "revoke", key.id).exit_code == 0
    assert "in use" in sdcn("datasets", "remove", "pets").output
    assert "predictor" in sdcn("predict", world.trained, str(world.image)).output
    assert asked_by_people(document) - transport.routes == set()


def public(of: type) -> set[str]:
    return {name for name in dir(of) if not name.startswith("_") and callable(getattr(of, name))}


def test_both_clients_have_the_same_methods() -> None:
    assert public(AsyncSdcnClient) - {"aclose"} == public(SdcnClient) - {"close"}
    for name in public(SdcnClient) - {"close"}:
        assert inspect.signature(getattr(AsyncSdcnClient, name)) == inspect.signature(getattr(SdcnClient, name))


def in_a_loop(app: FastAPI, use: Callable[[AsyncSdcnClient], Coroutine[Any, Any, None]]) -> None:
    async def run(url: str) -> None:
        async with AsyncSdcnClient(url) as client:
            await use(client)

    with listening(app) as url:
        asyncio.run(run(url))


def test_a_job_is_submitted_followed_and_read_in_an_event_loop(app: FastAPI, jobs: JobQueue) -> None:
    async def use(client: AsyncSdcnClient) -> None:
        job = await client.submit(TINY)
        seen = []
        async for now in client.follow(job.id):
            seen.append(now.state)
            if now.state is JobState.QUEUED:
                claim = await asyncio.to_thread(start, jobs)
                await asyncio.to_thread(jobs.settle, claim, Settlement.succeeded(WHOLE_RESULTS))
        assert (seen[0], seen[-1]) == (JobState.QUEUED, JobState.SUCCEEDED)
        assert await client.results(job.id) is not None
        assert [one.id async for one in client.jobs()] == [job.id]
        with pytest.raises(ApiProblem, match="no job"):
            await client.get("none")

    in_a_loop(app, use)


def test_many_jobs_are_followed_at_once_and_who_stops_waiting_stops_at_once(app: FastAPI) -> None:
    async def to_its_end(client: AsyncSdcnClient, job_id: str) -> JobState:
        return [job.state async for job in client.follow(job_id)][-1]

    async def use(client: AsyncSdcnClient) -> None:
        ids = [(await client.submit(TINY)).id for _ in range(8)]
        following = [asyncio.create_task(to_its_end(client, job_id)) for job_id in ids]
        for job_id in ids[1:]:
            await client.cancel(job_id)
        assert await asyncio.gather(*following[1:]) == [JobState.CANCELLED] * 7
        following[0].cancel()
        done, _ = await asyncio.wait(following[:1], timeout=5)  # nothing happens to it, and its stream goes on
        assert done

    in_a_loop(app, use)
