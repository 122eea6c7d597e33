"""What MLflow's REST answers, as it was seen from MLflow 3.17, and what becomes of it."""

from typing import Any

import httpx
import pytest

from service.errors import ChampionUnclear, ModelNotFound, RegistryUnavailable
from service.registry import REMEMBERED_S, ModelRegistry, RegisteredVersion

CHAMPION = [{"alias": "champion", "version": "1"}]


def version(name: str, number: int, **tags: str) -> dict[str, Any]:
    written = [{"key": f"sdcn.{key}", "value": value} for key, value in tags.items()]
    return {"name": name, "version": str(number), "tags": written}


class Mlflow:
    """Answers the two searches, a page of one entry at a time."""

    def __init__(self, models: list[dict[str, Any]], versions: list[dict[str, Any]]) -> None:
        self._found = {"registered-models": models, "model-versions": versions}
        self.asked = 0
        self.down = False

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if self.down:
            raise httpx.ConnectError("refused")
        what = request.url.path.split("/")[-2]
        place = int(request.url.params.get("page_token", "0"))
        page: dict[str, Any] = {what.replace("-", "_"): self._found[what][place : place + 1]}
        if place + 1 < len(self._found[what]):
            page["next_page_token"] = str(place + 1)
        return httpx.Response(200, json=page)


@pytest.fixture
def mlflow() -> Mlflow:
    models = [{"name": "sdcn-scenes", "aliases": CHAMPION}, {"name": "somebody-elses", "aliases": CHAMPION}]
    versions = [
        version("sdcn-scenes", 1, job_id="aa"),
        version("sdcn-scenes", 2, job_id="bb"),
        version("sdcn-scenes", 3, job_id="bb"),
        version("sdcn-scenes", 4, job_id="cc", run="oicr"),
        version("somebody-elses", 1),
    ]
    return Mlflow(models, versions)


def registry(mlflow: Mlflow, **more: Any) -> ModelRegistry:
    return ModelRegistry("http://mlflow.test/", transport=httpx.MockTransport(mlflow), **more)


def test_models_are_found_by_the_job_that_trained_them(mlflow: Mlflow) -> None:
    found = registry(mlflow).look()
    assert found is not None
    assert found.versions == {
        "aa": RegisteredVersion("sdcn-scenes", "1", champion=True),
        "bb": RegisteredVersion("sdcn-scenes", "3", champion=False),
        "cc/oicr": RegisteredVersion("sdcn-scenes", "4", champion=False),
    }


def test_the_champion_is_found_by_name_or_alone(mlflow: Mlflow) -> None:
    known = registry(mlflow)
    assert known.champion("sdcn-scenes") == known.champion(None) == "aa"
    with pytest.raises(ModelNotFound, match="sdcn-scenes@champion"):
        known.champion("somebody-elses")


def test_of_two_champions_none_is_meant() -> None:
    models = [{"name": name, "aliases": CHAMPION} for name in ("a", "b")]
    mlflow = Mlflow(models, [version("a", 1, job_id="aa"), version("b", 1, job_id="bb")])
    with pytest.raises(ChampionUnclear, match=r"2 champions.* choose one of: a@champion, b@champion"):
        registry(mlflow).champion(None)
    assert registry(mlflow).champion("b") == "bb"


def test_where_there_is_no_champion_yet_the_way_to_one_is_said() -> None:
    with pytest.raises(ChampionUnclear, match="yet: train one"):
        registry(Mlflow([], [])).champion(None)


def test_an_answer_is_remembered_for_a_moment(mlflow: Mlflow) -> None:
    now = [0.0]
    known = registry(mlflow, monotonic=lambda: now[0])
    known.look()
    asked = mlflow.asked
    now[0] = REMEMBERED_S - 0.1
    known.look()
    assert mlflow.asked == asked
    now[0] = REMEMBERED_S
    known.look()
    assert mlflow.asked == 2 * asked


def test_a_silent_server_is_not_asked_again_at_once(mlflow: Mlflow) -> None:
    mlflow.down = True
    known = registry(mlflow)
    assert known.look() is None
    assert known.look() is None
    assert mlflow.asked == 1
    with pytest.raises(RegistryUnavailable, match="SDCN_MLFLOW_TRACKING_URI"):
        known.champion(None)


@pytest.mark.parametrize(
    "content", [b"<html>", b"[]", b'{"registered_models": [{"aliases": [3]}]}', b'{"registered_models": 3}']
)
def test_somebody_elses_answer_is_as_good_as_none(content: bytes) -> None:
    elsewhere = httpx.MockTransport(lambda _: httpx.Response(200, content=content))
    assert ModelRegistry("http://x", transport=elsewhere).look() is None


@pytest.mark.parametrize("url", [None, "sqlite:///mlflow.db", "/var/mlruns"])
def test_without_a_server_nothing_is_asked(url: str | None) -> None:
    never = httpx.MockTransport(lambda _: pytest.fail("was asked"))
    assert ModelRegistry(url, transport=never).look() is None
