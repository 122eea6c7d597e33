"""Links do not lead out of the folders that the operator configured; `..` is refused with the path itself."""

from pathlib import Path

import numpy as np
import pytest

from sdcn_core.config.data import CocoSource, DataSource, LabelsSource, ProposalFileConfig, VocSource
from sdcn_core.config.model import WeightsFile
from sdcn_core.data.datasets import DataRoots, open_annotated_set, open_split, open_train_set, prepare_source
from sdcn_core.data.image_set import ImageSet
from sdcn_core.data.proposal_files import read_proposals
from sdcn_core.errors import DatasetError, WeightsError
from sdcn_core.models.pretrained import read_weights
from tests.sdcn_core.data.voc_folders import an_object, write_image, write_voc

VOC = VocSource(path="set", classes=("cat",), test_split="trainval")


@pytest.fixture
def roots(tmp_path: Path) -> DataRoots:
    (tmp_path / "data").mkdir()
    (tmp_path / "outside").mkdir()
    return DataRoots(tmp_path / "data", tmp_path / "cache")


def outside(roots: DataRoots) -> Path:
    return roots.data.parent / "outside"


@pytest.mark.parametrize("source", [VOC, LabelsSource(path="set"), CocoSource(path="set")], ids=lambda s: s.kind)
def test_a_data_set_that_is_a_link_out_of_the_root_is_refused_unopened(roots: DataRoots, source: DataSource) -> None:
    (roots.data / "set").symlink_to(outside(roots))
    with pytest.raises(DatasetError, match=r"data\.source\.path: .*set is a link that leads out"):
        prepare_source(source, roots, progress=lambda done, total: None)


def test_an_image_that_is_a_link_out_of_the_root_is_named(roots: DataRoots) -> None:
    folder = write_voc(roots.data / "set", {"a": [an_object("cat")], "b": [an_object("cat")]})
    image = next((folder / "JPEGImages").glob("b.*"))
    image.rename(outside(roots) / image.name)
    image.symlink_to(outside(roots) / image.name)
    for look in (
        lambda: open_train_set(VOC, roots, labels_from_difficult=False),
        lambda: open_annotated_set(VOC, roots, role="train"),
        lambda: open_annotated_set(VOC, roots, role="test"),
        lambda: open_split(VOC, roots, "trainval", unusable=lambda error: None),
    ):
        with pytest.raises(DatasetError, match=rf"data\.source\.path: .*{image.name} is a link"):
            look()


def test_a_folder_of_images_that_is_a_link_out_of_the_root_is_named(roots: DataRoots) -> None:
    write_image(outside(roots) / "a.png", seed=0)
    (roots.data / "set").mkdir()
    (roots.data / "set" / "train.csv").write_text("image,label\nphotos/a.png,cat\n")
    (roots.data / "set" / "photos").symlink_to(outside(roots))
    source = LabelsSource(path="set", form="csv", classes=("cat",))
    with pytest.raises(DatasetError, match=r"data\.source\.path: .*photos is a link"):
        open_train_set(source, roots, labels_from_difficult=False)


def test_an_annotation_that_is_a_link_out_of_the_root_is_refused_unread(roots: DataRoots) -> None:
    folder = write_voc(roots.data / "set", {"a": [an_object("cat")]})
    annotation = folder / "Annotations" / "a.xml"
    annotation.unlink()
    (outside(roots) / "secret.xml").write_text("<annotation><folder>secret</folder></annotation>")
    annotation.symlink_to(outside(roots) / "secret.xml")
    with pytest.raises(DatasetError, match=r"data\.source\.path: .*a\.xml is a link") as refused:
        open_train_set(VOC, roots, labels_from_difficult=False)
    assert "secret" not in str(refused.value)


def test_a_link_out_of_the_root_is_found_behind_a_link_that_stays_in_it(roots: DataRoots) -> None:
    write_voc(roots.data / "set", {"a": [an_object("cat")]})
    (roots.data / "elsewhere").mkdir()
    (roots.data / "elsewhere" / "out").symlink_to(outside(roots))
    (roots.data / "elsewhere" / "round").symlink_to(roots.data / "elsewhere")
    (roots.data / "set" / "more").symlink_to(roots.data / "elsewhere")
    with pytest.raises(DatasetError, match=r"data\.source\.path: .*set/more/out is a link"):
        open_train_set(VOC, roots, labels_from_difficult=False)


def test_links_within_the_root_and_a_root_that_is_a_link_are_followed(roots: DataRoots) -> None:
    write_voc(roots.data / "kept", {"a": [an_object("cat")]})
    (roots.data / "set").symlink_to(roots.data / "kept")
    linked = roots.data.parent / "linked"
    linked.symlink_to(roots.data)
    for root in (roots.data, linked):
        image_set = open_train_set(VOC, DataRoots(root, root), labels_from_difficult=False)
        assert [record.image_id for record in image_set.records] == ["a"]


def test_proposals_that_are_a_link_out_of_the_root_are_refused_unread(roots: DataRoots) -> None:
    (outside(roots) / "boxes.pkl").write_bytes(b"secret")
    (roots.data / "boxes.pkl").symlink_to(outside(roots) / "boxes.pkl")
    with pytest.raises(DatasetError, match=r"data\.proposals\.path: .*boxes\.pkl is a link") as refused:
        read_proposals(ImageSet("train", ("cat",), ()), ProposalFileConfig(path="boxes.pkl"), root=roots.data)
    assert "secret" not in str(refused.value)


def test_weights_that_are_a_link_out_of_the_root_are_refused_unread(roots: DataRoots) -> None:
    np.savez(outside(roots) / "a.npz", **{"1.w": np.ones(1, np.float32)})
    (roots.data / "a.npz").symlink_to(outside(roots) / "a.npz")
    with pytest.raises(WeightsError, match=r"weights\.path: .*a\.npz is a link"):
        read_weights(WeightsFile(path="a.npz"), roots.data)
