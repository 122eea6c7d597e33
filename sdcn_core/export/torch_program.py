"""`model.pt2`: the detector as a program of torch.export."""

import warnings
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor
from torch.export import Dim, ExportedProgram

from sdcn_core.export.detector import Detector
from sdcn_core.export.probe import probe_input


def trace(detector: Detector) -> ExportedProgram:
    """The detector's program, for images of any size over one cell of the map a side, and any number of proposals.

    An image of a single cell a side or less takes another way through torch's pooling, which a program cannot hold.
    """
    dynamic = ({2: Dim.DYNAMIC, 3: Dim.DYNAMIC}, {0: Dim.DYNAMIC})
    with torch.no_grad():
        program = torch.export.export(detector, probe_input(), dynamic_shapes=dynamic)
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # where this package lies on this machine is nobody's business
    return program


def save_program(program: ExportedProgram, path: Path, *, notes: Mapping[str, str]) -> None:
    """Write the program; `notes` are texts that lie beside it in the archive, by file name."""
    with warnings.catch_warnings():
        # Weights that are laid out channels-last count as views of their memory; they are whole all the same.
        warnings.filterwarnings("ignore", message="No complete tensor found in the group")
        torch.export.save(program, path, extra_files=dict(notes))


def run_program(path: Path, image: Tensor, proposals: Tensor) -> tuple[Tensor, ...]:
    """Scores (N, C), and boxes (N, C, 4) of a detector that regresses them, by the program in the file."""
    said: Tensor | tuple[Tensor, ...] = torch.export.load(path).module()(image, proposals)
    return (said,) if isinstance(said, Tensor) else said
