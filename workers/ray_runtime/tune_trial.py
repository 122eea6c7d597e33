"""A trial of a sweep on Tune: one run of a study in a Tune actor."""

import os
from typing import Any

from ray import tune

from sdcn_core.training.progress import TrainingReport
from service.jobs.states import FailureReason
from workers.attempt_logging import log_attempt
from workers.errors import AttemptStopped, ClusterUnavailable, TrainingProcessLost
from workers.ray_runtime.resources import Share
from workers.ray_runtime.tune_adapters import ORDER, STEP, VALUE
from workers.study.run import run_study_run
from workers.study.run_folder import StudyRunFolder
from workers.training.order import RunOrder

DRIVER = {"memory": 1.0}
"""of a trial with several workers, in bytes: Tune wants a trial to hold something, and a CPU, even a hundredth of one,
could be what the trial's own workers wait for"""

UNWIND_TIMEOUT_S = 60
"""within which a training that was stopped early must leave its process to the next trial; Tune's 2 s are few on a busy
machine"""


def trainable(share: Share, metric: str | None) -> Any:  # noqa: ANN401 - a function with Tune's resources
    """What Tune runs for each trial. Called where Ray's settings are in the environment.

    Args:
        share: what each of the trial's processes gets. A single one trains inside the trial itself.
        metric: what is reported to Tune for early stopping; None: nothing.
    """
    # A group of Ray Train reads its settings where it is driven from; a shared cluster's processes do not have ours.
    settings = {name: value for name, value in os.environ.items() if name.startswith("RAY_TRAIN_")}

    def train(config: dict[str, Any]) -> None:
        os.environ.update(settings)
        _train(RunOrder.model_validate_json(config[ORDER]), metric)

    alone = {"CPU": float(share.cpus)} | ({"GPU": float(share.gpus)} if share.gpus else {})
    return tune.with_resources(train, tune.PlacementGroupFactory([alone if share.num_workers == 1 else DRIVER]))


def _train(order: RunOrder, metric: str | None) -> None:
    def report(training: TrainingReport) -> bool:
        value = None if metric is None else training.metrics.get(metric)
        if value is not None:
            tune.report({STEP: training.global_step, VALUE: value})  # waits for the verdict; a stop ends the process
        # The driver of a group is not ended, or the group would keep its CPUs: it finds its end written down.
        return order.num_workers > 1 and StudyRunFolder(order.run_path).read_found() is not None

    os.environ["TUNE_FUNCTION_THREAD_TIMEOUT_S"] = str(UNWIND_TIMEOUT_S)
    log_attempt(order.job_id, order.attempt, run=order.name)
    try:
        found = run_study_run(order, on_report=None if metric is None else report)
    except AttemptStopped:
        return
    if found.failure is not None and found.failure.reason.is_retryable:
        lost = found.failure.reason is FailureReason.LOST_WORKER
        raise (TrainingProcessLost if lost else ClusterUnavailable)(found.failure.message)
