import pytest
import torch
import torch.nn.functional as F
from torch import nn

from sdcn_core.config.loss_names import LossName
from sdcn_core.objective import SDCNObjective
from sdcn_core.structures.boxes import boxes_to_cells
from sdcn_core.structures.labels import present_classes
from sdcn_core.structures.sample import Batch
from sdcn_core.training.networks import Networks
from sdcn_core.training.progress import Stage
from sdcn_core.training.seeding import tie_breaker
from sdcn_core.training.steps import StepKey, alternation_step, label_step
from tests.sdcn_core.training.small import (
    NUM_CLASSES,
    SIDE_PX,
    gradients,
    players_of,
    random_batch,
    small_experiment,
    small_networks,
)

KEY = StepKey(seed=0, stage=Stage.LOOP, step=3)
LOOP = SDCNObjective(small_experiment().objective, collaborate=True)


def step(
    networks: Networks, batches: tuple[Batch, ...], objective: SDCNObjective = LOOP
) -> dict[LossName, torch.Tensor]:
    for module in (networks.sdcn, networks.classifier):
        if module is not None:
            module.zero_grad(set_to_none=True)
    return alternation_step(players_of(networks), batches, objective, stride=8, key=KEY, precision="fp32").losses


def by_two_forwards(networks: Networks, batch: Batch) -> None:
    """Algorithm 1 as printed: f_C forwarded for the generator's loss, then again, on detached maps, for its own."""
    assert networks.classifier is not None
    networks.sdcn.zero_grad(set_to_none=True)
    networks.classifier.zero_grad(set_to_none=True)
    output = networks.sdcn(batch.images, batch.proposals)
    terms = []
    for index, labels in enumerate(batch.image_labels):
        image = batch.images[index : index + 1]
        logits = output.map_logits[index]
        cells = boxes_to_cells(batch.proposals[index], 8, *logits.shape[1:])
        losses = LOOP(
            output.detections[index],
            logits,
            batch.proposals[index],
            cells,
            labels,
            generator=tie_breaker(KEY.seed, KEY.stage, KEY.step, batch.image_ids[index], logits.device),
        )
        maps = logits.softmax(dim=0)[present_classes(labels)]  # (P, h, w)
        owners = torch.zeros(len(maps), dtype=torch.long)
        kept = networks.classifier(image, maps, owners)
        erased = networks.classifier(image, 1 - maps, owners)
        losses[LossName.ADV] = LOOP.segmentation.adversarial(kept, erased, labels)
        terms.append(torch.stack(list(LOOP.weighted(losses).values())).sum())
    (torch.stack(terms).sum() / len(batch)).backward()
    networks.classifier.zero_grad(set_to_none=True)  # what the generator's loss left there
    own = []
    for index, labels in enumerate(batch.image_labels):
        image = batch.images[index : index + 1]
        maps = output.map_logits[index].detach().softmax(dim=0)[present_classes(labels)]
        erased = networks.classifier(image, 1 - maps, torch.zeros(len(maps), dtype=torch.long))
        own.append(LOOP.segmentation.classifier(networks.classifier(image)[0], erased, labels))
    (torch.stack(own).sum() / len(batch)).backward()


def assert_same(ours: dict[str, torch.Tensor], theirs: dict[str, torch.Tensor]) -> None:
    assert ours.keys() == theirs.keys()
    for name in ours:
        torch.testing.assert_close(
            ours[name], theirs[name], rtol=2e-4, atol=1e-6, msg=lambda m, name=name: f"{name}: {m}"
        )


def test_one_forward_of_the_classifier_gives_both_players_what_two_forwards_give() -> None:
    networks = small_networks(small_experiment())
    batch = random_batch(1, labels=[[0, 2], [1]])
    step(networks, (batch,))
    shared = gradients(networks.sdcn), gradients(networks.classifier)
    by_two_forwards(networks, batch)
    assert_same(shared[0], gradients(networks.sdcn))
    assert_same(shared[1], gradients(networks.classifier))


def test_the_generator_s_loss_leaves_the_classifier_without_gradient() -> None:
    networks = small_networks(small_experiment())
    batch = random_batch(2)
    step(networks, (batch,))
    before = gradients(networks.classifier)
    heavier = SDCNObjective(LOOP.config.with_overrides({"lambda_adv": 50.0}), collaborate=True)
    step(networks, (batch,), heavier)
    assert_same(gradients(networks.classifier), before)


def test_the_classifier_s_loss_leaves_the_maps_without_gradient() -> None:
    networks = small_networks(small_experiment())
    batch = random_batch(3)
    step(networks, (batch,))
    before = gradients(networks.sdcn)
    other = SDCNObjective(LOOP.config.with_overrides({"classifier_reduction": "mean"}), collaborate=True)
    step(networks, (batch,), other)
    assert_same(gradients(networks.sdcn), before)


def test_every_trainable_parameter_of_both_players_gets_a_gradient_even_without_a_positive_class() -> None:
    networks = small_networks(small_experiment())
    step(networks, (random_batch(4, labels=[[], []]),))
    for module in (networks.sdcn, networks.classifier):
        trainable = {name for name, parameter in module.named_parameters() if parameter.requires_grad}
        assert gradients(module).keys() == trainable


def test_an_image_with_one_proposal_trains() -> None:
    networks = small_networks(small_experiment())
    losses = step(networks, (random_batch(5, proposals=1),))
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_images_of_two_sizes_in_one_step_weigh_as_images_not_as_batches() -> None:
    networks = small_networks(small_experiment())
    whole = random_batch(6, images=3)
    parts = tuple(
        Batch(whole.image_ids[s], whole.images[s], whole.proposals[s], whole.image_labels[s])
        for s in (slice(0, 2), slice(2, 3))
    )
    losses = step(networks, (whole,))
    together = gradients(networks.sdcn), gradients(networks.classifier)
    torch.testing.assert_close(step(networks, parts), losses)
    assert_same(gradients(networks.sdcn), together[0])
    assert_same(gradients(networks.classifier), together[1])


def test_without_a_segmentation_branch_only_the_detection_losses_remain() -> None:
    experiment = small_experiment(
        **{
            "objective.segmentation_branch": False,
            "objective.segmentation_instructs_detection": False,
            "objective.detection_instructs_segmentation": False,
        }
    )
    losses = step(small_networks(experiment), (random_batch(7),), SDCNObjective(experiment.objective, collaborate=True))
    assert losses.keys() == {LossName.MIL, LossName.REF}


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_label_training_squeezes_images_of_any_size_into_one_batch(reduction: str) -> None:
    classifier = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, NUM_CLASSES))
    large, small = random_batch(8), random_batch(9)
    wide = Batch(large.image_ids, F.interpolate(large.images, size=(40, SIDE_PX)), (), large.image_labels)
    loss = label_step(classifier, (wide, small), image_size_px=32, reduction=reduction, precision="fp32")
    per_class = {"mean": 1.0, "sum": float(NUM_CLASSES)}[reduction]
    assert 0.1 * per_class < loss.item() < 200 * per_class
    assert gradients(classifier)["2.weight"].shape == (NUM_CLASSES, 3)
