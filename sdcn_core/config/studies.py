"""Named studies: which variants of an experiment the paper compares, whatever the data set.

A study is a function without arguments; its first sentence is what `GET /v1/presets` and `sdcn presets` show.
"""

from collections.abc import Callable

from pydantic import Field

from sdcn_core.config.base import FrozenConfig
from sdcn_core.config.data import Name
from sdcn_core.config.methods import METHODS, Overrides, Path
from sdcn_core.config.search_space import Choice, Domain


class Variant(FrozenConfig):
    """A named set of overrides on one experiment: a row of an ablation."""

    name: Name
    title: str = Field(default="", max_length=200)
    """what the row is called in tables; empty: its name"""
    overrides: Overrides = Field(default_factory=dict)


class AblationStudy(FrozenConfig):
    variants: tuple[Variant, ...]
    base_variant: Name
    """the row to which the others are compared"""


class SweepStudy(FrozenConfig):
    """Each field varied alone, all others as in the experiment."""

    space: dict[Path, Domain]


def _row(method: str, title: str) -> Variant:
    return Variant(name=method, title=title, overrides=METHODS[method]())


def _sdcn_with(name: str, title: str, overrides: Overrides) -> Variant:
    return Variant(name=name, title=title, overrides=METHODS["sdcn"]() | overrides)


_WSDDN = _row("wsddn", "MIDN alone (WSDDN)")
_OICR = _row("oicr", "detection alone (OICR)")
_APART = _row("apart", "both branches, apart")
_SEG_TO_DET = _row("seg-to-det", "segmentation instructs detection")
_SDCN = _row("sdcn", "the loop closed (SDCN)")


def table_1() -> AblationStudy:
    """Table 1: recall and precision of the pixels of detection and of segmentation, without collaboration; and mIoU.

    The paper reports, on VOC 2007's test images with masks, 62.9 and 46.3 for detection (`heatmap_*` here), 69.7 and
    35.4 for segmentation (`pixel_*`); in section 4.2 mIoU 25.1 where segmentation instructs detection alone, and 37
    with the loop closed.

        sdcn submit table-1 --data voc2007_vgg16
    """
    return AblationStudy(variants=(_APART, _SEG_TO_DET, _SDCN), base_variant=_APART.name)


def table_2() -> AblationStudy:
    """The paper's table 2: OICR, both branches apart, segmentation instructing detection alone, and the closed loop.

    The paper reports 41.2, 41.3, 36.8 and 48.3 mAP on VOC 2007 with VGG16.

        sdcn submit table-2 --data voc2007_vgg16
    """
    return AblationStudy(variants=(_OICR, _APART, _SEG_TO_DET, _SDCN), base_variant=_OICR.name)


def table_3() -> AblationStudy:
    """Table 3's single-stage methods that are here: AP of each class of VOC 2007's test split by WSDDN, OICR and SDCN.

    The paper reports 34.8, 41.2 and 48.3 mAP with VGG16.

        sdcn submit table-3 --data voc2007_vgg16
    """
    return AblationStudy(variants=(_WSDDN, _OICR, _SDCN), base_variant=_OICR.name)


def table_4() -> AblationStudy:
    """Table 4: CorLoc of each class of VOC 2007's trainval split by the methods of table 3, in the same trainings.

    The paper reports 53.5, 60.6 and 66.8 with VGG16. Who has trained table-3 has these numbers already.

        sdcn submit table-4 --data voc2007_vgg16
    """
    return table_3()


def table_5() -> AblationStudy:
    """Table 5: mAP and CorLoc on VOC 2012 by OICR and SDCN.

    The paper reports 37.9 and 43.5 mAP, 62.1 and 67.9 CorLoc with VGG16.

        sdcn submit table-5 --data voc2012_vgg16
    """
    return oicr_against_sdcn()


def figure_6() -> AblationStudy:
    """Figure 6: how the best box of each class lies to the objects of VOC 2007's trainval split, by OICR and SDCN.

    The paper prints no values: with SDCN more boxes are right, far fewer lie inside an object, some more contain one.
    The study's page and gallery show the same pairs as figures 3 and 7.

        sdcn submit figure-6 --data voc2007_vgg16
    """
    return oicr_against_sdcn()


def beyond_the_paper() -> AblationStudy:
    """SDCN with what others have found since: PCL's two tricks, MIST's box regression, TS2C's objectness, one by one.

    What each was worth in its own method is in docs/equations.md; nothing is known of them in this one.

        sdcn submit beyond-the-paper --data scenes
    """
    ignored: Overrides = {"objective.ignored_below_iou": 0.1}
    first: Overrides = {"objective.first_refinement_weight": 3.0}
    boxes: Overrides = {"model.detection.box_regression": True}
    return AblationStudy(
        variants=(
            _SDCN,
            _sdcn_with("ignored", "proposals off the seeds ignored (PCL)", ignored),
            _sdcn_with("first-weight", "first refinement times 3 (PCL)", first),
            _sdcn_with("box-regression", "boxes regressed (MIST)", boxes),
            _sdcn_with("together", "these three together", ignored | first | boxes),
            _sdcn_with("ts2c", "objectness for eq. (17) (TS2C)", {"objective.segmentation_prior": "ts2c"}),
        ),
        base_variant=_SDCN.name,
    )


def oicr_against_sdcn() -> AblationStudy:
    """The first and the last row of the paper's table 2: OICR against SDCN."""
    return AblationStudy(variants=(_OICR, _SDCN), base_variant=_OICR.name)


def figure_5() -> SweepStudy:
    """The paper's figure 5: mAP against each of the five balance weights, the others as they are.

    The paper finds mAP insensitive to all of them above 0.1 (VOC 2007); it does not print its values.

        sdcn submit figure-5 --data voc2007_vgg16
    """
    weights = Choice(values=(0.01, 0.1, 1.0, 10.0))
    return SweepStudy(
        space={f"objective.lambda_{name}": weights for name in ("adv", "cls", "seg", "mil", "ref")},
    )


ABLATIONS: dict[str, Callable[[], AblationStudy]] = {
    "table-1": table_1,
    "table-2": table_2,
    "table-3": table_3,
    "table-4": table_4,
    "table-5": table_5,
    "figure-6": figure_6,
    "oicr-against-sdcn": oicr_against_sdcn,
    "beyond-the-paper": beyond_the_paper,
}
SWEEPS: dict[str, Callable[[], SweepStudy]] = {"figure-5": figure_5}
