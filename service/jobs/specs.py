"""What a client may ask for: every kind of job, told apart by `kind`; without one it is `train`."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import BaseModel, Discriminator, JsonValue, Tag, TypeAdapter
from pydantic_core import to_jsonable_python

from service.jobs.ablation_spec import AblationSpec
from service.jobs.base_spec import Resources
from service.jobs.data_specs import CheckDataSpec
from service.jobs.inference_specs import EvaluateSpec, PredictSpec
from service.jobs.second_stage_spec import SecondStageSpec
from service.jobs.sweep_spec import SweepSpec
from service.jobs.train_spec import TrainSpec

__all__ = [
    "JOB_SPEC",
    "KINDS",
    "AblationSpec",
    "CheckDataSpec",
    "EvaluateSpec",
    "JobSpec",
    "PredictSpec",
    "Resources",
    "SecondStageSpec",
    "SweepSpec",
    "TrainSpec",
    "asked_for",
]

KINDS = ("train", "ablation", "sweep", "evaluate", "predict", "second_stage", "check_data")


def _kind(spec: object) -> object:
    return spec.get("kind", "train") if isinstance(spec, Mapping) else getattr(spec, "kind", None)


JobSpec = Annotated[
    Annotated[TrainSpec, Tag("train")]
    | Annotated[AblationSpec, Tag("ablation")]
    | Annotated[SweepSpec, Tag("sweep")]
    | Annotated[EvaluateSpec, Tag("evaluate")]
    | Annotated[PredictSpec, Tag("predict")]
    | Annotated[SecondStageSpec, Tag("second_stage")]
    | Annotated[CheckDataSpec, Tag("check_data")],
    Discriminator(
        _kind,
        custom_error_type="unknown_kind",
        custom_error_message=f"there is no such kind of job; there are: {', '.join(KINDS)}",
    ),
]
JOB_SPEC: TypeAdapter[
    TrainSpec | AblationSpec | SweepSpec | EvaluateSpec | PredictSpec | SecondStageSpec | CheckDataSpec
] = TypeAdapter(JobSpec)


def asked_for(spec: BaseModel) -> dict[str, JsonValue]:
    """The spec as the JSON of a request: what was said, and at each level the `kind`, by which it is read again.

    >>> asked_for(JOB_SPEC.validate_python({'kind': 'check_data', 'source': {'kind': 'scenes', 'seed': 1}}))
    {'kind': 'check_data', 'source': {'kind': 'scenes', 'seed': 1}}
    """
    said = [name for name in type(spec).model_fields if name == "kind" or name in spec.model_fields_set]
    return {name: _as_json(getattr(spec, name)) for name in said}


def _as_json(value: object) -> JsonValue:
    match value:
        case BaseModel():
            return asked_for(value)
        case Mapping():
            return {str(name): _as_json(entry) for name, entry in value.items()}
        case list() | tuple():
            return [_as_json(entry) for entry in value]
        case _:
            plain: JsonValue = to_jsonable_python(value)
            return plain
