"""JSON lines over ZeroMQ."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from monitor.hk.sources.records import Inbox, batches_of
from monitor.hk.sources.rows import Cells, FaultCount
from quicklook.core.errors import BadConfig, Transient
from quicklook.core.housekeeping import HkSource, SourceContext, Taken
from quicklook.core.params import Params

_MESSAGES = 5000
"""Messages of one look."""
_MOST_VALUES = 200_000


class ZmqParams(Params):
    """Parameters of `zmq`."""

    address: str = Field("", description="Where to connect to, as tcp://host:port or ipc:///path; several with spaces between")
    bind: bool = Field(False, description="Bind there and wait for publishers, in place of connecting to one")
    topics: tuple[str, ...] = Field(("",), description="Topics that are taken, by their beginning; an empty one is all")
    zone: str = Field("UTC", description="Time zone of times that say none")
    max_kb: int = Field(1024, ge=1, le=65536, description="Longest message [kB]; who sends a longer one is cut off")


class ZmqSource(HkSource[ZmqParams]):
    """Subscribes to JSON lines: the last part of a message is one or more objects, one a line, with `time` and values (see `records`)."""

    name = "zmq"

    def open(self, context: SourceContext) -> None:
        """Raises BadConfig: no address, or one that cannot be used."""
        if not self.params.address.split():
            raise BadConfig(f"source {context.source}: `address` is empty; write such as tcp://hkserver:5560")
        self._context, self._cells = context, Cells(context)
        self._inbox = Inbox(_MOST_VALUES, self.params.zone)
        self._socket = self._connected()

    def _connected(self) -> Any:
        import zmq

        socket: Any = zmq.Context.instance().socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RCVHWM, 10_000)
        socket.setsockopt(zmq.MAXMSGSIZE, self.params.max_kb << 10)
        for topic in self.params.topics:
            socket.setsockopt(zmq.SUBSCRIBE, topic.encode())
        for address in self.params.address.split():
            try:
                (socket.bind if self.params.bind else socket.connect)(address)
            except zmq.ZMQError as error:
                socket.close()
                raise BadConfig(f"source {self._context.source}: {address} cannot be used: {error}") from error
        return socket

    def poll(self, now: float) -> Taken:
        """What came since the last look, 5000 messages at most. Raises Transient where the socket fails."""
        import zmq

        faults, messages = FaultCount(self._context.source, now), 0
        while messages < _MESSAGES and not self._inbox.full:
            try:
                parts = self._socket.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                break
            except zmq.ZMQError as error:
                raise Transient(f"{self.params.address}: {error}") from error
            messages += 1
            self._inbox.put(parts[-1], self.params.address, now)
        more = messages >= _MESSAGES or self._inbox.full
        records = self._inbox.empty(faults)
        batches = batches_of(records, self._cells, self.params.address, faults)
        return Taken(batches=tuple(batches), faults=faults.faults, more=more)

    def close(self) -> None:
        """Close the socket."""
        if hasattr(self, "_socket"):
            self._socket.close()
