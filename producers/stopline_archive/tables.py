"""The archive's one table. Its history is in `migrations/`, which a test compares with this."""

from __future__ import annotations

from typing import Final

from sqlalchemy import BigInteger, Column, Index, Integer, MetaData, Table, Text

metadata: Final = MetaData()
outcomes: Final = Table(
    "outcomes",
    metadata,
    Column("request_id", Text, primary_key=True),
    Column("user_id", Text, nullable=False),
    Column("task_id", Text, nullable=False),
    Column("sub_user_id", Text),
    Column("lane", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("batch_id", Text),
    Column("outcome", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    # Microseconds since the epoch, as everywhere in the ledger.
    Column("accepted_at", BigInteger, nullable=False),
    Column("finished_at", BigInteger, nullable=False),
    # All of it, as the results backend had it; the columns are what is searched by.
    Column("document", Text, nullable=False),
)
"""An outcome a row."""
for _name in ("task_id", "user_id", "source", "batch_id"):
    Index(f"outcomes_by_{_name}", outcomes.c[_name], outcomes.c.finished_at, outcomes.c.request_id)
Index("outcomes_by_time", outcomes.c.finished_at, outcomes.c.request_id)
