import os
from pathlib import Path

import psutil
import pytest

from service.jobs.worker_figures import GpuFigures, WorkerFigures
from workers.gpus import GpuWatch, read_gpus
from workers.meter import Counted, WorkerMeter
from workers.processes import SessionRecord
from workers.progress_pump import StepRate
from workers.spool import ProgressEvent

MIB = 2**20


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that comes first where programs are looked for."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:{os.environ['PATH']}")
    return folder


def install(folder: Path, script: str) -> None:
    """An nvidia-smi that does what the script says."""
    (folder / "nvidia-smi").write_text(f"#!/bin/sh\n{script}\n")
    (folder / "nvidia-smi").chmod(0o755)


def test_a_worker_tells_what_it_counted_and_how_much_memory_it_has(tmp_path: Path) -> None:
    meter = WorkerMeter(tmp_path)
    for what in (Counted.HEARTBEATS, Counted.HEARTBEATS, Counted.LEASE_RENEWALS_FAILED):
        meter.count(what)
    told = meter.read()
    assert (told.heartbeats, told.lease_renewals, told.lease_renewals_failed, told.leases_lost) == (2, 0, 1, 0)
    assert told.memory_bytes == pytest.approx(psutil.Process().memory_info().rss, rel=0.2)
    assert told.disk_free_bytes is not None
    assert (told.attempt_memory_bytes, told.steps_per_second) == (None, None)


def test_an_attempts_memory_is_that_of_its_processes_until_it_ends(tmp_path: Path) -> None:
    meter = WorkerMeter(tmp_path)
    meter.attempt_began(SessionRecord.of(os.getpid(), "no-such-mark"))  # of which nobody is a member but this process
    assert meter.read().attempt_memory_bytes == 0
    meter.steps(2.5)
    assert meter.read().steps_per_second == 2.5
    meter.attempt_ended()
    assert (meter.read().attempt_memory_bytes, meter.read().steps_per_second) == (None, None)


def test_what_a_worker_tells_survives_json_and_a_later_version() -> None:
    told = WorkerFigures(heartbeats=1, gpus=(GpuFigures(index=0, use=0.5, memory_bytes=1, memory_total_bytes=2),))
    later = told.model_dump() | {"unheard_of": 1}
    assert WorkerFigures.model_validate(later) == told


def test_gpus_are_as_nvidias_tool_tells(tools: Path) -> None:
    install(tools, "echo '0, 97, 40536, 81559'; echo '1, [N/A], 0, 81559'")
    assert read_gpus() == (
        GpuFigures(index=0, use=0.97, memory_bytes=40536 * MIB, memory_total_bytes=81559 * MIB),
        GpuFigures(index=1, use=None, memory_bytes=0, memory_total_bytes=81559 * MIB),
    )


@pytest.mark.parametrize("script", ["echo 'driver mismatch'; exit 9", "echo nonsense", "echo 'a, b, c, d'"])
def test_a_driver_that_fails_is_no_figure_and_no_failure(tools: Path, script: str) -> None:
    install(tools, "echo '0, 97, 40536, 81559'")
    watch = GpuWatch()
    watch.look()
    assert len(watch.latest) == 1
    install(tools, script)
    with pytest.raises((OSError, ValueError)):
        read_gpus()
    watch.look()
    assert watch.latest == ()


def test_without_the_tool_there_are_no_gpus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert read_gpus() == ()


def progress(step: int, time_ms: int, stage: str = "loop") -> ProgressEvent:
    return ProgressEvent(time_ms=time_ms, stage=stage, step=step, stage_steps=99, fraction=0.5, global_step=step)


def test_steps_a_second_are_those_of_the_last_minute() -> None:
    rate = StepRate()
    assert rate.after(progress(0, 0)) is None
    assert rate.after(progress(10, 10_000)) == 1
    assert rate.after(progress(20, 100_000)) == pytest.approx(10 / 90)
    assert rate.after(progress(220, 200_000)) == 2


def test_a_resume_is_no_step_back() -> None:
    rate = StepRate()
    rate.after(progress(100, 0))
    rate.after(progress(110, 1000))
    assert rate.after(progress(100, 2000)) is None
    assert rate.after(progress(105, 3000)) == 5


def test_runs_of_a_study_are_no_steps() -> None:
    rate = StepRate()
    rate.after(progress(0, 0, "study"))
    assert rate.after(progress(3, 1000, "study")) is None
