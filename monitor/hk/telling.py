"""Changes of state as records: compares what is with what was told last, and says the difference, each thing once."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from monitor.hk.channels import FINE, INVALID, WHY, Flags
from monitor.hk.config import LimitSpec
from monitor.hk.edges import DIRECTIONS, LEVELS, Index
from monitor.hk.loading import ChannelFacts
from quicklook.core.housekeeping import HkChange, HkState
from quicklook.core.severity import Severity

if TYPE_CHECKING:
    from monitor.hk.checker import Checker

UNKNOWN, NORMAL, PENDING, VIOLATING, STALE, OFF = range(6)
STATES = (HkState.UNKNOWN, HkState.NORMAL, HkState.PENDING, HkState.VIOLATING, HkState.STALE, HkState.OFF)
_WORST = (HkState.VIOLATING, HkState.STALE, HkState.UNKNOWN, HkState.PENDING, HkState.NORMAL, HkState.OFF)


def _unit(spec: LimitSpec, facts: ChannelFacts) -> str:
    """Of value and bound: those of a relative limit are shown as the channel's own, not as differences."""
    if spec.kind == "relative":
        return facts.unit or spec.unit
    unit = spec.unit or facts.unit
    return f"{unit} per {spec.per_s:g} s".strip() if spec.kind == "rate" else unit


class Teller:
    """Remembers what was told of each limit, of the data of each channel, of each source."""

    def __init__(self, checker: Checker) -> None:
        self._c = checker
        self.said_limits = np.zeros(0, dtype=np.int64)
        """Told of each limit: its state, and 8 times (1 + its worst edge) where it is violated."""
        self.said_data = np.zeros(0, dtype=np.int64)
        """Told of the data of each channel: 0 not stale, 1 stale by itself, 2 stale as its source is silent."""

    def more_limits(self, n: int) -> None:
        """n limits more, of which nothing was told."""
        self.said_limits = np.append(self.said_limits, np.full(n, UNKNOWN, dtype=np.int64))

    def more_channels(self, n: int) -> None:
        """n channels more."""
        self.said_data = np.append(self.said_data, np.zeros(n, dtype=np.int64))

    # limits

    def limits(self, which: Index, time: float) -> list[HkChange]:
        """What has changed of the limits `which`."""
        if not which.size:
            return []
        state = self._c.codes(which)
        keys = state + 8 * np.where(state == VIOLATING, 1 + self._worst_edge(which), 0)
        changed = np.flatnonzero(keys != self.said_limits[which])
        before = self.said_limits[which[changed]] % 8
        self.said_limits[which] = keys
        return [self._limit(int(which[i]), int(state[i]), int(b), time) for i, b in zip(changed.tolist(), before.tolist(), strict=True)]

    def _worst_edge(self, which: Index) -> Index:
        limits = self._c.limits
        return np.asarray(np.argmax(np.where(limits.edges.violated[which], limits.severity[which], -1), axis=1))

    def _limit(self, i: int, state: int, before: int, time: float) -> HkChange:
        limits, fresh = self._c.limits, self._c.fresh
        bound, channel = limits.limits[i], int(limits.channel[i])
        spec, facts, value = bound.spec, self._c.facts[channel], float(fresh.value[channel])
        about = self._edge(i, time) if state in (VIOLATING, PENDING) else {"since": time}
        if state == STALE:
            about = {"since": self._valid_until(channel), "cause": f"{bound.channel}/data"}
        return HkChange(
            subject=bound.subject,
            channel=bound.channel,
            limit=spec.name,
            kind=spec.kind,
            state=STATES[state],
            before=STATES[before],
            time=time,
            value=None if np.isnan(value) else float(limits.x[i]) if spec.kind == "rate" and state in (VIOLATING, PENDING) else value,
            text=self._text(i, state, value),
            unit=_unit(spec, facts),
            instrument_state=self._c.instrument.now,
            reason=spec.reason,
            action=spec.action,
            **({"severity": Severity.NONE} | about),
        )

    def _edge(self, i: int, time: float) -> dict[str, object]:
        """Severity, bound, direction, level, reference and beginning of what is violated or pending."""
        limits = self._c.limits
        edges = limits.edges
        violated = edges.violated[i]
        marked = violated if violated.any() else edges.history[i] != 0
        edge = int(np.argmax(np.where(marked, limits.severity[i], -1)))
        since = float(edges.since[i, edge])
        out: dict[str, object] = {"since": time if np.isnan(since) else since}
        if violated.any():
            out["severity"] = Severity.of_rank(int(limits.severity[i, edge]))
        if limits.limits[i].spec.kind == "identity":
            return out
        bound = float(edges.bounds[i, edge])
        reference = self._reference(i)
        if reference is not None:
            bound, out["reference"] = bound + reference, reference
        return out | {"bound": bound, "direction": DIRECTIONS[edge], "level": LEVELS[edge]}

    def _reference(self, i: int) -> float | None:
        limits = self._c.limits
        spec = limits.limits[i].spec
        if spec.kind != "relative":
            return None
        channel = int(limits.reference[i])
        return spec.factor * float(self._c.fresh.value[channel] if channel >= 0 else limits.constant[i])

    def _text(self, i: int, state: int, value: float) -> str:
        bound = self._c.limits.limits[i]
        if state == UNKNOWN and bound.reference and self._c.fresh.speechless[int(self._c.limits.reference[i])]:
            return f"its reference {bound.reference} has no value"
        if bound.spec.kind != "identity" or np.isnan(value):
            return ""
        facts = self._c.facts[int(self._c.limits.channel[i])]
        shown = repr(self._c.word(value)) if facts.text else hex(int(value)) if bound.spec.mask else f"{value:g}"
        allowed = " or ".join(hex(v) if bound.spec.mask and isinstance(v, int) else repr(v) for v in bound.spec.equals)
        return f"it is {shown}, to be {allowed}"

    # data of channels

    def data(self, caused: Flags, time: float, watched: Flags) -> list[HkChange]:
        """What has changed of the data of channels: whether they are stale, and whether their source explains it."""
        stale = self._c.fresh.stale
        now = np.where(stale, np.where(caused, 2, 1), 0)
        said = np.flatnonzero(now != self.said_data)
        before, self.said_data = self.said_data, now
        return [self._channel(int(c), int(now[c]), int(before[c]), time, bool(watched[c])) for c in said.tolist()]

    def _channel(self, c: int, now: int, before: int, time: float, watched: bool) -> HkChange:
        fresh, facts = self._c.fresh, self._c.facts[c]
        given = float(fresh.given[c])
        words = WHY[int(fresh.state[c])]
        if fresh.state[c] == INVALID and not facts.text:
            words += f": {self._c.validity.why_not(c, given)}"
        return HkChange(
            subject=f"{facts.name}/data",
            channel=facts.name,
            limit="data",
            kind="staleness",
            state=HkState.STALE if now else HkState.NORMAL,
            before=HkState.STALE if before else HkState.NORMAL if fresh.last_valid[c] > -np.inf else HkState.UNKNOWN,
            severity=facts.severity if now and watched else Severity.NONE,
            time=time,
            since=self._valid_until(c) if now else time,
            value=None if np.isnan(given) else given,
            text=words if now else "",
            unit=facts.unit,
            instrument_state=self._c.instrument.now,
            cause=self._c.speakers.of(int(fresh.source[c])) if now == 2 else "",
            reason="What is not measured cannot be called normal." if now else "",
            action="Look at the sensor, its read-out, and what writes its samples." if now else "",
        )

    def _valid_until(self, c: int) -> float:
        last = float(self._c.fresh.last_valid[c])
        return last if np.isfinite(last) else float(self._c.fresh.base[c])

    def source(self, name: str, silent: bool, time: float) -> HkChange:
        """A source has become silent, or speaks again."""
        speakers = self._c.speakers
        i = speakers.number(name)
        return HkChange(
            subject=f"source:{name}",
            channel="",
            limit="silence",
            kind="silence",
            state=HkState.STALE if silent else HkState.NORMAL,
            before=HkState.NORMAL if silent else HkState.STALE,
            severity=speakers.severity(name) if silent else Severity.NONE,
            time=time,
            since=max(float(speakers.last[i]), float(speakers.since[i])) if silent else time,
            text="it gave no sample" if silent else "",
            instrument_state=self._c.instrument.now,
            reason="An empty stream says nothing of the instrument." if silent else "",
            action="See whether what writes it runs, and whether its files or its address can be reached." if silent else "",
        )

    # all of it

    def all_limits(self, time: float) -> list[HkChange]:
        """The present state of every limit."""
        which = np.arange(len(self.said_limits))
        return [self._limit(i, int(s), int(s), time) for i, s in enumerate(self._c.codes(which).tolist())] if which.size else []

    def all_data(self, time: float, watched: Flags) -> list[HkChange]:
        """The data of every channel that is stale."""
        said = self.said_data
        return [self._channel(c, int(said[c]), int(said[c]), time, bool(watched[c])) for c in np.flatnonzero(said).tolist()]

    def channels(self) -> Mapping[str, str]:
        """The worst state of each channel; one without limits is UNKNOWN until it has a valid value, then NORMAL."""
        c = self._c
        found = {n: {HkState.STALE if s else HkState.NORMAL} for n, s in zip(c.names, c.fresh.stale.tolist(), strict=True)}
        for n, state in zip(c.names, c.fresh.state.tolist(), strict=True):
            if state != FINE and HkState.NORMAL in found[n]:
                found[n] = {HkState.UNKNOWN}
        for limit, s in zip(c.limits.limits, c.codes(np.arange(len(c.limits.limits))).tolist(), strict=True):
            found[limit.channel].add(STATES[s])
        return {n: next(str(w) for w in _WORST if w in states) for n, states in found.items()}
