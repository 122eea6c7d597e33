"""What a client may ask for: every kind of job, told apart by `kind`; without one it is `train`."""

from collections.abc import Mapping
from typing import Annotated

from pydantic import Discriminator, Tag, TypeAdapter

from service.jobs.ablation_spec import AblationSpec
from service.jobs.base_spec import Resources
from service.jobs.inference_specs import EvaluateSpec, PredictSpec
from service.jobs.sweep_spec import SweepSpec
from service.jobs.train_spec import TrainSpec

__all__ = [
    "JOB_SPEC",
    "KINDS",
    "AblationSpec",
    "EvaluateSpec",
    "JobSpec",
    "PredictSpec",
    "Resources",
    "SweepSpec",
    "TrainSpec",
]

KINDS = ("train", "ablation", "sweep", "evaluate", "predict")


def _kind(spec: object) -> object:
    return spec.get("kind", "train") if isinstance(spec, Mapping) else getattr(spec, "kind", None)


JobSpec = Annotated[
    Annotated[TrainSpec, Tag("train")]
    | Annotated[AblationSpec, Tag("ablation")]
    | Annotated[SweepSpec, Tag("sweep")]
    | Annotated[EvaluateSpec, Tag("evaluate")]
    | Annotated[PredictSpec, Tag("predict")],
    Discriminator(
        _kind,
        custom_error_type="unknown_kind",
        custom_error_message=f"there is no such kind of job; there are: {', '.join(KINDS)}",
    ),
]
JOB_SPEC: TypeAdapter[TrainSpec | AblationSpec | SweepSpec | EvaluateSpec | PredictSpec] = TypeAdapter(JobSpec)
