"""The predictor as a process of its own, with a model that was trained."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import cv2
import httpx
import numpy as np
import pytest

from sdcn_core.inference.predictor import Predictor
from service.predictor import Predictor as ApiSide
from service.web.found_boxes import read_boxes
from tests.workers.predictor.conftest import JOB, ROOT, SECOND_STAGE, STUDY_RUN, predictor_process

Files = list[tuple[str, tuple[str, bytes, str]]]


def files(*contents: bytes, name: str = "photo.png") -> Files:
    return [("images", (name, content, "image/png")) for content in contents]


def predict(client: httpx.Client, images: Files, **parameters: object) -> httpx.Response:
    return client.post("/predict", params={"model": JOB, **parameters}, files=images)  # type: ignore[arg-type]


def problem(answer: httpx.Response, status: int) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    content: dict[str, Any] = answer.json()
    assert content["status"] == status
    return content


def test_the_boxes_of_an_image_are_those_that_the_model_finds(
    client: httpx.Client, png: bytes, trained_model: Path
) -> None:
    answer = predict(client, files(png), score_threshold=0, max_boxes=7)
    assert answer.status_code == 200, answer.text
    (image,) = answer.json()["images"]
    pixels = cv2.imdecode(np.frombuffer(png, np.uint8), cv2.IMREAD_COLOR_RGB)
    own = Predictor.load(trained_model).predict(pixels, score_threshold=0, max_boxes=7)
    assert (image["file"], image["width"], image["height"]) == ("photo.png", 80, 64)
    assert [(box["class"], box["xyxy"]) for box in image["boxes"]] == [
        (box.class_name, list(box.xyxy)) for box in own.detections
    ]
    np.testing.assert_allclose(
        [box["score"] for box in image["boxes"]], [box.score for box in own.detections], atol=1e-6
    )
    assert image["seconds"]["total"] >= image["seconds"]["proposals"] > 0


def test_a_run_of_a_study_predicts_too_and_says_which_file_it_is(client: httpx.Client, png: bytes) -> None:
    whole = predict(client, files(png, png), score_threshold=0).json()
    run = predict(client, files(png), model=STUDY_RUN, score_threshold=0).json()
    assert len(whole["images"]) == 2
    assert run["model"] == STUDY_RUN
    assert run["model_sha256"] == whole["model_sha256"]
    assert run["images"][0]["boxes"] == whole["images"][0]["boxes"] == whole["images"][1]["boxes"]


def test_the_fast_rcnn_of_a_second_stage_predicts_boxes_of_its_own(client: httpx.Client, png: bytes) -> None:
    answer = predict(client, files(png), model=SECOND_STAGE, score_threshold=0)
    assert answer.status_code == 200, answer.text
    edges = np.array([box["xyxy"] for box in answer.json()["images"][0]["boxes"]])
    assert (edges != edges.round()).any()
    assert ((edges >= 0) & (edges <= [80, 64, 80, 64])).all()


def test_the_api_passes_requests_on_and_its_page_reads_the_answer(client: httpx.Client, png: bytes) -> None:
    api = ApiSide(str(client.base_url), "secret", timeout_s=60)
    form = httpx.Request("POST", "http://form", files=files(png))
    body, kind = form.read(), form.headers["content-type"]

    async def pieces() -> AsyncIterator[bytes]:
        yield body

    async def ask() -> bytes:
        return await api.predict(STUDY_RUN, pieces(), content_type=kind)

    boxes = read_boxes(json.loads(anyio.run(ask)))
    assert (boxes.width, boxes.height) == (80, 64)
    assert boxes.seconds is not None


def test_the_process_says_that_it_lives_without_a_token(client: httpx.Client) -> None:
    answer = httpx.get(f"{client.base_url}/healthz")
    assert (answer.status_code, answer.json()["status"]) == (200, "alive")


@pytest.mark.parametrize("header", [None, "Bearer wrong", "secret"])
def test_who_does_not_know_the_token_is_refused(client: httpx.Client, png: bytes, header: str | None) -> None:
    headers = {} if header is None else {"Authorization": header}
    with httpx.Client(base_url=client.base_url, headers=headers) as stranger:
        assert "SDCN_PREDICTOR_TOKEN" in problem(predict(stranger, files(png)), 401)["detail"]


@pytest.mark.parametrize("model", ["ffff", f"{JOB}/none", "d4e5f6"])
def test_a_model_that_is_not_there_is_not_found(client: httpx.Client, png: bytes, model: str) -> None:
    assert model in problem(predict(client, files(png), model=model), 404)["detail"]


@pytest.mark.parametrize("model", ["../secrets", "a1/../b2", "a1b2c3/..", "a1b2c3/x/y", "", "/etc", "a1b2c3\n"])
def test_an_id_that_could_leave_the_folder_of_runs_is_no_id(client: httpx.Client, png: bytes, model: str) -> None:
    assert problem(predict(client, files(png), model=model), 422)["errors"][0]["field"] == "model"


def test_a_damaged_model_is_named_without_telling_where_it_lies(client: httpx.Client, png: bytes, home: Path) -> None:
    detail = problem(predict(client, files(png), model="bad"), 422)["detail"]
    assert "bad/artifacts/model.pt cannot be used" in detail
    assert str(home) not in detail


def test_every_broken_image_is_named_and_none_is_predicted(client: httpx.Client, png: bytes) -> None:
    images = [*files(png), *files(png[:200], name="../../cut.png"), *files(b"GIF89a", name="moving.gif")]
    content = problem(predict(client, images), 422)
    assert [(error["field"], error["message"].split(":")[0]) for error in content["errors"]] == [
        ("images.1", "image cut.png is broken or cut off"),
        ("images.2", "image moving.gif is neither JPEG nor PNG"),
    ]


def test_images_are_bounded_in_number_bytes_and_pixels(client: httpx.Client, png: bytes) -> None:
    assert "1 to 3 images" in problem(predict(client, files(*[png] * 4)), 422)["detail"]
    assert "more than 100000 bytes" in problem(predict(client, files(png + bytes(100_000))), 422)["detail"]
    large = cv2.imencode(".png", np.zeros((200, 101, 3), np.uint8))[1].tobytes()
    assert "101 x 200 pixels, more than 20000" in problem(predict(client, files(large)), 422)["detail"]


def test_a_body_over_the_bound_is_refused_also_when_its_length_is_not_announced(
    client: httpx.Client, png: bytes
) -> None:
    assert "500000 bytes" in problem(predict(client, files(bytes(600_000))), 413)["detail"]
    request = client.build_request("POST", "/predict", params={"model": JOB}, files=files(bytes(600_000)))
    body, kind = request.read(), request.headers["content-type"]
    pieces = (body[start : start + 50_000] for start in range(0, len(body), 50_000))
    answer = client.post("/predict", params={"model": JOB}, content=pieces, headers={"Content-Type": kind})
    assert "500000 bytes" in problem(answer, 413)["detail"]


@pytest.mark.parametrize(("token", "status"), [("secret", "413"), ("wrong", "401")])
def test_an_early_answer_reaches_a_client_that_is_still_sending(client: httpx.Client, token: str, status: str) -> None:
    head = (
        f"POST /predict?model={JOB} HTTP/1.1\r\nHost: {client.base_url.netloc.decode()}\r\n"
        f"Authorization: Bearer {token}\r\nContent-Type: multipart/form-data; boundary=x\r\n"
        "Content-Length: 4000000\r\n\r\n"
    )
    address = (client.base_url.host, client.base_url.port)
    with socket.create_connection(address, timeout=30) as connection:
        connection.sendall(head.encode() + bytes(1_000_000))
        with connection.makefile("rb") as answer:
            assert answer.readline().split()[1].decode() == status
            for _ in range(3):  # a server that had closed by now would have the second piece refused
                connection.sendall(bytes(1_000_000))
            assert b"application/problem+json" in answer.read()


def test_grey_and_transparent_images_and_one_of_a_pixel_are_predicted(client: httpx.Client) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (40, 50, 4), dtype=np.uint8)
    kinds = (noise[:, :, 0], noise, noise[:1, :1, :3])
    answer = predict(client, files(*(cv2.imencode(".png", kind)[1].tobytes() for kind in kinds)), score_threshold=0)
    assert [image["width"] for image in answer.json()["images"]] == [50, 50, 1]
    assert all(image["boxes"] for image in answer.json()["images"])


@pytest.mark.parametrize(
    ("parameters", "field"),
    [({"score_threshold": 2}, "score_threshold"), ({"max_boxes": 0}, "max_boxes"), ({"wrong_name": 0.1}, "wrong_name")],
)
def test_a_parameter_that_is_wrong_or_misspelt_is_named(
    client: httpx.Client, png: bytes, parameters: dict[str, object], field: str
) -> None:
    assert problem(predict(client, files(png), **parameters), 422)["errors"][0]["field"] == field


def test_a_request_without_images_is_told_so(client: httpx.Client) -> None:
    assert problem(client.post("/predict", params={"model": JOB}), 422)["errors"][0]["field"] == "images"


def test_a_page_of_a_foreign_name_is_refused(client: httpx.Client) -> None:
    assert "SDCN_ALLOWED_HOSTS" in problem(client.get("/healthz", headers={"Host": "evil.example"}), 421)["detail"]


def test_the_log_tells_of_each_prediction_in_json(home: Path, png: bytes, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with predictor_process(home, log) as client:
        assert predict(client, files(png, png), fast=True).status_code == 200
    events = [json.loads(line) for line in log.read_text().splitlines()]
    names = [event["event"] for event in events]
    assert names.index("predictor.model_loaded") < names.index("predictor.predicted")
    predicted = events[names.index("predictor.predicted")]
    request = events[names.index("request")]
    assert (predicted["model"], predicted["images"]) == (JOB, 2)
    assert predicted["request_id"] == request["request_id"]
    assert names[-1] == "predictor.stopped"


@pytest.mark.parametrize(
    ("setting", "value"),
    [("SDCN_PREDICTOR_PORT", "99999"), ("SDCN_PREDICTOR_DEVICE", "tpu"), ("SDCN_PREDICTOR_MAX_MODELS", "0")],
)
def test_a_wrong_setting_is_named_and_ends_the_process(setting: str, value: str, tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "workers.predictor"],
        env=os.environ | {"SDCN_HOME": str(tmp_path), setting: value},
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ended.returncode == 2
    assert json.loads(ended.stderr.splitlines()[-1])["variable"] == setting
