from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.loss_names import RoiLossName
from sdcn_core.config.second_stage import SecondStageConfig
from sdcn_core.config.second_stages import fast_rcnn
from sdcn_core.data.datasets import open_train_set
from sdcn_core.data.proposals import compute_proposals
from sdcn_core.errors import BadInput, CheckpointError
from sdcn_core.models.fast_rcnn import FastRCNN
from sdcn_core.models.saved import load_model
from sdcn_core.pseudo_labels.labels import PseudoLabels
from sdcn_core.structures.pseudo_boxes import PseudoBoxes
from sdcn_core.structures.sample import Batch
from sdcn_core.training.inputs import ignore_progress
from sdcn_core.training.networks import Networks
from sdcn_core.training.preparation import prepare_data
from sdcn_core.training.progress import Stage
from sdcn_core.training.second_stage import DeltaScale, box_step
from sdcn_core.training.shared_stages import StageStore, stage_key
from sdcn_core.training.steps import StepKey
from tests.reference import fast_rcnn as fast_rcnn_by_hand
from tests.sdcn_core.training.runs import Place, differing, run, weights
from tests.sdcn_core.training.small import NUM_CLASSES, gradients, random_batch, small_experiment
from tests.sdcn_core.training.two_ranks import on_two_ranks

STEPS = {"schedule.report_every_steps": 1, "schedule.checkpoint_every_steps": 2, "model.detection.dropout": 0.5}
QUICK = {"evaluation.baselines": False}


def student(**overrides: object) -> ExperimentConfig:
    return fast_rcnn(small_experiment()).with_overrides(STEPS | QUICK | overrides)  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def labels(tmp_path_factory: pytest.TempPathFactory, cache: Path) -> PseudoLabels:
    """Of each image and class a proposal, as a detector would have chosen it; the second image has none."""
    experiment = student()
    place = Place.below(tmp_path_factory.mktemp("labels"), cache)
    prepare_data(experiment, place.roots, processes=1, report=lambda _: None)
    train = open_train_set(experiment.data.source, place.roots, labels_from_difficult=False)
    proposals = compute_proposals(
        train, experiment.data.proposals, roots=place.roots, processes=1, progress=ignore_progress
    )
    images = {}
    for index, record in enumerate(train.records):
        own = proposals[record.image_id][: len(record.labels)]
        chosen = PseudoBoxes(own, np.array(record.labels), np.ones(len(own), np.float32))
        images[record.image_id] = PseudoBoxes.none() if index == 1 else chosen
    return PseudoLabels(train.classes, "0" * 64, experiment.second_stage.labels, images)  # type: ignore[union-attr]


def test_a_run_learns_image_labels_then_boxes_and_leaves_a_fast_rcnn(
    tmp_path: Path, cache: Path, labels: PseudoLabels
) -> None:
    experiment = student(**{"evaluation.baselines": True, "evaluation.every_steps": 2})
    outcome, hooks = run(experiment, Place.below(tmp_path, cache), pseudo_labels=labels)
    stages = [report.progress.stage for report in hooks.reports]
    assert list(dict.fromkeys(stages)) == [Stage.EVALUATE, Stage.BACKBONE, Stage.FAST_RCNN]
    fractions = [report.progress.fraction for report in hooks.reports]
    assert fractions == sorted(fractions)
    assert fractions[0] > 0.05  # what was done before, the boxes found, is a part of the whole
    assert fractions[-1] == pytest.approx(1.0)
    assert outcome.results is not None
    assert {"trained", "untrained", "chance"} <= outcome.results.keys()
    last = [report.metrics for report in hooks.reports if "loss/roi_box" in report.metrics][-1]
    assert {
        "loss/roi_class",
        "loss_scaled/roi_class",
        "loss_scaled/roi_box",
        "rate/network",
        "gradient/norm",
    } <= last.keys()
    saved = load_model(outcome.files["model.pt"])
    assert isinstance(saved.network, FastRCNN)
    assert (saved.network.detection.delta_stds != 1).any()


def taught_batch(seed: int, *, images: int = 2) -> Batch:
    """A batch whose pseudo labels are boxes near some of its proposals."""
    batch = random_batch(seed, images=images)
    return replace(
        batch,
        pseudo_boxes=tuple(boxes[:2] + torch.tensor([2.0, 1, -1, -2]) for boxes in batch.proposals),
        pseudo_classes=tuple(torch.tensor([0, NUM_CLASSES - 1]) for _ in range(images)),
    )


def small_network() -> FastRCNN:
    network = Networks.build(student(**{"model.detection.dropout": 0.0}), NUM_CLASSES, None)
    network.freeze_norms()
    return network.fast_rcnn


def scale_of(network: FastRCNN) -> DeltaScale:
    return DeltaScale(network.detection.delta_means, network.detection.delta_stds)


KEY = StepKey(0, Stage.FAST_RCNN, 0)


def test_the_losses_of_a_step_are_fast_rcnn_s_on_the_proposals_and_the_boxes_themselves() -> None:
    network, batches, config = small_network(), [taught_batch(0), taught_batch(1, images=1)], SecondStageConfig()
    network.detection.delta_means += 0.1
    network.detection.delta_stds *= 0.2
    losses = box_step(network, batches, config, scale_of(network), key=KEY, precision="fp32")
    expected = {RoiLossName.ROI_CLASS: 0.0, RoiLossName.ROI_BOX: 0.0}
    for batch in batches:
        rois = tuple(torch.cat(pair) for pair in zip(batch.proposals, batch.pseudo_boxes, strict=True))
        for index, output in enumerate(network(batch.images, rois)):
            boxes, classes = batch.pseudo_boxes[index].tolist(), batch.pseudo_classes[index].tolist()
            said = [
                fast_rcnn_by_hand.roi_of(
                    roi, boxes, classes, num_classes=NUM_CLASSES, foreground_iou=0.5, background_iou=(0.1, 0.5)
                )
                for roi in rois[index].tolist()
            ]
            rows = [row for row, one in enumerate(said) if one is not None]
            labels = [one[0] for one in said if one is not None]
            targets = [[(d - 0.1) / 0.2 for d in one[1] or (0.1,) * 4] for one in said if one is not None]
            logits, deltas = output.logits[rows].tolist(), output.deltas[rows].tolist()
            expected[RoiLossName.ROI_CLASS] += fast_rcnn_by_hand.class_loss(logits, labels) / 3
            expected[RoiLossName.ROI_BOX] += fast_rcnn_by_hand.box_loss(deltas, targets, labels, 1.0) / 3
    assert {name: loss.item() for name, loss in losses.items()} == pytest.approx(expected, rel=1e-4)


def test_two_batches_of_a_step_leave_the_gradient_of_one() -> None:
    whole = taught_batch(0)
    halves = [
        Batch(
            whole.image_ids[i : i + 1],
            whole.images[i : i + 1],
            whole.proposals[i : i + 1],
            whole.image_labels[i : i + 1],
            whole.pseudo_boxes[i : i + 1],
            whole.pseudo_classes[i : i + 1],
        )
        for i in range(2)
    ]
    found = []
    for batches in ([whole], halves):
        network = small_network()
        box_step(network, batches, SecondStageConfig(), scale_of(network), key=KEY, precision="fp32")
        found.append(gradients(network))
    for name, gradient in found[0].items():
        torch.testing.assert_close(gradient, found[1][name], rtol=1e-4, atol=1e-6)


def test_it_learns_the_boxes_that_it_is_given() -> None:
    network, batch = small_network(), taught_batch(0)
    network.detection.delta_stds *= 0.1
    optimizer = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=3e-3)
    told = []
    for _ in range(60):
        optimizer.zero_grad()
        losses = box_step(network, [batch], SecondStageConfig(), scale_of(network), key=KEY, precision="fp32")
        optimizer.step()
        told.append([loss.item() for loss in losses.values()])
    assert (np.mean(told[-5:], axis=0) < 0.6 * np.mean(told[:5], axis=0)).all()


@pytest.mark.parametrize("stop_at_step", [2, 7], ids=["image labels", "boxes"])
def test_a_stopped_and_resumed_run_ends_in_the_same_bits_as_an_unbroken_one(
    tmp_path: Path, cache: Path, labels: PseudoLabels, stop_at_step: int
) -> None:
    experiment = student(**{"second_stage.rois_per_image": 10})
    _, unbroken = run(experiment, Place.below(tmp_path / "unbroken", cache), pseudo_labels=labels)
    first_end, first = run(
        experiment, Place.below(tmp_path / "broken", cache), pseudo_labels=labels, stop_at_step=stop_at_step
    )
    assert first_end.stopped
    end, second = run(
        experiment, Place.below(tmp_path / "resumed", cache), pseudo_labels=labels, checkpoint=first.checkpoint
    )
    assert not end.stopped
    assert differing(weights(experiment, unbroken), weights(experiment, second)) == []
    assert unbroken.losses() == first.losses() | second.losses()


def test_it_does_not_go_on_with_other_boxes(tmp_path: Path, cache: Path, labels: PseudoLabels) -> None:
    experiment = student()
    _, first = run(experiment, Place.below(tmp_path / "a", cache), pseudo_labels=labels, stop_at_step=6)
    wide = {
        name: PseudoBoxes(np.tile(np.array([[0, 0, 60, 20]], np.float32), (len(found), 1)), found.classes, found.scores)
        for name, found in labels.images.items()
    }
    others = PseudoLabels(labels.classes, labels.model_sha256, labels.config, wide)
    with pytest.raises(CheckpointError, match="other pseudo labels"):
        run(experiment, Place.below(tmp_path / "b", cache), pseudo_labels=others, checkpoint=first.checkpoint)


def test_the_label_stage_is_the_teacher_s_own(tmp_path: Path, cache: Path, labels: PseudoLabels) -> None:
    teacher = small_experiment(**QUICK)
    experiment = student()
    keys = [stage_key(one, Stage.BACKBONE, num_workers=1) for one in (teacher, experiment)]
    assert keys[0] == keys[1]
    with pytest.raises(BadInput, match="runs share none"):
        stage_key(experiment, Stage.FAST_RCNN, num_workers=1)
    with pytest.raises(ValueError, match="give no stages"):
        run(experiment, Place.below(tmp_path, cache), pseudo_labels=labels, stages=StageStore(tmp_path / "store"))


def test_labels_that_are_missing_or_of_other_images_or_classes_are_refused(
    tmp_path: Path, cache: Path, labels: PseudoLabels
) -> None:
    place = Place.below(tmp_path, cache)
    renamed = PseudoLabels(("cat", *labels.classes[1:]), labels.model_sha256, labels.config, labels.images)
    fewer = PseudoLabels(labels.classes, labels.model_sha256, labels.config, dict(list(labels.images.items())[:3]))
    for given, named in ((None, "find them first"), (renamed, "of the classes cat"), (fewer, "missing in all")):
        with pytest.raises(BadInput, match=named):
            run(student(), place, pseudo_labels=given)


@pytest.mark.integration
def test_two_ranks_see_the_losses_that_one_rank_sees(tmp_path: Path, cache: Path, labels: PseudoLabels) -> None:
    experiment = student(**{"model.detection.dropout": 0.0, "schedule.backbone.steps": 1})
    _, alone = run(experiment, Place.below(tmp_path / "alone", cache), pseudo_labels=labels)
    losses = tmp_path / "losses.pt"
    order = (experiment.model_dump_json(), tmp_path, cache, labels, losses)
    on_two_ranks(_run_as_rank, *order, meet=tmp_path / "meet")
    together = torch.load(losses, weights_only=True)
    for step, expected in alone.losses().items():
        assert together[step] == pytest.approx(expected, rel=1e-3)


def _run_as_rank(rank: int, experiment_json: str, base: Path, cache: Path, labels: PseudoLabels, losses: Path) -> None:
    place = Place.below(base / f"rank-{rank}", cache)
    _, hooks = run(ExperimentConfig.model_validate_json(experiment_json), place, pseudo_labels=labels)
    if rank == 0:
        torch.save(hooks.losses(), losses)
