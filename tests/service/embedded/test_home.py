import socket
import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from service.embedded.errors import AlreadyRunning
from service.embedded.home import ServiceRecord, holder, locked, predictor_token, ray_token, record_path
from service.embedded.ports import accepts, free_ports
from tests.service.embedded.test_keeper import record


def test_a_home_belongs_to_one_process_at_a_time(tmp_path: Path) -> None:
    home = tmp_path / "home"
    with locked(home):
        record("http://x").write(home)
        with pytest.raises(AlreadyRunning, match=r"at http://x .*sdcn down"), locked(home):
            pass
        assert holder(home) is not None
    assert holder(home) is None
    with locked(home):
        pass


def test_nobody_holds_a_home_that_is_not_there(tmp_path: Path) -> None:
    assert holder(tmp_path / "none") is None


def test_a_record_survives_the_disk_and_a_broken_one_is_none(tmp_path: Path) -> None:
    record("http://x").write(tmp_path)
    assert ServiceRecord.read(tmp_path) == record("http://x")
    record_path(tmp_path).write_text('{"url": 1}')
    assert ServiceRecord.read(tmp_path) is None


@pytest.mark.parametrize("token", [ray_token, predictor_token])
def test_a_token_is_kept_and_only_its_owner_reads_it(tmp_path: Path, token: Callable[[Path], Path]) -> None:
    path = token(tmp_path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert len(path.read_text()) == 64
    before = path.read_text()
    assert token(tmp_path).read_text() == before


def test_each_has_its_own_token(tmp_path: Path) -> None:
    assert ray_token(tmp_path).read_text() != predictor_token(tmp_path).read_text()


def test_a_preferred_port_that_is_taken_is_replaced() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        chosen = free_ports([port, 0, 0])
        assert port not in chosen
        assert len(set(chosen)) == 3
        assert accepts(port)
        assert not accepts(chosen[0])
