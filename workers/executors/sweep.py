"""A sweep: the data, the stages that trials share, the trials on Ray Tune, then what they found.

Whatever is trained is written down in the folders of its runs, so that every attempt begins with what is there.
"""

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from sdcn_core.config.data import DataConfig
from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.errors import BadInput
from service.jobs.runs import PlannedRun
from service.jobs.study_results import RunState, SweepResults
from service.jobs.sweep_spec import SweepSpec
from workers.attempt_folder import Failed, Succeeded
from workers.errors import AttemptStopped
from workers.executors.base import JobContext
from workers.executors.data import prepare_distinct
from workers.failures import MESSAGE_LENGTH
from workers.ray_runtime.cluster import connected
from workers.ray_runtime.resources import share_of_study, side_by_side, study_share
from workers.ray_runtime.task_pool import work_off
from workers.ray_runtime.tune_fit import run_trials
from workers.ray_runtime.tune_trial import trainable
from workers.reporting.metrics import study_metrics
from workers.reporting.study import write_sweep_report
from workers.spool import EventSpool, FileEvent, NoteEvent
from workers.study.ending import clear_up, to_be_tried_again
from workers.study.piece_queue import TRIES, PieceQueue
from workers.study.pieces import StudyPlan, run_order, stages_for
from workers.study.progress import StudyProgress
from workers.sweep.conductor import Conductor
from workers.sweep.ledger import Ledger
from workers.sweep.probes import known_runs, probes
from workers.sweep.results import sweep_results
from workers.sweep.shared import plan_sweep, shared_found
from workers.sweep.tables import write_tables
from workers.training.order import RunOrder
from workers.training.result_files import keep_text
from workers.training.said import said_in

RUNGS_FILE = "rungs.json"


def sweep(context: JobContext) -> Succeeded | Failed:
    """See JobExecutor. It succeeds if one trial does and no other may yet; their failures are told in its results."""
    spec = context.order.spec
    assert isinstance(spec, SweepSpec)
    keep_text(context.spool, context.run.artifacts / "config.json", spec.resolved_experiment.model_dump_json(indent=2))
    data = TrialData(context)
    plan = plan_sweep(context.order, spec, study_share(spec.resources))
    conductor = _conductor(context, spec, data)
    if not conductor.is_complete:
        left = _left(spec, conductor)
        data.prepare_first([run.experiment.data for run in left] or [spec.resolved_experiment.data])
        context.check_stop()
        sound = {run.name: run.experiment for run in left if data.is_usable(run.experiment.data)}
        _train(context, spec, plan, conductor, sound)
    results = sweep_results(
        spec,
        conductor.found,
        shared_found(plan, conductor.runs, num_workers=spec.resources.num_workers),
        wall_seconds=said_in(context.run.path).seconds,
    )
    if (failed := to_be_tried_again(context.order, results.runs)) is not None:
        return failed
    clear_up(context.run, context.order.storage, attempt=context.order.attempt)
    return _conclude(context, spec, results)


# --- training what is left to train


class TrialData:
    """Stage `data` of trials, equal data once."""

    def __init__(self, context: JobContext) -> None:
        self._context = context
        # Between trials data are made ready without a word: it would send the job's progress back to its start.
        self._quiet = replace(context, spool=EventSpool(Path(os.devnull)))
        self._ready: set[str] = set()
        self._errors: dict[str, BadInput] = {}

    def prepare_first(self, first: Sequence[DataConfig]) -> None:
        """Make ready what is known to be needed, before any trial begins.

        Raises:
            AttemptStopped: it was asked to end.
        """
        self._errors |= prepare_distinct(self._context, first)
        self._ready |= {data.digest() for data in first}

    def is_usable(self, data: DataConfig) -> bool:
        """Whether nothing is known to be wrong with them."""
        return data.digest() not in self._errors

    def prepare(self, data: DataConfig) -> None:
        """Make a trial's data ready; trials at work wait for their verdicts meanwhile.

        Raises:
            BadInput: they cannot be used.
            AttemptStopped: the attempt was asked to end.
        """
        digest = data.digest()
        if digest not in self._ready:
            self._errors |= prepare_distinct(self._quiet, [data])
            self._ready.add(digest)
        if digest in self._errors:
            raise self._errors[digest]


def _conductor(context: JobContext, spec: SweepSpec, data: TrialData) -> Conductor:
    share = study_share(spec.resources)

    def order_of(run: PlannedRun) -> RunOrder:
        return run_order(context.order, run, share, share_stages=spec.share_stages, metric=spec.metric)

    return Conductor(
        spec,
        Ledger(context.run, known_runs(spec), order_of),
        rungs=context.run.path / RUNGS_FILE,
        is_stopping=context.folder.stop.exists,
        prepare=data.prepare,
        tell=lambda sentence: context.spool.append(NoteEvent(text=sentence)),
    )


def _left(spec: SweepSpec, conductor: Conductor) -> list[PlannedRun]:
    """The runs that have not ended, where they are known; else those that stand for them."""
    ended = {run.name for run in conductor.found}
    return [run for run in probes(spec) if run.name not in ended]


def _train(
    context: JobContext,
    spec: SweepSpec,
    plan: StudyPlan,
    conductor: Conductor,
    sound: Mapping[str, ExperimentConfig],
) -> None:
    """Train the shared stages and the trials that are missing.

    Args:
        context: of the attempt.
        spec: resolved.
        plan: of the whole sweep.
        conductor: keeps the trials.
        sound: by name, the experiments for which stages are shared: of trials that have not ended and whose data can be
            used, or of the probes that stand for them.

    Raises:
        AttemptStopped: somebody asked the attempt to end, or interrupted it.
        WorkerError: Ray failed as a whole, or its cluster is too small.
    """
    stages = _stages(plan, sound)
    progress = StudyProgress(plan.pieces, stages.done | {run.name for run in conductor.found}, context.spool)

    def tell(*, now: bool = False) -> None:
        ended = stages.done | stages.failures.keys() | {run.name for run in conductor.found}
        progress.tell(ended=ended, at_work=[*stages.at_work, *conductor.at_work], now=now)

    def given_up(name: str) -> None:  # its trials train it themselves, and say what is wrong with it
        context.spool.append(NoteEvent(text=f"{name} could not be trained: {stages.failures[name].message}"))

    context.spool.append(NoteEvent(text=f"{conductor.sentence()}; starting the training processes"))
    with connected(context.order.ray, context.order.scratch) as cluster:
        context.folder.ray_job.write_text(cluster.driver_job_id)
        share = share_of_study(spec.resources, cluster)
        stages.side_by_side = side_by_side(share, cluster, spec.max_parallel)
        work_off(stages, wants_stop=context.folder.stop.exists, tick=tell, given_up=given_up)
        stopping = spec.early_stopping
        run_trials(
            conductor,
            trainable(share, None if stopping is None else stopping.metric or spec.metric),
            most=TRIES * spec.num_trials,
            concurrent=stages.side_by_side,
            alone=share.num_workers == 1,
            storage=context.folder.work / "tune",
            tick=tell,
        )
    if not conductor.is_complete:
        raise AttemptStopped("the sweep was asked to stop; unfinished trials keep their checkpoints")
    tell(now=True)


def _stages(plan: StudyPlan, sound: Mapping[str, ExperimentConfig]) -> PieceQueue:
    """The shared stages; done are those whose state is there, and those that no run needs any more."""
    done = set()
    for piece in plan.stages:
        store, shared = piece.order.store, plan.shared[piece.name]
        if not sound.keys() & set(shared.used_by) or (store is not None and store.find(shared.key) is not None):
            done.add(piece.name)
    return PieceQueue(stages_for(plan, sound), done, side_by_side=1)


# --- what was found


def _conclude(context: JobContext, spec: SweepSpec, results: SweepResults) -> Succeeded | Failed:
    """Write down what the sweep found; it has failed where no trial succeeded."""
    failures = [(run.name, run.failure) for run in results.runs if run.failure is not None]
    if failures and not any(run.state is RunState.SUCCEEDED for run in results.runs):
        name, failure = failures[0]
        message = f"none of the {len(results.runs)} trials succeeded; {name}: {failure.message}"
        return Failed(reason=failure.reason, message=message[:MESSAGE_LENGTH])
    files = write_tables(results, tuple(spec.space), context.run.artifacts)
    report = write_sweep_report(results, job_id=context.order.job_id, spec=spec, run_path=context.run.path)
    for name, path in {**files, **report}.items():
        context.spool.append(FileEvent(name=name, path=path))
    for event in study_metrics(results):
        context.spool.append(event)
    artifacts = sorted(path for path in context.run.artifacts.iterdir() if not path.name.startswith("."))
    return Succeeded(results=json.loads(results.model_dump_json()), artifacts={path.name: path for path in artifacts})
