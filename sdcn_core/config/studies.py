"""Named studies: which variants of an experiment the paper compares, whatever the data set.

A study is a function without arguments; its first sentence is what `GET /v1/presets` and `sdcn presets` show.
"""

from collections.abc import Callable
from typing import Annotated

from pydantic import Field, JsonValue

from sdcn_core.config.base import FrozenConfig
from sdcn_core.config.data import Name
from sdcn_core.config.search_space import Choice, Domain

Path = Annotated[str, Field(min_length=1, max_length=200)]
"""A dotted path in the experiment."""
Overrides = Annotated[dict[Path, JsonValue], Field(max_length=200)]


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


DETECTION_ALONE: dict[str, JsonValue] = {
    "objective.segmentation_branch": False,
    "objective.segmentation_instructs_detection": False,
    "objective.detection_instructs_segmentation": False,
    "schedule.classifier.steps": 0,
}
"""OICR: no segmentation branch, hence no classifier to learn for it"""


def table_2() -> AblationStudy:
    """The paper's table 2: OICR, both branches apart, segmentation instructing detection alone, and the closed loop.

    The paper reports 41.2, 41.3, 36.8 and 48.3 mAP on VOC 2007 with VGG16.
    """
    return AblationStudy(
        variants=(
            Variant(name="oicr", title="detection alone (OICR)", overrides=DETECTION_ALONE),
            Variant(
                name="apart",
                title="both branches, apart",
                overrides={
                    "objective.segmentation_instructs_detection": False,
                    "objective.detection_instructs_segmentation": False,
                },
            ),
            Variant(
                name="seg-to-det",
                title="segmentation instructs detection",
                overrides={"objective.detection_instructs_segmentation": False},
            ),
            Variant(name="sdcn", title="the loop closed (SDCN)"),
        ),
        base_variant="oicr",
    )


def oicr_against_sdcn() -> AblationStudy:
    """The first and the last row of the paper's table 2: OICR against SDCN."""
    whole = table_2()
    return AblationStudy(variants=(whole.variants[0], whole.variants[-1]), base_variant="oicr")


def figure_5() -> SweepStudy:
    """The paper's figure 5: mAP against each of the five balance weights, the others as they are.

    The paper finds mAP insensitive to all of them above 0.1 (VOC 2007); it does not print its values.
    """
    weights = Choice(values=(0.01, 0.1, 1.0, 10.0))
    return SweepStudy(
        space={f"objective.lambda_{name}": weights for name in ("adv", "cls", "seg", "mil", "ref")},
    )


ABLATIONS: dict[str, Callable[[], AblationStudy]] = {"table-2": table_2, "oicr-against-sdcn": oicr_against_sdcn}
SWEEPS: dict[str, Callable[[], SweepStudy]] = {"figure-5": figure_5}
