from sqlalchemy import BigInteger, ColumnElement, bindparam


class FakeClock:
    """A clock in the database's place that moves only when it is told to."""

    def __init__(self, now_s: float = 1_700_000_000.0) -> None:
        self._now_ms = round(now_s * 1000)

    def now_ms(self, dialect: str) -> ColumnElement[int]:
        return bindparam("now", callable_=lambda: self._now_ms, type_=BigInteger)

    def advance(self, seconds: float) -> None:
        self._now_ms += round(seconds * 1000)
