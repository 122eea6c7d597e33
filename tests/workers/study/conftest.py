"""Runs of a study in this very process: the preset `tiny`, a few steps of each stage."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.presets import tiny
from sdcn_core.data.datasets import DataRoots
from sdcn_core.training.preparation import prepare_data
from workers.training.order import RunOrder

SHORT = {
    "evaluation.baselines": False,
    "schedule.backbone.steps": 2,
    "schedule.classifier.steps": 2,
    "schedule.apart_steps": 2,
    "schedule.decay_at_steps": [],
    "schedule.report_every_steps": 1,
    "schedule.checkpoint_every_steps": 2,
}


@pytest.fixture(scope="session")
def prepared_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home whose cache has the scenes and proposals of `tiny`."""
    home = tmp_path_factory.mktemp("home")
    roots = DataRoots(data=home, cache=home / "cache")
    prepare_data(tiny(), roots, processes=1, report=lambda _: None)
    return home


@pytest.fixture(autouse=True)
def _threads() -> Iterator[None]:
    """A training sets the threads of its process, which here is pytest's."""
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


@pytest.fixture
def experiment() -> ExperimentConfig:
    return tiny().with_overrides(SHORT)


@pytest.fixture
def ordered(prepared_home: Path, tmp_path: Path, experiment: ExperimentConfig) -> Callable[..., RunOrder]:
    def make(name: str = "sdcn", **changes: object) -> RunOrder:
        order = RunOrder(
            experiment=experiment,
            run_path=tmp_path / "runs" / name,
            attempt=1,
            stop=tmp_path / "stop",
            home=prepared_home,
            data_root=prepared_home,
            weights_root=prepared_home,
            cpus=1,
            checkpoints_to_keep=2,
            name=name,
            variant=name,
            seed=0,
            overrides={"seed": 0},
        )
        return order.model_copy(update=changes)

    return make
