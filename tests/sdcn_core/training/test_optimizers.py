import pytest

from sdcn_core.config.schedule import LabelTrainingConfig, ScheduleConfig
from sdcn_core.training.optimizers import build_optimizer, detector_groups, label_rate, sdcn_rate, set_rate
from sdcn_core.training.progress import Stage
from tests.sdcn_core.training.small import small_experiment, small_networks

PAPER = ScheduleConfig()


def groups() -> dict[str, dict[str, object]]:
    return {str(group["name"]): group for group in detector_groups(small_networks(small_experiment()).sdcn, PAPER)}


def test_refinement_heads_learn_ten_times_faster_and_biases_twice_as_fast_again() -> None:
    assert {name: group["factor"] for name, group in groups().items()} == {
        "shared_weight": 1.0,
        "shared_bias": 2.0,
        "refinement_weight": 10.0,
        "refinement_bias": 20.0,
        "segmentation_weight": 1.0,
        "segmentation_bias": 2.0,
    }


def test_biases_and_norms_do_not_decay() -> None:
    assert {name for name, group in groups().items() if group["weight_decay"]} == {
        "shared_weight",
        "refinement_weight",
        "segmentation_weight",
    }


def test_every_trainable_parameter_is_in_exactly_one_group_and_no_frozen_one_in_any() -> None:
    network = small_networks(small_experiment()).sdcn
    grouped = [id(p) for group in detector_groups(network, PAPER) for p in group["params"]]  # type: ignore[attr-defined]
    assert sorted(grouped) == sorted(id(p) for p in network.parameters() if p.requires_grad)


def test_the_rate_falls_tenfold_where_the_paper_says_and_not_in_the_stage_before() -> None:
    assert sdcn_rate(PAPER, Stage.LOOP, 39_999) == pytest.approx(1e-3)
    assert sdcn_rate(PAPER, Stage.LOOP, 40_000) == pytest.approx(1e-4)
    assert sdcn_rate(PAPER, Stage.APART, 40_000) == pytest.approx(1e-3)


def test_warm_up_lies_in_the_first_of_both_stages_only() -> None:
    warm = PAPER.with_overrides({"warmup_steps": 10})
    assert sdcn_rate(warm, Stage.APART, 0) == pytest.approx(1e-4)
    assert sdcn_rate(warm, Stage.LOOP, 0) == pytest.approx(1e-3)
    assert sdcn_rate(warm.with_overrides({"apart_steps": 0}), Stage.LOOP, 4) == pytest.approx(5e-4)


def test_the_cosine_starts_at_the_rate_and_ends_near_zero() -> None:
    config = LabelTrainingConfig(steps=100, learning_rate=1e-3, decay="cosine")
    assert label_rate(config, 0) == pytest.approx(1e-3)
    assert label_rate(config, 50) == pytest.approx(5e-4)
    assert label_rate(config, 99) < 1e-6


def test_setting_the_rate_keeps_each_group_s_factor() -> None:
    optimizer = build_optimizer("sgd", detector_groups(small_networks(small_experiment()).sdcn, PAPER), momentum=0.9)
    set_rate(optimizer, 0.5)
    assert {group["name"]: group["lr"] for group in optimizer.param_groups}["refinement_bias"] == 10.0
