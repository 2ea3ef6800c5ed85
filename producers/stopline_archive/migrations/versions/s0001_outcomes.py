"""The table of outcomes, and what it is searched by."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_SEARCHED_BY = ("task_id", "user_id", "source", "batch_id")


def upgrade() -> None:
    """Make them."""
    op.create_table(
        "outcomes",
        sa.Column("request_id", sa.Text, primary_key=True),
        sa.Column("user_id", sa.Text, nullable=False),
        sa.Column("task_id", sa.Text, nullable=False),
        sa.Column("sub_user_id", sa.Text),
        sa.Column("lane", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("batch_id", sa.Text),
        sa.Column("outcome", sa.Text, nullable=False),
        sa.Column("attempts", sa.Integer, nullable=False),
        sa.Column("accepted_at", sa.BigInteger, nullable=False),
        sa.Column("finished_at", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
    )
    for name in _SEARCHED_BY:
        op.create_index(f"outcomes_by_{name}", "outcomes", [name, "finished_at", "request_id"])
    op.create_index("outcomes_by_time", "outcomes", ["finished_at", "request_id"])


def downgrade() -> None:
    """Drop them."""
    op.drop_table("outcomes")
