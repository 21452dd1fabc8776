"""ZeroMQ: the sink that publishes every event of the journal on a PUB socket.

A message is [topic, event as JSON, attachment ...]; the attachment of a ``plot`` event is its PNG.
"""

from __future__ import annotations

import ipaddress
import logging
import time
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urlsplit

import zmq
from pydantic import Field

from quicklook.core.errors import BadConfig, Transient
from quicklook.core.events import Draft, Event, PlotDrawn
from quicklook.core.params import Params
from quicklook.core.sink import Sink, SinkContext

log = logging.getLogger("quicklook.publish")

DEFAULT_ENDPOINT = "tcp://127.0.0.1:5556"
MAX_ATTACHMENT = 20_000_000


class ZmqParams(Params):
    """Parameters of the ZeroMQ publisher."""

    endpoint: str = Field(DEFAULT_ENDPOINT, description="where to bind; the loopback only, until keys are configured")
    high_water_mark: int = Field(10_000, ge=1, description="messages kept for a subscriber that is slow; older ones are lost to it")
    settle_s: float = Field(0.2, ge=0, description="pause after binding, so that subscribers that wait are connected before the first message")


def is_local(endpoint: str) -> bool:
    """Whether an endpoint can be reached from this machine alone."""
    parts = urlsplit(endpoint)
    if parts.scheme in ("ipc", "inproc"):
        return True
    host = parts.hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class ZmqSink(Sink[ZmqParams]):
    """Publishes every event over ZeroMQ, numbered, with PNG attachments."""

    name = "zmq"

    def check(self) -> None:
        """Refuse an address off the loopback, and one that is none."""
        endpoint = self.params.endpoint
        parts = urlsplit(endpoint)
        if parts.scheme not in ("tcp", "ipc", "inproc") or not (parts.netloc or parts.path):
            raise BadConfig(f"{endpoint!r} is no address; write tcp://127.0.0.1:PORT or ipc://FILE")
        if not is_local(endpoint):
            raise BadConfig(f"{endpoint} can be reached from other machines, and messages are not encrypted yet; bind to 127.0.0.1 or ipc://")
        port = parts.netloc.rpartition(":")[2]
        if parts.scheme == "tcp" and port != "*" and not (port.isdecimal() and int(port) < 65536):
            raise BadConfig(f"{endpoint!r} has no port; write tcp://127.0.0.1:PORT")

    def open(self, context: SinkContext) -> None:
        """Bind. Raises BadConfig for an address off the loopback or one that is malformed, Transient where it is in use."""
        self.check()
        endpoint = self.params.endpoint
        self._out = Path(context.out)
        self._socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUB)
        self._socket.setsockopt(zmq.SNDHWM, self.params.high_water_mark)
        self._socket.setsockopt(zmq.LINGER, 1000)
        try:
            self._socket.bind(endpoint)
        except zmq.ZMQError as error:
            self._socket.close()
            if error.errno == zmq.EADDRINUSE:
                raise Transient(f"{endpoint} is in use; stop the other program or set sinks.zmq.endpoint") from error
            raise BadConfig(f"cannot publish on {endpoint}: {error}") from error
        # a PUB socket drops what is sent before a subscriber's connection is made
        time.sleep(self.params.settle_s)

    def accept(self, event: Event) -> Sequence[Draft]:
        """Send one event; never waits for a subscriber."""
        frames = [event.topic.encode(), event.model_dump_json().encode()]
        if event.kind == PlotDrawn.kind:
            frames += self._attachment(str(event.payload.get("path", "")))
        self._socket.send_multipart(frames)
        return []

    def _attachment(self, path: str) -> list[bytes]:
        file = self._out / path
        try:
            return [file.read_bytes()] if file.stat().st_size <= MAX_ATTACHMENT else []
        except OSError as error:
            log.warning("%s cannot be attached: %s", path, error)
            return []

    def close(self) -> None:
        """Send what is queued and close."""
        self._socket.close()
