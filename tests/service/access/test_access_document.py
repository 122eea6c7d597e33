"""What docs/access.md says to type does what it says, in its order."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path

import pytest
from fastapi import FastAPI
from typer.testing import CliRunner

from service import keys
from service.client import cli
from service.client.credentials import api_key
from service.queue.repository import JobQueue
from service.settings import ServiceSettings
from service.tokens import TOKEN
from tests.service.conftest import enqueue
from tests.service.logged import logged
from tests.service.server import listening

DOCUMENT = (Path(__file__).parents[3] / "docs" / "access.md").read_text()
COMMANDS = [line for block in re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL) for line in block.splitlines()]


def first_key(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    (made,) = re.findall(r"\$\(python -m service\.keys (.*)\)", command)
    with logged():  # the command sets logging up
        assert keys.main(shlex.split(made)) == 0
    return capsys.readouterr().out.strip()


def test_the_commands_of_the_document_work_one_after_the_other(
    app: FastAPI, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], spec: object
) -> None:
    settings: ServiceSettings = app.state.settings
    queue: JobQueue = app.state.queue
    names = {"JOB": enqueue(queue, spec).job_id, "KEY": ""}  # type: ignore[arg-type]
    monkeypatch.setenv("SDCN_HOME", str(settings.home))
    with listening(app) as url:
        monkeypatch.setenv("SDCN_URL", url)
        for command in COMMANDS:
            if command.startswith("export SDCN_API_KEY="):
                monkeypatch.setenv("SDCN_API_KEY", first_key(command, capsys))
                continue
            words = shlex.split(re.sub(r"\b(JOB|KEY)\b", lambda name: names[name[0]], command))
            if words[0] == "sdcn":
                done = CliRunner().invoke(cli.app, words[1:])
                assert (done.exit_code, bool(done.stdout)) == (0, True), (command, done.output)
                if shown := TOKEN.search(done.stdout):
                    names["KEY"] = shown[1]
            elif shutil.which("curl") is not None:
                asked = [word.replace("localhost:8000", url.removeprefix("http://")) for word in words]
                asked = [word.replace("$SDCN_API_KEY", api_key() or "") for word in asked]
                answer = subprocess.run([*asked, "--fail"], capture_output=True, text=True, timeout=60, check=False)
                assert answer.returncode == 0, (command, answer.stderr)
    assert names["KEY"]


def test_the_document_names_every_scope() -> None:
    assert set(re.findall(r"^\| `(\w+)` \|", DOCUMENT, re.MULTILINE)) == {"read", "submit", "admin"}
