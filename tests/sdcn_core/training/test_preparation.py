from pathlib import Path

import pytest

from sdcn_core.data.datasets import DataRoots, prepare_source
from sdcn_core.data.scenes import scenes_folder
from sdcn_core.errors import DatasetError
from sdcn_core.training.inputs import ignore_progress
from sdcn_core.training.preparation import prepare_data
from sdcn_core.training.progress import Progress
from tests.sdcn_core.training.small import small_experiment


def test_a_broken_mask_of_the_judged_split_shows_before_anything_is_trained(tmp_path: Path) -> None:
    experiment, roots, told = small_experiment(), DataRoots(tmp_path, tmp_path), list[Progress]()
    prepare_source(experiment.data.source, roots, progress=ignore_progress)
    masks = scenes_folder(experiment.data.source, cache=tmp_path) / "SegmentationClass"
    last = masks / f"{(masks.parent / 'ImageSets/Main/test.txt').read_text().split()[-1]}.png"
    last.write_bytes(last.read_bytes()[:100])
    with pytest.raises(DatasetError, match=rf"mask .*{last.name} is broken or cut off"):
        prepare_data(experiment, roots, processes=1, report=told.append)
    assert not (tmp_path / "proposals").exists()
