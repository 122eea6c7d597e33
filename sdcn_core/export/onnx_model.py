"""`model.onnx`: the detector in standard operators of ONNX, one file. Nothing else in the package needs onnx.

RoI max pooling becomes MaxRoiPool. Its boxes include their last pixel and ours do not, so it is given x2 - 1, y2 - 1;
its cells, bins and rounding (halves away from zero) are then ours bit for bit.
"""

import importlib
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.export import ExportedProgram

from sdcn_core.errors import BadInput

OPSET = 20
INPUTS = ("image", "proposals")
OUTPUTS = ("scores", "boxes")
"""boxes of a detector that regresses them"""
MAX_BYTES = 2**31 - 2**20
"""of one protobuf message, less room for the graph"""


def check_installed() -> None:
    """See that all packages are there, before work is done that would be lost.

    Raises:
        BadInput: one is not; the message says what to install.
    """
    for name in ("onnx", "onnxscript", "onnxruntime"):
        _package(name)


def export_onnx(program: ExportedProgram, path: Path, *, properties: Mapping[str, str]) -> None:
    """Translate the program, check it by onnx's own checker, and write it.

    Args:
        program: from `trace`.
        path: of the file; weights are inside.
        properties: texts that the file carries as `metadata_props`.

    Raises:
        BadInput: onnx or onnxscript is not installed, or the weights are too large for one file.
    """
    onnx, onnxscript = _package("onnx"), _package("onnxscript")
    weights = sum(tensor.numel() * tensor.element_size() for tensor in program.state_dict.values())
    if weights > MAX_BYTES:
        raise BadInput(f"the weights have {weights} bytes, and one ONNX file holds {MAX_BYTES}: use model.pt2")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # the exporter's own use of torch's pytree
        translated = torch.onnx.export(
            program,
            dynamo=True,
            opset_version=OPSET,
            custom_translation_table={torch.ops.sdcn.roi_max_pool.default: _max_roi_pool(onnxscript)},
            input_names=INPUTS,
            output_names=OUTPUTS[: len(program.graph_signature.user_outputs)],
            verbose=False,
        )
    assert translated is not None  # None is for other exporters
    image, proposals = translated.model.graph.inputs
    axes: dict[Any, str] = {_axis(image, 2): "height", _axis(image, 3): "width", _axis(proposals, 0): "proposals"}
    translated.rename_axes(axes)
    translated.model.metadata_props.update(properties)
    model = translated.model_proto
    onnx.checker.check_model(model, full_check=True)
    onnx.save_model(model, path, save_as_external_data=False)


def run_onnx(path: Path, image: Tensor, proposals: Tensor) -> tuple[NDArray[np.float32], ...]:
    """Scores (N, C), and boxes (N, C, 4) of a detector that regresses them, by onnxruntime on the CPU.

    Raises:
        BadInput: onnxruntime is not installed.
    """
    runtime = _package("onnxruntime")
    session = runtime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return tuple(session.run(None, dict(zip(INPUTS, (image.numpy(), proposals.numpy()), strict=True))))


def _max_roi_pool(onnxscript: Any) -> Any:  # noqa: ANN401  onnxscript is optional, so are its types
    op = onnxscript.values.Opset("", OPSET)

    def translate(features: Any, boxes: Any, stride: int, grid: int) -> Any:  # noqa: ANN401
        corners = op.Sub(boxes, op.Constant(value_floats=[0.0, 0.0, 1.0, 1.0]))
        rois = op.Pad(corners, op.Constant(value_ints=[0, 1, 0, 0]))  # (N, 5): the first column is the image, 0
        return op.MaxRoiPool(features, rois, pooled_shape=[grid, grid], spatial_scale=1 / stride)

    return translate


def _axis(value: Any, index: int) -> str:  # noqa: ANN401
    """Torch's name of a dimension that may vary."""
    return str(value.shape[index])


def _package(name: str) -> Any:  # noqa: ANN401  a module
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise BadInput(
            f"ONNX files need the package {name} ({error}): pip install 'sdcn[export]', or onnx, onnxscript and"
            " onnxruntime"
        ) from error
