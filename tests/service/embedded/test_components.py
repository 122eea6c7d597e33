from pathlib import Path

import pytest

from service.embedded.components import USUAL_PORTS, Layout, all_components
from service.embedded.home import locked, predictor_token


def test_the_api_and_the_predictor_know_each_other_and_nobody_else_does(tmp_path: Path) -> None:
    with locked(tmp_path):
        components = {part.name: part for part in all_components(Layout.choose(tmp_path, "id", str(tmp_path)))}
    secret = predictor_token(tmp_path).read_text()
    knowing = {name for name, part in components.items() if part.environment.get("SDCN_PREDICTOR_TOKEN") == secret}
    assert knowing == {"api", "predictor"}
    port = components["predictor"].environment["SDCN_PREDICTOR_PORT"]
    assert components["api"].environment["SDCN_PREDICTOR_URL"] == f"http://127.0.0.1:{port}"


def test_ports_are_any_that_are_free_where_none_are_named(tmp_path: Path) -> None:
    layout = Layout.choose(tmp_path, "id", str(tmp_path), (0, 0, 0))
    assert {layout.api, layout.mlflow, layout.ray_dashboard}.isdisjoint(USUAL_PORTS)


def test_nobody_waits_for_the_predictor(tmp_path: Path) -> None:
    with locked(tmp_path):
        components = all_components(Layout.choose(tmp_path, "id", str(tmp_path)))
    assert components[-1].name == "predictor"
    assert components[-1].answers()
    assert all("predictor" not in part.needs for part in components)


@pytest.mark.parametrize(
    ("given", "lower", "upper"),
    [
        ({}, "127.0.0.1,localhost", "127.0.0.1,localhost"),
        ({"no_proxy": "a.test"}, "a.test,127.0.0.1,localhost", "a.test,127.0.0.1,localhost"),
        (
            {"no_proxy": "a.test", "NO_PROXY": "b.test"},
            "a.test,127.0.0.1,localhost",
            "b.test,127.0.0.1,localhost",
        ),
        ({"NO_PROXY": "*"}, "*", "*"),
    ],
)
def test_no_component_looks_for_another_behind_a_proxy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: dict[str, str], lower: str, upper: str
) -> None:
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    environment = Layout.choose(tmp_path, "id", str(tmp_path)).environment()
    assert (environment["no_proxy"], environment["NO_PROXY"]) == (lower, upper)
