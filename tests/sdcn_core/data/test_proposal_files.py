import os
import pickle
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pydantic import ValidationError
from scipy.io import savemat

from sdcn_core.config.data import DataConfig, ProposalFileConfig, SelectiveSearchConfig
from sdcn_core.data import proposal_files
from sdcn_core.data.datasets import DataRoots
from sdcn_core.data.image_set import ImageRecord, ImageSet
from sdcn_core.data.proposals import ProposalStore, compute_proposals
from sdcn_core.errors import DatasetError

BOXES = np.array([[2, 3, 11, 7], [1, 1, 40, 30], [5, 5, 9, 29]])
"""x1 y1 x2 y2 counted from 1, edges included, in an image of 40 x 30"""
HALF_OPEN = [[1, 2, 11, 7], [0, 0, 40, 30], [4, 4, 9, 29]]


def split(*image_ids: str) -> ImageSet:
    records = [ImageRecord(image_id, Path(f"{image_id}.jpg"), 30, 40, (0,)) for image_id in image_ids]
    return ImageSet("trainval", ("thing",), tuple(records))


def read(image_set: ImageSet, root: Path, path: str, **config: Any) -> ProposalStore:
    file = ProposalFileConfig(path=path, **config)
    return compute_proposals(
        image_set, file, roots=DataRoots(root, root), processes=1, progress=lambda done, total: None
    )


def cells(values: list[Any]) -> Any:
    row = np.empty((1, len(values)), object)
    row[0, :] = values
    return row


def write_mat(path: Path, boxes: dict[str, Any], **more: Any) -> Path:
    """As Fast R-CNN publishes Selective Search: y1 x1 y2 x2, counted from 1."""
    turned = [np.asarray(of_image)[:, [1, 0, 3, 2]].astype(np.uint16) for of_image in boxes.values()]
    savemat(path, {"boxes": cells(turned), "images": cells(list(boxes)).T} | more, do_compression=True)
    return path


def write_pkl(path: Path, content: Any, *, protocol: int = 4) -> Path:
    path.write_bytes(pickle.dumps(content, protocol=protocol))
    return path


# --- .mat


def test_a_published_mat_counts_from_one_and_has_y_first(tmp_path: Path) -> None:
    write_mat(tmp_path / "voc_2007_trainval.mat", {"000005": BOXES, "000007": BOXES[:1]})
    store = read(split("000007", "000005"), tmp_path, "voc_2007_{split}.mat")
    assert store["000005"].tolist() == HALF_OPEN
    assert store["000007"].tolist() == HALF_OPEN[:1]
    assert store["000005"].dtype == np.float32


def test_keys_of_the_configuration_say_how_another_file_counts(tmp_path: Path) -> None:
    savemat(tmp_path / "p.mat", {"boxes": cells([np.array([[1, 2, 11, 7]])]), "images": cells(["a"])})
    store = read(split("a"), tmp_path, "p.mat", order="xyxy", first_pixel=0, inclusive=False)
    assert store["a"].tolist() == [[1, 2, 11, 7]]


def test_a_mat_of_version_7_3_is_refused_with_the_way_out(tmp_path: Path) -> None:
    (tmp_path / "p.mat").write_bytes(b"MATLAB 7.3 MAT-file, Platform: GLNXA64" + bytes(1000))
    with pytest.raises(DatasetError, match=r"p.mat are a .mat of version 7.3: save it with -v7"):
        read(split("a"), tmp_path, "p.mat")


@pytest.mark.parametrize("content", [b"", b"nothing", bytes(500)])
def test_a_file_that_is_no_mat_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.mat").write_bytes(content)
    with pytest.raises(DatasetError, match=r"p.mat (are broken|have no variable)"):
        read(split("a"), tmp_path, "p.mat")


def test_a_mat_that_would_fill_the_memory_is_refused_before_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proposal_files, "MAX_UNPACKED_BYTES", 2**20)
    path = write_mat(tmp_path / "p.mat", {"a": BOXES})
    packed = zlib.compress(bytes(2**23))
    with path.open("ab") as file:
        file.write(struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(DatasetError, match=r"p.mat have \d+ MiB or more, over 1: split them"):
        read(split("a"), tmp_path, "p.mat")
    assert read(split("a"), tmp_path, write_mat(tmp_path / "q.mat", {"a": BOXES}).name)["a"].tolist() == HALF_OPEN


def test_a_mat_without_the_images_ids_is_refused(tmp_path: Path) -> None:
    savemat(tmp_path / "p.mat", {"boxes": cells([BOXES])})
    with pytest.raises(DatasetError, match="have no variable 'images'"):
        read(split("a"), tmp_path, "p.mat")


# --- .pkl


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("field", ["indexes", "ids"])
def test_boxes_with_indexes_are_read_in_every_protocol(tmp_path: Path, protocol: int, field: str) -> None:
    content = {
        "boxes": [(BOXES - 1).astype(np.float32), np.asfortranarray(BOXES[:1] - 1)],
        field: [np.int64(5), 2007000027],
        "scores": [np.ones(3), np.ones(1)],
    }
    write_pkl(tmp_path / "p.pkl", content, protocol=protocol)
    store = read(split("000005", "2007_000027"), tmp_path, "p.pkl")
    assert store["000005"].tolist() == HALF_OPEN
    assert store["2007_000027"].tolist() == HALF_OPEN[:1]


def test_boxes_by_image_id_are_read(tmp_path: Path) -> None:
    write_pkl(tmp_path / "mcg.pkl", {139: BOXES - 1, "a b": BOXES - 1})
    store = read(split("139", "a b"), tmp_path, "mcg.pkl")
    assert store["139"].tolist() == store["a b"].tolist() == HALF_OPEN


def test_a_list_of_boxes_in_an_array_of_objects_is_read(tmp_path: Path) -> None:
    boxes = np.empty(2, object)
    boxes[:] = [BOXES - 1, BOXES[:1] - 1]
    write_pkl(tmp_path / "p.pkl", {"boxes": boxes, "indexes": np.array(["a", "b"])})
    assert read(split("a", "b"), tmp_path, "p.pkl")["b"].tolist() == HALF_OPEN[:1]


def test_a_pickle_of_python_2_is_read(tmp_path: Path) -> None:
    """{'boxes': [array([[1, 2, 10, 6]], '<u2')], 'indexes': ['a']}, its texts as bytes, as Python 2 wrote them."""
    array = (
        b"cnumpy.core.multiarray\n_reconstruct\n(cnumpy\nndarray\n(K\x00tU\x01btR(K\x01(K\x01K\x04t"
        b"cnumpy\ndtype\n(U\x02u2K\x00K\x01tR(K\x03U\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89U\x08"
        + struct.pack("<4H", 1, 2, 10, 6)
        + b"tb"
    )
    content = b"\x80\x02}(U\x05boxes](" + array + b"eU\x07indexes](U\x01aeu."
    (tmp_path / "p.pkl").write_bytes(content)
    assert read(split("a"), tmp_path, "p.pkl")["a"].tolist() == HALF_OPEN[:1]


class Attack:
    def __init__(self, called: Any, *arguments: Any) -> None:
        self.reduced = called, arguments

    def __reduce__(self) -> Any:
        return self.reduced


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_that_would_run_code_is_refused_and_runs_nothing(tmp_path: Path, protocol: int) -> None:
    content = {"boxes": [BOXES], "indexes": [Attack(os.mkdir, str(tmp_path / "harm"))]}
    write_pkl(tmp_path / "p.pkl", content, protocol=protocol)
    with pytest.raises(DatasetError, match=r"p.pkl names (posix|os).mkdir, which might run code"):
        read(split("a"), tmp_path, "p.pkl")
    assert not (tmp_path / "harm").exists()


@pytest.mark.parametrize(
    "named", [b"numpy.core.multiarray\nscalar.__class__", b"builtins\neval", b"numpy\nload", b"numpy\nndarray.tofile"]
)
def test_names_beside_those_of_arrays_are_refused_also_below_them(tmp_path: Path, named: bytes) -> None:
    (tmp_path / "p.pkl").write_bytes(b"\x80\x02c" + named + b"\n.")
    with pytest.raises(DatasetError, match="which might run code"):
        read(split("a"), tmp_path, "p.pkl")


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\x80\x02",
        b"no pickle",
        b"\x80\x05\x96" + struct.pack("<Q", 2**50) + b".",  # a bytearray that claims a petabyte
        b"\x80\x02]r" + struct.pack("<I", 2**32 - 1) + b".",  # a memo of four thousand million
        b"\x80\x02cnumpy\ndtype\n}U\x05shapeK\x01sb.",  # sets an attribute of what it names
        b"\x80\x02cnumpy\ndtype\n(U\x03i4,tR.",
        b"\x80\x02cnumpy.core.multiarray\nscalar\n(K\x01K\x02tR.",
        b"\x80\x02}](K\x01es.",  # a list as a key
        b"\x80\x04\x8f(K\x01\x90.",  # a set
    ],
)
def test_a_broken_or_crafted_pickle_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "p.pkl").write_bytes(content)
    with pytest.raises(DatasetError, match=r"p.pkl (is no pickle of plain values|are no dict)"):
        read(split("a"), tmp_path, "p.pkl")


def test_a_file_that_is_too_large_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proposal_files, "MAX_FILE_BYTES", 100)
    write_pkl(tmp_path / "p.pkl", {"a": BOXES})
    write_mat(tmp_path / "p.mat", {"a": BOXES})
    for name, said in (("p.pkl", "more than"), ("p.mat", "over")):
        with pytest.raises(DatasetError, match=said):
            read(split("a"), tmp_path, name)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([BOXES], "are no dict"),
        ({"boxes": [BOXES]}, "neither indexes nor ids"),
        ({"boxes": [BOXES], "ids": ["a", "b"]}, "name 2 images but have boxes of 1"),
        ({"boxes": BOXES, "ids": 3}, "must be lists"),
        ({"boxes": [BOXES], "ids": [None]}, "'None' is no image's id"),
        ({"boxes": [BOXES, BOXES], "ids": ["a", "a"]}, "have image 'a' twice"),
        ({"b": BOXES}, "have no entry for image a"),
        ({"a": [["x"] * 4]}, "image a: the entry is no array of numbers"),
        ({"a": np.ones((3, 5))}, r"image a: the entry has the shape \(3, 5\)"),
        ({"a": np.full((3, 4), np.nan)}, "image a: a coordinate is not finite"),
        ({"a": np.zeros((0, 4))}, "image a: there is no box"),
        ({"a": np.array([[50, 5, 60, 9]])}, "image a: 1 of 1 boxes leave the image of 40 x 30 pixels"),
        ({"a": np.array([[5, 1, 2, 39]])}, r"end before they begin: correct data.proposals.order \(xyxy\)"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_the_way_out(tmp_path: Path, content: Any, said: str) -> None:
    write_pkl(tmp_path / "p.pkl", content)
    with pytest.raises(DatasetError, match=said):
        read(split("a"), tmp_path, "p.pkl")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match=r"proposals .*p-trainval.mat do not exist: .* data.proposals.path"):
        read(split("a"), tmp_path, "p-{split}.mat")


def test_images_that_share_an_entry_are_refused(tmp_path: Path) -> None:
    write_pkl(tmp_path / "p.pkl", {27: BOXES})
    assert read(split("2008_000027"), tmp_path, "p.pkl")["2008_000027"].tolist()
    with pytest.raises(DatasetError, match=r"one entry, 27, for the images 2007_000027 and 2008_000027"):
        read(split("2007_000027", "2008_000027"), tmp_path, "p.pkl")


# --- what becomes of boxes


def test_boxes_are_cut_at_the_edge_and_those_without_area_or_there_before_dropped(tmp_path: Path) -> None:
    boxes = [[30, 20, 50, 40], [0, 0, 9, 9], [5, 5, 4, 9], [0, 0, 9, 9], [10, 10, 10, 10]]
    write_pkl(tmp_path / "p.pkl", {"a": np.array(boxes)})
    assert read(split("a"), tmp_path, "p.pkl")["a"].tolist() == [[30, 20, 40, 30], [0, 0, 10, 10], [10, 10, 11, 11]]


def test_small_boxes_are_dropped_and_the_first_of_the_file_kept(tmp_path: Path) -> None:
    write_pkl(tmp_path / "p.pkl", {"a": BOXES - 1})
    assert read(split("a"), tmp_path, "p.pkl", min_side_px=5, limit=2)["a"].tolist() == HALF_OPEN[:2]
    assert read(split("a"), tmp_path, "p.pkl", min_side_px=6)["a"].tolist() == HALF_OPEN[1:2]
    with pytest.raises(DatasetError, match=r"no box with sides of 31 px or more: .* lower data.proposals.min_side_px"):
        read(split("a"), tmp_path, "p.pkl", min_side_px=31)


def test_progress_tells_of_all_images(tmp_path: Path) -> None:
    write_pkl(tmp_path / "p.pkl", {"a": BOXES, "b": BOXES})
    told: list[tuple[int, int]] = []
    compute_proposals(
        split("a", "b"),
        ProposalFileConfig(path="p.pkl"),
        roots=DataRoots(tmp_path, tmp_path),
        processes=1,
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(0, 2), (2, 2)]


# --- the configuration


def test_proposals_without_a_kind_are_searched_for() -> None:
    data = DataConfig.model_validate({"proposals": {"limit": 7, "mode": "quality"}})
    assert data.proposals == SelectiveSearchConfig(limit=7, mode="quality")


@pytest.mark.parametrize("path", ["../p.mat", "/p.mat", "p.npz", "{name}.mat", "{split.x}.mat", "p.mat{"])
def test_paths_that_leave_the_root_or_have_no_format_are_refused(path: str) -> None:
    with pytest.raises(ValidationError):
        ProposalFileConfig(path=path)
