"""The whole run: the untrained network judged, the stages of section 4.1 in order, the trained network judged.

Or a piece of it: some first stages taken from a store, or only the first ones trained, for a store.

Every rank runs this; what one rank decides (to stop, to fail), all decide at the same step, because they decide on
shared numbers.
"""

import logging
import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.loss_names import LossName
from sdcn_core.config.schedule import LabelTrainingConfig
from sdcn_core.data.datasets import DataRoots
from sdcn_core.errors import CheckpointError, TrainingDiverged
from sdcn_core.models.saved import save_model
from sdcn_core.objective import SDCNObjective
from sdcn_core.pseudo_labels.deltas import delta_statistics
from sdcn_core.pseudo_labels.labels import PseudoLabels
from sdcn_core.structures.sample import Batch
from sdcn_core.training.checkpoint import Checkpoint, save_checkpoint
from sdcn_core.training.inputs import RunInputs
from sdcn_core.training.interval import Interval
from sdcn_core.training.judging import Judge, Verdict, judged_means, judged_metrics, results_by_class
from sdcn_core.training.networks import Networks, Part
from sdcn_core.training.optimizers import (
    build_optimizer,
    clip_gradients,
    detector_groups,
    keep_velocity,
    label_rate,
    plain_groups,
    sdcn_rate,
    second_stage_rate,
    set_rate,
)
from sdcn_core.training.plan import Fractions, StagePlan, check_world_size, plan_stages
from sdcn_core.training.precision import float32_products
from sdcn_core.training.progress import Progress, Stage, TrainingHooks, TrainingReport
from sdcn_core.training.ranks import Ranks
from sdcn_core.training.second_stage import DeltaScale, box_step
from sdcn_core.training.seeding import seed_step
from sdcn_core.training.stage_keys import stage_key, trained_parts
from sdcn_core.training.stage_store import StageState, StageStore
from sdcn_core.training.start import Start, start_from_checkpoint, start_from_store
from sdcn_core.training.steps import Players, StepKey, alternation_step, label_step

log = logging.getLogger(__name__)

MODEL_FILE = "model.pt"


@dataclass(frozen=True)
class RunOutcome:
    stopped: bool
    """True: asked to stop, and did so at a checkpoint; there are no results"""
    results: dict[str, Any] | None
    """classes, and the judgements `trained`, `untrained` and `chance` (None where baselines are off), as JSON; None
    where nothing was judged"""
    files: dict[str, Path] = field(default_factory=dict)
    """what to keep with the run, by name; on the first rank only"""


class _StopRequested(Exception):
    """Unwinds the stages when somebody asked the run to end."""


def run_training(
    experiment: ExperimentConfig,
    *,
    roots: DataRoots,
    weights_root: Path | None,
    hooks: TrainingHooks,
    ranks: Ranks,
    checkpoint: Path | None,
    work_dir: Path,
    stages: StageStore | None = None,
    until: Stage | None = None,
    pseudo_labels: PseudoLabels | None = None,
) -> RunOutcome:
    """Train and judge; go on from a checkpoint where one is given.

    With `until` the run is a piece that others build on: it ends after that stage, leaves the state in the store and
    judges nothing, neither before nor after.

    Args:
        experiment: what to train.
        roots: where data lies, prepared by stage `data`.
        weights_root: where pretrained weights lie.
        hooks: the surroundings, called on every rank at the same points.
        ranks: this process among all.
        checkpoint: folder that `hooks.report` was given earlier, or None to start.
        work_dir: an existing folder of this rank's own, for checkpoints and pictures.
        stages: states that others have trained; without a checkpoint the run starts after the last stage of its own
            that is there. Written with `until` alone.
        until: the last stage to train; None: all, and then judge.
        pseudo_labels: what a second stage learns from; other experiments have none.

    Raises:
        BadInput: data, weights, pseudo labels or the number of ranks do not fit, or the experiment has no stage
            `until`; the message names the file or field.
        TrainingDiverged: a loss is no longer finite.
        CheckpointError: the checkpoint is damaged, of another experiment, or written after `until`.
        ValueError: `until` without a store, or a store for a second stage, which shares nothing.
    """
    if until is not None and stages is None:
        raise ValueError(f"a run until stage {until.value!r} leaves its state in a store: give stages")
    if experiment.second_stage is not None and stages is not None:
        raise ValueError("a second stage takes nothing from a store: give no stages")
    check_world_size(experiment, ranks.world_size)
    plans = plan_stages(experiment, until=until)
    inputs = RunInputs.open(experiment, roots, pseudo_labels=pseudo_labels)

    def start() -> Start:
        if checkpoint is not None:
            return start_from_checkpoint(checkpoint, experiment, classes=inputs.classes, plans=plans)
        if stages is not None:
            return start_from_store(stages, experiment, classes=inputs.classes, plans=plans, ranks=ranks)
        return Start()

    run = _Run(experiment, inputs, weights_root, hooks, ranks, work_dir, start(), until)
    try:
        with float32_products(tf32=False):
            if until is not None and stages is not None:
                return run.execute_until(until, stages)
            return run.execute()
    except _StopRequested:
        return RunOutcome(stopped=True, results=None)


class _Run:
    """The state of one run on one rank."""

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
        self.untrained = start.untrained

    def execute(self) -> RunOutcome:
        if self.experiment.evaluation.baselines and self.untrained is None:
            self._judge_untrained()
        self._train(plan_stages(self.experiment))
        return self._finish()

    def execute_until(self, until: Stage, stages: StageStore) -> RunOutcome:
        """The piece of a run that ends with a stage, its state in the store."""
        plans = plan_stages(self.experiment, until=until)
        self._train(plans)
        if self.start.first_step == plans[-1].end_step:  # somebody else had it trained
            progress = Progress(until, plans[-1].steps, plans[-1].steps, 1.0)
            self.hooks.report(TrainingReport(progress, self.global_step), None)
        elif self.ranks.is_first:
            weights = self.networks.weights(trained_parts(self.experiment, until))
            key = stage_key(self.experiment, until, num_workers=self.ranks.world_size)
            stages.put(key, StageState(self.inputs.classes, weights))
        return RunOutcome(stopped=False, results=None)

    def _train(self, plans: Sequence[StagePlan]) -> None:
        """The stages, from where the run takes up its work; until here the networks are as they were initialized."""
        self.networks.load(self.start.networks)
        self.global_step = self.start.global_step
        self.start = replace(self.start, networks={})  # hundreds of MB, in the networks now
        for plan in plans:
            if plan.stage not in (Stage.BACKBONE, Stage.CLASSIFIER):
                self.networks.freeze_norms()
            if self.global_step < plan.end_step:
                self._run_stage(plan)

    # --- stages

    def _run_stage(self, plan: StagePlan) -> None:
        schedule = self.experiment.schedule
        self.networks.train(True)
        self.networks.forget_gradients()  # those of norms that are frozen now would be clipped with the others'
        self._make_up_evaluation(plan)
        match plan.stage:
            case Stage.BACKBONE:
                self._learn_labels(plan, self.networks.label_head, schedule.backbone, LossName.CLASSIFIER)
            case Stage.CLASSIFIER:
                assert self.networks.classifier is not None  # the plan has this stage only with f^C
                self._learn_labels(plan, self.networks.classifier, schedule.classifier, LossName.CLASSIFIER)
            case Stage.FAST_RCNN:
                self._learn_boxes(plan)
            case _:
                self._alternate(plan)

    def _learn_labels(self, plan: StagePlan, module: nn.Module, config: LabelTrainingConfig, name: LossName) -> None:
        player = self.hooks.prepare(module)
        optimizer = build_optimizer(
            config.optimizer,
            plain_groups(module, weight_decay=config.weight_decay),
            momentum=self.experiment.schedule.momentum,
        )
        precision = self.experiment.schedule.precision
        optimizers = {"labels": optimizer}
        self._restore_optimizers(optimizers)
        interval = Interval()
        for step, batches in self._steps(plan):
            set_rate(optimizer, label_rate(config, step))
            optimizer.zero_grad(set_to_none=True)
            with float32_products(tf32=precision == "tf32"):
                loss = label_step(
                    player,
                    batches,
                    image_size_px=config.image_size_px,
                    reduction=self.experiment.objective.classifier_reduction,
                    precision=precision,
                )
            optimizer.step()
            interval.losses.append({f"{plan.stage}_labels": loss})
            interval = self._after_step(plan, step, interval, optimizers, {"rate/labels": label_rate(config, step)})

    def _alternate(self, plan: StagePlan) -> None:
        schedule = self.experiment.schedule
        networks = self.networks
        objective = SDCNObjective(self.experiment.objective, collaborate=plan.stage is Stage.LOOP)
        players = Players(
            self.hooks.prepare(networks.sdcn),
            None if networks.classifier is None else self.hooks.prepare(networks.classifier),
        )
        optimizers = {
            "network": build_optimizer(
                schedule.optimizer, detector_groups(networks.sdcn, schedule), momentum=schedule.momentum
            )
        }
        if networks.classifier is not None:
            optimizers["classifier"] = build_optimizer(
                schedule.optimizer,
                plain_groups(networks.classifier, weight_decay=schedule.weight_decay),
                momentum=schedule.momentum,
            )
            set_rate(optimizers["classifier"], schedule.classifier_learning_rate)
        self._restore_optimizers(optimizers)
        interval = Interval()
        for step, batches in self._steps(plan):
            rate = sdcn_rate(schedule, plan.stage, step)
            set_rate(optimizers["network"], rate)
            if schedule.caffe_momentum and step > 0:
                keep_velocity(optimizers["network"], before=sdcn_rate(schedule, plan.stage, step - 1), after=rate)
            for optimizer in optimizers.values():
                optimizer.zero_grad(set_to_none=True)
            every = schedule.gradient_norms_every_steps
            with float32_products(tf32=schedule.precision == "tf32"):
                measured = alternation_step(
                    players,
                    batches,
                    objective,
                    stride=networks.sdcn.backbone.stride,
                    key=StepKey(self.experiment.seed, plan.stage, step),
                    precision=schedule.precision,
                    measure_gradients=every is not None and (step + 1) % every == 0,
                )
            interval.whole_gradient_norms.append(clip_gradients(networks.sdcn, schedule.clip_norm))
            for optimizer in optimizers.values():
                optimizer.step()
            interval.losses.append({name.value: loss for name, loss in measured.losses.items()})
            if measured.gradient_norms:
                interval.gradient_norms.append({name.value: norm for name, norm in measured.gradient_norms.items()})
            rates = {"rate/network": rate}
            if networks.classifier is not None:
                rates["rate/classifier"] = schedule.classifier_learning_rate
            interval = self._after_step(plan, step, interval, optimizers, rates)

    def _learn_boxes(self, plan: StagePlan) -> None:
        schedule, config = self.experiment.schedule, self.experiment.second_stage
        assert config is not None  # the plan has this stage only with one
        network = self.networks.fast_rcnn
        player = self.hooks.prepare(network)
        groups = detector_groups(network, schedule)
        optimizers = {"network": build_optimizer(schedule.optimizer, groups, momentum=schedule.momentum)}
        self._restore_optimizers(optimizers)
        scale = DeltaScale(network.detection.delta_means, network.detection.delta_stds)
        interval = Interval()
        for step, batches in self._steps(plan):
            rate = second_stage_rate(schedule, config, step)
            set_rate(optimizers["network"], rate)
            if schedule.caffe_momentum and step > 0:
                before = second_stage_rate(schedule, config, step - 1)
                keep_velocity(optimizers["network"], before=before, after=rate)
            optimizers["network"].zero_grad(set_to_none=True)
            with float32_products(tf32=schedule.precision == "tf32"):
                losses = box_step(
                    player,
                    batches,
                    config,
                    scale,
                    key=StepKey(self.experiment.seed, plan.stage, step),
                    precision=schedule.precision,
                )
            interval.whole_gradient_norms.append(clip_gradients(network, schedule.clip_norm))
            optimizers["network"].step()
            interval.losses.append({name.value: loss for name, loss in losses.items()})
            interval = self._after_step(plan, step, interval, optimizers, {"rate/network": rate})

    def _scale_deltas(self) -> None:
        """Give a second stage's network the spread of the deltas that it is to learn.

        Raises:
            CheckpointError: it goes on from a run that learnt from other boxes.
        """
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

    def _steps(self, plan: StagePlan) -> Iterator[tuple[int, tuple[Batch, ...]]]:
        """(step within the stage, this rank's batches) from where the run stands; torch is seeded for each."""
        start = self.global_step - plan.first_step
        batches = self.inputs.batches(self.experiment, plan, self.ranks)
        with closing(batches.iterate(plan.stage.value, start, plan.steps)) as steps:
            for step, share in enumerate(steps, start=start):
                seed_step(self.experiment.seed, plan.stage.value, step, self.ranks.rank)
                yield step, tuple(_on_device(batch, self.ranks.device) for batch in share)

    # --- between steps

    def _after_step(
        self,
        plan: StagePlan,
        step: int,
        interval: Interval,
        optimizers: Mapping[str, Optimizer],
        rates: Mapping[str, float],
    ) -> Interval:
        """Report, check, save and stop where it is time to; returns the interval that the next step adds to."""
        self.global_step = plan.first_step + step + 1
        done = step + 1
        schedule = self.experiment.schedule
        if done % schedule.report_every_steps and done != plan.steps:
            return interval
        metrics = self._interval_metrics(plan, interval, rates)
        stop = self.hooks.should_stop()
        previous_report = self._previous_report(done)
        saves = (
            stop
            or done == plan.steps
            or done // schedule.checkpoint_every_steps > previous_report // schedule.checkpoint_every_steps
        )
        progress = self.fractions.at(plan.stage.value, plan.stage, done, plan.steps)
        folder = self._save(optimizers if done < plan.steps else {}) if saves else None
        self.hooks.report(TrainingReport(progress, self.global_step, metrics), folder)
        if stop:
            raise _StopRequested
        if self._evaluates_now(plan, done):
            self._judge_midway(progress)
        return Interval()

    def _previous_report(self, done: int) -> int:
        """The step of the stage after which was reported last before it was after `done` steps."""
        every = self.experiment.schedule.report_every_steps
        return done - (done % every or every)

    def _interval_metrics(self, plan: StagePlan, interval: Interval, rates: Mapping[str, float]) -> dict[str, float]:
        seconds = interval.seconds_per_step()
        metrics = self.ranks.mean(interval.means() | {"time/step_s": seconds})
        for name, value in metrics.items():
            if not math.isfinite(value):
                raise TrainingDiverged(
                    f"{name} is {value} at step {self.global_step} (stage {plan.stage}): lower schedule.learning_rate,"
                    " or set schedule.clip_norm"
                )
        objective = SDCNObjective(self.experiment.objective, collaborate=True)
        weights = {f"loss/{name}": objective.weight(name) for name in LossName}
        if self.experiment.second_stage is not None:
            weights |= {"loss/roi_class": 1.0, "loss/roi_box": self.experiment.second_stage.lambda_boxes}
        scaled = {
            name.replace("loss/", "loss_scaled/"): weights[name] * value
            for name, value in metrics.items()
            if name in weights
        }
        return metrics | scaled | dict(rates) | {"time/images_per_s": plan.images_per_step / metrics["time/step_s"]}

    def _save(self, optimizers: Mapping[str, Optimizer]) -> Path | None:
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

    def _restore_optimizers(self, optimizers: Mapping[str, Optimizer]) -> None:
        for name, state in self.start.optimizers.items():
            optimizers[name].load_state_dict(state)
        self.start = replace(self.start, optimizers={})

    # --- judging

    def _judge_untrained(self) -> None:
        verdict = self._judge_whole("untrained")
        self.untrained = results_by_class(verdict.report)
        progress = self.fractions.at("untrained", Stage.EVALUATE, self.judge.num_images, self.judge.num_images)
        self.hooks.report(TrainingReport(progress, 0, judged_means(self.untrained)), None)

    def _judge_midway(self, progress: Progress) -> None:
        verdict = self.judge.trained(self.networks.detector, corloc=False, pixels=False, tick=lambda _: False)
        assert verdict is not None  # only a tick stops it
        self.networks.train(True)
        known = {"mean_ap": verdict.report.mean_ap, "mean_classification_ap": verdict.report.mean_classification_ap}
        metrics = {f"eval/{name}": value for name, value in known.items() if value is not None}
        self.hooks.report(TrainingReport(progress, self.global_step, metrics), None)

    def _judge_whole(self, part: str) -> Verdict:
        total = self.judge.num_images

        def tick(done: int) -> bool:
            progress = self.fractions.at(part, Stage.EVALUATE, done, total)
            self.hooks.report(TrainingReport(progress, self.global_step), None)
            return self.hooks.should_stop()

        verdict = self.judge.trained(self.networks.detector, corloc=True, pixels=part == "trained", tick=tick)
        if verdict is None:
            raise _StopRequested
        return verdict

    def _make_up_evaluation(self, plan: StagePlan) -> None:
        """Where the run goes on from a checkpoint after which an evaluation was due, evaluate.

        A stop or a kill may have come between the two, and who watches the numbers shall see them at the same steps as
        of an unbroken run. If none did, they are told twice.
        """
        done = self.global_step - plan.first_step
        if done > 0 and self._evaluates_now(plan, done):
            self._judge_midway(self.fractions.at(plan.stage.value, plan.stage, done, plan.steps))

    def _evaluates_now(self, plan: StagePlan, done: int) -> bool:
        every = self.experiment.evaluation.every_steps
        of_labels = plan.stage in (Stage.BACKBONE, Stage.CLASSIFIER)
        if every is None or self.until is not None or of_labels or done == plan.steps:
            return False
        return done // every > self._previous_report(done) // every

    def _finish(self) -> RunOutcome:
        verdict = self._judge_whole("trained")
        trained = results_by_class(verdict.report)
        chance = results_by_class(self.judge.chance()) if self.experiment.evaluation.baselines else None
        results = {
            "classes": list(self.inputs.classes),
            "trained": trained,
            "untrained": self.untrained,
            "chance": chance,
        }
        files: dict[str, Path] = {}
        if self.ranks.is_first:
            files = self.judge.keep(verdict, self.work_dir)
            files[MODEL_FILE] = self._save_model()
        metrics = judged_metrics(trained)
        if chance is not None:
            metrics |= {f"chance/{name.removeprefix('eval/')}": value for name, value in judged_means(chance).items()}
        total = self.judge.num_images
        progress = self.fractions.at("trained", Stage.EVALUATE, total, total)
        self.hooks.report(TrainingReport(progress, self.global_step, metrics, files), None)
        return RunOutcome(stopped=False, results=results, files=files)

    def _save_model(self) -> Path:
        """Weights of f^E, f^D and f^S with all that is needed to build them again."""
        path = self.work_dir / MODEL_FILE
        save_model(
            path,
            experiment=self.experiment,
            classes=self.inputs.classes,
            weights=self.networks.detector.state_dict(),
        )
        return path


def _on_device(batch: Batch, device: torch.device) -> Batch:
    return Batch(
        image_ids=batch.image_ids,
        images=batch.images.to(device, non_blocking=True),
        proposals=tuple(boxes.to(device, non_blocking=True) for boxes in batch.proposals),
        image_labels=batch.image_labels.to(device, non_blocking=True),
        pseudo_boxes=tuple(boxes.to(device, non_blocking=True) for boxes in batch.pseudo_boxes),
        pseudo_classes=tuple(classes.to(device, non_blocking=True) for classes in batch.pseudo_classes),
    )
