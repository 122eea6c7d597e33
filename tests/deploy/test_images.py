"""What each image holds, from the packages that its extra asks for and those ask for in turn."""

import tomllib
from collections.abc import Iterable
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


@pytest.mark.parametrize(
    ("extra", "holds", "lacks"),
    [
        ("api", {"fastapi", "sqlalchemy", "psycopg"}, {"torch", "ray", "mlflow", "numpy", "opencv"}),
        ("s3", {"s3fs"}, {"torch", "ray", "mlflow", "numpy", "opencv"}),
        ("tracking", {"mlflow", "psycopg"}, {"torch", "ray", "opencv"}),
        ("predictor", {"torch", "fastapi", "opencv"}, {"ray", "mlflow"}),
        ("worker", {"torch", "ray", "mlflow", "opencv"}, {"pytest", "mypy", "playwright"}),
    ],
)
def test_an_image_holds_what_its_process_needs_and_nothing_heavier(
    extra: str, holds: set[str], lacks: set[str]
) -> None:
    held = resolved(extra)
    found = {name for name in held if not name.startswith("opencv")} | ({"opencv"} if any_opencv(held) else set())
    assert holds <= found
    assert found & lacks == set()


def resolved(extra: str) -> set[str]:
    """Names of all packages that `pip install sdcn[extra]` installs here."""
    found: set[str] = set()
    waiting = list(own_requirements(extra))
    seen: set[tuple[str, frozenset[str]]] = set()
    while waiting:
        requirement = waiting.pop()
        name, extras = canonicalize_name(requirement.name), frozenset(requirement.extras)
        if (name, extras) in seen:
            continue
        seen.add((name, extras))
        found.add(name)
        try:
            asked = [Requirement(line) for line in requires(name) or ()]
        except PackageNotFoundError:  # what this platform does without
            continue
        waiting += [
            need
            for need in asked
            if need.marker is None or any(need.marker.evaluate({"extra": wanted}) for wanted in (*extras, ""))
        ]
    return found


def own_requirements(extra: str) -> Iterable[Requirement]:
    for line in EXTRAS[extra]:
        requirement = Requirement(line)
        if requirement.name == "sdcn":
            for other in requirement.extras:
                yield from own_requirements(other)
        else:
            yield requirement


def any_opencv(names: Iterable[str]) -> bool:
    return any(name.startswith("opencv") for name in names)
