"""Registered data sets, and which jobs use them."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "dataset",
        sa.Column("name", sa.String(64), nullable=False),
        sa.Column("source", sa.JSON(), nullable=False),
        sa.Column("check_job_id", sa.String(32), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_dataset")),
        sa.ForeignKeyConstraint(["check_job_id"], ["job.id"], name=op.f("fk_dataset_check_job_id")),
    )
    op.create_table(
        "job_dataset",
        sa.Column("job_id", sa.String(32), nullable=False),
        sa.Column("dataset_name", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("job_id", "dataset_name", name=op.f("pk_job_dataset")),
        sa.ForeignKeyConstraint(["job_id"], ["job.id"], name=op.f("fk_job_dataset_job_id"), ondelete="CASCADE"),
        sa.ForeignKeyConstraint(
            ["dataset_name"], ["dataset.name"], name=op.f("fk_job_dataset_dataset_name"), ondelete="CASCADE"
        ),
    )
    op.create_index("ix_job_dataset_dataset_name", "job_dataset", ["dataset_name"])


def downgrade() -> None:
    op.drop_table("job_dataset")
    op.drop_table("dataset")
