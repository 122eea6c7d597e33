"""One run, whole: what REST accepts, the queue stores, the trainer reads and MLflow shows."""

from typing import ClassVar, Self

from pydantic import Field, model_validator

from sdcn_core.config.base import FrozenConfig
from sdcn_core.config.data import DataConfig, ScenesSource
from sdcn_core.config.evaluation import EvaluationConfig
from sdcn_core.config.model import ModelConfig
from sdcn_core.config.objective import ObjectiveConfig
from sdcn_core.config.schedule import ScheduleConfig
from sdcn_core.config.second_stage import SecondStageConfig


class ExperimentConfig(FrozenConfig):
    """Everything that decides a training's outcome, up to rounding. The defaults are the paper's, for VOC 2007."""

    seed: int = Field(default=0, ge=0, lt=2**31)
    data: DataConfig = DataConfig()
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    second_stage: SecondStageConfig | None = None
    """a Fast R-CNN that learns from another detector's boxes, in place of SDCN; null: SDCN"""

    is_to_train: ClassVar[bool] = True

    @property
    def regresses_boxes(self) -> bool:
        """Whether the detector says where each proposal moves as a box of each class."""
        return self.second_stage is not None or self.model.detection.box_regression

    @model_validator(mode="after")
    def _judged_on_other_images_than_it_learns_from(self) -> Self:
        source = self.data.source
        if self.is_to_train and isinstance(source, ScenesSource):
            if source.train_split not in ("train", "trainval"):
                raise ValueError(
                    f"data.source.train_split is {source.train_split!r}, by which trainings are judged: set it to train"
                    " or trainval"
                )
            if source.test_split not in ("val", "test"):
                raise ValueError(
                    f"data.source.test_split is {source.test_split!r}, from which trainings learn: set it to val or"
                    " test; a job of kind evaluate judges a trained model on any split"
                )
            if (source.train_split, source.test_split) == ("trainval", "val"):
                raise ValueError(
                    "data.source.train_split is 'trainval', which holds the images of 'val', by which this training"
                    " would be judged: set it to train, or judge on test"
                )
        return self

    @model_validator(mode="after")
    def _detections_that_instruct_need_refinements(self) -> Self:
        if self.objective.detection_instructs_segmentation and self.model.detection.refinements == 0:
            raise ValueError(
                "objective.detection_instructs_segmentation reads the refinements' scores: set"
                " model.detection.refinements to 1 or more, or the arrow to false"
            )
        return self

    @model_validator(mode="after")
    def _some_steps(self) -> Self:
        if self.second_stage is None and self.schedule.apart_steps + self.schedule.loop_steps == 0:
            raise ValueError(
                "schedule.apart_steps and schedule.loop_steps are both 0: nothing would train the detector"
            )
        return self

    @model_validator(mode="after")
    def _a_second_stage_is_no_sdcn(self) -> Self:
        if self.second_stage is None:
            return self
        if self.schedule.apart_steps or self.schedule.loop_steps:
            raise ValueError(
                "schedule.apart_steps and schedule.loop_steps train SDCN, a second stage trains for second_stage.steps:"
                " set both to 0"
            )
        if self.objective.segmentation_branch:
            raise ValueError(
                "a second stage has no segmentation branch: set objective.segmentation_branch and both arrows to false"
            )
        return self

    @model_validator(mode="after")
    def _batch_norm_needs_whole_batches(self) -> Self:
        for network, kind in (("backbone", "small_vgg"), ("classifier", "small_resnet")):
            labels = getattr(self.schedule, network)
            if getattr(self.model, network).kind == kind and labels.steps and labels.image_size_px is None:
                raise ValueError(
                    f"model.{network} {kind} learns labels with batch norm, over images of one size:"
                    f" set schedule.{network}.image_size_px, for example to 96"
                )
        return self


class JudgedExperiment(ExperimentConfig):
    """A trained model's experiment with the data that it is judged on, which may be those that it has learnt from."""

    is_to_train: ClassVar[bool] = False
