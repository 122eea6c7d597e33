import csv
import json
import os
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray

from sdcn_core.errors import DatasetError
from sdcn_core.inference import folder as folder_module
from sdcn_core.inference.folder import FolderOutcome, predict_folder
from sdcn_core.inference.predictor import Predictor

CALM = {"score_threshold": 0.0, "max_boxes": 5, "fast": True}


@pytest.fixture
def folder(tmp_path: Path, photograph: NDArray[np.uint8]) -> Path:
    """Three images, one of them in a subfolder, two that are none, and a text."""
    folder = tmp_path / "images"
    (folder / "b").mkdir(parents=True)
    for name in ("c.PNG", "a.jpg", "b/z.jpeg"):
        cv2.imwrite(str(folder / name), photograph)
    (folder / "broken.jpg").write_bytes((folder / "a.jpg").read_bytes()[:300])
    (folder / "empty.png").touch()
    (folder / "readme.txt").write_text("no image")
    return folder


def predicted(
    predictor: Predictor, folder: Path, out: Path, *, stop_after: int | None = None, **settings: object
) -> tuple[FolderOutcome, list[tuple[int, int]]]:
    told: list[tuple[int, int]] = []
    outcome = predict_folder(
        predictor,
        folder,
        out=out,
        progress=lambda done, total: told.append((done, total)),
        should_stop=lambda: stop_after is not None and told[-1][0] >= stop_after,
        **CALM | settings,  # type: ignore[arg-type]
    )
    return outcome, told


def test_every_image_is_predicted_and_broken_ones_are_listed(
    predictor: Predictor, folder: Path, tmp_path: Path
) -> None:
    outcome, told = predicted(predictor, folder, tmp_path / "out")
    assert (outcome.images, outcome.broken, outcome.stopped) == (3, ("broken.jpg", "empty.png"), False)
    assert told == [(done, 5) for done in range(6)]
    content = json.loads(outcome.files["predictions.json"].read_text())
    assert [image["file"] for image in content["images"]] == ["a.jpg", "b/z.jpeg", "c.PNG"]
    assert [entry["reason"].split(":")[0] for entry in content["broken"]] == [
        "image broken.jpg is broken or cut off",
        "image empty.png is neither JPEG nor PNG",
    ]


def test_the_table_has_a_line_a_box_and_the_times_are_summed_up(
    predictor: Predictor, folder: Path, tmp_path: Path
) -> None:
    outcome, _ = predicted(predictor, folder, tmp_path / "out")
    with outcome.files["predictions.csv"].open(newline="") as file:
        rows = list(csv.DictReader(file))
    images = json.loads(outcome.files["predictions.json"].read_text())["images"]
    boxes = [(image["file"], box) for image in images for box in image["boxes"]]
    assert outcome.boxes == len(rows) == len(boxes) > 3
    assert [(row["file"], row["class"], float(row["score"])) for row in rows] == [
        (name, box["class"], box["score"]) for name, box in boxes
    ]
    totals = sorted(image["seconds"]["total"] for image in images)
    assert outcome.seconds_per_image == totals[1]
    assert outcome.seconds_per_image_p95 == pytest.approx(totals[1] + 0.9 * (totals[2] - totals[1]))


def test_the_page_shows_the_images(predictor: Predictor, folder: Path, tmp_path: Path) -> None:
    outcome, _ = predicted(predictor, folder, tmp_path / "out")
    page = cv2.imread(str(outcome.files["predictions.png"]))
    assert page.shape[1] == 3 * 320 + 20
    assert len(np.unique(page.reshape(-1, 3), axis=0)) > 100


def test_a_call_that_was_stopped_goes_on_where_it_was(predictor: Predictor, folder: Path, tmp_path: Path) -> None:
    whole, _ = predicted(predictor, folder, tmp_path / "whole")
    outcome, _ = predicted(predictor, folder, tmp_path / "out", stop_after=2)
    assert (outcome.stopped, outcome.images, outcome.files) == (True, 2, {})
    outcome, told = predicted(predictor, folder, tmp_path / "out")
    assert told[0] == (2, 5)
    assert _boxes(outcome) == _boxes(whole)


def test_a_line_that_a_kill_cut_off_is_done_again(predictor: Predictor, folder: Path, tmp_path: Path) -> None:
    whole, _ = predicted(predictor, folder, tmp_path / "out")
    before = _boxes(whole)
    journal = tmp_path / "out" / "predictions.jsonl"
    journal.write_bytes(journal.read_bytes()[:-20])
    outcome, told = predicted(predictor, folder, tmp_path / "out")
    assert told == [(4, 5), (5, 5)]
    assert _boxes(outcome) == before


def test_other_settings_start_anew(predictor: Predictor, folder: Path, tmp_path: Path) -> None:
    predicted(predictor, folder, tmp_path / "out")
    outcome, told = predicted(predictor, folder, tmp_path / "out", max_boxes=1)
    assert told[0] == (0, 5)
    assert outcome.boxes == outcome.images == 3
    lines = (tmp_path / "out" / "predictions.jsonl").read_text().splitlines()
    assert [json.loads(line).get("file") for line in lines[1:]] == [
        "a.jpg",
        "b/z.jpeg",
        "broken.jpg",
        "c.PNG",
        "empty.png",
    ]


def test_an_image_that_vanished_after_its_prediction_is_left_out_of_the_page(
    predictor: Predictor, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    predicted(predictor, folder, tmp_path / "out", stop_after=5)
    predict = predictor.predict
    for name in ("a.jpg", "b/z.jpeg"):
        (folder / name).unlink()
    (folder / "d.png").write_bytes((folder / "c.PNG").read_bytes())
    monkeypatch.setattr(predictor, "predict", lambda *a, **k: ((folder / "c.PNG").unlink(True), predict(*a, **k))[1])
    outcome, _ = predicted(predictor, folder, tmp_path / "out")
    assert outcome.images == 2
    assert cv2.imread(str(outcome.files["predictions.png"])).shape[1] == 2 * 320 + 20


def test_a_folder_of_broken_images_is_no_failure(predictor: Predictor, tmp_path: Path) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    (folder / "x.jpg").write_bytes(b"\xff\xd8nothing")
    outcome, _ = predicted(predictor, folder, tmp_path / "out")
    assert (outcome.images, outcome.broken, outcome.seconds_per_image) == (0, ("x.jpg",), None)
    assert "predictions.png" not in outcome.files


def test_a_folder_that_is_missing_or_holds_no_image_is_refused(predictor: Predictor, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="does not exist"):
        predicted(predictor, tmp_path / "none", tmp_path / "out")
    (tmp_path / "texts").mkdir()
    with pytest.raises(DatasetError, match="holds no file that ends in"):
        predicted(predictor, tmp_path / "texts", tmp_path / "out")


@pytest.mark.parametrize("name", [b"\xe9.jpg", b"\xff/a.jpg"], ids=["file", "folder"])
def test_a_file_whose_name_is_no_utf_8_is_listed_to_be_renamed(
    predictor: Predictor, folder: Path, tmp_path: Path, name: bytes
) -> None:
    path, shown = folder / os.fsdecode(name), name.decode(errors="backslashreplace")
    path.parent.mkdir(exist_ok=True)
    path.write_bytes((folder / "a.jpg").read_bytes())
    outcome, _ = predicted(predictor, folder, tmp_path / "out")
    assert (outcome.images, set(outcome.broken)) == (3, {"broken.jpg", "empty.png", shown})
    content = json.loads(outcome.files["predictions.json"].read_text())
    assert {"file": shown, "reason": f"image {shown}: its name is not UTF-8: rename it"} in content["broken"]
    assert all(name.encode() for name in outcome.broken)  # which a lone surrogate would refuse
    assert predicted(predictor, folder, tmp_path / "out")[1] == [(6, 6)]  # and it is not tried again


def test_an_image_is_predicted_whose_name_is_the_escape_of_anothers(predictor: Predictor, folder: Path) -> None:
    for name in (b"\xff.jpg", rb"\xff.jpg"):
        (folder / os.fsdecode(name)).write_bytes((folder / "a.jpg").read_bytes())
    outcome, _ = predicted(predictor, folder, folder.parent / "out")
    assert (outcome.images, r"\xff.jpg" in outcome.broken) == (4, False)


def test_the_json_file_is_what_would_have_been_written_at_once(
    predictor: Predictor, folder: Path, tmp_path: Path
) -> None:
    (folder / "lone").mkdir()
    (folder / "c.PNG").rename(folder / "lone" / "\x85\u2028.png")
    for images in (folder, folder / "lone"):
        outcome, _ = predicted(predictor, images, tmp_path / images.name)
        written = outcome.files["predictions.json"].read_text()
        assert written == json.dumps(json.loads(written), indent=1)


def test_memory_does_not_grow_with_the_boxes_that_were_found(
    predictor: Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "predictions_page", lambda *_, **__: False)  # its pixels are not meant here
    folder = tmp_path / "images"
    folder.mkdir()
    for k in range(300):
        (folder / f"{k}.png").touch()
    box = {"class": "cat", "score": 0.123456789, "xyxy": [1.5, 2.5, 3.5, 4.5]}
    seconds = {"proposals": 1.0, "network": 1.0, "nms": 1.0, "total": 3.0}
    found = {"width": 9, "height": 9, "proposals": 9, "boxes": [box] * 100, "seconds": seconds}
    heading = {"format": 1, "model_sha256": predictor.sha256, **CALM}
    lines = [heading, *({"file": f"{k}.png", **found} for k in range(300))]
    (tmp_path / "out").mkdir()
    journal = tmp_path / "out" / "predictions.jsonl"
    journal.write_text("".join(json.dumps(line) + "\n" for line in lines))
    tracemalloc.start()
    outcome, told = predicted(predictor, folder, tmp_path / "out")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (outcome.boxes, outcome.seconds_per_image, told) == (30_000, 3.0, [(300, 300)])
    assert peak < journal.stat().st_size / 2


def _boxes(outcome: FolderOutcome) -> dict[str, object]:
    content = json.loads(outcome.files["predictions.json"].read_text())
    return {image["file"]: image["boxes"] for image in content["images"]}
