"""A sweep as pieces of training: the stages that its trials share, and the trials, drawn or not."""

from collections.abc import Sequence

from sdcn_core.training.plan import plan_stages
from sdcn_core.training.shared_stages import stage_key
from service.jobs.runs import PlannedRun
from service.jobs.study_results import SharedStageFound
from service.jobs.sweep_spec import SweepSpec
from workers.attempt_folder import AttemptOrder
from workers.ray_runtime.resources import Share
from workers.study.pieces import Piece, StudyPlan, plan_study, run_order, work_of
from workers.sweep.ledger import drawn_name
from workers.sweep.probes import known_runs, probes
from workers.training.said import said_in


def plan_sweep(order: AttemptOrder, spec: SweepSpec, share: Share) -> StudyPlan:
    """The shared stages as pieces, and a piece for each trial, also for those that are not drawn yet: these stand for
    their share of the work and for the spools they will have.
    """
    plan = plan_study(order, probes(spec), share, share_stages=spec.share_stages and spec.num_trials > 1)
    if known_runs(spec) is not None:
        return plan
    base = spec.resolved_experiment
    work = plan.runs[0].work if plan.runs else work_of(base)
    runs = [PlannedRun(drawn_name(n), drawn_name(n), spec.seeds[0], {}, base) for n in range(spec.num_trials)]
    pieces = tuple(
        Piece(run.name, run_order(order, run, share, share_stages=spec.share_stages), None, work) for run in runs
    )
    return StudyPlan(plan.stages, pieces, plan.shared)


def shared_found(plan: StudyPlan, runs: Sequence[PlannedRun], *, num_workers: int) -> tuple[SharedStageFound, ...]:
    """What was trained for several trials, of all runs those that begin with it."""
    return tuple(
        SharedStageFound(
            stage=plan.shared[piece.name].stage.value,
            used_by=tuple(run.name for run in runs if _uses(run, plan, piece, num_workers)),
            train_seconds=said_in(piece.order.run_path).seconds,
        )
        for piece in plan.stages
    )


def _uses(run: PlannedRun, plan: StudyPlan, piece: Piece, num_workers: int) -> bool:
    shared = plan.shared[piece.name]
    has_stage = any(stage.stage is shared.stage for stage in plan_stages(run.experiment))
    return has_stage and stage_key(run.experiment, shared.stage, num_workers=num_workers) == shared.key
