"""A job of kind `second_stage`: a trained model's best boxes as the labels of a Fast R-CNN, or of any detector."""

from typing import Literal, Self

from pydantic import Field

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.second_stages import fast_rcnn
from service.jobs.base_spec import BaseSpec, Overrides, overridden, refuse, refused, total_steps, unshareable
from service.jobs.inference_specs import ModelId


class SecondStageSpec(BaseSpec):
    """Find a trained model's best box of each class in each of its training images; train a Fast R-CNN on them (the
    paper's SDCN+FRCNN), and judge it.
    """

    kind: Literal["second_stage"] = "second_stage"
    model: ModelId
    """the teacher, from GET /v1/models: a train job's id, or JOB/RUN of a study"""
    train: bool = True
    """false: leave the pseudo labels as files, for another detector, and train nothing"""
    export: bool = True
    """also write what was trained as ONNX and as a torch.export program"""
    experiment: ExperimentConfig | None = None
    """the whole second stage, with its field second_stage; null: Fast R-CNN as it follows on the teacher"""
    overrides: Overrides = Field(default_factory=dict, max_length=200)
    """dotted path in the experiment -> value, applied last: {"second_stage.steps": 300}"""

    def resolve(self) -> Self:
        """This job with a name; its experiment follows from the model's, when the model is looked up."""
        return self.model_copy(update={"name": self.name or f"second-stage-{self.model.replace('/', '-')}"[:64]})

    def taught_by(self, teacher: ExperimentConfig) -> Self:
        """This job with its experiment in full; once more changes nothing.

        Args:
            teacher: the model's experiment.

        Raises:
            InvalidSpec: an override that the experiment refuses, or numbers that do not fit together.
        """
        experiment = fast_rcnn(teacher) if self.experiment is None else self.experiment
        experiment = overridden(experiment, self.overrides, under="overrides", otherwise="experiment")
        if experiment.second_stage is None:
            raise refused("experiment.second_stage", "is required: without it this is a job of kind train")
        if self.train and (problems := unshareable(experiment, self.resources.num_workers)):
            raise refuse(problems)
        return self.model_copy(update={"experiment": experiment, "overrides": {}})

    @property
    def resolved_experiment(self) -> ExperimentConfig:
        """The full experiment of a job whose model was looked up.

        Raises:
            ValueError: it was not.
        """
        if self.experiment is None or self.overrides:
            raise ValueError("the spec is not resolved: call taught_by() first")
        return self.experiment

    @property
    def config_digest(self) -> str:
        """Equal for equal requests: two teachers make two second stages of one experiment."""
        return self.digest_without_name()

    @property
    def total_steps(self) -> int:
        """Optimizer steps of all stages; 0 where nothing is trained, or the model was not looked up."""
        return total_steps(self.experiment) if self.train and self.experiment is not None else 0
