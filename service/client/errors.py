"""What a client may meet, each with the exit code that the `sdcn` command gives it.

ClientError
├── ApiProblem          the service refused: its problem document, as attributes
├── ServerUnreachable   nobody answers at the address
├── NoStream            what is between here and the service lets no stream through
├── ServerUnknown       no address was given and none was found
├── KeyUnusable         the key that was given is none, or lies where others can read it
├── UnsendableRequest   what was given has no place in a request
└── BrokenDownload      what arrived is not what was listed
"""

from http import HTTPStatus
from typing import ClassVar

from service.jobs.answers import FieldRead, Problem


class ClientError(Exception):
    """Base of all errors of the client; the message is a sentence for the person in front of it."""

    exit_code: ClassVar[int] = 3
    may_pass: bool = False
    """whether the same request may be answered a little later"""
    retry_after_s: float | None = None
    """when the service wants to be asked again; None: it has not said"""


class ApiProblem(ClientError):
    """The service answered with a problem (RFC 9457)."""

    def __init__(self, problem: Problem, *, retry_after_s: float | None = None) -> None:
        super().__init__(f"{problem.title}: {problem.detail}")
        self.problem = problem
        self.may_pass = problem.status in (HTTPStatus.SERVICE_UNAVAILABLE, HTTPStatus.TOO_MANY_REQUESTS)
        self.retry_after_s = retry_after_s

    @property
    def status(self) -> int:
        return self.problem.status

    @property
    def title(self) -> str:
        return self.problem.title

    @property
    def detail(self) -> str:
        return self.problem.detail

    @property
    def fields(self) -> tuple[FieldRead, ...]:
        """The fields at fault, by dotted path."""
        return self.problem.errors


class ServerUnreachable(ClientError):
    """Nobody answers at the address, or what answers is not this service."""

    may_pass = True


class NoStream(ClientError):
    """Streams break on the way, one after the other; asking now and then still works."""


class ServerUnknown(ClientError):
    """No address was given, and no service has left one in the home folder."""


class KeyUnusable(ClientError):
    """The key that the environment or a file holds cannot be used; the message never has it."""

    exit_code = 2


class UnsendableRequest(ClientError):
    """Something that was given has no place in a request: a number that is none in JSON, a key that no header holds."""

    exit_code = 2


class BrokenDownload(ClientError):
    """What was downloaded is not what was listed."""
