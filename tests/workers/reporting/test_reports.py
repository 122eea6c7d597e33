"""The pages of trainings, ablations and sweeps."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from service.jobs.results import TrainResults
from service.jobs.study_results import AblationResults, RunState, ablation_rows
from service.jobs.train_spec import TrainSpec
from tests.service.jobs.test_results import COCO
from tests.workers.reporting.samples import (
    CLASSES,
    ablation_results,
    ablation_spec,
    figure_5_results,
    figure_5_spec,
    judgement,
    random_results,
    random_spec,
    train_results,
    write_artifacts,
    write_spool,
)
from workers.reporting.charts.precision_recall import PrecisionRecall, draw_precision_recall
from workers.reporting.study import write_ablation_report, write_sweep_report
from workers.reporting.train import write_train_report

VOID = {"meta", "link", "img", "br", "hr"}


class Page(HTMLParser):
    """A page as a browser would find it, with what hangs loose."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.source = path.read_text()
        self.open: list[str] = []
        self.addresses: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.words: list[str] = []
        self.feed(self.source)
        assert self.open == [], "elements that are never closed"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag != "script"
        values = dict(attrs)
        self.addresses += [value for name, value in attrs if name in ("src", "href", "action") and value]
        if tag == "img":
            self.pictures.append(values)
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def check(self) -> None:
        """Nothing outside it is asked for; every picture says what it shows."""
        assert all(address.startswith(("data:", "../runs/")) for address in self.addresses)
        assert not re.search(r"url\(|@import", self.source)
        assert all(picture["alt"] and picture["width"] for picture in self.pictures)


SPEC = TrainSpec(preset="scenes").resolve()


def train_page(tmp_path: Path, results: TrainResults) -> Page:
    return Page(write_train_report(results, job_id="3f2a", spec=SPEC, run_path=tmp_path)["report.html"])


def test_a_training_is_told_whole(tmp_path: Path) -> None:
    write_spool(tmp_path)
    write_artifacts(tmp_path / "artifacts")
    results = train_results()
    written = write_train_report(results, job_id="3f2a", spec=SPEC, run_path=tmp_path)
    assert set(written) == {"training_curves.png", "precision_recall.png", "error_modes.png", "report.html"}
    assert all(path.exists() for path in written.values())
    page = Page(written["report.html"])
    page.check()
    assert len(page.pictures) == 5
    assert f"{100 * (results.trained.mean_ap or 0):.1f} %" in page.text
    assert SPEC.config_digest in page.text
    assert '"schedule"' in page.text, "the body to send again"


def test_a_training_that_left_nothing_else_still_has_its_table(tmp_path: Path) -> None:
    results = TrainResults(classes=("disc",), trained=judgement(0.8, classes=("disc",)))
    results = results.model_copy(
        update={"trained": results.trained.model_copy(update={"error_modes": None, "mean_error_modes": None})}
    )
    written = write_train_report(results, job_id="3f2a", spec=SPEC, run_path=tmp_path)
    assert set(written) == {"report.html"}
    page = Page(written["report.html"])
    page.check()
    assert page.pictures == []
    assert "disc" in page.text


def test_coco_s_figures_have_their_table_where_there_are_some(tmp_path: Path) -> None:
    assert "COCO" not in train_page(tmp_path, train_results()).text
    with_coco = judgement(0.8).model_copy(update={"coco": COCO})
    results = train_results().model_copy(update={"trained": with_coco, "chance": with_coco, "untrained": None})
    page = train_page(tmp_path, results)
    page.check()
    assert "AP50 1.0 1.0 AP75" in page.text


def test_a_class_that_nobody_could_judge_has_a_dash(tmp_path: Path) -> None:
    unknown = judgement(0.8, classes=("disc",)).model_copy(
        update={"ap": {"disc": None}, "mean_ap": None, "iou": None, "mean_iou": None}
    )
    assert "disc –" in train_page(tmp_path, TrainResults(classes=("disc",), trained=unknown)).text


def test_a_training_that_does_not_beat_chance_says_so(tmp_path: Path) -> None:
    results = train_results().model_copy(update={"chance": judgement(0.97)})
    assert "does not beat chance" in train_page(tmp_path, results).text


def test_what_clients_call_things_is_no_markup(tmp_path: Path) -> None:
    results = TrainResults(classes=("<b>disc",), trained=judgement(0.8, classes=("<b>disc",)))
    assert "<b>disc" in train_page(tmp_path, results).text
    assert "&lt;b&gt;disc" in train_page(tmp_path, results).source


def test_an_ablation_is_told_whole(tmp_path: Path) -> None:
    spec = ablation_spec()
    results = ablation_results(spec)
    for run in results.runs:
        if run.judgement is not None:
            write_artifacts(tmp_path / "runs" / run.name / "artifacts", quality=run.judgement.mean_ap or 0)
    write_artifacts(tmp_path / "artifacts")
    (tmp_path / "artifacts" / "gallery.jpg").rename(tmp_path / "artifacts" / "comparison.jpg")
    written = write_ablation_report(results, job_id="3f2a", spec=spec, run_path=tmp_path)
    assert set(written) == {"bars.png", "error_modes.png", "precision_recall.png", "report.html"}
    page = Page(written["report.html"])
    page.check()
    assert len(page.pictures) == 4
    assert "over 3 pairs of seeds" in page.text
    assert "detection alone (OICR) and the loop closed (SDCN) on the same test images" in page.text
    assert "apart-seed2 (diverged): loss/mil is nan at step 310" in page.text
    assert "about 4 min 14 s of training was not done twice" in page.text
    links = [address for address in page.addresses if address.startswith("../runs/")]
    assert links
    assert all((tmp_path / "artifacts" / link).exists() for link in links)


def without(results: AblationResults, *failed: tuple[str, int]) -> AblationResults:
    """The results with the runs of these variants and seeds failed."""
    runs = [
        run.model_copy(update={"state": RunState.FAILED, "judgement": None})
        if (run.variant, run.seed) in failed
        else run
        for run in results.runs
    ]
    rows = ablation_rows({row.variant: row.title for row in results.rows}, results.base_variant, runs)
    return results.model_copy(update={"runs": tuple(runs), "rows": rows})


@pytest.fixture
def drawn_models(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, PrecisionRecall]]:
    """What the chart of precision and recall is asked to draw."""
    asked: list[dict[str, PrecisionRecall]] = []

    def draw(models: dict[str, PrecisionRecall], path: Path) -> bool:
        asked.append(models)
        return draw_precision_recall(models, path)

    monkeypatch.setattr("workers.reporting.study.draw_precision_recall", draw)
    return asked


def seeds_drawn(models: dict[str, PrecisionRecall]) -> dict[str, int]:
    """Title -> seed, which `write_curves` has written down as the AP of a class."""
    return {title: round(curves.classes["disc"].ap or 0) for title, curves in models.items()}


def write_curves(run_path: Path, results: AblationResults) -> None:
    for run in results.runs:
        if run.judgement is not None:
            folder = run_path / "runs" / run.name / "artifacts"
            folder.mkdir(parents=True)
            curve = {"ap": run.seed, "recall": [0.5, 1.0], "precision": [1.0, 0.5]}
            (folder / "precision_recall.json").write_text(json.dumps({"split": "test", "classes": {"disc": curve}}))


def test_curves_are_of_one_seed_that_all_rows_have(
    tmp_path: Path, drawn_models: list[dict[str, PrecisionRecall]]
) -> None:
    spec = ablation_spec()
    results = without(ablation_results(spec), ("sdcn", 0))
    write_curves(tmp_path, results)
    written = write_ablation_report(results, job_id="3f2a", spec=spec, run_path=tmp_path)
    assert seeds_drawn(drawn_models[0]) == {row.title: 1 for row in results.rows}
    assert "of the runs with seed 1." in Page(written["report.html"]).text


def test_rows_without_a_run_of_the_shown_seed_are_named(
    tmp_path: Path, drawn_models: list[dict[str, PrecisionRecall]]
) -> None:
    spec = ablation_spec(seeds=[0, 1])
    results = without(ablation_results(spec), ("sdcn", 0), ("oicr", 1), ("apart", 1))
    write_curves(tmp_path, results)
    written = write_ablation_report(results, job_id="3f2a", spec=spec, run_path=tmp_path)
    assert set(seeds_drawn(drawn_models[0]).values()) == {0}
    assert "of the runs with seed 0; without the loop closed (SDCN)." in Page(written["report.html"]).text


def test_an_ablation_with_one_seed_speaks_of_no_deviation(tmp_path: Path) -> None:
    spec = ablation_spec(seeds=[0])
    written = write_ablation_report(ablation_results(spec), job_id="3f2a", spec=spec, run_path=tmp_path)
    page = Page(written["report.html"])
    assert "±" not in page.text
    assert "over 1 pair of seeds" in page.text


LABELS_ALONE = {
    "ap": dict.fromkeys(CLASSES),
    "mean_ap": None,
    "corloc": dict.fromkeys(CLASSES),
    "mean_corloc": None,
    "error_modes": None,
    "mean_error_modes": None,
    "iou": None,
    "mean_iou": None,
    "without_boxes": ("test", "train"),
    "classification_ap": dict.fromkeys(CLASSES, 0.625),
    "mean_classification_ap": 0.625,
}


def test_a_training_without_boxes_says_so_and_shows_what_labels_allow(tmp_path: Path) -> None:
    trained = train_results().trained.model_copy(update=LABELS_ALONE)
    results = TrainResults(classes=CLASSES, trained=trained, chance=trained)
    spec = TrainSpec(preset="scenes").resolve()
    written = write_train_report(results, job_id="3f2a", spec=spec, run_path=tmp_path)
    page = Page(written["report.html"])
    page.check()
    assert "There are no boxes: AP and CorLoc cannot be counted." in page.text
    assert "classification AP" in page.text
    assert "62.5" in page.text
    assert "CorLoc on" not in page.text


def test_an_ablation_without_boxes_is_ranked_by_its_labels(tmp_path: Path) -> None:
    spec = ablation_spec(seeds=[0])
    results = ablation_results(spec)
    runs = [
        run.model_copy(update={"judgement": run.judgement and run.judgement.model_copy(update=LABELS_ALONE)})
        for run in results.runs
    ]
    rows = ablation_rows({row.variant: row.title for row in results.rows}, results.base_variant, runs)
    results = results.model_copy(update={"runs": tuple(runs), "rows": rows})
    page = Page(write_ablation_report(results, job_id="3f2a", spec=spec, run_path=tmp_path)["report.html"])
    assert "Best by classification mAP" in page.text
    assert "There are no boxes: AP and CorLoc cannot be counted." in page.text


def test_an_ablation_of_which_every_run_failed_says_so(tmp_path: Path) -> None:
    spec = ablation_spec(seeds=[0])
    results = ablation_results(spec)
    failed = [run.model_copy(update={"state": RunState.FAILED, "judgement": None}) for run in results.runs]
    rows = ablation_rows({row.variant: row.title for row in results.rows}, results.base_variant, failed)
    results = results.model_copy(update={"runs": tuple(failed), "rows": rows, "shared": ()})
    written = write_ablation_report(results, job_id="3f2a", spec=spec, run_path=tmp_path)
    assert set(written) == {"report.html"}
    assert "No run came to its end" in Page(written["report.html"]).text


def test_figure_5_is_told_whole(tmp_path: Path) -> None:
    spec = figure_5_spec()
    written = write_sweep_report(figure_5_results(spec), job_id="3f2a", spec=spec, run_path=tmp_path)
    assert set(written) == {"curves.png", "report.html"}
    page = Page(written["report.html"])
    page.check()
    assert "32 succeeded" in page.text
    assert "lambda_seg 10" in page.text


def test_trials_stand_best_first_and_those_stopped_early_behind(tmp_path: Path) -> None:
    results, spec = random_results(), random_spec()
    written = write_sweep_report(results, job_id="3f2a", spec=spec, run_path=tmp_path)
    page = Page(written["report.html"])
    rows = re.findall(r'<th scope="row"><code>(trial-\d+)</code>', page.source)
    of = {run.name: run for run in results.runs}
    states = [of[row].state for row in rows]
    ended = [of[row].value or 0 for row in rows if of[row].state is RunState.SUCCEEDED]
    assert rows[0] == results.best
    assert ended == sorted(ended, reverse=True)
    assert states == sorted(states, key=list(RunState).index)
    assert "6 succeeded, 5 stopped early, 1 failed" in page.text


@pytest.mark.parametrize("metric", ["loss/mil", "eval/mean_ap"])
def test_a_sweep_of_which_no_trial_ended_says_so(tmp_path: Path, metric: str) -> None:
    results = random_results().model_copy(update={"best": None, "runs": (), "metric": metric})
    written = write_sweep_report(results, job_id="3f2a", spec=random_spec(), run_path=tmp_path)
    assert set(written) == {"report.html"}
    assert "No trial came to its end" in Page(written["report.html"]).text
