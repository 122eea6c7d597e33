"""Results as executors hand them over, with numbers that look like those of real trainings."""

import json
import math
import random
from pathlib import Path

import cv2
import numpy as np

from service.jobs.ablation_spec import AblationSpec
from service.jobs.results import Judgement, TrainResults
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
from service.jobs.sweep_spec import SweepSpec
from workers.spool import EventSpool, MetricsEvent

CLASSES = ("disc", "square", "triangle", "cross", "ring", "star")
MODES = ("correct", "inside", "contains", "overlap", "none")


def judgement(quality: float, seed: int = 0, classes: tuple[str, ...] = CLASSES) -> Judgement:
    """A judgement around a quality in (0, 1)."""
    chance = random.Random(f"{quality}{seed}")

    def near() -> float:
        return min(0.98, max(0.01, quality + chance.uniform(-0.15, 0.15)))

    def modes() -> dict[str, float]:
        rest = [chance.uniform(0.2, 1) for _ in MODES[1:]]
        correct = near()
        return {"correct": correct} | {
            mode: (1 - correct) * share / sum(rest) for mode, share in zip(MODES[1:], rest, strict=True)
        }

    ap = {name: near() for name in classes}
    corloc = {name: near() for name in classes}
    error_modes = {name: modes() for name in classes}
    return Judgement(
        ap=ap,
        mean_ap=sum(ap.values()) / len(ap),
        corloc=corloc,
        mean_corloc=sum(corloc.values()) / len(corloc),
        num_test_images=250,
        num_train_images=400,
        seconds_per_image=0.021,
        error_modes=dict(error_modes),
        mean_error_modes={mode: sum(of[mode] for of in error_modes.values()) / len(error_modes) for mode in MODES},
        iou={name: near() for name in (*classes, "background")},
        mean_iou=near(),
        num_masks=250,
    )


def train_results() -> TrainResults:
    return TrainResults(
        classes=CLASSES, trained=judgement(0.8), untrained=judgement(0.1), chance=judgement(0.05, seed=1)
    )


def ablation_spec(**changes: object) -> AblationSpec:
    return AblationSpec.model_validate(
        {"preset": "scenes", "study": "table-2", "seeds": [0, 1, 2], **changes}
    ).resolve()


def ablation_results(spec: AblationSpec) -> AblationResults:
    """Every run of the study, one of them failed."""
    quality = {"oicr": 0.63, "apart": 0.64, "seg-to-det": 0.55, "sdcn": 0.83}
    runs = []
    for planned in spec.runs():
        failed = (planned.variant, planned.seed) == ("apart", 2)
        runs.append(
            RunFound(
                name=planned.name,
                variant=planned.variant,
                seed=planned.seed,
                overrides=dict(planned.overrides),
                state=RunState.FAILED if failed else RunState.SUCCEEDED,
                failure=RunFailure(
                    reason=FailureReason.DIVERGED,
                    message="loss/mil is nan at step 310 (stage loop): lower schedule.learning_rate, or set"
                    " schedule.clip_norm",
                )
                if failed
                else None,
                judgement=None if failed else judgement(quality.get(planned.variant, 0.5), planned.seed),
                global_step=900,
                train_seconds=212.0,
            )
        )
    titles = {variant.name: variant.title or variant.name for variant in spec.variants}
    assert spec.base_variant is not None
    names = tuple(run.name for run in runs)
    return AblationResults(
        runs=tuple(runs),
        shared=(
            SharedStageFound(stage="backbone", used_by=names[:4], train_seconds=64.0),
            SharedStageFound(stage="classifier", used_by=names[1:4], train_seconds=31.0),
        ),
        wall_seconds=1804.0,
        base_variant=spec.base_variant,
        seeds=spec.seeds,
        rows=ablation_rows(titles, spec.base_variant, runs),
    )


def figure_5_spec() -> SweepSpec:
    return SweepSpec(preset="scenes", study="figure-5", seeds=(0, 1)).resolve()


def figure_5_results(spec: SweepSpec) -> SweepResults:
    known = spec.known_trials()
    assert known is not None
    chance = random.Random(0)
    runs = [
        RunFound(
            name=f"{trial}-seed{seed}",
            variant=trial,
            seed=seed,
            overrides=overrides,
            state=RunState.SUCCEEDED,
            judgement=judgement(0.7, seed),
            value=0.8 - 0.1 * abs(math.log10(next(iter(overrides.values()), 0.3)) + 0.5) + chance.uniform(-0.03, 0.03),  # type: ignore[arg-type]
            global_step=900,
            train_seconds=200.0,
        )
        for trial, overrides in known.items()
        for seed in spec.seeds
    ]
    curves = {}
    for field, domain in spec.space.items():
        curves[field] = tuple(
            CurvePoint(value=value, measure=Spread.of([r.value for r in runs if r.overrides == {field: value}]))
            for value in domain.values  # type: ignore[union-attr]
        )
    best = max(runs, key=lambda run: run.value or 0)
    return SweepResults(
        runs=tuple(runs), wall_seconds=3000.0, metric="eval/mean_ap", goal="max", best=best.name, curves=curves
    )


def random_spec() -> SweepSpec:
    return SweepSpec.model_validate(
        {
            "preset": "scenes",
            "space": {
                "schedule.learning_rate": {"kind": "log_uniform", "low": 1e-5, "high": 1e-1},
                "objective.tau_0": {"kind": "uniform", "low": 0.1, "high": 1},
                "objective.binarization": {"kind": "choice", "values": ["argmax", "relative"]},
            },
            "search": {"kind": "random", "num_trials": 12},
        }
    ).resolve()


def random_results() -> SweepResults:
    chance = random.Random(1)
    states = [RunState.SUCCEEDED] * 6 + [RunState.STOPPED_EARLY] * 5 + [RunState.FAILED]
    runs = [
        RunFound(
            name=f"trial-{number:03d}",
            variant=f"trial-{number:03d}",
            seed=0,
            overrides={
                "schedule.learning_rate": 10 ** chance.uniform(-5, -1),
                "objective.tau_0": chance.uniform(0.1, 1),
                "objective.binarization": chance.choice(["argmax", "relative"]),
            },
            state=state,
            failure=RunFailure(reason=FailureReason.DIVERGED, message="loss/mil is nan")
            if state is RunState.FAILED
            else None,
            value=None if state is RunState.FAILED else chance.uniform(0.3, 0.85),
            global_step=900 if state is RunState.SUCCEEDED else 300,
            train_seconds=100.0,
        )
        for number, state in enumerate(states)
    ]
    ended = [run for run in runs if run.state is RunState.SUCCEEDED]
    best = max(ended, key=lambda run: run.value or 0)
    return SweepResults(runs=tuple(runs), wall_seconds=900.0, metric="eval/mean_ap", goal="max", best=best.name)


def write_spool(run_path: Path, *, attempt: int = 1, steps: range = range(20, 901, 5)) -> None:
    """A training's metrics: stage `backbone` to step 200, then the loop."""
    folder = run_path / f"attempt-{attempt}"
    folder.mkdir(parents=True)
    spool = EventSpool(folder / "events.jsonl")
    chance = random.Random(attempt)
    for step in steps:
        if step <= 200:
            values = {"loss/backbone_labels": 2 / step, "rate/labels": 0.01, "time/step_s": 0.1}
        else:
            fall = math.exp(-(step - 200) / 400)
            terms = {"mil": 2.0, "ref": 0.7, "adv": 1.5, "cls": 0.9, "seg": 1.1, "classifier": 0.6}
            values = {f"loss/{name}": top * fall + 0.1 * chance.random() for name, top in terms.items()}
            values |= {f"gradient/{name}": top * 3 * fall + 0.2 * chance.random() for name, top in terms.items()}
            values |= {
                "gradient/norm": 9 * fall,
                "rate/network": 0.001 if step < 700 else 0.0001,
                "rate/classifier": 0.001,
            }
        spool.append(MetricsEvent(time_ms=1_767_225_600_000 + step * 250, global_step=step, values=values))


def write_artifacts(artifacts: Path, *, quality: float = 0.8, classes: tuple[str, ...] = CLASSES) -> None:
    """Curves and pictures as a training leaves them."""
    artifacts.mkdir(parents=True, exist_ok=True)
    curves = {}
    for index, name in enumerate(classes):
        recall = np.linspace(0.01, min(1.0, quality + 0.02 * index), 60)
        precision = np.clip(1 - (recall / (quality + 0.1)) ** 4 * 0.8, 0.05, 1)
        curves[name] = {"ap": quality, "num_objects": 80, "recall": recall.tolist(), "precision": precision.tolist()}
    told = {"split": "test", "flavour": "voc07_11point", "match_iou": 0.5, "classes": curves}
    (artifacts / "precision_recall.json").write_text(json.dumps(told))
    for name, shape in {"gallery.jpg": (600, 1200, 3), "detections.png": (300, 900, 3)}.items():
        rows, columns = np.indices(shape[:2])
        pixels = np.stack([rows % 256, columns % 256, (rows + columns) % 256], axis=-1).astype(np.uint8)
        cv2.imwrite(str(artifacts / name), pixels)
    for name in ("results.json", "config.json"):
        (artifacts / name).write_text("{}")
