"""What `quicklook top` knows: the state of a daemon, and what its events said since. No terminal here, and no clock."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field

from pydantic import ValidationError

from quicklook.core.alarms import AlarmNow
from quicklook.core.decision import DecisionCard
from quicklook.core.events import AlarmChanged, Decided, Event, Heartbeat, HkChanged, MutesChanged, PartVerdict, Receipt
from quicklook.core.housekeeping import HkChange
from quicklook.core.wire import State, UnitNow

SILENT_S = 14.0
"""A daemon that lives says something every 5 s; that one is silent is to be seen within 15 s."""
CONDITIONS = (AlarmChanged.kind, MutesChanged.kind, HkChanged.kind)
"""What stands for long: it is to be read from far back."""
EXPOSURES = (PartVerdict.kind, Decided.kind, Receipt.kind, Heartbeat.kind)
_UNITS = 200
_OVER = ("resolved", "closed")


@dataclass(slots=True)
class UnitSaid:
    """What was said of a revision of an exposure: QAs measured and expected by camera, the decision, seconds to the first verdict and to the last."""

    measured: dict[str, tuple[int, int]] = field(default_factory=dict)
    card: DecisionCard | None = None
    first_s: float | None = None
    whole_s: float | None = None


class Now:
    """Takes states and events. `chosen`: which of the latest exposures is looked at, 0 is the last. `read`: alarms and housekeeping are known."""

    def __init__(self) -> None:
        self.state: State | None = None
        self.beat: Heartbeat | None = None
        self.beat_ns: int | None = None
        self._heard_s: float | None = None
        self._looked: tuple[int, float] | None = None
        self.alarms: dict[str, AlarmNow] = {}
        self.mutes = 0
        self.hk: dict[str, HkChange] = {}
        self.read = False
        self.chosen = 0
        self._said: OrderedDict[tuple[str, int], UnitSaid] = OrderedDict()
        self._epochs: list[str] = []

    def show(self, state: State, now_ns: int, clock_s: float) -> None:
        """The state of things, told now, by the clock on the wall (UTC, ns) and by one that nobody sets (s)."""
        self.state = state
        if state.heartbeat is not None and (state.heartbeat_time or 0) > (self.beat_ns or 0):
            if self._heard_s is not None:  # it goes on there, though nothing is heard of it otherwise
                self._heard_s = clock_s
            self.beat, self.beat_ns, self._looked = state.heartbeat, state.heartbeat_time, (now_ns, clock_s)

    def take(self, event: Event, heard_s: float | None = None) -> None:
        """What an event says; one that this version cannot read says nothing. `heard_s`: it was heard now, by the clock that nobody sets."""
        if event.epoch in self._epochs[:-1]:  # late, of a journal that is gone
            return
        if event.epoch not in self._epochs:  # another journal: what stood in the last one does not
            self._epochs.append(event.epoch)
            self.alarms, self.hk, self.mutes = {}, {}, 0
            self._said.clear()
        try:
            payload = event.typed()
        except (KeyError, ValidationError):
            return
        if self.state is not None and event.tag != self.state.tag:
            return
        if isinstance(payload, Heartbeat):
            self.beat, self.beat_ns = payload, event.time
            self._heard_s = self._heard_s if heard_s is None else heard_s
        elif isinstance(payload, AlarmChanged):
            self.alarms[payload.name] = payload.alarm
            if payload.alarm.state in _OVER:
                del self.alarms[payload.name]
        elif isinstance(payload, MutesChanged):
            self.mutes = len(payload.mutes)
        elif isinstance(payload, HkChanged):
            self.hk |= {change.subject: change for change in payload.changes}
        elif event.unit is not None:
            self._of_unit(event, payload)

    def _of_unit(self, event: Event, payload: object) -> None:
        said = self._said.setdefault((event.unit or "", event.revision), UnitSaid())
        while len(self._said) > _UNITS:
            self._said.popitem(last=False)
        if isinstance(payload, PartVerdict):
            said.measured[event.part or ""] = (payload.measured, payload.expected)
        elif isinstance(payload, Decided):
            said.card = payload
        elif isinstance(payload, Receipt):
            begun = payload.times.get("closed", min(payload.times.values(), default=0))
            first = min((t for name, t in payload.times.items() if name.endswith("/verdict")), default=None)
            said.first_s = None if first is None else (first - begun) / 1e9
            said.whole_s = payload.seconds_to_verdict

    @property
    def unit(self) -> UnitNow | None:
        """The exposure that is looked at."""
        units = self.state.units if self.state is not None else []
        return units[min(self.chosen, len(units) - 1)] if units else None

    def said(self, unit: UnitNow) -> UnitSaid:
        """What was said of an exposure."""
        return self._said.get((unit.unit, unit.revision), UnitSaid())

    def choose(self, step: int) -> None:
        """Look at an older exposure, or at a later one."""
        last = len(self.state.units) - 1 if self.state is not None else 0
        self.chosen = max(0, min(self.chosen + step, last))

    def age_s(self, clock_s: float) -> float | None:
        """Seconds since the last sign of life; None where there never was one.

        What was heard is measured by the clock that nobody sets. How old it was when we came, only the clocks on the wall can say.
        """
        if self._heard_s is not None:
            return max(0.0, clock_s - self._heard_s)
        if self.beat_ns is None or self._looked is None:
            return None
        looked_ns, looked_s = self._looked
        return max(0.0, (looked_ns - self.beat_ns) / 1e9) + max(0.0, clock_s - looked_s)
