"""Alembic's entry: runs migrations on the connection that ``storage.schema`` opened, inside its transaction."""

from alembic import context

from tuneward.storage.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata, render_as_batch=True)
context.run_migrations()
