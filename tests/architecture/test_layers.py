"""What import-linter cannot say, because it happens at run time."""

import subprocess
import sys
from pathlib import Path

import pytest

from sdcn_core.config.presets import PRESETS, preset

ROOT = Path(__file__).parents[2]
HEAVY = ("torch", "ray", "mlflow", "numpy", "cv2", "numba")


def loaded_after(statement: str) -> set[str]:
    """Which heavy packages a fresh interpreter has loaded after the statement."""
    code = f"import sys; {statement}; print(*(name for name in {HEAVY!r} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return set(done.stdout.split())


@pytest.mark.parametrize("statement", ["import sdcn_core.config.presets", "import service.jobs.specs"])
def test_what_can_be_asked_is_plain_data(statement: str) -> None:
    assert loaded_after(statement) == set()


def test_the_api_process_loads_neither_torch_nor_ray(tmp_path: Path) -> None:
    imports = "from service.app import create_app; from service.settings import ServiceSettings"
    assert loaded_after(f"{imports}; create_app(ServiceSettings(home={str(tmp_path)!r}))") == set()


def test_the_command_line_is_light() -> None:
    assert loaded_after("import service.client.cli") == set()


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_valid_experiment_and_survives_json(name: str) -> None:
    experiment = preset(name)
    assert type(experiment).model_validate_json(experiment.model_dump_json()) == experiment


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_says_in_its_first_sentence_what_it_is(name: str) -> None:
    docstring = PRESETS[name].__doc__ or ""
    assert len(docstring.splitlines()[0]) > 30
