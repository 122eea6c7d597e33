"""What bounds a request, in this process, where others can be made to be in the way."""

import io
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import httpx
import pytest

from sdcn_core.inference.predictor import Predictor
from sdcn_core.inference.proposing import turn_to_search
from sdcn_core.models.saved import load_model
from tests.sdcn_core.export.saved_models import experiment_of, write_model
from tests.service.in_process import serving
from workers.predictor.app import create_app
from workers.predictor.errors import ModelUnusable, PredictorBusy
from workers.predictor.models import ModelShelf
from workers.predictor.predicting import ImagePredictor, UploadedImage, Wishes
from workers.predictor.settings import PredictorSettings

WISHES = Wishes("a", score_threshold=0.0, max_boxes=5, fast=True)


@pytest.fixture
def settings(tmp_path: Path) -> PredictorSettings:
    artifacts = tmp_path / "runs" / "a" / "artifacts"
    artifacts.mkdir(parents=True)
    write_model(artifacts / "model.pt", experiment_of())
    return PredictorSettings(home=tmp_path, predictor_wait_s=0, predictor_max_requests=1)


@pytest.fixture
def shelf(settings: PredictorSettings) -> ModelShelf:
    return ModelShelf(settings.runs, max_models=1, max_bytes=2**30, load=Predictor.load)


def uploaded(*contents: bytes) -> list[UploadedImage]:
    return [UploadedImage("photo.png", io.BytesIO(content)) for content in contents]


def test_a_request_that_finds_its_model_in_use_is_told_when_to_come_again(
    settings: PredictorSettings, shelf: ModelShelf, png: bytes
) -> None:
    app = create_app(settings, shelf, threading.Event())
    with serving(app) as transport, httpx.Client(transport=transport, base_url="http://localhost") as client:
        with shelf.lent("a", wait_s=0):
            busy = client.post("/predict?model=a", files={"images": png})
        assert (busy.status_code, busy.headers["retry-after"]) == (503, "5")
        assert "model a is in use" in busy.json()["detail"]
        assert client.post("/predict?model=a", files={"images": png}).status_code == 200


def test_more_requests_than_the_bound_are_refused_at_once(
    settings: PredictorSettings, shelf: ModelShelf, png: bytes
) -> None:
    patient = settings.model_copy(update={"predictor_wait_s": 60})
    predictor, reading, go_on = ImagePredictor(patient, shelf, threading.Event()), threading.Event(), threading.Event()

    class SlowFile(io.BytesIO):
        def read(self, size: int | None = -1) -> bytes:
            reading.set()
            go_on.wait()
            return super().read(size)

    with ThreadPoolExecutor(1) as threads:
        first = threads.submit(predictor.predict, WISHES, [UploadedImage("slow.png", SlowFile(png))])
        reading.wait()
        with pytest.raises(PredictorBusy, match="1 requests are before this one"):
            predictor.predict(WISHES, uploaded(png))
        go_on.set()
        assert len(first.result(timeout=60).images) == 1
    assert len(predictor.predict(WISHES, uploaded(png)).images) == 1


def test_a_process_that_ends_breaks_off_between_images(
    settings: PredictorSettings, shelf: ModelShelf, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    stopping, predict, done = threading.Event(), Predictor.predict, []

    def predict_and_stop(predictor: Predictor, *arguments: object, **settings: object) -> object:
        done.append(predict(predictor, *arguments, **settings))  # type: ignore[arg-type]
        stopping.set()
        return done[-1]

    monkeypatch.setattr(Predictor, "predict", predict_and_stop)
    with pytest.raises(PredictorBusy, match="about to end"):
        ImagePredictor(settings, shelf, stopping).predict(WISHES, uploaded(png, png, png))
    assert len(done) == 1


def test_a_model_whose_weights_are_spoilt_is_refused_with_its_id(settings: PredictorSettings, png: bytes) -> None:
    def spoilt(path: Path) -> Predictor:
        saved = load_model(path)
        predictor = Predictor(saved)
        saved.network.detection.features.fc7.bias.fill_(float("inf"))
        return predictor

    shelf = ModelShelf(settings.runs, max_models=1, max_bytes=2**30, load=spoilt)
    with pytest.raises(ModelUnusable, match=r"model a, image photo\.png: .* not finite"):
        ImagePredictor(settings, shelf, threading.Event()).predict(WISHES, uploaded(png))


def test_a_request_does_not_wait_for_the_search_of_anothers_image_without_bound(
    settings: PredictorSettings, shelf: ModelShelf, png: bytes
) -> None:
    impatient = ImagePredictor(settings, shelf, threading.Event())
    with turn_to_search(None), pytest.raises(PredictorBusy, match="other images are searched"):
        impatient.predict(WISHES, uploaded(png))
    assert len(impatient.predict(WISHES, uploaded(png)).images) == 1


def test_all_waits_of_a_request_share_its_time(
    settings: PredictorSettings, shelf: ModelShelf, png: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    patience, predict = [], Predictor.predict

    def predict_after_waiting(predictor: Predictor, *images: object, wait_s: float, **wishes: object) -> object:
        patience.append(wait_s)
        return replace(predict(predictor, *images, **wishes), waited_s=40.0)  # type: ignore[arg-type]

    monkeypatch.setattr(Predictor, "predict", predict_after_waiting)
    patient = settings.model_copy(update={"predictor_wait_s": 600.0})
    ImagePredictor(patient, shelf, threading.Event()).predict(WISHES, uploaded(png, png))
    assert 0 < patience[0] < 600
    assert patience[1] == pytest.approx(patience[0] - 40)
