"""What Alembic runs; the connection and its transaction come from `service.queue.migrations`."""

from alembic import context

from service.queue.tables import Base

connection = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("run migrations through service.queue.migrations.upgrade(database_url)")
context.configure(connection=connection, target_metadata=Base.metadata, render_as_batch=True)
with context.begin_transaction():
    context.run_migrations()
