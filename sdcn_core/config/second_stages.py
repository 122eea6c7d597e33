"""Which second stage follows on a trained detector, where nothing else is asked for."""

from collections.abc import Callable

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.model import Vgg16Backbone
from sdcn_core.config.objective import ObjectiveConfig
from sdcn_core.config.second_stage import SecondStageConfig


def fast_rcnn(teacher: ExperimentConfig) -> ExperimentConfig:
    """Fast R-CNN taught by the best boxes of a trained detector: the paper's SDCN+FRCNN.

    The paper reports 51.0 mAP and 68.8 CorLoc on VOC 2007 (tables 3 and 4), where SDCN alone has 48.3 and 66.8, and
    46.7 mAP and 69.5 CorLoc on VOC 2012 (table 5).

    Data, extractor, hidden layers and rates are the teacher's; a VGG16 keeps pool4, which the teacher's has not. It
    trains for half as many steps as the teacher's branches, with a lower rate in the last quarter: 40 000 and 30 000
    where the teacher had the paper's 80 000. It is tested without mirror images.

    Args:
        teacher: with which the detector was trained; of a second stage, its own is repeated.
    """
    if teacher.second_stage is not None:
        return teacher
    steps = max(1, (teacher.schedule.apart_steps + teacher.schedule.loop_steps) // 2)
    backbone = teacher.model.backbone
    if isinstance(backbone, Vgg16Backbone):
        backbone = backbone.model_copy(update={"stride": 16})
    schedule = teacher.schedule
    values = dict(teacher) | {
        "second_stage": SecondStageConfig(steps=steps, decay_at_steps=(3 * steps // 4,)),
        "data": teacher.data.model_copy(update={"dedup_px": None}),
        "model": teacher.model.model_copy(update={"backbone": backbone}),
        "objective": ObjectiveConfig(
            segmentation_branch=False,
            segmentation_instructs_detection=False,
            detection_instructs_segmentation=False,
            classifier_reduction=teacher.objective.classifier_reduction,
        ),
        "schedule": schedule.model_copy(
            update={
                "apart_steps": 0,
                "loop_steps": 0,
                "classifier": schedule.classifier.model_copy(update={"steps": 0}),
            }
        ),
        "evaluation": teacher.evaluation.model_copy(update={"flip": False}),
    }
    return ExperimentConfig(**values)


SECOND_STAGES: dict[str, Callable[[ExperimentConfig], ExperimentConfig]] = {fast_rcnn.__name__: fast_rcnn}
"""by name: what a job of kind second_stage trains"""
