"""Spools as workers write them."""

import json
from pathlib import Path


def metrics(step: int, **values: float) -> str:
    return json.dumps({"kind": "metrics", "time_ms": 1_700_000_000_000 + step, "global_step": step, "values": values})


def progress(step: int, fraction: float, *, time_ms: int = 1_700_000_000_000, stage: str = "loop") -> str:
    told = {"kind": "progress", "stage": stage, "step": step, "stage_steps": 100, "fraction": fraction}
    return json.dumps({**told, "global_step": step, "time_ms": time_ms})


def append(folder: Path, attempt: int, *lines: str, end: str = "\n") -> Path:
    spool = folder / f"attempt-{attempt}" / "events.jsonl"
    spool.parent.mkdir(parents=True, exist_ok=True)
    with spool.open("a") as file:
        file.write("".join(f"{line}\n" for line in lines[:-1]) + lines[-1] + end)
    return spool
