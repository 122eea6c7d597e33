import gzip
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sdcn_core.config.evaluation import EvaluationConfig
from sdcn_core.data.image_set import AnnotatedSet, ImageRecord, ImageSet
from sdcn_core.errors import BadInput
from sdcn_core.evaluation.comp4 import load_comp4, rounded, save_comp4
from sdcn_core.evaluation.evaluator import ScoredSplit, judge
from sdcn_core.structures.annotation import Detections
from tests.sdcn_core.evaluation.made_up import annotation, detections

CLASSES = ("cat", "dog")
MAIN = "results/VOC2012/Main"


def unpacked(found: tuple[Detections, ...], folder: Path) -> Path:
    """The folder of files in the archive of these detections."""
    save_comp4(found, CLASSES, folder / "comp4.tar.gz", data_set="VOC2012", split="test")
    with tarfile.open(folder / "comp4.tar.gz") as archive:
        archive.extractall(folder, filter="data")
    return folder / MAIN


def test_a_line_counts_pixels_from_one_with_both_edges_included(tmp_path: Path) -> None:
    folder = unpacked((detections([[0, 9, 20, 30.25]], [0.5], [0], "2008_000001"),), tmp_path)
    assert (folder / "comp4_det_test_cat.txt").read_text() == "2008_000001 0.5 1.0 10.0 20.0 30.2\n"


def test_the_archive_holds_a_file_for_each_class_an_empty_one_too(tmp_path: Path) -> None:
    unpacked((detections([], [], [], "a"),), tmp_path)
    with tarfile.open(tmp_path / "comp4.tar.gz") as archive:
        assert {member.name: member.size for member in archive} == {
            f"{MAIN}/comp4_det_test_cat.txt": 0,
            f"{MAIN}/comp4_det_test_dog.txt": 0,
        }


def test_detections_survive_their_files_but_for_what_is_below_a_tenth_of_a_pixel(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    corners = rng.random((40, 2)) * 400
    boxes = np.concatenate([corners, corners + rng.random((40, 2)) * 90], axis=1)
    scores = np.sort(rng.random(40).reshape(2, 20) ** 12)[:, ::-1].ravel()
    found = (detections(boxes, scores, np.arange(40) // 20, "a"), detections([], [], [], "b"))
    assert found[0].scores.min() < 1e-6
    again = load_comp4(unpacked(found, tmp_path), CLASSES, ["a", "b"], split="test")
    for before, after in zip(found, again, strict=True):
        assert after.image_id == before.image_id
        np.testing.assert_array_equal(after.scores, before.scores, strict=True)
        np.testing.assert_array_equal(after.classes, before.classes, strict=True)
        np.testing.assert_allclose(after.boxes, before.boxes, atol=0.0501)


def test_files_may_be_zipped_and_come_back_best_first(tmp_path: Path) -> None:
    (tmp_path / "comp4_det_val_cat.txt.gz").write_bytes(
        gzip.compress(b"b 0.1 1 1 2 2\nb 0.7 3 3 4 4\na 1e-05 1 1 2 2\n")
    )
    (tmp_path / "comp4_det_val_dog.txt").write_text("")
    of_a, of_b = load_comp4(tmp_path, CLASSES, ["a", "b"], split="val")
    assert of_a.scores.tolist() == pytest.approx([1e-5])
    assert of_b.boxes.tolist() == [[2, 2, 4, 4], [0, 0, 2, 2]]


@pytest.mark.parametrize(
    "line",
    ["c 0.5 1 1 2 2", "a 0.5 1 1 2", "a 0.5 1 1 2 2 2", "a x 1 1 2 2", "a nan 1 1 2 2", "a 0.5 1 1 2 inf", "a", ""],
)
def test_a_line_that_is_no_detection_of_the_split_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "comp4_det_test_cat.txt").write_text(f"a 0.5 1 1 2 2\n{line}\n")
    with pytest.raises(BadInput, match=r"comp4_det_test_cat\.txt, line 2"):
        load_comp4(tmp_path, CLASSES, ["a"], split="test")


def test_an_endless_line_is_not_read_to_its_end(tmp_path: Path) -> None:
    (tmp_path / "comp4_det_test_cat.txt.gz").write_bytes(gzip.compress(b"a" * 5_000_000))
    with pytest.raises(BadInput, match="line 1"):
        load_comp4(tmp_path, CLASSES, ["a"], split="test")


def test_files_beyond_all_measure_are_not_read_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sdcn_core.evaluation.comp4.MAX_LINES", 2)
    (tmp_path / "comp4_det_test_cat.txt").write_text("a 0.5 1 1 2 2\n" * 3)
    with pytest.raises(BadInput, match="line 3: more than 2 lines"):
        load_comp4(tmp_path, CLASSES, ["a"], split="test")


@pytest.mark.parametrize(
    "spoil",
    [
        lambda path: None,
        lambda path: path.write_bytes(b"no gzip"),
        lambda path: path.write_bytes(gzip.compress(bytes(range(256)) * 99)[:-40]),
        lambda path: path.write_bytes(gzip.compress(b"\xff\xfe a 0.5 1 1 2 2")),
    ],
    ids=["missing", "not zipped", "cut off", "no text"],
)
def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, spoil: Callable[[Path], object]) -> None:
    spoil(tmp_path / "comp4_det_test_cat.txt.gz")
    with pytest.raises(BadInput, match=r"comp4_det_test_cat\.txt"):
        load_comp4(tmp_path, CLASSES, ["a"], split="test")


def test_rounding_is_that_of_the_text_in_the_files_of_oicr() -> None:
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 8000, (500, 2)) / 16  # ties of a tenth are common
    boxes = np.concatenate([corners, corners + rng.integers(1, 800, (500, 2)) / 16], axis=1)
    scores = np.concatenate([rng.random(250) ** 8, rng.integers(0, 16000, 250) / 16000])
    found = rounded(detections(boxes, scores, np.zeros(500)))
    first_pixel = np.array([1, 1, 0, 0])
    written = np.array([[float(f"{edge:.1f}") for edge in box] for box in boxes + first_pixel])
    np.testing.assert_array_equal(found.boxes, (written - first_pixel).astype(np.float32))
    np.testing.assert_array_equal(found.scores, np.float32([f"{score:.3f}" for score in np.float32(scores)]))


def test_rounded_scores_tie_and_the_earlier_image_wins_where_that_is_asked_for() -> None:
    box = np.array([[0, 0, 10, 10]], np.float32)
    records = tuple(ImageRecord(name, Path(f"{name}.jpg"), 20, 20, ()) for name in "ab")
    truths = (annotation([], [], image_id="a"), annotation(box, [0], image_id="b"))
    split = AnnotatedSet(ImageSet("test", ("cat",), records), truths)
    scores = {0: np.array([[0.4996]], np.float32), 1: np.array([[0.5004]], np.float32)}

    def ap(**fields: object) -> float | None:
        config = EvaluationConfig.model_validate(fields | {"ap": "area"})
        return judge(ScoredSplit(split, scores, dict.fromkeys("ab", box)), None, config).report.mean_ap

    assert (ap(), ap(rounded=True)) == (1.0, 0.5)
