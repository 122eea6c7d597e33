"""One optimizer step of each kind: image labels, and Algorithm 1's alternation of both players.

B images of a batch, M maps of their present classes together, C classes, h x w the maps' grid.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel

from sdcn_core.config.loss_names import LossName
from sdcn_core.config.schedule import Precision
from sdcn_core.objective import Losses, SDCNObjective, mean_losses
from sdcn_core.structures.boxes import boxes_to_cells
from sdcn_core.structures.labels import present_classes
from sdcn_core.structures.outputs import SDCNOutput
from sdcn_core.structures.sample import Batch
from sdcn_core.training.gradient_norms import gradient_norm, gradient_norms
from sdcn_core.training.precision import forward_precision
from sdcn_core.training.progress import Stage
from sdcn_core.training.seeding import tie_breaker


@dataclass(frozen=True)
class StepKey:
    """Where a step is in the run: what its randomness is drawn from."""

    seed: int
    stage: Stage
    step: int


@dataclass(frozen=True)
class Players:
    """The two networks as their surroundings wrapped them. Neither is changed by the other's loss."""

    network: nn.Module
    """f^E, f^D and f^S: the generator"""
    classifier: nn.Module | None
    """f^C: the discriminator; None without a segmentation branch"""


@dataclass(frozen=True)
class Alternation:
    """What one step of both players measured, without gradient."""

    losses: Losses
    """the unscaled terms, (), mean over this rank's images"""
    gradient_norms: Losses
    """norm () of each scaled term's gradient, where it was asked for: with respect to f^E, f^D and f^S, and for f^C's
    own loss to f^C"""


@contextmanager
def gradients_accumulate(module: nn.Module | None, *, last: bool) -> Iterator[None]:
    """Under DistributedDataParallel, add gradients locally and exchange them with the last batch of a step only."""
    if isinstance(module, DistributedDataParallel) and not last:
        with module.no_sync():
            yield
    else:
        yield


def label_step(
    classifier: nn.Module,
    batches: Sequence[Batch],
    *,
    image_size_px: int | None,
    reduction: str,
    precision: Precision,
) -> Tensor:
    """Accumulate the gradient of multi-label BCE over one step's images; returns the mean loss (), without gradient.

    Args:
        classifier: images (B, 3, H, W) -> logits (B, C).
        batches: this rank's share of the step.
        image_size_px: images become squares of this side, in one batch; None keeps the batches.
        reduction: over classes, "mean" or "sum"; over images it is the mean.
        precision: of the forward.
    """
    if image_size_px is not None:
        batches = (squared(batches, image_size_px),)
    num_images = sum(map(len, batches))
    total = torch.zeros((), device=batches[0].images.device)
    for index, batch in enumerate(batches):
        with gradients_accumulate(classifier, last=index == len(batches) - 1):
            with forward_precision(precision, batch.images.device):
                logits = classifier(batch.images)
            loss = F.binary_cross_entropy_with_logits(logits, batch.image_labels, reduction="sum") / num_images
            if reduction == "mean":
                loss = loss / logits.shape[1]
            loss.backward()
        total += loss.detach()
    return total


def squared(batches: Sequence[Batch], side: int) -> Batch:
    """All images of the batches as squares of this side, without proposals."""
    images = [
        batch.images
        if batch.images.shape[2:] == (side, side)
        else F.interpolate(batch.images, size=(side, side), mode="bilinear", align_corners=False, antialias=True)
        for batch in batches
    ]
    return Batch(
        image_ids=tuple(image_id for batch in batches for image_id in batch.image_ids),
        images=torch.cat(images),
        proposals=(),
        image_labels=torch.cat([batch.image_labels for batch in batches]),
    )


def alternation_step(
    players: Players,
    batches: Sequence[Batch],
    objective: SDCNObjective,
    *,
    stride: int,
    key: StepKey,
    precision: Precision,
    measure_gradients: bool = False,
) -> Alternation:
    """Accumulate both players' gradients over one step's images (Algorithm 1, lines 2-7).

    Args:
        players: both networks.
        batches: this rank's share of the step.
        objective: L of eq. (25), and L^C.
        stride: pixels a cell of the maps' grid.
        key: seeds ties.
        precision: of both networks' forwards.
        measure_gradients: whether to measure the gradient of each term alone, over the images of the first batch: one
            more backward a term. The gradients that the step accumulates stay the same, bit by bit.
    """
    num_images = sum(map(len, batches))
    totals: Losses = {}
    norms: Losses = {}
    for index, batch in enumerate(batches):
        last = index == len(batches) - 1
        share = len(batch) / num_images
        with gradients_accumulate(players.network, last=last), gradients_accumulate(players.classifier, last=last):
            terms = _forward(players, batch, objective, stride=stride, key=key, precision=precision)
            if measure_gradients and index == 0:
                norms = _term_norms(players, terms)
            _backward(terms, share=share)
        for name, loss in terms.losses.items():
            totals[name] = totals.get(name, 0.0) + share * loss.detach()
    return Alternation(totals, norms)


@dataclass(frozen=True)
class _Terms:
    """One batch seen by both players; means over its images."""

    losses: Losses
    """all, unscaled"""
    generator: Losses
    """scaled, each with the gradient that f^E, f^D and f^S are to have of it; ADV's value means nothing"""
    classifier: Tensor | None
    """f^C's own loss"""


def _forward(
    players: Players, batch: Batch, objective: SDCNObjective, *, stride: int, key: StepKey, precision: Precision
) -> _Terms:
    with forward_precision(precision, batch.images.device):
        output: SDCNOutput = players.network(batch.images, batch.proposals)
    losses = supervised_losses(output, batch, objective, stride=stride, key=key)
    generator = objective.weighted(losses)
    if players.classifier is None or output.map_logits is None:
        return _Terms(losses, generator, None)
    maps = present_maps(output.map_logits, batch.image_labels)
    adversarial, own = adversarial_losses(players.classifier, batch, maps, objective, precision=precision)
    # f^C is seen through once. Its graph is read twice: first by the generator, whose gradient stops at the masks,
    # so that f^C's parameters get nothing of it; then by f^C itself, whose gradient stops at the same masks, so
    # that f^S gets nothing.
    (gradient,) = torch.autograd.grad(objective.weight(LossName.ADV) * adversarial, maps.leaf, retain_graph=True)
    # d of this / d maps is the gradient of the adversarial term
    generator[LossName.ADV] = (gradient * maps.attached).sum()
    return _Terms(losses | {LossName.ADV: adversarial, LossName.CLASSIFIER: own}, generator, own)


def _term_norms(players: Players, terms: _Terms) -> Losses:
    norms = gradient_norms(terms.generator, players.network)
    if players.classifier is not None and terms.classifier is not None:
        norms[LossName.CLASSIFIER] = gradient_norm(terms.classifier, players.classifier.parameters())
    return norms


def _backward(terms: _Terms, *, share: float) -> None:
    if terms.classifier is not None:
        (share * terms.classifier).backward()
    (share * torch.stack(list(terms.generator.values())).sum()).backward()


def supervised_losses(
    output: SDCNOutput, batch: Batch, objective: SDCNObjective, *, stride: int, key: StepKey
) -> Losses:
    """All terms of the generator but ADV, mean over the batch's images."""
    per_image = []
    height, width = (0, 0) if output.map_logits is None else output.map_logits.shape[2:]
    for index, image_id in enumerate(batch.image_ids):
        proposals = batch.proposals[index]
        per_image.append(
            objective(
                output.detections[index],
                None if output.map_logits is None else output.map_logits[index],
                proposals,
                boxes_to_cells(proposals, stride, height, width) if height else proposals.long(),
                batch.image_labels[index],
                generator=tie_breaker(key.seed, key.stage, key.step, image_id, proposals.device),
            )
        )
    return mean_losses(per_image)


@dataclass(frozen=True)
class PresentMaps:
    """The maps s_k of the present classes of all images, one after the other, cut from the graph that made them."""

    attached: Tensor
    """(M, h, w) in [0, 1], with the gradient path to f^S"""
    leaf: Tensor
    """(M, h, w) the same numbers without it; gradients are asked for here"""
    owners: Tensor
    """(M,) int64, image of each map"""
    counts: tuple[int, ...]
    """P_b, maps of each image: its positive classes and background"""


def present_maps(map_logits: Tensor, image_labels: Tensor) -> PresentMaps:
    """Maps of the present classes from map_logits (B, C + 1, h, w) and image_labels (B, C)."""
    maps = map_logits.softmax(dim=1)  # (B, C + 1, h, w)
    present = [present_classes(labels) for labels in image_labels]
    counts = tuple(map(len, present))
    owners = torch.repeat_interleave(torch.arange(len(maps)), torch.tensor(counts)).to(maps.device)
    attached = maps[owners, torch.cat(present)]  # (M, h, w)
    return PresentMaps(attached, attached.detach().requires_grad_(), owners, counts)


def adversarial_losses(
    classifier: nn.Module, batch: Batch, maps: PresentMaps, objective: SDCNObjective, *, precision: Precision
) -> tuple[Tensor, Tensor]:
    """ADV of eq. (13) and L^C of eq. (15), mean over images, from one forward of f^C on [I, I * s_k, I * (1 - s_k)].

    The erased images serve both players: f^C is updated after the generator's backward, so it would compute the same
    again.
    """
    num_images, num_maps = len(batch), len(maps.leaf)
    whole = maps.leaf.new_ones((num_images, *maps.leaf.shape[1:]))
    masks = torch.cat([whole, maps.leaf, 1 - maps.leaf])  # (B + 2M, h, w)
    owners = torch.cat([torch.arange(num_images, device=maps.owners.device), maps.owners, maps.owners])
    with forward_precision(precision, batch.images.device):
        logits = classifier(batch.images, masks, owners)  # (B + 2M, C)
    whole_logits, kept_logits, erased_logits = logits.split([num_images, num_maps, num_maps])
    kept, erased = kept_logits.split(maps.counts), erased_logits.split(maps.counts)
    segmentation = objective.segmentation
    adversarial, own = [], []
    for index, labels in enumerate(batch.image_labels):
        adversarial.append(segmentation.adversarial(kept[index], erased[index], labels))
        own.append(segmentation.classifier(whole_logits[index], erased[index], labels))
    return torch.stack(adversarial).mean(), torch.stack(own).mean()
