"""Documents and docstrings that say what to type say what the service takes."""

import re
import shlex
from pathlib import Path

import pytest

from sdcn_core.config.methods import METHODS
from sdcn_core.config.presets import PRESETS
from sdcn_core.config.studies import ABLATIONS, SWEEPS
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


def test_every_study_and_preset_of_the_paper_is_in_the_document_on_it() -> None:
    text = (ROOT / "docs" / "paper.md").read_text()
    of_the_paper = [name for name in NAMED if name.startswith(("table", "figure", "voc2007", "voc2012"))]
    assert [name for name in of_the_paper if name not in text] == []
