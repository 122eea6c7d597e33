"""ImageNet weights from a file into a network: bounded, without pickle, checked by sum, name and shape.

Three kinds of file: `.npz` (arrays `<layer>.w`, `<layer>.b`), `.pth` or `.pt` (a dictionary of tensors, or a
checkpoint that holds one as `state_dict` or `model`), and `.caffemodel` as Caffe writes it.
"""

import hashlib
import zipfile
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from sdcn_core.config.model import WeightsFile
from sdcn_core.errors import WeightsError
from sdcn_core.models.caffemodel import tensors_of
from sdcn_core.models.initialization import init_he
from sdcn_core.structures.confined import leads_out

KeyOf = Callable[[str], str]
"""a name in a module's state_dict() -> the name in a file"""

MAX_BYTES = 4 * 2**30
"""larger files, or archives that unpack to more, are refused unread; VGG16 is 0.5 GiB"""


def read_weights(weights: WeightsFile, weights_root: Path | None) -> dict[str, Tensor]:
    """The tensors of a weights file by their names in the file, on the CPU.

    Raises:
        WeightsError: no root is configured, or the file is missing, too large, has another sum, or is no such file.
    """
    if weights_root is None:
        raise WeightsError(
            f"weights {weights.path!r} are asked for, but no weights root is configured: set one, or weights to null"
        )
    path = weights_root / weights.path  # `weights.path` cannot leave the root: RelativePath
    if leads_out(path, weights_root):
        raise WeightsError(
            f"weights.path: {path} is a link that leads out of the weights root {weights_root}: put the file itself"
            " there"
        )
    if not path.is_file():
        raise WeightsError(
            f"weights file {path} does not exist: put it there, or correct weights.path ({weights.path!r})"
        )
    if path.stat().st_size > MAX_BYTES:
        raise WeightsError(
            f"weights file {path} has {path.stat().st_size} bytes, more than the {MAX_BYTES} that are accepted"
        )
    _check_sum(path, weights.sha256)
    match path.suffix:
        case ".npz":
            return _read_npz(path)
        case ".pth" | ".pt":
            return _read_torch(path)
        case ".caffemodel":
            return _read_caffe(path)
        case suffix:
            raise WeightsError(f"weights file {path} ends in {suffix!r}: only .npz, .pth, .pt and .caffemodel are read")


def load_tensors(module: nn.Module, tensors: Mapping[str, Tensor], *, key_of: KeyOf, source: str) -> None:
    """Copy into every parameter and buffer of `module` the tensor named `key_of(its name)`; others are ignored.

    Args:
        module: what is filled, whole or not at all.
        tensors: from `read_weights`.
        key_of: a name in `module.state_dict()` -> the name in the file.
        source: the file, for messages.

    Raises:
        WeightsError: a tensor is missing, has another shape, or holds a number that is not finite; the first is named.
    """
    own = module.state_dict()
    for name, target in own.items():
        key, wanted = key_of(name), tuple(target.shape)
        if key not in tensors:
            raise WeightsError(
                f"weights file {source} has no {key!r} of shape {wanted}: it is of another architecture; name another"
                " file"
            )
        found = tuple(tensors[key].shape)
        if found != wanted:
            raise WeightsError(
                f"weights file {source}: {key!r} has shape {found} instead of {wanted}: it is of another architecture;"
                " name another file"
            )
        if not torch.isfinite(tensors[key]).all():
            raise WeightsError(f"weights file {source}: {key!r} holds numbers that are not finite; fetch it again")
    with torch.no_grad():
        for name, target in own.items():
            target.copy_(tensors[key_of(name)])


def recognized_keys(tensors: Mapping[str, Tensor], names: Iterable[str], layouts: Sequence[KeyOf]) -> KeyOf:
    """The layout under which a file has most of `names`, behind one prefix of any kind (`module.`, `resnet.`), or none.

    Where the file fits none, one comes back all the same, and `load_tensors` says what is missing.

    Args:
        tensors: from `read_weights`.
        names: in the state_dict() of what is to be filled.
        layouts: that are known; the first in a tie.
    """
    names = tuple(names)
    found: Counter[tuple[str, int]] = Counter({("", 0): 0})
    for place, layout in enumerate(layouts):
        keys = {layout(name) for name in names}
        for full in tensors:
            parts = full.split(".")
            for cut in range(len(parts)):
                if ".".join(parts[cut:]) in keys:
                    found["".join(f"{part}." for part in parts[:cut]), place] += 1
    # The shorter prefix in a tie: a checkpoint may hold a second copy of the network.
    prefix, place = min(found, key=lambda candidate: (-found[candidate], len(candidate[0]), candidate[1]))
    return lambda name: prefix + layouts[place](name)


def fill_parts(
    parts: Sequence[nn.Module],
    weights: WeightsFile | None,
    weights_root: Path | None,
    *,
    layouts: Sequence[KeyOf],
    bgr_layer: str | None = None,
) -> None:
    """Fill all parts from one file; at random (He et al.) where none is named.

    Args:
        parts: of one network.
        weights: the file.
        weights_root: the folder that it is below.
        layouts: as for `recognized_keys`.
        bgr_layer: the name of the first layer's weights, where the file's are for BGR images; None: for RGB ones.

    Raises:
        WeightsError: the weights cannot be had.
    """
    if weights is None:
        for part in parts:
            init_he(part)
        return
    tensors = read_weights(weights, weights_root)
    key_of = recognized_keys(tensors, [name for part in parts for name in part.state_dict()], layouts)
    if bgr_layer is not None:
        tensors = first_layer_to_rgb(tensors, key_of(bgr_layer))
    for part in parts:
        load_tensors(part, tensors, key_of=key_of, source=weights.path)


def npz_key(name: str) -> str:
    """`fire2.squeeze.weight` -> `fire2.squeeze.w`."""
    layer, kind = name.rsplit(".", 1)
    return f"{layer}.{kind[0]}"


def first_layer_to_rgb(tensors: Mapping[str, Tensor], key: str) -> dict[str, Tensor]:
    """The same weights for RGB images, where those of the first layer, `key`, (D, 3, k, k), are for BGR ones."""
    if key not in tensors or tensors[key].dim() != 4:  # `load_tensors` will say so
        return dict(tensors)
    return {**tensors, key: tensors[key].flip(1)}


def _check_sum(path: Path, expected: str | None) -> None:
    if expected is None:
        return
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != expected:
        raise WeightsError(
            f"weights file {path} has sha256 {found}, not {expected}: fetch it again, or correct weights.sha256"
        )


def _read_npz(path: Path) -> dict[str, Tensor]:
    try:
        with zipfile.ZipFile(path) as archive:
            unpacked = sum(entry.file_size for entry in archive.infolist())
        if unpacked > MAX_BYTES:
            raise WeightsError(
                f"weights file {path} unpacks to {unpacked} bytes, more than the {MAX_BYTES} that are accepted"
            )
        with np.load(path, allow_pickle=False) as arrays:
            read = {key: arrays[key] for key in arrays.files}
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise WeightsError(f"weights file {path} cannot be read as .npz ({error}): fetch it again") from error
    # Files carry a text beside the weights that says where they come from.
    return {key: torch.from_numpy(array) for key, array in read.items() if np.issubdtype(array.dtype, np.floating)}


def _read_caffe(path: Path) -> dict[str, Tensor]:
    try:
        return tensors_of(path.read_bytes())
    except ImportError as error:
        raise WeightsError(f"weights file {path}: to read .caffemodel, install protobuf") from error
    except ValueError as error:
        raise WeightsError(f"weights file {path} cannot be read as .caffemodel ({error}): fetch it again") from error


def _read_torch(path: Path) -> dict[str, Tensor]:
    try:
        read = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever torch's unpickler stumbles over, the file is at fault
        raise WeightsError(f"weights file {path} cannot be read as a dictionary of tensors: fetch it again") from error
    if not isinstance(read, dict):
        raise WeightsError(
            f"weights file {path} holds a {type(read).__name__}, not a dictionary of tensors: name another file"
        )
    read = next((read[name] for name in ("state_dict", "model") if isinstance(read.get(name), dict)), read)
    # Counters of batches are no weights.
    return {str(key): value for key, value in read.items() if isinstance(value, Tensor) and value.is_floating_point()}
