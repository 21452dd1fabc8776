"""How long a connection is waited for: who sends half a request, or does not read what was asked for, is cut off. uvicorn would wait for ever."""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

REQUEST_S = 10.0
"""A request is there, to its last byte, within this time."""
READING_S = 20.0
"""Who takes nothing of an answer for so long has gone."""
_LOOK_S = 2.0


class PatientProtocol(H11Protocol):
    """A connection that is looked at every two seconds."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._free_since = self._paused_since = self.loop.time()
        self._look: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is there: from now on it is watched."""
        super().connection_made(transport)
        self._free_since = self.loop.time()
        self._look = self.loop.call_later(_LOOK_S, self._watch)

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone."""
        if self._look is not None:
            self._look.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """The next request is waited for."""
        self._free_since = self.loop.time()
        super().on_response_complete()

    def pause_writing(self) -> None:
        """The client does not read as fast as it is sent to."""
        self._paused_since = self.loop.time()
        super().pause_writing()

    def _watch(self) -> None:
        now, cycle = self.loop.time(), self.cycle
        receiving = cycle is None or cycle.response_complete or (cycle.more_body and not cycle.response_started)
        late = receiving and now - self._free_since > REQUEST_S
        if late or (self.flow.write_paused and now - self._paused_since > READING_S):
            self.transport.abort()
            return
        self._look = self.loop.call_later(_LOOK_S, self._watch)
