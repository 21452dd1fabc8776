"""Events to pages as they come (server-sent events): read from the journal once, encoded once, and handed to every page that listens.

A page that does not keep up loses its place, is told to fetch all anew (`reset`), and costs nobody else anything.
"""

from __future__ import annotations

import asyncio
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field

from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from monitor.web.calls import refusal
from quicklook.core.errors import BadConfig, QuicklookError, describe
from quicklook.core.events import Event
from quicklook.core.hosting import Host

log = logging.getLogger("quicklook.web")

_FIRST_LOOK_S = 3.0
LOOK_S = 0.05
"""So often it is looked whether there are new events, while somebody listens."""
_ASLEEP_S = 0.5
BEAT_S = 5.0
_PAGE = 500
_MOST_CAUGHT_UP = 2000
"""Who has missed more than so many events fetches all anew."""
_QUEUE = 500
_MOST_LISTENERS = 200
_AGAIN_S = 2.0


@dataclass(frozen=True, slots=True)
class _Piece:
    seq: int
    kind: str
    text: bytes


@dataclass(eq=False, slots=True)
class _Listener:
    """One page: events that it has not taken yet; None among them: it was too slow."""

    kinds: frozenset[str]
    queue: asyncio.Queue[Sequence[_Piece] | None] = field(default_factory=lambda: asyncio.Queue(_QUEUE))
    lost: bool = False

    def put(self, pieces: Sequence[_Piece]) -> None:
        """Further events for it."""
        wanted = [p for p in pieces if p.kind in self.kinds] if self.kinds else pieces
        if not wanted or self.lost:
            return
        try:
            self.queue.put_nowait(wanted)
        except asyncio.QueueFull:
            self.lose()

    def lose(self) -> None:
        """It is to begin anew."""
        self.lost = True
        while not self.queue.empty():
            self.queue.get_nowait()
        self.queue.put_nowait(None)


class Stream:
    """Follows the journal in a thread of its own. `start` in the event loop, `stop` at the end."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._listeners: set[_Listener] = set()
        self._stop, self._wake = threading.Event(), threading.Event()
        self._epoch, self._position = "", 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._ended, self._looked = asyncio.Event(), asyncio.Event()
        self._thread = threading.Thread(target=self._run, name="events", daemon=True)

    def start(self) -> None:
        """Begin to follow."""
        self._loop = asyncio.get_running_loop()
        self._thread.start()

    def stop(self) -> None:
        """Send everybody away."""
        self._stop.set()
        self._wake.set()
        self._ended.set()
        for listener in list(self._listeners):
            listener.lose()

    # ---- in the thread

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._follow()
            except QuicklookError as error:
                log.debug("events cannot be followed now: %s", error)
            except Exception as error:
                log.exception("events cannot be followed: %s", describe(error))
            self._in_loop(self._looked.set)
            self._stop.wait(_AGAIN_S)

    def _follow(self) -> None:
        """Until the journal is another one, or something fails."""
        epoch, last = self._host.epoch(), self._host.last_seq()
        if epoch != self._epoch or last < self._position:
            self._epoch, self._position = epoch, last
            self._in_loop(self._lose_all)
        self._in_loop(self._looked.set)
        before: object = None
        while not self._stop.is_set():
            now = self._host.changed()
            if now != before:
                before = now
                if self._host.epoch() != epoch:
                    return
                self._take()
            if self._listeners:
                self._stop.wait(LOOK_S)
            else:
                self._wake.wait(_ASLEEP_S)
                self._wake.clear()

    def _take(self) -> None:
        while events := self._host.events(self._position, limit=_PAGE, brief=True):
            pieces = [piece_of(e) for e in events]
            self._in_loop(self._hand_out, pieces)
            self._position = pieces[-1].seq

    def _in_loop(self, function: object, *args: object) -> None:
        if self._loop is not None and not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *args)  # type: ignore[arg-type]

    # ---- in the loop

    def _hand_out(self, pieces: Sequence[_Piece]) -> None:
        for listener in self._listeners:
            listener.put(pieces)

    def _lose_all(self) -> None:
        for listener in list(self._listeners):
            listener.lose()

    async def __call__(self, request: Request) -> Response:
        """The stream of a page."""
        try:
            after, kinds, epoch = _asked(request)
        except QuicklookError as error:
            return refusal(error)
        if len(self._listeners) >= _MOST_LISTENERS:
            return Response("too many pages listen\n", 503, headers={"retry-after": "10"}, media_type="text/plain")
        headers = {"cache-control": "no-cache, no-transform", "x-accel-buffering": "no"}
        return StreamingResponse(self._pieces(after, kinds, epoch), media_type="text/event-stream", headers=headers)

    async def _pieces(self, after: int | None, kinds: frozenset[str], epoch: str) -> AsyncIterator[bytes]:
        with suppress(TimeoutError):  # who listens before the first look at the journal would be sent back by it
            await asyncio.wait_for(self._looked.wait(), _FIRST_LOOK_S)
        listener = _Listener(kinds)
        self._listeners.add(listener)
        self._wake.set()
        try:
            yield b"retry: 1000\n\n" + await self._beat("hello")
            done = self._position
            if after is not None:
                missed = await run_in_threadpool(self._missed, after, kinds, epoch)
                if missed is None:
                    yield _reset("more was missed than is sent again")
                    return
                if missed:
                    yield b"".join(p.text for p in missed)
                done = missed[-1].seq if missed else after
            async for text in self._follow_on(listener, done):
                yield text
        finally:
            self._listeners.discard(listener)

    async def _follow_on(self, listener: _Listener, done: int) -> AsyncIterator[bytes]:
        while not self._ended.is_set():
            try:
                pieces = await asyncio.wait_for(listener.queue.get(), BEAT_S)
            except TimeoutError:
                yield await self._beat("beat")
                continue
            if pieces is None:
                yield _reset("another journal, or too slow")
                return
            if text := b"".join(p.text for p in pieces if p.seq > done):
                yield text

    async def _beat(self, name: str) -> bytes:
        said = {"server_time": time.time_ns(), "epoch": self._epoch, "last": self._position}
        return f"event: {name}\ndata: {json.dumps(said)}\n\n".encode()

    def _missed(self, after: int, kinds: frozenset[str], epoch: str) -> list[_Piece] | None:
        """Events above a number; None where they are too many, or where that is a number of another journal."""
        try:
            if after > self._host.last_seq() or epoch not in ("", self._host.epoch()):
                return None
            found = self._host.events(after, limit=_MOST_CAUGHT_UP + 1, kinds=sorted(kinds), brief=True)
        except QuicklookError:
            return None
        return [piece_of(e) for e in found] if len(found) <= _MOST_CAUGHT_UP else None


def piece_of(event: Event) -> _Piece:
    """An event as it is sent."""
    return _Piece(event.seq, event.kind, b"id: %d\ndata: %s\n\n" % (event.seq, event.model_dump_json().encode()))


def _reset(reason: str) -> bytes:
    return f"event: reset\ndata: {json.dumps({'reason': reason})}\n\n".encode()


def _asked(request: Request) -> tuple[int | None, frozenset[str], str]:
    given = request.headers.get("last-event-id") or request.query_params.get("after")
    if given is not None and not (given.isdecimal() and len(given) < 19):
        raise BadConfig(f"{given[:40]!r} is no number of an event", what_next="Leave it out: then what comes from now on is sent.")
    kinds = frozenset(k for k in request.query_params.get("kinds", "").split(",") if k)
    return (None if given is None else int(given)), kinds, request.query_params.get("epoch", "")
