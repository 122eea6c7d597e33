import subprocess
import sys
import threading
from pathlib import Path

import pytest

from workers.errors import FolderHeld
from workers.training.lock import held

HOLD = """
import sys
from pathlib import Path
from workers.training.lock import held
with held(Path(sys.argv[1]), timeout_s=10):
    print("held", flush=True)
    sys.stdin.read()
"""


def test_a_second_writer_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with held(tmp_path / "run" / "lock", timeout_s=0), pytest.raises(FolderHeld, match="earlier attempt"):
        held(tmp_path / "run" / "lock", timeout_s=0).__enter__()


def test_it_is_free_after_the_block(tmp_path: Path) -> None:
    for _ in range(2):
        with held(tmp_path / "lock", timeout_s=0):
            pass


def test_a_second_writer_waits_for_the_first(tmp_path: Path) -> None:
    held_now, let_go = threading.Event(), threading.Event()

    def hold() -> None:
        with held(tmp_path / "lock", timeout_s=0):
            held_now.set()
            let_go.wait(10)

    first = threading.Thread(target=hold)
    first.start()
    assert held_now.wait(10)
    threading.Timer(0.2, let_go.set).start()
    with held(tmp_path / "lock", timeout_s=10):
        assert let_go.is_set()
    first.join()


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path / "lock")], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        holder.kill()
        with held(tmp_path / "lock", timeout_s=10):
            pass
