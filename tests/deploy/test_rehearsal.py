"""How the rehearsal reads docker-compose.yml, and what it makes of it."""

import socket
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest

from deploy.rehearsal.composed import Service, in_order, read_composed
from deploy.rehearsal.containers import Containers, RehearsalFailed
from deploy.rehearsal.network import Loopback
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
        ("mlflow", "{mlflow}"),
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
        "stop_grace_s": 5.0,
    }
    return Service(name=name, **{**plain, **told})  # type: ignore[arg-type]
