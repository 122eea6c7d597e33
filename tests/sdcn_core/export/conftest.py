from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from sdcn_core.export.exporting import export_model
from sdcn_core.models import vgg16
from sdcn_core.models.saved import SavedModel, load_model
from tests.sdcn_core.export.saved_models import NARROW_VGG16, experiment_of, write_model

Exported = tuple[SavedModel, dict[str, Path]]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Exported]:
    """A model, by what `experiment_of` takes, and its exported files; each is made once."""

    @cache  # tells a default from the same value spelled out, so all of them are spelled out
    def export(backbone: str, refinements: int, box_regression: bool, second_stage: bool) -> Exported:
        folder = tmp_path_factory.mktemp("exported")
        experiment = experiment_of(
            backbone, refinements=refinements, box_regression=box_regression, second_stage=second_stage
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(vgg16, "BLOCKS", NARROW_VGG16)
            patch.setattr(vgg16.Vgg16, "channels", tuple(block[-1] for block in NARROW_VGG16[1:]))
            path = write_model(folder / "model.pt", experiment)
            return load_model(path), export_model(path, folder)

    def asked(
        backbone: str = "small_vgg", refinements: int = 3, *, box_regression: bool = False, second_stage: bool = False
    ) -> Exported:
        return export(backbone, refinements, box_regression, second_stage)

    return asked
