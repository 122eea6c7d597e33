"""What comes after an optimizer step: a report, a checkpoint, an evaluation, the end, where it is time to."""

import math
from collections.abc import Mapping

from torch.optim import Optimizer

from sdcn_core.config.loss_names import LossName
from sdcn_core.errors import TrainingDiverged
from sdcn_core.objective import SDCNObjective
from sdcn_core.training.evaluations import is_due, judge_midway
from sdcn_core.training.interval import Interval
from sdcn_core.training.plan import StagePlan, previous_report
from sdcn_core.training.run import Run, StopRequested


def after_step(
    run: Run,
    plan: StagePlan,
    step: int,
    interval: Interval,
    optimizers: Mapping[str, Optimizer],
    rates: Mapping[str, float],
) -> Interval:
    """Report, check, save and stop where it is time to; returns the interval that the next step adds to.

    Args:
        run: it stands after the step from here on.
        plan: of the stage.
        step: within the stage, just made.
        interval: what was measured since the last report.
        optimizers: of the stage, by player.
        rates: rate/<group> of the step.

    Raises:
        TrainingDiverged: something measured is not finite.
        StopRequested: somebody asked for the end; the checkpoint is written.
    """
    run.global_step = plan.first_step + step + 1
    done = step + 1
    schedule = run.experiment.schedule
    if done % schedule.report_every_steps and done != plan.steps:
        return interval
    metrics = _metrics(run, plan, interval, rates)
    stop = run.hooks.should_stop()
    every = schedule.checkpoint_every_steps
    saves = stop or done == plan.steps or done // every > previous_report(schedule, done) // every
    progress = run.fractions.at(plan.stage.value, plan.stage, done, plan.steps)
    folder = run.save(optimizers if done < plan.steps else {}) if saves else None
    run.tell(progress, metrics, checkpoint=folder)
    if stop:
        raise StopRequested
    if is_due(run, plan, done):
        judge_midway(run, progress)
    return Interval()


def _metrics(run: Run, plan: StagePlan, interval: Interval, rates: Mapping[str, float]) -> dict[str, float]:
    """What is told of an interval: means over it and over all ranks, the losses also with their weights."""
    means = run.ranks.mean(interval.means() | {"time/step_s": interval.seconds_per_step()})
    for name, value in means.items():
        if not math.isfinite(value):
            raise TrainingDiverged(
                f"{name} is {value} at step {run.global_step} (stage {plan.stage}): lower schedule.learning_rate,"
                " or set schedule.clip_norm"
            )
    objective = SDCNObjective(run.experiment.objective, collaborate=True)
    weights = {f"loss/{name}": objective.weight(name) for name in LossName}
    if run.experiment.second_stage is not None:
        weights |= {"loss/roi_class": 1.0, "loss/roi_box": run.experiment.second_stage.lambda_boxes}
    scaled = {
        name.replace("loss/", "loss_scaled/"): weights[name] * value for name, value in means.items() if name in weights
    }
    return means | scaled | dict(rates) | {"time/images_per_s": plan.images_per_step / means["time/step_s"]}
