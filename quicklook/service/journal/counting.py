"""How many jobs there are of each tag and state, kept by the database itself: to count them would take longer with every month.

Triggers count whoever writes into the journal, an older program too.
"""

from __future__ import annotations

import sqlalchemy as sa

_TABLE = "job_counts"
_MADE = (
    f"CREATE TABLE {_TABLE} (tag VARCHAR NOT NULL, state VARCHAR NOT NULL, n INTEGER NOT NULL, PRIMARY KEY (tag, state)) WITHOUT ROWID",
    f"INSERT INTO {_TABLE} SELECT tag, state, count(*) FROM jobs GROUP BY tag, state",
    f"CREATE TRIGGER {_TABLE}_come AFTER INSERT ON jobs BEGIN"
    f" INSERT INTO {_TABLE} VALUES (new.tag, new.state, 1) ON CONFLICT (tag, state) DO UPDATE SET n = n + 1; END",
    f"CREATE TRIGGER {_TABLE}_go AFTER DELETE ON jobs BEGIN UPDATE {_TABLE} SET n = n - 1 WHERE tag = old.tag AND state = old.state; END",
    f"CREATE TRIGGER {_TABLE}_change AFTER UPDATE OF tag, state ON jobs WHEN old.state <> new.state OR old.tag <> new.tag BEGIN"
    f" UPDATE {_TABLE} SET n = n - 1 WHERE tag = old.tag AND state = old.state;"
    f" INSERT INTO {_TABLE} VALUES (new.tag, new.state, 1) ON CONFLICT (tag, state) DO UPDATE SET n = n + 1; END",
)
_THERE = sa.text("SELECT 1 FROM sqlite_master WHERE type = 'table' AND name = :name")
_COUNTS = sa.text(f"SELECT state, sum(n) FROM {_TABLE} WHERE n > 0 AND coalesce(:of_tag, tag) = tag GROUP BY state")


def begin_counting(connection: sa.Connection) -> None:
    """Count what is there, and have the database go on with it; nothing where it does so already. The table of jobs must be there."""
    if connection.execute(_THERE, {"name": _TABLE}).first() is None:
        for statement in _MADE:
            connection.exec_driver_sql(statement)


def count_jobs(connection: sa.Connection, tag: str | None) -> dict[str, int]:
    """How many jobs of a tag (None: of all) are in each state; without those of which there are none."""
    return {state: int(n) for state, n in connection.execute(_COUNTS, {"of_tag": tag})}
