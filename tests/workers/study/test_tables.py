import csv
import io
import json

import pytest

from service.jobs.results import Judgement
from service.jobs.states import FailureReason
from service.jobs.study_results import AblationResults, RunFailure, RunFound, RunState, ablation_rows
from workers.study.tables import latex, latex_escaped, markdown, table_csv, tables_of

DIVERGED = RunFailure(reason=FailureReason.DIVERGED, message="nan")


def judged(ap: float, *, iou: float | None = None, modes: dict[str, float] | None = None) -> Judgement:
    return Judgement(
        ap={"disc": ap, "ring_1": None},
        mean_ap=ap,
        corloc={"disc": 0.5, "ring_1": 0.5},
        mean_corloc=0.5,
        num_test_images=1,
        num_train_images=1,
        seconds_per_image=None,
        mean_iou=iou,
        mean_error_modes=modes,
    )


def found(variant: str, seed: int, judgement: Judgement | None) -> RunFound:
    return RunFound(
        name=f"{variant}-seed{seed}",
        variant=variant,
        seed=seed,
        overrides={},
        state=RunState.FAILED if judgement is None else RunState.SUCCEEDED,
        failure=DIVERGED if judgement is None else None,
        judgement=judgement,
    )


def results(*runs: RunFound) -> AblationResults:
    titles = {"oicr": "detection alone (OICR)", "sdcn": "the loop & 100 %"}
    seeds = tuple(dict.fromkeys(run.seed for run in runs))
    return AblationResults(
        runs=runs, base_variant="oicr", seeds=seeds, rows=ablation_rows(titles, "oicr", runs), wall_seconds=1
    )


TWO_SEEDS = results(
    found("oicr", 0, judged(0.40)),
    found("sdcn", 0, judged(0.46, iou=0.25)),
    found("oicr", 1, judged(0.42)),
    found("sdcn", 1, judged(0.50, iou=0.35)),
)


def test_the_first_table_has_means_deviations_and_signed_paired_differences() -> None:
    table = tables_of(TWO_SEEDS)[0]
    assert table.header == ("method", "mAP", "Δ mAP", "CorLoc", "Δ CorLoc", "mIoU", "Δ mIoU")
    base, ours = table.rows
    assert base == ("detection alone (OICR)", "41.0 ± 1.4", "", "50.0 ± 0.0", "", "–", "")
    assert ours[:3] == ("the loop & 100 %", "48.0 ± 2.8", "+7.0 ± 1.4")
    assert "2 seeds" in table.caption
    assert "paired" in table.caption


def test_one_seed_has_no_deviation() -> None:
    table = tables_of(results(found("oicr", 0, judged(0.4)), found("sdcn", 0, judged(0.35))))[0]
    assert table.rows[1][:3] == ("the loop & 100 %", "35.0", "−5.0")
    assert "one run each" in table.caption


def test_failed_runs_are_told_in_a_column_of_their_own() -> None:
    table = tables_of(results(found("oicr", 0, judged(0.4)), found("sdcn", 0, None)))[0]
    assert table.header[-1] == "runs"
    assert [row[-1] for row in table.rows] == ["1 of 1", "0 of 1"]
    assert table.rows[1][1] == "–"


def test_a_measure_that_nobody_has_gets_no_column() -> None:
    assert "mIoU" not in tables_of(results(found("oicr", 0, judged(0.4))))[0].header


def test_error_modes_are_shown_in_the_papers_order() -> None:
    modes = {"none": 0.1, "overlap": 0.2, "contains": 0.1, "inside": 0.1, "correct": 0.5}
    table = tables_of(results(found("oicr", 0, judged(0.4, modes=modes))))[-1]
    assert table.header == ("method", "correct", "inside", "contains", "overlap", "none")
    assert table.rows[0][1] == "50.0"


def test_latex_prints_what_it_would_take_for_commands() -> None:
    assert latex_escaped(r"a_b & 5% of {c} ~ \d ^ $x# <") == (
        r"a\_b \& 5\% of \{c\} \textasciitilde{} \textbackslash{}d \textasciicircum{} \$x\# \textless{}"
    )
    text = latex(TWO_SEEDS)
    assert r"the loop \& 100 \% & 48.0 $\pm$ 2.8 & +7.0 $\pm$ 1.4 &" in text
    assert r"ring\_1" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 3
    assert not any(ord(character) > 127 for character in text)


def test_every_row_of_a_latex_table_has_as_many_cells_as_its_columns() -> None:
    columns = 0
    for line in latex(TWO_SEEDS).splitlines():
        if line.startswith(r"\begin{tabular}"):
            columns = len(line.rpartition("{")[2].rstrip("}"))
        elif line.endswith(r"\\"):
            assert line.replace(r"\&", "").count("&") == columns - 1


def test_a_bar_in_a_title_does_not_split_a_cell() -> None:
    rows = ablation_rows({"a": "x | y"}, "a", [found("a", 0, judged(0.4))])
    text = markdown(TWO_SEEDS.model_copy(update={"rows": rows, "base_variant": "a"}))
    assert "| x \\| y | 40.0 |" in text


def test_the_csv_has_unrounded_shares_for_every_row() -> None:
    rows = list(csv.DictReader(io.StringIO(table_csv(TWO_SEEDS))))
    assert [row["variant"] for row in rows] == ["oicr", "sdcn"]
    assert float(rows[1]["mean_ap_mean"]) == pytest.approx(0.48)
    assert float(rows[1]["mean_ap_difference_mean"]) == pytest.approx(0.07)
    assert rows[0]["mean_ap_difference_count"] == "0"
    assert float(rows[0]["ap/disc_mean"]) == pytest.approx(0.41)
    assert rows[0]["ap/ring_1_mean"] == ""


def test_a_study_in_which_a_row_failed_whole_still_has_its_row() -> None:
    study = results(found("oicr", 0, None), found("sdcn", 0, judged(0.4)))
    assert tables_of(study)[0].rows[0][1] == "–"
    assert json.loads(study.model_dump_json())["rows"][1]["differences"]["mean_ap"] is None
