"""What repeats stands once: the numbers of metrics, QAs, axes, limits, sets of tags and results, found or made within a transaction."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Hashable, Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite

_KEPT = 20_000
"""Numbers kept in memory; those that were not asked for longest go."""


def digest_of(*texts: str) -> str:
    """Short and the same for the same texts."""
    return hashlib.blake2b("\0".join(texts).encode(), digest_size=16).hexdigest()


def upsert(connection: sa.Connection, table: sa.Table, *, keep: bool = False, update: Mapping[str, Any] | None = None) -> Any:
    """An insert that takes the place of the row with the same key; with `keep` that one stays. `update`: what of it is taken (default: all)."""
    made = (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)
    keys = [c.name for c in table.primary_key]
    if keep:
        return made.on_conflict_do_nothing()
    others = update or {c.name: made.excluded[c.name] for c in table.columns if c.name not in keys}
    return made.on_conflict_do_update(index_elements=keys, set_=dict(others))


def plain(text: object) -> str:
    """Text as every database can hold it: PostgreSQL has no NUL, and no half of a pair of surrogates is UTF-8."""
    found = str(text)
    return found if found.isascii() and "\0" not in found else found.replace("\0", "\ufffd").encode(errors="replace").decode()


class Numbers:
    """Numbers by key. Those that were made within a transaction are kept for the next one only when it was committed."""

    def __init__(self) -> None:
        self._known: OrderedDict[Hashable, int] = OrderedDict()
        self._new: dict[Hashable, int] = {}

    def get(self, key: Hashable) -> int | None:
        """A number that is known."""
        found = self._new.get(key)
        if found is None and (found := self._known.get(key)) is not None:
            self._known.move_to_end(key)
        return found

    def put(self, key: Hashable, number: int) -> int:
        """Remember a number."""
        self._new[key] = number
        return number

    def of(self, connection: sa.Connection, table: sa.Table, texts: Mapping[str, str], more: Mapping[str, Any] | None = None) -> int:
        """The number of the row with these texts, which is made (with what is `more` in it) where there is none."""
        key = (table.name, *texts.values())
        found = self.get(key)
        if found is None:
            row = {**texts, **(more or {}), "digest": digest_of(*texts.values())}
            found = self.put(key, _number(connection, table, table.c.digest == row["digest"], row))
        return found

    def committed(self) -> None:
        """What was made stays."""
        self._known.update(self._new)
        self._new = {}
        while len(self._known) > _KEPT:
            self._known.popitem(last=False)

    def forget(self) -> None:
        """What was made since the last commit is not there."""
        self._new = {}


def _number(connection: sa.Connection, table: sa.Table, same: sa.ColumnElement[bool], row: Mapping[str, Any]) -> int:
    for _ in range(3):  # another process may make the same row at the same time
        found = connection.execute(sa.select(table.c.id).where(same)).scalar()
        if found is None:
            found = connection.execute(upsert(connection, table, keep=True).values(**row).returning(table.c.id)).scalar()
        if found is not None:
            return int(found)
    raise RuntimeError(f"{table.name} takes no new row")  # it is neither there nor can it be made
