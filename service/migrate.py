"""`python -m service.migrate`: bring the queue's tables up to date, and end.

API and workers do so too when they start. Where many of them start at once, or may not change tables, this runs first.
"""

import sys

import structlog

from service.errors import ServiceError
from service.logging import set_up_logging
from service.queue.database import open_database
from service.queue.migrations import current_revision, upgrade
from service.settings import ServiceSettings, read_settings


def main() -> int:
    """Exit codes: 0 the tables are up to date, 1 the database cannot be used, 2 settings are wrong."""
    set_up_logging()
    log = structlog.get_logger("service.migrate")
    settings = read_settings(ServiceSettings)
    if settings is None:
        return 2
    try:
        upgrade(settings.queue_url)
        engine = open_database(settings.queue_url)
    except ServiceError as error:
        log.error("database.not_migrated", reason=error.detail)
        return 1
    try:
        log.info("database.up_to_date", revision=current_revision(engine))
    finally:
        engine.dispose()
    return 0


if __name__ == "__main__":
    sys.exit(main())
