"""Jobs, their attempts, and the audit trail of their states.

The lists of states are written out: a migration must not change when the enum does.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

STATES = "'cancelled', 'claimed', 'failed', 'queued', 'retry_wait', 'running', 'stopping', 'succeeded'"
LEASED = "'claimed', 'running', 'stopping'"
WAITING = "'queued', 'retry_wait'"
REASONS = "'bad_input', 'deadline', 'diverged', 'infrastructure', 'lost_worker', 'out_of_memory', 'user'"


def upgrade() -> None:
    op.create_table(
        "job",
        sa.Column("id", sa.String(32), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("name", sa.String(64)),
        sa.Column("spec", sa.JSON(), nullable=False),
        sa.Column("config_digest", sa.String(64), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("desired", sa.String(16), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("available_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_token", sa.String(32)),
        sa.Column("lease_owner", sa.String(200)),
        sa.Column("lease_expires_at", sa.BigInteger()),
        sa.Column("progress", sa.JSON()),
        sa.Column("results", sa.JSON()),
        sa.Column("failure_reason", sa.String(32)),
        sa.Column("failure_message", sa.String(4000)),
        sa.Column("tracking_run_id", sa.String(64)),
        sa.Column("idempotency_key", sa.String(255)),
        sa.Column("body_digest", sa.String(64), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("started_at", sa.BigInteger()),
        sa.Column("ended_at", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_job_idempotency_key")),
        sa.CheckConstraint(f"state IN ({STATES})", name=op.f("ck_job_state")),
        sa.CheckConstraint("desired IN ('cancel', 'run')", name=op.f("ck_job_desired")),
        sa.CheckConstraint(
            f"failure_reason IS NULL OR failure_reason IN ({REASONS})", name=op.f("ck_job_failure_reason")
        ),
        sa.CheckConstraint(f"(state IN ({LEASED})) = (lease_token IS NOT NULL)", name=op.f("ck_job_leased")),
        sa.CheckConstraint("(lease_token IS NULL) = (lease_expires_at IS NULL)", name=op.f("ck_job_lease_whole")),
    )
    waiting, leased = sa.text(f"state IN ({WAITING})"), sa.text(f"state IN ({LEASED})")
    op.create_index(
        "ix_job_claim",
        "job",
        [sa.text("priority DESC"), "available_at", "id"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
    op.create_index("ix_job_lease", "job", ["lease_expires_at"], sqlite_where=leased, postgresql_where=leased)
    op.create_index("ix_job_page", "job", ["created_at", "id"])

    op.create_table(
        "job_attempt",
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("worker_id", sa.String(200), nullable=False),
        sa.Column("pid", sa.Integer()),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger()),
        sa.Column("outcome", sa.String(16)),
        sa.Column("exit_reason", sa.String(32)),
        sa.Column("message", sa.String(4000)),
        sa.Column("resumed_from_step", sa.BigInteger()),
        sa.PrimaryKeyConstraint("job_id", "attempt", name=op.f("pk_job_attempt")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_attempt_job_id"), ondelete="CASCADE"),
        sa.CheckConstraint(f"outcome IS NULL OR outcome IN ({STATES})", name=op.f("ck_job_attempt_outcome")),
        sa.CheckConstraint(
            f"exit_reason IS NULL OR exit_reason IN ({REASONS})", name=op.f("ck_job_attempt_exit_reason")
        ),
    )
    op.create_table(
        "job_event",
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=True, nullable=False),
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("from_state", sa.String(16)),
        sa.Column("to_state", sa.String(16), nullable=False),
        sa.Column("actor", sa.String(200), nullable=False),
        sa.Column("note", sa.String(4000)),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_job_event")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_event_job_id"), ondelete="CASCADE"),
        sa.CheckConstraint(f"from_state IS NULL OR from_state IN ({STATES})", name=op.f("ck_job_event_from_state")),
        sa.CheckConstraint(f"to_state IN ({STATES})", name=op.f("ck_job_event_to_state")),
    )
    op.create_index("ix_job_event_job_id", "job_event", ["job_id", "id"])


def downgrade() -> None:
    op.drop_table("job_event")
    op.drop_table("job_attempt")
    op.drop_table("job")
