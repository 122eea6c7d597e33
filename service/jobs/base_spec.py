"""What every kind of job has in common: a name, resources, attempts, a priority, and how a spec is refused."""

from collections.abc import Mapping
from typing import Annotated, Self

from pydantic import Field, JsonValue, ValidationError, model_validator

from sdcn_core.config.base import FrozenConfig
from sdcn_core.config.data import Name
from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.presets import PRESETS
from sdcn_core.config.second_stages import SECOND_STAGES
from service.errors import FieldProblem, InvalidSpec
from service.jobs.refusals import field_problems

MAX_RUNTIME_S = 366 * 86400

JobId = Annotated[str, Field(pattern=r"^[0-9a-f]{1,32}$")]
Priority = Annotated[int, Field(ge=-100, le=100)]
Overrides = dict[Annotated[str, Field(max_length=200)], JsonValue]


class Resources(FrozenConfig):
    """What one training gets. Each Ray Train worker is one process and, with GPUs, holds its own."""

    num_workers: int = Field(default=1, ge=1, le=64)
    """processes that share each step's images; every images_per_step must be a multiple of it"""
    cpus_per_worker: int | None = Field(default=None, ge=1, le=256)
    """null: the worker that runs the job shares out what it has; where several trainings run side by side, 1"""
    gpus_per_worker: int = Field(default=0, ge=0, le=8)


_HOW = ("name", "max_attempts", "max_lost_attempts", "priority", "max_runtime_s", "after")
"""fields that say how the work is called and carried out, not what it is"""


class BaseSpec(FrozenConfig):
    """Fields of every job. Kinds add `kind` and what they are about."""

    name: Name | None = None
    """shown in lists and in MLflow; null: the preset's name"""
    resources: Resources = Resources()
    max_attempts: int = Field(default=3, ge=1, le=20)
    """so many crashes of its own process fail the job; what would only come again fails it at once"""
    max_lost_attempts: int = Field(default=10, ge=1, le=100)
    """so many attempts lost to a worker, Ray, a disk or the network fail it"""
    priority: Priority = 0
    """larger is claimed earlier"""
    max_runtime_s: float | None = Field(default=None, gt=0, le=MAX_RUNTIME_S)
    """how long it may run, over all attempts, before it is stopped and fails; null: as long as it takes"""
    after: tuple[JobId, ...] = Field(default=(), max_length=20)
    """ids of jobs that must have succeeded before this one is claimed; when one does not, this one is cancelled"""

    def digest_without_name(self) -> str:
        """Equal for specs that ask for the same work."""
        default = {name: field.get_default() for name, field in BaseSpec.model_fields.items() if name in _HOW}
        return self.model_copy(update=default).digest()


class ExperimentSpec(BaseSpec):
    """A job about an experiment: a preset or a whole one, with overrides."""

    preset: str | None = Field(default=None, max_length=64)
    """a name from GET /v1/presets; either this or `experiment`"""
    experiment: ExperimentConfig | None = None
    """the whole experiment; what is left out has the paper's value"""
    overrides: Overrides = Field(default_factory=dict, max_length=200)
    """dotted path in the experiment -> value, applied last: {"objective.tau_0": 0.3}; a data set that is registered:
    {"data.source": {"kind": "registered", "name": "animals"}}"""

    @model_validator(mode="before")
    @classmethod
    def _registered_source_as_an_override(cls, spec: object) -> object:
        """An experiment knows no registered data sets, so one that is written in it is taken for the first override."""
        match spec:
            case {"experiment": {"data": {"source": {"kind": "registered"} as named, **data}, **parts}, **others}:
                overrides = others.pop("overrides", {})
                if isinstance(overrides, Mapping):
                    moved = {"data.source": named, **overrides}
                    return {**others, "experiment": {**parts, "data": data}, "overrides": moved}
        return spec

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.preset is None) == (self.experiment is None):
            raise ValueError("give exactly one of preset and experiment (GET /v1/presets lists the presets)")
        return self

    @property
    def resolved_experiment(self) -> ExperimentConfig:
        """The full experiment of a resolved spec.

        Raises:
            ValueError: the spec is not resolved.
        """
        if self.experiment is None or self.overrides:
            raise ValueError("the spec is not resolved: call resolve() first")
        return self.experiment

    def fold(self) -> ExperimentConfig:
        """Preset and overrides as one experiment.

        Raises:
            InvalidSpec: unknown preset, an override that the experiment refuses, or a second stage.
        """
        base = self.experiment
        if self.preset in SECOND_STAGES:
            raise refused(
                "preset", f"{self.preset} follows on a trained model: submit a job of kind second_stage and name one"
            )
        if base is None:
            if self.preset is None or self.preset not in PRESETS:
                known = ", ".join(PRESETS)
                raise refused("preset", f"no preset is named {self.preset!r}; there are: {known}")
            base = PRESETS[self.preset]()
        experiment = overridden(base, self.overrides, under="overrides", otherwise="experiment")
        if experiment.second_stage is not None:
            raise refused(
                "experiment.second_stage", "learns from a trained model: submit it as a job of kind second_stage"
            )
        return experiment


def overridden(base: ExperimentConfig, overrides: Overrides, *, under: str, otherwise: str) -> ExperimentConfig:
    """The experiment with the overrides.

    Args:
        base: what they are applied to.
        overrides: dotted path -> value.
        under: what the client calls the overrides, for messages.
        otherwise: what the client calls the experiment itself.

    Raises:
        InvalidSpec: naming the override at fault.
    """
    try:
        return base.with_overrides(overrides)
    except ValidationError as error:
        problems = field_problems(error.errors(), of_job=False)
        raise refuse(tuple(_name_override(p, overrides, under, otherwise) for p in problems)) from None
    except ValueError as error:
        raise refused(under, str(error)) from None


def _name_override(problem: FieldProblem, overrides: Overrides, under: str, otherwise: str) -> FieldProblem:
    """The problem under the name the client wrote: the override at fault, if one is."""
    for path in overrides:
        if f"{problem.field}.".startswith(f"{path}."):
            return FieldProblem(f"{under}.{problem.field}", problem.message)
        if path.startswith(f"{problem.field}."):  # the model stops at the first name it does not know
            return FieldProblem(f"{under}.{path}", problem.message)
    return FieldProblem(f"{otherwise}.{problem.field}".rstrip("."), problem.message)


def unshareable(experiment: ExperimentConfig, num_workers: int) -> tuple[FieldProblem, ...]:
    """Steps whose images cannot be dealt out evenly: every worker must take the same number."""
    schedule = experiment.schedule
    shared = {"experiment.schedule.images_per_step": schedule.images_per_step}
    if schedule.backbone.steps > 0:
        shared["experiment.schedule.backbone.images_per_step"] = schedule.backbone.images_per_step
    if schedule.classifier.steps > 0:
        shared["experiment.schedule.classifier.images_per_step"] = schedule.classifier.images_per_step
    return tuple(
        FieldProblem(
            field, f"{images} images a step cannot be shared evenly by {num_workers} workers: choose a multiple"
        )
        for field, images in shared.items()
        if images % num_workers
    )


def total_steps(experiment: ExperimentConfig) -> int:
    """Optimizer steps of all stages."""
    schedule = experiment.schedule
    second = 0 if experiment.second_stage is None else experiment.second_stage.steps
    return schedule.backbone.steps + schedule.classifier.steps + schedule.apart_steps + schedule.loop_steps + second


def refused(field: str, message: str) -> InvalidSpec:
    return refuse((FieldProblem(field, message),))


def refuse(problems: tuple[FieldProblem, ...]) -> InvalidSpec:
    return InvalidSpec("; ".join(f"{p.field}: {p.message}" if p.field else p.message for p in problems), problems)
