"""What MLflow's model registry knows of our models, over its REST: names, versions, champions.

MLflow's own client would bring pandas into the API's process. Versions carry the job that trained them as a tag.
"""

import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx
import structlog

from service.errors import ChampionUnclear, ModelNotFound, RegistryUnavailable

log = structlog.get_logger()

CHAMPION = "champion"
JOB_TAG = "sdcn.job_id"
RUN_TAG = "sdcn.run"
TIMEOUT_S = 1.5
"""for both questions together a page waits for at most twice as long"""
REMEMBERED_S = 5.0
"""answers, and silence too: a page that asks every two seconds must not wait each time"""
MAX_PAGES = 20
VERSIONS_A_PAGE = 500
MODELS_A_PAGE = 100


@dataclass(frozen=True)
class RegisteredVersion:
    name: str
    version: str
    champion: bool


@dataclass(frozen=True)
class Registered:
    """All of the registry that is ours."""

    versions: Mapping[str, RegisteredVersion] = field(default_factory=dict)
    """by the model's id; of several the newest, unless an older one is the champion"""

    def champions(self) -> dict[str, str]:
        """Registered name -> id of the model that is its champion."""
        return {version.name: model_id for model_id, version in self.versions.items() if version.champion}


class ModelRegistry:
    """The registry at an address; without one, or with one that is no server, nothing is known.

    Args:
        url: http://host:port of MLflow.
        transport: something else than the network, for tests.
        monotonic: the clock by which answers age.
    """

    def __init__(
        self,
        url: str | None,
        *,
        transport: httpx.BaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._url = url.rstrip("/") if url is not None and url.startswith(("http://", "https://")) else None
        self._transport = transport
        self._monotonic = monotonic
        self._lock = threading.Lock()
        self._known: Registered | None = None
        self._asked_at: float | None = None

    def look(self) -> Registered | None:
        """What it knows, at most REMEMBERED_S old; None where nobody answers."""
        if self._url is None:
            return None
        with self._lock:
            now = self._monotonic()
            if self._asked_at is None or now - self._asked_at >= REMEMBERED_S:
                self._known = self._ask(self._url)
                self._asked_at = self._monotonic()
            return self._known

    def champion(self, name: str | None) -> str:
        """The id of the model that is the champion of the registered model `name`; of the only one where None.

        Raises:
            RegistryUnavailable: MLflow does not answer.
            ModelNotFound: no registered model of this name has a champion.
            ChampionUnclear: no name was given, and not exactly one has a champion.
        """
        registered = self.look()
        if registered is None:
            raise RegistryUnavailable(
                "the champion is known to MLflow alone, which does not answer: name a model by its id, from GET"
                " /v1/models, or see that SDCN_MLFLOW_TRACKING_URI is right for the API"
            )
        champions = registered.champions()
        said = ", ".join(f"{known}@{CHAMPION}" for known in sorted(champions)) or "none yet"
        if name is not None:
            if name not in champions:
                raise ModelNotFound(f"no registered model {name[:100]!r} has a champion; there are: {said}")
            return champions[name]
        if not champions:
            raise ChampionUnclear(f"no registered model has a {CHAMPION} yet: train one, with a job of kind train")
        if len(champions) > 1:
            raise ChampionUnclear(
                f"there are {len(champions)} champions, each the best of those judged alike; choose one of: {said}"
            )
        return next(iter(champions.values()))

    def _ask(self, url: str) -> Registered | None:
        try:
            with httpx.Client(base_url=url, timeout=TIMEOUT_S, transport=self._transport, trust_env=False) as client:
                crowned = {
                    (str(model["name"]), str(alias["version"]))
                    for model in _pages(client, "registered-models", MODELS_A_PAGE)
                    for alias in model.get("aliases", ())
                    if alias.get("alias") == CHAMPION
                }
                return Registered(_by_model(_pages(client, "model-versions", VERSIONS_A_PAGE), crowned))
        except (httpx.HTTPError, ValueError, KeyError, TypeError, AttributeError) as error:
            log.warning("registry.silent", error=type(error).__name__, reason=str(error)[:200])
            return None


def _pages(client: httpx.Client, what: str, length: int) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    parameters = {"max_results": str(length)}
    for _ in range(MAX_PAGES):
        answer = client.get(f"/api/2.0/mlflow/{what}/search", params=parameters)
        answer.raise_for_status()
        page = answer.json()
        found += page.get(what.replace("-", "_"), ())
        if not page.get("next_page_token"):
            break
        parameters["page_token"] = page["next_page_token"]
    return found


def _by_model(versions: list[dict[str, Any]], crowned: set[tuple[str, str]]) -> dict[str, RegisteredVersion]:
    found: dict[str, RegisteredVersion] = {}
    for version in versions:
        tags = {tag["key"]: tag["value"] for tag in version.get("tags", ())}
        if JOB_TAG not in tags:
            continue
        model_id = tags[JOB_TAG] + (f"/{tags[RUN_TAG]}" if RUN_TAG in tags else "")
        name, number = str(version["name"]), str(version["version"])
        known = found.get(model_id)
        new = RegisteredVersion(name, number, (name, number) in crowned)
        if known is None or (new.champion, int(number)) > (known.champion, int(known.version)):
            found[model_id] = new
    return found
