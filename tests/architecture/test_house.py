"""The files that surround the code say what is so."""

import re
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))


def test_ci_runs_the_test_command_of_the_readme_with_a_browser_at_hand() -> None:
    commands = (ROOT / ".ci/run").read_text().splitlines()
    assert commands[-1] == "exec make test"
    assert sum("make" in command for command in commands) == 1
    assert "export SDCN_TEST_BROWSER=required" in commands
    assert "make test" in README


def test_every_make_command_that_a_document_names_exists() -> None:
    texts = [README, *(path.read_text() for path in (ROOT / "docs").rglob("*.md"))]
    named = {
        target
        for text in texts
        for target in re.findall(r"`make ([a-z]+)`|^make ([a-z]+)", text, flags=re.M)
        for target in target
        if target
    }
    assert named
    assert named <= make_targets()


def test_every_file_that_the_readme_names_exists() -> None:
    named = re.findall(r"\]\(([^)#:]+)\)", README)
    assert named
    assert [name for name in named if not (ROOT / name).exists()] == []


def test_every_dependency_has_an_exact_version() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(d for extra in project["optional-dependencies"].values() for d in extra)]
    names = {re.split(r"[\[>=<]", requirement)[0].lower().replace("_", "-") for requirement in wanted} - {"sdcn"}
    fixed = re.findall(r"^([A-Za-z0-9_.\-]+)==", (ROOT / "constraints.txt").read_text(), flags=re.MULTILINE)
    assert names <= {name.lower().replace("_", "-") for name in fixed}
