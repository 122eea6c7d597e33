"""The whole run: the untrained network judged, the stages of section 4.1 in order, the trained network judged.

Or a piece of it: some first stages taken from a store, or only the first ones trained, for a store.

Every rank runs this; what one rank decides (to stop, to fail), all decide at the same step, because they decide on
shared numbers.
"""

from collections.abc import Sequence
from pathlib import Path

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.data.datasets import DataRoots
from sdcn_core.pseudo_labels.labels import PseudoLabels
from sdcn_core.training.between_steps import after_step
from sdcn_core.training.evaluations import finish, judge_untrained, make_up
from sdcn_core.training.inputs import RunInputs
from sdcn_core.training.interval import Interval
from sdcn_core.training.learning import learning_of
from sdcn_core.training.plan import StagePlan, check_world_size, plan_stages
from sdcn_core.training.precision import float32_products
from sdcn_core.training.progress import Progress, Stage, TrainingHooks
from sdcn_core.training.ranks import Ranks
from sdcn_core.training.run import Run, RunOutcome, StopRequested
from sdcn_core.training.stage_keys import stage_key, trained_parts
from sdcn_core.training.stage_store import StageState, StageStore
from sdcn_core.training.start import Start, start_from_checkpoint, start_from_store


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

    run = Run(experiment, inputs, weights_root, hooks, ranks, work_dir, start(), until)
    try:
        with float32_products(tf32=False):
            if until is not None and stages is not None:
                return _train_until(run, until, stages)
            return _train_and_judge(run)
    except StopRequested:
        return RunOutcome(stopped=True, results=None)


def _train_and_judge(run: Run) -> RunOutcome:
    if run.experiment.evaluation.baselines and run.untrained is None:
        judge_untrained(run)
    _train(run, plan_stages(run.experiment))
    return finish(run)


def _train_until(run: Run, until: Stage, stages: StageStore) -> RunOutcome:
    """The piece of a run that ends with a stage, its state in the store."""
    plans = plan_stages(run.experiment, until=until)
    _train(run, plans)
    if run.start.first_step == plans[-1].end_step:  # somebody else had it trained
        run.tell(Progress(until, plans[-1].steps, plans[-1].steps, 1.0))
    elif run.ranks.is_first:
        weights = run.networks.weights(trained_parts(run.experiment, until))
        key = stage_key(run.experiment, until, num_workers=run.ranks.world_size)
        stages.put(key, StageState(run.inputs.classes, weights))
    return RunOutcome(stopped=False, results=None)


def _train(run: Run, plans: Sequence[StagePlan]) -> None:
    """The stages, from where the run takes up its work."""
    run.take_up()
    for plan in plans:
        if plan.stage not in (Stage.BACKBONE, Stage.CLASSIFIER):
            run.networks.freeze_norms()
        if run.global_step < plan.end_step:
            _run_stage(run, plan)


def _run_stage(run: Run, plan: StagePlan) -> None:
    run.networks.train(True)
    run.networks.forget_gradients()  # those of norms that are frozen now would be clipped with the others'
    make_up(run, plan)
    learning = learning_of(run, plan)
    run.restore(learning.optimizers)
    interval = Interval()
    for step, batches in run.steps(plan):
        rates = learning.step(step, batches, interval)
        interval = after_step(run, plan, step, interval, learning.optimizers, rates)
