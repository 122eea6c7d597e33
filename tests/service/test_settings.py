from pathlib import Path

import pytest
from pydantic import ValidationError
from structlog.testing import capture_logs

from service.settings import ServiceSettings, read_settings


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "HOME",
        "SECRETS",
        "DATABASE_URL",
        "API_HOST",
        "API_PORT",
        "ALLOWED_HOSTS",
        "TRACKING_URL",
        "RAY_DASHBOARD_URL",
    ):
        monkeypatch.delenv(f"SDCN_{name}", raising=False)


def test_without_an_environment_the_service_stays_at_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    settings = ServiceSettings()
    assert settings.home == tmp_path / ".sdcn"
    assert settings.queue_url == f"sqlite:///{tmp_path}/.sdcn/queue.db"
    assert (settings.api_host, settings.api_port) == ("127.0.0.1", 8000)


def test_the_environment_decides(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDCN_DATABASE_URL", "postgresql://sdcn:geheim@db/queue")
    monkeypatch.setenv("SDCN_API_PORT", "9000")
    monkeypatch.setenv("SDCN_TRACKING_URL", "")
    settings = ServiceSettings()
    assert settings.queue_url == "postgresql://sdcn:geheim@db/queue"
    assert (settings.api_port, settings.tracking_url) == (9000, None)


def test_the_password_of_the_database_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDCN_DATABASE_URL", "postgresql://sdcn:geheim@db/queue")
    assert (
        "geheim" not in f"{ServiceSettings()!r} {ServiceSettings().model_dump()} {ServiceSettings().model_dump_json()}"
    )


def test_on_loopback_only_its_names_are_accepted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ServiceSettings().accepted_hosts == frozenset({"127.0.0.1", "localhost", "[::1]"})
    assert ServiceSettings(api_host="::1").accepted_hosts == frozenset({"127.0.0.1", "localhost", "[::1]"})
    assert ServiceSettings(api_host="0.0.0.0").accepted_hosts is None
    monkeypatch.setenv("SDCN_ALLOWED_HOSTS", '["sdcn.example"]')
    assert ServiceSettings(api_host="0.0.0.0").accepted_hosts == frozenset({"sdcn.example"})


def test_a_port_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="api_port"):
        ServiceSettings(api_port=70_000)


def test_a_secret_may_be_a_file_and_the_environment_goes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDCN_SECRETS", str(tmp_path))
    monkeypatch.setenv("SDCN_DATABASE_URL", "postgresql://sdcn@db/queue")
    (tmp_path / "sdcn_database_password").write_text("ge/he@im\n")
    (tmp_path / "sdcn_api_port").write_text("9000")
    assert ServiceSettings().queue_url == "postgresql://sdcn:ge%2Fhe%40im@db/queue"
    assert ServiceSettings().api_port == 9000
    monkeypatch.setenv("SDCN_API_PORT", "9001")
    assert ServiceSettings().api_port == 9001


@pytest.mark.parametrize("url", [None, "sqlite:////data/queue.db", "postgresql://db/queue", "postgresql://a:b@db/q"])
def test_a_password_that_belongs_to_no_user_is_refused(url: str | None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDCN_DATABASE_PASSWORD", "geheim")
    if url is not None:
        monkeypatch.setenv("SDCN_DATABASE_URL", url)
    with pytest.raises(ValidationError, match="SDCN_DATABASE_URL") as refused:
        ServiceSettings()
    assert "geheim" not in str(refused.value)


def test_a_folder_of_secrets_that_is_not_there_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SDCN_SECRETS", str(tmp_path / "none"))
    assert ServiceSettings().predictor_token is None


def test_a_file_of_secrets_that_may_not_be_read_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path, **_how: object) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setenv("SDCN_SECRETS", str(tmp_path))
    secret = tmp_path / "sdcn_database_password"
    secret.touch()
    monkeypatch.setattr(Path, "read_text", refuse)  # root may read everything
    with capture_logs() as told:
        assert read_settings(ServiceSettings) is None
    assert f"Permission denied: '{secret}'" in told[0]["reason"]
