"""What a run will do, in order, and how much of the whole each part is."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.schedule import ScheduleConfig
from sdcn_core.errors import BadInput
from sdcn_core.training.progress import Progress, Stage

DATA_SHARE = 0.05
"""of a run's fraction belongs to stage `data`, which whoever prepares the data reports"""


@dataclass(frozen=True)
class StagePlan:
    """One training stage. Its optimizer steps are global steps first_step .. first_step + steps - 1."""

    stage: Stage
    steps: int
    images_per_step: int
    first_step: int

    @property
    def end_step(self) -> int:
        return self.first_step + self.steps


def plan_stages(experiment: ExperimentConfig, *, until: Stage | None = None) -> tuple[StagePlan, ...]:
    """The training stages with at least one step, in order. f^C learns only where there is a segmentation branch.

    Args:
        experiment: what is trained.
        until: the last stage that is wanted; None: all.

    Raises:
        BadInput: `until` is none of the experiment's training stages.
    """
    schedule = experiment.schedule
    wanted = [
        (Stage.BACKBONE, schedule.backbone.steps, schedule.backbone.images_per_step),
        (
            Stage.CLASSIFIER,
            schedule.classifier.steps if experiment.objective.segmentation_branch else 0,
            schedule.classifier.images_per_step,
        ),
        (Stage.APART, schedule.apart_steps, schedule.images_per_step),
        (Stage.LOOP, schedule.loop_steps, schedule.images_per_step),
        (
            Stage.FAST_RCNN,
            0 if experiment.second_stage is None else experiment.second_stage.steps,
            schedule.images_per_step,
        ),
    ]
    plans: list[StagePlan] = []
    for stage, steps, images_per_step in wanted:
        if steps:
            plans.append(StagePlan(stage, steps, images_per_step, plans[-1].end_step if plans else 0))
    if until is None:
        return tuple(plans)
    stages = [plan.stage for plan in plans]
    if until not in stages:
        raise BadInput(
            f"the experiment has no training stage {until.value!r}: give it steps in its schedule, or name one of"
            f" {', '.join(stages)}"
        )
    return tuple(plans[: stages.index(until) + 1])


def previous_report(schedule: ScheduleConfig, done: int) -> int:
    """The step of a stage after which was reported last before it was after `done` steps."""
    every = schedule.report_every_steps
    return done - (done % every or every)


def check_world_size(experiment: ExperimentConfig, world_size: int) -> None:
    """Refuse ranks that cannot share a step's images evenly.

    Raises:
        BadInput: names the field and the way out.
    """
    for plan in plan_stages(experiment):
        if plan.images_per_step % world_size:
            field = f"schedule.{plan.stage}.images_per_step"
            if plan.stage not in (Stage.BACKBONE, Stage.CLASSIFIER):
                field = "schedule.images_per_step"
            raise BadInput(
                f"{field} is {plan.images_per_step}, which {world_size} workers cannot share evenly:"
                f" make it a multiple of {world_size}, or change the number of workers"
            )


class Fractions:
    """Turns stages and steps into the fraction of what one run does, from its first step to its last image.

    A step costs its images times the networks that they pass, forward and backward; the weights are rough. Whoever
    shows a remaining time corrects it by the clock.

    Args:
        experiment: what is trained.
        test_images: of the test split.
        train_images: of the training split.
        first_step: the global step at which the run begins: 0, or the end of a stage that others have trained for it.
        until: the last stage that the run trains, and then it judges nothing; None: all stages, and judging.
    """

    def __init__(
        self,
        experiment: ExperimentConfig,
        *,
        test_images: int,
        train_images: int,
        first_step: int = 0,
        until: Stage | None = None,
    ) -> None:
        flips = 2 if experiment.evaluation.flip else 1
        passes = flips * len(experiment.evaluation.test_scales_px or (0,))
        judged = test_images + train_images
        per_image = {Stage.BACKBONE: 1.0, Stage.CLASSIFIER: 0.7}
        branches = 4.0 if experiment.objective.segmentation_branch else 1.6
        spans = [
            (plan.stage.value, plan.steps * plan.images_per_step * per_image.get(plan.stage, branches))
            for plan in plan_stages(experiment, until=until)
            if plan.end_step > first_step
        ]
        if until is None:
            judging = judged * passes * 0.7
            spans = [("untrained", judging if experiment.evaluation.baselines else 0.0), *spans, ("trained", judging)]
            if experiment.second_stage is not None:
                spans.insert(0, (Stage.PSEUDO_LABELS.value, train_images * passes * 0.7))
        self._bounds = _bounds(spans)

    def at(self, part: str, stage: Stage, step: int, stage_steps: int) -> Progress:
        """Progress at `step` of `stage_steps` of a part: a training stage's value, "untrained", "trained" or, of a
        second stage, "pseudo_labels".
        """
        start, end = self._bounds[part]
        within = step / stage_steps if stage_steps else 1.0
        fraction = DATA_SHARE + (1 - DATA_SHARE) * (start + (end - start) * within)
        return Progress(stage, step, stage_steps, fraction)


def _bounds(spans: Sequence[tuple[str, float]]) -> dict[str, tuple[float, float]]:
    total = sum(cost for _, cost in spans)
    edges = [0.0]
    for _, cost in spans:
        edges.append(edges[-1] + cost / total)
    return {name: edge for (name, _), edge in zip(spans, pairwise(edges), strict=True)}
