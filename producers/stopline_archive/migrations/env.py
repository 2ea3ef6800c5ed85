"""alembic's entry: it runs the steps on the connection that it is given (`database.py`)."""

from __future__ import annotations

from alembic import context

from stopline_archive.tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    transactional_ddl=True,
)
with context.begin_transaction():
    context.run_migrations()
