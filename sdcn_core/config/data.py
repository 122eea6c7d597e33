"""Which images, which proposals, and how they are presented to the network."""

from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Literal

from pydantic import AfterValidator, Field, StringConstraints

from sdcn_core.config.base import FrozenConfig


def _confined(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith(("/", "~")) or ".." in parts or "\\" in path or "\x00" in path:
        raise ValueError("must be a path below the configured root: relative, without '..', with '/' between folders")
    return path


RelativePath = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_confined)]
"""A path below a root that the operator configured; it cannot leave that root."""

Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}$")]
"""A name that is safe in file names and in MLflow: letters, digits, '_', '.', '-'; at most 64."""


class SceneLayout(StrEnum):
    """What misleads a detector that learns from labels alone."""

    PARTS = "parts"
    """each object carries a small, constant, most telling part; patches of context lie beside objects"""
    HALO = "halo"
    """the class's context surrounds most of its objects, and appears without them too"""


SceneSplit = Literal["train", "val", "trainval", "test"]


class ScenesSource(FrozenConfig):
    """The generated benchmark: six classes of objects with a telling part, boxes and masks known."""

    kind: Literal["scenes"] = "scenes"
    layout: SceneLayout = SceneLayout.PARTS
    train_images: int = Field(default=400, ge=6, le=100_000)
    """images of the split `train`, on which the network learns and CorLoc is counted"""
    val_images: int = Field(default=200, ge=6, le=100_000)
    """images of the split `val`, on which settings are chosen"""
    test_images: int = Field(default=250, ge=6, le=100_000)
    """images of the split `test`, on which AP is counted"""
    image_size_px: int = Field(default=96, ge=48, le=512)
    """side of the square images"""
    seed: int = Field(default=0, ge=0, lt=2**31)
    train_split: SceneSplit = "train"
    """a training learns from `train` or `trainval`"""
    test_split: SceneSplit = "test"
    """a training is judged on `val` or `test`, a job of kind evaluate on any"""


class VocSource(FrozenConfig):
    """A folder in Pascal VOC layout: JPEGImages, Annotations, ImageSets/Main/<split>.txt."""

    kind: Literal["voc"] = "voc"
    path: RelativePath
    """the folder that holds JPEGImages, below the data root"""
    train_split: Name = "trainval"
    test_split: Name = "test"
    classes: tuple[Name, ...] | None = None
    """names of the classes in order; null: the lines of classes.txt where it exists, else the twenty VOC classes"""


DataSource = Annotated[ScenesSource | VocSource, Field(discriminator="kind")]


class ProposalConfig(FrozenConfig):
    """Selective Search (Uijlings et al. 2013) as OpenCV implements it."""

    mode: Literal["fast", "quality"] = "fast"
    max_image_side_px: int | None = Field(default=None, ge=16)
    """images are shrunk to this longest side before the search; boxes are scaled back. null: never"""
    min_side_px: int = Field(default=0, ge=0)
    """boxes with a shorter side are dropped; 0 keeps all, as OICR does"""
    limit: int = Field(default=2000, ge=1, le=20_000)
    """at most this many boxes an image, the first ones in the search's own ranking"""


class DataConfig(FrozenConfig):
    source: DataSource = ScenesSource()
    proposals: ProposalConfig = ProposalConfig()
    sampled_proposals: int | None = Field(default=None, ge=1)
    """random proposals an image and step in training; null: all"""
    train_scales_px: tuple[Annotated[int, Field(ge=16, le=4000)], ...] | None = (480, 576, 688, 864, 1200)
    """one is drawn for each image; null: images keep their size"""
    train_side: Literal["shortest", "longest"] = "shortest"
    """which side of the image gets the drawn scale"""
    max_side_px: int = Field(default=2000, ge=16, le=8000)
    """the longest side is never larger than this after scaling"""
    flip: bool = True
    """half of the training images are mirrored"""
    dedup_px: float | None = Field(default=8.0, gt=0)
    """proposals that round to the same cell of this size, after scaling, are kept once; null: all are kept"""
    labels_from_difficult: bool = False
    """whether an object marked difficult makes its class a label of the image"""
