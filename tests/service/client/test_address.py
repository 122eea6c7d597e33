from pathlib import Path

import pytest

from service.client import ServerUnknown
from service.client.address import home_folder, server_url


def test_the_option_wins_over_the_environment_and_that_over_the_file(tmp_path: Path) -> None:
    (tmp_path / "service.json").write_text('{"url": "http://file"}')
    assert server_url("http://option", tmp_path, {"SDCN_URL": "http://environment"}) == "http://option"
    assert server_url(None, tmp_path, {"SDCN_URL": "http://environment"}) == "http://environment"
    assert server_url(None, tmp_path, {}) == "http://file"
    assert server_url(None, None, {"SDCN_HOME": str(tmp_path)}) == "http://file"


@pytest.mark.parametrize("content", [None, "", "{}", "[]", "{"])
def test_a_file_that_says_nothing_is_as_good_as_none(tmp_path: Path, content: str | None) -> None:
    if content is not None:
        (tmp_path / "service.json").write_text(content)
    with pytest.raises(ServerUnknown, match="sdcn up"):
        server_url(None, tmp_path, {})


def test_without_a_word_the_home_is_here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert home_folder(None, {}) == tmp_path / ".sdcn"
