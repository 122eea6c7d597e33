"""One run of a study, from start to found.json, in the process of a Ray task or trial."""

from collections.abc import Callable

from sdcn_core.training.progress import TrainingReport
from service.jobs.study_results import RunFound
from workers.training.order import RunOrder


def run_study_run(order: RunOrder, *, on_report: Callable[[TrainingReport], bool] | None = None) -> RunFound:
    """Train the run and judge it, from its newest checkpoint where there is one; one that has ended is not trained
    again.

    With one worker it trains in this process; with several it drives a group of Ray Train, whose processes hold the
    CPUs and GPUs.

    Args:
        order: the run.
        on_report: called with every report of the training (metrics, progress and step; of several workers a moment
            later, from another thread). True ends the run early. It is not asked while the run is judged.

    Returns:
        How it ended, and found.json says the same, with one exception: a failure for a passing reason
        (`failure.reason.is_retryable`) is not written down, for the caller may try again, or write it.

    Raises:
        AttemptStopped: it was asked to stop, and did so at a checkpoint. There is no found.json.
    """
    raise NotImplementedError
