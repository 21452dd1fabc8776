"""ZeroMQ: the sink that publishes every event of the journal on a PUB socket, and beside it answers who has missed some.

A message is [topic, event as JSON, attachment ...]; the attachment of a ``plot`` event is its PNG.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Sequence
from pathlib import Path

import zmq
from pydantic import Field

from quicklook.core.events import Draft, Event
from quicklook.core.params import Params
from quicklook.core.sink import Sink, SinkContext
from quicklook.core.wire import replay_endpoint
from quicklook.io.curvekeys import CLIENTS, COMMANDERS
from quicklook.service.publishing.doors import Desk, Door, check_endpoint
from quicklook.service.publishing.hkvalues import HkValues
from quicklook.service.publishing.replay import Replay, attachments_of

log = logging.getLogger("quicklook.publish")

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5556"


class ZmqParams(Params):
    """Parameters of the ZeroMQ publisher."""

    endpoint: str = Field(DEFAULT_ENDPOINT, description="where to bind; off the loopback only with keys")
    replay: str = Field("auto", description="where to ask for what was missed; auto: the next port, or the file with .replay; empty: nowhere")
    keys: str = Field("", description="folder of keys, from `quicklook keys new`: all is encrypted, and only clients with a key are let in")
    high_water_mark: int = Field(2000, ge=1, description="messages kept for a subscriber that is slow; beyond, it asks the replay socket")
    settle_s: float = Field(0.2, ge=0, description="pause after binding, so that subscribers that wait are connected before the first message")

    @property
    def replay_at(self) -> str:
        """The address of the replay socket, "" for none."""
        return replay_endpoint(self.endpoint) if self.replay == "auto" else self.replay


class ZmqSink(Sink[ZmqParams]):
    """Publishes every event over ZeroMQ, numbered, with PNG attachments, and answers who has missed some."""

    name = "zmq"

    def check(self) -> None:
        """Refuse an address off the loopback without keys, one that is none, and keys that cannot be used."""
        for endpoint in filter(None, (self.params.endpoint, self.params.replay_at)):
            check_endpoint(endpoint, self.params.keys)

    def open(self, context: SinkContext) -> None:
        """Bind. Raises BadConfig as `check` does, Transient where an address is in use."""
        self.check()
        self._out, self._hk = Path(context.out), HkValues(context.hk_config, context.hk_store)
        self._before: dict[str, int] = {}
        self._since = 0
        self._desk: Desk | None = None
        self._replay: Replay | None = None
        self._door = Door(self.params.keys, (CLIENTS, COMMANDERS))
        try:
            self._socket = self._door.socket(zmq.PUB, self.params.endpoint, high_water_mark=self.params.high_water_mark)
        except Exception:
            self._door.close()
            raise
        try:
            self._open_desk()
        except Exception:
            self.close()
            raise
        # a PUB socket drops what is sent before a subscriber's connection is made
        time.sleep(self.params.settle_s)

    def _open_desk(self) -> None:
        if self.params.replay_at:
            self._replay = Replay(self._out, self._hk)
            self._desk = Desk(self._door, self.params.replay_at, "zmq-replay", self._replay)

    @property
    def endpoints(self) -> tuple[str, str]:
        """Where it is bound, and where the replay socket is ("" for nowhere): with the ports that were chosen."""
        return self._socket.getsockopt_string(zmq.LAST_ENDPOINT), self._desk.endpoint if self._desk else ""

    def accept(self, event: Event) -> Sequence[Draft]:
        """Send one event; never waits for a subscriber."""
        self._since = self._since or event.seq
        # one text, for the event is written once already
        told = f'{event.model_dump_json()[:-1]},"since":{self._since},"before":{json.dumps(self._before)}}}'
        self._socket.send_multipart([event.topic.encode(), told.encode(), *attachments_of(event.kind, event.payload, self._out, event.revision)])
        self._before[event.kind] = event.seq
        return []

    def close(self) -> None:
        """Send what is queued and close."""
        if self._desk is not None:
            self._desk.close()
        if self._replay is not None:
            self._replay.close()
        self._socket.close()
        self._door.close()
