"""Whether a data set can be used, and what is in it: every split opened, every image read, and masks to judge by."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sdcn_core.config.data import DataSource
from sdcn_core.data.counts import SplitCounts, count_split
from sdcn_core.data.datasets import DataRoots, open_split, open_train_set, splits_of
from sdcn_core.data.image_set import AnnotatedSet, ImageRecord
from sdcn_core.data.images import read_image
from sdcn_core.data.read_images import ReadImages
from sdcn_core.errors import DatasetError

MAX_TOLD = 100
"""images that cannot be used of which is said why; of further ones only how many"""
_READ_TOGETHER = 32
"""images a thread reads between two looks at whether to go on"""


@dataclass(frozen=True)
class SourceReport:
    """What a check has found."""

    classes: tuple[str, ...]
    """class index -> name; empty where no split could be opened"""
    splits: tuple[SplitCounts, ...]
    """those that could be opened, first those that the source names"""
    unusable: int
    """images of the splits that the source names that cannot be used"""
    problems: tuple[str, ...]
    """why nothing can be trained on it or judged; empty: it can be used"""
    notes: tuple[str, ...]
    """what somebody may want to know who uses it all the same"""


@dataclass
class _Told:
    """Sentences; those about splits that the source does not name keep nobody from using it."""

    named: frozenset[str]
    problems: dict[str, None] = field(default_factory=dict)
    notes: dict[str, None] = field(default_factory=dict)
    unusable: dict[str, dict[str, None]] = field(default_factory=dict)
    """split -> why each of its images that cannot be used cannot"""

    def of_split(self, split: str, sentence: str) -> None:
        (self.problems if split in self.named else self.notes)[sentence] = None

    def of_image(self, split: str, sentence: str) -> None:
        self.unusable.setdefault(split, {})[sentence] = None

    def is_sound(self, split: str) -> bool:
        """Whether each image of the split can be used."""
        return not self.unusable.get(split)


def check_source(
    source: DataSource,
    roots: DataRoots,
    *,
    read: ReadImages,
    threads: int,
    progress: Callable[[int, int], None],
) -> SourceReport:
    """Open every split that the source has or names, read every image of them and the masks of the test split, and
    count.

    Args:
        source: made ready by `prepare_source`.
        roots: where it lies.
        read: what was read before; images that have not changed since are not read again.
        threads: that read images side by side.
        progress: called with (files read, files in all), at first and every so often; an exception it raises ends the
            check, and what was read is kept.

    Raises:
        DatasetError: the data set is not there at all; the message names the folder.
    """
    told = _Told(frozenset((source.train_split, source.test_split)))
    opened: dict[str, AnnotatedSet] = {}
    for split in splits_of(source, roots):

        def unusable(error: DatasetError, split: str = split) -> None:
            told.of_image(split, str(error))

        try:
            opened[split] = open_split(source, roots, split, unusable=unusable)
        except DatasetError as error:
            told.of_split(split, str(error))
    test = opened.get(source.test_split)
    broken = _read_files(opened, test, told, read=read, threads=threads, progress=progress)
    _check_train(source, roots, told, opened)
    _check_test(source, told, opened)
    return SourceReport(
        classes=next((annotated.image_set.classes for annotated in opened.values()), ()),
        splits=tuple(count_split(annotated, without=broken) for annotated in opened.values()),
        **_sentences(told),
    )


def _read_files(
    opened: Mapping[str, AnnotatedSet],
    test: AnnotatedSet | None,
    told: _Told,
    *,
    read: ReadImages,
    threads: int,
    progress: Callable[[int, int], None],
) -> frozenset[Path]:
    """Read all images, each once, then the masks of the test split; the images that are broken."""
    records = {record.path: record for annotated in opened.values() for record in annotated.image_set.records}
    masks = None if test is None else test.masks
    masked = [] if test is None or masks is None else [r for r in test.image_set.records if r.image_id in masks]
    unread = [record for path, record in records.items() if not read.knows(path)]
    done, total = len(records) - len(unread), len(records) + len(masked)
    progress(done, total)
    with ThreadPoolExecutor(threads) as pool:
        for batch in _batches(unread, _READ_TOGETHER * threads):
            for record, problem in zip(batch, pool.map(_problem_of, batch), strict=True):
                read.add(record.path, problem)
            done += len(batch)
            progress(done, total)
    broken = frozenset(path for path in records if read.problem(path) is not None)
    for split, annotated in opened.items():
        for record in annotated.image_set.records:
            if (problem := read.problem(record.path)) is not None:
                told.of_image(split, problem)
    for record in masked:
        assert masks is not None
        try:
            masks.read(record)
        except DatasetError as error:
            told.problems[str(error)] = None
        done += 1
        progress(done, total)
    return broken


def _batches(records: Sequence[ImageRecord], size: int) -> Iterable[Sequence[ImageRecord]]:
    return (records[start : start + size] for start in range(0, len(records), size))


def _problem_of(record: ImageRecord) -> str | None:
    """Why the image cannot be used; None: it can."""
    try:
        height, width = read_image(record.path).shape[:2]
    except DatasetError as error:
        return str(error)
    if (height, width) == (record.height, record.width):
        return None
    return (
        f"image {record.path} is {width} x {height} pixels, {record.width} x {record.height} in the data set: correct"
        " the size there, or put the image back that belongs there"
    )


def _check_train(source: DataSource, roots: DataRoots, told: _Told, opened: Mapping[str, AnnotatedSet]) -> None:
    """Open the training split as a training does, which wants an image of each class."""
    split = source.train_split
    if split not in opened or not told.is_sound(split):
        return
    try:
        open_train_set(source, roots, labels_from_difficult=False)
    except DatasetError as error:
        try:
            open_train_set(source, roots, labels_from_difficult=True)
        except DatasetError:
            told.of_split(split, str(error))
        else:
            told.notes[str(error)] = None


def _check_test(source: DataSource, told: _Told, opened: Mapping[str, AnnotatedSet]) -> None:
    """What cannot be judged, and what is judged that was learnt."""
    train, test = opened.get(source.train_split), opened.get(source.test_split)
    if test is not None and test.has_nothing_to_find:
        told.of_split(
            source.test_split,
            f"split {source.test_split!r} has no object that counts, so nothing could be judged on it: name another as"
            " test_split",
        )
    if test is not None and test.annotations is None:
        told.notes[f"split {source.test_split!r} has no boxes, so AP cannot be counted on it"] = None
    if train is None or test is None:
        return
    learnt = {record.path for record in train.image_set.records}
    both = sum(record.path in learnt for record in test.image_set.records)
    if both:
        told.notes[
            f"{both} of the images of split {source.test_split!r} are in {source.train_split!r} too: a model is judged"
            " on images that it has learnt from"
        ] = None


def _sentences(told: _Told) -> dict[str, Any]:
    unusable = {s: None for split in told.unusable if split in told.named for s in told.unusable[split]}
    elsewhere = {s: None for split in told.unusable if split not in told.named for s in told.unusable[split]}
    problems = [*told.problems, *_first(list(unusable))]
    notes = [*told.notes, *_first([sentence for sentence in elsewhere if sentence not in unusable])]
    return {
        "unusable": len(unusable),
        "problems": tuple(problems),
        "notes": tuple(note for note in notes if note not in told.problems),
    }


def _first(sentences: Sequence[str]) -> list[str]:
    more = len(sentences) - MAX_TOLD
    rest = [f"{more} more image{'' if more == 1 else 's'} cannot be used"] if more > 0 else []
    return [*sentences[:MAX_TOLD], *rest]
