"""One run on one rank: what all parts of a training share, and how far it is."""

from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch.optim import Optimizer

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.errors import CheckpointError
from sdcn_core.pseudo_labels.deltas import delta_statistics
from sdcn_core.structures.sample import Batch
from sdcn_core.training.checkpoint import Checkpoint, save_checkpoint
from sdcn_core.training.inputs import RunInputs
from sdcn_core.training.judging import Judge
from sdcn_core.training.networks import Networks, Part
from sdcn_core.training.plan import Fractions, StagePlan
from sdcn_core.training.progress import Progress, Stage, TrainingHooks, TrainingReport
from sdcn_core.training.ranks import Ranks
from sdcn_core.training.seeding import seed_step
from sdcn_core.training.start import Start


@dataclass(frozen=True)
class RunOutcome:
    stopped: bool
    """True: asked to stop, and did so at a checkpoint; there are no results"""
    results: dict[str, Any] | None
    """classes, and the judgements `trained`, `untrained` and `chance` (None where baselines are off), as JSON; None
    where nothing was judged"""
    files: dict[str, Path] = field(default_factory=dict)
    """what to keep with the run, by name; on the first rank only"""


class StopRequested(Exception):
    """Unwinds the stages when somebody asked the run to end."""


class Run:
    """The networks of a run, its data and surroundings, and where it stands.

    Args:
        experiment: what is trained.
        inputs: its data.
        weights_root: where pretrained weights lie.
        hooks: the surroundings.
        ranks: this process among all.
        work_dir: an existing folder of this rank's own.
        start: where the run takes up its work.
        until: the last stage to train; None: all, and then judge.

    Raises:
        BadInput: weights cannot be had.
        CheckpointError: a second stage goes on from a run that learnt from other boxes.
    """

    def __init__(
        self,
        experiment: ExperimentConfig,
        inputs: RunInputs,
        weights_root: Path | None,
        hooks: TrainingHooks,
        ranks: Ranks,
        work_dir: Path,
        start: Start,
        until: Stage | None,
    ) -> None:
        self.experiment = experiment
        self.inputs = inputs
        self.hooks = hooks
        self.ranks = ranks
        self.work_dir = work_dir
        self.start = start
        self.until = until
        self.networks = Networks.build(experiment, len(inputs.classes), weights_root)
        self._scale_deltas()
        self.networks.to(ranks.device)
        self.judge = Judge(experiment, inputs, ranks)
        self.fractions = Fractions(
            experiment,
            test_images=len(inputs.test.image_set.records),
            train_images=len(inputs.train.records),
            first_step=start.first_step,
            until=until,
        )
        self.global_step = 0
        """optimizer steps that are done, over all stages"""
        self.untrained = start.untrained
        """the evaluation of the untrained network, once there is one"""

    def take_up(self) -> None:
        """Go to where the run takes up its work; until here the networks are as they were initialized."""
        self.networks.load(self.start.networks)
        self.global_step = self.start.global_step
        self.start = replace(self.start, networks={})  # hundreds of MB, in the networks now

    def restore(self, optimizers: Mapping[str, Optimizer]) -> None:
        """Give the first stage's optimizers, by player, the state that the run takes up; later ones start fresh."""
        for name, state in self.start.optimizers.items():
            optimizers[name].load_state_dict(state)
        self.start = replace(self.start, optimizers={})

    def steps(self, plan: StagePlan) -> Iterator[tuple[int, tuple[Batch, ...]]]:
        """(step within the stage, this rank's batches) from where the run stands; torch is seeded for each."""
        start = self.global_step - plan.first_step
        batches = self.inputs.batches(self.experiment, plan, self.ranks)
        with closing(batches.iterate(plan.stage.value, start, plan.steps)) as steps:
            for step, share in enumerate(steps, start=start):
                seed_step(self.experiment.seed, plan.stage.value, step, self.ranks.rank)
                yield step, tuple(_on_device(batch, self.ranks.device) for batch in share)

    def save(self, optimizers: Mapping[str, Optimizer]) -> Path | None:
        """Write a checkpoint of where the run stands; its folder, None on all ranks but the first."""
        if not self.ranks.is_first:
            return None
        folder = self.work_dir / f"checkpoint-{self.global_step:08d}"
        save_checkpoint(
            Checkpoint(
                config_digest=self.experiment.digest(),
                classes=list(self.inputs.classes),
                global_step=self.global_step,
                first_step=self.start.first_step,
                networks=self.networks.weights(),
                optimizers={name: optimizer.state_dict() for name, optimizer in optimizers.items()},
                untrained=self.untrained,
            ),
            folder,
        )
        return folder

    def tell(
        self,
        progress: Progress,
        metrics: Mapping[str, float] | None = None,
        *,
        files: Mapping[str, Path] | None = None,
        checkpoint: Path | None = None,
    ) -> None:
        """Report to the surroundings."""
        self.hooks.report(TrainingReport(progress, self.global_step, metrics or {}, files or {}), checkpoint)

    def _scale_deltas(self) -> None:
        """Give a second stage's network the spread of the deltas that it is to learn."""
        config, labels = self.experiment.second_stage, self.inputs.pseudo_labels
        if config is None or labels is None or not config.normalize_deltas:
            return
        statistics = delta_statistics(
            labels,
            self.inputs.train_proposals,
            foreground_iou=config.foreground_iou,
            flip=self.experiment.data.flip,
        )
        branch = self.networks.fast_rcnn.detection
        branch.delta_means.copy_(torch.from_numpy(statistics.means))
        branch.delta_stds.copy_(torch.from_numpy(statistics.stds))
        begun = self.start.networks.get(Part.DETECTION.value)
        if begun is not None and not torch.allclose(begun["delta_stds"], branch.delta_stds, rtol=1e-4):
            raise CheckpointError(
                "the checkpoint was written by a run that learnt from other pseudo labels: go on with those, or begin"
                " anew"
            )


def _on_device(batch: Batch, device: torch.device) -> Batch:
    return Batch(
        image_ids=batch.image_ids,
        images=batch.images.to(device, non_blocking=True),
        proposals=tuple(boxes.to(device, non_blocking=True) for boxes in batch.proposals),
        image_labels=batch.image_labels.to(device, non_blocking=True),
        pseudo_boxes=tuple(boxes.to(device, non_blocking=True) for boxes in batch.pseudo_boxes),
        pseudo_classes=tuple(classes.to(device, non_blocking=True) for classes in batch.pseudo_classes),
    )
