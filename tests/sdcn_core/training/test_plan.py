import pytest

from sdcn_core.config.presets import preset
from sdcn_core.errors import BadInput
from sdcn_core.training.plan import DATA_SHARE, Fractions, check_world_size, plan_stages
from sdcn_core.training.progress import Stage
from tests.sdcn_core.training.small import small_experiment


def test_stages_follow_the_paper_and_their_steps_add_up() -> None:
    plans = plan_stages(preset("scenes"))
    assert [plan.stage for plan in plans] == [Stage.BACKBONE, Stage.CLASSIFIER, Stage.APART, Stage.LOOP]
    assert [plan.first_step for plan in plans[1:]] == [plan.end_step for plan in plans[:-1]]


def test_pretrained_networks_skip_the_labels_stage() -> None:
    assert Stage.BACKBONE not in {plan.stage for plan in plan_stages(preset("voc2007_vgg16"))}


def test_oicr_has_no_classifier_to_train() -> None:
    experiment = preset("scenes_oicr").with_overrides({"schedule.classifier.steps": 50})
    assert Stage.CLASSIFIER not in {plan.stage for plan in plan_stages(experiment)}


@pytest.mark.parametrize(
    ("field", "value"), [("schedule.images_per_step", 3), ("schedule.classifier.images_per_step", 5)]
)
def test_workers_that_cannot_share_a_step_are_refused_with_the_field(field: str, value: int) -> None:
    with pytest.raises(BadInput, match=rf"{field} is {value}, which 2 workers cannot share"):
        check_world_size(small_experiment(**{field: value}), 2)


def test_the_fraction_runs_from_the_data_stage_s_share_to_one_without_falling() -> None:
    experiment = preset("scenes")
    fractions = Fractions(experiment, test_images=250, train_images=400)
    seen = [fractions.at("untrained", Stage.EVALUATE, 0, 650).fraction]
    for plan in plan_stages(experiment):
        seen += [fractions.at(plan.stage.value, plan.stage, step, plan.steps).fraction for step in (0, plan.steps)]
    seen.append(fractions.at("trained", Stage.EVALUATE, 650, 650).fraction)
    assert seen == sorted(seen)
    assert (seen[0], seen[-1]) == (pytest.approx(DATA_SHARE), pytest.approx(1.0))
