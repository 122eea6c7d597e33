"""How the rehearsal reads docker-compose.yml, and what it makes of it."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.rehearsal.composed import Service, in_order, read_composed
from deploy.rehearsal.containers import Containers, RehearsalFailed
from deploy.rehearsal.network import INIT, Loopback, Namespaces, open_network
from deploy.rehearsal.published import published

SAID: list[str] = []


def test_the_file_is_read_as_compose_reads_it() -> None:
    services = read_composed(variables={"SDCN_WORKERS": "2"})
    worker, api, mlflow = services["worker"], services["api"], services["mlflow"]
    assert (worker.replicas, worker.stop_grace_s, api.replicas) == (2, 120, 1)
    assert api.command == ("python", "-m", "service")  # its image's
    assert api.publishes == (8000,)
    assert worker.waits_for == {"migrate": "service_completed_successfully", "ray-head": "service_healthy"}
    assert '"$(cat /run/secrets/sdcn_database_password)"' in mlflow.command[2]
    assert worker.environment["SDCN_HOME"] == "/data"
    assert worker.environment["RAY_AUTH_MODE"] == "token"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("${SDCN_WORKERS:-1}", "1"),
        ("$${SDCN_WORKERS}", "${SDCN_WORKERS}"),
        ("x-${GIVEN}-${GIVEN}", "x-here-here"),
    ],
)
def test_variables_stand_for_their_values(tmp_path: Path, text: str, says: str) -> None:
    path = tmp_path / "docker-compose.yml"
    path.write_text(f"services: {{one: {{command: [run], environment: {{a: '{text}'}}}}}}")
    assert read_composed(path, {"GIVEN": "here"})["one"].environment["a"] == says


def test_a_variable_without_a_value_is_named(tmp_path: Path) -> None:
    path = tmp_path / "docker-compose.yml"
    path.write_text("services: {one: {command: [run], environment: {a: '${MISSING}'}}}")
    with pytest.raises(ValueError, match="MISSING is not set"):
        read_composed(path, {})


def test_every_service_starts_after_those_it_waits_for() -> None:
    names = [service.name for service in in_order(read_composed(variables={}))]
    for before, after in (("postgres", "migrate"), ("migrate", "api"), ("ray-head", "worker"), ("postgres", "mlflow")):
        assert names.index(before) < names.index(after)


def test_services_that_wait_for_each_other_are_named() -> None:
    one, two = (
        service("one", waits_for={"two": "service_started"}),
        service("two", waits_for={"one": "service_started"}),
    )
    with pytest.raises(ValueError, match="one, two"):
        in_order({"one": one, "two": two})


@pytest.mark.parametrize(
    ("word", "said"),
    [
        ("postgresql://sdcn@postgres/queue", "postgresql://sdcn@{postgres}/queue"),
        ("http://mlflow:5000", "http://{mlflow}:5000"),
        ("--address=ray-head:6379", "--address={ray-head}:6379"),
        ("ray-head:6379", "{ray-head}:6379"),
        ("0.0.0.0", "{api}"),
        ('["localhost",', '["localhost",'),
        ('"api"]', '"{api}"]'),
        ("/data/mlflow-artifacts", "/data/mlflow-artifacts"),
        ("mlflow", "mlflow"),  # a program
        ('"mlflow,mlflow:*,127.0.0.1:*"', '"{mlflow},{mlflow}:*,{api}:*"'),
        ("--dashboard-host=0.0.0.0", "--dashboard-host={api}"),
    ],
)
def test_on_loopback_names_become_addresses_and_nothing_else_does(word: str, said: str) -> None:
    network = Loopback()
    names = ("postgres", "mlflow", "ray-head", "api")
    for name in names:
        network.join(name, [name])
    addresses = {name: network.address(name) for name in names}
    assert len(set(addresses.values())) == len(names)
    assert network.said("api", word) == said.format_map(addresses)


def test_a_container_sees_its_own_secrets_and_volumes_and_no_others(tmp_path: Path) -> None:
    (tmp_path / "keys").mkdir()
    for name in ("mine", "others"):
        (tmp_path / "keys" / name).write_text(name)
    show = "import os; print(os.listdir('/run/secrets/'), open('/run/secrets/mine').read(), os.listdir('/data'))"
    one = service("one", command=(sys.executable, "-c", show), secrets=("mine",), volumes={"/data": "data"})
    containers = Containers({"one": one}, Loopback(), tmp_path, tmp_path / "keys")
    containers.start("one", one)
    containers["one"].process.wait(60)
    assert containers["one"].log.read_text() == "['mine'] mine []\n"
    containers.stop_all(SAID.append)


def test_a_command_runs_as_a_service_would_after_those_that_it_waits_for(tmp_path: Path) -> None:
    first = service("first", command=("sh", "-c", "echo made > /data/x"), volumes={"/data": "data"})
    then = service("then", waits_for={"first": "service_completed_successfully"}, volumes={"/data": "data"})
    containers = Containers({"first": first, "then": then}, Loopback(), tmp_path, tmp_path)
    assert containers.run("then", "cat", "/data/x", say=SAID.append) == "made\n"
    with pytest.raises(RehearsalFailed, match=r"`cat /nothing` in then ended with 1: .*No such file"):
        containers.run("then", "cat", "/nothing", say=SAID.append)
    with pytest.raises(KeyError):
        containers["then"]
    containers.stop_all(SAID.append)


def test_a_container_that_ends_by_itself_is_started_again_where_the_file_says_so(tmp_path: Path) -> None:
    once_more = "test -e /data/x && exec sleep 600; touch /data/x"
    one = service("one", command=("sh", "-c", once_more), volumes={"/data": "data"}, restarts=True)
    containers = Containers({"one": one}, Loopback(), tmp_path, tmp_path)
    containers.start("one", one)
    first = containers["one"].process
    first.wait(60)
    assert eventually(lambda: containers["one"].process is not first)
    assert containers.lose("one") == 1
    lost = containers["one"].process
    containers.stop_all(SAID.append)
    assert containers["one"].process is lost
    assert containers.left() == []
    assert not read_composed(variables={})["migrate"].restarts
    assert read_composed(variables={})["api"].restarts


def test_a_worker_is_found_by_its_host_or_by_its_process(tmp_path: Path) -> None:
    one = service("one", command=("sleep", "600"))
    containers = Containers({"one": one}, Loopback(), tmp_path, tmp_path)
    containers.start("one", one)
    assert containers.of_worker("one:7") == "one"
    assert containers.of_worker(f"machine:{containers['one'].process.pid}") == "one"
    with pytest.raises(RehearsalFailed, match="machine:1 runs in no container"):
        containers.of_worker("machine:1")
    containers.stop_all(SAID.append)


def test_each_node_of_ray_is_told_its_address_and_a_folder_of_its_own(tmp_path: Path) -> None:
    network = Loopback()
    one = service("one", command=("sh", "-c", "echo ray start --head"), replicas=2)
    containers = Containers({"one": one}, network, tmp_path, tmp_path)
    said = []
    for name in ("one-1", "one-2"):
        containers.start(name, one)
        containers[name].process.wait(60)
        said.append(containers[name].log.read_text())
        assert said[-1].startswith(f"ray start --node-ip-address={network.address(name)} --temp-dir=/tmp/sdcn-ray-")
        assert said[-1].endswith(" --head\n")
    folders = {word for words in said for word in words.split() if word.startswith("--temp-dir")}
    assert len(folders) == 2
    containers.stop_all(SAID.append)


@pytest.mark.skipif(os.geteuid() != 0, reason="namespaces are made by root alone")
def test_in_namespaces_a_container_sees_itself_alone_and_others_by_name(tmp_path: Path) -> None:
    network = open_network(tmp_path)
    if not isinstance(network, Namespaces):
        pytest.skip("no namespaces can be made here")
    with ExitStack() as stack:
        stack.callback(network.close)
        show = "hostname; getent hosts two | cut -d' ' -f1; ls /proc | grep -c '^[0-9]'"
        one, two = service("one", command=("sh", "-c", show)), service("two", command=("sleep", "600"))
        containers = Containers({"one": one, "two": two}, network, tmp_path, tmp_path)
        stack.callback(containers.stop_all, SAID.append)
        containers.start("two", two)
        containers.start("one", one)
        containers["one"].process.wait(60)
        name, address, processes = containers["one"].log.read_text().split()
        assert (name, address) == ("one", network.address("two"))
        assert int(processes) < 8  # those of the command itself
        containers.stop_all(SAID.append)
        assert containers["two"].process.returncode == 128 + signal.SIGTERM  # it was asked to end, by its process 1
        assert containers.left() == []


@pytest.mark.parametrize(("command", "code"), [("exit 3", 3), ("kill -KILL $$", 137), ("sleep 600 & exit 0", 0)])
def test_process_one_ends_as_its_command_does(command: str, code: int) -> None:
    ended = subprocess.run([sys.executable, str(INIT), "sh", "-c", command], timeout=60, check=False)
    assert ended.returncode == code


def test_a_container_that_ends_before_it_is_well_fails_the_rehearsal_with_its_last_words(tmp_path: Path) -> None:
    one = service("one", command=(sys.executable, "-c", "raise SystemExit('last words')"), health=("false",))
    containers = Containers({"one": one}, Loopback(), tmp_path, tmp_path)
    with pytest.raises(RehearsalFailed, match="last words"):
        containers.start_all(SAID.append)
    containers.stop_all(SAID.append)


def test_a_lost_container_leaves_no_process(tmp_path: Path) -> None:
    one = service("one", command=("sh", "-c", "sleep 600 & sleep 600"))
    containers = Containers({"one": one}, Loopback(), tmp_path, tmp_path)
    containers.start("one", one)
    assert containers.lose("one") >= 1
    assert containers.left() == []
    containers.stop_all(SAID.append)


def test_a_published_port_leads_into_the_container() -> None:
    with ExitStack() as stack:
        inside = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        host, _, port = stack.enter_context(published("127.0.0.1", inside.getsockname()[1])).partition(":")
        outside = stack.enter_context(socket.create_connection((host, int(port)), timeout=10))
        within = stack.enter_context(inside.accept()[0])
        outside.sendall(b"asked")
        assert within.recv(16) == b"asked"
        within.sendall(b"answered")
        assert outside.recv(16) == b"answered"


def eventually(holds: Callable[[], bool]) -> bool:
    deadline = time.monotonic() + 60
    while not (held := holds()) and time.monotonic() < deadline:
        time.sleep(0.05)
    return held


def service(name: str, **told: object) -> Service:
    plain: dict[str, object] = {
        "command": ("true",),
        "environment": {},
        "secrets": (),
        "volumes": {},
        "waits_for": {},
        "health": (),
        "publishes": (),
        "replicas": 1,
        "restarts": False,
        "stop_grace_s": 5.0,
    }
    return Service(name=name, **{**plain, **told})  # type: ignore[arg-type]
