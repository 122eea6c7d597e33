"""Images of which the labels are known: <split>/<class>/<image>, or a table <split>.csv. Boxes may be known of some
splits, and are read for evaluation alone.
"""

import csv
import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from io import StringIO
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from sdcn_core.config.data import LabelsSource, RelativePath
from sdcn_core.data.class_lists import class_name, given_classes, read_text, some, valid_names
from sdcn_core.data.image_set import AnnotatedSet, ImageRecord, ImageSet, raise_error, refuse_absent_classes
from sdcn_core.data.images import IMAGE_SUFFIXES, image_size, read_image_bytes
from sdcn_core.data.voc_annotations import as_annotation, read_located_objects
from sdcn_core.errors import DatasetError

COLUMNS = ("image", "label")
SEPARATOR = ";"
"""between the labels of one line"""


@dataclass
class _Labelled:
    """One image and what it is said to show."""

    image_id: str
    """its path below the data set's folder"""
    names: dict[str, str] = field(default_factory=dict)
    """label -> where it is said"""


@dataclass(frozen=True)
class LabelsFolder:
    """A data set on disk, found to have labels; its images are looked at when a split is opened."""

    path: Path
    source: LabelsSource
    classes: tuple[str, ...]
    """class index -> name"""
    are_given: bool
    """whether somebody listed the classes, so that other labels are none; else they are those of the training split"""

    @classmethod
    def at(cls, path: Path, source: LabelsSource) -> "LabelsFolder":
        """The data set at `path`.

        Raises:
            DatasetError: the folder or the training split is missing or broken, or class names are none, repeated, or
                nothing that a file could be called.
        """
        if not path.is_dir():
            raise DatasetError(
                f"data set folder {path} does not exist: check data.source.path and the service's data root"
            )
        if (given := given_classes(path, source.classes)) is not None:
            return cls(path, source, given, are_given=True)
        said = {name for image in _read_split(path, source, source.train_split) for name in image.names}
        names = valid_names(f"the labels of split {source.train_split!r} in {path}", sorted(said))
        return cls(path, source, names, are_given=False)

    def labelled_set(self, split: str, *, labels_from_difficult: bool) -> ImageSet:
        """A split for training; no box is read. Nothing is difficult here, so `labels_from_difficult` has no effect.

        Raises:
            DatasetError: a file is missing or broken, or a class has no image in the split; the message names it.
        """
        labelled = _read_split(self.path, self.source, split)
        image_set = self._image_set(split, labelled)
        refuse_absent_classes(image_set, {name for image in labelled for name in image.names}, source=f"{self.path}")
        return image_set

    def annotated_set(
        self, split: str, *, with_masks: bool = True, unusable: Callable[[DatasetError], None] = raise_error
    ) -> AnnotatedSet:
        """A split for evaluation, with boxes if there is an annotation of each of its images.

        Args:
            split: its name.
            with_masks: without effect, as there are none.
            unusable: told why an image cannot be used; if it returns, the set is without that image.

        Raises:
            DatasetError: a file is missing or broken, some images have an annotation and others none, or a box cannot
                be; the message names it.
        """
        image_set = self._image_set(split, _read_split(self.path, self.source, split), unusable=unusable)
        paths = self._annotation_paths(image_set)
        if paths is None:
            return AnnotatedSet(image_set, None)
        records, annotations = [], []
        for path, record in paths.items():
            try:
                objects = read_located_objects(path, height=record.height, width=record.width, named=class_name)
            except DatasetError as error:
                unusable(error)
                continue
            records.append(record)
            annotations.append(as_annotation(record.image_id, objects, self.classes))
        return AnnotatedSet(replace(image_set, records=tuple(records)), tuple(annotations))

    def splits(self) -> list[str]:
        """Folders, or tables."""
        if self.source.form == "csv":
            return sorted(table.stem for table in self.path.glob("*.csv"))
        boxes = self.path / self.source.annotations if self.source.annotations else None
        folders = (path for path in self.path.iterdir() if path.is_dir() and not path.name.startswith("."))
        return sorted(path.name for path in folders if boxes is None or path not in (boxes, *boxes.parents))

    def _image_set(
        self,
        split: str,
        labelled: Sequence[_Labelled],
        *,
        unusable: Callable[[DatasetError], None] = raise_error,
    ) -> ImageSet:
        records = []
        for image in labelled:
            path = self.path / image.image_id
            labels = self._labels(image)
            try:
                records.append(ImageRecord(image.image_id, path, *image_size(path), labels))
            except DatasetError as error:
                unusable(error)
        return ImageSet(split, self.classes, tuple(records))

    def _labels(self, image: _Labelled) -> tuple[int, ...]:
        for name, where in image.names.items():
            if not self.are_given and name not in self.classes:
                raise DatasetError(
                    f"{where}: {name!r} is no label of the training split, which has {some(set(self.classes))}: correct"
                    " it, or list all classes in classes.txt or data.source.classes"
                )
        return tuple(index for index, name in enumerate(self.classes) if name in image.names)

    def _annotation_paths(self, image_set: ImageSet) -> dict[Path, ImageRecord] | None:
        """The annotation of each image, in order; None: nobody drew boxes in this split."""
        if self.source.annotations is None:
            return None
        folder = self.path / self.source.annotations
        if not folder.is_dir():
            raise DatasetError(f"folder {folder} does not exist: correct data.source.annotations or set it to null")
        paths: dict[Path, ImageRecord] = {}
        for record in image_set.records:
            path = folder / f"{record.path.stem}.xml"
            if path in paths:
                raise DatasetError(
                    f"images {paths[path].path} and {record.path} would share annotation {path}: rename one of them"
                )
            paths[path] = record
        missing = [path for path in paths if not path.is_file()]
        if len(missing) == len(paths):
            return None
        if missing:
            raise DatasetError(
                f"annotation {missing[0]} does not exist, but other images of split {image_set.name!r} have one"
                f" ({len(missing)} of {len(paths)} are missing): boxes must be known of all images of a split or none"
            )
        return paths


def _read_split(path: Path, source: LabelsSource, split: str) -> tuple[_Labelled, ...]:
    images = _of_folders(path, split) if source.form == "folders" else _of_table(path, path / f"{split}.csv")
    for image in images:
        for name, where in image.names.items():
            valid_names(where, [name])
    return images


# --- class folders


def _of_folders(root: Path, split: str) -> tuple[_Labelled, ...]:
    """The images of <split>/<class>/, by their paths; equal files of one name in several classes are one image."""
    folder = root / split
    if not folder.is_dir():
        table = f"; {split}.csv is read with data.source.form csv" if (root / f"{split}.csv").is_file() else ""
        raise DatasetError(
            f"split folder {folder} does not exist: put a folder for each class with its images there, or name another"
            f" split{table}"
        )
    by_name: defaultdict[Path, list[Path]] = defaultdict(list)
    for path in _images_below(folder):
        of_class = path.relative_to(folder).parts
        if len(of_class) == 1:
            raise DatasetError(f"image {path} lies in no class's folder: move it into {folder / '<class>'}")
        by_name[Path(*of_class[1:])].append(path)
    images: dict[Path, _Labelled] = {}
    for paths in by_name.values():
        for same in _equal_files(paths):
            images[same[0]] = _Labelled(
                same[0].relative_to(root).as_posix(),
                {class_name(path.relative_to(folder).parts[0]): f"folder {folder}" for path in same},
            )
    if not images:
        raise DatasetError(f"split folder {folder} has no image: put JPEG or PNG files into {folder / '<class>'}")
    return tuple(images[path] for path in sorted(images))


def _images_below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.rglob("*")):
        is_hidden = any(part.startswith(".") for part in path.relative_to(folder).parts)
        if path.suffix in IMAGE_SUFFIXES and not is_hidden and path.is_file():
            yield path


def _equal_files(paths: Sequence[Path]) -> list[list[Path]]:
    """The files in groups of equal content, each in the order given."""
    if len(paths) == 1:
        return [list(paths)]
    groups: defaultdict[bytes, list[Path]] = defaultdict(list)
    for path in paths:
        groups[hashlib.sha256(read_image_bytes(path)).digest()].append(path)
    return list(groups.values())


# --- a table


def _of_table(root: Path, table: Path) -> tuple[_Labelled, ...]:
    """The images in the order of their first lines."""
    if not table.is_file():
        raise DatasetError(
            f"table {table} does not exist: write it, with a first line {','.join(COLUMNS)}, or name another split"
        )
    images: dict[str, _Labelled] = {}
    for number, image_id, label in _rows(table):
        where = f"table {table}, line {number}"
        try:
            TypeAdapter(RelativePath).validate_python(image_id)
        except ValidationError as error:
            raise DatasetError(f"{where}: {image_id[:80]!r} is no path of an image below {root}: correct it") from error
        image = images.setdefault(image_id, _Labelled(image_id))
        for name in label.split(SEPARATOR):
            if name.strip():
                image.names.setdefault(class_name(name), where)
    if not images:
        raise DatasetError(f"table {table} has no line after its first: write one an image")
    return tuple(images.values())


def _rows(table: Path) -> Iterator[tuple[int, str, str]]:
    """Line number, image and label of each line."""
    rows = csv.reader(StringIO(read_text(table), newline=""), strict=True)
    try:
        header = [cell.strip() for cell in next(rows, [])]
        if not set(COLUMNS) <= set(header):
            raise DatasetError(
                f"table {table} begins with {','.join(header)[:80]!r}: its first line must name the columns"
                f" {' and '.join(COLUMNS)}, separated by commas"
            )
        image, label = (header.index(column) for column in COLUMNS)
        for row in rows:
            if not row:
                continue
            if len(row) != len(header):
                raise DatasetError(
                    f"table {table}, line {rows.line_num}: {len(row)} cells in {len(header)} columns: separate labels"
                    f" of one image with {SEPARATOR!r}"
                )
            yield rows.line_num, row[image].strip(), row[label]
    except csv.Error as error:
        raise DatasetError(f"table {table}, line {rows.line_num}: {error}: write it as comma-separated text") from error
