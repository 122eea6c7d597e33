"""The reports of ablations and sweeps."""

from pathlib import Path

from service.jobs.ablation_spec import AblationSpec
from service.jobs.study_results import AblationResults, SweepResults
from service.jobs.sweep_spec import SweepSpec


def write_ablation_report(
    results: AblationResults, *, job_id: str, spec: AblationSpec, run_path: Path
) -> dict[str, Path]:
    """Draw an ablation's bars, error modes and precision-recall curves and write report.html; what was written, by
    name, in the job's artifacts: bars.png, error_modes.png, precision_recall.png (those for which there are numbers)
    and report.html.

    Call it last: it shows the job's comparison.jpg where that is there.

    Args:
        results: what was found.
        job_id: the job.
        spec: resolved.
        run_path: <home>/runs/<job id>; the artifacts of its runs are read.
    """
    return {}


def write_sweep_report(results: SweepResults, *, job_id: str, spec: SweepSpec, run_path: Path) -> dict[str, Path]:
    """Draw a sweep's curves and write report.html; what was written, by name, in the job's artifacts: curves.png
    (where there are curves) and report.html.

    Args:
        results: what was found.
        job_id: the job.
        spec: resolved.
        run_path: <home>/runs/<job id>; the artifacts of its runs are read.
    """
    return {}
