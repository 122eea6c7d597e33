"""Jobs that use a trained model: `evaluate` and `predict`."""

from typing import Annotated, Literal, Self

from pydantic import Field, JsonValue, ValidationError

from sdcn_core.config.data import RelativePath
from sdcn_core.config.experiment import ExperimentConfig, JudgedExperiment
from service.jobs.base_spec import BaseSpec, overridden, refused
from service.jobs.data_specs import NamedSource

ModelId = Annotated[
    str, Field(pattern=r"^[0-9a-f]{1,32}(/[A-Za-z0-9][A-Za-z0-9_.\-]{0,79})?$", description="see GET /v1/models")
]
"""The job that trained it; of a study, the job and the run: `JOB/RUN`."""


class _ModelSpec(BaseSpec):
    model: ModelId
    """from GET /v1/models: a train job's id, or JOB/RUN of a study"""

    def resolve(self) -> Self:
        """This job with a name; whether the model is there shows when it is submitted.

        Raises:
            InvalidSpec: it asks for several workers.
        """
        if self.resources.num_workers > 1:
            raise refused("resources.num_workers", "a model is used by one process: ask for more CPUs, or one GPU")
        return self.model_copy(update={"name": self.name or f"{self.kind}-{self.model.replace(chr(47), '-')}"[:64]})  # type: ignore[attr-defined]

    @property
    def config_digest(self) -> str:
        """Equal for equal requests."""
        return self.digest_without_name()

    @property
    def total_steps(self) -> int:
        """Nothing is trained."""
        return 0


class EvaluateSpec(_ModelSpec):
    """Judge a trained model on a data set and split, by all metrics."""

    kind: Literal["evaluate"] = "evaluate"
    checkpoint: Literal["newest"] | Annotated[int, Field(ge=0)] | None = None
    """a checkpoint of the training in place of its finished model: the step at which it was written, or `newest`. A
    training that is at work, failed or was cancelled has some too"""
    source: NamedSource | None = None
    """the data set, also by its name in GET /v1/datasets; null: the one it was trained on. Its classes must be the
    model's"""
    ap_split: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$")] | None = None
    """the split on which AP is counted; null: the data set's test_split"""
    corloc_split: Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$")] | None = None
    """the split on which CorLoc and the error modes are counted; null: the data set's train_split"""
    overrides: dict[Annotated[str, Field(pattern=r"^(evaluation|data)\.[a-z_.0-9]+$", max_length=200)], JsonValue] = (
        Field(default_factory=dict, max_length=50)
    )
    """fields below evaluation and data, to judge with other settings than it was trained with:
    {"evaluation.flip": false}"""

    def judged(self, trained: ExperimentConfig) -> ExperimentConfig:
        """The experiment of the model with this job's data set, splits and settings.

        Raises:
            InvalidSpec: a split that the data set cannot have, or an override that the experiment refuses.
        """
        source = trained.data.source if self.source is None else self.source
        splits = {"ap_split": ("test_split", self.ap_split), "corloc_split": ("train_split", self.corloc_split)}
        for field, (name, split) in splits.items():
            try:
                source = source if split is None else source.with_overrides({name: split})
            except ValidationError as error:
                raise refused(
                    field, f"{split!r} is no such split of {source.kind}: {error.errors()[0]['msg']}"
                ) from None
        data = trained.data.model_copy(update={"source": source})
        experiment = JudgedExperiment(**(dict(trained) | {"data": data}))
        return overridden(experiment, self.overrides, under="overrides", otherwise="experiment")


class PredictSpec(_ModelSpec):
    """Detect objects in all images of a folder."""

    kind: Literal["predict"] = "predict"
    folder: RelativePath
    """below the data root; images in it and its subfolders are taken, in order of their paths"""
    score_threshold: float = Field(default=0.05, ge=0, le=1)
    max_boxes: int = Field(default=100, ge=1, le=1000)
    """of an image, best first"""
    fast: bool = False
    """one scale and no mirror image: quicker, a little less accurate"""
