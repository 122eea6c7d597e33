"""`python -m service`: the API on uvicorn, as the environment says."""

import sys

import structlog
import uvicorn

from service.app import create_app
from service.errors import DatabaseUnavailable, ServiceError
from service.logging import set_up_logging
from service.serving import Server, refuse_unguarded
from service.settings import ServiceSettings, read_settings


def main() -> int:
    """Serve until SIGINT or SIGTERM. Exit codes: 0 stopped, 1 could not start or crashed, 2 settings are wrong."""
    set_up_logging()
    log = structlog.get_logger("service")
    settings = read_settings(ServiceSettings)
    if settings is None:
        return 2
    try:
        app = create_app(settings)
        refuse_unguarded(settings)
    except DatabaseUnavailable as error:
        log.error("database.unavailable", reason=error.detail)
        return 1
    except ServiceError as error:
        log.error("settings.refused", reason=error.detail)
        return 2
    config = uvicorn.Config(
        app,
        host=settings.api_host,
        port=settings.api_port,
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=10,
    )
    server = Server(config, app)
    server.run()
    return 0 if server.started else 1


if __name__ == "__main__":
    sys.exit(main())
