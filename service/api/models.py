"""Trained models: listed, looked at, asked for predictions."""

from typing import Annotated, Any

from fastapi import APIRouter, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from service.api.cursors import read_cursor, write_cursor
from service.api.dependencies import NO_PARAMETERS, ModelsDep, Parameters, PredictorDep, RegistryDep
from service.api.documentation import problems
from service.api.same_site import SAME_SITE
from service.api.study_schemas import describe_model
from service.jobs.answers import ModelList, ModelRead, PredictionsRead
from service.models import Model, ModelCatalogue
from service.registry import CHAMPION, ModelRegistry

router = APIRouter(prefix="/v1/models", tags=["models"])

PREDICT_PATH = r"(/v1)?/models/.+/predict"
"""here, and on the pages: images are larger than other bodies"""
_IMAGES: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["images"],
                    "properties": {
                        "images": {"type": "array", "minItems": 1, "items": {"type": "string", "format": "binary"}}
                    },
                }
            }
        },
    }
}

ModelId = Annotated[
    str,
    Path(
        max_length=200,
        description="JOB, or JOB/RUN for a run of a study; NAME@champion for the champion of a registered model, or"
        " champion alone where there is only one",
    ),
]


class PredictParameters(Parameters):
    """What is left out is as in a job of kind predict."""

    score_threshold: float | None = Field(default=None, ge=0, le=1, allow_inf_nan=False)
    """boxes with lower scores are left out"""
    max_boxes: int | None = Field(default=None, ge=1, le=1000)
    """of an image, best first"""
    fast: bool | None = None
    """one scale and no mirror image: quicker, a little less accurate"""


class ModelParameters(Parameters):
    limit: int = Field(default=50, ge=1, le=200)
    """about so many: all models of a study come on one page"""
    cursor: str | None = Field(default=None, min_length=1, max_length=200)
    """next_cursor of the page before"""


@router.get("", responses=problems(_400="the cursor is none of ours", _422="a parameter is not valid"))
def list_models(parameters: Annotated[ModelParameters, Query()], models: ModelsDep, registry: RegistryDep) -> ModelList:
    """Models that trainings have left, those of the newest jobs first."""
    after = None if parameters.cursor is None else read_cursor(parameters.cursor)
    page = models.page(limit=parameters.limit, after=after)
    registered = registry.look() if page.models else None
    return ModelList(
        models=tuple(describe_model(model, registered) for model in page.models),
        next_cursor=None if page.following is None else write_cursor(page.following),
    )


@router.get(
    "/{model_id:path}",
    dependencies=[NO_PARAMETERS],
    responses=problems(_404="no such model", _409="which champion is meant is not clear", _503="MLflow is away"),
)
def get_model(model_id: ModelId, models: ModelsDep, registry: RegistryDep) -> ModelRead:
    """A model: what it detects, how good it is, what it is registered as."""
    return describe_model(find_model(model_id, models, registry), registry.look())


@router.post(
    "/{model_id:path}/predict",
    dependencies=[SAME_SITE],
    openapi_extra=_IMAGES,
    response_model=PredictionsRead,
    responses=problems(
        _400="the body cannot be read",
        _403="another site sent it",
        _404="no such model",
        _409="which champion is meant is not clear",
        _413="the images are too large together",
        _415="the body is no multipart/form-data",
        _422="a parameter or an image cannot be used",
        _503="the predictor does not answer, or others are before this request",
    ),
)
async def predict(
    model_id: ModelId,
    parameters: Annotated[PredictParameters, Query()],
    request: Request,
    models: ModelsDep,
    registry: RegistryDep,
    predictor: PredictorDep,
) -> Response:
    """Detect objects in images: each a file in the field `images`."""
    content_type = request.headers.get("content-type", "")
    if not content_type.lower().startswith("multipart/form-data"):
        raise HTTPException(415, "send the images as multipart/form-data, each as a file in the field `images`")
    model = await run_in_threadpool(find_model, model_id, models, registry)
    wishes = parameters.model_dump(exclude_none=True)
    answer = await predictor.predict(model.model_id, request.stream(), content_type=content_type, wishes=wishes)
    return Response(answer, media_type="application/json")


def find_model(model_id: str, models: ModelCatalogue, registry: ModelRegistry) -> Model:
    """The model by its id, or by its being the champion.

    Raises:
        ModelNotFound: there is none.
        ChampionUnclear: `champion` alone, and not exactly one is.
        RegistryUnavailable: a champion was asked for, and MLflow does not answer.
    """
    if model_id == CHAMPION:
        return models.get(registry.champion(None))
    if model_id.endswith(f"@{CHAMPION}"):
        return models.get(registry.champion(model_id.removesuffix(f"@{CHAMPION}")))
    return models.get(model_id)
