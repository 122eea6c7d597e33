"""From what an experiment names (a data source) to what training and evaluation read."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Protocol, assert_never

from sdcn_core.config.data import CocoSource, DataSource, LabelsSource, ScenesSource, VocSource
from sdcn_core.data.coco import CocoFolder
from sdcn_core.data.image_set import AnnotatedSet, ImageSet, raise_error
from sdcn_core.data.labels import LabelsFolder
from sdcn_core.data.scenes import SCENE_CLASSES, scenes_folder, write_scenes
from sdcn_core.data.voc import VocFolder
from sdcn_core.errors import DatasetError
from sdcn_core.structures.confined import link_out

_SPLIT = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,63}")


@dataclass(frozen=True)
class DataRoots:
    """The two folders below which everything about data lies."""

    data: Path
    """data sets that somebody put there; never written"""
    cache: Path
    """what can be made again: generated scenes, proposals"""


class DataFolder(Protocol):
    """A data set on disk."""

    def labelled_set(self, split: str, *, labels_from_difficult: bool) -> ImageSet:
        """A split for training: image labels; no coordinate is read.

        Raises:
            DatasetError: a file is missing or broken, or a class has no image in the split; the message names it.
        """
        ...

    def annotated_set(
        self, split: str, *, with_masks: bool = True, unusable: Callable[[DatasetError], None] = raise_error
    ) -> AnnotatedSet:
        """A split for evaluation; without masks where nobody will ask for them.

        Args:
            split: its name.
            with_masks: see above.
            unusable: told why an image cannot be used; if it returns, the set is without that image.

        Raises:
            DatasetError: a file is missing or broken; the message names it.
        """
        ...

    def splits(self) -> Sequence[str]:
        """Names of the splits that are there."""
        ...


def prepare_source(source: DataSource, roots: DataRoots, *, progress: Callable[[int, int], None]) -> None:
    """Makes the source ready: generates scenes (once, atomically), checks that a folder has its layout.

    Args:
        source: which data.
        roots: where.
        progress: called with (images done, images in all); an exception it raises leaves nothing behind.

    Raises:
        DatasetError: a folder is missing or cannot be written; the message names it.
    """
    match source:
        case ScenesSource():
            write_scenes(source, cache=roots.cache, progress=progress)
        case VocSource() | LabelsSource() | CocoSource():
            _folder(source, roots)
        case _:
            assert_never(source)


def open_train_set(source: DataSource, roots: DataRoots, *, labels_from_difficult: bool) -> ImageSet:
    """The training split with image labels; coordinates of boxes are not even read.

    Raises:
        DatasetError: a file is missing or broken, or a class has no training image; the message names it.
    """
    return _folder(source, roots).labelled_set(source.train_split, labels_from_difficult=labels_from_difficult)


def open_annotated_set(source: DataSource, roots: DataRoots, *, role: Literal["train", "test"]) -> AnnotatedSet:
    """A split with its ground truth: `test` to count AP and judge pixels, `train` to count CorLoc.

    Raises:
        DatasetError: a file is missing or broken; the message names it.
    """
    folder = _folder(source, roots)
    if role == "train":
        return folder.annotated_set(source.train_split, with_masks=False)
    return folder.annotated_set(source.test_split)


def splits_of(source: DataSource, roots: DataRoots) -> tuple[str, ...]:
    """The splits that a source has or names, those first that it names, which may be missing. What no source could
    name is none.

    Raises:
        DatasetError: the data set is not there; the message names the folder.
    """
    others = [split for split in _folder(source, roots).splits() if _SPLIT.fullmatch(split)]
    return tuple(dict.fromkeys((source.train_split, source.test_split, *others)))


def open_split(
    source: DataSource, roots: DataRoots, split: str, *, unusable: Callable[[DatasetError], None]
) -> AnnotatedSet:
    """A split by its name, with its ground truth and without images that cannot be used: `unusable` is told of each.

    Raises:
        DatasetError: there is no such split, or it cannot be read at all.
    """
    return _folder(source, roots).annotated_set(split, unusable=unusable)


def _folder(source: DataSource, roots: DataRoots) -> DataFolder:
    match source:
        case ScenesSource():
            path = scenes_folder(source, cache=roots.cache)
            if not path.is_dir():
                raise DatasetError(f"the scenes in {path} are not generated yet: call prepare_source first")
            return VocFolder.at(path, SCENE_CLASSES)
        case VocSource():
            return VocFolder.at(confined_folder(roots.data, source.path, field="data.source.path"), source.classes)
        case LabelsSource():
            return LabelsFolder.at(confined_folder(roots.data, source.path, field="data.source.path"), source)
        case CocoSource():
            return CocoFolder.at(confined_folder(roots.data, source.path, field="data.source.path"), source)
        case _:
            assert_never(source)


def confined_folder(root: Path, path: str, *, field: str) -> Path:
    """The folder below the data root, nothing in which is a link out of the root. It need not exist.

    Raises:
        DatasetError: something is, or a folder cannot be listed; the message names it, and the field that asked for it.
    """
    folder = root / path
    try:
        link = link_out(folder, root)
    except OSError as error:
        raise DatasetError(f"{field}: {error.filename}: {error.strerror}") from None
    if link is not None:
        raise DatasetError(
            f"{field}: {link} is a link that leads out of the data root {root}: put the files themselves there, or"
            " choose a data root that holds both"
        )
    return folder
