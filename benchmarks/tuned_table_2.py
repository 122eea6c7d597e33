"""The paper's table 2 on generated scenes with every row tuned alike, by a running service.

`python -m benchmarks.tuned_table_2 [--url URL] [--seeds N] [--out FOLDER]`: start the service with `sdcn up`. Each row
of the table is trained with each of the same few settings and judged on validation images; with the setting that
reached the best mAP there it is trained once for each seed and judged on the test images. Both are ordinary jobs of
kind ablation. FOLDER gets their tables, reports and pictures.
"""

import argparse
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from pydantic import JsonValue

from sdcn_core.config.studies import Variant, table_2
from service.client.client import SdcnClient
from service.jobs.ablation_spec import AblationSpec
from service.jobs.states import JobState
from service.jobs.study_results import AblationResults, Row, RunFound, Spread

KEPT = ("report.html", "comparison.jpg")
JOIN = "--"
"""between the names of a row and of a setting"""


@dataclass(frozen=True)
class Looks:
    """What is compared on which images, and the settings that each row may choose from."""

    preset: str
    tuning: Mapping[str, JsonValue]
    """overrides: learn from and judge on images that are not the test's"""
    tuning_seeds: tuple[int, ...]
    final: Mapping[str, JsonValue]
    settings: Mapping[str, Mapping[str, JsonValue]]
    """name -> overrides; each row looks at each once a tuning seed"""


SCENES = Looks(
    preset="scenes",
    tuning={"data.source.test_split": "val"},
    tuning_seeds=(100,),  # other scenes than those of the seeds that are reported
    final={"data.source.test_split": "test"},
    settings={
        "preset": {},
        "lambda-seg-1": {"objective.lambda_seg": 1.0},
        "weight-sum": {"objective.refinement_normalizer": "weight_sum"},
        "rate-1e-3": {"schedule.learning_rate": 1e-3},
    },
)


def main() -> int:
    options = _options()
    options.out.mkdir(parents=True, exist_ok=True)
    with SdcnClient(options.url) as client:
        tuned, seconds = _run(client, tuning_spec(SCENES), options.out / "tuning")
        chosen = chosen_settings(tuned, SCENES.settings)
        _say("Tuning", tuning_table(tuned, SCENES.settings, chosen), seconds, options.out / "tuning.md")
        found, seconds = _run(client, final_spec(SCENES, chosen, tuple(range(options.seeds))), options.out / "final")
        _say("On the test images", final_table(found), seconds, options.out / "final.md")
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
        for name, settings in looks.settings.items()
    ]
    return _spec(looks, "tuned-table-2-looks", variants, looks.tuning, looks.tuning_seeds)


def final_spec(looks: Looks, chosen: Mapping[str, str], seeds: tuple[int, ...]) -> AblationSpec:
    """Every row with its own setting, judged on test images."""
    variants = [
        Variant(
            name=row.name,
            title=f"{row.title}, {chosen[row.name]}",
            overrides={**row.overrides, **looks.settings[chosen[row.name]]},
        )
        for row in table_2().variants
    ]
    return _spec(looks, "tuned-table-2", variants, looks.final, seeds)


def chosen_settings(tuned: AblationResults, settings: Mapping[str, object]) -> dict[str, str]:
    """Row -> the setting with the best mAP on validation images; among equals the first."""
    by_name = {row.variant: row for row in tuned.rows}
    return {
        row.name: max(settings, key=lambda name: _mean(by_name[f"{row.name}{JOIN}{name}"].measures.get("mean_ap")))
        for row in table_2().variants
    }


def tuning_table(tuned: AblationResults, settings: Mapping[str, object], chosen: Mapping[str, str]) -> str:
    """Markdown: mAP / CorLoc of each row with each setting, the chosen one bold."""
    by_name = {row.variant: row for row in tuned.rows}
    lines = [f"| row | {' | '.join(settings)} |", "|---" * (1 + len(settings)) + "|"]
    for row in table_2().variants:
        cells = []
        for name in settings:
            measures = by_name[f"{row.name}{JOIN}{name}"].measures
            cell = f"{_percent(measures.get('mean_ap'))} / {_percent(measures.get('mean_corloc'))}"
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
    began = time.monotonic()
    submitted = client.submit(spec)
    print(f"job {submitted.id}: {len(spec.variants)} rows, seeds {', '.join(map(str, spec.seeds))}", flush=True)
    *_, job = client.watch(submitted.id)
    if job.state is not JobState.SUCCEEDED:
        raise SystemExit(f"job {job.id} {job.state}: {job.failure}")
    seconds = time.monotonic() - began
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


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--url", default="http://127.0.0.1:8000")
    parser.add_argument("--seeds", type=int, default=3, help="trained and judged in the end, from 0 on")
    parser.add_argument("--out", type=Path, default=Path("tuned-table-2"))
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
