"""The client of the service: `SdcnClient` for programs, the `sdcn` command for people. Needs httpx and no database."""

from service.client.client import SdcnClient
from service.client.errors import (
    ApiProblem,
    BrokenDownload,
    ClientError,
    KeyUnusable,
    ServerUnknown,
    ServerUnreachable,
    UnsendableRequest,
)

__all__ = [
    "ApiProblem",
    "BrokenDownload",
    "ClientError",
    "KeyUnusable",
    "SdcnClient",
    "ServerUnknown",
    "ServerUnreachable",
    "UnsendableRequest",
]
