"""`python -m workers.predictor`: keeps trained models in memory and finds objects in images, for the API.

Exit status: 0 stopped by SIGTERM or SIGINT; 1 it could not start, or crashed; 2 settings.
"""

import sys

import structlog

from service.logging import set_up_logging
from service.settings import read_settings
from workers.predictor.settings import PredictorSettings

log = structlog.get_logger()


def main() -> int:
    """Read the settings and serve; the exit status."""
    set_up_logging()
    settings = read_settings(PredictorSettings)
    if settings is None:
        return 2
    from workers.predictor.serving import serve  # torch takes seconds to import, which wrong settings need not wait for

    return serve(settings)


if __name__ == "__main__":
    sys.exit(main())
