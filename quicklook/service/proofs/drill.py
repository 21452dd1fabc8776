"""A drill: a bad frame of the simulator goes through a daemon with the alarms of a site, up to the messages, and a sound one ends what it raised.

It is a daemon of its own in a folder of its own: rules, channels, routes and template are those of the site, nothing else is.
"""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml

from quicklook.core.errors import BadConfig
from quicklook.core.events import AlarmChanged, Event, Heartbeat, UnitDone
from quicklook.core.keys import Unit
from quicklook.service.journal.journal import Journal, journal_path

MARK = "DRILL"
_NIGHT, _SOUND_BEFORE, _BAD, _SOUND_AFTER = 20220101, 101, 102, 104
_START_S = 900.0
"""A daemon that compiles its kernels for the first time takes minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of the messages by one channel: seconds from the raw file to the first that arrived, and its end; None: none has.

    `wanted`: the rules and routes of the site tell it of such an alarm.
    """

    channel: str
    alarm_s: float | None
    end_s: float | None
    error: str = ""
    wanted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Drilled:
    """Seconds from the last byte of the bad frame to each stage, in order; the status that it got; what was sent by each channel."""

    stages: Mapping[str, float]
    status: str
    alarm: str
    sent: tuple[Sent, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether the bad frame was seen as such, and every channel that is told of such alarms, of which there is one, has had it and its end."""
        wanted = [s for s in self.sent if s.wanted]
        return self.status == "ALARM" and bool(wanted) and all(s.alarm_s is not None and s.end_s is not None for s in wanted)


def drill(params: Mapping[str, Any], folder: Path, *, timeout_s: float = 120.0) -> Drilled:
    """Run one with the parameters of the sink of alarms of a site, in an empty folder.

    Raises BadConfig where the site has no channels, Transient where the daemon does not start.
    """
    if not params.get("channels"):
        raise BadConfig("the site has no channels of alarms", what_next="Name them under `sinks: {alarms: {channels: ...}}`.")
    from quicklook.sim import parse_fault, plan_exposure, sim_instruments, write_calibrations, write_exposure

    cameras = sim_instruments(("r0",), scale="small", seed=8)
    write_calibrations(folder, cameras)
    (folder / "raw").mkdir(exist_ok=True)
    with _daemon(params, folder) as journal:
        write_exposure(folder, plan_exposure("science", _SOUND_BEFORE), cameras)
        _await(journal, _judged(_SOUND_BEFORE), timeout_s)
        write_exposure(folder, plan_exposure("science", _BAD, faults=(parse_fault("dead_amp"),)), cameras)
        begun = time.time_ns()
        verdict = _await(journal, _judged(_BAD), timeout_s)
        alarm = _await(journal, _firing, timeout_s)
        _await_messages(folder, "firing", 40.0)
        write_exposure(folder, plan_exposure("science", _SOUND_AFTER), cameras)
        ended = time.time_ns()
        _await(journal, _judged(_SOUND_AFTER), timeout_s)
        _await_messages(folder, "resolved", 40.0)
        return _result(folder, journal, begun, ended, verdict, alarm, sorted(params["channels"]))


@contextlib.contextmanager
def _daemon(params: Mapping[str, Any], folder: Path) -> Iterator[Journal]:
    alarms = {**params, "mark": MARK, "book": "", "dead_man": None, "tag": ""}
    site = {"instrument": "desi", "cameras": ["r0"], "raw": "raw", "calib": "calib", "out": "out", "sinks": {"files": {}, "alarms": alarms}}
    (folder / "site.yaml").write_text(yaml.safe_dump(site), encoding="utf-8")
    (folder / "site.yaml").chmod(0o600)  # addresses may hold passwords
    with (folder / "daemon.log").open("wb") as log:
        command = [sys.executable, "-m", "quicklook", "watch", "--site", str(folder / "site.yaml")]
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        path, end = journal_path(folder / "out"), time.monotonic() + _START_S
        while not path.is_file() and process.poll() is None and time.monotonic() < end:
            time.sleep(0.1)
        if process.poll() is not None:
            said = (folder / "daemon.log").read_text(encoding="utf-8", errors="replace").strip().splitlines()[-3:]
            raise BadConfig(f"the daemon of the drill did not start: {' '.join(said)}")
        journal = Journal(path, time.time_ns)
        try:
            _await(journal, lambda e: e.kind == Heartbeat.kind and bool(e.payload["workers"]), _START_S)
            yield journal
        finally:
            journal.close()
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _judged(expid: int) -> Any:
    unit = str(Unit(_NIGHT, expid))
    return lambda event: event.kind == UnitDone.kind and event.unit == unit


def _firing(event: Event) -> bool:
    return event.kind == AlarmChanged.kind and event.payload["alarm"]["state"] == "firing"


def _await(journal: Journal, wanted: Any, timeout_s: float) -> Event | None:
    """The first event of that kind; None where none comes in time."""
    after, end = 0, time.monotonic() + timeout_s
    while time.monotonic() < end:
        for event in journal.events(after):
            after = event.seq
            if wanted(event):
                return event
        time.sleep(0.05)
    return None


def _in_book(folder: Path, query: str) -> list[Any]:
    """Rows of the book of alarms. Empty while there is no book."""
    path = folder / "out" / "alarms.sqlite"
    if not path.is_file():
        return []
    engine = sa.create_engine(f"sqlite:///file:{path}?mode=ro&uri=true")
    try:
        with engine.connect() as connection:
            return list(connection.execute(sa.text(query)))
    except sa.exc.OperationalError:
        return []
    finally:
        engine.dispose()


def _messages(folder: Path) -> list[Any]:
    """Messages: channel, when sent (ns, None: not), error, statuses."""
    return _in_book(folder, "SELECT channel, sent, error, record FROM messages ORDER BY made")


def _told(folder: Path) -> set[str]:
    """Channels that are to be told of anything."""
    return {row.channel for row in _in_book(folder, "SELECT DISTINCT channel FROM notices")}


def _await_messages(folder: Path, kind: str, timeout_s: float) -> None:
    """Until every channel that is told of anything has had a message of that kind."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        had = {m.channel for m in _messages(folder) if m.sent and f'"kind":"{kind}"' in m.record}
        if had and had >= _told(folder):
            return
        time.sleep(0.2)


def _result(folder: Path, journal: Journal, begun: int, ended: int, verdict: Event | None, alarm: Event | None, channels: list[str]) -> Drilled:
    unit = str(Unit(_NIGHT, _BAD))
    stages: dict[str, float] = {}
    for event in journal.events(0, limit=100_000, kinds=("seen", "verdict", "unit_verdict")):
        if event.unit == unit:
            stages.setdefault(event.kind, (event.time - begun) / 1e9)
    if alarm is not None:
        stages["alarm"] = (alarm.time - begun) / 1e9
    messages, told = _messages(folder), _told(folder)
    return Drilled(
        stages=stages,
        status=str(verdict.payload["status"]) if verdict is not None else "none",
        alarm=str(alarm.payload["alarm"]["what"]) if alarm is not None else "",
        sent=tuple(_sent(name, messages, begun, ended, name in told) for name in channels),
    )


def _sent(name: str, messages: list[Any], begun: int, ended: int, wanted: bool) -> Sent:
    mine = [m for m in messages if m.channel == name]
    first = min((m.sent for m in mine if m.sent and '"kind":"firing"' in m.record), default=None)
    last = min((m.sent for m in mine if m.sent and '"kind":"resolved"' in m.record), default=None)
    return Sent(
        channel=name,
        alarm_s=None if first is None else (first - begun) / 1e9,
        end_s=None if last is None else (last - ended) / 1e9,
        error=next((m.error for m in reversed(mine) if m.error), "") if wanted else "rules and routes of the site do not tell it of such an alarm",
        wanted=wanted,
    )
