"""The queue's tables. Times are integer milliseconds since 1970 in UTC, by the database's clock."""

from enum import StrEnum
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    CheckConstraint,
    ForeignKey,
    Index,
    Integer,
    MetaData,
    String,
    Text,
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from service.jobs.access import Scope
from service.jobs.states import (
    CLAIMABLE,
    LEASED,
    NEW,
    TRANSITIONS,
    WAITING,
    DeliveryState,
    Desired,
    FailureReason,
    JobState,
)

NAMING = {
    "pk": "pk_%(table_name)s",
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(column_0_N_name)s",
}


def one_of(column: str, values: type[StrEnum] | frozenset[JobState]) -> str:
    """SQL that holds when the column has one of the values, in a fixed order."""
    listed = ", ".join(f"'{value}'" for value in sorted(values))
    return f"{column} IN ({listed})"


_BEFORE_STARTING = frozenset({JobState.RUNNING, JobState.STOPPING})
"""where a claimed job went in trails older than revision 0003, which do not know `starting`"""


def allowed_moves() -> str:
    """SQL that holds when a job may go from `from_state` to `to_state`: the table of transitions."""
    moves = [f"from_state IS NULL AND {one_of('to_state', NEW)}"]
    for source in sorted(TRANSITIONS):
        targets = TRANSITIONS[source] | (_BEFORE_STARTING if source is JobState.CLAIMED else set())
        if targets:
            moves.append(f"from_state = '{source}' AND {one_of('to_state', targets)}")
    return " OR ".join(moves)


class Base(DeclarativeBase):
    metadata = MetaData(naming_convention=NAMING)
    type_annotation_map = {dict[str, Any]: JSON(none_as_null=True)}  # noqa: RUF012 - SQLAlchemy reads it off the class


class JobRow(Base):
    __tablename__ = "job"
    __table_args__ = (
        CheckConstraint(one_of("state", JobState), name="state"),
        CheckConstraint(one_of("desired", Desired), name="desired"),
        CheckConstraint(f"failure_reason IS NULL OR {one_of('failure_reason', FailureReason)}", name="failure_reason"),
        # A lease is whole or absent, and exactly the leased states have one.
        CheckConstraint(f"({one_of('state', LEASED)}) = (lease_token IS NOT NULL)", name="leased"),
        CheckConstraint("(lease_token IS NULL) = (lease_expires_at IS NULL)", name="lease_whole"),
        # What waits for a claim is wanted, and only what is to be paused is paused.
        CheckConstraint(f"NOT ({one_of('state', WAITING - {JobState.PAUSED})}) OR desired = 'run'", name="wanted"),
        CheckConstraint("state <> 'paused' OR desired = 'pause'", name="paused"),
        CheckConstraint("state <> 'succeeded' OR results IS NOT NULL", name="found"),
        Index(
            "ix_job_claim",
            text("priority DESC"),
            "available_at",
            "id",
            sqlite_where=text(one_of("state", CLAIMABLE)),
            postgresql_where=text(one_of("state", CLAIMABLE)),
        ),
        Index(
            "ix_job_lease",
            "lease_expires_at",
            sqlite_where=text(one_of("state", LEASED)),
            postgresql_where=text(one_of("state", LEASED)),
        ),
        Index("ix_job_page", "created_at", "id"),
        Index("ix_job_state", "state", "kind"),
        Index("ix_job_submitted_by", "submitted_by", "state"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    kind: Mapped[str] = mapped_column(String(32))
    name: Mapped[str | None] = mapped_column(String(64))
    spec: Mapped[dict[str, Any]]
    """resolved, so that a later change of presets or defaults does not change what was asked for"""
    config_digest: Mapped[str] = mapped_column(String(64))
    state: Mapped[str] = mapped_column(String(16))
    desired: Mapped[str] = mapped_column(String(16))
    priority: Mapped[int]
    attempt: Mapped[int]
    """claims so far; 0 before the first"""
    failed_attempts: Mapped[int] = mapped_column(server_default=text("0"))
    """charged to the job itself"""
    lost_attempts: Mapped[int] = mapped_column(server_default=text("0"))
    """charged to what surrounds it"""
    max_attempts: Mapped[int]
    """so many `failed_attempts` fail the job"""
    max_lost_attempts: Mapped[int] = mapped_column(server_default=text("10"))
    """so many `lost_attempts` do"""
    available_at: Mapped[int] = mapped_column(BigInteger)
    """not claimed before this: creation, or the end of a back-off"""
    state_at: Mapped[int] = mapped_column(BigInteger)
    """when it came to its state"""
    deadline_at: Mapped[int | None] = mapped_column(BigInteger)
    """when it must have left its state; null: it may stay"""
    ran_ms: Mapped[int] = mapped_column(BigInteger, server_default=text("0"))
    """in state running, over all attempts, without the present one"""
    lease_token: Mapped[str | None] = mapped_column(String(32))
    """the fence: every write of a worker names it, and a rescue takes it away"""
    lease_owner: Mapped[str | None] = mapped_column(String(200))
    lease_expires_at: Mapped[int | None] = mapped_column(BigInteger)
    progress: Mapped[dict[str, Any] | None]
    results: Mapped[dict[str, Any] | None]
    failure_reason: Mapped[str | None] = mapped_column(String(32))
    """why it failed, or why the last attempt did while another is due"""
    failure_message: Mapped[str | None] = mapped_column(String(4000))
    tracking_run_id: Mapped[str | None] = mapped_column(String(64))
    """the one MLflow run of all attempts"""
    cloned_from: Mapped[str | None] = mapped_column(String(32))
    """id of the job whose spec this one was made from; that job may be deleted since"""
    submitted_by: Mapped[str | None] = mapped_column(String(32))
    """id of the key, whose quotas it counts towards; null: of none"""
    gpus: Mapped[int] = mapped_column(server_default=text("0"))
    """that it holds at once while it is at work"""
    idempotency_key: Mapped[str | None] = mapped_column(String(255), unique=True)
    body_digest: Mapped[str] = mapped_column(String(64))
    """sha256 of the request, by which a repeated key is told from a reused one"""
    created_at: Mapped[int] = mapped_column(BigInteger)
    updated_at: Mapped[int] = mapped_column(BigInteger)
    started_at: Mapped[int | None] = mapped_column(BigInteger)
    """the first attempt's child began"""
    ended_at: Mapped[int | None] = mapped_column(BigInteger)


class AttemptRow(Base):
    """One claim of a job: who had it and how it ended."""

    __tablename__ = "job_attempt"
    __table_args__ = (
        CheckConstraint(f"outcome IS NULL OR {one_of('outcome', JobState)}", name="outcome"),
        CheckConstraint(f"exit_reason IS NULL OR {one_of('exit_reason', FailureReason)}", name="exit_reason"),
        Index("ix_job_attempt_ended_at", "ended_at"),
    )

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    attempt: Mapped[int] = mapped_column(primary_key=True)
    worker_id: Mapped[str] = mapped_column(String(200))
    pid: Mapped[int | None]
    """of the child process, on the worker's machine"""
    started_at: Mapped[int] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)
    outcome: Mapped[str | None] = mapped_column(String(16))
    """the state the job went to when the attempt ended"""
    exit_reason: Mapped[str | None] = mapped_column(String(32))
    message: Mapped[str | None] = mapped_column(String(4000))
    resumed_from_step: Mapped[int | None] = mapped_column(BigInteger)
    """global step of the checkpoint it went on from; null: it began at the beginning"""


class AttemptTallyRow(Base):
    """Ended attempts of jobs that were deleted since, by how they ended and how long they took: counts never fall."""

    __tablename__ = "attempt_tally"

    kind: Mapped[str] = mapped_column(String(32), primary_key=True)
    outcome: Mapped[str] = mapped_column(String(16), primary_key=True)
    reason: Mapped[str] = mapped_column(String(32), primary_key=True)
    """"" where nothing failed"""
    at_most_ms: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    """the end of the bucket of durations"""
    attempts: Mapped[int] = mapped_column(BigInteger)
    total_ms: Mapped[int] = mapped_column(BigInteger)


class JobEventRow(Base):
    """The audit trail, append-only: one row a change of state, written in the same transaction."""

    __tablename__ = "job_event"
    __table_args__ = (
        CheckConstraint(f"from_state IS NULL OR {one_of('from_state', JobState)}", name="from_state"),
        CheckConstraint(one_of("to_state", JobState), name="to_state"),
        CheckConstraint(allowed_moves(), name="move"),
        Index("ix_job_event_job_id", "job_id", "id"),
    )

    # SQLite numbers rows by itself only where the type is literally INTEGER.
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    from_state: Mapped[str | None] = mapped_column(String(16))
    to_state: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(200))
    """api, queue, reconciler, or the worker's id"""
    note: Mapped[str | None] = mapped_column(String(4000))
    at: Mapped[int] = mapped_column(BigInteger)


class DependencyRow(Base):
    """A job that waits for another."""

    __tablename__ = "job_dependency"
    __table_args__ = (Index("ix_job_dependency_after_job_id", "after_job_id"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    after_job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)


class DeletionRow(Base):
    """A job that was deleted, until its folder and its MLflow runs are gone too."""

    __tablename__ = "job_deletion"

    job_id: Mapped[str] = mapped_column(String(32), primary_key=True)
    tracking_run_id: Mapped[str | None] = mapped_column(String(64))
    requested_at: Mapped[int] = mapped_column(BigInteger)


class WorkerRow(Base):
    """A worker and the cluster it runs jobs in, as of its last heartbeat."""

    __tablename__ = "worker"

    id: Mapped[str] = mapped_column(String(200), primary_key=True)
    started_at: Mapped[int] = mapped_column(BigInteger)
    seen_at: Mapped[int] = mapped_column(BigInteger)
    expires_at: Mapped[int] = mapped_column(BigInteger)
    """without a further heartbeat it counts as gone"""
    capacity: Mapped[dict[str, Any] | None]
    """service.jobs.capacity.Capacity; null: the cluster has not answered"""
    figures: Mapped[dict[str, Any] | None]
    """service.jobs.worker_figures.WorkerFigures; null: it has not told any"""


class LeaderRow(Base):
    """Who alone does a task that every worker can do, until the lease runs out."""

    __tablename__ = "leader"

    task: Mapped[str] = mapped_column(String(64), primary_key=True)
    owner: Mapped[str] = mapped_column(String(200))
    expires_at: Mapped[int] = mapped_column(BigInteger)


class DatasetRow(Base):
    """A registered data set; whether it can be used follows from the job that checks it."""

    __tablename__ = "dataset"

    name: Mapped[str] = mapped_column(String(64), primary_key=True)
    source: Mapped[dict[str, Any]]
    check_job_id: Mapped[str] = mapped_column(ForeignKey("job.id"))
    """the newest check"""
    created_at: Mapped[int] = mapped_column(BigInteger)


class JobDatasetRow(Base):
    """A job that names a registered data set, or checks it."""

    __tablename__ = "job_dataset"
    __table_args__ = (Index("ix_job_dataset_dataset_name", "dataset_name"),)

    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"), primary_key=True)
    dataset_name: Mapped[str] = mapped_column(ForeignKey("dataset.name", ondelete="CASCADE"), primary_key=True)


class WebhookRow(Base):
    """Who is to be told of what."""

    __tablename__ = "webhook"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    url: Mapped[str] = mapped_column(String(2000))
    events: Mapped[dict[str, Any]]
    """`states`: those of which it is told"""
    secret: Mapped[str] = mapped_column(String(100))
    """as the receiver has it: messages are signed with it, so it cannot be kept as a digest"""
    created_at: Mapped[int] = mapped_column(BigInteger)


class DeliveryRow(Base):
    """The outbox: a message to a webhook, written in the transaction of the event that it tells of.

    It holds all that is sent, so that what becomes of the job, or of the version of the service, does not change it.
    """

    __tablename__ = "outbox"
    __table_args__ = (
        CheckConstraint(one_of("state", DeliveryState), name="state"),
        CheckConstraint(f"(state = '{DeliveryState.PENDING}') = (ended_at IS NULL)", name="ended"),
        Index("ix_outbox_webhook_id", "webhook_id", "id"),
        Index(
            "ix_outbox_due",
            "next_at",
            sqlite_where=text(f"state = '{DeliveryState.PENDING}'"),
            postgresql_where=text(f"state = '{DeliveryState.PENDING}'"),
        ),
    )

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    webhook_id: Mapped[str] = mapped_column(ForeignKey("webhook.id", ondelete="CASCADE"))
    event_id: Mapped[int] = mapped_column(BigInteger)
    job_id: Mapped[str] = mapped_column(String(32))
    type: Mapped[str] = mapped_column(String(32))
    body: Mapped[str] = mapped_column(Text)
    """exactly as it is signed and sent"""
    state: Mapped[str] = mapped_column(String(16))
    tries: Mapped[int]
    next_at: Mapped[int] = mapped_column(BigInteger)
    """not tried before this; while a try is under way, when another may be made in its place"""
    last_status: Mapped[int | None]
    last_error: Mapped[str | None] = mapped_column(String(500))
    created_at: Mapped[int] = mapped_column(BigInteger)
    ended_at: Mapped[int | None] = mapped_column(BigInteger)


class ApiKeyRow(Base):
    """A key by which clients are known. None is ever removed, so that the audit's ids keep their meaning."""

    __tablename__ = "api_key"
    __table_args__ = (CheckConstraint(one_of("scope", Scope), name="scope"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    name: Mapped[str] = mapped_column(String(64))
    digest: Mapped[str] = mapped_column(String(64))
    """SHA-256 of its secret"""
    scope: Mapped[str] = mapped_column(String(16))
    created_at: Mapped[int] = mapped_column(BigInteger)
    created_by: Mapped[str] = mapped_column(String(64))
    expires_at: Mapped[int | None] = mapped_column(BigInteger)
    revoked_at: Mapped[int | None] = mapped_column(BigInteger)
    max_queued_jobs: Mapped[int | None]
    """jobs of this key that may wait; null: any number, as for those below"""
    max_running_gpus: Mapped[int | None]
    """GPUs that its jobs may hold at once"""
    requests_per_s: Mapped[float | None]
    """to one process of the API"""


class SessionRow(Base):
    """A browser that has signed in with a key; it ends with the key at the latest."""

    __tablename__ = "web_session"

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    digest: Mapped[str] = mapped_column(String(64))
    """SHA-256 of the cookie's secret"""
    key_id: Mapped[str] = mapped_column(ForeignKey("api_key.id", ondelete="CASCADE"))
    expires_at: Mapped[int] = mapped_column(BigInteger)


class AuditRow(Base):
    """What clients did, append-only: one row an action, written in its transaction. It refers to nothing, so that it
    outlives the job that it is about.
    """

    __tablename__ = "audit"
    __table_args__ = (Index("ix_audit_subject", "subject", "id"),)

    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    at: Mapped[int] = mapped_column(BigInteger)
    key_id: Mapped[str | None] = mapped_column(String(32))
    key_name: Mapped[str] = mapped_column(String(64))
    action: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(200))
    details: Mapped[dict[str, Any]]
