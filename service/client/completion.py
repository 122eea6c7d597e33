"""What a shell offers when Tab is pressed. A service that does not answer at once offers nothing."""

from collections.abc import Iterator

import httpx

from sdcn_core.config.presets import PRESETS
from sdcn_core.config.studies import ABLATIONS, SWEEPS
from service.client.address import server_url
from service.client.client import SdcnClient
from service.client.credentials import api_key
from service.client.errors import ClientError

PATIENCE_S = 1.0
OFFERED_JOBS = 30


def names(begun: str) -> list[str]:
    """Of experiments and studies."""
    return sorted(name for name in (*PRESETS, *ABLATIONS, *SWEEPS) if name.startswith(begun))


def jobs(begun: str) -> list[tuple[str, str]]:
    """Ids of the newest jobs, each with what it is."""
    return [(job_id, said) for job_id, said in _newest() if job_id.startswith(begun)]


def _newest() -> Iterator[tuple[str, str]]:
    try:
        with SdcnClient(server_url(None, None), key=api_key(), timeout_s=PATIENCE_S) as client:
            for job, _ in zip(client.jobs(page_size=OFFERED_JOBS), range(OFFERED_JOBS), strict=False):
                yield job.id, f"{job.kind} {job.name or ''}, {job.state}"
    except (ClientError, ValueError, httpx.InvalidURL):
        return
