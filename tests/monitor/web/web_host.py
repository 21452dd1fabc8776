"""A site with a journal that a test writes, its host, and the server in a thread: what a browser sees, without a browser."""

from __future__ import annotations

import http.client
import json
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from monitor.web.server import WebServer
from quicklook.core.decision import Decision
from quicklook.core.events import Decided, Heartbeat, PartVerdict, Payload, QADone, Receipt, Seen, UnitDone, draft
from quicklook.core.hosting import Serving
from quicklook.core.keys import Unit
from quicklook.core.results import LimitUsed, MetricResult
from quicklook.core.status import Status
from quicklook.service.hosting.host import JournalHost
from quicklook.service.journal import jobs
from quicklook.service.journal.journal import Journal, journal_path
from quicklook.service.publishing.commands import token_of
from quicklook.service.site import Site, load_site

NIGHT = 20220101
BENCH = """\
name: bench
files: {patterns: ["{night:8d}_{expid:4d}.fits"]}
header:
  flavor: {keywords: FLAVOR, default: zero}
layouts:
  - amplifiers:
      A: {data: "[1:64,:]", overscan: "[65:96,:]", gain: 1.0, read_noise: 3.0}
"""


def web_site(folder: Path, cameras: tuple[str, ...] = ("b0", "r0"), **options: Any) -> Site:
    """A site whose journal a test writes."""
    (folder / "raw").mkdir(exist_ok=True)
    (folder / "bench.yaml").write_text(BENCH)
    given = {"instrument": str(folder / "bench.yaml"), "cameras": list(cameras), "raw": str(folder / "raw"), "out": str(folder / "out"), **options}
    return load_site(None, options=given)


@dataclass
class Writer:
    """Writes what a daemon would say."""

    site: Site
    journal: Journal = field(init=False)

    def __post_init__(self) -> None:
        self.journal = Journal(journal_path(self.site.out), time.time_ns)

    def say(self, payload: Payload, unit: Unit | None = None, part: str | None = None, revision: int = 0) -> int:
        return self.journal.append([draft(payload, unit=unit, part=part, tag="live", revision=revision)])[0].seq

    def beat(self, **given: Any) -> None:
        self.say(Heartbeat(**{"workers": 2, "waiting": 0, "running": 0, "done": 0, "failed": 0, **given}))

    def expose(self, expid: int, status: Status = Status.NORMAL, *, flavor: str = "science", tags: dict[str, str] | None = None, value: float = 3.1) -> Unit:
        """An exposure that arrives and is judged."""
        unit, cameras = Unit(NIGHT, expid), self.site.instrument.cameras.expected
        told = {"flavor": flavor, "exptime": "900", "program": "dark", **(tags or {})}
        now = time.time_ns()
        row = jobs.UnitRow(unit=unit, tag="live", revision=0, path=str(self.site.raw / f"{NIGHT}_{expid:04d}.fits"), expected=cameras, tags=told,
                           closed_ns=now, seen_ns=now, deadline_ns=now)  # fmt: skip
        with self.journal.transaction() as connection:
            jobs.add_unit(connection, row, cameras)
            self.journal.append([draft(Seen(file=f"{expid}.fits", size=1, parts=list(cameras), tags=told), unit=unit)], connection)
            for camera in cameras:
                limit = LimitUsed(normal=(0, 4), warning=(0, 5), reason="because", action="look")
                metric = MetricResult(name="read_noise", unit="electron", coords={"amp": ["A"]}, values=[value], status=status, statuses=[status],
                                      limits=[limit], limit_of=[0], worst=0, reason=f"read_noise is {value}")  # fmt: skip
                qa = QADone(name="read_noise", step="preproc", group="ccds", status=status, seconds=0.1, metrics=[metric])
                verdict = PartVerdict(status=status, reasons=[f"{status}: read_noise is {value}"], measured=1, expected=1, seconds=0.3)
                self.journal.append([draft(qa, unit=unit, part=camera), draft(verdict, unit=unit, part=camera)], connection)
                number = next(p for p in jobs.part_states(connection, row) if p.part == camera)
                del number
            self._conclude(connection, row, status, told)
        return unit

    def _conclude(self, connection: Any, row: jobs.UnitRow, status: Status, tags: dict[str, str]) -> None:
        unit, cameras = row.unit, row.expected
        for job in connection.execute(jobs.JOBS.select().where(jobs.JOBS.c.unit == str(unit))).all():
            jobs.set_verdict(connection, job.id, status, [f"{status}: so"])
            jobs.finish(connection, job.id)
        done = UnitDone(night=unit.night, expid=unit.expid, tag="live", revision=0, tags=tags, status=status, reasons=[f"{status}: so"],
                        parts=dict.fromkeys(cameras, status))  # fmt: skip
        card = Decided(night=unit.night, expid=unit.expid, tag="live", revision=0, status=status, decision=next(iter(Decision)), rule="r", why="so",
                       action="nothing", measured=1, expected=1, cameras=len(cameras), cameras_expected=len(cameras))  # fmt: skip
        receipt = Receipt(times={"closed": row.closed_ns or 0, "verdict": time.time_ns()}, seconds_to_verdict=0.5)
        self.journal.append([draft(p, unit=unit) for p in (done, card, receipt)], connection)
        jobs.close_unit(connection, row, time.time_ns())


@dataclass
class Answer:
    """What came back."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Served:
    """A server that runs."""

    address: str
    host: JournalHost
    token: str

    @property
    def port(self) -> int:
        return int(self.address.rstrip("/").rpartition(":")[2])

    def ask(self, method: str, path: str, body: Any = None, headers: dict[str, str] | None = None, *, name: str = "127.0.0.1") -> Answer:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        given = {"Host": f"{name}:{self.port}", **(headers or {})}
        raw = body if isinstance(body, bytes | type(None)) else json.dumps(body).encode()
        try:
            connection.putrequest(method, path, skip_host=True, skip_accept_encoding=True)
            for key, value in given.items():
                connection.putheader(key, value)
            if raw is not None and "Content-Length" not in given:
                connection.putheader("Content-Length", str(len(raw)))
            connection.endheaders(raw)
            got = connection.getresponse()
            return Answer(got.status, {k.lower(): v for k, v in got.getheaders()}, got.read())
        finally:
            connection.close()

    def get(self, path: str, **headers: str) -> Answer:
        return self.ask("GET", f"/api/v1{path}", headers=headers)

    def post(self, path: str, body: Any, *, token: str | None = None, **headers: str) -> Answer:
        given = {"Content-Type": "application/json", "Authorization": f"Bearer {self.token if token is None else token}", **headers}
        return self.ask("POST", f"/api/v1{path}", body, {k: v for k, v in given.items() if v})

    @contextmanager
    def raw(self) -> Iterator[socket.socket]:
        with socket.create_connection(("127.0.0.1", self.port), timeout=60) as connection:
            yield connection


@contextmanager
def serving(site: Site, *, address: str = "127.0.0.1", names: tuple[str, ...] = ()) -> Iterator[Served]:
    """The server of a site in a thread, until the block ends."""
    host, ready, stop = JournalHost(site), threading.Event(), threading.Event()
    where: list[str] = []
    token = token_of(site.out, site.file.commands, make=True)

    def started(given: str) -> None:
        where.append(given)
        ready.set()

    told = Serving(host=address, port=0, names=names, started=started, stop=stop.is_set)
    thread = threading.Thread(target=WebServer().serve, args=(host, told), daemon=True)
    thread.start()
    assert ready.wait(120), "the server did not start"
    try:
        yield Served(where[0], host, token)
    finally:
        stop.set()
        thread.join(60)
        host.close()
        assert not thread.is_alive()
