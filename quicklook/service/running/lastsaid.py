"""What the journal was told last of something, by this daemon or by one before it."""

from __future__ import annotations

import json
from typing import Any

import sqlalchemy as sa

from quicklook.core.events import RawFolder
from quicklook.service.journal.journal import EVENTS, Journal


def last_said(journal: Journal, kind: str, tag: str, path: str | None = None) -> dict[str, Any] | None:
    """The payload of the last event of that kind; None where there is none, or where a path is given and it is about another.

    What begins anew must know it: an alarm that stands since before a restart ends by an event alone. Raises what the journal raises.
    """
    last = sa.select(EVENTS.c.payload).where(EVENTS.c.kind == kind, EVENTS.c.tag == tag).order_by(EVENTS.c.seq.desc()).limit(1)
    with journal.reading() as connection:
        found = connection.execute(last).scalar()
    payload = json.loads(found) if found is not None else {}
    return payload if payload and path in (None, payload.get("path")) else None


def was_blind(journal: Journal, tag: str) -> bool:
    """Whether the last that was said of the folder of raw files, be it another one now, is that it is gone, or cannot be looked into."""
    said = last_said(journal, RawFolder.kind, tag)
    return said is not None and (not said["there"] or bool(said.get("trouble")))
