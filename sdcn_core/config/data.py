"""Which images, which proposals, and how they are presented to the network."""

from collections.abc import Mapping
from enum import StrEnum
from pathlib import PurePosixPath
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, field_validator

from sdcn_core.config.base import FrozenConfig


def _confined(path: str) -> str:
    parts = PurePosixPath(path).parts
    if not parts or path.startswith(("/", "~")) or ".." in parts or "\\" in path or "\x00" in path:
        raise ValueError("must be a path below the configured root: relative, without '..', with '/' between folders")
    return path


RelativePath = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_confined)]
"""A path below a root that the operator configured; it cannot leave that root."""


def _in_each_split(path: str) -> str:
    """A path below a root in which {split} may stand for the split's name, and no other brace."""
    _confined(path)
    if set("{}") & set(path.replace("{split}", "")):
        raise ValueError("may have {split} in it, for the name of the split, and no other brace")
    return path


SplitPath = Annotated[str, StringConstraints(min_length=1, max_length=255), AfterValidator(_in_each_split)]
"""A path below a configured root, or one for each split: `{split}` becomes the split's name."""

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


class LabelsSource(FrozenConfig):
    """Images of which the labels are known and no box: a folder for each class, or a table.

    `folders`: <split>/<class>/<image>. `csv`: <split>.csv with the columns image (a path below the folder) and label;
    an image may be on several lines, and a line may name several labels with ';' between them, or none.
    """

    kind: Literal["labels"] = "labels"
    path: RelativePath
    """the folder that holds the splits, below the data root"""
    form: Literal["folders", "csv"] = "folders"
    train_split: Name = "train"
    test_split: Name = "test"
    classes: tuple[Name, ...] | None = None
    """names of the classes in order, other labels count as none; null: the lines of classes.txt where it exists, else
    the labels of the training split in alphabetical order"""
    annotations: RelativePath | None = None
    """a folder below `path` with the boxes of those splits whose boxes are known: for each image a VOC annotation of
    the same name, ending in .xml. Training never opens it; null: boxes are known nowhere, and AP and CorLoc cannot be
    counted"""


class CocoSource(FrozenConfig):
    """Images with a COCO instances file for each split; categories are classes by their names."""

    kind: Literal["coco"] = "coco"
    path: RelativePath
    """the folder that holds images and annotations, below the data root"""
    annotations: SplitPath = "annotations/instances_{split}.json"
    """of a split, below `path`"""
    images: SplitPath = "{split}"
    """folder of a split's images, below `path`: what the file names in the JSON are below"""
    train_split: Name = "train2017"
    test_split: Name = "val2017"
    classes: tuple[Name, ...] | None = None
    """names of the classes in order, other categories count as none; a name has '_' for every character that a name of
    a class cannot have, such as traffic_light. null: the categories that have an annotation in the training split, in
    the order of their ids"""


DataSource = Annotated[ScenesSource | VocSource | LabelsSource | CocoSource, Field(discriminator="kind")]


class SelectiveSearchConfig(FrozenConfig):
    """Selective Search (Uijlings et al. 2013) as OpenCV implements it."""

    kind: Literal["selective_search"] = "selective_search"
    mode: Literal["fast", "quality"] = "fast"
    max_image_side_px: int | None = Field(default=None, ge=16)
    """images are shrunk to this longest side before the search; boxes are scaled back. null: never"""
    min_side_px: int = Field(default=0, ge=0)
    """boxes with a shorter side are dropped; 0 keeps all, as OICR does"""
    limit: int = Field(default=2000, ge=1, le=20_000)
    """at most this many boxes an image, the first ones in the search's own ranking"""


class ProposalFileConfig(FrozenConfig):
    """Boxes that somebody has computed: a .mat file as Fast R-CNN publishes them, or a .pkl file as Detectron, PCL and
    wetectron do.
    """

    kind: Literal["file"] = "file"
    path: SplitPath
    """ends in .mat or .pkl; below the data root"""
    order: Literal["yxyx", "xyxy"] | None = None
    """of a box's four numbers; null: y1 x1 y2 x2 in a .mat, x1 y1 x2 y2 in a .pkl"""
    first_pixel: Literal[0, 1] | None = None
    """what the file calls the first pixel; null: 1 in a .mat, 0 in a .pkl"""
    inclusive: bool = True
    """whether the last column and row belong to a box; else its edges are half-open"""
    min_side_px: int = Field(default=0, ge=0)
    """boxes with a shorter side are dropped"""
    limit: int = Field(default=2000, ge=1, le=20_000)
    """at most this many boxes an image, the first ones of the file"""
    for_new_images: SelectiveSearchConfig = SelectiveSearchConfig()
    """how the trained model finds boxes in images that it is handed, which are in no file"""

    @field_validator("path")
    @classmethod
    def _of_a_known_format(cls, path: str) -> str:
        if not path.endswith((".mat", ".pkl")):
            raise ValueError("must end in .mat or .pkl, by which the formats are told apart")
        return path


def _searched_unless_said(value: Any) -> Any:  # noqa: ANN401 - whatever was sent
    if isinstance(value, Mapping) and "kind" not in value:
        return {"kind": "selective_search", **value}
    return value


ProposalConfig = Annotated[
    SelectiveSearchConfig | ProposalFileConfig, Field(discriminator="kind"), BeforeValidator(_searched_unless_said)
]
"""Where boxes come from; without a kind, Selective Search."""


def search_of_new_images(proposals: ProposalConfig) -> SelectiveSearchConfig:
    """How a model that was trained on these proposals finds boxes in an image of no data set."""
    return proposals.for_new_images if isinstance(proposals, ProposalFileConfig) else proposals


class DataConfig(FrozenConfig):
    source: DataSource = ScenesSource()
    proposals: ProposalConfig = SelectiveSearchConfig()
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
