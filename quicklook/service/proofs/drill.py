"""A drill: a bad frame of the simulator, and a sensor that goes wrong, through a daemon with the alarms of a site, up to the messages and their ends.

It is a daemon of its own in a folder of its own: rules, channels, routes and template are those of the site, nothing else is.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quicklook.core.errors import BadConfig
from quicklook.core.events import AlarmChanged, Event, HkChanged, UnitDone
from quicklook.core.keys import Unit
from quicklook.service.journal.journal import Journal
from quicklook.service.proofs.drilldaemon import SENSOR, Sensor, Told, await_event, drill_daemon, messages_of, of_fault, told_nobody, told_of

KINDS = ("frame", "sensor")
_NIGHT, _SOUND_BEFORE, _BAD, _SOUND_AFTER = 20220101, 101, 102, 104
_MESSAGE_S = 60.0
_NOBODY_S = 5.0
"""When nobody has been told for so long, nobody will be."""
_TELL_S = 10.0
"""So often it is told which channels are waited for."""
Tell = Callable[[str], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sent:
    """What became of the messages by one channel: seconds from the fault to the first that arrived, and its end; None: none has.

    `wanted`: the rules and routes of the site tell it of such an alarm.
    """

    channel: str
    alarm_s: float | None
    end_s: float | None
    error: str = ""
    wanted: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class Drilled:
    """Of one fault (`kind`): seconds to each stage, in order; what it was judged; the alarm; what was sent by each channel."""

    kind: str
    stages: Mapping[str, float]
    status: str
    alarm: str
    sent: tuple[Sent, ...] = field(default=())

    @property
    def passed(self) -> bool:
        """Whether the fault was seen as such, and every channel that is told of such alarms, of which there is one, has had it and its end."""
        wanted = [s for s in self.sent if s.wanted]
        return self.status == "ALARM" and bool(wanted) and all(s.alarm_s is not None and s.end_s is not None for s in wanted)


def drill(
    params: Mapping[str, Any], folder: Path, *, only: str = "", timeout_s: float = 120.0, tell: Tell = lambda _text: None
) -> tuple[Drilled, ...]:
    """Run one with the parameters of the sink of alarms of a site, in an empty folder: of both faults, or of one alone (`frame`, `sensor`).

    `tell` hears what is done and waited for: a channel that refuses is waited for some minutes.
    Raises BadConfig where the site has no channels, or the daemon does not start.
    """
    if not params.get("channels"):
        raise BadConfig("the site has no channels of alarms", what_next="Name them under `sinks: {alarms: {channels: ...}}`.")
    if only and only not in KINDS:
        raise BadConfig(f"there is no drill of a {only!r}; it is one of {', '.join(KINDS)}")
    from quicklook.sim import sim_instruments, write_calibrations

    cameras = sim_instruments(("r0",), scale="small", seed=8)
    write_calibrations(folder, cameras)
    (folder / "raw").mkdir(exist_ok=True)
    channels, out = sorted(params["channels"]), []
    with Sensor(folder) as sensor, drill_daemon(params, folder) as journal:
        if only != "sensor":
            tell("A sound frame, then a bad one.")
            out.append(_frame(folder, journal, cameras, channels, timeout_s, tell))
        if only != "frame":
            tell("A sensor that is sound, and then goes wrong.")
            out.append(_sensor(folder, journal, sensor, channels, timeout_s, tell))
    return tuple(out)


def _frame(folder: Path, journal: Journal, cameras: Any, channels: list[str], timeout_s: float, tell: Tell) -> Drilled:
    from quicklook.sim import parse_fault, plan_exposure, write_exposure

    write_exposure(folder, plan_exposure("science", _SOUND_BEFORE), cameras)
    await_event(journal, _judged(_SOUND_BEFORE), timeout_s)
    write_exposure(folder, plan_exposure("science", _BAD, faults=(parse_fault("dead_amp"),)), cameras)
    begun = time.time_ns()
    verdict = await_event(journal, _judged(_BAD), timeout_s)
    alarm = await_event(journal, lambda e: _firing(e, begun, sensor=False), timeout_s)
    told = alarm is not None and _await_messages(folder, "firing", begun, tell, sensor=False)
    write_exposure(folder, plan_exposure("science", _SOUND_AFTER), cameras)
    ended = time.time_ns()
    await_event(journal, _judged(_SOUND_AFTER), timeout_s)
    if told:
        _await_messages(folder, "resolved", begun, tell, sensor=False)
    stages: dict[str, float] = {}
    for event in journal.events(0, limit=100_000, kinds=("seen", "verdict", "unit_verdict")):
        if event.unit == str(Unit(_NIGHT, _BAD)):
            stages.setdefault(event.kind, (event.time - begun) / 1e9)
    status = str(verdict.payload["status"]) if verdict is not None else "none"
    return _drilled("frame", folder, stages, status, alarm, begun, ended, channels)


def _sensor(folder: Path, journal: Journal, sensor: Sensor, channels: list[str], timeout_s: float, tell: Tell) -> Drilled:
    await_event(journal, lambda e: _passed(e, "NORMAL"), timeout_s)
    sensor.value, begun = sensor.BAD, time.time_ns()
    passed = await_event(journal, lambda e: _passed(e, "VIOLATING"), timeout_s)
    alarm = await_event(journal, lambda e: _firing(e, begun, sensor=True), timeout_s)
    told = alarm is not None and _await_messages(folder, "firing", begun, tell, sensor=True)
    sensor.value, ended = sensor.SOUND, time.time_ns()
    if told:
        _await_messages(folder, "resolved", begun, tell, sensor=True)
    stages = {} if passed is None else {"hk": (passed.time - begun) / 1e9}
    return _drilled("sensor", folder, stages, "none" if passed is None else "ALARM", alarm, begun, ended, channels)


def _judged(expid: int) -> Any:
    unit = str(Unit(_NIGHT, expid))
    return lambda event: event.kind == UnitDone.kind and event.unit == unit


def _passed(event: Event, state: str) -> bool:
    return event.kind == HkChanged.kind and any(c["subject"].startswith(f"{SENSOR}/") and c["state"] == state for c in event.payload["changes"])


def _firing(event: Event, begun: int, *, sensor: bool) -> bool:
    if event.kind != AlarmChanged.kind or event.time < begun or event.payload["alarm"]["state"] != "firing":
        return False
    return of_fault(event.payload["alarm"], sensor=sensor)


def _await_messages(folder: Path, kind: str, begun: int, tell: Tell, *, sensor: bool) -> bool:
    """Until every channel that is told of the fault at all has had a message of that kind; False, and soon, where rules and routes name none."""
    end, somebody, told = time.monotonic() + _MESSAGE_S, time.monotonic(), time.monotonic()
    while time.monotonic() < end:
        if time.monotonic() > somebody + _NOBODY_S:
            return False
        if not told_nobody(folder, sensor=sensor, begun=begun):
            somebody = time.monotonic()
        messages, wanted = messages_of(folder, sensor=sensor, begun=begun), told_of(folder, sensor=sensor, begun=begun)
        had = {m.channel for m in messages if m.sent and kind in m.kinds}
        if had and had >= wanted:
            return True
        if time.monotonic() > told + _TELL_S and wanted - had:
            told = time.monotonic()
            tell(_waits_for(kind, wanted - had, messages, end - told))
        time.sleep(0.2)
    return True


def _waits_for(kind: str, channels: set[str], messages: list[Told], left_s: float) -> str:
    """Which channels have not had a message of that kind, and what they say."""
    errors = {m.channel: m.error for m in messages if m.error}
    named = (f"{name} ({errors[name]})" if name in errors else name for name in sorted(channels))
    what = "the message" if kind == "firing" else "the end of the alarm"
    return f"  ... {what} has not left by {', '.join(named)}; it is waited for {left_s:.0f} s more"


def _drilled(
    kind: str, folder: Path, stages: dict[str, float], status: str, alarm: Event | None, begun: int, ended: int, channels: list[str]
) -> Drilled:
    sensor = kind == "sensor"
    if alarm is not None:
        stages["alarm"] = (alarm.time - begun) / 1e9
    messages, told = messages_of(folder, sensor=sensor, begun=begun), told_of(folder, sensor=sensor, begun=begun)
    sent = tuple(_sent(name, messages, begun, ended, name in told) for name in channels)
    said = str(alarm.payload["alarm"]["what"]) if alarm is not None else ""
    return Drilled(kind=kind, stages=stages, status=status, alarm=said, sent=sent)


def _sent(name: str, messages: list[Told], begun: int, ended: int, wanted: bool) -> Sent:
    mine = [m for m in messages if m.channel == name]
    first = min((m.sent for m in mine if m.sent and "firing" in m.kinds), default=None)
    last = min((m.sent for m in mine if m.sent and "resolved" in m.kinds), default=None)
    return Sent(
        channel=name,
        alarm_s=None if first is None else (first - begun) / 1e9,
        end_s=None if last is None else (last - ended) / 1e9,
        error=next((m.error for m in reversed(mine) if m.error), "") if wanted else "rules and routes of the site do not tell it of such an alarm",
        wanted=wanted,
    )
