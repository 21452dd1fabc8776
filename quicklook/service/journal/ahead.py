"""What a sink has done out of order: kept in the journal until all before it is done too, so that after a crash nothing is done twice."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import sqlalchemy as sa

from quicklook.core.events import Draft, Event
from quicklook.service.journal.journal import POSITIONS, Journal

_metadata = sa.MetaData()
AHEAD = sa.Table(
    "ahead",
    _metadata,
    sa.Column("sink", sa.String, primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    sa.Column("piece", sa.String, primary_key=True),
)


def done_ahead(journal: Journal, sink: str) -> tuple[int, set[tuple[int, str]]]:
    """The position of a sink, and what it has done beyond it, as number of the event and name of the piece. Raises what the journal raises."""
    with journal.transaction() as connection:
        _metadata.create_all(connection)
        rows = connection.execute(sa.select(AHEAD.c.seq, AHEAD.c.piece).where(AHEAD.c.sink == sink)).all()
    return journal.position(sink), {(row.seq, row.piece) for row in rows}


def settle(journal: Journal, sink: str, position: int, done: Collection[tuple[int, str]], drafts: Sequence[Draft] = ()) -> list[Event]:
    """In one transaction: the sink has done all up to `position`, and these pieces beyond it; what it answered is appended."""
    beyond = [{"sink": sink, "seq": seq, "piece": piece} for seq, piece in done if seq > position]
    with journal.transaction() as connection:
        connection.execute(sa.delete(AHEAD).where(AHEAD.c.sink == sink, AHEAD.c.seq <= position))
        if beyond:
            connection.execute(sa.insert(AHEAD).prefix_with("OR IGNORE"), beyond)
        if connection.execute(sa.update(POSITIONS).where(POSITIONS.c.sink == sink).values(seq=position)).rowcount == 0:
            connection.execute(sa.insert(POSITIONS).values(sink=sink, seq=position))
        return journal.append(drafts, connection)
