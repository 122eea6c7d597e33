"""A study as pieces of training: shared stages first, then the runs that go on from them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.training.plan import plan_stages
from sdcn_core.training.progress import Stage
from sdcn_core.training.shared_stages import SharedStage, shared_stages
from service.jobs.runs import PlannedRun
from workers.attempt_folder import AttemptOrder, RunFolder
from workers.training.order import RunOrder, TrainingOrder

if TYPE_CHECKING:
    from workers.ray_runtime.resources import Share

JUDGING_WORK = 0.15
"""of a run's work, beside its training; a rough share, corrected by the clock where a remaining time is shown"""


@dataclass(frozen=True)
class Piece:
    """What is trained as a whole: stages for a store, or a run."""

    name: str
    order: TrainingOrder
    needs: str | None
    """name of the piece that must be trained before"""
    work: float
    """in images that pass the networks; rough"""


@dataclass(frozen=True)
class StudyPlan:
    stages: tuple[Piece, ...]
    """each after the one that it needs"""
    runs: tuple[Piece, ...]
    shared: Mapping[str, SharedStage]
    """the stages of the pieces, by their names"""

    @property
    def pieces(self) -> tuple[Piece, ...]:
        return (*self.stages, *self.runs)


def stages_folder(job: RunFolder) -> Path:
    """The store of a study's shared stages."""
    return job.path / "stages"


def plan_study(
    attempt: AttemptOrder,
    runs: Sequence[PlannedRun],
    share: "Share",
    *,
    share_stages: bool,
    metric: str | None = None,
) -> StudyPlan:
    """Every piece of the study, also those that earlier attempts have trained.

    Args:
        attempt: the job's.
        runs: all runs.
        share: what each piece gets.
        share_stages: whether stages in which runs agree are pieces of their own.
        metric: see RunOrder.
    """
    experiments = {run.name: run.experiment for run in runs}
    stages = shared_stages(experiments, num_workers=share.num_workers) if share_stages else ()
    names = {stage.key: f".shared-{stage.stage}-{stage.key[:16]}" for stage in stages}
    last: dict[str, SharedStage] = {user: stage for stage in stages for user in stage.used_by}
    job = RunFolder(attempt.home, attempt.job_id)
    done = {stage.key: _end_of(stage) for stage in stages}
    return StudyPlan(
        stages=tuple(
            Piece(
                names[stage.key],
                stage_order(attempt, stage, share, job.path / "runs" / names[stage.key]),
                None if stage.needs is None else names[stage.needs],
                work_of(stage.experiment, first_step=done.get(stage.needs or "", 0), until=stage.stage),
            )
            for stage in stages
        ),
        runs=tuple(
            Piece(
                run.name,
                run_order(attempt, run, share, share_stages=share_stages, metric=metric),
                names[last[run.name].key] if run.name in last else None,
                work_of(run.experiment, first_step=done[last[run.name].key] if run.name in last else 0),
            )
            for run in runs
        ),
        shared={names[stage.key]: stage for stage in stages},
    )


def stages_for(plan: StudyPlan, runs: Mapping[str, ExperimentConfig]) -> tuple[Piece, ...]:
    """The stages that these runs need, each trained with the experiment of the first of them.

    A stage's users agree in what decides its weights, but whoever trains it opens all data of one of them: with that of
    a run whose data cannot be used it would fail for all.

    Args:
        plan: the study's.
        runs: experiments by name, of the runs, or of those that stand for them, that can be trained and are not yet.
    """
    stages = []
    for piece in plan.stages:
        user = next((name for name in plan.shared[piece.name].used_by if name in runs), None)
        if user is not None:
            stages.append(replace(piece, order=piece.order.model_copy(update={"experiment": runs[user]})))
    return tuple(stages)


def run_order(
    attempt: AttemptOrder, run: PlannedRun, share: "Share", *, share_stages: bool, metric: str | None = None
) -> RunOrder:
    """The order of one run; it starts after the last of its stages that is in the study's store."""
    job = RunFolder(attempt.home, attempt.job_id)
    return RunOrder(
        experiment=run.experiment,
        run_path=job.path / "runs" / run.name,
        attempt=attempt.attempt,
        stop=job.attempt(attempt.attempt).stop,
        home=attempt.home,
        data_root=attempt.data_root,
        weights_root=attempt.weights_root,
        stages=stages_folder(job) if share_stages else None,
        num_workers=share.num_workers,
        cpus=share.cpus,
        gpus=share.gpus,
        checkpoints_to_keep=attempt.ray.checkpoints_to_keep,
        checkpoints_url=attempt.checkpoints_url,
        name=run.name,
        variant=run.variant,
        seed=run.seed,
        overrides=dict(run.overrides),
        metric=metric,
    )


def stage_order(attempt: AttemptOrder, stage: SharedStage, share: "Share", run_path: Path) -> TrainingOrder:
    """The order of stages that several runs share."""
    job = RunFolder(attempt.home, attempt.job_id)
    return TrainingOrder(
        experiment=stage.experiment,
        run_path=run_path,
        attempt=attempt.attempt,
        stop=job.attempt(attempt.attempt).stop,
        home=attempt.home,
        data_root=attempt.data_root,
        weights_root=attempt.weights_root,
        stages=stages_folder(job),
        until=stage.stage,
        num_workers=share.num_workers,
        cpus=share.cpus,
        gpus=share.gpus,
        checkpoints_to_keep=attempt.ray.checkpoints_to_keep,
        checkpoints_url=attempt.checkpoints_url,
    )


def work_of(experiment: ExperimentConfig, *, first_step: int = 0, until: Stage | None = None) -> float:
    """Roughly what a piece costs: its images, those with both branches and the classifier counted fourfold."""
    weights = {Stage.BACKBONE: 1.0, Stage.CLASSIFIER: 1.0}
    branches = 4.0 if experiment.objective.segmentation_branch else 1.6
    plans = plan_stages(experiment, until=until)
    all_work = sum(plan.steps * plan.images_per_step * weights.get(plan.stage, branches) for plan in plans)
    own_work = sum(
        plan.steps * plan.images_per_step * weights.get(plan.stage, branches)
        for plan in plans
        if plan.end_step > first_step
    )
    return own_work + (JUDGING_WORK * all_work if until is None else 0.0)


def _end_of(stage: SharedStage) -> int:
    return plan_stages(stage.experiment, until=stage.stage)[-1].end_step
