"""What a drill runs: a daemon of its own, a sensor whose log grows, and what became of the messages."""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import sqlalchemy as sa
import yaml

from quicklook.core.errors import BadConfig
from quicklook.core.events import Event, Heartbeat
from quicklook.service.journal.journal import Journal, journal_path

MARK = "DRILL"
SENSOR = "drill_temperature"
_START_S = 900.0
"""A daemon that compiles its kernels for the first time takes minutes."""
_HK = {
    "channels": [{"name": SENSOR, "unit": "degC", "plausible": [-200, 100]}],
    "limits": [
        {
            "name": "drill_limit", "channels": SENSOR, "unit": "degC", "survival": [-133, 35], "hysteresis": 1,
            "persistence": {"count": 3, "of": 5, "clear": 3},
            "reason": "This is a drill: the sensor is none.", "action": "Nothing; it is over in a moment.",
        }
    ],
}  # fmt: skip


class Sensor:
    """Writes a row every half second into a log, until it is closed. `value` is what the sensor reads [degC]."""

    SOUND, BAD = -120.0, 60.0

    def __init__(self, folder: Path) -> None:
        self.value = self.SOUND
        self._path, self._stop = folder / "hk" / "drill.csv", threading.Event()
        self._path.parent.mkdir(exist_ok=True)
        self._path.write_text(f"time,{SENSOR}\n", encoding="utf-8")
        self._thread = threading.Thread(target=self._write, name="drill-sensor", daemon=True)

    def __enter__(self) -> Sensor:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    def _write(self) -> None:
        while not self._stop.wait(0.5):
            with self._path.open("a", encoding="utf-8") as f:
                f.write(f"{datetime.now(UTC).isoformat()},{self.value}\n")


@contextlib.contextmanager
def drill_daemon(params: Mapping[str, Any], folder: Path) -> Iterator[Journal]:
    """A daemon with these parameters of the sink of alarms, and its journal, when it works. Raises BadConfig where it does not start."""
    alarms = {**params, "mark": MARK, "book": "", "dead_man": None, "tag": ""}
    source = {"drill": {"plugin": "text", "params": {"path": str(folder / "hk" / "*.csv"), "scan_s": 0.5}}}
    (folder / "hk.yaml").write_text(yaml.safe_dump({**_HK, "sources": source}), encoding="utf-8")
    site = {
        "instrument": "desi", "cameras": ["r0"], "raw": "raw", "calib": "calib", "out": "out", "sinks": {"files": {}, "alarms": alarms},
        "housekeeping": {"config": str(folder / "hk.yaml")}, "web": {"enabled": False},
    }  # fmt: skip
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
            await_event(journal, lambda e: e.kind == Heartbeat.kind and bool(e.payload["workers"]), _START_S)
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


def await_event(journal: Journal, wanted: Callable[[Event], bool], timeout_s: float) -> Event | None:
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A message about the fault: `kinds` is what it says of it (firing, resolved); `sent`: when it arrived, ns; None: it has not."""

    channel: str
    kinds: frozenset[str]
    sent: int | None
    error: str


def messages_of(folder: Path, *, sensor: bool, begun: int) -> list[Told]:
    """Messages of the fault of the sensor, or of the frame, that has begun then (ns)."""
    rows = _in_book(folder, "SELECT channel, sent, error, record FROM messages ORDER BY made")
    found = [Told(channel=r.channel, kinds=_kinds(json.loads(r.record)["notices"], sensor, begun), sent=r.sent, error=r.error) for r in rows]
    return [m for m in found if m.kinds]


def told_of(folder: Path, *, sensor: bool, begun: int) -> set[str]:
    """Channels that are to be told of it."""
    return {row.channel for row in _in_book(folder, "SELECT channel, record FROM notices") if _kinds([json.loads(row.record)], sensor, begun)}


def told_nobody(folder: Path, *, sensor: bool, begun: int) -> bool:
    """Whether the alarms that the fault has raised are all told by now, as far as they are to be, and no channel is named for any of them."""
    raised = [json.loads(row.record) for row in _in_book(folder, "SELECT record FROM incidents")]
    mine = [i for i in raised if i["began"] >= begun and of_fault(i, sensor=sensor)]
    waiting = any(i["told"] is None and i["ended"] is None and not (i["muted"] or i["folded_into"] or i["acknowledged_at"]) for i in mine)
    return bool(mine) and not waiting and not any(i["channels"] for i in mine)


def _kinds(notices: Sequence[Mapping[str, Any]], sensor: bool, begun: int) -> frozenset[str]:
    """Of the notices that are about the fault: not of what else is wrong, or was before."""
    return frozenset(str(n["kind"]) for n in notices if n["incident"]["began"] >= begun and of_fault(n["incident"], sensor=sensor))


def of_fault(alarm: Mapping[str, Any], *, sensor: bool) -> bool:
    """Whether an alarm is about the sensor, or about a frame."""
    return f"/{SENSOR}/" in alarm["key"] if sensor else bool(alarm["frame"])
