"""Questions to what may be away: asked in threads, and given up in time."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import anyio
from anyio import CapacityLimiter, to_thread

from service.errors import ServiceError

Answer = TypeVar("Answer")


class NoAnswer(ServiceError):
    """What was asked has not answered in time."""

    status = 503
    title = "No answer in time"


async def asked_within(limit_s: float, ask: Callable[[], Answer], threads: CapacityLimiter) -> Answer:
    """What `ask` answers.

    Args:
        limit_s: how long it may take. Its thread is left behind then, and ends when the question does, which must have
            a longer limit of its own: the database's drivers have.
        ask: may block.
        threads: so many are asked at once; who waits for a turn is given up in time too.

    Raises:
        NoAnswer: time is up.
    """
    return await given_within(limit_s, to_thread.run_sync(ask, abandon_on_cancel=True, limiter=threads))


async def given_within(limit_s: float, answer: Awaitable[Answer]) -> Answer:
    """What comes of the awaited.

    Raises:
        NoAnswer: time is up.
    """
    with anyio.move_on_after(limit_s):
        return await answer
    raise NoAnswer(f"no answer within {limit_s:g} s")
