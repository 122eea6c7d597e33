"""docker-compose.yml as plain data: what each container would be started with."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).parents[2]
FILE = ROOT / "docker-compose.yml"
SECRETS = "/run/secrets/"
"""where a container finds its secrets"""


@dataclass(frozen=True)
class Service:
    """A service of the file, and a container or several of it."""

    name: str
    command: tuple[str, ...]
    """its own or, where it has none, its image's; empty: that of an image that is not built here"""
    environment: Mapping[str, str]
    secrets: tuple[str, ...]
    volumes: Mapping[str, str]
    """path in the container -> volume or path on the machine"""
    waits_for: Mapping[str, str]
    """service -> service_started, service_healthy or service_completed_successfully"""
    health: tuple[str, ...]
    """command that ends with 0 while the container is well; empty: none"""
    publishes: tuple[int, ...]
    """ports that this machine's loopback leads to"""
    replicas: int
    restarts: bool
    """whether its containers are started again when they end by themselves"""
    stop_grace_s: float


def read_composed(path: Path = FILE, variables: Mapping[str, str] | None = None) -> dict[str, Service]:
    """The services by name.

    Args:
        path: the file.
        variables: what ${NAME} stands for; None: the environment.

    Raises:
        ValueError: the file says something that is not understood here.
    """
    known = os.environ if variables is None else variables
    read = _interpolated(yaml.safe_load(path.read_text()), known)
    return {name: _service(name, told) for name, told in read["services"].items()}


def in_order(services: Mapping[str, Service]) -> list[Service]:
    """Each after those that it waits for.

    Raises:
        ValueError: some wait for each other.
    """
    ordered: list[Service] = []
    left = dict(services)
    while left:
        ready = [service for service in left.values() if not service.waits_for.keys() & left.keys()]
        if not ready:
            raise ValueError(f"these services wait for each other: {', '.join(left)}")
        ordered += ready
        for service in ready:
            del left[service.name]
    return ordered


def _service(name: str, told: Mapping[str, Any]) -> Service:
    build = told.get("build")
    command = told.get("command") or (_command_of_image(build) if build else [])
    waits_for = told.get("depends_on", {})
    return Service(
        name=name,
        command=tuple(map(str, command)),
        environment={key: str(value) for key, value in told.get("environment", {}).items()},
        secrets=tuple(told.get("secrets", ())),
        volumes=dict(_mount(volume) for volume in told.get("volumes", ())),
        waits_for={other: condition["condition"] for other, condition in waits_for.items()},
        health=tuple(told.get("healthcheck", {}).get("test", ["CMD"])[1:]),
        publishes=tuple(int(port.rpartition(":")[2]) for port in told.get("ports", ())),
        replicas=int(told.get("deploy", {}).get("replicas", 1)),
        restarts=told.get("restart", "no") != "no",
        stop_grace_s=_seconds(told.get("stop_grace_period", "10s")),
    )


def _command_of_image(build: Mapping[str, Any]) -> list[str]:
    dockerfile = (ROOT / build["dockerfile"]).read_text()
    stages = re.split(r"^FROM ", dockerfile, flags=re.MULTILINE)
    for stage in stages:
        if stage.partition("\n")[0].endswith(f" AS {build['target']}"):
            found = re.search(r"^CMD (\[.*\])$", stage, re.MULTILINE)
            if found is None:
                break
            command: list[str] = yaml.safe_load(found[1])
            return command
    raise ValueError(f"{build['dockerfile']} has no target {build['target']} with a command")


def _mount(volume: str) -> tuple[str, str]:
    source, target = volume.split(":")[:2]
    return target, source


def _seconds(duration: str) -> float:
    found = re.fullmatch(r"(\d+)(s|m)", duration)
    if found is None:
        raise ValueError(f"{duration!r} is no duration in s or m")
    return int(found[1]) * (60.0 if found[2] == "m" else 1.0)


def _interpolated(told: Any, variables: Mapping[str, str]) -> Any:  # noqa: ANN401 - whatever YAML holds
    if isinstance(told, str):
        return _VARIABLE.sub(lambda found: _value(found, variables), told)
    if isinstance(told, list):
        return [_interpolated(part, variables) for part in told]
    if isinstance(told, dict):
        return {key: _interpolated(part, variables) for key, part in told.items()}
    return told


_VARIABLE = re.compile(r"\$(?:(?P<dollar>\$)|\{(?P<name>\w+)(?::-(?P<default>[^}]*))?\})")


def _value(found: re.Match[str], variables: Mapping[str, str]) -> str:
    if found["dollar"]:
        return "$"
    value = variables.get(found["name"]) or found["default"]
    if value is None:
        raise ValueError(f"{found['name']} is not set, and docker-compose.yml has nothing to put in its place")
    return value
