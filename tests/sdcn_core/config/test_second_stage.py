import pytest
from pydantic import ValidationError

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.model import Vgg16Backbone
from sdcn_core.config.presets import PRESETS, preset
from sdcn_core.config.second_stage import SecondStageConfig
from sdcn_core.config.second_stages import fast_rcnn


def test_after_the_papers_sdcn_comes_fast_rcnn_as_published() -> None:
    student = fast_rcnn(preset("voc2007_vgg16"))
    assert student.second_stage == SecondStageConfig()
    assert isinstance(student.model.backbone, Vgg16Backbone)
    assert (student.model.backbone.stride, student.model.backbone.frozen) == (16, "conv2")
    assert (student.schedule.learning_rate, student.schedule.images_per_step) == (1e-3, 2)
    assert (student.data.train_scales_px, student.data.max_side_px) == ((480, 576, 688, 864, 1200), 2000)
    assert (student.evaluation.flip, student.evaluation.nms_iou, student.evaluation.test_side) == (
        False,
        0.3,
        "longest",
    )


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_can_be_followed_by_a_second_stage_of_half_its_steps(name: str) -> None:
    teacher = preset(name)
    student = fast_rcnn(teacher)
    assert student.second_stage is not None
    assert student.second_stage.steps == (teacher.schedule.apart_steps + teacher.schedule.loop_steps) // 2
    assert ExperimentConfig.model_validate_json(student.model_dump_json()) == student
    assert (student.seed, student.data.source, student.schedule.backbone) == (
        teacher.seed,
        teacher.data.source,
        teacher.schedule.backbone,
    )


def test_a_second_stage_can_be_followed_by_another_one() -> None:
    student = fast_rcnn(preset("tiny"))
    assert fast_rcnn(student) == student


@pytest.mark.parametrize(
    ("overrides", "named"),
    [
        ({"schedule.loop_steps": 5}, "set both to 0"),
        ({"objective.segmentation_branch": True}, "has no segmentation branch"),
        ({"second_stage.background_iou_high": 0.6}, "must hold"),
        ({"second_stage.steps": 0}, "greater than or equal to 1"),
    ],
)
def test_what_does_not_belong_to_a_second_stage_is_refused(overrides: dict[str, object], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        fast_rcnn(preset("tiny")).with_overrides(overrides)  # type: ignore[arg-type]


def test_an_experiment_of_an_older_version_has_no_second_stage() -> None:
    old = preset("scenes").model_dump(mode="json")
    del old["second_stage"]
    assert ExperimentConfig.model_validate(old) == preset("scenes")
