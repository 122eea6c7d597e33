"""What operators are told: counts that are found without reading every job, and that deleting jobs does not lower."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("worker") as worker:
        worker.add_column(sa.Column("figures", sa.JSON()))
    op.create_index("ix_job_state", "job", ["state", "kind"])
    op.create_index("ix_job_attempt_ended_at", "job_attempt", ["ended_at"])
    op.create_table(
        "attempt_tally",
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("outcome", sa.String(16), nullable=False),
        sa.Column("reason", sa.String(32), nullable=False),
        sa.Column("at_most_ms", sa.BigInteger(), nullable=False),
        sa.Column("attempts", sa.BigInteger(), nullable=False),
        sa.Column("total_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "outcome", "reason", "at_most_ms", name=op.f("pk_attempt_tally")),
    )


def downgrade() -> None:
    op.drop_table("attempt_tally")
    op.drop_index("ix_job_attempt_ended_at", "job_attempt")
    op.drop_index("ix_job_state", "job")
    with op.batch_alter_table("worker") as worker:
        worker.drop_column("figures")
