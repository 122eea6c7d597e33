"""docker-compose.yml and what it builds from, read as Docker would read them."""

import re
import shlex
import subprocess
import sys
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
import yaml

from workers.predictor.settings import PredictorSettings
from workers.settings import WorkerSettings

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "docker-compose.yml"
GPU = ROOT / "deploy" / "docker-compose.gpu.yml"
STORE = ROOT / "deploy" / "docker-compose.store.yml"
DOCKERFILE = ROOT / "deploy" / "Dockerfile"
ELSEWHERE = {"postgres"}
"""services whose images are not built here"""


@pytest.fixture(scope="module")
def composed() -> dict[str, Any]:
    read: dict[str, Any] = yaml.safe_load(COMPOSE.read_text())
    return read


@pytest.mark.parametrize("path", [COMPOSE, GPU, STORE], ids=lambda path: path.name)
def test_the_file_is_as_the_compose_specification_says(path: Path) -> None:
    checked = run_tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", str(path))
    assert checked.returncode == 0, checked.stdout


def test_the_dockerfile_is_clean_under_hadolint() -> None:
    checked = run_tool("hadolint", str(DOCKERFILE))
    assert (checked.returncode, checked.stdout) == (0, "")


def test_every_service_is_built_for_a_target_of_its_own_process(composed: dict[str, Any]) -> None:
    targets = re.findall(r"^FROM \S+ AS (\w+)$", DOCKERFILE.read_text(), re.MULTILINE)
    built = {name: service["build"]["target"] for name, service in composed["services"].items() if "build" in service}
    assert composed["services"].keys() - built.keys() == ELSEWHERE
    assert set(built.values()) == {"api", "mlflow", "predictor", "worker"}
    assert set(built.values()) <= set(targets)


def test_every_image_runs_as_a_user_without_rights() -> None:
    stages = re.split(r"^FROM ", DOCKERFILE.read_text(), flags=re.MULTILINE)
    ends = {stage.split()[2]: stage for stage in stages if " AS " in stage.partition("\n")[0]}
    assert {name: "USER 10001" in ends[name] for name in ("api", "mlflow", "predictor", "worker")} == dict.fromkeys(
        ("api", "mlflow", "predictor", "worker"), True
    )


def test_every_module_that_a_container_runs_exists(composed: dict[str, Any]) -> None:
    commands = [service.get("command", []) for service in composed["services"].values()]
    of_images = re.findall(r"^CMD (\[.*\])$", DOCKERFILE.read_text(), re.MULTILINE)
    words = [shlex.split(word) for command in [*commands, *map(yaml.safe_load, of_images)] for word in command]
    flat = [word for split in words for word in split]
    modules = {after for before, after in pairwise(flat) if before == "-m"}
    assert modules == {"service", "service.migrate", "workers", "workers.predictor"}
    assert all(find_spec(module) for module in modules)


def test_every_variable_is_one_that_the_process_reads(composed: dict[str, Any]) -> None:
    fields = {f"SDCN_{name.upper()}" for name in {**WorkerSettings.model_fields, **PredictorSettings.model_fields}}
    named = {name for service in composed["services"].values() for name in service.get("environment", {})}
    assert {name for name in named if name.startswith("SDCN_")} <= fields


def test_secrets_come_as_files_and_never_in_an_environment(composed: dict[str, Any]) -> None:
    written = re.search(r"for name in ([\w ]+);", (ROOT / "Makefile").read_text())
    assert written is not None
    assert composed["secrets"].keys() == {f"sdcn_{name}" for name in written[1].split()}
    used = {secret for service in composed["services"].values() for secret in service.get("secrets", [])}
    assert used == composed["secrets"].keys()
    for service in composed["services"].values():
        for name, value in service.get("environment", {}).items():
            if re.search(r"PASSWORD|TOKEN", name):
                assert name == "RAY_AUTH_MODE" or str(value).startswith("/run/secrets/")


def test_only_the_api_and_mlflow_are_published_and_only_on_loopback(composed: dict[str, Any]) -> None:
    published = {name: service["ports"] for name, service in composed["services"].items() if "ports" in service}
    assert published == {"api": ["127.0.0.1:8000:8000"], "mlflow": ["127.0.0.1:5000:5000"]}
    assert composed["networks"]["private"] == {"internal": True}
    outside = {name for name, service in composed["services"].items() if "published" in service["networks"]}
    assert outside == published.keys()


def test_workers_can_ask_what_ended_jobs_have_left_in_the_cluster(composed: dict[str, Any]) -> None:
    assert "--dashboard-host=0.0.0.0" in composed["services"]["ray-head"]["command"]  # Ray's own is loopback


def test_ray_is_spoken_to_with_a_token_alone(composed: dict[str, Any]) -> None:
    for name in ("ray-head", "worker"):
        service = composed["services"][name]
        assert service["environment"]["RAY_AUTH_MODE"] == "token"
        assert "sdcn_ray_token" in service["secrets"]
        assert service["networks"] == ["private"]


def test_whoever_reads_or_writes_checkpoints_reaches_their_store_with_a_secret_from_a_file(
    composed: dict[str, Any],
) -> None:
    with_store = yaml.safe_load(STORE.read_text())
    uses_ray = {
        name for name, service in composed["services"].items() if "RAY_AUTH_MODE" in service.get("environment", {})
    }
    assert with_store["services"].keys() == {"api", *uses_ray}
    for service in with_store["services"].values():
        assert "SDCN_CHECKPOINTS_URL" in service["environment"]
        assert service["environment"]["AWS_SHARED_CREDENTIALS_FILE"] == "/run/secrets/store_credentials"
        assert service["secrets"] == [*with_store["secrets"]]
        assert service["networks"] == ["published"]


def test_everything_that_stays_up_is_watched_and_reaped(composed: dict[str, Any]) -> None:
    for name, service in composed["services"].items():
        assert service["init"] is True, name
        assert ("healthcheck" in service) is (service["restart"] != "no"), name


def test_nothing_that_uses_the_queue_starts_before_its_tables_are_up_to_date(composed: dict[str, Any]) -> None:
    users = {
        name
        for name, service in composed["services"].items()
        if "SDCN_DATABASE_URL" in service.get("environment", {}) and name != "migrate"
    }
    assert users == {"api", "worker"}
    for name in users:
        waits = composed["services"][name]["depends_on"]
        assert waits["migrate"] == {"condition": "service_completed_successfully"}


def test_a_stopped_worker_has_time_to_write_its_checkpoint(composed: dict[str, Any]) -> None:
    worker = composed["services"]["worker"]
    settings = WorkerSettings()
    assert worker["stop_grace_period"] == "2m"
    assert settings.stop_grace_s + settings.interrupt_grace_s < 120


def run_tool(name: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """One of the tools that are installed beside this interpreter."""
    tool = Path(sys.executable).parent / name
    return subprocess.run([str(tool), *arguments], capture_output=True, text=True, check=False)
