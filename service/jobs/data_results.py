"""What a check of a data set found: counts of each split and class, and why it cannot be used."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field


class _Counted(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, use_attribute_docstrings=True)


class Extent(_Counted):
    """Of a length over the images of a split, px."""

    smallest: int = Field(ge=0)
    median: float = Field(ge=0)
    largest: int = Field(ge=0)


class ClassCounts(_Counted):
    images: int = Field(ge=0)
    """with the class as a label: with an object of it that is not difficult"""
    objects: int | None = Field(ge=0)
    """difficult ones among them; null: nobody drew boxes"""
    difficult: int | None = Field(ge=0)
    objects_per_image: float | None = Field(ge=0)
    """mean over the images with at least one; null: there is none, or nobody drew boxes"""


class SplitCounts(_Counted):
    """What is in a split, without the images that cannot be used."""

    name: str
    images: int = Field(ge=0)
    without_label: int = Field(ge=0)
    """images with no class as a label"""
    masks: int = Field(ge=0)
    """images with a mask of classes"""
    objects: int | None = Field(ge=0)
    """difficult ones among them; null: nobody drew boxes"""
    difficult: int | None = Field(ge=0)
    objects_per_image: float | None = Field(ge=0)
    """mean over all images; null: there is no image, or nobody drew boxes"""
    width_px: Extent | None
    """null: there is no image"""
    height_px: Extent | None
    classes: dict[str, ClassCounts]


class CheckDataResults(_Counted):
    """A data set as a worker has read it."""

    kind: Literal["check_data"] = "check_data"
    classes: tuple[str, ...]
    """in the order of their indices; empty where no split could be opened"""
    splits: tuple[SplitCounts, ...]
    """those that could be opened, first those that the source names"""
    unusable: int = Field(ge=0)
    """images that cannot be used; `problems` says of at most a hundred why"""
    problems: tuple[str, ...]
    """each with the file and the way out; empty: the data set can be used"""
    notes: tuple[str, ...]
    """what does not keep anybody from using it"""
