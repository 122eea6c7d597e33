"""Keys that were shown lately, so that not every request asks the database, and none is shut out while that is away."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Final

from anyio import CapacityLimiter

from service.api.time_limit import NoAnswer, asked_within
from service.errors import DatabaseUnavailable
from service.queue.key_records import Pass
from service.queue.keys import KeyRegister
from service.tokens import Token

FRESH_S: Final = 5.0
"""so long a key that was revoked through another process is still taken"""
LIMIT_S: Final = 5.0
MAX_KNOWN: Final = 1000


@dataclass(frozen=True)
class _Known:
    found: Pass
    at_s: float


class KeyRing:
    """What tokens are good for.

    A key that was good is taken while the database is away: to revoke it would have needed the database, so at most the
    last seconds before are missed.

    Args:
        register: the database's keys.
        clock: seconds, of which only differences count.
    """

    def __init__(self, register: KeyRegister, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._register = register
        self._clock = clock
        self._known: OrderedDict[tuple[bool, str, str], _Known] = OrderedDict()
        self._threads = CapacityLimiter(4)

    async def admit(self, token: Token, *, is_session: bool) -> Pass | None:
        """What it lets its bearer do; None: it is not good.

        Raises:
            DatabaseUnavailable: it was not shown before, and the database cannot be asked.
        """
        shown = (is_session, token.token_id, token.digest)
        known = self._known.get(shown)
        if known is not None and self._clock() - known.at_s < FRESH_S and _is_valid(known.found):
            return known.found
        ask = self._register.admit_session if is_session else self._register.admit
        try:
            found = await asked_within(LIMIT_S, partial(ask, token), self._threads)
        except (DatabaseUnavailable, NoAnswer):
            if known is not None and _is_valid(known.found):
                return known.found
            raise
        if found is None:
            self._known.pop(shown, None)
        else:
            self._known[shown] = _Known(found, self._clock())
            self._known.move_to_end(shown)
            if len(self._known) > MAX_KNOWN:
                self._known.popitem(last=False)
        return found

    def forget(self) -> None:
        """Ask the database again for each: something was revoked through this process."""
        self._known.clear()


def _is_valid(found: Pass) -> bool:
    return found.expires_at is None or found.expires_at > datetime.now(UTC)
