from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from sdcn_core.inference.predictor import Predictor
from tests.sdcn_core.export.saved_models import experiment_of, write_model


@pytest.fixture(scope="session")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """Two scales and mirror images, made-up weights."""
    experiment = experiment_of().with_overrides(
        {"evaluation.test_scales_px": [64, 96], "evaluation.flip": True, "evaluation.boxes_per_image_cap": 1}
    )
    return Predictor.load(write_model(tmp_path_factory.mktemp("model") / "model.pt", experiment))


@pytest.fixture(scope="session")
def model_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_model(tmp_path_factory.mktemp("model") / "model.pt", experiment_of())


@pytest.fixture(scope="session")
def photograph() -> NDArray[np.uint8]:
    """(60, 84, 3): bright squares on noise, so that the search finds something."""
    pixels = np.random.default_rng(0).integers(0, 60, (60, 84, 3), dtype=np.uint8)
    pixels[10:40, 12:50, 0] += 180
    pixels[30:55, 45:80, 1] += 150
    return pixels
