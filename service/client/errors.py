"""What a client may meet, each with the exit code that the `sdcn` command gives it.

ClientError
├── ApiProblem          the service refused: its problem document, as attributes
├── ServerUnreachable   nobody answers at the address
└── ServerUnknown       no address was given and none was found
"""

from typing import ClassVar

from service.jobs.answers import FieldRead, Problem


class ClientError(Exception):
    """Base of all errors of the client; the message is a sentence for the person in front of it."""

    exit_code: ClassVar[int] = 3


class ApiProblem(ClientError):
    """The service answered with a problem (RFC 9457)."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.title}: {problem.detail}")
        self.problem = problem

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


class ServerUnknown(ClientError):
    """No address was given, and no service has left one in the home folder."""


class BrokenDownload(ClientError):
    """What was downloaded is not what was listed."""
