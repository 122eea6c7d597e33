"""All the SQL about keys and browsers' sessions: make, list, revoke, and whether one is good."""

from sqlalchemy import ColumnElement, Engine, and_, delete, func, or_, select

from service.errors import InvalidRequest, KeyNotFound, LastAdminKey
from service.jobs.access import Action, KeySpec, Scope
from service.queue.audit import note_action
from service.queue.callers import Caller, called_by, current_caller
from service.queue.database import Clock
from service.queue.key_records import ApiKey, KeyPage, Pass
from service.queue.reading import to_time
from service.queue.tables import ApiKeyRow, SessionRow
from service.queue.transactions import Transactions
from service.tokens import Token

SESSION_MS = 12 * 3_600_000
UNKNOWN_KEY = "no key has this id; GET /v1/keys lists them"
"""without what was asked for, which may be a whole key"""


class KeyRegister:
    """The keys, and the sessions that were opened with them."""

    def __init__(self, engine: Engine, *, clock: Clock | None = None) -> None:
        self._transactions = Transactions(engine, clock)

    def create(self, spec: KeySpec) -> tuple[ApiKey, Token]:
        """Make a key. Its token is nowhere else afterwards."""
        token = Token.new()
        with self._transactions.writing() as (session, now):
            row = ApiKeyRow(
                id=token.token_id,
                name=spec.name,
                digest=token.digest,
                scope=spec.scope,
                created_at=now,
                created_by=current_caller().name,
                expires_at=None if spec.valid_s is None else now + spec.valid_s * 1000,
                max_queued_jobs=spec.max_queued_jobs,
                max_running_gpus=spec.max_running_gpus,
                requests_per_s=spec.requests_per_s,
            )
            session.add(row)
            session.flush()
            note_action(session, Action.KEY_CREATE, row.id, now=now, name=spec.name, scope=spec.scope)
            return _read(row), token

    def page(self, *, limit: int, after: str | None = None) -> KeyPage:
        """At most `limit` keys, oldest first, those behind the key `after`.

        Raises:
            InvalidRequest: `after` is no key's id.
        """
        query = select(ApiKeyRow).order_by(ApiKeyRow.created_at, ApiKeyRow.id).limit(limit + 1)
        with self._transactions.reading() as session:
            if after is not None:
                last = session.get(ApiKeyRow, after)
                if last is None:
                    raise InvalidRequest("the cursor is none that GET /v1/keys gave out; leave it out to begin anew")
                later = ApiKeyRow.created_at > last.created_at
                same_time = and_(ApiKeyRow.created_at == last.created_at, ApiKeyRow.id > last.id)
                query = query.where(or_(later, same_time))
            found = tuple(map(_read, session.scalars(query)))
        return KeyPage(found[:limit], found[limit - 1].key_id if len(found) > limit else None)

    def revoke(self, key_id: str) -> None:
        """Let nobody in with this key any more, nor with a session opened by it. Saying it again changes nothing.

        Raises:
            KeyNotFound: there is none.
            LastAdminKey: nobody could give out keys any more.
        """
        with self._transactions.writing() as (session, now):
            # All of them, in one order: two admins who revoke each other's key would otherwise both succeed.
            admins = select(ApiKeyRow).where(_usable_admin(now)).order_by(ApiKeyRow.id).with_for_update()
            usable = list(session.scalars(admins))
            row = session.get(ApiKeyRow, key_id)
            if row is None:
                raise KeyNotFound(UNKNOWN_KEY)
            if [one.id for one in usable] == [key_id]:
                raise LastAdminKey(
                    f"{row.name} is the last key of scope admin: make another first (POST /v1/keys), or nobody could"
                )
            if row.revoked_at is None:
                row.revoked_at = now
                session.execute(delete(SessionRow).where(SessionRow.key_id == key_id))
                note_action(session, Action.KEY_REVOKE, key_id, now=now, name=row.name, scope=row.scope)

    def has_usable_admin(self) -> bool:
        """Whether anybody could give out keys."""
        with self._transactions.reading() as session:
            now = session.scalar(select(self._transactions.now_ms)) or 0
            return bool(session.scalar(select(func.count()).select_from(ApiKeyRow).where(_usable_admin(now))))

    def admit(self, token: Token) -> Pass | None:
        """What the key lets its bearer do; None: it is none, or is revoked or expired."""
        with self._transactions.reading() as session:
            now = session.scalar(select(self._transactions.now_ms)) or 0
            row = session.get(ApiKeyRow, token.token_id)
            if row is None or not token.has(row.digest) or not _is_usable(row, now):
                return None
            return Pass(_caller(row), to_time(row.expires_at))

    def open_session(self, token: Token) -> Token | None:
        """A token for a browser's cookie in place of the key; None: the key is not good. Sessions that are over go."""
        if self.admit(token) is None:  # looked up before the one writer's lock is taken, as anybody may ask
            return None
        with self._transactions.writing() as (session, now):
            row = session.get_one(ApiKeyRow, token.token_id)
            session.execute(delete(SessionRow).where(SessionRow.expires_at <= now))
            ticket = Token.new()
            ends = min(now + SESSION_MS, row.expires_at or now + SESSION_MS)
            session.add(SessionRow(id=ticket.token_id, digest=ticket.digest, key_id=row.id, expires_at=ends))
            with called_by(_caller(row)):
                note_action(session, Action.SIGN_IN, row.id, now=now)
            return ticket

    def admit_session(self, ticket: Token) -> Pass | None:
        """What the session lets its browser do, which is what its key does; None: it is over, or its key is."""
        with self._transactions.reading() as session:
            now = session.scalar(select(self._transactions.now_ms)) or 0
            row = session.get(SessionRow, ticket.token_id)
            if row is None or not ticket.has(row.digest) or row.expires_at <= now:
                return None
            key = session.get_one(ApiKeyRow, row.key_id)
            return Pass(_caller(key), to_time(row.expires_at)) if _is_usable(key, now) else None

    def close_session(self, ticket: Token) -> None:
        """End the session. Of one that is over nothing is left to do."""
        with self._transactions.writing() as (session, _now):
            row = session.get(SessionRow, ticket.token_id)
            if row is not None and ticket.has(row.digest):
                session.delete(row)


def _usable_admin(now: int) -> ColumnElement[bool]:
    unexpired = or_(ApiKeyRow.expires_at.is_(None), ApiKeyRow.expires_at > now)
    return and_(ApiKeyRow.scope == Scope.ADMIN, ApiKeyRow.revoked_at.is_(None), unexpired)


def _is_usable(row: ApiKeyRow, now: int) -> bool:
    return row.revoked_at is None and (row.expires_at is None or row.expires_at > now)


def _caller(row: ApiKeyRow) -> Caller:
    return Caller(row.id, row.name, Scope(row.scope), row.requests_per_s)


def _read(row: ApiKeyRow) -> ApiKey:
    return ApiKey(
        key_id=row.id,
        name=row.name,
        scope=Scope(row.scope),
        created_at=to_time(row.created_at),
        created_by=row.created_by,
        expires_at=to_time(row.expires_at),
        revoked_at=to_time(row.revoked_at),
        max_queued_jobs=row.max_queued_jobs,
        max_running_gpus=row.max_running_gpus,
        requests_per_s=row.requests_per_s,
    )
