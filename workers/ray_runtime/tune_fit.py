"""One attempt at a sweep's trials on Ray Tune, from the driver's side. Every attempt builds its Tuner afresh."""

import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ray import tune

from workers.ray_runtime.tune_adapters import RUN, Desk, DeskCallback, DeskScheduler, DeskSearcher, Quiet

EXPERIMENT = "trials"

ENVIRONMENT = {
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # results lie in the runs' own folders
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # the last report of a trial names no metric
    "TUNE_GLOBAL_CHECKPOINT_S": "86400",  # nobody restores Tune's state
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
    "TUNE_WARN_THRESHOLD_S": "10",
    "RAY_AIR_NEW_OUTPUT": "0",  # with Quiet the only way to a silent Tune
}


def run_trials(
    desk: Desk,
    trainable: Any,  # noqa: ANN401 - a function of a trial's configuration, with Tune's resources
    *,
    most: int,
    concurrent: int,
    alone: bool,
    storage: Path,
    tick: Callable[[], None],
) -> None:
    """Train what the desk has until it has no more. On the main thread: an interrupt ends it early.

    Args:
        desk: hands out runs and hears of their ends.
        trainable: trains the run that its configuration names.
        most: times that the desk may hand out a run.
        concurrent: trials side by side.
        alone: whether a trial's process trains by itself, not as the driver of a group. Then it may be ended at any
            moment, and trains one trial after another, which saves seconds a trial.
        storage: a folder for Tune's own files, which nobody reads again.
        tick: called several times a second.

    Raises:
        OSError: the desk could not write.
        TuneError: Tune itself failed.
    """
    os.environ.update(ENVIRONMENT, TUNE_MAX_PENDING_TRIALS_PG=str(concurrent))
    logging.getLogger("ray.tune").setLevel(logging.ERROR)  # it warns that results it was told not to write are missing
    callback = DeskCallback(desk, tick)
    tuner = tune.Tuner(
        trainable,
        tune_config=tune.TuneConfig(
            search_alg=DeskSearcher(desk, concurrent),
            scheduler=DeskScheduler(desk, ends_processes=alone),
            num_samples=most,
            trial_name_creator=_name_of,
            trial_dirname_creator=_name_of,
            reuse_actors=alone,
        ),
        run_config=tune.RunConfig(
            name=EXPERIMENT,
            storage_path=str(storage),
            callbacks=[callback, Quiet()],
            failure_config=tune.FailureConfig(max_failures=0),
            verbose=0,
        ),
    )
    tuner.fit()
    if callback.broken is not None:
        raise callback.broken


def _name_of(trial: Any) -> str:  # noqa: ANN401 - Tune's Trial
    return str(trial.config[RUN])
