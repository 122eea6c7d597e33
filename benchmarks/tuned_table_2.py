"""The paper's table 2 with every row tuned alike, on generated scenes or on photographs, by a running service.

`python -m benchmarks.tuned_table_2 scenes [--url URL] [--seeds N] [--out FOLDER]`, or `photographs --data PATH` for a
folder in Pascal VOC layout below the service's data root, with `--weights PATH` where SqueezeNet's are in another file
than the preset says; start the service with `sdcn up`. Each row of the table is trained with equally many settings and
judged on validation images; with the setting that reached the best mAP there it is trained once for each seed and
judged on the test images. Both are ordinary jobs of kind ablation. FOLDER gets their tables, reports and pictures.
Typed again on the same service, the command goes on with the jobs it made there.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from pydantic import JsonValue

from sdcn_core.config.studies import Variant, table_2
from service.client.client import SdcnClient
from service.jobs.ablation_spec import AblationSpec
from service.jobs.answers import JobRead
from service.jobs.states import JobState
from service.jobs.study_results import AblationResults, Row, RunFound, Spread

KEPT = ("report.html", "comparison.jpg")
JOIN = "--"
"""between the names of a row and of a setting"""


ROWS = [row.name for row in table_2().variants]
Settings = Mapping[str, Mapping[str, JsonValue]]
"""name -> overrides"""


@dataclass(frozen=True)
class Looks:
    """What is compared on which images, and the settings that each row may choose from."""

    preset: str
    tuning: Mapping[str, JsonValue]
    """overrides: learn from and judge on images that are not the test's"""
    tuning_seeds: tuple[int, ...]
    final: Mapping[str, JsonValue]
    settings: Mapping[str, Settings]
    """row -> its settings; it looks at each once a tuning seed"""

    def __post_init__(self) -> None:
        if list(self.settings) != ROWS or len({len(of_row) for of_row in self.settings.values()}) != 1:
            raise ValueError("each row of table 2, and no other, has settings, all of them equally many")


SCENES = Looks(
    preset="scenes",
    tuning={"data.source.test_split": "val"},
    tuning_seeds=(100,),  # other scenes than those of the seeds that are reported
    final={"data.source.test_split": "test"},
    settings={
        row: {
            "preset": {},
            "lambda-seg-1": {"objective.lambda_seg": 1.0},
            "weight-sum": {"objective.refinement_normalizer": "weight_sum"},
            "rate-1e-3": {"schedule.learning_rate": 1e-3},
        }
        for row in ROWS
    },
)


def photographs(path: str, weights: str | None = None) -> Looks:
    """On a folder with the splits train, val, trainval and test: SqueezeNet with and without its last layers trained,
    a third look at what each row has of its own, a fourth at the best of these three without small proposals, and a
    fifth at the best of these four with wider hidden layers, which learn more slowly.

    In bfloat16, which takes a CPU that multiplies it two thirds of the time.
    """
    data: dict[str, JsonValue] = {"data.source.path": path, "schedule.precision": "bf16"}
    if weights is not None:
        data |= {f"model.{part}.weights.path": weights for part in ("backbone", "classifier")}
    backbone: Settings = {"fire8-9": {"model.backbone.frozen": "fire7"}, "frozen": {"model.backbone.frozen": "fire9"}}
    own: dict[str, Settings] = {
        "oicr": {"weight-sum": {"objective.refinement_normalizer": "weight_sum"}},
        "apart": {"weight-sum": {"objective.refinement_normalizer": "weight_sum"}},
        "seg-to-det": {"tau-2": {"objective.tau_0": 2.0}},
        "sdcn": {"lambda-seg-1": {"objective.lambda_seg": 1.0}},
    }
    three = {row: {**backbone, **own[row]} for row in ROWS}
    best_of_three = {"oicr": "frozen", "apart": "weight-sum", "seg-to-det": "fire8-9", "sdcn": "lambda-seg-1"}
    no_small: dict[str, JsonValue] = {"data.proposals.min_side_px": 20}
    four = {row: {**three[row], "from-20-px": {**three[row][best_of_three[row]], **no_small}} for row in ROWS}
    best_of_four = best_of_three | {"oicr": "from-20-px", "sdcn": "from-20-px"}
    wide: dict[str, JsonValue] = {
        "model.detection.hidden": 512,
        "schedule.learning_rate": 2e-4,
        "schedule.warmup_steps": 200,
    }
    return Looks(
        preset="voc_squeezenet",
        tuning=data | {"data.source.train_split": "train", "data.source.test_split": "val"},
        tuning_seeds=(100,),
        final=data | {"data.source.train_split": "trainval", "data.source.test_split": "test"},
        settings={row: {**four[row], "hidden-512": {**four[row][best_of_four[row]], **wide}} for row in ROWS},
    )


def main() -> int:
    options = parse_options()
    looks = SCENES if options.on == "scenes" else photographs(options.data, options.weights)
    options.out.mkdir(parents=True, exist_ok=True)
    with SdcnClient(options.url) as client:
        tuned, seconds = _run(client, tuning_spec(looks), options.out / "tuning")
        chosen = chosen_settings(tuned, looks.settings)
        _say("Tuning", tuning_table(tuned, looks.settings, chosen), seconds, options.out / "tuning.md")
        found, seconds = _run(client, final_spec(looks, chosen, tuple(range(options.seeds))), options.out / "final")
        _say("On the test images", f"{final_table(found)}\n\n{trivial_table(found)}", seconds, options.out / "final.md")
    return 0 if all(row.failed == 0 for row in (*tuned.rows, *found.rows)) else 1


def tuning_spec(looks: Looks) -> AblationSpec:
    """Every row with every setting, judged on validation images."""
    variants = [
        Variant(
            name=f"{row.name}{JOIN}{name}",
            title=f"{row.title}, {name}",
            overrides={**row.overrides, **settings},
        )
        for row in table_2().variants
        for name, settings in looks.settings[row.name].items()
    ]
    return _spec(looks, "tuned-table-2-looks", variants, looks.tuning, looks.tuning_seeds)


def final_spec(looks: Looks, chosen: Mapping[str, str], seeds: tuple[int, ...]) -> AblationSpec:
    """Every row with its own setting, judged on test images."""
    variants = [
        Variant(
            name=row.name,
            title=f"{row.title}, {chosen[row.name]}",
            overrides={**row.overrides, **looks.settings[row.name][chosen[row.name]]},
        )
        for row in table_2().variants
    ]
    return _spec(looks, "tuned-table-2", variants, looks.final, seeds)


def begun(client: SdcnClient, spec: AblationSpec) -> JobRead:
    """The study's job: the one that this service has of it already, or a new one."""
    digest = sha256(spec.model_dump_json().encode()).hexdigest()
    return client.submit(spec, idempotency_key=f"tuned-table-2-{digest[:16]}")


def chosen_settings(tuned: AblationResults, settings: Mapping[str, Settings]) -> dict[str, str]:
    """Row -> its setting with the best mAP on validation images; among equals the first."""
    by_name = {row.variant: row for row in tuned.rows}
    return {
        row: max(of_row, key=lambda name: _mean(by_name[f"{row}{JOIN}{name}"].measures.get("mean_ap")))
        for row, of_row in settings.items()
    }


def tuning_table(tuned: AblationResults, settings: Mapping[str, Settings], chosen: Mapping[str, str]) -> str:
    """Markdown: mAP / CorLoc of each row with each of its settings, the chosen one bold."""
    by_name = {row.variant: row for row in tuned.rows}
    looks = len(next(iter(settings.values())))
    lines = [f"| row | {' | '.join(f'look {look + 1}' for look in range(looks))} |", "|---" * (1 + looks) + "|"]
    for row in table_2().variants:
        cells = []
        for name in settings[row.name]:
            measures = by_name[f"{row.name}{JOIN}{name}"].measures
            cell = f"{name}: {_percent(measures.get('mean_ap'))} / {_percent(measures.get('mean_corloc'))}"
            cells.append(f"**{cell}**" if chosen[row.name] == name else cell)
        lines.append(f"| {row.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def final_table(found: AblationResults) -> str:
    """Markdown: each row's measures with their spread, its differences to the first row, and where its boxes lie."""
    lines = [
        "| row | mAP | CorLoc | mIoU | mAP - first row's, a seed each | top box inside the object | containing it |",
        "|---|---|---|---|---|---|---|",
    ]
    base = {run.seed: run for run in found.runs if run.variant == found.base_variant}
    lines += [f"| {row.title} | {' | '.join(_cells(row, found, base))} |" for row in found.rows]
    return "\n".join(lines)


def trivial_table(found: AblationResults) -> str:
    """Markdown: what boxes reach that look at nothing, ranked by each row's scores of whole images."""
    judged = {row.variant: [run.judgement for run in found.runs if run.variant == row.variant] for row in found.rows}
    names = list(dict.fromkeys(name for row in judged.values() for j in row if j is not None for name in j.trivial))
    lines = [f"| row | {' | '.join(name.replace('_', ' ') for name in names)} |", "|---" * (1 + len(names)) + "|"]
    for row in found.rows:
        boxes = [[None if j is None else j.trivial.get(name) for j in judged[row.variant]] for name in names]
        cells = [
            f"{_percent(Spread.of([None if box is None else box.mean_ap for box in kind]))}"
            f" / {_percent(Spread.of([None if box is None else box.mean_corloc for box in kind]))}"
            for kind in boxes
        ]
        lines.append(f"| {row.title} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _cells(row: Row, found: AblationResults, base: Mapping[int, RunFound]) -> Sequence[str]:
    differences = [
        f"{100 * (ours - theirs):+.1f}"
        for run in found.runs
        if run.variant == row.variant != found.base_variant
        and (ours := _mean_ap(run)) is not None
        and (theirs := _mean_ap(base[run.seed])) is not None
    ]
    return (
        _percent(row.measures.get("mean_ap")),
        _percent(row.measures.get("mean_corloc")),
        _percent(row.measures.get("mean_iou")),
        ", ".join(differences) or "-",
        _percent(row.error_modes.get("inside")),
        _percent(row.error_modes.get("contains")),
    )


def _spec(
    looks: Looks, name: str, variants: list[Variant], data: Mapping[str, JsonValue], seeds: tuple[int, ...]
) -> AblationSpec:
    return AblationSpec(
        name=name,
        preset=looks.preset,
        overrides=dict(data),
        variants=tuple(variants),
        seeds=seeds,
        base_variant=variants[0].name,
    )


def _run(client: SdcnClient, spec: AblationSpec, out: Path) -> tuple[AblationResults, float]:
    submitted = begun(client, spec)
    print(f"job {submitted.id}: {len(spec.variants)} rows, seeds {', '.join(map(str, spec.seeds))}", flush=True)
    *_, job = client.watch(submitted.id)
    if job.state is not JobState.SUCCEEDED:
        raise SystemExit(f"job {job.id} {job.state}: {job.failure}; after `sdcn retry {job.id}` this command goes on")
    seconds = sum((tried.ended_at - tried.started_at).total_seconds() for tried in job.attempts if tried.ended_at)
    found = client.results(job.id)
    assert isinstance(found, AblationResults)
    out.mkdir(exist_ok=True)
    (out / "results.json").write_text(found.model_dump_json(indent=2))
    for artifact in client.artifacts(job.id):
        if artifact.name in KEPT:
            client.fetch(artifact, out)
    return found, seconds


def _say(title: str, table: str, seconds: float, path: Path) -> None:
    path.write_text(table + "\n")
    print(f"\n{title} ({seconds / 60:.1f} min)\n\n{table}\n", flush=True)


def _mean_ap(run: RunFound) -> float | None:
    return None if run.judgement is None else run.judgement.mean_ap


def _mean(spread: Spread | None) -> float:
    return -1.0 if spread is None else spread.mean


def _percent(spread: Spread | None) -> str:
    if spread is None:
        return "-"
    return f"{100 * spread.mean:.1f}" + ("" if spread.std is None else f" ± {100 * spread.std:.1f}")


def parse_options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """What was typed; None: the process's own arguments."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("on", choices=("scenes", "photographs"))
    parser.add_argument("--data", default="voc", help="of photographs: the folder below the service's data root")
    parser.add_argument(
        "--weights", help="of photographs: SqueezeNet's, below the service's weights root; else the preset's"
    )
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--seeds", type=int, default=3, help="trained and judged in the end, from 0 on")
    parser.add_argument("--out", type=Path, default=Path("tuned-table-2"))
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())
