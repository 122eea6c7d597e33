"""The report of a single training."""

from pathlib import Path

from service.jobs.results import TrainResults
from service.jobs.train_spec import TrainSpec


def write_train_report(results: TrainResults, *, job_id: str, spec: TrainSpec, run_path: Path) -> dict[str, Path]:
    """Draw the training's curves and write report.html; what was written, by name, in the run's artifacts.

    Call it when everything else of the run is written: it shows the pictures and numbers that are there, and leaves
    out what is not.

    Args:
        results: what was found.
        job_id: the job.
        spec: resolved.
        run_path: <home>/runs/<job id>; its spools and artifacts are read.
    """
    return {}
