"""Page Housekeeping: every channel with its value, its limits and their states, and the last hour. What is old is STALE, whatever it was before."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Mapping
from weakref import WeakKeyDictionary

import numpy as np
from pydantic import Field

from monitor.hk.loading import HkConfig, load_hk
from monitor.hk.series import ConfiguredStore
from monitor.web.api import Nothing
from monitor.web.pages.housekeeping_channels import SPARK_S, LimitNow, last_of, limit_now, spark_of, thinned
from monitor.web.routing import Page, Route
from quicklook.core.document import Document
from quicklook.core.errors import BadConfig, NotReadyYet, QuicklookError, describe
from quicklook.core.hosting import HkFiles, Host
from quicklook.core.housekeeping import HkChange, HkState
from quicklook.core.housekeeping_watch import HkSeries
from quicklook.core.results import Record

_SILENT_S = 15.0
"""A daemon that gives no sign of life for so long watches nothing."""
_MOST_POINTS = 20_000
_WORST = (HkState.VIOLATING, HkState.STALE, HkState.UNKNOWN, HkState.PENDING, HkState.NORMAL, HkState.OFF)


class ChannelNow(Record):
    """A channel: the last valid value (or word) and its time (Unix seconds, UTC), the worst of its limits and data, the last hour in bins."""

    name: str
    unit: str = ""
    value: float | None = None
    text: str = ""
    time: float | None = None
    stale_after_s: float
    state: HkState
    why: str = ""
    limits: list[LimitNow]
    spark: list[float | None] = Field(default_factory=list)


class ThingNow(Record):
    """A source, or the watch itself."""

    name: str
    state: HkState
    since: float
    said: str


class HkAnswer(Record):
    """All of housekeeping. `watched`: the daemon gives signs of life; else nothing is NORMAL. `spark_s`: the time of the small curves."""

    configured: bool
    watched: bool
    config: str = ""
    trouble: str = ""
    instrument_state: str = ""
    server_time: float
    spark_s: float = SPARK_S
    sources: list[ThingNow] = Field(default_factory=list)
    channels: list[ChannelNow] = Field(default_factory=list)
    counts: dict[str, int] = Field(default_factory=dict)


class SeriesAsk(Record):
    """Samples of a channel; times are Unix seconds, UTC. `start` below 0: so many seconds before `stop`; `stop` 0: now."""

    channel: str = Field(max_length=200)
    start: float = Field(-86400.0, ge=-1e10, le=1e11, allow_inf_nan=False)
    stop: float = Field(0.0, ge=0, le=1e11, allow_inf_nan=False)
    points: int = Field(2000, ge=10, le=_MOST_POINTS)


class SeriesAnswer(Record):
    """Samples in the order of time; where there are more than were wanted, the least and the greatest of each stretch (`thinned`)."""

    channel: str
    unit: str
    times: list[float]
    values: list[float | None]
    texts: list[str | None] = Field(default_factory=list)
    thinned: bool = False
    limits: list[LimitNow]


class _Configs:
    """The configuration of each host, read once as long as its file is the same."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: WeakKeyDictionary[Host, tuple[Document, HkConfig]] = WeakKeyDictionary()

    def of(self, host: Host, files: HkFiles) -> HkConfig:
        """The configuration. Raises BadConfig."""
        with self._lock:
            known = self._known.get(host)
            if known is None or known[0] != files.config:
                known = self._known[host] = (files.config, load_hk(files.config))
            return known[1]


_CONFIGS = _Configs()


def housekeeping(host: Host, _ask: Nothing) -> HkAnswer:
    """Every channel as it is now."""
    now, files = time.time(), host.housekeeping()
    if files is None:
        return HkAnswer(configured=False, watched=False, server_time=now)
    config, states = _CONFIGS.of(host, files), host.hk_states()
    beat = host.heartbeat_ns()
    watched = beat is not None and now - beat / 1e9 <= _SILENT_S
    series, spoken, trouble = _fetched(config, files, now)
    names = sorted({*config.expected, *series, *(c.channel for c in states.values() if c.channel)})
    channels = [_channel(config, name, states, series.get(name), now, watched=watched) for name in names]
    channels.sort(key=lambda c: (_WORST.index(c.state), c.name))
    return HkAnswer(
        configured=True, watched=watched, config=config.document.source, trouble=trouble, server_time=now, channels=channels,
        sources=[*_told(states, watched=watched), *_not_told(config, states, spoken, now, watched=watched)],
        instrument_state=_instrument_state(states.values()),
        counts={str(s): n for s in _WORST if (n := sum(c.state is s for c in channels))},
    )  # fmt: skip


def _fetched(config: HkConfig, files: HkFiles, now: float) -> tuple[dict[str, HkSeries], dict[str, float], str]:
    """The last hour of all channels that ever had a sample, when each source gave its last one, and why there is nothing."""
    try:
        store = ConfiguredStore(config, files.store)
    except NotReadyYet:
        return {}, {}, "no sample was ever stored"
    except BadConfig as error:
        return {}, {}, f"{describe(error)}" if files.store.exists() else "no sample was ever stored"
    except QuicklookError as error:
        return {}, {}, describe(error)
    try:
        return store.fetch(store.channels(), now - SPARK_S, now + 60.0), store.last_samples(), ""
    except QuicklookError as error:
        return {}, {}, describe(error)
    finally:
        store.close()


def _instrument_state(changes: Iterable[HkChange]) -> str:
    latest = max((c for c in changes if c.instrument_state), key=lambda c: c.time, default=None)
    return latest.instrument_state if latest else ""


def _thing(change: HkChange, *, watched: bool) -> ThingNow:
    state = change.state if watched or change.state is not HkState.NORMAL else HkState.STALE
    return ThingNow(name=change.subject, state=state, since=change.since, said=change.reason or change.text or change.sentence)


def _told(states: Mapping[str, HkChange], *, watched: bool) -> list[ThingNow]:
    """What is no channel, as it was told of; of a source that works again its own state is enough."""
    works = {s for s, c in states.items() if s.endswith("/works") and c.state is HkState.NORMAL}
    return [_thing(c, watched=watched) for s, c in sorted(states.items()) if not c.channel and s not in works]


def _not_told(config: HkConfig, states: Mapping[str, HkChange], spoken: Mapping[str, float], now: float, *, watched: bool) -> list[ThingNow]:
    """Sources of which no change was ever told, as they speak from the beginning: each as its last sample says."""
    out = []
    for name, spec in config.file.sources.items():
        if f"source:{name}" in states:
            continue
        last = spoken.get(name)
        if not watched:
            state, said = HkState.STALE, "the daemon is silent"
        elif last is None:
            state, said = HkState.UNKNOWN, "it has given no sample yet"
        elif spec.silent_after_s is not None and now - last > spec.silent_after_s:
            state, said = HkState.STALE, f"its last sample is {now - last:.0f} s old"
        else:
            state, said = HkState.NORMAL, "its samples come"
        out.append(ThingNow(name=f"source:{name}", state=state, since=last or 0.0, said=said))
    return out


def _channel(
    config: HkConfig, name: str, states: Mapping[str, HkChange], series: HkSeries | None, now: float, *, watched: bool
) -> ChannelNow:
    facts = config.facts(name)
    time_of_last, value, text = last_of(series)
    data = states.get(f"{name}/data")
    limits = [limit_now(b.spec, b.reference, states.get(b.subject)) for b in config.limits_on(name)]
    found, why = [one.state for one in limits], ""
    if data is not None and data.state is not HkState.NORMAL:
        found.append(data.state)
        why = data.text or data.reason
    if not watched:
        found, why = [HkState.STALE if s in (HkState.NORMAL, HkState.PENDING) else s for s in found] or [HkState.STALE], "the daemon is silent"
    elif time_of_last is None or now - time_of_last > facts.stale_after_s:
        found.append(HkState.STALE)
        why = why or "no valid sample for longer than is allowed"
    state = min(found, key=_WORST.index) if found else HkState.OFF
    deciding = next((one for one in limits if one.state is state), None)
    return ChannelNow(
        name=name, unit=facts.unit or (series.unit if series else ""), value=value, text=text, time=time_of_last, stale_after_s=facts.stale_after_s,
        state=state, why=why or (deciding.said if deciding and state is not HkState.NORMAL else ""), limits=limits,
        spark=spark_of(series, now) if series is not None else [],
    )  # fmt: skip


def series(host: Host, ask: SeriesAsk) -> SeriesAnswer:
    """Samples of one channel."""
    files = host.housekeeping()
    if files is None:
        raise NotReadyYet("no housekeeping is watched", what_next="Name a configuration under `housekeeping` of the site.")
    config = _CONFIGS.of(host, files)
    stop = ask.stop or time.time() + 60.0
    start = ask.start if ask.start >= 0 else stop + ask.start
    if stop <= start:
        raise BadConfig("the time ends before it begins", what_next="Give `start` before `stop`.")
    store = ConfiguredStore(config, files.store)
    try:
        found = store.fetch([ask.channel], start, stop)
    finally:
        store.close()
    name = config.aliases.of(ask.channel)
    if name not in found:
        raise NotReadyYet(f"no sample of {ask.channel[:100]!r} was ever stored", what_next="See /api/v1/housekeeping for the channels.")
    one = found[name]
    kept = thinned(one, ask.points)
    states = host.hk_states()
    limits = [limit_now(b.spec, b.reference, states.get(b.subject)) for b in config.limits_on(name)]
    mask = np.ma.getmaskarray(one.values)
    return SeriesAnswer(
        channel=name, unit=one.unit, times=one.times[kept].tolist(), thinned=len(kept) < len(one.times), limits=limits,
        values=[None if one.words or mask[i] else float(one.values[i]) for i in kept],
        texts=[one.texts[i] for i in kept] if one.words else [],
    )  # fmt: skip


PAGE = Page(
    name="housekeeping",
    title="Housekeeping",
    path="/housekeeping",
    key="h",
    template="housekeeping.html",
    routes=(
        Route("GET", "/housekeeping", housekeeping, "Every channel of housekeeping with its limits and their states", shared=True),
        Route("GET", "/housekeeping/series", series, "Samples of one channel"),
    ),
)
