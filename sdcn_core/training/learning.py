"""What is learnt in a step of each kind of stage: image labels, SDCN by its players in turn, a second stage's boxes."""

from collections.abc import Sequence
from typing import Protocol

from torch import nn
from torch.optim import Optimizer

from sdcn_core.config.schedule import LabelTrainingConfig
from sdcn_core.objective import SDCNObjective
from sdcn_core.structures.sample import Batch
from sdcn_core.training.interval import Interval
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
from sdcn_core.training.plan import StagePlan
from sdcn_core.training.precision import float32_products
from sdcn_core.training.progress import Stage
from sdcn_core.training.run import Run
from sdcn_core.training.second_stage import DeltaScale, box_step
from sdcn_core.training.steps import Players, StepKey, alternation_step, label_step


class Learning(Protocol):
    """One stage at work."""

    optimizers: dict[str, Optimizer]
    """by player"""

    def step(self, step: int, batches: Sequence[Batch], interval: Interval) -> dict[str, float]:
        """One optimizer step of every player, measured in the interval.

        Args:
            step: within the stage.
            batches: this rank's share of the step.
            interval: what is averaged until the next report.

        Returns:
            rate/<group>, the learning rates it was made with.
        """
        ...


def learning_of(run: Run, plan: StagePlan) -> Learning:
    """The stage's networks, prepared by the surroundings, with fresh optimizers."""
    schedule, networks = run.experiment.schedule, run.networks
    match plan.stage:
        case Stage.BACKBONE:
            return LabelLearning(run, plan, networks.label_head, schedule.backbone)
        case Stage.CLASSIFIER:
            assert networks.classifier is not None  # the plan has this stage only with f^C
            return LabelLearning(run, plan, networks.classifier, schedule.classifier)
        case Stage.FAST_RCNN:
            return BoxLearning(run, plan)
        case _:
            return Alternation(run, plan)


class LabelLearning:
    """A network that classifies whole images learns their labels: f^E with its head, or f^C."""

    def __init__(self, run: Run, plan: StagePlan, module: nn.Module, config: LabelTrainingConfig) -> None:
        self._experiment = run.experiment
        self._loss = f"{plan.stage}_labels"
        self._config = config
        self._player = run.hooks.prepare(module)
        self._optimizer = build_optimizer(
            config.optimizer,
            plain_groups(module, weight_decay=config.weight_decay),
            momentum=run.experiment.schedule.momentum,
        )
        self.optimizers = {"labels": self._optimizer}

    def step(self, step: int, batches: Sequence[Batch], interval: Interval) -> dict[str, float]:
        rate = label_rate(self._config, step)
        precision = self._experiment.schedule.precision
        set_rate(self._optimizer, rate)
        self._optimizer.zero_grad(set_to_none=True)
        with float32_products(tf32=precision == "tf32"):
            loss = label_step(
                self._player,
                batches,
                image_size_px=self._config.image_size_px,
                reduction=self._experiment.objective.classifier_reduction,
                precision=precision,
            )
        self._optimizer.step()
        interval.losses.append({self._loss: loss})
        return {"rate/labels": rate}


class Alternation:
    """SDCN's two players: the generator with both branches, and f^C where there is one."""

    def __init__(self, run: Run, plan: StagePlan) -> None:
        networks, schedule = run.networks, run.experiment.schedule
        self._experiment = run.experiment
        self._stage = plan.stage
        self._sdcn = networks.sdcn
        self._objective = SDCNObjective(run.experiment.objective, collaborate=plan.stage is Stage.LOOP)
        self._players = Players(
            run.hooks.prepare(networks.sdcn),
            None if networks.classifier is None else run.hooks.prepare(networks.classifier),
        )
        self.optimizers = {
            "network": build_optimizer(
                schedule.optimizer, detector_groups(networks.sdcn, schedule), momentum=schedule.momentum
            )
        }
        if networks.classifier is not None:
            self.optimizers["classifier"] = build_optimizer(
                schedule.optimizer,
                plain_groups(networks.classifier, weight_decay=schedule.weight_decay),
                momentum=schedule.momentum,
            )
            set_rate(self.optimizers["classifier"], schedule.classifier_learning_rate)

    def step(self, step: int, batches: Sequence[Batch], interval: Interval) -> dict[str, float]:
        schedule = self._experiment.schedule
        rate = sdcn_rate(schedule, self._stage, step)
        set_rate(self.optimizers["network"], rate)
        if schedule.caffe_momentum and step > 0:
            keep_velocity(self.optimizers["network"], before=sdcn_rate(schedule, self._stage, step - 1), after=rate)
        for optimizer in self.optimizers.values():
            optimizer.zero_grad(set_to_none=True)
        every = schedule.gradient_norms_every_steps
        with float32_products(tf32=schedule.precision == "tf32"):
            measured = alternation_step(
                self._players,
                batches,
                self._objective,
                stride=self._sdcn.backbone.stride,
                key=StepKey(self._experiment.seed, self._stage, step),
                precision=schedule.precision,
                measure_gradients=every is not None and (step + 1) % every == 0,
            )
        interval.whole_gradient_norms.append(clip_gradients(self._sdcn, schedule.clip_norm))
        for optimizer in self.optimizers.values():
            optimizer.step()
        interval.losses.append({name.value: loss for name, loss in measured.losses.items()})
        if measured.gradient_norms:
            interval.gradient_norms.append({name.value: norm for name, norm in measured.gradient_norms.items()})
        rates = {"rate/network": rate}
        if "classifier" in self.optimizers:
            rates["rate/classifier"] = schedule.classifier_learning_rate
        return rates


class BoxLearning:
    """The Fast R-CNN of a second stage learns pseudo labels."""

    def __init__(self, run: Run, plan: StagePlan) -> None:
        schedule, config = run.experiment.schedule, run.experiment.second_stage
        assert config is not None  # the plan has this stage only with one
        self._experiment = run.experiment
        self._config = config
        self._stage = plan.stage
        self._network = run.networks.fast_rcnn
        self._player = run.hooks.prepare(self._network)
        groups = detector_groups(self._network, schedule)
        self._optimizer = build_optimizer(schedule.optimizer, groups, momentum=schedule.momentum)
        self.optimizers = {"network": self._optimizer}
        self._scale = DeltaScale(self._network.detection.delta_means, self._network.detection.delta_stds)

    def step(self, step: int, batches: Sequence[Batch], interval: Interval) -> dict[str, float]:
        schedule = self._experiment.schedule
        rate = second_stage_rate(schedule, self._config, step)
        set_rate(self._optimizer, rate)
        if schedule.caffe_momentum and step > 0:
            before = second_stage_rate(schedule, self._config, step - 1)
            keep_velocity(self._optimizer, before=before, after=rate)
        self._optimizer.zero_grad(set_to_none=True)
        with float32_products(tf32=schedule.precision == "tf32"):
            losses = box_step(
                self._player,
                batches,
                self._config,
                self._scale,
                key=StepKey(self._experiment.seed, self._stage, step),
                precision=schedule.precision,
            )
        interval.whole_gradient_norms.append(clip_gradients(self._network, schedule.clip_norm))
        self._optimizer.step()
        interval.losses.append({name.value: loss for name, loss in losses.items()})
        return {"rate/network": rate}
