"""Jobs in every state, with the files that workers leave: what the pages are shown on. All numbers are made up."""

import json
import math
import random
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from pydantic import BaseModel, JsonValue

from sdcn_core.config.data import VocSource
from sdcn_core.data.scene_classes import SCENE_CLASSES
from service.jobs.data_results import CheckDataResults, ClassCounts, Extent, SplitCounts
from service.jobs.data_specs import DatasetSpec
from service.jobs.progress import JobProgress
from service.jobs.results import Judgement, TrainResults
from service.jobs.specs import AblationSpec, JobSpec, SweepSpec, TrainSpec
from service.jobs.states import FailureReason
from service.jobs.study_results import (
    AblationResults,
    CurvePoint,
    RunFailure,
    RunFound,
    RunState,
    SharedStageFound,
    Spread,
    SweepResults,
    ablation_rows,
)
from service.queue.datasets import DatasetRegister
from service.queue.records import Claim, Dataset, Job, Settlement
from service.queue.repository import JobQueue
from service.settings import ServiceSettings
from tests.web.example_pictures import write_comparison, write_gallery
from workers.spool import EventSpool, MetricsEvent, ProgressEvent
from workers.study.tables import latex, markdown, table_csv

WORKER = "worker-1"
BROKEN = "image data/JPEGImages/2008_000008.jpg is broken or cut off: replace it, or take it off the split list"
STAGES = (("backbone", 220), ("classifier", 260), ("apart", 300), ("loop", 300))
_ENDS = {"mil": 0.32, "ref": 0.45, "seg": 0.21, "adv": 0.08, "cls": 0.5, "classifier": 0.12}


class Examples:
    """Puts jobs into a queue and their files below a home, as workers would."""

    def __init__(self, queue: JobQueue, settings: ServiceSettings) -> None:
        self.queue = queue
        self.datasets = DatasetRegister(queue.transactions.engine)
        self._checks: dict[str, Claim] = {}
        self.runs = settings.runs

    def waiting(self, **fields: Any) -> Job:
        return self._enqueue(TrainSpec(**{"preset": "tiny"} | fields).resolve())

    def queue_spec(self) -> JobSpec:
        """A small job, for what the others do not show."""
        return TrainSpec(preset="tiny").resolve()

    def settled(self, spec: JobSpec, results: BaseModel) -> Job:
        """A job that has succeeded with these results."""
        claim = self.claimed(spec)
        self.queue.start(claim)
        self.queue.begin_running(claim)
        self.queue.settle(claim, Settlement.succeeded(results.model_dump(mode="json")))
        return self.queue.get(claim.job_id)

    def cancelled(self) -> Job:
        job = self.waiting(name="not-wanted")
        return self.queue.request_cancel(job.job_id)

    def failed(self, message: str = "VOC2007/ImageSets/Main/trainval.txt is missing: put the data set there") -> Job:
        claim = self.claimed(TrainSpec(preset="tiny", name="voc2007-first-try").resolve())
        self.queue.start(claim)
        self.queue.begin_running(claim)
        self.queue.settle(claim, Settlement.failed(FailureReason.BAD_INPUT, message))
        return self.queue.get(claim.job_id)

    def retrying(self) -> Job:
        claim = self.claimed(TrainSpec(preset="tiny", name="after-a-crash").resolve())
        self.queue.start(claim)
        self.queue.begin_running(claim)
        self.queue.settle(claim, Settlement.retry(FailureReason.LOST_WORKER, "the worker vanished at step 40"))
        return self.queue.get(claim.job_id)

    def claimed(self, spec: JobSpec) -> Claim:
        """The job of this spec in the hands of a worker; no other may wait."""
        self._enqueue(spec)
        claim = self.queue.claim(WORKER, lease_s=3600)
        assert claim is not None
        assert claim.spec == spec
        return claim

    def running(self, *, until: int = 720, name: str = "scenes-tau-0.3") -> Claim:
        """A training at this step of 1080."""
        spec = TrainSpec(preset="scenes", name=name, overrides={"objective.tau_0": 0.3}).resolve()
        claim = self.claimed(spec)
        self.queue.start(claim, pid=4242)
        self.queue.begin_running(claim)
        write_spool(self.runs / claim.job_id, until)
        stage, step, steps = whereabouts(until)
        self.tell(claim, stage=stage, step=step, stage_steps=steps, fraction=until / 1080, eta_s=0.5 * (1080 - until))
        return claim

    def tell(self, claim: Claim, **progress: Any) -> None:
        told = {"global_step": 0, "updated_at": datetime.now(UTC)} | progress
        self.queue.record_progress(claim, JobProgress(**told))

    def trained(self) -> Job:
        claim = self.claimed(TrainSpec(preset="scenes", name="scenes-two-workers").resolve())
        self.queue.start(claim)
        self.queue.begin_running(claim)
        write_spool(self.runs / claim.job_id, 1080)
        artifacts = self.runs / claim.job_id / "artifacts"
        artifacts.mkdir(parents=True)
        write_gallery(artifacts / "detections.png")
        (artifacts / "model.pt").write_bytes(b"0" * 1_830_000)
        (artifacts / "results.json").write_text("{}")
        self.queue.settle(claim, Settlement.succeeded(self.trained_results().model_dump(mode="json")))
        return self.queue.get(claim.job_id)

    def trained_results(self) -> TrainResults:
        return TrainResults(
            classes=SCENE_CLASSES,
            trained=judgement(0.841, 0.867, seed=0),
            untrained=judgement(0.041, 0.14, seed=1),
            chance=judgement(0.048, 0.268, seed=2),
        )

    def ablation(self) -> Job:
        """A finished study of four variants and two seeds, of which one run failed."""
        spec = AblationSpec(preset="scenes", study="table-2", seeds=(0, 1), name="table-2-on-scenes").resolve()
        claim = self.claimed(spec)
        self.queue.start(claim)
        self.queue.begin_running(claim)
        means = {"oicr": (0.634, 0.794), "apart": (0.641, 0.772), "seg-to-det": (0.702, 0.811), "sdcn": (0.841, 0.831)}
        found = []
        for planned in spec.runs():
            folder = self.runs / claim.job_id / "runs" / planned.name
            write_record(folder, planned.name, planned.variant, planned.seed, planned.overrides, planned.experiment)
            write_spool(folder, 1080, seed=planned.seed)
            value = means[planned.variant][planned.seed]
            run = RunFound(
                name=planned.name,
                variant=planned.variant,
                seed=planned.seed,
                overrides=dict(planned.overrides),
                state=RunState.SUCCEEDED,
                judgement=judgement(value, value + 0.02, seed=planned.seed),
                global_step=1080,
                train_seconds=430,
            )
            if planned.name == "apart-seed1":
                failure = RunFailure(reason=FailureReason.DIVERGED, message="loss/adv is nan: lower the learning rate")
                run = run.model_copy(update={"state": RunState.FAILED, "judgement": None, "failure": failure})
            (folder / "found.json").write_text(run.model_dump_json())
            if run.state is RunState.SUCCEEDED:
                (folder / "artifacts").mkdir()
                (folder / "artifacts" / "model.pt").write_bytes(b"0")
            found.append(run)
        artifacts = self.runs / claim.job_id / "artifacts"
        artifacts.mkdir(parents=True)
        write_comparison(artifacts / "comparison.jpg")
        write_gallery(artifacts / "gallery.jpg")
        results = AblationResults(
            base_variant="oicr",
            seeds=spec.seeds,
            rows=ablation_rows({v.name: v.title or v.name for v in spec.variants}, "oicr", found),
            runs=tuple(found),
            shared=(SharedStageFound(stage="backbone", used_by=("oicr-seed0", "sdcn-seed0"), train_seconds=31),),
            wall_seconds=3130,
        )
        for name, text in {
            "table.json": results.model_dump_json(),
            "table.md": markdown(results),
            "table.tex": latex(results),
            "table.csv": table_csv(results),
            "report.html": "<!doctype html><title>Report</title>",
        }.items():
            (artifacts / name).write_text(text)
        self.queue.settle(claim, Settlement.succeeded(results.model_dump(mode="json")))
        return self.queue.get(claim.job_id)

    def running_ablation(self) -> Claim:
        """A study at work: one run ended, one runs, the others wait."""
        spec = AblationSpec(preset="scenes", study="oicr-against-sdcn", seeds=(0, 1)).resolve()
        claim = self.claimed(spec)
        self.queue.start(claim)
        self.queue.begin_running(claim)
        first, second, *_ = spec.runs()
        for planned, until in ((first, 1080), (second, 400)):
            folder = self.runs / claim.job_id / "runs" / planned.name
            write_record(folder, planned.name, planned.variant, planned.seed, planned.overrides, planned.experiment)
            write_spool(folder, until)
        done = RunFound(
            name=first.name,
            variant=first.variant,
            seed=first.seed,
            overrides=dict(first.overrides),
            state=RunState.SUCCEEDED,
            judgement=judgement(0.634, 0.628, seed=0),
            global_step=1080,
            train_seconds=301,
        )
        (self.runs / claim.job_id / "runs" / first.name / "found.json").write_text(done.model_dump_json())
        self.tell(
            claim,
            stage="study",
            step=1,
            stage_steps=4,
            fraction=0.34,
            eta_s=900,
            message=f"1 of 4 runs trained; 1 at work: {second.name} (classifier 180/260)",
        )
        return claim

    def sweep(self) -> Job:
        spec = SweepSpec(preset="scenes", study="figure-5", name="figure-5-on-scenes").resolve()
        claim = self.claimed(spec)
        self.queue.start(claim)
        self.queue.begin_running(claim)
        chance = random.Random(5)
        runs, curves = [], {}
        for number, (trial, overrides) in enumerate((spec.known_trials() or {}).items()):
            stopped = number % 7 == 6
            runs.append(
                RunFound(
                    name=trial,
                    variant=trial,
                    seed=0,
                    overrides=overrides,
                    state=RunState.STOPPED_EARLY if stopped else RunState.SUCCEEDED,
                    judgement=None if stopped else judgement(0.8, 0.8, seed=number),
                    value=round(chance.uniform(0.3, 0.4) if stopped else chance.uniform(0.7, 0.84), 4),
                    global_step=360 if stopped else 1080,
                    train_seconds=150 if stopped else 420,
                )
            )
        for path in spec.space:
            curves[path] = tuple(
                CurvePoint(
                    value=value,
                    measure=Spread.of([0.55 + 0.09 * math.log10(100 * value) + chance.uniform(-0.02, 0.02)]),
                )
                for value in (0.01, 0.1, 1.0, 10.0)
            )
        best = max((run for run in runs if run.state is RunState.SUCCEEDED), key=lambda run: run.value or 0)
        results = SweepResults(
            metric="eval/mean_ap", goal="max", best=best.name, curves=curves, runs=tuple(runs), wall_seconds=4000
        )
        self.queue.settle(claim, Settlement.succeeded(results.model_dump(mode="json")))
        return self.queue.get(claim.job_id)

    def ready_set(self, name: str = "animals") -> Dataset:
        """A data set that was read and counted."""
        return self._checked(name, counted_animals())

    def refused_set(self, *problems: str) -> Dataset:
        found = counted_animals().model_copy(update={"problems": problems or (BROKEN,), "unusable": 1})
        return self._checked("holiday-photos", found)

    def checking_set(self) -> Dataset:
        """A data set that a worker reads."""
        claim = self._being_read("voc2012")
        self.tell(
            claim,
            stage="check",
            step=6144,
            stage_steps=17_125,
            fraction=0.36,
            eta_s=71,
            message="reading annotations, images and masks",
        )
        return self.datasets.get("voc2012")

    def settle_check(self, dataset: Dataset, found: CheckDataResults) -> None:
        """The worker that reads the data set has come to its end."""
        self.queue.settle(self._checks[dataset.name], Settlement.succeeded(found.model_dump(mode="json")))

    def _checked(self, name: str, found: CheckDataResults) -> Dataset:
        self._being_read(name)
        dataset = self.datasets.get(name)
        self.settle_check(dataset, found)
        return self.datasets.get(name)

    def _being_read(self, name: str) -> Claim:
        self.register(name)
        claim = self.queue.claim(WORKER, lease_s=3600)
        assert claim is not None
        self.queue.start(claim)
        self.queue.begin_running(claim)
        self._checks[name] = claim
        return claim

    def register(self, name: str) -> None:
        """A data set whose check waits."""
        source = VocSource(path=name, train_split="train")
        self.datasets.register(DatasetSpec(name=name, source=source))

    def _enqueue(self, spec: JobSpec) -> Job:
        return self.queue.enqueue(spec, idempotency_key=None, body_digest="0")[0]


def counted_animals() -> CheckDataResults:
    """Five classes, of which one is rare."""
    weights = {"cat": 61, "cow": 38, "dog": 72, "horse": 45, "sheep": 17}

    def split(name: str, share: float) -> SplitCounts:
        images = {label: round(weight * share) for label, weight in weights.items()}
        objects = {label: round(count * 1.6) for label, count in images.items()}
        return SplitCounts(
            name=name,
            images=round(210 * share),
            without_label=round(3 * share),
            masks=round(40 * share),
            objects=sum(objects.values()),
            difficult=round(20 * share),
            objects_per_image=sum(objects.values()) / round(210 * share),
            width_px=Extent(smallest=320, median=500, largest=500),
            height_px=Extent(smallest=213, median=375, largest=500),
            classes={
                label: ClassCounts(
                    images=images[label],
                    objects=objects[label],
                    difficult=round(4 * share),
                    objects_per_image=objects[label] / images[label],
                )
                for label in weights
            },
        )

    return CheckDataResults(
        classes=tuple(weights),
        splits=(split("train", 1), split("test", 1.2), split("trainval", 1.3), split("val", 0.3)),
        unusable=0,
        problems=(),
        notes=("2 of the images of split 'test' are in 'train' too: a model is judged on images it has learnt from",),
    )


def write_record(
    folder: Path, name: str, variant: str, seed: int, overrides: Mapping[str, JsonValue], experiment: Any
) -> None:
    folder.mkdir(parents=True)
    record = {"name": name, "variant": variant, "seed": seed, "overrides": dict(overrides), "created_at_ms": 0}
    (folder / "run.json").write_text(json.dumps(record | {"experiment": experiment.model_dump(mode="json")}))


def whereabouts(global_step: int) -> tuple[str, int, int]:
    """Stage, step within it, and its steps, at an optimizer step from 1."""
    begin = 0
    for stage, steps in STAGES:
        if global_step <= begin + steps:
            return stage, global_step - begin, steps
        begin += steps
    return "evaluate", 0, 1


def write_spool(folder: Path, until: int, *, attempt: int = 1, seed: int = 0, every: int = 10) -> None:
    """What an attempt has said until this step: progress and metrics every ten steps."""
    place = folder / f"attempt-{attempt}"
    place.mkdir(parents=True, exist_ok=True)
    spool = EventSpool(place / "events.jsonl")
    for event in course(until, seed=seed, every=every):
        spool.append(event)
    spool.close()


def course(until: int, *, seed: int = 0, every: int = 10, begin: int = 0) -> Iterator[ProgressEvent | MetricsEvent]:
    chance = random.Random(seed)
    for step in range(begin + every, until + 1, every):
        stage, within, steps = whereabouts(step)
        yield ProgressEvent(
            stage=stage, step=within, stage_steps=steps, fraction=step / 1080, global_step=step, time_ms=step * 500
        )
        shown = {"backbone": ("cls",), "classifier": ("classifier",)}.get(stage, tuple(_ENDS))
        values = {f"loss/{name}": _loss(name, step, chance) for name in shown}
        values |= {f"gradient/{name}": 3 * _loss(name, step, chance) for name in shown}
        values |= {"rate/network": 5e-4 * (0.1 if step > 990 else 1.0), "time/step_s": 0.38 + 0.05 * chance.random()}
        if stage == "loop" and within % 50 == 0:
            values["eval/mean_ap"] = 0.5 + 0.3 * (1 - math.exp(-within / 100))
        yield MetricsEvent(global_step=step, values=values, time_ms=step * 500)


def _loss(name: str, step: int, chance: random.Random) -> float:
    end = _ENDS[name]
    return (end + 6 * end * math.exp(-step / 180)) * math.exp(chance.gauss(0, 0.09))


def judgement(mean_ap: float, mean_corloc: float, *, seed: int) -> Judgement:
    """By class around the means, which they have exactly but for rounding."""
    chance = random.Random(seed)
    shifts = [chance.uniform(-0.08, 0.08) for _ in SCENE_CLASSES]
    middle = sum(shifts) / len(shifts)

    def spread(mean: float) -> dict[str, float | None]:
        return {
            label: min(1.0, max(0.0, mean + (shift - middle) * mean))
            for label, shift in zip(SCENE_CLASSES, shifts, strict=True)
        }

    modes = {"correct": mean_corloc, "inside": round((1 - mean_corloc) * 0.7, 4), "contains": 0.0, "overlap": 0.0}
    modes["none"] = 1 - sum(modes.values())
    return Judgement(
        ap=spread(mean_ap),
        mean_ap=mean_ap,
        corloc=spread(mean_corloc),
        mean_corloc=mean_corloc,
        num_test_images=250,
        num_train_images=400,
        seconds_per_image=0.05,
        mean_error_modes={name: max(0.0, share) for name, share in modes.items()},
    )
