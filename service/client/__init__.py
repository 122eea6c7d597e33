"""The client of the service: `SdcnClient` for programs, `AsyncSdcnClient` for those that run in an event loop, the
`sdcn` command for people. Needs httpx and no database.
"""

from service.client.async_client import AsyncSdcnClient
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
    "AsyncSdcnClient",
    "BrokenDownload",
    "ClientError",
    "KeyUnusable",
    "SdcnClient",
    "ServerUnknown",
    "ServerUnreachable",
    "UnsendableRequest",
]
