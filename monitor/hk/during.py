"""Channels during an exposure, from the store: statistics over its time, what was out of range, what was usual before."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from monitor.hk.channels import Validity
from monitor.hk.config import JoinedSpec
from monitor.hk.excursions import Judged, Violated, judge, reduced, wanted_with
from monitor.hk.framestats import Chosen, Window, during, until_known
from monitor.hk.loading import ChannelFacts, HkConfig
from monitor.hk.names import is_pattern, matched
from monitor.hk.store import HkStore
from monitor.hk.thinning import Samples
from quicklook.core.errors import BadConfig, QuicklookError, describe
from quicklook.core.hkframes import ChannelDuring, Concern, Excursion, ExposureHousekeeping, share_words
from quicklook.core.housekeeping import Floats, HkChange, HkState

MOST_CHANNELS = 2000
BEFORE_S = 120.0
"""So much before an exposure is read of every channel: persistence and hysteresis need it."""
_ENOUGH = 64
"""Samples before the exposure that are enough for any persistence."""
_PLACES = 24
"""Usual values of a channel are taken at so many places of the hours before, a quarter of the time altogether."""
_LEAST_HISTORY = 8


@dataclass(slots=True)
class ExposureReader:
    """Reads a store by the configuration. Of no store at all `during` says the problem; one that is made later is found."""

    config: HkConfig
    path: Path
    _store: HkStore | None = None
    _words: dict[int, str] = field(default_factory=dict)

    @property
    def wanted(self) -> bool:
        """Whether the configuration joins any channel to exposures."""
        return bool(self.config.file.exposures.channels)

    def during(self, start: datetime | None, exptime_s: float) -> ExposureHousekeeping:
        """See `quicklook.core.hkframes.ExposureJoin`."""
        try:
            known = self._known()
            chosen = _chosen(self.config, known)
            if len(chosen) > MOST_CHANNELS:
                problem = f"{len(chosen)} channels are joined to exposures; name {MOST_CHANNELS} at most under `exposures` of the configuration"
                return ExposureHousekeeping(start=start, exptime_s=exptime_s, problem=problem)
            if start is None or not math.isfinite(exptime_s):
                lacking = "when it began" if start is None else "how long it took"
                return _nothing(chosen, start, exptime_s, f"the header of the exposure does not say {lacking}")
            spec = self.config.file.exposures
            begin = start.replace(tzinfo=start.tzinfo or UTC).timestamp() + spec.offset_s
            window = Window(start=begin, stop=begin + max(0.0, exptime_s), margin=spec.margin_s)
            channels = self._channels(chosen, known, window)
            return ExposureHousekeeping(start=start, exptime_s=exptime_s, channels=tuple(channels))
        except QuicklookError as error:
            self.close()
            return _nothing(_chosen(self.config, {}), start, exptime_s, f"the store of samples cannot be read: {describe(error)}", late=True)

    def close(self) -> None:
        """Close the store; it is opened again when it is needed."""
        if self._store is not None:
            self._store.close()
            self._store = None

    def _known(self) -> dict[str, bool]:
        if self._store is None:
            self._store = HkStore(self.path, writing=False)
        return self._store.channels()

    def _read(self, names: Sequence[str], low: float, high: float) -> dict[str, tuple[Floats, Floats]]:
        if self._store is None:
            raise BadConfig(f"{self.path} is not open")
        return self._store.read(names, low, np.nextafter(high, np.inf))

    def _channels(self, chosen: Sequence[Chosen], known: Mapping[str, bool], window: Window) -> list[ChannelDuring]:
        names = [c.name for c in chosen]
        wanted = wanted_with(self.config, names)
        reach = {n: _reach(self.config.facts(n)) for n in wanted} | {c.name: max(c.reach_s, _reach(c.facts)) for c in chosen}
        found = self._samples(wanted, reach, window)
        if self._store is not None and any(known.get(n) for n in found):
            self._words = self._store.words()
        samples = {n: self._as_given(*pair, text=known.get(n, False)) for n, pair in found.items()}
        seen = {n: until_known(s, window) for n, s in samples.items()}
        end = max([window.high, *(float(s.times[-1]) for s in seen.values() if s.times.size)])
        said = judge(reduced(self.config, wanted), seen, window.low, end)
        made = [during(c, samples.get(c.name), window, text=known.get(c.name, False)) for c in chosen]
        return [self._with_excursions(one, c, said, window) for one, c in zip(made, chosen, strict=True)]

    def _samples(self, names: Sequence[str], reach: Mapping[str, float], window: Window) -> dict[str, tuple[Floats, Floats]]:
        """Of the time just before and of the exposure; from as far as they reach of those channels that have too few there."""
        found = self._read(names, window.low - BEFORE_S, window.high)
        farther: dict[float, list[str]] = {}
        for name in names:
            times = found.get(name, (np.empty(0),))[0]
            facts = self.config.facts(name)
            short = np.searchsorted(times, window.low) < _ENOUGH or not times.size or times[-1] < window.low
            if (short or math.isfinite(facts.frozen_after_s)) and reach[name] > BEFORE_S:
                farther.setdefault(reach[name], []).append(name)
        for far, some in farther.items():
            found |= self._read(some, window.low - far, window.high)
        without = [n for n in names if not found.get(n, (np.empty(0),))[0].size]
        for far in {reach[n] for n in without}:
            found |= self._read([n for n in without if reach[n] == far], window.high, window.high + far)
        return found

    def _as_given(self, times: Floats, given: Floats, *, text: bool) -> Samples:
        if not text:
            return Samples(times=times, given=given)
        words = tuple(None if not math.isfinite(v) else self._words.get(int(v)) for v in given.tolist())
        return Samples(times=times, given=given, words=words)

    # what was out of range

    def _with_excursions(self, one: ChannelDuring, chosen: Chosen, said: Judged, window: Window) -> ChannelDuring:
        states = [s for s in said.states.get(chosen.name, ()) if s is not HkState.OFF]
        frozen = one.samples > 0 and one.invalid == one.samples
        violated = said.violated.get(chosen.name, ())
        # as the watch says it: after so long without a valid sample its data are stale, and what is stale is not normal
        blind = one.blind_s > max(chosen.reach_s, chosen.facts.stale_after_s)
        unknown = frozen or blind or not math.isfinite(one.away_s) or any(s in (HkState.UNKNOWN, HkState.STALE) for s in states)
        judged = None if not (states or violated) else not unknown
        out = tuple(self._excursion(v, chosen, one, window) for v in violated)
        gap = f"it has no valid sample for {one.blind_s:.0f} s of the exposure" if blind else ""
        note = "; ".join(t for t in (one.note, gap) if t) or ("" if judged is not False else "its limits could not be judged")
        return replace(one, judged=judged, out=out, note=note)

    def _excursion(self, violated: Violated, chosen: Chosen, one: ChannelDuring, window: Window) -> Excursion:
        change = violated.change
        length = window.high - window.low
        overlap = 1.0 if violated.seconds == 0 or length <= 0 else min(1.0, violated.seconds / length)
        value = change.value
        if change.kind == "absolute" and np.isfinite(one.values).any():
            value = float(np.nanmin(one.values) if change.direction == "low" else np.nanmax(one.values))
        unlike = chosen.facts.text or change.kind == "rate"  # its value is none of those of the channel
        usual, scatter = (math.nan, math.nan) if unlike else self._usual(chosen, min(violated.since, window.low))
        part = share_words(overlap)
        told = replace(change, value=value, time=change.since, instrument_state="").sentence.removeprefix(f"{change.channel} ")
        if within := _within(change, value):
            told = f"{change.limit}: {within}"
        return Excursion(
            limit=change.limit, severity=change.severity, level=change.level, direction=change.direction, value=value, bound=change.bound,
            unit=change.unit, text=f"{told}, {part}", since=violated.since, overlap=overlap, usual=usual, scatter=scatter,
            history_h=self.config.file.exposures.history_h, reason=change.reason, action=change.action,
        )  # fmt: skip

    def _usual(self, chosen: Chosen, until: float) -> tuple[float, float]:
        """Median and robust standard deviation of the hours before it went out; NaN where there are too few samples."""
        length = self.config.file.exposures.history_h * 3600.0
        every = length / _PLACES
        pieces = []
        for k in range(1, _PLACES + 1):
            low = until - k * every
            times, given = self._read([chosen.name], low, low + every / 4).get(chosen.name, (np.empty(0), np.empty(0)))
            value, valid = Validity((chosen.facts,)).series(0, given[times < until])
            pieces.append(value[valid])
        values = np.concatenate(pieces)
        if values.size < _LEAST_HISTORY:
            return math.nan, math.nan
        middle = float(np.median(values))
        return middle, 1.4826 * float(np.median(np.abs(values - middle)))


def _within(change: HkChange, value: float | None) -> str:
    """What is to be said of a limit that is still violated by its hysteresis or persistence alone; "" of others."""
    if change.kind != "absolute" or value is None or change.bound is None:
        return ""
    if value < change.bound if change.direction == "low" else value > change.bound:
        return ""
    unit = f" {change.unit}" if change.unit else ""
    passed = "fell below" if change.direction == "low" else "rose above"
    return f"it {passed} {change.bound:.6g}{unit} before, and is not yet back for good ({value:.6g}{unit})"


def _reach(facts: ChannelFacts) -> float:
    return max(facts.stale_after_s, facts.frozen_after_s + facts.stale_after_s if math.isfinite(facts.frozen_after_s) else 0.0)


def _chosen(config: HkConfig, known: Mapping[str, bool]) -> list[Chosen]:
    """The channels that are joined, each once, with all that is said of it. A pattern that fits none stands for itself: it has no samples."""
    found: dict[str, list[tuple[JoinedSpec, str]]] = {}
    for spec in config.file.exposures.channels:
        for pattern in spec.channels:
            named = {n: star for n in known if (star := matched(pattern, n)) is not None} if is_pattern(pattern) else {config.aliases.of(pattern): ""}
            named = {n: star for n, star in named.items() if not any(matched(p, n) is not None for p in spec.but)}
            for name, star in (named or {pattern: ""}).items():
                found.setdefault(name, []).append((spec, star))
    out = []
    for name, said in found.items():
        facts = config.facts(name)
        concerns = tuple(Concern(parts=tuple(p.replace("{name}", star) for p in s.parts), spoils=s.spoils, why=s.why) for s, star in said if s.spoils)
        reach = max((s.nearest_s or facts.stale_after_s) for s, _ in said)
        out.append(Chosen(name=name, facts=facts, reach_s=reach, concerns=concerns))
    return out


def _nothing(chosen: Sequence[Chosen], start: datetime | None, exptime_s: float, problem: str, *, late: bool = False) -> ExposureHousekeeping:
    channels = tuple(ChannelDuring(channel=c.name, unit=c.facts.unit, text=c.facts.text, judged=False, note=problem, late=late) for c in chosen)
    return ExposureHousekeeping(start=start, exptime_s=exptime_s, channels=channels, problem=problem)
