"""What alembic runs: within the transaction that it is given, which is locked against other processes."""

from __future__ import annotations

from alembic import context

from quicklook.io.metricstore.tables import METADATA, VERSION_TABLE

context.configure(
    connection=context.config.attributes["connection"], target_metadata=METADATA, version_table=VERSION_TABLE, transactional_ddl=False
)
context.run_migrations()
