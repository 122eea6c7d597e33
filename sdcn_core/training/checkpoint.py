"""What a run needs to go on as if it had never stopped.

Networks, the optimizers of the stage under way, the global step and the results so far. Schedule, randomness and data
position are functions of the experiment's seed and the step (optimizers.py, seeding.py, data/loaders.py), so the step
holds them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from torch import Tensor

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.errors import CheckpointError
from sdcn_core.models.saved import save_model
from sdcn_core.models.tensor_files import save_durably
from sdcn_core.training.networks import Part

FORMAT_VERSION = 2
FILE_NAME = "checkpoint.pt"


@dataclass(frozen=True)
class Checkpoint:
    config_digest: str
    """of the experiment that wrote it"""
    classes: list[str]
    global_step: int
    """optimizer steps done over all stages"""
    first_step: int
    """the global step at which the run began: 0, or the end of the stage that it took from a store"""
    networks: dict[str, dict[str, Tensor]]
    """the weights of every part"""
    optimizers: dict[str, dict[str, Any]]
    """by player; empty at the end of a stage, for each stage starts with fresh ones"""
    untrained: dict[str, Any] | None
    """the evaluation of the untrained network, once there is one"""


def save_checkpoint(checkpoint: Checkpoint, folder: Path) -> None:
    """Write it whole or not at all: a reader finds the old file or the new one.

    Raises:
        OSError: the disk is full or failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f".{FILE_NAME}.partial"
    fields = {name: getattr(checkpoint, name) for name in checkpoint.__dataclass_fields__}
    save_durably({"format_version": FORMAT_VERSION, **fields}, partial)
    partial.replace(folder / FILE_NAME)


def load_checkpoint(folder: Path, experiment: ExperimentConfig, *, device: torch.device) -> Checkpoint:
    """The checkpoint in the folder.

    Raises:
        CheckpointError: there is none, it is damaged, of another format, or of another experiment.
    """
    path = folder / FILE_NAME
    try:
        content = torch.load(path, map_location=device, weights_only=True)
    except FileNotFoundError:
        raise CheckpointError(
            f"no checkpoint at {path}: start the run anew, or name the folder that holds {FILE_NAME}"
        ) from None
    except (RuntimeError, EOFError, OSError, UnpicklingError, ValueError) as error:
        raise CheckpointError(f"checkpoint {path} cannot be read ({error}): go on from an earlier one") from None
    if not isinstance(content, Mapping) or content.get("format_version") != FORMAT_VERSION:
        raise CheckpointError(
            f"checkpoint {path} is not of format {FORMAT_VERSION}: start the run anew with this version"
        )
    fields = {name: value for name, value in content.items() if name != "format_version"}
    checkpoint = Checkpoint(**fields)
    if checkpoint.config_digest != experiment.digest():
        raise CheckpointError(
            f"checkpoint {path} was written by experiment {checkpoint.config_digest},"
            f" this one is {experiment.digest()}: resume with the configuration that wrote it"
        )
    return checkpoint


def model_from_checkpoint(folder: Path, experiment: ExperimentConfig, path: Path) -> int:
    """Write the checkpoint's f^E, f^D and f^S as a model that `load_model` reads; the step at which it was written.

    Args:
        folder: of the checkpoint.
        experiment: that wrote it.
        path: of the model's file.

    Raises:
        CheckpointError: as `load_checkpoint`.
    """
    checkpoint = load_checkpoint(folder, experiment, device=torch.device("cpu"))
    parts = (part for part in (Part.BACKBONE, Part.DETECTION, Part.SEGMENTATION) if part in checkpoint.networks)
    weights = {f"{part}.{name}": value for part in parts for name, value in checkpoint.networks[part].items()}
    save_model(path, experiment=experiment, classes=checkpoint.classes, weights=weights)
    return checkpoint.global_step
