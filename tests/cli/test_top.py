"""`quicklook top`: it fits the terminal, says in words what it shows in colours, knows when it is stale, and a hostile name does nothing to it."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from click.testing import Result
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console
from typer.testing import CliRunner

from quicklook.cli.main import app
from quicklook.cli.top import Source, _split
from quicklook.cli.topmodel import Now
from quicklook.cli.topview import plain, view
from quicklook.core.alarms import AlarmNow
from quicklook.core.errors import BadConfig
from quicklook.core.events import AlarmChanged, Decided, Draft, Event, Heartbeat, HkChanged, MutesChanged, PartVerdict, Payload, Receipt, draft
from quicklook.core.housekeeping import HkChange, HkState
from quicklook.core.keys import Unit
from quicklook.core.severity import Severity
from quicklook.core.sink import SinkContext
from quicklook.core.status import Status
from quicklook.core.wire import PartNow, State, UnitNow
from quicklook.service.journal.journal import Journal, journal_path
from quicklook.service.publishing.publish import ZmqParams, ZmqSink
from quicklook.service.publishing.sinks import SinkThread

S = 1_000_000_000
NOW = 1_763_700_000 * S
CLOCK_S = 5000.0
UNIT = Unit(20251120, 107)
CAMERAS = [f"{arm}{n}" for n in range(10) for arm in "brz"]
NASTY = ("\x1b[2J\x1b]0;x\x07", "a\nb\rc", "[bold red]x[/]", "\u202egnp.exe", "\ud800", "x" * 5000, "", "漢字" * 60, "\x9b31m")
BEAT = Heartbeat(
    workers=2, waiting=3, running=1, done=9, failed=1, sinks={"files": 0, "alarms": 0, "influxdb": 300}, latency_s={"median": 11.2, "p95": 14.9, "n": 20.0},
    memory_mb={"daemon": 90.0}, disk_free_gb=812.0,
)  # fmt: skip


def state(units: list[UnitNow], **given: object) -> State:
    told = {"epoch": "e", "seq": 1, "time": NOW, "tag": "live", "night": "20251120", "units": units, "heartbeat": BEAT, "heartbeat_time": NOW - 2 * S}
    queue = {"open": 3, "running": 1, "done": 9, "failed": 1}
    return State.model_validate({**told, "queue": queue, "running": [f"{UNIT}/b9"], "expected": [f"{UNIT}/z9"], "remaining_s": 12.0, **given})


def unit(number: int = 107, *, cameras: list[str] = CAMERAS, word: str = "science", status: Status | None = Status.ALARM) -> UnitNow:
    each = (Status.NORMAL, Status.NORMAL, Status.WARNING, Status.UNKNOWN, Status.ALARM)
    parts = {c: PartNow(state="done", status=each[i % 5]) for i, c in enumerate(cameras[:-4])}
    parts |= {c: PartNow(state=s) for c, s in zip(cameras[-4:-1], ("open", "running", "failed"), strict=True)}
    reasons = [f"ALARM: b4: {word} is high", "WARNING: z5: x", "y"]
    return UnitNow(unit=f"20251120/{number:08d}", revision=0, flavor=word, status=status, decision="call", reasons=reasons, parts=parts, expected=cameras, seen=NOW - 60 * S)


def alarm(name: str, severity: Severity = Severity.ALARM, word: str = "it is warm", state: str = "firing") -> Payload:
    now = AlarmNow(key=name, fingerprint=name, rule="r", state=state, severity=severity, worst=severity, frame=False, what=word, began=NOW - 120 * S)
    return AlarmChanged(name=name, alarm=now)


def channel(name: str, state: HkState = HkState.VIOLATING) -> Payload:
    change = HkChange(
        subject=f"{name}/range", channel=name, limit="range", kind="absolute", state=state, before=HkState.NORMAL, severity=Severity.ALARM,
        time=NOW / 1e9, since=NOW / 1e9, value=-90.0, unit="degC",
    )  # fmt: skip
    return HkChanged(changes=[change])


def card(action: str = "ring the bell") -> Payload:
    return Decided(
        night=20251120, expid=107, tag="live", revision=0, status=Status.ALARM, decision="call", rule="x", why="detectors are not as they should be", action=action,
        measured=1, expected=2, cameras=1, cameras_expected=2,
    )  # fmt: skip


def take(now: Now, *payloads: Payload, part: str | None = None, epoch: str = "e") -> None:
    for payload in payloads:
        about = draft(payload, unit=UNIT if payload.kind in ("verdict", "decision", "receipt") else None, part=part)
        now.take(Event(**about.model_dump(), epoch=epoch, seq=1, time=NOW))


def full(word: str = "science") -> Now:
    now = Now()
    shown(now, state([unit(n, word=word) for n in range(107, 90, -1)]))
    for camera in CAMERAS[:-4]:
        take(now, PartVerdict(status=Status.NORMAL, reasons=[], measured=30, expected=31, seconds=1.0), part=camera)
    take(now, card(word), Receipt(times={"closed": NOW, "b0/verdict": NOW + 3 * S}, seconds_to_verdict=14.5))
    take(now, alarm("a", Severity.CRITICAL, word), *(alarm(f"b{i}") for i in range(20)), *(channel(f"c{i}{word}") for i in range(20)))
    take(now, channel("d", HkState.STALE), channel("e", HkState.NORMAL))
    now.read = True
    return now


def shown(now: Now, told: State, after_s: float = 0.0) -> None:
    now.show(told, NOW + round(after_s * S), CLOCK_S + after_s)


def lines(now: Now, width: int = 80, height: int = 24, *, after_s: float = 0.0, wall_s: float = 0.0, trouble: str = "") -> list[str]:
    console = Console(width=width, height=height, color_system=None, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    console.print(view(now, width=width, height=height, now_ns=NOW + round(wall_s * S), clock_s=CLOCK_S + after_s, trouble=trouble))
    return console.export_text().splitlines()


def test_what_matters_is_on_a_small_terminal() -> None:
    text = "\n".join(lines(full()))
    for word in (
        "ALIVE, 2 s ago", "tag live", "20251120/00000107 science  ■ ALARM  CALL SOMEBODY", "in 14.5 s", "b0 ●NORM 30/31", "r1 ■ALRM 30/31",
        "?UNKN", "▲WARN", "✗ FAIL", "> runs", "… not there", "26 of 30 have a verdict", "1 FAILED", "about 12 s remain", "95 % in 14.9 s",
        "detectors are not as they should be", "to do: science", "alarms: 21 firing; mutes: 0", "■ CRITICAL firing, 2 min ago", "housekeeping: 1 NORMAL, 20 VIOLATING, 1 STALE",
        "more",
    ):  # fmt: skip
        assert word in text, word


def test_more_room_shows_more() -> None:
    text = "\n".join(lines(full(), 160, 80))
    for word in ("z9", "expected and not there", "influxdb 300 events behind", "812 GB", "? STALE d range", "> 20251120/00000107", "20251120/00000091"):
        assert word in text, word


@settings(max_examples=30)
@given(st.integers(20, 200), st.integers(3, 70), st.sampled_from(["science", *NASTY]))
def test_it_fits_every_terminal(width: int, height: int, word: str) -> None:
    console = Console(width=width, height=height, color_system=None, record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    found = view(full(word), width=width, height=height, now_ns=NOW, clock_s=CLOCK_S)
    assert len(found.renderables) <= height
    assert all(line.cell_len <= width for line in found.renderables)
    console.print(found)
    text = console.export_text()
    assert len(text.splitlines()) <= height
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800]", text)
    assert "quicklook" in text


@pytest.mark.parametrize("text", NASTY, ids=range(len(NASTY)))
def test_names_that_would_do_something_to_a_terminal(text: str) -> None:
    assert all(c.isprintable() for c in plain(text))
    now = full(text)
    hostile = unit(cameras=[text, f"{text}1", "r0", "z0", "b1"], word=text)
    shown(now, state([hostile, unit(106)], running=[text], expected=[text], night=text, tag="live"))
    take(now, PartVerdict(status=Status.NORMAL, reasons=[], measured=1, expected=1, seconds=0), part=text)
    console = Console(width=80, height=24, force_terminal=True, color_system="truecolor", record=True, file=open(os.devnull, "w"))  # noqa: SIM115
    with console.capture() as got:
        console.print(view(now, width=80, height=24, now_ns=NOW, clock_s=CLOCK_S, trouble=text))
    left = re.sub(r"\x1b\[[0-9;]*m", "", got.get())
    assert not re.search("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e\ud800]", left)


def test_it_is_stale_when_nothing_was_heard_for_15_s() -> None:
    now = full()
    assert "ALIVE, 13 s ago" in lines(now, after_s=11)[0]
    assert "? STALE: last sign of life 15 s ago" in lines(now, after_s=12.6)[0]
    take(now, BEAT)
    assert "ALIVE" in lines(now, after_s=13)[0]
    assert "STALE: never heard" in lines(Now())[0]
    assert "Nothing answers" in lines(Now(), trouble="Nothing answers at x.")[1]


def test_a_clock_that_is_wrong_over_there_makes_nothing_stale() -> None:
    now = full()
    now.take(Event(**draft(BEAT).model_dump(), epoch="e", seq=9, time=NOW - 3600 * S), CLOCK_S)
    assert "ALIVE, 5 s ago" in lines(now, after_s=5)[0]
    assert "STALE" in lines(now, after_s=20)[0]
    shown(now, state([], heartbeat_time=NOW - 3580 * S), 20)
    assert "ALIVE, 1 s ago" in lines(now, after_s=21)[0], "the replay socket says that it goes on"


@pytest.mark.parametrize("heard", [True, False])
def test_a_clock_that_is_set_here_makes_nothing_alive_or_stale(heard: bool) -> None:
    now = full()
    if heard:
        now.take(Event(**draft(BEAT).model_dump(), epoch="e", seq=9, time=NOW), CLOCK_S)
    assert "ALIVE" in lines(now, after_s=10, wall_s=7200)[0]
    assert "STALE" in lines(now, after_s=20, wall_s=-7200)[0], "it is dead, and the clock was set back"
    shown(now, state([], heartbeat_time=NOW - 2 * S), 30)
    assert "STALE" in lines(now, after_s=30, wall_s=-7200)[0], "the same sign of life told once more is none"


def test_what_is_not_known_is_not_called_good() -> None:
    now = Now()
    shown(now, state([]))
    text = "\n".join(lines(now))
    assert "alarms: not known" in text
    assert "housekeeping: not known" in text
    assert "No exposure has arrived." in text


def test_alarms_end_and_another_journal_begins_anew() -> None:
    now = full()
    take(now, alarm("a", state="resolved"), *(alarm(f"b{i}", state="closed") for i in range(20)), MutesChanged(mutes=[]))
    assert "alarms: none is told; mutes: 0" in "\n".join(lines(now))
    take(now, BEAT.model_copy(update={"sinks": {"files": 0}}))
    assert "alarms: NOBODY WATCHES, this daemon has no sink `alarms`" in "\n".join(lines(now))
    take(now, alarm("x"))
    assert "alarms: 1 firing" in "\n".join(lines(now)), "what an earlier daemon has told still stands"
    take(now, BEAT, epoch="another")
    assert now.alarms == {}
    assert now.hk == {}
    take(now, alarm("y"), epoch="another")
    take(now, alarm("z"))
    assert set(now.alarms) == {"y"}, "what comes late of a journal that is gone says nothing"


def test_other_exposures_can_be_looked_at() -> None:
    now = full()
    now.choose(1)
    now.choose(1)
    now.choose(-1)
    assert "20251120/00000106 (2. latest)" in lines(now)[1]
    now.choose(-5)
    assert "20251120/00000107 science" in lines(now)[1]
    now.choose(500)
    assert now.unit is not None
    assert now.unit.unit == "20251120/00000091"
    assert _split("j\x1b[Bq\x1b[A\x1b") == ["j", "\x1b[B", "q", "\x1b[A", "\x1b"]


# ---- a daemon to listen to


class Publisher:
    """A journal and what publishes it."""

    def __init__(self, out: Path) -> None:
        self.endpoint = f"ipc://{out}/e"
        self.journal = Journal(journal_path(out), time.time_ns)
        self.say(draft(alarm("a", Severity.CRITICAL)), draft(channel("c")), draft(BEAT))
        sink = ZmqSink(ZmqParams(endpoint=self.endpoint, settle_s=0.0))
        self.thread = SinkThread(self.journal, sink, SinkContext(out=str(out), epoch=self.journal.epoch))
        self.thread.ready(10)

    def say(self, *drafts: Draft) -> None:
        self.journal.append(list(drafts))


@contextmanager
def publisher(out: Path) -> Iterator[Publisher]:
    made = Publisher(out)
    try:
        yield made
    finally:
        made.thread.stop(5)
        made.journal.close()


def test_it_follows_a_daemon(tmp_path: Path) -> None:
    with publisher(tmp_path) as daemon:
        now = Now()
        with Source(daemon.endpoint, f"{daemon.endpoint}.replay", None, now, None) as source:
            source.turn(0.1)
            assert source.trouble == ""
            assert now.read
            assert set(now.alarms) == {"a"}
            assert now.hk["c/range"].state is HkState.VIOLATING
            daemon.say(draft(alarm("b")), draft(PartVerdict(status=Status.ALARM, reasons=[], measured=1, expected=2, seconds=1), unit=UNIT, part="r0"), draft(BEAT))
            end = time.monotonic() + 60
            while "b" not in now.alarms and time.monotonic() < end:
                source.turn(0.1)
            assert set(now.alarms) == {"a", "b"}
            assert now.said(unit()).measured == {"r0": (1, 2)}
            daemon.thread.stop(5)
            source._asked = -1e9
            source.turn(0.05)
            assert "Nothing answers" in source.trouble


def top(*words: str) -> Result:
    return CliRunner().invoke(app, ["top", *words], env={"COLUMNS": "80", "QUICKLOOK_SITE": ""})


def test_once(tmp_path: Path) -> None:
    with publisher(tmp_path) as daemon:
        told = top("--once", "--endpoint", daemon.endpoint)
    assert told.exit_code == 0, told.output
    assert "■ CRITICAL" in told.stdout
    assert "\x1b" not in told.stdout
    gone = top("--once", "--endpoint", daemon.endpoint, "--out", str(tmp_path))
    assert gone.exit_code == 3
    assert "Nothing answers" in gone.stdout
    assert "disk 812 GB free" in gone.stdout, "the journal says how things stood"
    assert "■ CRITICAL" in gone.stdout, "an alarm is no less, for the daemon being gone"
    assert "VIOLATING" in gone.stdout


@pytest.mark.parametrize("words", [("--endpoint", "nonsense", "--once"), ("--endpoint", "tcp://127.0.0.1:70000", "--once"), ("--endpoint", "ipc:///nowhere/x")])
def test_what_cannot_be_is_said(words: tuple[str, ...]) -> None:
    told = top(*words)
    assert told.exit_code == 3 or isinstance(told.exception, BadConfig), told.exception


def test_in_a_terminal_it_takes_keys_and_leaves_it_as_it_was(tmp_path: Path) -> None:
    master, slave = pty.openpty()
    with publisher(tmp_path) as daemon:
        environment = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "80", "LINES": "24"}
        process = subprocess.Popen([sys.executable, "-m", "quicklook", "top", "--endpoint", daemon.endpoint], stdin=slave, stdout=slave, stderr=slave, env=environment)
        shown, end = b"", time.monotonic() + 120
        try:
            while b"CRITICAL" not in shown and time.monotonic() < end:
                if select.select([master], [], [], 0.2)[0]:
                    shown += os.read(master, 65536)
            os.write(master, b"\x1b[Bkq")
            while process.poll() is None and time.monotonic() < end:
                if select.select([master], [], [], 0.2)[0]:
                    shown += os.read(master, 65536)
        finally:
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
            process.wait(60)
            os.close(slave)
    while select.select([master], [], [], 0)[0]:
        try:
            shown += os.read(master, 65536)
        except OSError:
            break
    os.close(master)
    assert process.returncode == 0
    assert b"\x1b[?1049h" in shown, "it has a screen of its own"
    assert b"\x1b[?1049l" in shown, "and gives it back"
    assert "ALIVE" in shown.decode()
