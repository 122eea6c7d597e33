"""The queue, a worker whose child is a small script, and what they need, on each database; broken on purpose."""

from tests.service.conftest import (
    database_url,
    engine,
    postgres_server,
    postgres_url,
    quiet_log,
    sqlite_template,
)

__all__ = ["database_url", "engine", "postgres_server", "postgres_url", "quiet_log", "sqlite_template"]
