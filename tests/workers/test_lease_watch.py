"""A process that watches its lease, told of it over the real pipe."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress

import pytest

from tests.workers.conftest import is_gone
from workers.lease_watch import DESCRIPTOR, LEASE_OVER, LeasePipe
from workers.processes import MARK

WATCHING = """
import os, subprocess, sys, time
from workers.lease_watch import stay_if_over, watch_lease
watch_lease()
other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], process_group=0)
print(other.pid, flush=True)
other.wait()
stay_if_over()
print("outcome", flush=True)
"""


class Watched:
    """A process in a session of its own that has started another."""

    def __init__(self) -> None:
        self.pipe = LeasePipe()
        self.process = subprocess.Popen(
            [sys.executable, "-c", WATCHING],
            env={**os.environ, MARK: "job/1", DESCRIPTOR: str(self.pipe.child_end)},
            pass_fds=[self.pipe.child_end],
            start_new_session=True,
            stdout=subprocess.PIPE,
        )
        os.close(self.pipe.child_end)
        assert self.process.stdout is not None
        self.other = int(self.process.stdout.readline())

    def close(self) -> None:
        self.process.kill()
        with suppress(ProcessLookupError):
            os.kill(self.other, signal.SIGKILL)
        self.process.communicate()
        self.pipe.close()


@pytest.fixture
def watched() -> Iterator[Watched]:
    watched = Watched()
    yield watched
    watched.close()


def test_a_process_whose_lease_is_not_renewed_ends_with_what_it_has_started(watched: Watched) -> None:
    watched.pipe.tell(time.monotonic() + 0.2)
    assert watched.process.wait(timeout=60) == LEASE_OVER
    assert is_gone(watched.other)
    assert watched.process.stdout is not None
    assert b"outcome" not in watched.process.stdout.read(), "that another was killed is no outcome"


def test_a_renewal_keeps_it_alive(watched: Watched) -> None:
    watched.pipe.tell(time.monotonic() + 1)
    watched.pipe.tell(time.monotonic() + 600)
    with pytest.raises(subprocess.TimeoutExpired):
        watched.process.wait(timeout=2)


def test_a_process_whose_supervisor_is_gone_ends(watched: Watched) -> None:
    watched.pipe.close()
    assert watched.process.wait(timeout=60) == LEASE_OVER


def test_the_pipe_takes_no_harm_from_a_process_that_is_gone_or_does_not_listen(watched: Watched) -> None:
    watched.process.kill()
    watched.process.wait()
    watched.pipe.tell(1.0)
    unheard = LeasePipe()
    for _ in range(100_000):
        unheard.tell(1.0)
    unheard.close()
    unheard.tell(1.0)
    os.close(unheard.child_end)
