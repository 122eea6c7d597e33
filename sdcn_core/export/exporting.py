"""A trained model as files that run elsewhere: a program of torch.export, an ONNX file, and a card about both."""

import hashlib
import importlib.metadata
from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from sdcn_core.errors import SdcnError
from sdcn_core.export.card import (
    CARD_FILE,
    ONNX_FILE,
    TORCH_FILE,
    CheckedFile,
    ModelCard,
    run_onnx_lines,
    run_program_lines,
)
from sdcn_core.export.detector import detector_of
from sdcn_core.export.onnx_model import check_installed, export_onnx, run_onnx
from sdcn_core.export.probe import probe_input
from sdcn_core.export.torch_program import run_program, save_program, trace
from sdcn_core.models.saved import SavedModel, load_model
from sdcn_core.structures.box_deltas import decode_boxes

ONNX_TOLERANCE = 1e-4
"""of a score, and of a regressed box's edge in parts of the image's longer side; another library adds a convolution's
products in another order"""


class ExportFailed(SdcnError):
    """An exported file does not score as the model does; it was not kept."""


def export_model(model_path: Path, folder: Path) -> dict[str, Path]:
    """Write `model.pt2`, `model.onnx` and `model.json` into the folder, which is made when needed.

    Each file is loaded again and run beside the model before it gets its name: the program's scores are equal, those of
    ONNX within ONNX_TOLERANCE, and the card says by how much they differ.

    Args:
        model_path: model.pt of a training.
        folder: files of the same names are replaced.

    Returns:
        The files by name.

    Raises:
        WeightsError: the model cannot be used.
        BadInput: onnx, onnxscript or onnxruntime is not installed, or the weights are too large for an ONNX file.
        ExportFailed: a file does not score as the model does.
    """
    check_installed()
    saved = load_model(model_path)
    folder.mkdir(parents=True, exist_ok=True)
    card = ModelCard.of(saved)
    regresses = saved.experiment.regresses_boxes
    program = trace(detector_of(saved.network))
    torch_file = _checked(
        saved,
        folder / TORCH_FILE,
        write=lambda path: save_program(program, path, notes={CARD_FILE: card.model_dump_json(exclude={"files"})}),
        run=lambda *probe: tuple(said.numpy() for said in run_program(*probe)),
        tolerance=0.0,
        written_with=("torch",),
        lines=run_program_lines(box_regression=regresses),
    )
    onnx_file = _checked(
        saved,
        folder / ONNX_FILE,
        write=lambda path: export_onnx(program, path, properties=card.properties()),
        run=run_onnx,
        tolerance=ONNX_TOLERANCE,
        written_with=("torch", "onnx", "onnxscript", "onnxruntime"),
        lines=run_onnx_lines(box_regression=regresses),
    )
    card = card.model_copy(update={"files": {TORCH_FILE: torch_file, ONNX_FILE: onnx_file}})
    partial = _partial(folder / CARD_FILE)
    partial.write_text(card.model_dump_json(indent=2))
    partial.replace(folder / CARD_FILE)
    return {name: folder / name for name in (TORCH_FILE, ONNX_FILE, CARD_FILE)}


def _checked(
    saved: SavedModel,
    path: Path,
    *,
    write: Callable[[Path], None],
    run: Callable[[Path, Tensor, Tensor], tuple[NDArray[np.float32], ...]],
    tolerance: float,
    written_with: tuple[str, ...],
    lines: tuple[str, ...],
) -> CheckedFile:
    """Write the file under another name, compare its scores with the model's, and give it its own."""
    partial = _partial(path)
    try:
        write(partial)
        image, proposals = probe_input()
        own = _said_by(saved, image, proposals)
        scales = (1, max(image.shape[2:]))  # of scores, and of boxes
        difference = max(
            float(np.abs(said - expected).max() / scale)
            for said, expected, scale in zip(run(partial, image, proposals), own, scales[: len(own)], strict=True)
        )
        if not difference <= tolerance:  # NaN too
            raise ExportFailed(
                f"{path.name} of model {saved.sha256[:12]} scores differently by {difference:.3g}, more than"
                f" {tolerance:.3g}: it was not kept; other versions of torch, onnx or onnxruntime may translate better"
            )
        partial.replace(path)
    finally:
        partial.unlink(missing_ok=True)
    with path.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    versions = ", ".join(f"{name} {importlib.metadata.version(name)}" for name in written_with)
    return CheckedFile(sha256=sha256, largest_difference=difference, written_with=versions, run=lines)


def _said_by(saved: SavedModel, image: Tensor, proposals: Tensor) -> tuple[NDArray[np.float32], ...]:
    """What the model itself says, as exported files do."""
    own = saved.network.detect(image, (proposals,))[0]
    if own.deltas is None:
        return (own.scores.numpy(),)
    return own.scores.numpy(), decode_boxes(proposals, own.deltas).numpy()


def _partial(path: Path) -> Path:
    return path.with_name(f".partial-{path.name}")
