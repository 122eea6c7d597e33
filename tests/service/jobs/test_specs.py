import pytest
from pydantic import JsonValue, ValidationError

from sdcn_core.config.presets import PRESETS
from service.errors import InvalidSpec
from service.jobs.advice import warnings
from service.jobs.base_spec import total_steps
from service.jobs.specs import JOB_SPEC, Resources, TrainSpec


def fields(spec: dict[str, JsonValue]) -> list[str]:
    """The fields for which a spec is refused when it is resolved."""
    with pytest.raises(InvalidSpec) as caught:
        TrainSpec.model_validate(spec).resolve()
    return [problem.field for problem in caught.value.fields]


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_resolves_to_itself(preset: str) -> None:
    resolved = TrainSpec(preset=preset).resolve()
    assert resolved.resolved_experiment == PRESETS[preset]()
    assert (resolved.name, resolved.preset, resolved.overrides) == (preset, None, {})


def test_overrides_are_folded_in() -> None:
    resolved = TrainSpec(preset="tiny", overrides={"objective.tau_0": 0.3, "seed": 7}).resolve()
    assert (resolved.resolved_experiment.objective.tau_0, resolved.resolved_experiment.seed) == (0.3, 7)


def test_resolving_again_changes_nothing() -> None:
    resolved = TrainSpec(preset="tiny", name="mine", overrides={"seed": 7}).resolve()
    assert resolved.resolve() == resolved
    assert resolved.name == "mine"


def test_a_partial_experiment_gets_the_defaults() -> None:
    resolved = TrainSpec.model_validate({"experiment": {"objective": {"tau_0": 0.3}}}).resolve()
    assert resolved.resolved_experiment.objective.tau_0 == 0.3
    assert resolved.resolved_experiment.objective.lambda_adv == 1.0


@pytest.mark.parametrize("spec", [{}, {"preset": "tiny", "experiment": {}}])
def test_a_job_has_exactly_one_origin(spec: dict[str, JsonValue]) -> None:
    with pytest.raises(ValidationError, match="exactly one of preset and experiment"):
        TrainSpec.model_validate(spec)


def test_an_unknown_kind_is_refused() -> None:
    with pytest.raises(ValidationError, match="kind"):
        JOB_SPEC.validate_python({"kind": "sweep", "preset": "tiny"})


def test_an_unknown_preset_is_answered_with_those_there_are() -> None:
    with pytest.raises(InvalidSpec, match=r"'huge'; there are: .*tiny"):
        TrainSpec(preset="huge").resolve()


@pytest.mark.parametrize(
    ("overrides", "field"),
    [
        ({"objective.tau_0": -1}, "overrides.objective.tau_0"),
        ({"objectiv.tau_0": 1}, "overrides.objectiv.tau_0"),
        ({"objective": {"tau_0": "much"}}, "overrides.objective.tau_0"),
        ({"seed.deep": 1}, "overrides"),
        ({"model.backbone.widths": [1]}, "overrides.model.backbone.widths.1"),
        ({"": 1}, "overrides."),
        ({"evaluation.nms_iou": None}, "overrides.evaluation.nms_iou"),
    ],
)
def test_a_wrong_override_is_named_as_it_was_written(overrides: dict[str, JsonValue], field: str) -> None:
    assert field in fields({"preset": "tiny", "overrides": overrides})


def test_an_override_that_clashes_with_the_rest_of_its_part_is_named() -> None:
    override: dict[str, JsonValue] = {"objective.segmentation_branch": False}
    assert fields({"preset": "tiny", "overrides": override}) == ["overrides.objective.segmentation_branch"]


def test_a_clash_across_parts_is_one_of_the_experiment() -> None:
    overrides: dict[str, JsonValue] = {"schedule.apart_steps": 0, "schedule.loop_steps": 0}
    assert fields({"preset": "tiny", "overrides": overrides}) == ["experiment"]


def test_images_that_workers_cannot_share_evenly_are_refused_by_field() -> None:
    spec: dict[str, JsonValue] = {"preset": "tiny", "resources": {"num_workers": 3}}
    assert fields(spec) == [
        "experiment.schedule.images_per_step",
        "experiment.schedule.backbone.images_per_step",
        "experiment.schedule.classifier.images_per_step",
    ]


def test_images_of_a_stage_without_steps_need_not_be_shared() -> None:
    overrides: dict[str, JsonValue] = {
        "schedule.images_per_step": 3,
        "schedule.backbone.steps": 0,
        "schedule.classifier.steps": 0,
    }
    spec = TrainSpec(preset="tiny", overrides=overrides, resources=Resources(num_workers=3)).resolve()
    assert spec.resources.num_workers == 3


@pytest.mark.parametrize("value", [float("nan"), float("inf"), "1e999"])
def test_numbers_that_are_none_are_refused(value: JsonValue) -> None:
    with pytest.raises(InvalidSpec):
        TrainSpec.model_construct(preset="tiny", overrides={"objective.tau_0": value}, experiment=None).resolve()


def test_a_spec_that_is_not_resolved_has_no_experiment_to_hand_out() -> None:
    with pytest.raises(ValueError, match="resolve"):
        _ = TrainSpec(preset="tiny").resolved_experiment


def test_total_steps_are_those_of_all_stages() -> None:
    schedule = PRESETS["tiny"]().schedule
    stages = (schedule.backbone.steps, schedule.classifier.steps, schedule.apart_steps, schedule.loop_steps)
    assert total_steps(PRESETS["tiny"]()) == sum(stages)


def test_the_preset_of_the_demo_deserves_no_warning() -> None:
    assert warnings(TrainSpec(preset="scenes").resolve()) == ()


def test_what_will_hardly_learn_is_warned_about() -> None:
    overrides: dict[str, JsonValue] = {
        "schedule.backbone.steps": 0,
        "schedule.classifier.steps": 0,
        "schedule.decay_at_steps": [10**6],
        "schedule.checkpoint_every_steps": 10**6,
    }
    said = " ".join(warnings(TrainSpec(preset="scenes", overrides=overrides).resolve()))
    for field in ("model.backbone", "model.classifier", "decay_at_steps", "checkpoint_every_steps"):
        assert field in said
    assert "gpus_per_worker" in " ".join(warnings(TrainSpec(preset="voc2007_vgg16").resolve()))
