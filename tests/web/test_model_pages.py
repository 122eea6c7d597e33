import asyncio
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from fastapi import FastAPI

from service.registry import ModelRegistry
from service.web.found_boxes import read_boxes
from tests.web.example_pictures import write_photo
from tests.web.examples import Examples
from tests.web.predictors import FOUND, attach_predictor


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    return write_photo(tmp_path / "photo.png")


def test_without_models_the_page_says_how_to_get_one(browser_like: httpx.Client) -> None:
    assert "No finished training has left a model yet" in browser_like.get("/models").text


def test_models_are_listed_with_what_they_are_worth(browser_like: httpx.Client, examples: Examples) -> None:
    job = examples.trained()
    page = browser_like.get("/models").text
    assert f'href="/models/{job.job_id}"' in page
    assert "84.1 mAP" in page


def test_without_a_predictor_there_is_no_form(browser_like: httpx.Client, examples: Examples) -> None:
    page = browser_like.get(f"/models/{examples.trained().job_id}").text
    assert "No predictor runs with this service" in page
    assert 'type="file"' not in page


def test_boxes_are_drawn_over_the_image_that_was_sent(
    app: FastAPI, browser_like: httpx.Client, examples: Examples, photo: Path
) -> None:
    asked = attach_predictor(app)
    job = examples.trained()
    files = {"image": ("photo.png", photo.read_bytes(), "image/png")}
    page = browser_like.post(f"/models/{job.job_id}/predict", files=files, data={"least_score": "0.3"})
    assert page.status_code == 200
    assert 'class="box c1" x="20.0" y="30.0" width="70.0" height="90.0"' in page.text
    assert page.text.count('<rect class="box-edge"') == 2  # the third is below the least score
    assert 'src="data:image/png;base64,' in page.text
    assert "&lt;b&gt;drum&lt;/b&gt;" in page.text
    assert asked[0].headers["authorization"] == "Bearer secret"
    assert photo.read_bytes() in asked[0].content


def test_a_registry_that_is_slow_to_answer_holds_up_no_other_request(
    app: FastAPI, browser_like: httpx.Client, examples: Examples, photo: Path
) -> None:
    attach_predictor(app)
    held_up = []

    def answer(request: httpx.Request) -> httpx.Response:
        held_up.append(on_the_event_loop())
        return httpx.Response(200, json={})

    app.state.registry = ModelRegistry("http://mlflow.test", transport=httpx.MockTransport(answer))
    files = {"image": ("photo.png", photo.read_bytes(), "image/png")}
    assert browser_like.post(f"/models/{examples.trained().job_id}/predict", files=files).status_code == 200
    assert held_up == [False, False]


def on_the_event_loop() -> bool:
    """Whether this runs in the thread that serves all requests."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def test_an_image_without_objects_says_that_nothing_was_found(
    app: FastAPI, browser_like: httpx.Client, examples: Examples, photo: Path
) -> None:
    attach_predictor(app, prediction=replace(FOUND, detections=()))
    files = {"image": ("photo.png", photo.read_bytes(), "image/png")}
    page = browser_like.post(f"/models/{examples.trained().job_id}/predict", files=files)
    assert "No box has a score of at least 0.3" in page.text


@pytest.mark.parametrize(
    ("content", "said"),
    [(b"", "choose an image first"), (b"<svg onload=alert(1)>", "choose a JPEG or PNG"), (b"GIF89a", "choose a JPEG")],
)
def test_a_file_that_is_no_picture_is_refused_beside_the_field(
    app: FastAPI, browser_like: httpx.Client, examples: Examples, content: bytes, said: str
) -> None:
    asked = attach_predictor(app)
    files = {"image": ("photo.png", content, "image/png")}
    page = browser_like.post(f"/models/{examples.trained().job_id}/predict", files=files)
    assert page.status_code == 422
    assert said in page.text.split('id="image-problem"')[1]
    assert asked == []


def test_an_image_larger_than_other_bodies_may_be_is_taken(
    app: FastAPI, browser_like: httpx.Client, examples: Examples, photo: Path
) -> None:
    attach_predictor(app)
    files = {"image": ("photo.png", photo.read_bytes() + b"\0" * 3_000_000, "image/png")}
    assert browser_like.post(f"/models/{examples.trained().job_id}/predict", files=files).status_code == 200


def test_what_the_predictor_refuses_is_told_beside_the_field(
    app: FastAPI, browser_like: httpx.Client, examples: Examples, photo: Path
) -> None:
    attach_predictor(app, status=400)
    files = {"image": ("photo.png", photo.read_bytes(), "image/png")}
    page = browser_like.post(f"/models/{examples.trained().job_id}/predict", files=files)
    assert page.status_code == 400
    assert "is broken: send another" in page.text.split('id="image-problem"')[1]


def test_a_form_of_another_site_asks_nothing(
    app: FastAPI, browser_like: httpx.Client, examples: Examples, photo: Path
) -> None:
    asked = attach_predictor(app)
    path = f"/models/{examples.trained().job_id}/predict"
    files = {"image": ("photo.png", photo.read_bytes(), "image/png")}
    assert browser_like.post(path, files=files, headers={"Sec-Fetch-Site": "cross-site"}).status_code == 403
    assert asked == []


def test_a_model_that_is_not_there_has_a_page_that_says_so(browser_like: httpx.Client, examples: Examples) -> None:
    page = browser_like.get("/models/abc123/nobody")
    assert page.status_code == 404
    assert "No such model" in page.text


@pytest.mark.parametrize("answer", [{}, {"images": []}, {"images": [{"width": 0, "height": 1, "boxes": []}]}, []])
def test_an_answer_that_is_none_of_a_predictor_is_not_drawn(answer: object) -> None:
    with pytest.raises(ValueError, match="no answer of a predictor"):
        read_boxes(answer)  # type: ignore[arg-type]  # whatever comes over the wire
