"""What an operator can set about the service, from the environment: SDCN_HOME, SDCN_DATABASE_URL, ...

Any of them may be a file instead, named like the variable in small letters, in /run/secrets, where Docker and
Kubernetes put secrets, or in the folder that SDCN_SECRETS names. The environment goes before files.
"""

import ipaddress
from pathlib import Path
from typing import Self, TypeVar
from urllib.parse import quote, urlsplit

import structlog
from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic_settings import (
    BaseSettings,
    PydanticBaseSettingsSource,
    SecretsSettingsSource,
    SettingsConfigDict,
    SettingsError,
)

from service.checkpoint_storage import CheckpointStorage, check_url
from service.secret_files import secrets_folder

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


class ServiceSettings(BaseSettings):
    """Settings of the API process; a worker's are built on them."""

    model_config = SettingsConfigDict(
        env_prefix="SDCN_",
        frozen=True,
        extra="ignore",
        use_attribute_docstrings=True,
        env_ignore_empty=True,
        hide_input_in_errors=True,  # a value may be a secret
    )

    home: Path = Path(".sdcn")
    """folder of everything the service keeps: database, runs, logs; shared by API and workers"""
    database_url: SecretStr | None = None
    """sqlite:///path or postgresql://user:password@host/name; none: SQLite in <home>/queue.db"""
    database_password: SecretStr | None = None
    """of the user that `database_url` names, where it is kept apart from the URL"""
    checkpoints_url: str | None = None
    """of a folder for checkpoints that API, workers and Ray's nodes reach: s3://bucket/folder, or any URL that fsspec
    opens; none: they lie in `home`"""
    min_free_bytes: int = Field(default=64 * 2**20, ge=0)
    """with less room on the disk of `home`, the API is not ready and workers claim no job"""
    api_host: str = "127.0.0.1"
    """address to listen on; elsewhere than on loopback only once there is a key of scope admin"""
    open_on_loopback: bool = False
    """whether clients need no key while the API listens on loopback: whoever is on the machine may do everything.
    `sdcn up` sets it"""
    api_port: int = Field(default=8000, ge=0, le=65535)
    """0: any free one"""
    allowed_hosts: tuple[str, ...] = ()
    """names by which clients may call the API, a JSON list; empty: on loopback its names, elsewhere any"""
    max_body_bytes: int = Field(default=1024 * 1024, ge=1024)
    """larger requests are refused before they are read"""
    max_streams: int = Field(default=100, ge=1)
    """streams of events and logs that may be open at once; further ones are told to try again"""
    webhook_allow_private: bool = False
    """whether webhooks may reach loopback and private networks, as the service's own machine may hold what others must
    not call"""
    webhook_timeout_s: float = Field(default=10, gt=0, le=30)
    """how long a receiver may take to answer"""
    mlflow_tracking_uri: str | None = None
    """where the API asks MLflow which models are registered, and workers record runs; none, or not http: it does not"""
    predictor_url: str | None = None
    """where the process that answers POST /v1/models/{id}/predict listens; none: such requests are refused"""
    predictor_token: SecretStr | None = None
    """the secret by which the predictor knows the API: its own SDCN_PREDICTOR_TOKEN"""
    predictor_timeout_s: float = Field(default=120, gt=0)
    """how long a prediction may take, the model's loading included"""
    max_predict_bytes: int = Field(default=64 * 1024 * 1024, ge=1024)
    """larger requests for predictions are refused before they are read"""
    tracking_url: str | None = None
    """where a person's browser finds MLflow, for links; none: no links"""
    ray_dashboard_url: str | None = None
    """where a person's browser finds Ray's dashboard, for links; none: no links"""

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        return home.expanduser().absolute()

    @field_validator("checkpoints_url")
    @classmethod
    def _can_keep_checkpoints(cls, url: str | None) -> str | None:
        if url is not None:
            check_url(url)
        return url

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What code gives, then the environment, then files."""
        del dotenv_settings, file_secret_settings
        folder = secrets_folder()
        files = () if folder is None else (SecretsSettingsSource(settings_cls, secrets_dir=folder),)
        return (init_settings, env_settings, *files)

    @model_validator(mode="after")
    def _password_has_a_user(self) -> Self:
        if self.database_password is None:
            return self
        url = urlsplit("" if self.database_url is None else self.database_url.get_secret_value())
        if not url.username or url.password is not None:
            raise ValueError(
                "SDCN_DATABASE_PASSWORD belongs to a user: set SDCN_DATABASE_URL to postgresql://user@host/name, with a"
                " user and without a password"
            )
        return self

    @property
    def queue_url(self) -> str:
        """The database URL, password included: for the engine, never for a log."""
        if self.database_url is not None:
            url = self.database_url.get_secret_value()
            if self.database_password is None:
                return url
            parts = urlsplit(url)
            user, _, host = parts.netloc.rpartition("@")
            password = quote(self.database_password.get_secret_value(), safe="")
            return parts._replace(netloc=f"{user}:{password}@{host}").geturl()
        return f"sqlite:///{self.home / 'queue.db'}"

    @property
    def runs(self) -> Path:
        """Where each job has its folder."""
        return self.home / "runs"

    @property
    def checkpoint_storage(self) -> CheckpointStorage:
        return CheckpointStorage(self.runs, self.checkpoints_url)

    @property
    def on_loopback(self) -> bool:
        """Whether only this machine can reach the API."""
        try:
            return ipaddress.ip_address(self.api_host.strip("[]")).is_loopback
        except ValueError:
            return self.api_host == "localhost"

    @property
    def is_open(self) -> bool:
        """Whether clients need no key."""
        return self.open_on_loopback and self.on_loopback

    @property
    def accepted_hosts(self) -> frozenset[str] | None:
        """Host names a request may come under; None: any. On loopback, other names are a sign of DNS rebinding."""
        if self.allowed_hosts:
            return frozenset(self.allowed_hosts)
        bound = f"[{self.api_host}]" if ":" in self.api_host else self.api_host
        return frozenset(LOOPBACK_NAMES) if bound in LOOPBACK_NAMES else None


Settings = TypeVar("Settings", bound=ServiceSettings)


def read_settings(kind: type[Settings]) -> Settings | None:
    """What the environment and files say; None: not all of it can be, and the log names the variables and why.

    Several variables that do not go together are named by the reason alone.
    """
    log = structlog.get_logger()
    try:
        return kind()
    except ValidationError as error:
        for problem in error.errors(include_input=False):
            name = "_".join(map(str, problem["loc"])).upper()
            variable = f"SDCN_{name}" if name else None
            log.error("settings.refused", variable=variable, reason=problem["msg"].removeprefix("Value error, "))
    except SettingsError as error:  # a file that cannot be read, or no JSON where a list is asked for
        log.error("settings.refused", variable=None, reason=f"{error}: {error.__cause__}")
    return None
