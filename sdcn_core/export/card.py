"""`model.json`: all that somebody must know who runs an exported model without this package."""

import json
from typing import Literal

from pydantic import BaseModel, ConfigDict

from sdcn_core.config.data import SelectiveSearchConfig, search_of_new_images
from sdcn_core.config.evaluation import SEARCH_SIDE_PX, EvaluationConfig
from sdcn_core.evaluation.inference import search_side
from sdcn_core.models.pixel_norm import PixelNorm
from sdcn_core.models.saved import SavedModel

TORCH_FILE = "model.pt2"
ONNX_FILE = "model.onnx"
CARD_FILE = "model.json"


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)


class Contract(_Part):
    """What goes in and comes out, the same for both files."""

    image: str = (
        "float32 (1, 3, height, width): RGB, 0 to 255, scaled to a test size; the mean is taken off inside the network"
    )
    proposals: str = (
        "float32 (N, 4), N >= 1: x1, y1, x2, y2 in pixels of the image as given, half-open: a box holds the pixels"
        " x1 <= x < x2"
    )
    scores: str = "float32 (N, C) in [0, 1], columns in the order of `classes`, no background"
    boxes: str | None = None
    """a second output; null: there is none, the boxes are the proposals"""
    program_min_side_px: int
    """shortest side of an image that model.pt2 takes; model.onnx takes any"""


class Normalisation(_Part):
    """What the network itself does with an image: (image - mean) / deviation."""

    inside: Literal[True] = True
    mean: tuple[float, float, float]
    """of R, G, B, in [0, 255]"""
    deviation: tuple[float, float, float]


class Testing(_Part):
    """How the model was judged; the scores of an image's passes are averaged before suppression, and so are the
    moves of regressed boxes.
    """

    scales_px: tuple[int, ...] | None
    """one pass at each; null: one at the image's own size"""
    side: Literal["shortest", "longest"]
    """which side of the image gets the scale"""
    max_side_px: int
    """the longest side is never larger than this after scaling"""
    search_side_px: int | None
    """larger images are searched for proposals at this longest side, if `proposals` does not name a smaller one; null:
    at the longest side that the image has in any pass"""
    interpolation: Literal["bilinear"] = "bilinear"
    """as cv2.resize with INTER_LINEAR; boxes are scaled by each axis's own ratio of rounded sizes"""
    flip: bool
    """each pass again on the mirror image: x1, x2 = width - x2, width - x1"""
    nms_iou: float
    """per class, a box overlapping a better one by this or more goes"""
    boxes_per_class: int | None
    """best of a class that enter suppression; null: all"""
    score_threshold: float | None = None
    """scores above it enter suppression; null: all"""
    boxes_per_image: int | None = None
    """best of an image, over all classes, that stay after suppression; null: all"""


class CheckedFile(_Part):
    sha256: str
    largest_difference: float
    """of a score from the model's own, on an image of noise with boxes of all kinds; or of a regressed box's edge, in
    parts of the image's longer side"""
    written_with: str
    run: tuple[str, ...]
    """lines of Python"""


class ModelCard(_Part):
    format: Literal[1] = 1
    model_sha256: str
    """of the model.pt that was exported"""
    experiment_digest: str
    """equal for equal experiments"""
    network: Literal["sdcn", "fast_rcnn"]
    """f^E and f^D, or the Fast R-CNN of a second stage"""
    backbone: str
    refinements: int | None
    """K; 0 is WSDDN, which detects with its MIDN scores; null: a Fast R-CNN has none"""
    classes: tuple[str, ...]
    stride: int
    """pixels a cell of the map that is pooled"""
    contract: Contract
    normalisation: Normalisation
    testing: Testing
    proposals: SelectiveSearchConfig
    """the Selective Search whose boxes the model knows, or takes for new images"""
    files: dict[str, CheckedFile] = {}
    """by file name"""

    @classmethod
    def of(cls, saved: SavedModel) -> "ModelCard":
        """The card of a model, before there are files."""
        experiment = saved.experiment
        stride = saved.network.backbone.stride
        is_second = experiment.second_stage is not None
        return cls(
            model_sha256=saved.sha256,
            experiment_digest=experiment.digest(),
            network="fast_rcnn" if is_second else "sdcn",
            backbone=experiment.model.backbone.kind,
            refinements=None if is_second else experiment.model.detection.refinements,
            classes=saved.classes,
            stride=stride,
            contract=Contract(
                program_min_side_px=stride + 1,
                boxes=REGRESSED_BOXES if experiment.regresses_boxes else None,
            ),
            normalisation=_normalisation(saved),
            testing=_testing(experiment.evaluation, experiment.data.max_side_px),
            proposals=search_of_new_images(experiment.data.proposals),
        )

    def properties(self) -> dict[str, str]:
        """The card as texts that an ONNX file carries: its parts by name, and all of it under `card`."""
        whole = self.model_dump(mode="json", exclude={"files"})
        parts = {name: value if isinstance(value, str) else _json(value) for name, value in whole.items()}
        return {f"sdcn.{name}": text for name, text in (parts | {"card": _json(whole)}).items()}


REGRESSED_BOXES = (
    "float32 (N, C, 4): x1, y1, x2, y2 of each proposal moved as a box of each class, in pixels of the image as given,"
    " half-open, not cut at its edges"
)


def run_program_lines(*, box_regression: bool) -> tuple[str, ...]:
    """Python that runs `model.pt2`."""
    return (
        "import torch, sdcn_core.export.operator",
        f'detector = torch.export.load("{TORCH_FILE}").module()',
        f"{_outputs(box_regression)} = detector(image, proposals)  # tensors",
    )


def run_onnx_lines(*, box_regression: bool) -> tuple[str, ...]:
    """Python that runs `model.onnx`."""
    names = '["scores", "boxes"]' if box_regression else '["scores"]'
    call = f'session.run({names}, {{"image": image, "proposals": proposals}})'
    return (
        "import onnxruntime",
        f'session = onnxruntime.InferenceSession("{ONNX_FILE}", providers=["CPUExecutionProvider"])',
        f"{_outputs(box_regression)} = {call if box_regression else f'{call}[0]'}  # numpy arrays",
    )


def _outputs(box_regression: bool) -> str:
    return "scores, boxes" if box_regression else "scores"


def _json(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def _normalisation(saved: SavedModel) -> Normalisation:
    (pixels,) = (part for part in saved.network.backbone.modules() if isinstance(part, PixelNorm))
    mean, deviation = (tuple(map(float, constant.flatten())) for constant in (pixels.mean, pixels.deviation))
    return Normalisation.model_validate({"mean": mean, "deviation": deviation})


def _testing(evaluation: EvaluationConfig, max_side_px: int) -> Testing:
    # Of scales of the longest side, and without scales, the searched side is the same for images of any size.
    is_known = not evaluation.test_scales_px or evaluation.test_side == "longest"
    pcl = evaluation.pcl if evaluation.protocol == "pcl" else None
    searched = search_side(1, 1, config=evaluation, max_side_px=max_side_px, unscaled_px=SEARCH_SIDE_PX)
    return Testing(
        scales_px=evaluation.test_scales_px,
        side=evaluation.test_side,
        max_side_px=max_side_px,
        search_side_px=searched if is_known else None,
        flip=evaluation.flip,
        nms_iou=evaluation.nms_iou if pcl is None else pcl.nms_iou,
        boxes_per_class=evaluation.boxes_per_class if pcl is None else None,
        score_threshold=None if pcl is None else pcl.score_threshold,
        boxes_per_image=None if pcl is None else pcl.boxes_per_image,
    )
