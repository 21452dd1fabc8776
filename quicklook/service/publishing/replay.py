"""What is answered on the replay socket: events of the journal for those who have missed them, and the state of things now.

A client asks for one batch after the other: who is slow, or asks and does not read, costs one batch at most.
"""

from __future__ import annotations

import glob
import hashlib
import json
import logging
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from pydantic import ValidationError

from quicklook.core.errors import BadConfig, BadData, QuicklookError, Transient, describe
from quicklook.core.events import PlotDrawn
from quicklook.core.wire import REQUEST, EventsAnswer, EventsRequest, HkRequest, Refusal, Request, StateRequest
from quicklook.io.revisions import of_revision
from quicklook.service.journal.journal import EVENTS, Journal, journal_path
from quicklook.service.publishing.hkvalues import HkValues
from quicklook.service.publishing.snapshot import state_of

log = logging.getLogger("quicklook.publish")

MAX_ATTACHMENT = 20_000_000
_BATCH_BYTES = 1_000_000
"""An answer ends with the event that fills so many bytes."""


def attachments_of(kind: str, payload: Mapping[str, Any], out: Path, revision: int) -> list[bytes]:
    """Files that go with an event: the PNG of a plot that was drawn, unless it is gone or huge.

    Where a later revision has taken its place it is looked for under the names of earlier ones; one with another checksum is of something else.
    """
    if kind != PlotDrawn.kind:
        return []
    plain = out / str(payload.get("path", ""))
    own = of_revision(plain, revision)
    try:
        for file in (plain, own, *(p for p in sorted(plain.parent.glob(glob.escape(plain.stem) + f".rev*{plain.suffix}")) if p != own)):
            if file.is_file() and file.stat().st_size <= MAX_ATTACHMENT:
                content = file.read_bytes()
                if hashlib.sha256(content).hexdigest() == payload.get("sha256"):
                    return [content]
    except OSError as error:
        log.warning("%s cannot be attached: %s", plain, error)
    return []


class Replay:
    """Answers requests from the journal of an output folder, and of housekeeping what `hk` says. Raises what the journal raises when it is made."""

    def __init__(self, out: Path, hk: HkValues | None = None) -> None:
        self._out, self._hk = out, hk or HkValues("", "")
        self._journal = Journal(journal_path(out), time.time_ns)

    def __call__(self, body: bytes, _user: str) -> list[bytes]:
        """The frames of the answer to a request; one that says what is wrong where it cannot be answered."""
        try:
            request = _request(body)
        except BadData as error:
            return [_refusal(0, error)]
        try:
            if isinstance(request, StateRequest):
                return [state_of(self._journal, units=request.units).model_copy(update={"id": request.id}).model_dump_json().encode()]
            if isinstance(request, HkRequest):
                return [self._hk(request).model_dump_json().encode()]
            return self._events(request)
        except (Transient, BadData, BadConfig) as error:
            return [_refusal(request.id, error)]

    def _events(self, request: EventsRequest) -> list[bytes]:
        journal = self._journal
        if request.epoch not in (None, journal.epoch):
            return [_head(EventsAnswer(id=request.id, epoch=journal.epoch, through=0, last=journal.last_seq()))]
        query = sa.select(EVENTS).where(EVENTS.c.seq > request.after, EVENTS.c.seq <= request.until).order_by(EVENTS.c.seq).limit(request.limit)
        if request.kinds:
            query = query.where(EVENTS.c.kind.in_(request.kinds))
        with journal.reading() as connection:
            last = int(connection.execute(sa.select(sa.func.max(EVENTS.c.seq))).scalar() or 0)
            events, counts, whole = self._batch(connection.execute(query), request)
        # the numbers between may be of other kinds, or of heartbeats that are kept no longer: then nothing is missing
        through = min(request.until, last) if whole else json.loads(events[-1 - counts[-1]])["seq"]
        answer = EventsAnswer(id=request.id, epoch=journal.epoch, through=max(through, request.after), last=last, attachments=counts)
        return [_head(answer), *events]

    def _batch(self, rows: Iterable[Any], request: EventsRequest) -> tuple[list[bytes], list[int], bool]:
        """Frames of events with their attachments, how many of these each has, and whether this is all that there is."""
        frames: list[bytes] = []
        counts: list[int] = []
        size = 0
        for row in rows:
            fields = {**row._mapping, "payload": json.loads(row.payload)}
            attached = attachments_of(row.kind, fields["payload"], self._out, row.revision) if request.attachments else []
            new = [json.dumps({**fields, "epoch": self._journal.epoch}, ensure_ascii=False).encode(), *attached]
            frames += new
            counts.append(len(attached))
            size += sum(map(len, new))
            if size > _BATCH_BYTES:
                return frames, counts, False
        return frames, counts, len(counts) < request.limit

    def close(self) -> None:
        """Let go of the journal."""
        self._journal.close()


def _request(body: bytes) -> Request:
    try:
        return REQUEST.validate_json(body)
    except ValidationError as error:
        raise BadData(f"this is no request: {describe(error)}", what_next='Send JSON, as in {"ask": "events", "after": 0}.') from error


def _head(answer: EventsAnswer) -> bytes:
    return answer.model_dump_json().encode()


def _refusal(number: int, error: QuicklookError) -> bytes:
    refusal = Refusal(id=number, error=type(error).__name__, message=describe(error), what_next=error.what_next)
    return refusal.model_dump_json().encode()
