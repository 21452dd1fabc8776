"""What goes over the wire beside events: requests for what was missed, the state of a daemon, commands and their answers.

All of it is JSON; `docs/reference/wire-protocol.md` is the page for those who write a client without this library.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, TypeAdapter

from quicklook.core.errors import BadConfig
from quicklook.core.events import Event, Heartbeat, SessionNow
from quicklook.core.housekeeping_watch import HkRow
from quicklook.core.results import Record
from quicklook.core.status import Status

MAX_SEQ = 2**63 - 1
MAX_REQUEST = 65_536
"""Bytes of a request; a longer one is not read."""
MAX_BATCH = 1000
"""Events in one answer at most; it also ends at about a megabyte."""
NO_COMMANDS = "this daemon takes no commands"


class Published(Event):
    """An event as it is published. `before`: the number of the last event of each kind before it, complete from number `since` on.

    A listener knows by it whether it has missed anything of the kinds that it wants, though it does not receive the others.
    """

    since: int | None = Field(None, ge=1)
    before: dict[str, int] | None = None

    def event(self) -> Event:
        """The event itself, as it is in the journal."""
        return Event.model_construct(**{name: getattr(self, name) for name in Event.model_fields})


class EventsRequest(Record):
    """Ask for events with numbers above `after`, up to `until`, of these `kinds` (none: all), at most `limit` in one answer."""

    ask: Literal["events"] = "events"
    id: int = 0
    epoch: str | None = None
    after: int = Field(0, ge=0, le=MAX_SEQ)
    until: int = Field(MAX_SEQ, ge=0, le=MAX_SEQ)
    kinds: list[Annotated[str, Field(max_length=64)]] = Field(default_factory=list, max_length=100)
    limit: int = Field(MAX_BATCH, ge=1, le=MAX_BATCH)
    attachments: bool = False


class StateRequest(Record):
    """Ask for the state of things now: the latest `units`, what runs, what waits, and the number of the last event."""

    ask: Literal["state"] = "state"
    id: int = 0
    units: int = Field(20, ge=0, le=200)


class HkRequest(Record):
    """Ask for housekeeping as it stands now: the `most` worst of all that is watched."""

    ask: Literal["hk"] = "hk"
    id: int = 0
    most: int = Field(2000, ge=1, le=5000)


Request = EventsRequest | StateRequest | HkRequest
REQUEST: TypeAdapter[Request] = TypeAdapter(Annotated[Request, Field(discriminator="ask")])


class EventsAnswer(Record):
    """Head of an answer: of everything up to number `through`, what was asked for and is still kept is here; `last` is the last number there is.

    One frame follows for each event, and after it as many as `attachments` says for it. Where the journal has another epoch than was asked for,
    `epoch` says which, and nothing follows.
    """

    id: int = 0
    epoch: str
    through: int
    last: int
    attachments: list[int] = Field(default_factory=list)


class Refusal(Record):
    """A request or a command that was not done, why, and what to do."""

    id: int = 0
    error: str
    message: str
    what_next: str = ""


class PartNow(Record):
    """A part of a unit: the state of its job (open, running, done, failed), and its verdict if it has one."""

    state: str
    status: Status | None = None


class UnitNow(Record):
    """The latest revision of a unit: its verdict and the decision after it, if it has them. Times are UTC, ns."""

    unit: str
    revision: int
    flavor: str = ""
    status: Status | None = None
    decision: str | None = None
    reasons: list[str] = Field(default_factory=list)
    parts: dict[str, PartNow] = Field(default_factory=dict)
    expected: list[str] = Field(default_factory=list)
    seen: int
    concluded: int | None = None


class State(Record):
    """The state of a daemon when event `seq` was the last. `units`: the latest first. `running`: unit/part.

    `progress` (0 to 1) is over the cameras of the latest night, None without any; `remaining_s` is None where nothing is known of how long one takes.
    `refused`: files that were not taken lately, path and reason, the last first (20 at most).
    """

    id: int = 0
    epoch: str
    seq: int
    time: int
    tag: str
    night: str = ""
    exposures: int = 0
    concluded: int = 0
    statuses: dict[str, int] = Field(default_factory=dict)
    expected: list[str] = Field(default_factory=list)
    queue: dict[str, int] = Field(default_factory=dict)
    running: list[str] = Field(default_factory=list)
    progress: float | None = None
    remaining_s: float | None = None
    units: list[UnitNow] = Field(default_factory=list)
    heartbeat: Heartbeat | None = None
    heartbeat_time: int | None = None
    session: SessionNow | None = None
    refused: list[str] = Field(default_factory=list)


class HkNow(Record):
    """Housekeeping as it was at `time` (UTC, ns): a row for each channel and each source that is silent, the worst first; so many are `left_out`.

    Ages are those at that time. `note` says what it was read from.
    """

    id: int = 0
    time: int
    note: str
    rows: list[HkRow] = Field(default_factory=list)
    left_out: int = 0


class CommandRequest(Record):
    """A command: its name, what it is about, who gives it, and the token where the socket has no keys."""

    command: str = Field(max_length=64)
    args: dict[str, str] = Field(default_factory=dict, max_length=20)
    by: str = Field("", max_length=200)
    token: str = Field("", max_length=1000)
    id: int = 0


class CommandAnswer(Record):
    """What came of a command that was done."""

    id: int = 0
    command: str
    said: str
    result: dict[str, Any] = Field(default_factory=dict)


def replay_endpoint(endpoint: str) -> str:
    """Where the replay socket is if nothing else is said: the next port, or the same file with ``.replay``. Raises BadConfig where there is none."""
    parts = urlsplit(endpoint)
    if parts.scheme != "tcp":
        return f"{endpoint}.replay"
    head, _, port = endpoint.rpartition(":")
    if port == "*":
        return endpoint
    if not port.isdecimal() or int(port) > 65534:
        raise BadConfig(f"{endpoint}: there is no port after it for the replay socket; name one", what_next="Say where replay is.")
    return f"{head}:{int(port) + 1}"
