"""The embedded service with the API and a process that only sleeps: starts, mends itself, leaves nothing behind."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from service.embedded.components import Component, Layout, answers_http, api
from service.embedded.errors import AlreadyRunning, EmbeddedError
from service.embedded.home import ServiceRecord, record_path
from service.embedded.keeper import EmbeddedService, Phase, clean_leftovers
from service.embedded.running import RestartPolicy
from service.embedded.sweep import MARK, marked, sweep

NESTING = (
    "import subprocess, sys, time;"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'], start_new_session=True);"
    "time.sleep(600)"
)
"""a process with a child in a session of its own, as Ray has"""


def record(url: str, embedded_id: str = "e", *, mlflow_url: str = "") -> ServiceRecord:
    return ServiceRecord(
        url=url,
        mlflow_url=mlflow_url,
        ray_dashboard_url="",
        ray_address="",
        pid=1,
        embedded_id=embedded_id,
        ray_folder="",
    )


def sleeper(layout: Layout, code: str = NESTING) -> Component:
    return Component("sleeper", (sys.executable, "-c", code), layout.environment(), lambda: True, needs=("api",))


def eventually(condition: Callable[[], bool], *, within_s: float = 20.0) -> bool:
    deadline = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


@pytest.mark.integration
def test_a_service_starts_in_order_mends_itself_and_leaves_nothing(tmp_path: Path) -> None:
    told: list[tuple[str, Phase]] = []
    recipe = lambda layout: (sleeper(layout), api(layout))  # noqa: E731
    with EmbeddedService(tmp_path, tell=lambda *what: told.append(what), recipe=recipe) as service:
        embedded_id = service.record.embedded_id
        assert told.index(("api", Phase.READY)) < told.index(("sleeper", Phase.STARTING))
        assert answers_http(f"{service.record.url}/healthz")
        with pytest.raises(AlreadyRunning), EmbeddedService(tmp_path, tell=lambda *_: None, recipe=recipe):
            pass
        assert answers_http(f"{service.record.url}/healthz")  # the refusal has not touched it

        first = service.session("api")
        api_process = next(p for p in marked(embedded_id) if p.pid == first)
        assert api_process.cmdline()[-2:] == ["-m", "service"]
        api_process.kill()
        assert eventually(lambda: told.count(("api", Phase.STARTING)) == 2)
        assert eventually(lambda: answers_http(f"{service.record.url}/healthz"))
        assert service.session("api") != first
        service.wait(0)
    assert marked(embedded_id) == []
    assert not record_path(tmp_path).exists()
    assert told[-1] == ("api", Phase.STOPPED)


KEEPER = """
import sys
from pathlib import Path
from service.embedded.keeper import EmbeddedService
from tests.service.embedded.test_keeper import sleeper
from service.embedded.components import api
with EmbeddedService(Path(sys.argv[1]), tell=lambda *_: None, recipe=lambda l: (api(l), sleeper(l))) as service:
    print("ready", flush=True)
    service.wait(600)
"""


@pytest.mark.integration
@pytest.mark.parametrize("guard_too", [False, True])
def test_after_a_kill_nothing_runs_on(tmp_path: Path, guard_too: bool) -> None:
    with subprocess.Popen([sys.executable, "-c", KEEPER, str(tmp_path)], stdout=subprocess.PIPE) as keeper:
        assert keeper.stdout is not None
        assert keeper.stdout.readline() == b"ready\n"
        left = ServiceRecord.read(tmp_path)
        assert left is not None
        assert len(marked(left.embedded_id)) >= 3
        if guard_too:
            (guard,) = [p for p in psutil.Process(keeper.pid).children() if "service.embedded.guard" in p.cmdline()]
            guard.kill()
        keeper.kill()
    if guard_too:  # then the next start finds what is left
        assert len(marked(left.embedded_id)) >= 3
        assert clean_leftovers(tmp_path) >= 3
    assert eventually(lambda: marked(left.embedded_id) == [])
    assert eventually(lambda: not Path(left.ray_folder).exists())


def test_a_component_that_cannot_start_is_quoted(tmp_path: Path) -> None:
    def recipe(layout: Layout) -> tuple[Component, ...]:
        code = "import sys; sys.exit('no such colour')"
        return (Component("painter", (sys.executable, "-c", code), layout.environment(), lambda: False),)

    with pytest.raises(EmbeddedError, match=r"painter ended with code 1.*\n.*no such colour"):
        EmbeddedService(tmp_path, tell=lambda *_: None, recipe=recipe).__enter__()
    assert not record_path(tmp_path).exists()


@pytest.mark.parametrize("vanishes", [False, True])
def test_whoever_waits_is_told_that_a_component_is_given_up(tmp_path: Path, vanishes: bool) -> None:
    """It dies again and again; or what it is started from is gone, as after an update."""
    restarts = RestartPolicy(max_restarts=1, first_delay_s=0.1)
    program = tmp_path / "program"
    program.write_text(f"#!/bin/sh\n{f'rm {program}' if vanishes else ''}\nsleep 0.5\nexit 3\n")
    program.chmod(0o700)

    def recipe(layout: Layout) -> tuple[Component, ...]:
        return (Component("mortal", (str(program),), layout.environment(), lambda: True),)

    def until_it_raises(service: EmbeddedService) -> None:
        for _ in range(100):
            service.wait(0.1)

    said = "mortal has died and cannot be started again" if vanishes else "mortal died 2 times in a row"
    with (
        pytest.raises(EmbeddedError, match=said),
        EmbeddedService(tmp_path / "home", tell=lambda *_: None, recipe=recipe, restarts=restarts) as service,
    ):
        until_it_raises(service)


def test_a_component_that_never_answers_is_given_up(tmp_path: Path) -> None:
    def recipe(layout: Layout) -> tuple[Component, ...]:
        command = (sys.executable, "-c", "import time; time.sleep(600)")
        return (Component("mute", command, layout.environment(), lambda: False, start_timeout_s=0.5),)

    with pytest.raises(EmbeddedError, match="mute did not answer within"):
        EmbeddedService(tmp_path, tell=lambda *_: None, recipe=recipe).__enter__()


def test_a_sweep_finds_an_orphan_that_has_lost_its_mark_by_its_session() -> None:
    sleep = "import time; time.sleep(600)"
    bare = f"import subprocess, sys; subprocess.Popen([sys.executable, '-c', {sleep!r}], env={{}})"
    code = f"import subprocess, sys, time; subprocess.run([sys.executable, '-c', {bare!r}]); time.sleep(600)"
    with subprocess.Popen(
        [sys.executable, "-c", code], env={**os.environ, MARK: "orphan"}, start_new_session=True
    ) as leader:
        assert eventually(lambda: commands(leader.pid) == {code, sleep})  # the one between them has ended
        assert sweep("orphan") == 2
        assert members(leader.pid) == []


def commands(session: int) -> set[str]:
    """The programs that members of the session were given."""
    found = set()
    for process in members(session):
        with suppress(psutil.Error):
            found.update(process.cmdline()[-1:])
    return found


def members(session: int) -> list[psutil.Process]:
    return [process for process in psutil.process_iter() if in_session(process, session)]


def in_session(process: psutil.Process, session: int) -> bool:
    try:
        return os.getsid(process.pid) == session and process.status() != psutil.STATUS_ZOMBIE
    except (OSError, psutil.NoSuchProcess):
        return False


def test_a_sweep_ends_those_with_the_mark_and_no_others() -> None:
    ours = subprocess.Popen(
        [sys.executable, "-c", NESTING], env={**os.environ, MARK: "sweep-test"}, start_new_session=True
    )
    other = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    try:
        assert eventually(lambda: len(marked("sweep-test")) == 2)
        assert sweep("sweep-test") == 2
        assert marked("sweep-test") == []
        assert ours.poll() is not None
        assert other.poll() is None
    finally:
        other.kill()
        other.wait()
