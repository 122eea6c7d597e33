"""Where material lies that tests may use and the project does not hold: photographs, weights, published detections."""

import os
from pathlib import Path

SHARED = Path(os.environ.get("SDCN_TEST_SHARED", Path(__file__).parents[2] / "shared"))


def shared_folder() -> Path | None:
    """The folder, or None where it is not beside the project (SDCN_TEST_SHARED names another place)."""
    return SHARED if SHARED.is_dir() else None
