"""The reports of ablations and sweeps."""

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from urllib.parse import quote

from service.jobs.ablation_spec import AblationSpec
from service.jobs.study_results import MEASURES, AblationResults, Row, RunFound, RunState, StudyFound, SweepResults
from service.jobs.sweep_spec import OneAtATimeSearch, SweepSpec
from workers.reporting.about import about, artifacts_of
from workers.reporting.charts.ablation_bars import TITLES, draw_ablation_bars
from workers.reporting.charts.error_modes import Shares, draw_error_modes
from workers.reporting.charts.hyperparameters import draw_hyperparameters, is_share, metric_title
from workers.reporting.charts.precision_recall import MAX_LINES, draw_precision_recall, read_precision_recall
from workers.reporting.page import picture, write_page
from workers.reporting.series import read_spools
from workers.reporting.train import ERROR_MODES_ALT, ERROR_MODES_CAPTION, REPORT_FILE

LINKED_FILES = {
    "gallery.jpg": "gallery",
    "detections.png": "detections",
    "results.json": "results",
    "config.json": "configuration",
}


def write_ablation_report(
    results: AblationResults, *, job_id: str, spec: AblationSpec, run_path: Path
) -> dict[str, Path]:
    """Draw an ablation's bars, error modes and precision-recall curves and write report.html; what was written, by
    name, in the job's artifacts: bars.png, error_modes.png, precision_recall.png (those for which there are numbers)
    and report.html.

    Call it last: it shows the job's pages of comparison where they are there.

    Args:
        results: what was found.
        job_id: the job.
        spec: resolved.
        run_path: <home>/runs/<job id>; the artifacts of its runs are read.
    """
    artifacts = artifacts_of(run_path)
    bars, error_modes = artifacts / "bars.png", artifacts / "error_modes.png"
    precision_recall = artifacts / "precision_recall.png"
    one_seed = _runs_of_one_seed(results)
    models = {
        title: found
        for title, run in one_seed.items()
        if (found := read_precision_recall(_run_artifacts(run_path, run.name))) is not None
    }
    drawn = {
        bars: draw_ablation_bars(results, bars),
        error_modes: draw_error_modes(
            {row.title: _means(row) for row in results.rows},
            {row.title: _modes_by_class(results, row) for row in results.rows},
            error_modes,
        ),
        precision_recall: draw_precision_recall(models, precision_recall),
    }
    base_title = next(row.title for row in results.rows if row.variant == results.base_variant)
    last_title = [row.title for row in results.rows if row.variant != results.base_variant or len(results.rows) == 1][
        -1
    ]
    ranked_by = "mean_ap" if any(row.measures.get("mean_ap") for row in results.rows) else "mean_classification_ap"
    judged = [row for row in results.rows if row.measures.get(ranked_by) is not None]
    page = artifacts / REPORT_FILE
    write_page(
        "ablation.html",
        page,
        {
            "about": about(job_id, spec, spec.config_digest, "ablation", read_spools(run_path)),
            "seeds": results.seeds,
            "results": results,
            "measures": [(m, TITLES[m]) for m in MEASURES if any(row.measures.get(m) for row in results.rows)],
            "base_title": base_title,
            "best": max(judged, key=lambda row: _mean(row, ranked_by)) if judged else None,
            "ranked_by": ranked_by,
            "ranked_title": TITLES[ranked_by],
            "by_class": [
                ("ap", "AP", _classes(results, "ap")),
                ("corloc", "CorLoc", _classes(results, "corloc")),
            ],
            "bars": picture(
                bars,
                alt="bars of each measure for each row",
                caption="Mean and standard deviation over seeds, a dot a seed; the base row is grey.",
            ),
            "comparison": picture(
                artifacts / "comparison.jpg",
                alt="the same test images with the detections of two rows side by side",
                caption=f"{base_title} and {last_title} on the same test images.",
            ),
            "gains": picture(
                artifacts / "largest_gains.jpg",
                alt="the test images on which the last row gains most",
                caption=f"Where {last_title} gains most over {base_title}.",
            ),
            "losses": picture(
                artifacts / "largest_losses.jpg",
                alt="the test images on which the last row loses most",
                caption=f"Where {last_title} loses most against {base_title}.",
            ),
            "error_modes": picture(error_modes, alt=ERROR_MODES_ALT, caption=ERROR_MODES_CAPTION),
            "precision_recall": picture(
                precision_recall,
                alt="precision over recall, a panel a class, a line a row",
                caption=_of_which_runs(results, one_seed, list(models)[:MAX_LINES]),
            ),
        }
        | _of_study(results, run_path),
    )
    return {path.name: path for path, there in drawn.items() if there} | {page.name: page}


def write_sweep_report(results: SweepResults, *, job_id: str, spec: SweepSpec, run_path: Path) -> dict[str, Path]:
    """Draw a sweep's curves and write report.html; what was written, by name, in the job's artifacts: curves.png
    (where a trial has a value) and report.html.

    Args:
        results: what was found.
        job_id: the job.
        spec: resolved.
        run_path: <home>/runs/<job id>; the artifacts of its runs are read.
    """
    artifacts = artifacts_of(run_path)
    curves = artifacts / "curves.png"
    drawn = draw_hyperparameters(results, curves)
    states = Counter(run.state for run in results.runs)
    page = artifacts / REPORT_FILE
    explained = (
        "Means over seeds and, in a grid, over the other fields' values; the band is one standard deviation."
        if results.curves
        else "A dot a trial, a cross one that was stopped early; the star is the best."
    )
    write_page(
        "sweep.html",
        page,
        {
            "about": about(job_id, spec, spec.config_digest, "sweep", read_spools(run_path)),
            "seeds": spec.seeds,
            "results": results,
            "metric": metric_title(results.metric),
            "best": next((run for run in results.runs if run.name == results.best), None),
            "counts": [(state.value.replace("_", " "), states[state]) for state in RunState if states[state]],
            "in_percent": is_share(results.metric),
            "fields": list(spec.space),
            "one_at_a_time": isinstance(spec.search, OneAtATimeSearch),
            "ranked": results.best_first(),
            "curves": picture(
                curves,
                alt=f"{results.metric} against each searched field",
                caption=explained,
            ),
        }
        | _of_study(results, run_path),
    )
    return ({curves.name: curves} if drawn else {}) | {page.name: page}


def _of_study(results: StudyFound, run_path: Path) -> dict[str, object]:
    return {
        "links": {run.name: _links(run_path, run.name) for run in results.runs},
        "saved_s": sum(stage.train_seconds * max(0, len(stage.used_by) - 1) for stage in results.shared),
    }


def _links(run_path: Path, name: str) -> list[tuple[str, str]]:
    """What a run has left, and where: relative to the report, which lies in the job's artifacts."""
    folder = _run_artifacts(run_path, name)
    return [
        (said, f"../runs/{quote(name)}/artifacts/{file}")
        for file, said in LINKED_FILES.items()
        if (folder / file).exists()
    ]


def _run_artifacts(run_path: Path, name: str) -> Path:
    return run_path / "runs" / name / "artifacts"


def _runs_of_one_seed(results: AblationResults) -> dict[str, RunFound]:
    """Title of a row -> its run, all with the seed with which most rows came to their end, the first of such seeds:
    between seeds images and trainings differ, so curves of several cannot be compared.
    """
    judged = {(run.variant, run.seed): run for run in results.runs if run.judgement is not None}
    of_seed = [
        {row.title: judged[row.variant, seed] for row in results.rows if (row.variant, seed) in judged}
        for seed in results.seeds
    ]
    return max(of_seed, key=len, default={})


def _of_which_runs(results: AblationResults, one_seed: Mapping[str, RunFound], shown: Sequence[str]) -> str:
    """Under precision-recall curves: which seed's runs they are of, and which rows are not among them."""
    seed = next((run.seed for run in one_seed.values()), None)
    missing = [row.title for row in results.rows if row.title not in shown]
    said = f"On the test split, of the runs with seed {seed}"
    return f"{said}; without {', '.join(missing)}." if missing else f"{said}."


def _means(row: Row) -> Shares:
    return {mode: spread.mean for mode, spread in row.error_modes.items() if spread is not None}


def _modes_by_class(results: AblationResults, row: Row) -> dict[str, Shares]:
    """Class -> mode -> share, averaged over the row's seeds."""
    told = [
        run.judgement.error_modes
        for run in results.runs
        if run.variant == row.variant and run.judgement is not None and run.judgement.error_modes
    ]
    classes = dict.fromkeys(name for modes in told for name in modes)
    averaged: dict[str, Shares] = {}
    for name in classes:
        known = [shares for modes in told if (shares := modes.get(name)) is not None]
        if known:
            averaged[name] = {mode: sum(shares.get(mode, 0.0) for shares in known) / len(known) for mode in known[0]}
    return averaged


def _classes(results: AblationResults, measure: str) -> list[str]:
    return list(dict.fromkeys(name for row in results.rows for name in getattr(row, measure)))


def _mean(row: Row, measure: str) -> float:
    spread = row.measures[measure]
    assert spread is not None  # only rows that have one are compared
    return spread.mean
