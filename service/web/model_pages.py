"""Finished models; on the page of each a form to try it on an image, and one to make a second stage of it."""

import base64
import json
import secrets
from typing import Annotated, Any

import httpx
from fastapi import APIRouter, File, Form, Query, Request, UploadFile
from fastapi.concurrency import run_in_threadpool
from pydantic import Field
from starlette.responses import RedirectResponse, Response

from service import submission
from service.api.cursors import read_cursor, write_cursor
from service.api.dependencies import (
    NO_PARAMETERS,
    DatasetsDep,
    ModelsDep,
    Parameters,
    PredictorDep,
    QueueDep,
    RegistryDep,
)
from service.api.models import ModelId, find_model
from service.api.same_site import SAME_SITE
from service.api.study_schemas import describe_model
from service.errors import InvalidSpec, PredictorRefused, PredictorUnavailable, ServiceError
from service.jobs.answers import ModelRead
from service.models import ModelCatalogue
from service.predictor import Predictor
from service.registry import ModelRegistry
from service.web.form_submission import Checked, idempotency_key, look_at
from service.web.found_boxes import FoundBoxes, read_boxes
from service.web.rendering import RenderDep
from service.web.second_stage_form import FIELD_NAMES, WORKS, SecondStageForm, place_problems, read_second_stage

router = APIRouter(include_in_schema=False)

PAGE_LENGTH = 30
MAX_SHOWN_BYTES = 16 * 1024 * 1024
"""of an image: the page that shows the boxes carries it whole, a third longer"""
SHOWN_TYPES = {b"\xff\xd8": "image/jpeg", b"\x89PNG": "image/png"}
"""what begins so is shown as that; what the browser says of it is not believed"""
DEFAULT_LEAST_SCORE = 0.3


class UnreadableAnswer(ServiceError):
    """The predictor is of another version."""

    status = 502
    title = "The predictor answered something else"


class ModelParameters(Parameters):
    cursor: str | None = Field(default=None, min_length=1, max_length=200)


@router.get("/models")
def show_models(
    parameters: Annotated[ModelParameters, Query()], models: ModelsDep, registry: RegistryDep, render: RenderDep
) -> Response:
    after = None if parameters.cursor is None else read_cursor(parameters.cursor)
    page = models.page(limit=PAGE_LENGTH, after=after)
    registered = registry.look() if page.models else None
    older = None if page.following is None else write_cursor(page.following)
    shown = [describe_model(model, registered) for model in page.models]
    return render("models.html", models=shown, older=older, first=parameters.cursor is None)


@router.get("/models/{model_id:path}", dependencies=[NO_PARAMETERS])
def show_model(
    request: Request,
    model_id: ModelId,
    models: ModelsDep,
    registry: RegistryDep,
    predictor: PredictorDep,
    render: RenderDep,
) -> Response:
    model = _look_up(model_id, models, registry)
    return render("model.html", **_context(request, model, predictor))


@router.post("/models/{model_id:path}/predict", dependencies=[NO_PARAMETERS, SAME_SITE])
async def try_model(
    request: Request,
    model_id: ModelId,
    image: Annotated[UploadFile, File()],
    models: ModelsDep,
    registry: RegistryDep,
    predictor: PredictorDep,
    render: RenderDep,
    least_score: Annotated[float, Form(ge=0, le=1)] = DEFAULT_LEAST_SCORE,
) -> Response:
    """The image with the boxes that the model finds in it."""
    shown = await run_in_threadpool(_look_up, model_id, models, registry)
    content = await image.read(MAX_SHOWN_BYTES + 1)
    media_type = next((kind for start, kind in SHOWN_TYPES.items() if content.startswith(start)), None)

    def page(status: int, **others: object) -> Response:
        return render("model.html", status, **_context(request, shown, predictor, least_score=least_score, **others))

    if not content:
        return page(422, problem="choose an image first")
    if media_type is None or len(content) > MAX_SHOWN_BYTES:
        return page(422, problem=f"choose a JPEG or PNG file of at most {MAX_SHOWN_BYTES // 1024**2} MiB")
    try:
        found = await _boxes(predictor, shown.id, content, media_type)
    except (PredictorRefused, PredictorUnavailable) as error:
        return page(error.status, problem=error.detail)
    source = f"data:{media_type};base64,{base64.b64encode(content).decode()}"
    name = (image.filename or "the image")[:100]
    return page(200, found=found.above(least_score), source=source, image_name=name)


@router.post("/models/{model_id:path}/second-stage", dependencies=[NO_PARAMETERS, SAME_SITE])
def teach(
    request: Request,
    model_id: ModelId,
    form: Annotated[SecondStageForm, Form()],
    queue: QueueDep,
    datasets: DatasetsDep,
    models: ModelsDep,
    registry: RegistryDep,
    predictor: PredictorDep,
    render: RenderDep,
) -> Response:
    """Queue the second stage that the form asks for and show the job; or show the form with what is wrong beside each
    field.
    """
    model = _look_up(model_id, models, registry)
    checked: Checked | None = None
    spec, refused = read_second_stage(form, model.id)
    if spec is not None:
        try:
            if form.action != "check":
                key = idempotency_key(form.token, spec)
                job = submission.submit(queue, spec, datasets, idempotency_key=key, models=models).job
                return RedirectResponse(f"/jobs/{job.job_id}", status_code=303)
            checked = look_at(spec, datasets, models)
        except InvalidSpec as error:
            place_problems(error.fields, refused)
            if not refused:
                refused.add(None, error.detail)
    told: dict[str, object] = {"problems": refused.by_field, "whole_problems": refused.whole, "checked": checked}
    return render("model.html", 422 if refused else 200, **_context(request, model, predictor, form=form, **told))


def _look_up(model_id: str, models: ModelCatalogue, registry: ModelRegistry) -> ModelRead:
    """The model as its page shows it. Call it in a thread: it reads files, and MLflow may be silent for seconds."""
    return describe_model(find_model(model_id, models, registry), registry.look())


async def _boxes(predictor: Predictor, model_id: str, content: bytes, media_type: str) -> FoundBoxes:
    form = httpx.Request("POST", "http://form", files={"images": ("image", content, media_type)})
    answer = await predictor.predict(model_id, _once(form.read()), content_type=form.headers["content-type"])
    try:
        return read_boxes(json.loads(answer))
    except ValueError as error:
        raise UnreadableAnswer("the predictor's answer is none this service can read: run the same version") from error


async def _once(body: bytes) -> Any:  # noqa: ANN401 - an asynchronous generator
    yield body


def _context(request: Request, model: ModelRead, predictor: Predictor, **others: object) -> dict[str, Any]:
    """What the page shows; both of its forms are empty, unless `others` says what came of one."""
    empty: dict[str, Any] = {
        "least_score": DEFAULT_LEAST_SCORE,
        "problem": None,
        "found": None,
        "form": SecondStageForm(token=secrets.token_hex(16)),
        "problems": {},
        "whole_problems": [],
        "checked": None,
    }
    shown = {
        "model": model,
        "address": str(request.base_url).rstrip("/"),
        "can_predict": predictor.url is not None,
        "names": FIELD_NAMES,
        "works": WORKS,
    }
    return shown | empty | others
