"""The API listens to other machines only where somebody has a key; the first one is made on the database itself."""

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from service import keys
from service.jobs.access import Scope
from service.queue.database import open_database
from service.queue.keys import KeyRegister
from service.serving import Unguarded, refuse_unguarded
from service.settings import ServiceSettings
from service.tokens import Token
from tests.service.logged import logged


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv("SDCN_HOME", str(tmp_path))
    with logged():  # the command sets logging up
        yield tmp_path


def made(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert keys.main(["create", *arguments]) == 0
    return capsys.readouterr().out.strip()


def test_without_a_key_the_process_does_not_start_and_says_the_way_out(home: Path) -> None:
    with socket.create_server(("0.0.0.0", 0)) as taken:  # so that a service which did start would end too
        environment = {**os.environ, "SDCN_API_HOST": "0.0.0.0", "SDCN_API_PORT": str(taken.getsockname()[1])}
        ended = subprocess.run(
            [sys.executable, "-m", "service"], env=environment, capture_output=True, text=True, check=False
        )
    assert ended.returncode == 2
    assert "python -m service.keys create NAME --scope admin" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_one_admin_key_is_what_it_takes(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    settings = ServiceSettings(api_host="0.0.0.0")
    made(capsys, "ci", "--scope", "submit")
    with pytest.raises(Unguarded):
        refuse_unguarded(settings)
    made(capsys, "root", "--scope", "admin")
    refuse_unguarded(settings)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "[::1]", "localhost"])
def test_on_loopback_nobody_needs_one_to_start(home: Path, host: str) -> None:
    settings = ServiceSettings(api_host=host, open_on_loopback=True)
    refuse_unguarded(settings)
    assert settings.is_open


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.2", "localhost.example", ""])
def test_nowhere_else_is_a_service_open(host: str) -> None:
    assert not ServiceSettings(api_host=host or "example", open_on_loopback=True).is_open
    assert not ServiceSettings(api_host="127.0.0.1", open_on_loopback=False).is_open


def test_the_command_prints_the_key_alone_and_it_works(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    token = Token.parse(made(capsys, "ada", "--scope", "admin", "--days", "30"))
    assert token is not None
    engine = open_database(ServiceSettings().queue_url)
    found = KeyRegister(engine).admit(token)
    engine.dispose()
    assert found is not None
    assert (found.caller.name, found.caller.scope) == ("ada", Scope.ADMIN)
    assert keys.main(["list"]) == 0
    listed = capsys.readouterr().out
    assert listed.startswith(f"{token.token_id}  admin   ada  until ")
    assert token.secret not in listed


def test_the_command_revokes_but_not_the_last_admin(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first, second = (Token.parse(made(capsys, name, "--scope", "admin")) for name in ("ada", "bob"))
    assert first is not None
    assert second is not None
    assert keys.main(["revoke", first.token_id]) == 0
    assert keys.main(["revoke", second.token_id]) == 2
    assert "make another first" in capsys.readouterr().err


def test_what_cannot_be_is_told_in_a_sentence(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert keys.main(["create", "a b"]) == 2
    assert "name" in capsys.readouterr().err
    assert keys.main(["revoke", "0"]) == 2
    assert "no key has this id" in capsys.readouterr().err
