import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from workers.study.run_log import run_log

log = logging.getLogger("workers.study.test")


@contextmanager
def job_log() -> Iterator[None]:
    """As an attempt's processes log."""
    root = logging.getLogger()
    before, root.handlers = root.handlers, [logging.StreamHandler(sys.stderr)]
    root.handlers[0].setFormatter(logging.Formatter("%(levelname)s: %(message)s"))
    try:
        yield
    finally:
        root.handlers = before


def test_what_a_run_logs_and_prints_is_in_its_own_log_and_in_the_jobs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "attempt-1" / "log.txt"
    with job_log():
        log.warning("before")
        with run_log(path):
            log.warning("of the run")
            sys.stdout.write("printed\n")
            sys.stderr.write("complained\n")
        log.warning("after")
    sys.stdout.write("printed after\n")
    assert path.read_text() == "WARNING: of the run\nprinted\ncomplained\n"
    shown = capsys.readouterr()
    assert shown.out == "printed\nprinted after\n"
    assert shown.err.splitlines() == ["WARNING: before", "WARNING: of the run", "complained", "WARNING: after"]


def test_a_further_run_in_the_same_process_writes_into_its_own(tmp_path: Path) -> None:
    for name in ("a", "b"):
        with job_log(), run_log(tmp_path / name / "log.txt"):
            log.warning("of %s", name)
    assert (tmp_path / "a" / "log.txt").read_text() == "WARNING: of a\n"
    assert (tmp_path / "b" / "log.txt").read_text() == "WARNING: of b\n"


def test_what_a_full_disk_keeps_out_of_a_run_s_log_is_in_the_job_s(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "log.txt").symlink_to("/dev/full")
    with job_log(), run_log(tmp_path / "log.txt"):
        log.warning("of the run")
        sys.stdout.write("printed\n")
    shown = capsys.readouterr()
    assert (shown.out, shown.err) == ("printed\n", "WARNING: of the run\n")
