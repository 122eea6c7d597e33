"""Methods by name: what an experiment must say to be WSDDN, OICR, SDCN or a row of the paper's ablation.

All are one code: a method is a set of overrides, and says all that tells methods apart, so that any preset becomes any
of them. A method is a function without arguments; its first sentence is what `python -m sdcn_core train --help` shows.
"""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field, JsonValue

Path = Annotated[str, Field(min_length=1, max_length=200)]
"""A dotted path in the experiment."""
Overrides = Annotated[dict[Path, JsonValue], Field(max_length=200)]


def wsddn() -> Overrides:
    """WSDDN (Bilen and Vedaldi, CVPR 2016): the MIDN alone, which detects with its own scores.

    Without its spatial regulariser, which OICR and SDCN have dropped too. The paper quotes 34.8 mAP and 53.5 CorLoc on
    VOC 2007 with VGG16 (tables 3 and 4).
    """
    return _detection_alone() | {"model.detection.refinements": 0, "model.detection.box_regression": False}


def oicr() -> Overrides:
    """OICR (Tang et al., CVPR 2017): the MIDN and its refinements, no segmentation; the first row of table 2.

    The paper quotes 41.2 mAP and 60.6 CorLoc on VOC 2007 with VGG16.
    """
    return _detection_alone()


def apart() -> Overrides:
    """Both branches on one extractor, neither instructing the other: the second row of table 2, 41.3 mAP."""
    return _both_branches(segmentation_instructs=False, detection_instructs=False)


def seg_to_det() -> Overrides:
    """Segmentation instructs detection, eqs. (16)-(20), and not the other way round: table 2's third row, 36.8 mAP."""
    return _both_branches(segmentation_instructs=True, detection_instructs=False)


def det_to_seg() -> Overrides:
    """Detection instructs segmentation, eqs. (21)-(24), and not the other way round: the paper has no such row."""
    return _both_branches(segmentation_instructs=False, detection_instructs=True)


def sdcn() -> Overrides:
    """SDCN, the loop closed: the last row of table 2.

    The paper reports 48.3 mAP and 66.8 CorLoc on VOC 2007 with VGG16.
    """
    return _both_branches(segmentation_instructs=True, detection_instructs=True)


def _detection_alone() -> Overrides:
    """No segmentation branch, hence no classifier to learn for it."""
    return _branches(segmentation=False, segmentation_instructs=False, detection_instructs=False) | {
        "schedule.classifier.steps": 0
    }


def _both_branches(*, segmentation_instructs: bool, detection_instructs: bool) -> Overrides:
    return _branches(
        segmentation=True, segmentation_instructs=segmentation_instructs, detection_instructs=detection_instructs
    )


def _branches(*, segmentation: bool, segmentation_instructs: bool, detection_instructs: bool) -> Overrides:
    return {
        "objective.segmentation_branch": segmentation,
        "objective.segmentation_instructs_detection": segmentation_instructs,
        "objective.detection_instructs_segmentation": detection_instructs,
    }


METHODS: dict[str, Callable[[], Overrides]] = {
    "wsddn": wsddn,
    "oicr": oicr,
    "apart": apart,
    "seg-to-det": seg_to_det,
    "det-to-seg": det_to_seg,
    "sdcn": sdcn,
}
