"""A trained model as its file: `model.pt`, which a training leaves. Everything is in it; pretrained weights are not
looked for.
"""

import hashlib
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from sdcn_core.config.experiment import ExperimentConfig
from sdcn_core.config.model import ModelConfig, SmallVggBackbone
from sdcn_core.errors import WeightsError
from sdcn_core.models.build_network import build_network
from sdcn_core.models.detection_network import DetectionNetwork
from sdcn_core.models.pretrained import MAX_BYTES, load_tensors
from sdcn_core.models.tensor_files import save_durably

MODEL_FILE = "model.pt"
"""what a training calls it"""
MAX_CLASSES = 10_000


@dataclass(frozen=True)
class SavedModel:
    network: DetectionNetwork
    """on the CPU, in evaluation mode, without gradients"""
    experiment: ExperimentConfig
    """with which it was trained"""
    classes: tuple[str, ...]
    """names by class index"""
    sha256: str
    """of the file, 64 hex digits"""


def save_model(
    path: Path, *, experiment: ExperimentConfig, classes: Sequence[str], weights: Mapping[str, Tensor]
) -> None:
    """Write a model as `load_model` reads it.

    Args:
        path: of the file.
        experiment: with which it was trained.
        classes: names by class index.
        weights: of f^E, f^D and f^S where there is one, by the names that the network gives them.
    """
    content = {"experiment": experiment.model_dump(mode="json"), "classes": list(classes), "weights": dict(weights)}
    save_durably(content, path)


def load_model(path: Path) -> SavedModel:
    """The model in a file that a training wrote; torch's random numbers stay where they were.

    Raises:
        WeightsError: the file is missing, too large, damaged, no model of ours, or its weights do not fit its
            experiment; the message names the file.
    """
    sha256 = _checked_sum(path)
    content = _read(path)
    experiment = _experiment(content, path)
    classes = _classes(content, path)
    weights = _weights(content, path)
    with torch.random.fork_rng(devices=[]):
        with torch.device("meta"):  # shapes without memory: a file's claims are believed once they fit its tensors
            skeleton = _build(experiment, len(classes))
        _check_names(skeleton, weights, path)
        network = _build(experiment, len(classes))
    load_tensors(network, weights, key_of=str, source=str(path))
    return SavedModel(network.eval().requires_grad_(False), experiment, classes, sha256)


def _build(experiment: ExperimentConfig, num_classes: int) -> DetectionNetwork:
    bare = experiment.model_copy(update={"model": _from_nothing(experiment.model)})
    return build_network(bare, num_classes, weights_root=None)


def _from_nothing(model: ModelConfig) -> ModelConfig:
    """The same networks, without pretrained weights to begin with."""
    if isinstance(model.backbone, SmallVggBackbone):
        return model
    return model.model_copy(update={"backbone": model.backbone.model_copy(update={"weights": None, "frozen": "none"})})


def _checked_sum(path: Path) -> str:
    """The file's sha256; refuses what is no archive of torch's, or unpacks to too much."""
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            if size > MAX_BYTES:
                raise WeightsError(f"model {path} has {size} bytes, more than the {MAX_BYTES} that are accepted")
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
    except zipfile.BadZipFile:
        raise _foreign(path, "it is no archive of torch's, or is cut off") from None
    except OSError as error:
        raise WeightsError(
            f"model {path} cannot be read ({error.strerror}): name the {path.name} of a training that succeeded"
        ) from None
    if unpacked > MAX_BYTES:
        raise WeightsError(f"model {path} unpacks to {unpacked} bytes, more than the {MAX_BYTES} that are accepted")
    return sha256


def _read(path: Path) -> Mapping[str, Any]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception:  # whatever torch's unpickler stumbles over, the file is at fault
        raise _foreign(path, "it cannot be read without running code from it, or is damaged") from None
    if not isinstance(content, Mapping) or not {"experiment", "classes", "weights"} <= content.keys():
        raise _foreign(path, "it lacks the experiment, the classes or the weights")
    return content


def _experiment(content: Mapping[str, Any], path: Path) -> ExperimentConfig:
    try:
        return ExperimentConfig.model_validate(content["experiment"])
    except ValidationError as error:
        first = error.errors()[0]
        field = ".".join(map(str, first["loc"]))
        raise _foreign(path, f"this version does not know its experiment ({field}: {first['msg']})") from None


def _classes(content: Mapping[str, Any], path: Path) -> tuple[str, ...]:
    classes = content["classes"]
    if (
        not isinstance(classes, list)
        or not 0 < len(classes) <= MAX_CLASSES
        or not all(isinstance(name, str) and name for name in classes)
        or len(set(classes)) < len(classes)
    ):
        raise _foreign(path, "its classes are not a list of different names")
    return tuple(classes)


def _weights(content: Mapping[str, Any], path: Path) -> dict[str, Tensor]:
    weights = content["weights"]
    if not isinstance(weights, Mapping) or not all(isinstance(value, Tensor) for value in weights.values()):
        raise _foreign(path, "its weights are not tensors by name")
    return dict(weights)


def _check_names(skeleton: DetectionNetwork, weights: Mapping[str, Tensor], path: Path) -> None:
    wanted = {name: tuple(tensor.shape) for name, tensor in skeleton.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if wanted != found:
        name = min(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))
        raise _foreign(
            path, f"its weights do not fit its experiment: {name} is {found.get(name)} instead of {wanted.get(name)}"
        )


def _foreign(path: Path, reason: str) -> WeightsError:
    return WeightsError(f"model {path} cannot be used: {reason}; name the model.pt of a training that succeeded")
