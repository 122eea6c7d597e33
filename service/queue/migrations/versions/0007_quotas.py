"""What a key may have at once, and by which key a job was submitted."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("api_key", sa.Column("max_queued_jobs", sa.Integer()))
    op.add_column("api_key", sa.Column("max_running_gpus", sa.Integer()))
    op.add_column("api_key", sa.Column("requests_per_s", sa.Double()))
    op.add_column("job", sa.Column("submitted_by", sa.String(32)))
    op.add_column("job", sa.Column("gpus", sa.Integer(), nullable=False, server_default=sa.text("0")))
    op.create_index("ix_job_submitted_by", "job", ["submitted_by", "state"])


def downgrade() -> None:
    op.drop_index("ix_job_submitted_by", "job")
    for column in ("gpus", "submitted_by"):
        op.drop_column("job", column)
    for column in ("requests_per_s", "max_running_gpus", "max_queued_jobs"):
        op.drop_column("api_key", column)
