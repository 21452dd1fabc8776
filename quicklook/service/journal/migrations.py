"""A journal that an older program has made, brought to the tables of this one, when it is opened.

What is new in a table is added to it, with its default; nothing is taken away or changed, so that the older program can still use the file. A change
that is more than that gets a number in `CHANGES`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

import sqlalchemy as sa

from quicklook.core.errors import BadConfig

log = logging.getLogger("quicklook.journal")

LAYOUT = 2
"""Number of the tables as they are now: 2 has owner, lease and visits of jobs. Stands in the journal under the key `layout`; absent: 1."""

CHANGES: Mapping[int, Callable[[sa.Connection], None]] = {}
"""By the layout that it leads to: what is done beside the columns that are added."""


def migrate(connection: sa.Connection, metadata: sa.MetaData, meta: sa.Table) -> list[str]:
    """Bring the tables up to date, within the given transaction: all of it or nothing. Returns what was added, as table.column.

    Raises BadConfig where a newer program has changed the tables.
    """
    found = _layout(connection, meta)
    if found > LAYOUT:
        raise BadConfig(f"the journal has tables of layout {found}, this program knows {LAYOUT}: install the newer program")
    added = [f"{table.name}.{column.name}" for table in metadata.sorted_tables for column in _add_missing(connection, table)]
    for number in range(found + 1, LAYOUT + 1):
        if number in CHANGES:
            CHANGES[number](connection)
    if found < LAYOUT:
        connection.execute(sa.delete(meta).where(meta.c.key == "layout"))
        connection.execute(sa.insert(meta).values(key="layout", value=str(LAYOUT)))
    if added:
        log.warning("the journal was made by an older program; added to it: %s", ", ".join(added))
    return added


def _layout(connection: sa.Connection, meta: sa.Table) -> int:
    return int(connection.execute(sa.select(meta.c.value).where(meta.c.key == "layout")).scalar() or 1)


def _add_missing(connection: sa.Connection, table: sa.Table) -> list[sa.Column[object]]:
    there = {row.name for row in connection.exec_driver_sql(f"PRAGMA table_info({table.name})")}
    missing = [column for column in table.columns if column.name not in there]
    for column in missing:
        text = sa.schema.CreateColumn(column).compile(dialect=connection.dialect)
        connection.exec_driver_sql(f"ALTER TABLE {table.name} ADD COLUMN {text}")
    return missing
