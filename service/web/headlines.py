"""What a job found, as one line."""

from pydantic import ValidationError

from service.jobs.any_results import AnyResults, parse_results
from service.jobs.data_results import CheckDataResults
from service.jobs.results import Judgement, TrainResults
from service.jobs.second_stage_results import SecondStageResults
from service.jobs.study_results import AblationResults, EvaluateResults, PredictResults, SweepResults
from service.queue.records import Job
from service.web.text import counted, number, percent


def read_results(job: Job) -> AnyResults | None:
    """The job's results as their model; None where there are none, or where another version wrote them."""
    try:
        return None if job.results is None else parse_results(job.results)
    except ValidationError:
        return None


def headline(job: Job) -> str:
    """The number a person looks for first; empty where there is none."""
    results = read_results(job)
    match results:
        case TrainResults():
            return means(results.trained)
        case AblationResults():
            return " · ".join(
                f"{row.variant} {percent(spread.mean)}"
                for row in results.rows[:4]
                if (spread := row.measures.get("mean_ap") or row.measures.get("mean_classification_ap")) is not None
            )
        case SweepResults():
            best = next((run.value for run in results.runs if run.name == results.best), None)
            return f"best {metric_name(results.metric)} {metric_value(results.metric, best)}"
        case EvaluateResults():
            found = means(results.judgement)
            return found if results.checkpoint is None else f"{found} at step {results.checkpoint}"
        case SecondStageResults():
            boxes = sum(results.pseudo_labels.boxes.values())
            if results.student is None:
                return f"{boxes} pseudo labels in {results.pseudo_labels.images} images"
            found = means(results.student.trained)
            return found if results.teacher is None else f"{found} · teacher {percent(results.teacher.mean_ap)} mAP"
        case PredictResults():
            return f"{results.boxes} boxes in {results.images} images"
        case CheckDataResults():
            if results.problems:
                return f"refused: {counted(len(results.problems), 'problem')}"
            images = " · ".join(f"{split.name} {split.images}" for split in results.splits[:4])
            return f"{counted(len(results.classes), 'class', 'classes')} · {images}"
        case None:
            return ""


def means(judgement: Judgement) -> str:
    """The means that could be counted; where boxes are unknown it says so."""
    shown = [
        f"{percent(judgement.mean_of(measure))} {title.replace('AP', 'mAP')}"
        for measure, title in judgement.shown_measures().items()
    ]
    return " · ".join([*shown, *(["no boxes"] if judgement.without_boxes else [])])


def is_share(metric: str) -> bool:
    """Whether the metric lies in [0, 1] and is read in per cent."""
    return metric.startswith(("eval/", "untrained/", "chance/", "teacher/"))


def metric_name(metric: str) -> str:
    """As the paper writes it, where it does.

    >>> metric_name("eval/mean_ap"), metric_name("loss/mil")
    ('mAP', 'loss/mil')
    """
    return {
        "eval/mean_ap": "mAP",
        "eval/mean_classification_ap": "classification mAP",
        "eval/mean_corloc": "CorLoc",
        "eval/mean_iou": "mIoU",
    }.get(metric, metric)


def metric_value(metric: str, value: float | None) -> str:
    return percent(value) if is_share(metric) else number(value)
