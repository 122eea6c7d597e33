"""Studies and trainings as workers leave them in the shared home folder."""

import json
from pathlib import Path

from pydantic import JsonValue

from sdcn_core.config.presets import PRESETS
from service.jobs.results import Judgement
from tests.service.run_files.spools import append, metrics, progress

JUDGEMENT = Judgement(
    ap={"car": 0.5},
    mean_ap=0.5,
    corloc={"car": 0.25},
    mean_corloc=0.25,
    num_test_images=8,
    num_train_images=12,
    seconds_per_image=0.25,
)
ABLATION: dict[str, JsonValue] = {"kind": "ablation", "study": "oicr-against-sdcn", "preset": "tiny", "seeds": [0, 1]}


def begin_run(home: Path, job_id: str, name: str, *, variant: str = "oicr", attempt: int = 1) -> Path:
    """A run that reports; its folder."""
    folder = home / "runs" / job_id / "runs" / name
    append(
        folder,
        attempt,
        progress(10, 0.25),
        metrics(10, **{"loss/mil": 0.5}),
        progress(20, 0.5, time_ms=1_700_000_009_000),
    )
    record = {"name": name, "variant": variant, "seed": 0, "overrides": {}, "created_at_ms": 0}
    experiment = PRESETS["tiny"]().model_dump(mode="json")
    (folder / "run.json").write_text(json.dumps({**record, "experiment": experiment}))
    return folder


def end_run(folder: Path, state: str = "succeeded", **more: JsonValue) -> None:
    judged = JUDGEMENT.model_dump(mode="json") if state == "succeeded" else None
    found = {"name": folder.name, "variant": "oicr", "seed": 0, "overrides": {}, "state": state, "judgement": judged}
    (folder / "found.json").write_text(json.dumps({**found, **more}))


def leave(folder: Path, **files: bytes) -> None:
    """Artifacts by name, with `_` for the dot."""
    (folder / "artifacts").mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / "artifacts" / name.replace("_", ".")).write_bytes(content)
