"""States blocked, starting, paused; intents pause, kill; two budgets; deadlines; dependencies, deletions, workers.

The lists of states are written out: a migration must not change when the enum does.
"""

import sqlalchemy as sa
from alembic import op
from alembic.operations import BatchOperations

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATES = (
    "'blocked', 'cancelled', 'claimed', 'failed', 'paused', 'queued', 'retry_wait', 'running', 'starting', 'stopping',"
    " 'succeeded'"
)
LEASED = "'claimed', 'running', 'starting', 'stopping'"
CLAIMABLE = "'queued', 'retry_wait'"
REASONS = (
    "'bad_input', 'crashed', 'deadline', 'dependency', 'diverged', 'infrastructure', 'lost_worker', 'out_of_memory',"
    " 'user'"
)
MOVES = " OR ".join(
    (
        "from_state IS NULL AND to_state IN ('blocked', 'queued')",
        "from_state = 'blocked' AND to_state IN ('cancelled', 'paused', 'queued')",
        "from_state = 'cancelled' AND to_state IN ('blocked', 'queued')",
        "from_state = 'claimed' AND to_state IN"
        " ('cancelled', 'failed', 'paused', 'retry_wait', 'running', 'starting', 'stopping')",
        "from_state = 'failed' AND to_state IN ('blocked', 'queued')",
        "from_state = 'paused' AND to_state IN ('blocked', 'cancelled', 'queued')",
        "from_state = 'queued' AND to_state IN ('cancelled', 'claimed', 'paused')",
        "from_state = 'retry_wait' AND to_state IN ('cancelled', 'claimed', 'paused')",
        "from_state = 'running' AND to_state IN"
        " ('cancelled', 'failed', 'paused', 'retry_wait', 'stopping', 'succeeded')",
        "from_state = 'starting' AND to_state IN"
        " ('cancelled', 'failed', 'paused', 'retry_wait', 'running', 'stopping', 'succeeded')",
        "from_state = 'stopping' AND to_state IN ('cancelled', 'failed', 'paused', 'retry_wait', 'succeeded')",
    )
)
OLD_STATES = "'cancelled', 'claimed', 'failed', 'queued', 'retry_wait', 'running', 'stopping', 'succeeded'"
OLD_LEASED = "'claimed', 'running', 'stopping'"
OLD_REASONS = "'bad_input', 'deadline', 'diverged', 'infrastructure', 'lost_worker', 'out_of_memory', 'user'"


def _checks(states: str, leased: str, reasons: str, desired: str) -> dict[str, dict[str, str]]:
    """The checks that are in both versions, by table and name."""
    return {
        "job": {
            "ck_job_state": f"state IN ({states})",
            "ck_job_desired": f"desired IN ({desired})",
            "ck_job_failure_reason": f"failure_reason IS NULL OR failure_reason IN ({reasons})",
            "ck_job_leased": f"(state IN ({leased})) = (lease_token IS NOT NULL)",
        },
        "job_attempt": {
            "ck_job_attempt_outcome": f"outcome IS NULL OR outcome IN ({states})",
            "ck_job_attempt_exit_reason": f"exit_reason IS NULL OR exit_reason IN ({reasons})",
        },
        "job_event": {
            "ck_job_event_from_state": f"from_state IS NULL OR from_state IN ({states})",
            "ck_job_event_to_state": f"to_state IN ({states})",
        },
    }


NEW_CHECKS = _checks(STATES, LEASED, REASONS, "'cancel', 'kill', 'pause', 'run'")
OLD_CHECKS = _checks(OLD_STATES, OLD_LEASED, OLD_REASONS, "'cancel', 'run'")
ADDED_CHECKS = {
    "ck_job_wanted": "NOT (state IN ('blocked', 'queued', 'retry_wait')) OR desired = 'run'",
    "ck_job_paused": "state <> 'paused' OR desired = 'pause'",
    "ck_job_found": "state <> 'succeeded' OR results IS NOT NULL",
}


def upgrade() -> None:
    _drop_indexes()
    with op.batch_alter_table("job") as job:
        job.add_column(sa.Column("failed_attempts", sa.Integer(), nullable=False, server_default=sa.text("0")))
        job.add_column(sa.Column("lost_attempts", sa.Integer(), nullable=False, server_default=sa.text("0")))
        job.add_column(sa.Column("max_lost_attempts", sa.Integer(), nullable=False, server_default=sa.text("10")))
        job.add_column(sa.Column("state_at", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
        job.add_column(sa.Column("deadline_at", sa.BigInteger()))
        job.add_column(sa.Column("ran_ms", sa.BigInteger(), nullable=False, server_default=sa.text("0")))
        job.add_column(sa.Column("cloned_from", sa.String(32)))
        _replace_checks(job, "job", OLD_CHECKS, NEW_CHECKS)
        for name, condition in ADDED_CHECKS.items():
            job.create_check_constraint(op.f(name), condition)
    op.execute("UPDATE job SET state_at = updated_at")
    # Until now every attempt that failed was charged to one budget.
    op.execute("UPDATE job SET lost_attempts = attempt WHERE state = 'retry_wait'")
    with op.batch_alter_table("job") as job:
        job.alter_column("state_at", existing_type=sa.BigInteger(), existing_nullable=False, server_default=None)
    with op.batch_alter_table("job_attempt") as attempt:
        _replace_checks(attempt, "job_attempt", OLD_CHECKS, NEW_CHECKS)
    with op.batch_alter_table("job_event") as event:
        _replace_checks(event, "job_event", OLD_CHECKS, NEW_CHECKS)
        event.create_check_constraint(op.f("ck_job_event_move"), MOVES)
    _create_indexes(LEASED)

    op.create_table(
        "job_dependency",
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("after_job_id", sa.String(32), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "after_job_id", name=op.f("pk_job_dependency")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_dependency_job_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["after_job_id"], ["job.id"], name=op.f("fk_job_dependency_after_job_id"), ondelete="CASCADE"
        ),
    )
    op.create_index("ix_job_dependency_after_job_id", "job_dependency", ["after_job_id"])
    op.create_table(
        "job_deletion",
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("tracking_run_id", sa.String(64)),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("job_id", name=op.f("pk_job_deletion")),
    )
    op.create_table(
        "worker",
        sa.Column("id", sa.String(200), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("capacity", sa.JSON()),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_worker")),
    )
    op.create_table(
        "leader",
        sa.Column("task", sa.String(64), nullable=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("task", name=op.f("pk_leader")),
    )


def downgrade() -> None:
    """Go back. What the older version has no word for becomes what is nearest to it."""
    op.drop_table("leader")
    op.drop_table("worker")
    op.drop_table("job_deletion")
    op.drop_table("job_dependency")
    _drop_indexes()
    with op.batch_alter_table("job_event") as event:
        event.drop_constraint(op.f("ck_job_event_move"), type_="check")
    _rename_for_the_older_version()
    with op.batch_alter_table("job_event") as event:
        _replace_checks(event, "job_event", NEW_CHECKS, OLD_CHECKS)
    with op.batch_alter_table("job_attempt") as attempt:
        _replace_checks(attempt, "job_attempt", NEW_CHECKS, OLD_CHECKS)
    with op.batch_alter_table("job") as job:
        for name in ADDED_CHECKS:
            job.drop_constraint(op.f(name), type_="check")
        _replace_checks(job, "job", NEW_CHECKS, OLD_CHECKS)
        for column in (
            *("failed_attempts", "lost_attempts", "max_lost_attempts"),
            *("state_at", "deadline_at", "ran_ms", "cloned_from"),
        ):
            job.drop_column(column)
    _create_indexes(OLD_LEASED)


def _rename_for_the_older_version() -> None:
    # Paused and blocked jobs must not begin by themselves: they end, and can be submitted again.
    op.execute(
        "UPDATE job SET state = 'cancelled', desired = 'cancel', failure_reason = 'user', ended_at = updated_at,"
        " failure_message = 'it was ' || state || ' when the service went back to an older version: submit it again'"
        " WHERE state IN ('paused', 'blocked')"
    )
    op.execute("UPDATE job SET desired = 'run' WHERE desired = 'pause'")
    op.execute("UPDATE job SET desired = 'cancel' WHERE desired = 'kill'")
    op.execute("UPDATE job SET state = 'running' WHERE state = 'starting'")
    # Its one budget counts every attempt.
    op.execute("UPDATE job SET max_attempts = max_attempts + attempt - failed_attempts")
    for table, column in (("job", "failure_reason"), ("job_attempt", "exit_reason")):
        op.execute(f"UPDATE {table} SET {column} = 'lost_worker' WHERE {column} = 'crashed'")
        op.execute(f"UPDATE {table} SET {column} = 'user' WHERE {column} = 'dependency'")
    op.execute("UPDATE job_attempt SET outcome = 'retry_wait' WHERE outcome = 'paused'")
    # The trail keeps what the older version can read, in moves that both allow.
    op.execute(f"UPDATE job_event SET to_state = 'retry_wait' WHERE to_state = 'paused' AND from_state IN ({LEASED})")
    op.execute(
        "DELETE FROM job_event WHERE to_state = 'paused' OR from_state IS NOT NULL AND to_state = 'blocked'"
        " OR from_state IN ('paused', 'blocked', 'failed', 'cancelled') AND to_state = 'queued'"
        " OR from_state = 'starting' AND to_state = 'running'"
    )
    op.execute("UPDATE job_event SET to_state = 'running' WHERE to_state = 'starting'")
    op.execute("UPDATE job_event SET from_state = 'running' WHERE from_state = 'starting'")
    op.execute("UPDATE job_event SET to_state = 'queued' WHERE to_state = 'blocked'")
    op.execute("UPDATE job_event SET from_state = 'queued' WHERE from_state IN ('paused', 'blocked')")


def _replace_checks(
    batch: BatchOperations, table: str, old: dict[str, dict[str, str]], new: dict[str, dict[str, str]]
) -> None:
    for name in old[table]:
        batch.drop_constraint(op.f(name), type_="check")
    for name, condition in new[table].items():
        batch.create_check_constraint(op.f(name), condition)


def _drop_indexes() -> None:
    """SQLite copies a table to change it, and Alembic would copy its indexes without their descending column."""
    for name in ("ix_job_claim", "ix_job_lease", "ix_job_page"):
        op.drop_index(name, table_name="job")


def _create_indexes(leased: str) -> None:
    claimable, held = sa.text(f"state IN ({CLAIMABLE})"), sa.text(f"state IN ({leased})")
    op.create_index(
        "ix_job_claim",
        "job",
        [sa.text("priority DESC"), "available_at", "id"],
        sqlite_where=claimable,
        postgresql_where=claimable,
    )
    op.create_index("ix_job_lease", "job", ["lease_expires_at"], sqlite_where=held, postgresql_where=held)
    op.create_index("ix_job_page", "job", ["created_at", "id"])
