"""A whole folder of images predicted, one after another; what is done is kept, broken images are listed."""

import csv
import json
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from textwrap import indent
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdcn_core.data.images import decode_image, read_image, read_image_bytes
from sdcn_core.errors import DatasetError
from sdcn_core.inference.journal import Done, Journal
from sdcn_core.inference.page import predictions_page
from sdcn_core.inference.prediction import FoundBox
from sdcn_core.inference.predictor import Predictor

JOURNAL_FILE = "predictions.jsonl"
JSON_FILE = "predictions.json"
TABLE_FILE = "predictions.csv"
PAGE_FILE = "predictions.png"
SUFFIXES = frozenset({".jpg", ".jpeg", ".png"})
PICTURED_IMAGES = 24


@dataclass(frozen=True)
class FolderOutcome:
    stopped: bool
    """True: asked to stop; what was done is kept for the next call, and there are no files"""
    images: int
    """read and predicted"""
    broken: tuple[str, ...]
    """images that cannot be read or whose names are no UTF-8, as paths below the folder"""
    boxes: int
    seconds_per_image: float | None
    """median, proposals included; None: no image was predicted"""
    seconds_per_image_p95: float | None
    files: dict[str, Path]
    """by name"""


def predict_folder(
    predictor: Predictor,
    folder: Path,
    *,
    out: Path,
    score_threshold: float,
    max_boxes: int,
    fast: bool,
    progress: Callable[[int, int], None],
    should_stop: Callable[[], bool],
) -> FolderOutcome:
    """Predict every JPEG and PNG in the folder and its subfolders, in order of their paths.

    Writes into `out`: predictions.json (settings, every image with its boxes and times, broken images with the reason),
    predictions.csv (a line a box), predictions.png (up to 24 images, evenly spread, with their boxes). A call on the
    `out` of an earlier one with the same model and settings goes on after its last image.

    Args:
        predictor: the model.
        folder: holds the images; links to folders are not followed.
        out: made when needed; not within `folder`.
        score_threshold: see `Predictor.predict`, as the next two.
        max_boxes: of an image.
        fast: one pass an image.
        progress: called with (images done, images to do), at first and after each.
        should_stop: asked before each image.

    Raises:
        DatasetError: the folder does not exist, or holds no image.
        WeightsError: the network's scores are not finite.
    """
    names = _image_names(folder)
    out.mkdir(parents=True, exist_ok=True)
    settings = {"score_threshold": score_threshold, "max_boxes": max_boxes, "fast": fast}
    with Journal(out / JOURNAL_FILE, {"format": 1, "model_sha256": predictor.sha256, **settings}) as journal:
        left = [name for name in names if name not in journal.done]
        progress(len(names) - len(left), len(names))
        for done, name in enumerate(left, start=len(names) - len(left) + 1):
            if should_stop():
                return _outcome({name: journal.done[name] for name in names if name in journal.done}, {}, stopped=True)
            journal.add(_entry(predictor, folder, name, names[name], settings))
            progress(done, len(names))
        files = {JSON_FILE: out / JSON_FILE, TABLE_FILE: out / TABLE_FILE}
        found = {name: journal.done[name] for name in names}
        outcome = _outcome(found, files, stopped=False)
        predicted = [name for name, done in found.items() if not done.is_broken]
        _write_json(predictor, settings, journal, predicted, outcome, files[JSON_FILE])
        _write_table(journal, predicted, files[TABLE_FILE])
        if _picture(predictor, folder, journal, predicted, out / PAGE_FILE):
            files[PAGE_FILE] = out / PAGE_FILE
    return outcome


def _image_names(folder: Path) -> dict[str, str]:
    """Images below the folder, as relative paths with '/', sorted: name in UTF-8 -> name as the folder has it.

    Bytes that are no UTF-8 are escaped in the first; no other program could read a table or a JSON file with them.
    """
    if not folder.is_dir():
        raise DatasetError(f"folder {folder} does not exist: name a folder of images below the data root")
    names = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")  # does not enter links to folders
        if path.suffix.lower() in SUFFIXES and path.is_file()
    ]
    if not names:
        raise DatasetError(f"folder {folder} holds no file that ends in .jpg, .jpeg or .png: name another")
    # Backwards: where one file's name has such a byte and another's its escape, the second, which is sound, stays.
    in_utf8 = {os.fsencode(name).decode("utf-8", "backslashreplace"): name for name in sorted(names, reverse=True)}
    return dict(sorted(in_utf8.items()))


def _entry(predictor: Predictor, folder: Path, name: str, own_name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What predictions.json says of one image."""
    if name != own_name:
        return {"file": name, "broken": f"image {name}: its name is not UTF-8: rename it"}
    try:
        image = decode_image(read_image_bytes(folder / name), Path(name))
    except DatasetError as error:
        return {"file": name, "broken": str(error).replace(f"{folder}/", "")}
    return {"file": name, **predictor.predict(image, **settings).to_json()}


def _outcome(found: Mapping[str, Done], files: dict[str, Path], *, stopped: bool) -> FolderOutcome:
    seconds = [done.seconds for done in found.values() if not done.is_broken]
    return FolderOutcome(
        stopped=stopped,
        images=len(seconds),
        broken=tuple(name for name, done in found.items() if done.is_broken),
        boxes=sum(done.boxes for done in found.values()),
        seconds_per_image=float(np.median(seconds)) if seconds else None,
        seconds_per_image_p95=float(np.percentile(seconds, 95)) if seconds else None,
        files=files,
    )


def _write_json(
    predictor: Predictor,
    settings: Mapping[str, Any],
    journal: Journal,
    predicted: Sequence[str],
    outcome: FolderOutcome,
    path: Path,
) -> None:
    """What `json.dumps` would make of all at once, written an image at a time."""
    heading = {
        "model_sha256": predictor.sha256,
        "classes": list(predictor.classes),
        **settings,
        "seconds_per_image": {"median": outcome.seconds_per_image, "p95": outcome.seconds_per_image_p95},
    }
    lists: dict[str, Iterator[object]] = {
        "images": map(journal.entry, predicted),
        "broken": ({"file": name, "reason": journal.entry(name)["broken"]} for name in outcome.broken),
    }
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w") as file:
        file.write(json.dumps(heading, indent=1).removesuffix("\n}"))
        for name, values in lists.items():
            file.write(f",\n {json.dumps(name)}: [")
            between, end = "\n", "]"
            for value in values:
                file.write(between + indent(json.dumps(value, indent=1), "  "))
                between, end = ",\n", "\n ]"
            file.write(end)
        file.write("\n}")
    partial.replace(path)


def _write_table(journal: Journal, predicted: Sequence[str], path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "class", "score", "x1", "y1", "x2", "y2"])
        for name in predicted:
            rows.writerows([name, box["class"], box["score"], *box["xyxy"]] for box in journal.entry(name)["boxes"])
    partial.replace(path)


def _picture(predictor: Predictor, folder: Path, journal: Journal, predicted: Sequence[str], path: Path) -> bool:
    """Draw the page; False where there is no image to draw."""
    count = min(PICTURED_IMAGES, len(predicted))
    places = np.linspace(0, len(predicted) - 1, count).round().astype(int)
    shown = _shown(folder, (journal.entry(predicted[place]) for place in places))
    return predictions_page(shown, predictor.classes, path, title=f"{count} of {len(predicted)} images")


def _shown(
    folder: Path, entries: Iterable[dict[str, Any]]
) -> Iterator[tuple[str, NDArray[np.uint8], tuple[FoundBox, ...]]]:
    for entry in entries:
        try:
            image = read_image(folder / entry["file"])
        except DatasetError:
            continue  # it was there when it was predicted, and is no longer
        yield entry["file"], image, tuple(FoundBox.from_json(box) for box in entry["boxes"])
