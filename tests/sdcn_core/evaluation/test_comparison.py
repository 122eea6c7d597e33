from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from sdcn_core.errors import BadInput
from sdcn_core.evaluation import comparison
from sdcn_core.evaluation.comparison import FIRST_COLOUR, LAST_COLOUR, comparison_of
from sdcn_core.evaluation.gallery import ROWS, draw_gallery
from sdcn_core.evaluation.predictions import Predictions, save_predictions
from sdcn_core.structures.annotation import Detections
from tests.sdcn_core.evaluation.made_up import detections
from tests.sdcn_core.evaluation.splits import CAT_BOX, CLASSES, DOG_BOX, small_split

GRID = np.full((6, 6), 2, np.uint8)


def perfect(count: int) -> list[Detections]:
    return [
        detections([CAT_BOX, DOG_BOX], [0.9, 0.8], [0, 1], f"im{k}")
        if k % 2
        else detections([CAT_BOX], [0.9], [0], f"im{k}")
        for k in range(count)
    ]


def kept(
    folder: Path, name: str, found: Sequence[Detections], *, maps: bool = False, classes: tuple[str, ...] = CLASSES
) -> Path:
    path = folder / f"{name}.npz"
    save_predictions(Predictions(classes, tuple(found), {one.image_id: GRID for one in found} if maps else {}), path)
    return path


def chosen_ids(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The images of the pages that are drawn from now on."""
    ids: list[str] = []
    draw = comparison.comparison_page

    def noted(images: object, annotations: Sequence[object], *args: object, **options: object) -> None:
        ids.extend(annotation.image_id for annotation in annotations)  # type: ignore[attr-defined]
        draw(images, annotations, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(comparison, "comparison_page", noted)
    return ids


def test_the_first_network_s_boxes_are_red_and_the_last_one_s_green(tmp_path: Path) -> None:
    files = {"OICR": kept(tmp_path, "a", perfect(3)), "SDCN": kept(tmp_path, "b", perfect(3), maps=True)}
    comparison_of(files, small_split(tmp_path, 3, masked=2), tmp_path / "p.png", count=2, choose="spread")
    page = cv2.cvtColor(cv2.imread(str(tmp_path / "p.png")), cv2.COLOR_BGR2RGB)
    assert page.shape[1] == 20 + 4 * 320, "truth, two of detections, one of maps"
    for column, colour in ((1, FIRST_COLOUR), (2, LAST_COLOUR)):
        left = 20 + 320 * column
        assert (page[:, left : left + 300] == colour).all(axis=2).sum() > 1000


@pytest.mark.parametrize(
    ("choose", "first"),
    [("spread", ["im0", "im5"]), ("largest_gain", ["im4", "im2"]), ("largest_loss", ["im3"])],
)
def test_images_are_chosen_by_what_the_last_gains_or_loses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, choose: comparison.Choice, first: list[str]
) -> None:
    before, after = perfect(6), perfect(6)
    before[2] = detections([[4, 4, 24, 16]], [0.9], [0], "im2")
    before[4] = detections([[0, 0, 5, 5]], [0.9], [0], "im4")
    after[3] = detections([[0, 0, 5, 5]], [0.9], [0], "im3")
    ids = chosen_ids(monkeypatch)
    files = {"before": kept(tmp_path, "a", before), "after": kept(tmp_path, "b", after)}
    comparison_of(files, small_split(tmp_path, 6), tmp_path / "p.jpg", count=2, choose=choose)
    assert ids == first


def test_more_images_than_there_are_draw_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ids = chosen_ids(monkeypatch)
    files = {"a": kept(tmp_path, "a", perfect(2)), "b": kept(tmp_path, "b", perfect(2))}
    comparison_of(files, small_split(tmp_path, 2), tmp_path / "p.jpg", count=9, choose="spread")
    assert sorted(ids) == ["im0", "im1"]


@pytest.mark.parametrize("choose", ["largest_gain", "largest_loss"])
def test_where_nothing_is_gained_or_lost_there_is_no_page_of_it(tmp_path: Path, choose: comparison.Choice) -> None:
    files = {"a": kept(tmp_path, "a", perfect(2)), "b": kept(tmp_path, "b", perfect(2))}
    assert not comparison_of(files, small_split(tmp_path, 2), tmp_path / "p.jpg", count=9, choose=choose)
    assert not (tmp_path / "p.jpg").exists()


def test_predictions_of_other_images_or_classes_are_named(tmp_path: Path) -> None:
    split, good = small_split(tmp_path, 3), kept(tmp_path, "good", perfect(3))
    others = [kept(tmp_path, "fewer", perfect(2)), kept(tmp_path, "names", perfect(3), classes=("cat", "cow"))]
    for other in others:
        with pytest.raises(BadInput, match=rf"{other.name} are of other images or classes than split test"):
            comparison_of({"a": good, "b": other}, split, tmp_path / "p.jpg", count=1, choose="spread")


def test_one_network_alone_is_no_comparison(tmp_path: Path) -> None:
    good = kept(tmp_path, "good", perfect(2))
    with pytest.raises(ValueError, match="two networks"):
        comparison_of({"a": good}, small_split(tmp_path, 2), tmp_path / "p.jpg", count=1, choose="spread")


@pytest.mark.parametrize("count", [1, 2, 3, 30])
@pytest.mark.parametrize("objects", [True, False], ids=["objects", "no objects"])
def test_a_gallery_of_any_split_has_few_large_rows(tmp_path: Path, count: int, objects: bool) -> None:
    found = perfect(count)
    maps = {one.image_id: GRID for one in found}
    split = small_split(tmp_path, count, masked=1 if objects else 0, objects=objects)
    draw_gallery(Predictions(CLASSES, tuple(found), maps), split, tmp_path / "g.jpg")
    page = cv2.imread(str(tmp_path / "g.jpg"))
    assert page.shape[1] == 980
    assert page.shape[0] // 300 >= min(count, 2 * ROWS)
    assert page.shape[0] < 300 + 400 * min(count, 2 * ROWS)


def test_a_network_that_detects_nothing_has_a_gallery(tmp_path: Path) -> None:
    nothing = tuple(detections([], [], [], f"im{k}") for k in range(2))
    draw_gallery(Predictions(CLASSES, nothing, {}), small_split(tmp_path, 2), tmp_path / "g.jpg")
    assert cv2.imread(str(tmp_path / "g.jpg")).shape[1] == 660


def test_networks_are_compared_side_by_side_where_nobody_drew_boxes_and_none_gains(tmp_path: Path) -> None:
    files = {name: kept(tmp_path, name, perfect(3)) for name in ("OICR", "SDCN")}
    bare = replace(small_split(tmp_path, 3), annotations=None)
    assert comparison_of(files, bare, tmp_path / "p.png", count=2, choose="spread")
    page = cv2.cvtColor(cv2.imread(str(tmp_path / "p.png")), cv2.COLOR_BGR2RGB)
    assert (page[:, 340:640] == FIRST_COLOUR).all(axis=2).sum() > 1000
    for choose in ("largest_gain", "largest_loss"):
        assert not comparison_of(files, bare, tmp_path / "q.png", count=2, choose=choose)


def test_a_gallery_without_boxes_has_evenly_spread_rows(tmp_path: Path) -> None:
    bare = replace(small_split(tmp_path, 3), annotations=None)
    draw_gallery(Predictions(CLASSES, tuple(perfect(3)), {}), bare, tmp_path / "g.jpg")
    assert cv2.imread(str(tmp_path / "g.jpg")).shape[1] == 660
