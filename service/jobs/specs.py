"""What a client may ask for: job specs, discriminated by `kind`, each built on ExperimentConfig."""

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, TypeAdapter, ValidationError, model_validator

from sdcn_core.config.base import FrozenConfig
from sdcn_core.config.data import Name
from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.presets import PRESETS
from service.errors import FieldProblem, InvalidSpec
from service.jobs.refusals import field_problems


class Resources(FrozenConfig):
    """What one attempt gets. Each Ray Train worker is one process and, with GPUs, holds its own."""

    num_workers: int = Field(default=1, ge=1, le=64)
    """processes that share each step's images; every images_per_step must be a multiple of it"""
    cpus_per_worker: int | None = Field(default=None, ge=1, le=256)
    """null: the worker that runs the job shares out what it has"""
    gpus_per_worker: int = Field(default=0, ge=0, le=8)


class TrainSpec(FrozenConfig):
    """Train SDCN (or, without its segmentation branch, OICR) once, and judge it."""

    kind: Literal["train"] = "train"
    name: Name | None = None
    """shown in lists and in MLflow; null: the preset's name"""
    preset: str | None = Field(default=None, max_length=64)
    """a name from GET /v1/presets; either this or `experiment`"""
    experiment: ExperimentConfig | None = None
    """the whole experiment; what is left out has the paper's value"""
    overrides: dict[Annotated[str, Field(max_length=200)], JsonValue] = Field(default_factory=dict, max_length=200)
    """dotted path in the experiment -> value, applied last: {"objective.tau_0": 0.3}"""
    resources: Resources = Resources()
    max_attempts: int = Field(default=3, ge=1, le=20)
    """attempts in all; only a lost worker or failing infrastructure leads to another one"""
    priority: int = Field(default=0, ge=-100, le=100)
    """larger is claimed earlier"""

    @model_validator(mode="after")
    def _one_origin(self) -> Self:
        if (self.preset is None) == (self.experiment is None):
            raise ValueError("give exactly one of preset and experiment (GET /v1/presets lists the presets)")
        return self

    def resolve(self) -> Self:
        """This job with preset and overrides folded into a full `experiment`; resolving again changes nothing.

        Raises:
            InvalidSpec: unknown preset, an override the experiment refuses, or numbers that do not fit together.
        """
        base = self.experiment
        if base is None:
            if self.preset is None or self.preset not in PRESETS:
                known = ", ".join(PRESETS)
                raise _refused("preset", f"no preset is named {self.preset!r}; there are: {known}")
            base = PRESETS[self.preset]()
        try:
            experiment = base.with_overrides(self.overrides)
        except ValidationError as error:
            raise _refuse(tuple(self._name_override(problem) for problem in field_problems(error.errors()))) from None
        except ValueError as error:
            raise _refused("overrides", str(error)) from None
        if problems := _unshareable(experiment, self.resources.num_workers):
            raise _refuse(problems)
        return self.model_copy(
            update={"name": self.name or self.preset, "preset": None, "experiment": experiment, "overrides": {}}
        )

    def _name_override(self, problem: FieldProblem) -> FieldProblem:
        """The problem under the name the client wrote: the override at fault, if one is."""
        for path in self.overrides:
            if f"{problem.field}.".startswith(f"{path}."):
                return FieldProblem(f"overrides.{problem.field}", problem.message)
            if path.startswith(f"{problem.field}."):  # the model stops at the first name it does not know
                return FieldProblem(f"overrides.{path}", problem.message)
        return FieldProblem(f"experiment.{problem.field}".rstrip("."), problem.message)

    @property
    def resolved_experiment(self) -> ExperimentConfig:
        """The full experiment of a resolved spec.

        Raises:
            ValueError: the spec is not resolved.
        """
        if self.experiment is None or self.overrides:
            raise ValueError("the spec is not resolved: call resolve() first")
        return self.experiment


def _unshareable(experiment: ExperimentConfig, num_workers: int) -> tuple[FieldProblem, ...]:
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
    return schedule.backbone.steps + schedule.classifier.steps + schedule.apart_steps + schedule.loop_steps


def _refused(field: str, message: str) -> InvalidSpec:
    return _refuse((FieldProblem(field, message),))


def _refuse(problems: tuple[FieldProblem, ...]) -> InvalidSpec:
    return InvalidSpec("; ".join(f"{p.field}: {p.message}" if p.field else p.message for p in problems), problems)


JobSpec = TrainSpec
"""Every kind of job; a second kind makes this a union discriminated by `kind`."""
JOB_SPEC: TypeAdapter[JobSpec] = TypeAdapter(JobSpec)
