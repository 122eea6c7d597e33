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
    text,
)
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from service.jobs.states import LEASED, WAITING, Desired, FailureReason, JobState

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
        Index(
            "ix_job_claim",
            text("priority DESC"),
            "available_at",
            "id",
            sqlite_where=text(one_of("state", WAITING)),
            postgresql_where=text(one_of("state", WAITING)),
        ),
        Index(
            "ix_job_lease",
            "lease_expires_at",
            sqlite_where=text(one_of("state", LEASED)),
            postgresql_where=text(one_of("state", LEASED)),
        ),
        Index("ix_job_page", "created_at", "id"),
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
    max_attempts: Mapped[int]
    available_at: Mapped[int] = mapped_column(BigInteger)
    """not claimed before this: creation, or the end of a back-off"""
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


class JobEventRow(Base):
    """The audit trail, append-only: one row a change of state, written in the same transaction."""

    __tablename__ = "job_event"
    __table_args__ = (
        CheckConstraint(f"from_state IS NULL OR {one_of('from_state', JobState)}", name="from_state"),
        CheckConstraint(one_of("to_state", JobState), name="to_state"),
        Index("ix_job_event_job_id", "job_id", "id"),
    )

    # SQLite numbers rows by itself only where the type is literally INTEGER.
    id: Mapped[int] = mapped_column(BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(ForeignKey("job.id", ondelete="CASCADE"))
    attempt: Mapped[int]
    from_state: Mapped[str | None] = mapped_column(String(16))
    to_state: Mapped[str] = mapped_column(String(16))
    actor: Mapped[str] = mapped_column(String(200))
    """api, rescue, or the worker's id"""
    note: Mapped[str | None] = mapped_column(String(4000))
    at: Mapped[int] = mapped_column(BigInteger)


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
