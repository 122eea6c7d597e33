import pickle
from pathlib import Path

import pytest
import torch

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.errors import CheckpointError
from sdcn_core.models.saved import load_model
from sdcn_core.training.checkpoint import (
    FILE_NAME,
    Checkpoint,
    load_checkpoint,
    model_from_checkpoint,
    save_checkpoint,
)
from tests.sdcn_core.training.small import small_experiment, small_networks

EXPERIMENT = small_experiment()
OICR = small_experiment(
    **{
        "objective.segmentation_branch": False,
        "objective.segmentation_instructs_detection": False,
        "objective.detection_instructs_segmentation": False,
    }
)
CPU = torch.device("cpu")


def written(folder: Path) -> Checkpoint:
    checkpoint = Checkpoint(
        config_digest=EXPERIMENT.digest(),
        classes=["cat", "dog"],
        global_step=7,
        first_step=4,
        networks=small_networks(EXPERIMENT).weights(),
        optimizers={},
        untrained={"mean_ap": 0.01},
    )
    save_checkpoint(checkpoint, folder)
    return checkpoint


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    saved, loaded = written(tmp_path), load_checkpoint(tmp_path, EXPERIMENT, device=CPU)
    assert (loaded.global_step, loaded.classes, loaded.untrained) == (7, ["cat", "dog"], {"mean_ap": 0.01})
    for module, state in saved.networks.items():
        for name, value in state.items():
            assert torch.equal(loaded.networks[module][name], value)


def test_a_checkpoint_of_another_experiment_is_refused(tmp_path: Path) -> None:
    written(tmp_path)
    with pytest.raises(CheckpointError, match="resume with the configuration that wrote it"):
        load_checkpoint(tmp_path, small_experiment(**{"objective.tau_0": 0.4}), device=CPU)


@pytest.mark.parametrize("experiment", [EXPERIMENT, OICR], ids=["sdcn", "oicr"])
def test_a_checkpoint_becomes_a_model_without_what_only_training_needs(
    experiment: ExperimentConfig, tmp_path: Path
) -> None:
    networks = small_networks(experiment)
    classes = [f"class-{k}" for k in range(networks.sdcn.num_classes)]
    save_checkpoint(Checkpoint(experiment.digest(), classes, 7, 0, networks.weights(), {}, None), tmp_path)
    assert model_from_checkpoint(tmp_path, experiment, tmp_path / "model.pt") == 7
    saved = load_model(tmp_path / "model.pt")
    assert (saved.experiment, saved.classes) == (experiment, tuple(classes))
    own, kept = networks.sdcn.state_dict(), saved.network.state_dict()
    assert own.keys() == kept.keys()
    assert all(torch.equal(own[name], kept[name]) for name in own)


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"no checkpoint at .*checkpoint\.pt"):
        load_checkpoint(tmp_path, EXPERIMENT, device=CPU)


def test_half_a_file_is_refused_in_a_sentence(tmp_path: Path) -> None:
    written(tmp_path)
    path = tmp_path / FILE_NAME
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path, EXPERIMENT, device=CPU)


class Malice:
    """Runs when unpickled."""

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (Path.touch, (Path("/nonexistent/never"),))


def test_a_pickle_that_runs_code_is_refused_unread(tmp_path: Path) -> None:
    (tmp_path / FILE_NAME).write_bytes(pickle.dumps(Malice(), protocol=2))
    with pytest.raises(CheckpointError, match="cannot be read"):
        load_checkpoint(tmp_path, EXPERIMENT, device=CPU)
