"""The predictor as an ASGI application. All HTTP of the workers is in this module.

Problems, bounds of bodies, request ids and log lines are the API's own, so that both speak alike.
"""

import secrets
import threading
from collections.abc import Sequence
from pathlib import PurePosixPath
from typing import Annotated, Any

from fastapi import FastAPI, File, Query, UploadFile
from fastapi.concurrency import run_in_threadpool
from fastapi_offline import FastAPIOffline
from pydantic import BaseModel, ConfigDict, Field
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from service.api.body_limit import BodyLimit
from service.api.documentation import document_problems, problems
from service.api.lingering import LingeringClose
from service.api.middleware import RequestScope
from service.api.problems import handle_problems, problem_response
from service.jobs.answers import PredictionsRead
from service.jobs.inference_specs import ModelId, PredictSpec
from workers.predictor.answers import PredictorAlive
from workers.predictor.models import ModelShelf
from workers.predictor.predicting import ImagePredictor, UploadedImage, Wishes
from workers.predictor.settings import PredictorSettings

OPEN_PATHS = frozenset({"/healthz"})
"""answered without the token"""


def _default(name: str) -> Any:  # noqa: ANN401  of a field of PredictSpec: a request means what a job would
    return PredictSpec.model_fields[name].default


class PredictParameters(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True, protected_namespaces=())

    model: ModelId
    score_threshold: float = Field(default=_default("score_threshold"), ge=0, le=1, allow_inf_nan=False)
    """boxes with lower scores are left out"""
    max_boxes: int = Field(default=_default("max_boxes"), ge=1, le=1000)
    """of an image, best first"""
    fast: bool = _default("fast")
    """one scale and no mirror image: quicker, a little less accurate"""


def create_app(settings: PredictorSettings, shelf: ModelShelf, stopping: threading.Event) -> FastAPI:
    """The application; see `ImagePredictor` for its arguments."""
    app = FastAPIOffline(
        docs_url="/docs",
        redoc_url=None,
        title="SDCN predictor",
        version="1",
        summary="Objects in images, by models that the service has trained",
        redirect_slashes=False,
    )
    predictor = ImagePredictor(settings, shelf, stopping)

    @app.post(
        "/predict",
        responses=problems(
            _401="the token is missing or wrong",
            _404="no such model",
            _413="the images are too large together",
            _422="a parameter, an image or the model cannot be used",
            _503="others are before this request; try again",
        ),
    )
    async def predict(
        parameters: Annotated[PredictParameters, Query()],
        images: Annotated[list[UploadFile], File(description="JPEG or PNG files")],
    ) -> PredictionsRead:
        """Detect objects in each image; nothing is predicted where one of them cannot be used."""
        wishes = Wishes(parameters.model, parameters.score_threshold, parameters.max_boxes, parameters.fast)
        return await run_in_threadpool(predictor.predict, wishes, _uploaded(images))

    @app.get("/healthz")
    async def alive() -> PredictorAlive:
        """Whether the process answers."""
        return PredictorAlive(models_in_memory=len(shelf.in_memory))

    handle_problems(app)
    document_problems(app)
    app.add_middleware(BodyLimit, max_bytes=settings.max_predict_bytes)
    if settings.predictor_token is not None:
        app.add_middleware(TokenGate, token=settings.predictor_token.get_secret_value())
    app.add_middleware(RequestScope, hosts=settings.predictor_hosts)
    app.add_middleware(LingeringClose)
    return app


class TokenGate:
    """Answers 401, before a body is read, to who does not know the token; OPEN_PATHS are everybody's."""

    def __init__(self, app: ASGIApp, *, token: str) -> None:
        self._app = app
        self._expected = f"Bearer {token}".encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in OPEN_PATHS:
            given = Headers(scope=scope).get("authorization", "").encode()
            if not secrets.compare_digest(given, self._expected):
                refusal = problem_response(
                    401,
                    "send the predictor's token, SDCN_PREDICTOR_TOKEN, as Authorization: Bearer TOKEN",
                    headers={"WWW-Authenticate": "Bearer", "Connection": "close"},
                )
                await refusal(scope, receive, send)
                return
        await self._app(scope, receive, send)


def _uploaded(images: Sequence[UploadFile]) -> list[UploadedImage]:
    return [UploadedImage(_file_name(image.filename), image.file) for image in images]


def _file_name(given: str | None) -> str:
    """The client's name of a file, without folders, short, and fit for JSON and logs."""
    name = PurePosixPath((given or "").replace("\\", "/")).name[:200]
    return "".join(c for c in name.encode("utf-8", "replace").decode() if c.isprintable()) or "image"
