from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from sdcn_core.config.loss_names import LossName
from sdcn_core.config.methods import METHODS
from sdcn_core.objective import SDCNObjective
from sdcn_core.structures.sample import Batch
from sdcn_core.training.gradient_norms import gradient_norm
from sdcn_core.training.networks import Networks
from sdcn_core.training.progress import Stage
from sdcn_core.training.steps import Alternation, StepKey, alternation_step
from tests.sdcn_core.training.runs import Place, differing, run, run_on_two_ranks, weights
from tests.sdcn_core.training.small import gradients, players_of, random_batch, small_experiment, small_networks

KEY = StepKey(seed=0, stage=Stage.LOOP, step=3)
EXPERIMENT = small_experiment()
LOOP = SDCNObjective(EXPERIMENT.objective, collaborate=True)
GENERATOR_TERMS = [LossName.MIL, LossName.REF, LossName.ADV, LossName.CLS, LossName.SEG]
WHOLE_RUN = {"schedule.report_every_steps": 3, "evaluation.baselines": False}


def step(
    networks: Networks, *batches: Batch, objective: SDCNObjective = LOOP, measure_gradients: bool = True
) -> Alternation:
    for module in (networks.sdcn, networks.classifier):
        if module is not None:
            module.zero_grad(set_to_none=True)
    return alternation_step(
        players_of(networks),
        batches,
        objective,
        stride=8,
        key=KEY,
        precision="fp32",
        measure_gradients=measure_gradients,
    )


def accumulated(module: nn.Module) -> Tensor:
    return torch.cat([gradient.flatten() for gradient in gradients(module).values()]).norm()


@pytest.mark.parametrize("name", GENERATOR_TERMS)
def test_the_norm_of_a_term_is_that_of_the_gradient_that_it_leaves_alone(name: LossName) -> None:
    networks, batch = small_networks(EXPERIMENT), random_batch(1, labels=[[0, 2], [1]])
    measured = step(networks, batch).gradient_norms[name]
    others = {f"lambda_{other}": 0.0 for other in GENERATOR_TERMS if other is not name}
    step(networks, batch, objective=SDCNObjective(LOOP.config.with_overrides(others), collaborate=True))
    torch.testing.assert_close(measured, accumulated(networks.sdcn), rtol=1e-4, atol=1e-7)
    assert measured > 0


def test_the_norm_of_the_classifier_s_loss_is_that_of_its_own_gradient() -> None:
    networks = small_networks(EXPERIMENT)
    measured = step(networks, random_batch(2)).gradient_norms[LossName.CLASSIFIER]
    assert networks.classifier is not None
    torch.testing.assert_close(measured, accumulated(networks.classifier))


def test_norms_are_of_scaled_terms() -> None:
    networks, batch = small_networks(EXPERIMENT), random_batch(3)
    once = step(networks, batch).gradient_norms
    doubled = SDCNObjective(LOOP.config.with_overrides({"lambda_cls": 2 * LOOP.config.lambda_cls}), collaborate=True)
    twice = step(networks, batch, objective=doubled).gradient_norms
    torch.testing.assert_close(twice, once | {LossName.CLS: 2 * once[LossName.CLS]})


def test_a_term_without_weight_has_norm_zero() -> None:
    weightless = SDCNObjective(LOOP.config.with_overrides({"lambda_adv": 0.0}), collaborate=True)
    assert step(small_networks(EXPERIMENT), random_batch(4), objective=weightless).gradient_norms[LossName.ADV] == 0


def test_a_loss_that_reaches_no_parameter_has_norm_zero() -> None:
    linear = nn.Linear(2, 1)
    frozen = nn.Linear(2, 1).requires_grad_(False)
    loss = linear(torch.ones(2)).sum()
    assert gradient_norm(loss, frozen.parameters()) == 0
    assert gradient_norm(loss.detach(), linear.parameters()) == 0
    assert gradient_norm(loss, nn.Linear(2, 1).parameters()) == 0


def test_without_a_segmentation_branch_only_detection_has_norms() -> None:
    oicr = EXPERIMENT.with_overrides(METHODS["oicr"]())
    objective = SDCNObjective(oicr.objective, collaborate=True)
    norms = step(small_networks(oicr), random_batch(5), objective=objective).gradient_norms
    assert norms.keys() == {LossName.MIL, LossName.REF}


def test_of_several_batches_the_first_is_measured() -> None:
    networks, first, second = small_networks(EXPERIMENT), random_batch(6), random_batch(7, images=1)
    torch.testing.assert_close(step(networks, first, second).gradient_norms, step(networks, first).gradient_norms)


@pytest.mark.parametrize("labels", [[[0, 2], [1]], [[], []]], ids=["classes", "no positive class"])
def test_measuring_leaves_losses_and_gradients_as_they_are_bit_by_bit(labels: list[list[int]]) -> None:
    networks = small_networks(EXPERIMENT)
    batches = random_batch(8, labels=labels), random_batch(9, images=1)
    plain = step(networks, *batches, measure_gradients=False)
    before = gradients(networks.sdcn), gradients(networks.classifier)
    measured = step(networks, *batches)
    assert differing(gradients(networks.sdcn), before[0]) == differing(gradients(networks.classifier), before[1]) == []
    assert {name: loss.item() for name, loss in measured.losses.items()} == {
        name: loss.item() for name, loss in plain.losses.items()
    }
    assert plain.gradient_norms == {}


def test_a_run_that_measures_ends_in_the_same_bits_and_reports_the_norms_of_its_intervals(
    tmp_path: Path, cache: Path
) -> None:
    plain = small_experiment(**WHOLE_RUN, **{"model.detection.dropout": 0.5})
    measuring = plain.with_overrides({"schedule.gradient_norms_every_steps": 5})
    _, plain_hooks = run(plain, Place.below(tmp_path / "plain", cache))
    _, hooks = run(measuring, Place.below(tmp_path / "measuring", cache))
    assert differing(weights(plain, plain_hooks), weights(measuring, hooks)) == []
    assert hooks.losses() == plain_hooks.losses()
    apart = {f"gradient/{name}" for name in ("mil", "ref", "adv", "cls", "classifier")}
    reported = {
        (report.progress.stage, report.progress.step): {*report.metrics} & (apart | {"gradient/seg"})
        for report in hooks.reports
        if report.progress.stage is not Stage.EVALUATE
    }
    assert {place: names for place, names in reported.items() if names} == {
        (Stage.APART, 6): apart,  # measured at step 5
        (Stage.LOOP, 6): apart | {"gradient/seg"},
    }


@pytest.mark.integration
def test_measuring_leaves_two_ranks_as_they_are_bit_by_bit(tmp_path: Path, cache: Path) -> None:
    plain = small_experiment(**WHOLE_RUN)
    measuring = plain.with_overrides({"schedule.gradient_norms_every_steps": 1})
    losses = run_on_two_ranks(plain, Place.below(tmp_path / "plain", cache))
    assert run_on_two_ranks(measuring, Place.below(tmp_path / "measuring", cache)) == losses
