from pathlib import Path

import pytest

from service.client import KeyUnusable
from service.client.credentials import api_key
from service.tokens import Token

KEY = Token.new().text


def key_file(folder: Path, *, mode: int = 0o600, content: str = f"{KEY}\n") -> str:
    path = folder / "api_key"
    path.write_text(content)
    path.chmod(mode)
    return str(path)


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    assert api_key({"SDCN_API_KEY": f" {KEY} "}) == KEY
    assert api_key({"SDCN_API_KEY_FILE": key_file(tmp_path)}) == KEY
    other = Token.new().text
    assert api_key({"SDCN_API_KEY": other, "SDCN_API_KEY_FILE": key_file(tmp_path)}) == other


def test_the_file_at_home_is_taken_where_there_is_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    assert api_key({}) is None
    (tmp_path / ".config" / "sdcn").mkdir(parents=True)
    key_file(tmp_path / ".config" / "sdcn")
    assert api_key({}) == KEY


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o644])
def test_a_file_that_others_can_read_is_refused_with_the_way_out(tmp_path: Path, mode: int) -> None:
    with pytest.raises(KeyUnusable, match="chmod 600"):
        api_key({"SDCN_API_KEY_FILE": key_file(tmp_path, mode=mode)})


def test_what_is_no_key_is_refused_and_not_shown(tmp_path: Path) -> None:
    with pytest.raises(KeyUnusable) as refused:
        api_key({"SDCN_API_KEY": KEY[:-1]})
    assert KEY[:-1] not in str(refused.value)
    for content in ("", "geheim", f"{KEY} x"):
        with pytest.raises(KeyUnusable) as refused:
            api_key({"SDCN_API_KEY_FILE": key_file(tmp_path, content=content)})
        assert "geheim" not in str(refused.value)
    with pytest.raises(KeyUnusable, match="there is no"):
        api_key({"SDCN_API_KEY_FILE": str(tmp_path / "none")})
