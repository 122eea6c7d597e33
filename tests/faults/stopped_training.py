"""A training in this very process, as the first attempt of a job: `python -m tests.faults.stopped_training <home>`."""

import sys
from pathlib import Path

from sdcn_core.config.presets import tiny
from sdcn_core.training.preparation import prepare_data
from workers.training.here import train_here
from workers.training.order import TrainingOrder


def run_path_of(home: Path) -> Path:
    return home / "runs" / "0a"


def main(home: Path) -> None:
    run_path = run_path_of(home)
    order = TrainingOrder(
        experiment=tiny().with_overrides(
            {"schedule.loop_steps": 1000, "schedule.decay_at_steps": [900], "evaluation.baselines": False}
        ),
        run_path=run_path,
        attempt=1,
        stop=run_path / "attempt-1" / "stop",
        home=home,
        data_root=home / "data",
        weights_root=home / "weights",
        cpus=1,
        checkpoints_to_keep=2,
    )
    prepare_data(order.experiment, order.roots, processes=1, report=lambda _progress: None)
    train_here(order)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
