"""The runs of a study as they are now: those planned, from its spec; those begun, from their folders."""

import json
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

from pydantic import JsonValue, ValidationError

from service.jobs.ablation_spec import AblationSpec
from service.jobs.specs import JOB_SPEC
from service.jobs.states import JobState, RunNow
from service.jobs.study_results import RunFound, RunState
from service.jobs.sweep_spec import SweepSpec
from service.queue.records import Job
from service.run_files.folders import RunFiles, opened, run_folders
from service.run_files.spool_tail import LastWord, last_word

STUDIES = ("ablation", "sweep")
MAX_RECORD_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True)
class StudyRun:
    """One training of a study."""

    name: str
    variant: str
    seed: int
    overrides: dict[str, JsonValue]
    state: RunNow
    begun: bool
    """whether it has a folder, and with it series and artifacts"""
    last_word: LastWord | None
    found: RunFound | None

    @property
    def value(self) -> float | None:
        """What runs are compared by: the sweep's metric, of an ablation mean AP; null: not known."""
        if self.found is None:
            return None
        if self.found.value is not None:
            return self.found.value
        return None if self.found.judgement is None else self.found.judgement.mean_ap


@dataclass(frozen=True)
class _Plan:
    name: str
    variant: str
    seed: int
    overrides: dict[str, JsonValue] = field(default_factory=dict)


def study_runs(job: Job, runs: Path) -> tuple[StudyRun, ...]:
    """All runs of the job in the order of its plan, then those only its folder knows; empty unless it is a study."""
    if job.kind not in STUDIES:
        return ()
    folders = run_folders(runs, job.job_id)
    plans = {plan.name: plan for plan in _planned(job.job_id, json.dumps(job.spec))}
    for name, files in folders.items():
        if name not in plans and (plan := _recorded(name, files)) is not None:
            plans[name] = plan
    return tuple(_now(job, plan, folders.get(plan.name)) for plan in plans.values())


def _now(job: Job, plan: _Plan, files: RunFiles | None) -> StudyRun:
    found = None if files is None else read_found(files)
    spools = [] if files is None else files.spools()
    said = None if not spools else last_word(spools[-1][1])
    at_work = (
        job.state in (JobState.STARTING, JobState.RUNNING, JobState.STOPPING)
        and bool(spools)
        and spools[-1][0] == job.attempt
    )
    if found is not None:
        state = _ENDED[found.state]
    elif job.state.is_terminal:
        state = RunNow.UNFINISHED
    else:
        state = RunNow.RUNNING if at_work else RunNow.WAITING
    return StudyRun(plan.name, plan.variant, plan.seed, plan.overrides, state, files is not None, said, found)


_ENDED = {
    RunState.SUCCEEDED: RunNow.SUCCEEDED,
    RunState.STOPPED_EARLY: RunNow.STOPPED_EARLY,
    RunState.FAILED: RunNow.FAILED,
}


def read_found(files: RunFiles) -> RunFound | None:
    """How a run ended; None while it has not, and of one that another version wrote."""
    text = _read(files.found)
    try:
        return None if text is None else RunFound.model_validate_json(text)
    except ValidationError:
        return None


def read_record(files: RunFiles) -> dict[str, JsonValue] | None:
    """What a run was asked to be: run.json; None where it cannot be read."""
    text = _read(files.record)
    try:
        record = None if text is None else json.loads(text)
    except ValueError:
        return None
    return record if isinstance(record, dict) else None


def _read(path: Path) -> bytes | None:
    try:
        with opened(path) as file:
            return file.read(MAX_RECORD_BYTES)
    except OSError:
        return None


def _recorded(name: str, files: RunFiles) -> _Plan | None:
    record = read_record(files)
    if record is None:
        return None
    variant, seed, overrides = record.get("variant"), record.get("seed"), record.get("overrides")
    if not isinstance(variant, str) or not isinstance(seed, int) or not isinstance(overrides, dict):
        return None
    return _Plan(name, variant, seed, overrides)


@lru_cache(maxsize=64)
def _planned(job_id: str, spec_json: str) -> tuple[_Plan, ...]:
    """The runs that a spec fixes in advance; none where the search draws them, or another version wrote the spec."""
    try:
        spec = JOB_SPEC.validate_json(spec_json)
    except ValidationError:
        return ()
    if isinstance(spec, AblationSpec):
        planned = spec.runs()
    elif isinstance(spec, SweepSpec) and (known := spec.known_trials()) is not None:
        planned = tuple(
            spec.run_of(trial, overrides, seed) for trial, overrides in known.items() for seed in spec.seeds
        )
    else:
        planned = ()
    return tuple(_Plan(run.name, run.variant, run.seed, dict(run.overrides)) for run in planned)
