"""What an operator can set about the service, from the environment: SDCN_HOME, SDCN_DATABASE_URL, ..."""

from pathlib import Path

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "[::1]")


class ServiceSettings(BaseSettings):
    """Settings of the API process; a worker's are built on them."""

    model_config = SettingsConfigDict(
        env_prefix="SDCN_", frozen=True, extra="ignore", use_attribute_docstrings=True, env_ignore_empty=True
    )

    home: Path = Path(".sdcn")
    """folder of everything the service keeps: database, runs, logs; shared by API and workers"""
    database_url: SecretStr | None = None
    """sqlite:///path or postgresql://user:password@host/name; none: SQLite in <home>/queue.db"""
    min_free_bytes: int = Field(default=64 * 2**20, ge=0)
    """with less room on the disk of `home`, the API is not ready and workers claim no job"""
    api_host: str = "127.0.0.1"
    """address to listen on; loopback, as there are no accounts"""
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

    @property
    def queue_url(self) -> str:
        """The database URL, password included: for the engine, never for a log."""
        if self.database_url is not None:
            return self.database_url.get_secret_value()
        return f"sqlite:///{self.home / 'queue.db'}"

    @property
    def runs(self) -> Path:
        """Where each job has its folder."""
        return self.home / "runs"

    @property
    def accepted_hosts(self) -> frozenset[str] | None:
        """Host names a request may come under; None: any. On loopback, other names are a sign of DNS rebinding."""
        if self.allowed_hosts:
            return frozenset(self.allowed_hosts)
        bound = f"[{self.api_host}]" if ":" in self.api_host else self.api_host
        return frozenset(LOOPBACK_NAMES) if bound in LOOPBACK_NAMES else None
