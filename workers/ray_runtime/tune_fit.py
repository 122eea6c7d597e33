"""One attempt at a sweep's trials on Ray Tune, from the driver's side. Every attempt builds its Tuner afresh."""

import logging
import os
from pathlib import Path
from typing import Any

from ray import tune

from workers.ray_runtime.tune_adapters import RUN, Desk, DeskCallback, DeskScheduler, DeskSearcher

EXPERIMENT = "trials"

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # results lie in the runs' own folders
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # the last report of a trial names no metric
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # nobody restores Tune's state
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "10",
    "RAY_AIR_NEW_OUTPUT": "0",
}


def run_trials(
    desk: Desk,
    trainable: Any,  # noqa: ANN401 - a function of a trial's configuration, with Tune's resources
    *,
    most: int,
    concurrent: int,
    storage: Path,
) -> None:
    """Train what the desk has until it has no more. On the main thread: an interrupt ends it early.

    Args:
        desk: hands out runs and hears of their ends.
        trainable: trains the run that its configuration names.
        most: runs that the desk may hand out.
        concurrent: trials side by side.
        storage: a folder for Tune's own files, which nobody reads again.
    """
    os.environ.update(ENVIRONMENT)
    logging.getLogger("ray.tune").setLevel(logging.ERROR)  # it warns that results it was told not to write are missing
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=DeskSearcher(desk),
            scheduler=DeskScheduler(desk),
            num_samples=most,
            max_concurrent_trials=concurrent,
            trial_name_creator=_name_of,
            trial_dirname_creator=_name_of,
        ),
        run_config=tune.RunConfig(
            name=EXPERIMENT,
            storage_path=str(storage),
            callbacks=[DeskCallback(desk)],
            failure_config=tune.FailureConfig(max_failures=0),
            verbose=0,
        ),
    )
    tuner.fit()


def _name_of(trial: Any) -> str:  # noqa: ANN401 - Tune's Trial
    return str(trial.config[RUN])
