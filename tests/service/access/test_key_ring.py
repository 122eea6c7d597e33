"""Keys are asked for now and then, not at every request, and go on to work while the database is away."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import anyio
import pytest

from service.api.key_ring import FRESH_S, KeyRing
from service.errors import DatabaseUnavailable
from service.jobs.access import Scope
from service.queue.callers import Caller
from service.queue.key_records import Pass
from service.queue.keys import KeyRegister
from service.tokens import Token

TOKEN = Token.new()


@dataclass
class Register(KeyRegister):
    """Answers what it is told to, and counts how often it was asked."""

    answer: Pass | None
    is_away: bool = False
    asked: list[Token] = field(default_factory=list)

    def admit(self, token: Token) -> Pass | None:
        self.asked.append(token)
        if self.is_away:
            raise DatabaseUnavailable("away")
        return self.answer


class Ring:
    def __init__(self, *, expires_at: datetime | None = None) -> None:
        self.register = Register(Pass(Caller("0", "ada", Scope.READ), expires_at))
        self.now_s = 0.0
        self.ring = KeyRing(self.register, clock=lambda: self.now_s)

    def admits(self, token: Token = TOKEN) -> bool:
        async def ask() -> bool:
            return await self.ring.admit(token, is_session=False) is not None

        return anyio.run(ask)


def test_within_seconds_a_key_is_looked_up_once() -> None:
    ring = Ring()
    assert ring.admits()
    ring.now_s = FRESH_S - 0.1
    assert ring.admits()
    assert len(ring.register.asked) == 1
    ring.now_s = FRESH_S
    ring.register.answer = None
    assert not ring.admits()
    assert not ring.admits()
    assert len(ring.register.asked) == 3  # what is not good is not remembered


def test_what_is_forgotten_is_looked_up_again() -> None:
    ring = Ring()
    assert ring.admits()
    ring.register.answer = None
    ring.ring.forget()
    assert not ring.admits()


def test_a_key_that_was_good_works_while_the_database_is_away() -> None:
    ring = Ring()
    assert ring.admits()
    ring.register.is_away = True
    ring.now_s = 3600
    assert ring.admits()


def test_a_key_that_was_never_shown_does_not() -> None:
    ring = Ring()
    ring.register.is_away = True
    with pytest.raises(DatabaseUnavailable):
        ring.admits()


def test_a_key_that_expires_meanwhile_does_not_either() -> None:
    ring = Ring(expires_at=datetime.now(UTC) - timedelta(seconds=1))
    assert ring.admits()  # the database's clock says so
    ring.register.is_away = True
    with pytest.raises(DatabaseUnavailable):
        ring.admits()


def test_another_secret_under_the_same_id_is_another_key() -> None:
    ring = Ring()
    assert ring.admits()
    ring.register.answer = None
    assert not ring.admits(Token(TOKEN.token_id, Token.new().secret))
