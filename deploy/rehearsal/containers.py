"""Containers as plain processes: started in the file's order, asked for their health, started again when they end by
themselves, ended without a rest.
"""

import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import psutil

from deploy.rehearsal.composed import ROOT, SECRETS, Service, in_order
from deploy.rehearsal.network import Network
from deploy.rehearsal.stand_in import StandIn
from service.embedded.sweep import MARK, RAY_FOLDER_PREFIX, marked, remove_ray_folder

LOOK_EVERY_S = 0.5
START_WITHIN_S = 180.0
Say = Callable[[str], None]


class RehearsalFailed(Exception):
    """Something did not happen as docker-compose.yml promises."""


@dataclass(frozen=True)
class Container:
    """One of a service's containers."""

    name: str
    service: Service
    log: Path
    process: subprocess.Popen[bytes]
    mark: str


class Containers:
    """All of them, below one folder: their shared volumes, their logs."""

    def __init__(self, services: Mapping[str, Service], network: Network, folder: Path, secrets: Path) -> None:
        self._services = services
        self._stand_ins: dict[str, StandIn] = {}
        self._network = network
        self._folder = folder
        self._secrets = secrets
        self._ray_folder = tempfile.mkdtemp(prefix=RAY_FOLDER_PREFIX)
        self._ray_options: dict[str, tuple[str, ...]] = {}
        self._running: dict[str, Container] = {}
        self._met: set[tuple[str, str]] = set()
        """services, and the conditions in which they have been"""
        self._lost: set[str] = set()
        self._is_over = threading.Event()
        self._keeper = threading.Thread(target=self._keep, name="keeper", daemon=True)
        self._keeper.start()
        for service in services.values():
            for name in _names(service):
                network.join(name, [service.name])
                self._ray_options[name] = self._ray_options_of(name)

    def __getitem__(self, name: str) -> Container:
        return self._running[name]

    def replace(self, stand_in: StandIn) -> None:
        """From here on the stand-in is what its service runs."""
        self._stand_ins[stand_in.service] = stand_in

    def start_all(self, say: Say) -> None:
        """Every service after those it waits for, each in the condition that it waits for.

        Raises:
            RehearsalFailed: one ended, or is not well in time.
        """
        for service in in_order(self._services):
            self._start_those_before(service, say)
            self._start_all_of(service)
        for service in self._services.values():
            if service.health:
                self._await(service, "service_healthy", say)

    def run(self, name: str, *command: str, say: Say) -> str:
        """What a command prints in a container of its own, as with `docker compose run --rm`: what the service waits
        for is started before, the service is not.

        Raises:
            RehearsalFailed: it does not end with 0.
        """
        service = self._services[name]
        self._start_those_before(service, say)
        done = self._run(name, service, f"{self._folder}:{name}-run", command)
        if done.returncode != 0:
            raise RehearsalFailed(f"`{' '.join(command)}` in {name} ended with {done.returncode}: {done.stderr}")
        return done.stdout

    def start(self, name: str, service: Service) -> None:
        log = self._folder / "logs" / f"{name}.log"
        log.parent.mkdir(parents=True, exist_ok=True)
        mark = f"{self._folder}:{name}"
        stand_in = self._stand_ins.get(service.name)
        with log.open("ab") as out:
            process = subprocess.Popen(
                self._called(name, service.command if stand_in is None else stand_in.command),
                env=self._environment(name, service, mark),
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                start_new_session=True,
            )
        self._running[name] = Container(name, service, log, process, mark)

    def run_in(self, name: str, *command: str) -> subprocess.CompletedProcess[str]:
        """A command in a running container, as `docker compose exec` would."""
        container = self._running[name]
        return self._run(name, container.service, container.mark, command)

    def of_worker(self, worker_id: str) -> str:
        """The container in which a worker of the queue runs: where hosts have names it says so, else its process does.

        Raises:
            RehearsalFailed: in none.
        """
        host, _, pid = worker_id.rpartition(":")
        if host in self._running:
            return host
        for name, container in self._running.items():
            if int(pid) in {process.pid for process in marked(container.mark)}:
                return name
        raise RehearsalFailed(f"worker {worker_id} runs in no container")

    def lose(self, name: str) -> int:
        """Kill all processes of a container at once, as a machine that loses its power; how many there were. It is not
        started again.
        """
        self._lost.add(name)
        return _kill(self._running[name])

    def stop_all(self, say: Say) -> None:
        """The last one first, each with its grace; then whatever is left."""
        self._is_over.set()
        self._keeper.join()
        for container in reversed(self._running.values()):
            if container.process.poll() is None:
                say(f"stopping {container.name}")
                with suppress(subprocess.TimeoutExpired, psutil.Error):
                    psutil.Process(self._network.first_process(container.process.pid)).terminate()
                    container.process.wait(container.service.stop_grace_s)
            self.lose(container.name)
            container.process.wait()
        remove_ray_folder(self._ray_folder)

    def left(self) -> list[psutil.Process]:
        """Processes that are there though their container has ended."""
        return [process for container in self._running.values() for process in marked(container.mark)]

    def _keep(self) -> None:
        """Start again what has ended by itself."""
        while not self._is_over.wait(LOOK_EVERY_S):
            for container in list(self._running.values()):
                has_ended = container.process.poll() is not None
                if has_ended and container.service.restarts and container.name not in self._lost:
                    _kill(container)
                    self.start(container.name, container.service)

    def _start_those_before(self, service: Service, say: Say) -> None:
        """Those that the service waits for, in the condition that it waits for; nothing where they are."""
        for other, condition in service.waits_for.items():
            needed = self._services[other]
            self._start_those_before(needed, say)
            self._start_all_of(needed)
            self._await(needed, condition, say)

    def _start_all_of(self, service: Service) -> None:
        for name in _names(service):
            if name not in self._running:
                self.start(name, service)

    def _run(self, name: str, service: Service, mark: str, command: Iterable[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            self._called(name, command),
            env=self._environment(name, service, mark),
            cwd=self._folder,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_WITHIN_S,
        )

    def _await(self, service: Service, condition: str, say: Say) -> None:
        if (service.name, condition) in self._met:
            return
        for name in _names(service):
            began = time.monotonic()
            while not self._meets(container := self._running[name], condition):
                ended = container.process.poll()
                if not service.restarts and (ended or (ended == 0 and condition == "service_healthy")):
                    raise RehearsalFailed(f"{name} ended with {ended}; {_end_of(container.log)}")
                if time.monotonic() - began > START_WITHIN_S:
                    raise RehearsalFailed(
                        f"{name} is not {condition} after {START_WITHIN_S:.0f} s; {_end_of(container.log)}"
                    )
                time.sleep(LOOK_EVERY_S)
            say(f"{name} is {condition.removeprefix('service_').replace('_', ' ')}")
        self._met.add((service.name, condition))

    def _meets(self, container: Container, condition: str) -> bool:
        match condition:
            case "service_healthy":
                is_well = self.run_in(container.name, *container.service.health).returncode == 0
                return is_well and container.process.poll() is None
            case "service_completed_successfully":
                return container.process.poll() == 0
            case _:
                return True

    def _called(self, name: str, command: Iterable[str]) -> list[str]:
        words = [self._said(name, word) for word in command]
        if words[:2] == ["ray", "start"]:
            words[2:2] = self._ray_options[name]
        return self._network.within(name, words)

    def _ray_options_of(self, name: str) -> tuple[str, ...]:
        """What a node of Ray finds out for itself in a container, which has an address and a /tmp of its own. Ray's
        sockets need a short path.
        """
        folder = Path(self._ray_folder) / str(len(self._ray_options))
        return (f"--node-ip-address={self._network.address(name)}", f"--temp-dir={folder}")

    def _environment(self, name: str, service: Service, mark: str) -> dict[str, str]:
        """The file's, and of this machine's what an image would have: where programs are, and a home of its own."""
        home = self._folder / "homes" / name
        home.mkdir(parents=True, exist_ok=True)
        stand_in = self._stand_ins.get(service.name)
        programs = [str(Path(sys.executable).parent), *([] if stand_in is None else [str(stand_in.programs)])]
        path = os.pathsep.join((*programs, os.environ.get("PATH", os.defpath)))
        machine = {"PATH": path, "HOME": str(home), "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        machine["RAY_TMPDIR"] = self._ray_folder
        told = {key: self._said(name, value) for key, value in service.environment.items()}
        told |= {} if stand_in is None else stand_in.environment
        return machine | told | {MARK: mark, "SDCN_SECRETS": str(self._secrets_of(name, service))}

    def _secrets_of(self, name: str, service: Service) -> Path:
        """A folder with the container's own secrets, and no other's."""
        folder = self._folder / "secrets" / name
        folder.mkdir(parents=True, exist_ok=True)
        for secret in service.secrets:
            (folder / secret).write_text((self._secrets / secret).read_text())
        return folder

    def _said(self, name: str, text: str) -> str:
        """With the machine's folders in place of the container's."""
        service = self._services[_service_of(name, self._services)]
        for target, source in service.volumes.items():
            if not source.startswith("."):
                volume = self._folder / "volumes" / source
                volume.mkdir(parents=True, exist_ok=True)
                text = text.replace(target, str(volume))
        text = text.replace(SECRETS, f"{self._folder / 'secrets' / name}/")
        text = text.replace("eth0", self._network.interface)
        text = text.replace("ray start ", " ".join(("ray start", *self._ray_options[name], "")))
        return " ".join(self._network.said(name, word) for word in text.split(" "))


def _kill(container: Container) -> int:
    """All processes of a container; how many there were."""
    found = marked(container.mark)
    for process in found:
        with suppress(psutil.Error):
            process.kill()
    psutil.wait_procs(found, timeout=10)
    return len(found)


def _names(service: Service) -> list[str]:
    if service.replicas == 1:
        return [service.name]
    return [f"{service.name}-{number}" for number in range(1, service.replicas + 1)]


def _service_of(name: str, services: Mapping[str, Service]) -> str:
    return name if name in services else name.rpartition("-")[0]


def _end_of(log: Path) -> str:
    lines = log.read_text(errors="replace").splitlines()[-5:]
    return f"the end of {log}:\n" + "\n".join(lines) if lines else f"{log} is empty"
