import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from tests.workers.conftest import is_gone, wait_until
from workers.processes import MARK, SessionRecord, end_session, members

Start = Callable[..., tuple[subprocess.Popen[bytes], SessionRecord]]

SLEEP = [sys.executable, "-c", "import time; print(flush=True); time.sleep(60)"]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts a sleeping process in a session of its own; whatever is left at the end is killed by its pid."""
    started = []

    def start_session(
        command: list[str] = SLEEP, mark: str = "job/1", environment_mark: str = "job/1"
    ) -> tuple[subprocess.Popen[bytes], SessionRecord]:
        process = subprocess.Popen(
            command, start_new_session=True, stdout=subprocess.PIPE, env={**os.environ, MARK: environment_mark}
        )
        started.append(process)
        process.stdout.readline()
        return process, SessionRecord.of(process.pid, mark)

    yield start_session
    for process in started:
        process.kill()
        process.wait()
        process.stdout.close()


def test_the_whole_session_ends_also_other_process_groups_in_it(start: Start) -> None:
    script = (
        "import subprocess, sys, time\n"
        "c = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], process_group=0, env={})\n"
        "print(c.pid, flush=True); time.sleep(60)"
    )
    _, record = start([sys.executable, "-c", script])
    assert len(members(record)) == 2
    assert end_session(record, timeout_s=5)
    assert members(record) == []


def test_a_process_that_left_the_session_is_found_by_its_mark(start: Start) -> None:
    leader, record = start()
    stray, _ = start(environment_mark="job/1")
    assert {p.pid for p in members(record)} == {leader.pid, stray.pid}


def test_another_attempts_processes_are_left_alone(start: Start) -> None:
    _, record = start(mark="job/1", environment_mark="job/1")
    other, _ = start(mark="job/11", environment_mark="job/11")
    end_session(record, timeout_s=5)
    assert other.poll() is None


def test_members_outlive_their_leader_and_are_still_found(start: Start) -> None:
    script = (
        "import subprocess, sys, time\n"
        "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'], env={})\n"
        "print(flush=True); time.sleep(60)"
    )
    process, record = start([sys.executable, "-c", script])
    process.kill()
    process.wait()
    assert len(members(record)) == 1
    assert end_session(record, timeout_s=5)


def test_a_younger_process_with_the_same_number_is_not_ours(start: Start) -> None:
    _, record = start(environment_mark="somebody/else")
    older = record.model_copy(update={"started_ticks": record.started_ticks - 1})
    assert members(older) == []


def test_a_session_of_another_boot_is_not_searched_here(start: Start) -> None:
    _, record = start()
    assert members(record.model_copy(update={"boot_id": "before"})) == []
    assert members(record.model_copy(update={"host": "elsewhere"})) == []


def test_a_child_dies_with_its_parent() -> None:
    grandchild = (
        "import os, time; from workers.processes import die_with\n"
        "die_with(os.getppid()); print(os.getpid(), flush=True); time.sleep(60)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {grandchild!r}])"
    process = subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True)
    pid = int(process.stdout.readline())
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    wait_until(lambda: is_gone(pid))


def test_a_child_whose_parent_is_already_gone_dies_at_once() -> None:
    script = "import os; from workers.processes import die_with; die_with(os.getppid() + 1); print('alive')"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGKILL, "")
