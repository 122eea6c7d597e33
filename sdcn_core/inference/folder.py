"""A whole folder of images predicted, one after another; what is done is kept, broken images are listed."""

import csv
import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sdcn_core.data.images import decode_image, read_image, read_image_bytes
from sdcn_core.errors import DatasetError
from sdcn_core.inference.journal import Journal
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
    """images that cannot be read, as paths below the folder"""
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
        left = [name for name in names if name not in journal.entries]
        progress(len(names) - len(left), len(names))
        for done, name in enumerate(left, start=len(names) - len(left) + 1):
            if should_stop():
                return _outcome([journal.entries[name] for name in names if name in journal.entries], {}, stopped=True)
            journal.add(_entry(predictor, folder, name, settings))
            progress(done, len(names))
        entries = [journal.entries[name] for name in names]
    files = {JSON_FILE: out / JSON_FILE, TABLE_FILE: out / TABLE_FILE}
    outcome = _outcome(entries, files, stopped=False)
    _write_json(predictor, settings, entries, outcome, files[JSON_FILE])
    _write_table(entries, files[TABLE_FILE])
    if _picture(predictor, folder, entries, out / PAGE_FILE):
        files[PAGE_FILE] = out / PAGE_FILE
    return outcome


def _image_names(folder: Path) -> list[str]:
    """Images below the folder, as relative paths with '/', sorted."""
    if not folder.is_dir():
        raise DatasetError(f"folder {folder} does not exist: name a folder of images below the data root")
    names = [
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")  # does not enter links to folders
        if path.suffix.lower() in SUFFIXES and path.is_file()
    ]
    if not names:
        raise DatasetError(f"folder {folder} holds no file that ends in .jpg, .jpeg or .png: name another")
    return sorted(names)


def _entry(predictor: Predictor, folder: Path, name: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What predictions.json says of one image."""
    try:
        image = decode_image(read_image_bytes(folder / name), Path(name))
    except DatasetError as error:
        return {"file": name, "broken": str(error).replace(f"{folder}/", "")}
    return {"file": name, **predictor.predict(image, **settings).to_json()}


def _outcome(entries: list[dict[str, Any]], files: dict[str, Path], *, stopped: bool) -> FolderOutcome:
    predicted = [entry for entry in entries if "broken" not in entry]
    seconds = [entry["seconds"]["total"] for entry in predicted]
    return FolderOutcome(
        stopped=stopped,
        images=len(predicted),
        broken=tuple(entry["file"] for entry in entries if "broken" in entry),
        boxes=sum(len(entry["boxes"]) for entry in predicted),
        seconds_per_image=float(np.median(seconds)) if seconds else None,
        seconds_per_image_p95=float(np.percentile(seconds, 95)) if seconds else None,
        files=files,
    )


def _write_json(
    predictor: Predictor,
    settings: Mapping[str, Any],
    entries: list[dict[str, Any]],
    outcome: FolderOutcome,
    path: Path,
) -> None:
    content = {
        "model_sha256": predictor.sha256,
        "classes": list(predictor.classes),
        **settings,
        "seconds_per_image": {"median": outcome.seconds_per_image, "p95": outcome.seconds_per_image_p95},
        "images": [entry for entry in entries if "broken" not in entry],
        "broken": [{"file": entry["file"], "reason": entry["broken"]} for entry in entries if "broken" in entry],
    }
    partial = path.with_name(f".{path.name}.partial")
    partial.write_text(json.dumps(content, indent=1))
    partial.replace(path)


def _write_table(entries: list[dict[str, Any]], path: Path) -> None:
    partial = path.with_name(f".{path.name}.partial")
    with partial.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["file", "class", "score", "x1", "y1", "x2", "y2"])
        for entry in entries:
            rows.writerows([entry["file"], box["class"], box["score"], *box["xyxy"]] for box in entry.get("boxes", ()))
    partial.replace(path)


def _picture(predictor: Predictor, folder: Path, entries: list[dict[str, Any]], path: Path) -> bool:
    """Draw the page; False where there is no image to draw."""
    predicted = [entry for entry in entries if "broken" not in entry]
    count = min(PICTURED_IMAGES, len(predicted))
    places = np.linspace(0, len(predicted) - 1, count).round().astype(int)
    shown = _shown(folder, [predicted[place] for place in places])
    return predictions_page(shown, predictor.classes, path, title=f"{count} of {len(predicted)} images")


def _shown(
    folder: Path, entries: list[dict[str, Any]]
) -> Iterator[tuple[str, NDArray[np.uint8], tuple[FoundBox, ...]]]:
    for entry in entries:
        try:
            image = read_image(folder / entry["file"])
        except DatasetError:
            continue  # it was there when it was predicted, and is no longer
        yield entry["file"], image, tuple(FoundBox.from_json(box) for box in entry["boxes"])
