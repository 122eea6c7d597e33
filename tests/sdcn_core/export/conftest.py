from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from sdcn_core.export.exporting import export_model
from sdcn_core.models.saved import SavedModel, load_model
from tests.sdcn_core.export.saved_models import experiment_of, write_model

Exported = tuple[SavedModel, dict[str, Path]]


@pytest.fixture(scope="session")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Exported]:
    """A model of a backbone and number of refinements, and its exported files; each is made once."""

    @cache
    def export(backbone: str = "small_vgg", refinements: int = 3, *, box_regression: bool = False) -> Exported:
        folder = tmp_path_factory.mktemp("exported")
        experiment = experiment_of(backbone, refinements=refinements, box_regression=box_regression)
        path = write_model(folder / "model.pt", experiment)
        return load_model(path), export_model(path, folder)

    return export
