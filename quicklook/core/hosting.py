"""Contract of what shows the work of a daemon to people: what it may ask of the site (`Host`), and how it is started (`WebServer`). Pure.

The command line and the daemon reach it as plugin `web` of the group `quicklook.monitors`; all that it knows it has from a `Host`, which is
made from the journal and the files of results.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from quicklook.core.alarms import AlarmNow, AlarmPast, MuteNow, ReportCard
from quicklook.core.decision import DecisionCard
from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.events import Event
from quicklook.core.housekeeping import HkChange
from quicklook.core.keys import Unit
from quicklook.core.registry import find
from quicklook.core.results import Failure, Override, QAResult, Record, UnitVerdict
from quicklook.core.status import Status
from quicklook.core.wire import CommandAnswer, State


class Role(StrEnum):
    """What somebody may do: nothing, read, or act as well."""

    NOBODY = "nobody"
    READ = "read"
    ACT = "act"


class About(Record):
    """What is shown: the instrument, its cameras, the tags under which there are results (`tag` is the live one), versions."""

    instrument: str
    site: str
    out: str
    tag: str
    tags: list[str]
    cameras: list[str]
    groups: dict[str, dict[str, str]] = Field(default_factory=dict)
    versions: dict[str, str]
    acts: str = ""


class NightCount(Record):
    """A night: how many exposures it has, and how they were judged."""

    night: str
    exposures: int
    statuses: dict[str, int]


class UnitLine(Record):
    """An exposure in one line, in its latest revision. Times are UTC, ns.

    `parts`: of each camera its status, or else the state of its work (open, running, failed). `expected`: cameras that it must have.
    """

    unit: str
    expid: int
    revision: int
    flavor: str = ""
    program: str = ""
    exptime_s: float | None = None
    file: str = ""
    tags: dict[str, str] = Field(default_factory=dict)
    seen: int
    concluded: int | None = None
    status: Status | None = None
    decision: str | None = None
    why: str = ""
    reasons: list[str] = Field(default_factory=list)
    parts: dict[str, str]
    expected: list[str]
    overridden: bool = False
    seconds_to_verdict: float | None = None


class PartLine(Record):
    """A camera of an exposure: the state of its work, its verdict with the reasons, QAs measured of expected, why it failed if it did."""

    state: str
    status: Status | None = None
    reasons: list[str] = Field(default_factory=list)
    measured: int | None = None
    expected: int | None = None
    degraded: list[str] = Field(default_factory=list)
    seconds: float | None = None
    time: int | None = None
    revision: int = 0
    failure: Failure | None = None


class PlotName(Record):
    """A plot of a camera ("": of the exposure as a whole): its name, the status of its QA, whether it is drawn as PNG."""

    part: str
    name: str
    status: Status | None = None
    drawn: bool = False


class FileRef(Record):
    """A file that the journal or the folder of an exposure names: kind (product, plots: as data, plot: PNG, merged, raw), camera, name, where.

    A raw file is there for each camera that it has.
    """

    kind: str
    part: str
    name: str
    path: str
    revision: int = 0
    seq: int = 0
    sha256: str = ""
    size: int = 0


class ExposureNow(Record):
    """All that is known of an exposure under a tag in a revision, but for its metrics. Times are UTC, ns."""

    unit: str
    night: str
    expid: int
    tag: str
    revision: int
    revisions: list[int]
    tags_with_it: list[str]
    previous: str | None = None
    next: str | None = None
    tags: dict[str, str] = Field(default_factory=dict)
    file: str = ""
    seen_time: int | None = None
    verdict: UnitVerdict | None = None
    verdict_time: int | None = None
    decision: DecisionCard | None = None
    receipt: dict[str, int] = Field(default_factory=dict)
    seconds_to_verdict: float | None = None
    overrides: list[Override] = Field(default_factory=list)
    parts: dict[str, PartLine]
    expected: list[str] = Field(default_factory=list)
    plots: list[PlotName] = Field(default_factory=list)
    products: list[FileRef] = Field(default_factory=list)


class AlarmsNow(Record):
    """Alarms that stand, mutes that stand, and incidents, the latest first."""

    now: list[AlarmNow]
    mutes: list[MuteNow]
    past: list[AlarmPast]
    past_total: int


class JobLine(Record):
    """A job: what it is about, its state, how often it was tried, why it failed."""

    unit: str
    part: str
    revision: int
    state: str
    flavor: str = ""
    builder: str = ""
    attempts: int = 0
    visited: int | None = None
    status: Status | None = None
    failure: Failure | None = None


class DiskNow(Record):
    """Room on a disk, 1e9 bytes."""

    what: str
    path: str
    free_gb: float
    total_gb: float


class CalibrationLine(Record):
    """A calibration of the index."""

    kind: str
    part: str
    path: str
    valid: str = ""
    made_from: str = ""
    quality: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HkFiles:
    """Housekeeping that is watched: its configuration, and the store of its samples."""

    config: Document
    store: Path


class Host(Protocol):
    """What a page may ask. May be called from several threads at once. What raises, raises a QuicklookError that says what to do."""

    def about(self) -> About:
        """What is shown."""

    def role(self, token: str) -> Role:
        """What somebody may do who gives this token; takes as long for a wrong one as for a right one."""

    def epoch(self) -> str:
        """The journal's; another one has been begun where it changes. Raises NotReadyYet where there is no journal yet."""

    def changed(self) -> object:
        """Something that differs from what it was before wherever events were added; quick, to be asked many times a second."""

    def last_seq(self) -> int:
        """Number of the last event; 0 where there is none."""

    def events(self, after: int, *, limit: int = 1000, kinds: Sequence[str] = (), brief: bool = False) -> list[Event]:
        """Events above a number, in order; `brief`: those of QAs without their metrics."""

    def lives(self) -> bool:
        """Whether a daemon works now."""

    def heartbeat_ns(self) -> int | None:
        """When the daemon last gave a sign of life; None where none ever did, or not lately."""

    def state(self, tag: str = "", units: int = 20) -> State:
        """The state of things when the last event was written."""

    def nights(self, tag: str = "") -> list[NightCount]:
        """Nights with exposures, the latest first."""

    def night(self, night: int, tag: str = "") -> list[UnitLine]:
        """Exposures of a night, the latest first."""

    def latest(self, tag: str = "") -> Unit | None:
        """The exposure that arrived last."""

    def exposure(self, unit: Unit, tag: str = "", revision: int | None = None) -> ExposureNow:
        """An exposure; NotReadyYet where it is not known."""

    def qas(self, unit: Unit, part: str, tag: str = "", revision: int | None = None) -> list[QAResult]:
        """Results of the QAs of a camera, or of the exposure as a whole (part "")."""

    def files(self, unit: Unit, tag: str = "", kind: str = "", part: str | None = None, revision: int | None = None) -> list[FileRef]:
        """Files of an exposure that are there, of a kind and a camera. Their paths are inside the output folder, or the raw file."""

    def alarms(self, past: int = 200) -> AlarmsNow:
        """Alarms, with so many of the last incidents."""

    def alarm_report(self, days: float) -> ReportCard:
        """The report card of the alarms that fired in the last so many days."""

    def jobs(self, states: Sequence[str], limit: int = 200) -> list[JobLine]:
        """Jobs in these states, the newest first."""

    def disks(self) -> list[DiskNow]:
        """Room on the disks that are written to and read from."""

    def housekeeping(self) -> HkFiles | None:
        """What is watched; None where nothing is."""

    def hk_states(self) -> dict[str, HkChange]:
        """How each thing of housekeeping stands, by subject, as the events have it."""

    def log_tail(self, lines: int) -> list[str]:
        """The last lines of the log of the daemon; empty where there is none."""

    def calibrations(self) -> list[CalibrationLine]:
        """The index of calibrations."""

    def command(self, name: str, args: Mapping[str, str], by: str) -> CommandAnswer:
        """Give the daemon a command in the name of a person. Raises what the daemon refuses it with; Transient where none answers."""

    def show(self, unit: Unit, part: str, product: str, tag: str = "") -> str:
        """Send a frame to the DS9 of the site; what came of it."""

    def reader(self) -> Any:
        """The reader of raw files of the instrument (quicklook.io.reader)."""

    def metrics(self) -> Any:
        """The store of metrics, open to read; raises NotReadyYet where there is none."""

    def close(self) -> None:
        """Let go of everything."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Serving:
    """Where to serve and to whom. Where the port is taken, the next ones are tried, so many (`further`).

    `names` are further names by which browsers may call this server (a proxy); `started` hears of the address.
    """

    host: str
    port: int
    further: int = 0
    names: tuple[str, ...] = ()
    started: Callable[[str], None] = lambda _address: None
    stop: Callable[[], bool] = lambda: False


class WebServer(Protocol):
    """What is registered as plugin `web` of the group `quicklook.monitors`."""

    def serve(self, host: Host, serving: Serving) -> None:
        """Serve until `stop`, or a signal. Raises Transient where the port is taken, BadConfig for an address that cannot be used."""

    def openapi(self) -> dict[str, Any]:
        """The description of its JSON API."""


def web_server() -> WebServer:
    """The one that is installed. Raises BadConfig where there is none."""
    made = find("monitor", "web").load()
    if not callable(made):
        raise BadConfig("the monitor 'web' is registered and is no class")
    server: WebServer = made()
    return server
