"""The five processes of an embedded service: their command lines, their environments, how to see that they answer."""

import os
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from service.embedded.home import ServiceRecord, predictor_token, ray_token
from service.embedded.ports import LOOPBACK, accepts, free_ports
from service.embedded.sweep import MARK

OBJECT_STORE_BYTES = 256 * 1024 * 1024
"""Ray's default is a third of the memory; training sends next to nothing through it"""
API_PORT = 8000
MLFLOW_PORT = 5000
USUAL_PORTS = (API_PORT, MLFLOW_PORT, 8265)
"""of the API, MLflow and Ray's dashboard; taken where they are free, else any others"""


@dataclass(frozen=True)
class Component:
    """One process of the service."""

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    answers: Callable[[], bool]
    """whether it has started, asked again and again"""
    needs: tuple[str, ...] = ()
    """components that must answer before this one starts"""
    start_timeout_s: float = 180.0
    stop_grace_s: float = 10.0
    """from SIGTERM to SIGKILL"""


@dataclass(frozen=True)
class Layout:
    """Where everything is: the home folder, Ray's folder, and the ports."""

    home: Path
    embedded_id: str
    ray_folder: str
    api: int
    mlflow: int
    ray: int
    ray_dashboard: int
    ray_client: int
    ray_agent: int
    predictor: int

    @classmethod
    def choose(
        cls, home: Path, embedded_id: str, ray_folder: str, ports: tuple[int, int, int] = USUAL_PORTS
    ) -> "Layout":
        """With the ports where they are free; 0: any."""
        api, mlflow, dashboard = ports
        return cls(home, embedded_id, ray_folder, *free_ports((api, mlflow, 0, dashboard, 0, 0, 0)))

    def record(self) -> ServiceRecord:
        return ServiceRecord(
            url=f"http://{LOOPBACK}:{self.api}",
            mlflow_url=f"http://{LOOPBACK}:{self.mlflow}",
            ray_dashboard_url=f"http://{LOOPBACK}:{self.ray_dashboard}",
            ray_address=f"{LOOPBACK}:{self.ray}",
            pid=os.getpid(),
            embedded_id=self.embedded_id,
            ray_folder=self.ray_folder,
        )

    def environment(self, **more: str) -> dict[str, str]:
        """The caller's environment, so that SDCN_DATA_ROOT and the like reach everyone, with ours on top."""
        ours = {
            MARK: self.embedded_id,
            "SDCN_HOME": str(self.home),
            "RAY_AUTH_MODE": "token",
            "RAY_AUTH_TOKEN_PATH": str(ray_token(self.home)),
            "RAY_USAGE_STATS_ENABLED": "0",
            "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # nobody takes this machine away; a process less a training
            "MLFLOW_DISABLE_TELEMETRY": "true",
        }
        return {**os.environ, **_past_the_proxy(os.environ), **ours, **more}


def _past_the_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """NO_PROXY with loopback besides what is there: a proxy would look for our servers on a machine of its own.

    In both spellings, as some read the one and some the other; what only one of them says is then said in both.
    """
    lower, upper = environment.get("no_proxy", ""), environment.get("NO_PROXY", "")
    return {"no_proxy": _with_loopback(lower or upper), "NO_PROXY": _with_loopback(upper or lower)}


def _with_loopback(hosts: str) -> str:
    if hosts.strip() == "*":  # everything; as one of several hosts not everybody understands it
        return hosts
    return ",".join(filter(None, (hosts, LOOPBACK, "localhost")))


def all_components(layout: Layout) -> tuple[Component, ...]:
    return (api(layout), mlflow(layout), ray(layout), worker(layout), predictor(layout))


def api(layout: Layout) -> Component:
    record = layout.record()
    return Component(
        name="api",
        command=(sys.executable, "-m", "service"),
        environment=layout.environment(
            SDCN_API_HOST=LOOPBACK,
            SDCN_API_PORT=str(layout.api),
            SDCN_OPEN_ON_LOOPBACK="true",
            SDCN_TRACKING_URL=record.mlflow_url,
            SDCN_MLFLOW_TRACKING_URI=record.mlflow_url,
            SDCN_RAY_DASHBOARD_URL=record.ray_dashboard_url,
            SDCN_PREDICTOR_URL=f"http://{LOOPBACK}:{layout.predictor}",
            SDCN_PREDICTOR_TOKEN=predictor_token(layout.home).read_text(),
        ),
        answers=lambda: answers_http(f"{record.url}/readyz"),
        start_timeout_s=60.0,
    )


def mlflow(layout: Layout) -> Component:
    """One server process and no job runner: 0.4 GB where the default takes 1.9."""
    record = layout.record()
    hosts = ",".join(f"{name}:{layout.mlflow}" for name in (LOOPBACK, "localhost"))
    return Component(
        name="mlflow",
        command=(
            *(sys.executable, "-m", "mlflow", "server"),
            *("--host", LOOPBACK, "--port", str(layout.mlflow), "--workers", "1"),
            *("--backend-store-uri", f"sqlite:///{layout.home / 'mlflow.db'}"),
            *("--artifacts-destination", str(layout.home / "mlflow_artifacts")),
            *("--allowed-hosts", hosts),
        ),
        environment=layout.environment(MLFLOW_SERVER_ENABLE_JOB_EXECUTION="false"),
        answers=lambda: answers_http(f"{record.mlflow_url}/health"),
    )


def ray(layout: Layout) -> Component:
    """A head node that is the whole cluster. Its dashboard stays on: Ray cleans up after lost jobs through it.

    Ray's own server listens on every interface, whatever address it is given; the token keeps others out.
    """
    record = layout.record()
    token = ray_token(layout.home).read_text()
    return Component(
        name="ray",
        command=(
            *(sys.executable, "-m", "ray.scripts.scripts", "start", "--head", "--block", "--disable-usage-stats"),
            *("--port", str(layout.ray)),
            *("--include-dashboard", "true", "--dashboard-host", LOOPBACK),
            *("--dashboard-port", str(layout.ray_dashboard), "--dashboard-agent-listen-port", str(layout.ray_agent)),
            *("--ray-client-server-port", str(layout.ray_client)),
            *("--temp-dir", layout.ray_folder, "--object-store-memory", str(OBJECT_STORE_BYTES)),
        ),
        environment=layout.environment(),
        answers=lambda: accepts(layout.ray) and answers_http(f"{record.ray_dashboard_url}/api/version", token=token),
    )


def worker(layout: Layout) -> Component:
    record = layout.record()
    return Component(
        name="worker",
        command=(sys.executable, "-m", "workers"),
        environment=layout.environment(
            SDCN_RAY_ADDRESS=record.ray_address,
            SDCN_RAY_AUTH_MODE="token",
            SDCN_MLFLOW_TRACKING_URI=record.mlflow_url,
            SDCN_HEARTBEAT_INTERVAL_S=os.environ.get(
                "SDCN_HEARTBEAT_INTERVAL_S", "2"
            ),  # one machine: be quick to cancel
            SDCN_STOP_GRACE_S=os.environ.get("SDCN_STOP_GRACE_S", "25"),
        ),
        answers=lambda: True,  # it listens nowhere; that it lives is all there is to see
        needs=("api", "mlflow", "ray"),
        stop_grace_s=60.0,  # it has its training write a checkpoint, or interrupts it
    )


def predictor(layout: Layout) -> Component:
    """Last, and nobody waits for it: it loads torch while jobs can be taken in already."""
    return Component(
        name="predictor",
        command=(sys.executable, "-m", "workers.predictor"),
        environment=layout.environment(
            SDCN_PREDICTOR_HOST=LOOPBACK,
            SDCN_PREDICTOR_PORT=str(layout.predictor),
            SDCN_PREDICTOR_TOKEN=predictor_token(layout.home).read_text(),
        ),
        answers=lambda: True,  # the API says so of each request for which it is not ready yet
        needs=("worker",),
    )


_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))
"""loopback is never reached through a proxy, whatever the environment says"""


def answers_http(url: str, *, token: str | None = None) -> bool:
    """Whether a server answers well; to the token, if one is given: somebody else's server would not know it."""
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    try:
        with _DIRECT.open(urllib.request.Request(url, headers=headers), timeout=2.0) as response:
            return bool(response.status == 200)
    except urllib.error.HTTPError as refusal:
        refusal.close()
        return False
    except (OSError, ValueError):
        return False
