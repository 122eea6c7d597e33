import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from typing import IO, Any

import cv2
import httpx
import numpy as np
import pytest

from sdcn_core.config.presets import preset
from sdcn_core.config.second_stages import fast_rcnn
from tests.sdcn_core.training.runs import Place, run
from tests.workers.executors.trained import trained_experiment, write_model

ROOT = Path(__file__).parents[3]
JOB = "a1b2c3"
STUDY_RUN = "d4e5f6/base.seed-0"
SECOND_STAGE = "f7a8b9"


@pytest.fixture(scope="session")
def trained_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model.pt of a training of the preset `tiny`."""
    base = tmp_path_factory.mktemp("training")
    outcome, _ = run(preset("tiny"), Place.below(base / "run", base / "cache"))
    return outcome.files["model.pt"]


@pytest.fixture(scope="session")
def home(tmp_path_factory: pytest.TempPathFactory, trained_model: Path) -> Path:
    """A service's home with that model as a job's and as a run's of a study, one of a second stage, and a damaged one
    of job `bad`.
    """
    home = tmp_path_factory.mktemp("home")
    job, run_name = STUDY_RUN.split("/")
    for artifacts in (home / "runs" / JOB / "artifacts", home / "runs" / job / "runs" / run_name / "artifacts"):
        artifacts.mkdir(parents=True)
        shutil.copy(trained_model, artifacts / "model.pt")
    write_model(home / "runs" / SECOND_STAGE / "artifacts" / "model.pt", fast_rcnn(trained_experiment()))
    damaged = home / "runs" / "bad" / "artifacts"
    damaged.mkdir(parents=True)
    (damaged / "model.pt").write_bytes(trained_model.read_bytes()[:5000])
    return home


@pytest.fixture(scope="session")
def png() -> bytes:
    """An image of 80 x 64 pixels with two bright squares."""
    pixels = np.random.default_rng(0).integers(0, 60, (64, 80, 3), dtype=np.uint8)
    pixels[10:40, 12:50, 0] += 180
    pixels[30:55, 45:75, 1] += 150
    return cv2.imencode(".png", pixels)[1].tobytes()


@contextmanager
def predictor_process(home: Path, log: Path, **settings: str) -> Iterator[httpx.Client]:
    """A real predictor on a free port, and a client of it; what it logs goes into a file."""
    own = {"SDCN_HOME": str(home), "SDCN_PREDICTOR_PORT": "0", "SDCN_PREDICTOR_THREADS": "1"}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SDCN_")}
    process = subprocess.Popen(
        [sys.executable, "-m", "workers.predictor"], env=inherited | own | settings, cwd=ROOT, stderr=subprocess.PIPE
    )
    assert process.stderr is not None
    lines = process.stderr
    with log.open("wb") as copy, lines:
        try:
            event = _listening(lines, copy)
            copying = Thread(target=copy.writelines, args=(lines,))
            copying.start()
            with httpx.Client(base_url=f"http://{event['host']}:{event['port']}", timeout=60) as client:
                yield client
        finally:
            process.terminate()
            status = process.wait(timeout=30)
        copying.join()
    assert status == 0


def _listening(lines: IO[bytes], copy: IO[bytes]) -> dict[str, Any]:
    """The event by which the process says where it listens."""
    for line in lines:
        copy.write(line)
        event: dict[str, Any] = json.loads(line) if line.startswith(b"{") else {}
        if event.get("event") == "predictor.listening":
            return event
    raise AssertionError("the predictor ended before it listened")


@pytest.fixture(scope="session")
def client(home: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """Of a predictor with small bounds and a token, which the client sends."""
    log = tmp_path_factory.mktemp("log") / "predictor.log"
    settings = {
        "SDCN_PREDICTOR_TOKEN": "secret",
        "SDCN_PREDICTOR_MAX_IMAGES": "3",
        "SDCN_PREDICTOR_MAX_IMAGE_BYTES": "100000",
        "SDCN_PREDICTOR_MAX_IMAGE_PIXELS": "20000",
        "SDCN_MAX_PREDICT_BYTES": "500000",
    }
    with predictor_process(home, log, **settings) as client:
        client.headers["Authorization"] = "Bearer secret"
        yield client
