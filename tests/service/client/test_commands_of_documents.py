"""Documents and docstrings that say what to type say what the service takes."""

import re
import shlex
from pathlib import Path

import pytest
import typer

from sdcn_core.config.methods import METHODS
from sdcn_core.config.presets import PRESETS
from sdcn_core.config.studies import ABLATIONS, SWEEPS
from service.client import cli
from service.client.spec_options import by_method, named, parse_spec

ROOT = Path(__file__).parents[3]
NAMED = {**PRESETS, **ABLATIONS, **SWEEPS}


def commands_in(text: str) -> list[str]:
    """Each `sdcn submit NAME ...` of the text, where a name is given at once."""
    return re.findall(r"sdcn submit [a-z][^`\n#]*", text)


def written() -> set[str]:
    texts = [make.__doc__ or "" for make in (*NAMED.values(), *METHODS.values())]
    texts += [(ROOT / "docs" / name).read_text() for name in ("paper.md", "equations.md", "studies.md")]
    return {command.strip() for text in texts for command in commands_in(text)}


@pytest.mark.parametrize("command", sorted(written()))
def test_what_is_to_be_submitted_is_valid(command: str) -> None:
    _, _, name, *options = shlex.split(command)
    said = dict(zip(options[::2], options[1::2], strict=True))
    assert said.keys() <= {"--data", "--seeds", "--gpus", "--method"}
    asked = by_method(named(name, said.get("--data")), said.get("--method"))
    assert parse_spec(asked).resolve().name == name


def typed() -> list[tuple[str, str]]:
    """Each document and `sdcn ...` in it, in a block or in a sentence."""
    found = set()
    for path in (ROOT / "README.md", *(ROOT / "docs").rglob("*.md")):
        text = path.read_text()
        lines = [line for block in re.findall(r"```sh\n(.*?)```", text, re.DOTALL) for line in block.splitlines()]
        commands = [command for line in lines for command in line.split(" #")[0].split("; ")]
        commands += re.findall(r"`(sdcn [^`]*)`", text)
        name = str(path.relative_to(ROOT))
        found |= {(name, command.strip()) for command in commands if command.startswith("sdcn ")}
    return sorted(found)


@pytest.mark.parametrize(("document", "command"), typed())
def test_every_command_in_a_document_is_one_that_is_understood(
    document: str, command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("spec.json", "photo.png"):
        (tmp_path / name).touch()
    _, *words = shlex.split(command)
    asked, names = typer.main.get_command(cli.app), []
    while (commands := getattr(asked, "commands", {})) and words and words[0] in commands:
        names.append(words.pop(0))
        asked = commands[names[-1]]
    assert names, f"{document}: {command}"
    if words:
        asked.make_context(names[-1], words)  # raises what the command would say to words that it does not know


def test_every_study_and_preset_of_the_paper_is_in_the_document_on_it() -> None:
    text = (ROOT / "docs" / "paper.md").read_text()
    of_the_paper = [name for name in NAMED if name.startswith(("table", "figure", "voc2007", "voc2012"))]
    assert [name for name in of_the_paper if name not in text] == []
