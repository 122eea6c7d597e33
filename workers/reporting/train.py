"""The report of a single training."""

from pathlib import Path

from service.jobs.results import Judgement, TrainResults
from service.jobs.second_stage_spec import SecondStageSpec
from service.jobs.train_spec import TrainSpec
from workers.reporting.about import about, artifacts_of
from workers.reporting.charts.error_modes import draw_error_modes
from workers.reporting.charts.precision_recall import draw_precision_recall, read_precision_recall
from workers.reporting.charts.training_curves import draw_training_curves
from workers.reporting.page import picture, write_page
from workers.reporting.series import read_spools

REPORT_FILE = "report.html"


def write_train_report(
    results: TrainResults,
    *,
    job_id: str,
    spec: TrainSpec | SecondStageSpec,
    run_path: Path,
    teacher: Judgement | None = None,
) -> dict[str, Path]:
    """Draw the training's curves and write report.html; what was written, by name, in the run's artifacts:
    training_curves.png, precision_recall.png and error_modes.png (those for which there are numbers), report.html.

    Call it when everything else of the run is written: it shows the pictures and numbers that are there, and leaves
    out what is not.

    Args:
        results: what was found.
        job_id: the job.
        spec: resolved.
        run_path: <home>/runs/<job id>; its spools and artifacts are read.
        teacher: of a second stage, what it is shown beside; None: nothing is known of it, or there is none.
    """
    artifacts = artifacts_of(run_path)
    told = read_spools(run_path)
    trained = results.trained
    curves = artifacts / "training_curves.png"
    precision_recall = artifacts / "precision_recall.png"
    error_modes = artifacts / "error_modes.png"
    found = read_precision_recall(artifacts)
    by_class = {name: shares for name, shares in (trained.error_modes or {}).items() if shares is not None}
    drawn = {
        curves: draw_training_curves(told.series, curves),
        precision_recall: found is not None and draw_precision_recall({"trained": found}, precision_recall),
        error_modes: draw_error_modes({"trained": trained.mean_error_modes or {}}, {"trained": by_class}, error_modes),
    }
    page = artifacts / REPORT_FILE
    baselines = [
        (name, judged)
        for name, judged in (("teacher", teacher), ("untrained", results.untrained), ("chance", results.chance))
        if judged is not None
    ]
    write_page(
        "train.html",
        page,
        {
            "about": about(job_id, spec, spec.config_digest, spec.kind.replace("train", "training"), told),
            "seeds": [spec.resolved_experiment.seed],
            "results": results,
            "baselines": baselines,
            "beside": " and ".join(BASELINES[name] for name, _ in baselines),
            "has_iou": bool(trained.iou),
            "curves": picture(
                curves,
                alt="losses, gradient norms and learning rates over the optimizer steps",
                caption="Over all stages; where points are many, the thick line is their running mean.",
            ),
            "precision_recall": picture(
                precision_recall,
                alt="precision over recall, a panel a class",
                caption="On the test split; beside each class its AP in per cent.",
            ),
            "error_modes": picture(error_modes, alt=ERROR_MODES_ALT, caption=ERROR_MODES_CAPTION),
            "gallery": picture(
                artifacts / "gallery.jpg",
                alt="test images with their objects, detections and segmentation maps",
                caption="Test images, the best and the worst among them.",
            ),
            "detections": picture(
                artifacts / "detections.png", alt="detections on test images", caption="Detections on test images."
            ),
        },
    )
    return {path.name: path for path, there in drawn.items() if there} | {page.name: page}


BASELINES = {
    "teacher": "the detector that taught it",
    "untrained": "the same network before training",
    "chance": "random scores",
}
ERROR_MODES_ALT = "stacked bars: how the best box of each class lies to its objects"
ERROR_MODES_CAPTION = (
    "How the best box of a class lies to the objects of a training image that has it: it is correct (what CorLoc"
    " counts), lies inside an object, contains one, overlaps one too little, or touches none."
)
