"""An ablation: the data of all its variants, stages that runs share, the runs on Ray, and the table they are for."""

import json
import logging
from collections.abc import Mapping, Sequence

from sdcn_core.data.datasets import DataRoots, open_annotated_set
from sdcn_core.errors import SdcnError
from sdcn_core.evaluation.comparison import Choice, comparison_of
from sdcn_core.training.judging import PREDICTIONS_FILE
from service.jobs.ablation_spec import AblationSpec
from service.jobs.runs import PlannedRun
from service.jobs.study_results import AblationResults, RunFailure, RunFound, RunState, SharedStageFound, ablation_rows
from workers.attempt_folder import Failed, Succeeded
from workers.executors.base import JobContext
from workers.executors.data import prepare_distinct
from workers.failures import MESSAGE_LENGTH
from workers.ray_runtime.cluster import connected
from workers.ray_runtime.resources import share_of_study, side_by_side, study_share
from workers.ray_runtime.task_pool import work_off
from workers.reporting.metrics import study_metrics
from workers.reporting.study import write_ablation_report
from workers.spool import FileEvent, NoteEvent
from workers.study.ending import clear_up, to_be_tried_again
from workers.study.piece_queue import PieceQueue
from workers.study.pieces import Piece, StudyPlan, plan_study, stages_for
from workers.study.progress import StudyProgress
from workers.study.run import ended, run_failure
from workers.study.run_folder import StudyRunFolder
from workers.study.tables import latex, markdown, table_csv
from workers.training.order import RunOrder
from workers.training.result_files import keep_text
from workers.training.said import said_in

log = logging.getLogger(__name__)

COMPARED_IMAGES = 8
"""of a page, at most"""
COMPARISONS: dict[str, Choice] = {
    "comparison.jpg": "spread",
    "largest_gains.jpg": "largest_gain",
    "largest_losses.jpg": "largest_loss",
}
"""page -> the images on it"""


def ablation(context: JobContext) -> Succeeded | Failed:
    """See JobExecutor. It succeeds if one run does and no other may yet; their failures are told in its results."""
    spec = context.order.spec
    assert isinstance(spec, AblationSpec)
    context.run.artifacts.mkdir(parents=True, exist_ok=True)
    runs = spec.runs()
    plan = plan_study(context.order, runs, study_share(spec.resources), share_stages=spec.share_stages)
    for piece in plan.runs:
        StudyRunFolder(piece.order.run_path).forget_passing_failure()
    if any(_found(piece) is None for piece in plan.runs):
        _train(context, spec, plan)
    results = _results(context, spec, plan)
    if (failed := to_be_tried_again(context.order, results.runs)) is not None:
        return failed
    clear_up(context.run, context.order.storage, attempt=context.order.attempt)
    if (failed := _failure_of_all(results)) is not None:
        return failed
    _write_artifacts(context, spec, runs, results)
    return Succeeded(
        results=json.loads(results.model_dump_json()),
        artifacts={path.name: path for path in sorted(context.run.artifacts.iterdir()) if path.name[0] != "."},
    )


# --- training what is left to train


def _train(context: JobContext, spec: AblationSpec, plan: StudyPlan) -> None:
    """Train every run that has not ended, and the stages that those need; each leaves its found.json.

    Raises:
        AttemptStopped: it was asked to stop, and those at work have kept their checkpoints.
        WorkerError: Ray failed as a whole.
    """
    left = [piece for piece in plan.runs if _found(piece) is None]
    errors = prepare_distinct(context, (piece.order.experiment.data for piece in left))
    context.check_stop()
    failures = {
        piece.name: run_failure(error)
        for piece in left
        if (error := errors.get(piece.order.experiment.data.digest())) is not None
    }
    done = _done(plan, failures)
    for name in failures:
        _give_up(_named(plan, name), failures[name])
    sound = {piece.name: piece.order.experiment for piece in left if piece.name not in failures}
    pieces = [*stages_for(plan, sound), *(piece for piece in plan.runs if piece.name not in failures)]
    earlier = sum(piece.name in done for piece in plan.runs)
    if earlier:
        context.spool.append(NoteEvent(text=f"{earlier} of {len(plan.runs)} runs were trained by earlier attempts"))
    if all(piece.name in done for piece in pieces):
        return
    context.spool.append(NoteEvent(text="starting the training processes"))
    with connected(context.order.ray, context.order.scratch) as cluster:
        context.folder.ray_job.write_text(cluster.driver_job_id)
        share = share_of_study(spec.resources, cluster)
        queue = PieceQueue(pieces, done, side_by_side(share, cluster, spec.max_parallel))
        progress = StudyProgress(plan.pieces, done, context.spool)

        def tell(*, now: bool = False) -> None:
            over = queue.done | queue.failures.keys() | failures.keys()
            progress.tell(ended=over, at_work=queue.at_work.keys(), now=now)

        def given_up(name: str) -> None:
            _give_up(_named(plan, name), queue.failures[name])
            context.spool.append(NoteEvent(text=f"{name} failed: {queue.failures[name].message}"))

        tell(now=True)
        work_off(queue, wants_stop=context.folder.stop.exists, tick=tell, given_up=given_up)
        tell(now=True)


def _done(plan: StudyPlan, failures: Mapping[str, RunFailure]) -> set[str]:
    """Runs that have ended, stages whose state is there, and stages that no run needs any more."""
    runs = {piece.name for piece in plan.runs if _found(piece) is not None}
    left = {piece.name for piece in plan.runs} - runs - failures.keys()
    stages = {
        piece.name
        for piece in plan.stages
        if not left.intersection(plan.shared[piece.name].used_by) or _is_trained(piece, plan.shared[piece.name].key)
    }
    return runs | stages


def _is_trained(piece: Piece, key: str) -> bool:
    store = piece.order.store
    return store is not None and store.find(key) is not None


def _found(piece: Piece) -> RunFound | None:
    return StudyRunFolder(piece.order.run_path).read_found()


def _named(plan: StudyPlan, name: str) -> Piece:
    return next(piece for piece in plan.pieces if piece.name == name)


def _give_up(piece: Piece, failure: RunFailure) -> None:
    """Write down the end of a run that could not do so itself; of stages nothing is written."""
    if isinstance(piece.order, RunOrder):
        folder = StudyRunFolder(piece.order.run_path)
        folder.write_record(piece.order)
        folder.write_found(ended(piece.order, RunState.FAILED, failure=failure))


# --- what was found


def _results(context: JobContext, spec: AblationSpec, plan: StudyPlan) -> AblationResults:
    found = tuple(run for piece in plan.runs if (run := _found(piece)) is not None)
    assert len(found) == len(plan.runs)
    assert spec.base_variant is not None  # resolve names it
    titles = {variant.name: variant.title or variant.name for variant in spec.variants}
    return AblationResults(
        runs=found,
        shared=tuple(
            SharedStageFound(
                stage=plan.shared[piece.name].stage.value,
                used_by=plan.shared[piece.name].used_by,
                train_seconds=said_in(piece.order.run_path).seconds,
            )
            for piece in plan.stages
        ),
        wall_seconds=said_in(context.run.path).seconds,
        base_variant=spec.base_variant,
        seeds=spec.seeds,
        rows=ablation_rows(titles, spec.base_variant, found),
    )


def _failure_of_all(results: AblationResults) -> Failed | None:
    """Why the study failed, where not one run succeeded."""
    if any(run.state is RunState.SUCCEEDED for run in results.runs):
        return None
    name, failure = next((run.name, run.failure) for run in results.runs if run.failure is not None)
    return Failed(
        reason=failure.reason,
        message=f"none of the {len(results.runs)} runs succeeded; {name}: {failure.message}"[:MESSAGE_LENGTH],
    )


def _write_artifacts(
    context: JobContext, spec: AblationSpec, runs: Sequence[PlannedRun], results: AblationResults
) -> None:
    artifacts = context.run.artifacts
    keep_text(context.spool, artifacts / "table.json", results.model_dump_json(indent=2))
    keep_text(context.spool, artifacts / "table.md", markdown(results))
    keep_text(context.spool, artifacts / "table.tex", latex(results))
    keep_text(context.spool, artifacts / "table.csv", table_csv(results))
    _compare(context, runs, results)
    files = write_ablation_report(results, job_id=context.order.job_id, spec=spec, run_path=context.run.path)
    for name, path in files.items():
        context.spool.append(FileEvent(name=name, path=path))
    for event in study_metrics(results):
        context.spool.append(event)


def _compare(context: JobContext, runs: Sequence[PlannedRun], results: AblationResults) -> None:
    """Draw what the base row and the last row found on images of the first seed in which both succeeded: some of the
    whole split, and those on which the last row gains most and loses most.
    """
    pair = compared_runs(runs, results)
    if pair is None:
        return
    order = context.order
    data = pair[0].experiment.data
    titles = {row.variant: row.title for row in results.rows}
    if titles[pair[0].variant] == titles[pair[1].variant]:  # two columns need two names
        titles = {row.variant: row.variant for row in results.rows}
    predictions = {
        titles[run.variant]: StudyRunFolder.of(context.run, run.name).artifacts / PREDICTIONS_FILE for run in pair
    }
    try:
        annotated = open_annotated_set(data.source, DataRoots(order.data_root, order.home / "cache"), role="test")
        for name, choice in COMPARISONS.items():
            path = context.run.artifacts / name
            if comparison_of(predictions, annotated, path, count=COMPARED_IMAGES, choose=choice):
                context.spool.append(FileEvent(name=name, path=path))
    except Exception as error:  # whatever it is: a picture is no reason to lose the numbers
        log.warning("no comparison is drawn", exc_info=True)
        reason = str(error) if isinstance(error, SdcnError) else type(error).__name__
        context.spool.append(NoteEvent(text=f"no comparison is drawn: {reason}"))


def compared_runs(runs: Sequence[PlannedRun], results: AblationResults) -> tuple[PlannedRun, PlannedRun] | None:
    """The base row's run and the last other row's, of the first seed in which both succeeded on the same test data."""
    others = [row.variant for row in results.rows if row.variant != results.base_variant]
    succeeded = {run.name for run in results.runs if run.state is RunState.SUCCEEDED}
    by_row = {(run.variant, run.seed): run for run in runs if run.name in succeeded}
    for variant in reversed(others):
        for seed in results.seeds:
            base, other = by_row.get((results.base_variant, seed)), by_row.get((variant, seed))
            if base is not None and other is not None and base.experiment.data.source == other.experiment.data.source:
                return base, other
    return None
