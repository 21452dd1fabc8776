"""The book of alarms: their tables in a SQLite file, written in one transaction for each event that changes anything."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import sqlalchemy as sa
from sqlalchemy.dialects.sqlite import insert

from monitor.alerts import tables as t
from monitor.alerts.model import Change, Incident, Mute, Notice
from quicklook.core.errors import BadConfig, Transient
from quicklook.core.events import Draft
from quicklook.io import sqlite

_ANSWERS_KEPT = 5000
_LAYOUT = "1"
_PRUNED_AT_ONCE = 500
"""So many rows are removed in one transaction: nobody waits for it."""

Who = Callable[[Notice], Sequence[str]]


def _those(notice: Notice) -> Sequence[str]:
    return notice.channels


class AlarmBook:
    """The book at `path`, made where it is not there. Raises BadConfig where it is none, Transient where it cannot be used now."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._engine = sqlite.open_own(path, t.METADATA, "the book of alarms")
        self._incidents: dict[str, Incident] = {}
        self._mutes: dict[str, Mute] = {}
        with self.transaction() as connection:
            layout = self.meta(connection, "layout") or _LAYOUT
            if layout != _LAYOUT:
                raise BadConfig(f"{path} has tables of layout {layout}, this program knows {_LAYOUT}: install the newer program")
            self.put(connection, layout=layout)

    @contextmanager
    def transaction(self) -> Iterator[sa.Connection]:
        """All of it or nothing. Raises Transient where the file cannot be used now."""
        try:
            with self._engine.begin() as connection:
                yield connection
        except sa.exc.OperationalError as error:
            raise Transient(f"the book of alarms {self.path} cannot be used now: {error.orig}") from error

    @contextmanager
    def reading(self) -> Iterator[sa.Connection]:
        """To look, without waiting for who writes. Raises Transient where the file cannot be used now."""
        try:
            with self._engine.connect().execution_options(reading=True) as connection, connection.begin():
                yield connection
        except sa.exc.OperationalError as error:
            raise Transient(f"the book of alarms {self.path} cannot be read now: {error.orig}") from error

    def close(self) -> None:
        """Let go of the file."""
        self._engine.dispose()

    # ---- facts about the book itself

    @staticmethod
    def meta(connection: sa.Connection, key: str) -> str:
        """A fact by its key; "" where it is not there."""
        return connection.execute(sa.select(t.META.c.value).where(t.META.c.key == key)).scalar() or ""

    @staticmethod
    def put(connection: sa.Connection, **facts: str) -> None:
        """Write facts by their keys."""
        for key, value in facts.items():
            connection.execute(insert(t.META).values(key=key, value=value).on_conflict_do_update(index_elements=["key"], set_={"value": value}))

    # ---- incidents and mutes

    def load(self) -> tuple[list[Incident], list[Mute]]:
        """All that stands."""
        with self.reading() as connection:
            incidents = [Incident.model_validate_json(r) for r in connection.execute(sa.select(t.INCIDENTS.c.record)).scalars()]
            mutes = [Mute.model_validate_json(r) for r in connection.execute(sa.select(t.MUTES.c.record)).scalars()]
        self._incidents, self._mutes = {i.key: i for i in incidents}, {m.id: m for m in mutes}
        return incidents, mutes

    def save(self, connection: sa.Connection, incidents: Mapping[str, Incident], mutes: Mapping[str, Mute]) -> None:
        """What has changed since it was loaded or saved."""
        for key in self._incidents.keys() - incidents.keys():
            connection.execute(sa.delete(t.INCIDENTS).where(t.INCIDENTS.c.key == key))
        for key, incident in incidents.items():
            if self._incidents.get(key) is not incident:
                values = {"key": key, "record": incident.model_dump_json()}
                connection.execute(insert(t.INCIDENTS).values(values).on_conflict_do_update(index_elements=["key"], set_=values))
        for mute_id in self._mutes.keys() - mutes.keys():
            connection.execute(sa.delete(t.MUTES).where(t.MUTES.c.id == mute_id))
        for mute_id, mute in mutes.items():
            if self._mutes.get(mute_id) is not mute:
                values = {"id": mute_id, "record": mute.model_dump_json()}
                connection.execute(insert(t.MUTES).values(values).on_conflict_do_update(index_elements=["id"], set_=values))

    def differs(self, incidents: Mapping[str, Incident]) -> bool:
        """Whether these are others than those that are written, in whatever they hold."""
        return len(incidents) != len(self._incidents) or any(self._incidents.get(key) is not one for key, one in incidents.items())

    def saved(self, incidents: Mapping[str, Incident], mutes: Mapping[str, Mute]) -> None:
        """The transaction of `save` is through: what it wrote is what stands."""
        self._incidents, self._mutes = dict(incidents), dict(mutes)

    # ---- what came of events

    @staticmethod
    def note(connection: sa.Connection, changes: Sequence[Change]) -> None:
        """Lines of the audit trail."""
        for change in changes:
            connection.execute(sa.insert(t.AUDIT).values(time=change.time, fingerprint=change.fingerprint, record=change.model_dump_json()))

    @staticmethod
    def announce(connection: sa.Connection, notices: Sequence[Notice], now: int, who: Who = _those) -> None:
        """Who is to be told; what is there already is not doubled. `who` says by which channels that is now."""
        for notice in notices:
            for channel in who(notice):
                values = {"id": notice.id, "channel": channel, "group": notice.group, "made": now, "record": notice.model_dump_json()}
                connection.execute(insert(t.NOTICES).values(values).on_conflict_do_nothing())

    @staticmethod
    def answer(connection: sa.Connection, seq: int, drafts: Sequence[Draft]) -> None:
        """Events that the journal is to have for the event `seq`."""
        for draft in drafts:
            connection.execute(sa.insert(t.ANSWERS).values(seq=seq, record=draft.model_dump_json()))
        connection.execute(sa.delete(t.ANSWERS).where(t.ANSWERS.c.seq < seq - _ANSWERS_KEPT))

    @staticmethod
    def forget_answers(connection: sa.Connection) -> None:
        """The journal is another one: its numbers are others."""
        connection.execute(sa.delete(t.ANSWERS))

    # ---- what is old

    def prune(self, before: int) -> int:
        """Remove the audit trail, messages that are sent or given up, and their notices, from before a time; returns how many. What stands stays."""
        old_message = sa.select(t.MESSAGES.c.id).where(t.MESSAGES.c.state.in_(("sent", "given_up")), t.MESSAGES.c.made < before)
        old = (
            (t.AUDIT.c.id, sa.select(t.AUDIT.c.id).where(t.AUDIT.c.time < before)),
            (t.NOTICES.c.n, sa.select(t.NOTICES.c.n).where(t.NOTICES.c.message.in_(old_message))),
            (t.MESSAGES.c.id, old_message),
        )
        removed = 0
        for column, chosen in old:
            n = _PRUNED_AT_ONCE
            while n == _PRUNED_AT_ONCE:
                with self.transaction() as connection:
                    n = connection.execute(sa.delete(column.table).where(column.in_(chosen.limit(_PRUNED_AT_ONCE)))).rowcount
                removed += n
        return removed

    def answers(self, seq: int) -> list[Draft]:
        """What the event `seq` was answered with."""
        with self.reading() as connection:
            rows = connection.execute(sa.select(t.ANSWERS.c.record).where(t.ANSWERS.c.seq == seq).order_by(t.ANSWERS.c.n))
            return [Draft.model_validate(json.loads(r)) for r in rows.scalars()]
