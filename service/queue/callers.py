"""Who asks: bound around a request, as its id is around its log lines, so that no change can forget to say by whom."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Final

from service.jobs.access import Scope


@dataclass(frozen=True)
class Caller:
    key_id: str | None
    """None: nobody was asked for a key"""
    name: str
    scope: Scope
    requests_per_s: float | None = None
    """None: any number"""


LOCAL: Final = Caller(None, "local", Scope.ADMIN)
"""whoever is on this machine: clients of a service that is open on loopback, and commands on the database itself"""

_caller: ContextVar[Caller] = ContextVar("caller", default=LOCAL)


def current_caller() -> Caller:
    return _caller.get()


@contextmanager
def called_by(caller: Caller) -> Iterator[None]:
    """Within it, this context and the threads that it starts work for `caller`."""
    before = _caller.set(caller)
    try:
        yield
    finally:
        _caller.reset(before)
