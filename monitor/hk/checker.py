"""The checker: samples and time in, changes of state out. It has no clock, no thread and no file, and is vectorised over channels and limits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from monitor.hk.channels import FINE, Freshness, Validity
from monitor.hk.edges import Index
from monitor.hk.instrument import UNTOLD, InstrumentState
from monitor.hk.limitset import LimitArrays
from monitor.hk.loading import BoundLimit, ChannelFacts, HkConfig, value_text
from monitor.hk.memory import mark_of
from monitor.hk.speakers import Speakers
from monitor.hk.telling import NORMAL, OFF, PENDING, STALE, STATES, UNKNOWN, VIOLATING, Teller
from quicklook.core.housekeeping import Batch, Floats, HkChange, HkState

SET_BACK_S = 1.0
"""A clock that goes back by more than that was set."""
MOST_CHANNELS = 20000
MOST_WORDS = 50000
"""More words than these are one: a source that invents them may not fill the memory."""


@dataclass(frozen=True, slots=True)
class _Plan:
    """What a row of these channels concerns: channels (no one twice), their columns, the limits on them and the place of the channel of each."""

    channels: Index
    columns: Index
    limits: Index
    place: Index
    tells_state: bool


class Checker:
    """Judges samples against the limits of a configuration. `started`: when it began, Unix seconds; from there on what never comes grows stale.

    `feed` takes samples in the order of time (one that is no later than the last one of its channel is passed over); `tick` tells what time it is.
    """

    def __init__(self, config: HkConfig, started: float) -> None:
        self.config = config
        self.names: list[str] = []
        self.index: dict[str, int] = {}
        self.facts: list[ChannelFacts] = []
        self.words: list[str] = []
        self._codes: dict[str, int] = {}
        self._started = started
        self.instrument = InstrumentState(config.file.states)
        self.speakers = Speakers(config.file.sources, started)
        self.validity = Validity(())
        self.fresh = Freshness((), started)
        self.limits = LimitArrays((), self.channel, self.code)
        self.marks: list[str] = []
        """Of each limit, what tells it from one that was written otherwise."""
        self._numbers: set[int] = set()
        """Channels that hold numbers: they have a limit, or are referred to, and not for words."""
        self.worded: set[int] = set()
        """Channels whose samples are words."""
        self.clock = -np.inf
        """What time it was last said to be."""
        self.applies = np.zeros(0, dtype=bool)
        self._bound_to_states = np.zeros(0, dtype=bool)
        self.watched = np.zeros(0, dtype=bool)
        """Channels whose stale data are told."""
        self._plans: dict[tuple[str, ...], _Plan] = {}
        self.teller = Teller(self)
        self.looked, self._patience = started, np.inf
        self._state_channels: tuple[int, ...] = ()
        self.grow([*config.expected, *sorted(config.aliases.of(c) for c in self.instrument.channels)])
        self._state_channels = tuple(self.index[config.aliases.of(c)] for c in sorted(self.instrument.channels))

    # names and words

    def channel(self, name: str) -> int:
        """The index of a channel, made known where it is new."""
        if name not in self.index:
            self.grow([name])
        return self.index[name]

    def code(self, word: str) -> float:
        """The number that stands for a word."""
        plain = value_text(word)
        if plain not in self._codes and len(self.words) <= MOST_WORDS:
            self._codes[plain] = len(self.words)
            self.words.append(str(word).strip())
        return float(self._codes.get(plain, MOST_WORDS))

    def word(self, code: float) -> str:
        """The word of a number."""
        return self.words[int(code)] if 0 <= code < len(self.words) else f"word {code:g}"

    def words_of(self, channel: int) -> bool:
        """Whether the samples of a channel are words: as it is configured, or, where no limit is on it, as they come."""
        return channel >= 0 and (self.facts[channel].text or channel not in self._numbers)

    def grow(self, names: Iterable[str]) -> None:
        """Channels more, with the limits on them; those that are known are passed over."""
        new = [n for n in dict.fromkeys(names) if n not in self.index][: MOST_CHANNELS - len(self.names)]
        if not new:
            return
        bound = [limit for n in new for limit in self.config.limits_on(n)]
        new = list(dict.fromkeys([*new, *(b.reference for b in bound if b.reference and b.reference not in self.index)]))
        bound = [limit for n in new for limit in self.config.limits_on(n)]
        self.index |= {n: len(self.names) + i for i, n in enumerate(new)}
        self.names += new
        facts = [self.config.facts(n) for n in new]
        self.facts += facts
        self.validity = Validity(self.facts)
        self.fresh.extend(Freshness(facts, self._started))
        missed = self.config.missed | {b.channel for b in bound}
        self.watched = np.append(self.watched, [n in missed and n not in self.config.unwatched for n in new])
        self._patience = float(self.fresh.after.min())
        self.teller.more_channels(len(new))
        self._add_limits(bound)
        self._plans.clear()

    def _add_limits(self, bound: list[BoundLimit]) -> None:
        self.limits.extend(LimitArrays(bound, self.channel, self.code))
        self.marks += [mark_of(b) for b in bound]
        judged = {*self.limits.channel.tolist(), *self.limits.reference.tolist()} - {-1}
        self._numbers |= {c for c in judged if not self.facts[c].text}
        self._bound_to_states = np.append(self._bound_to_states, [bool(b.spec.states) for b in bound]).astype(bool)
        self.teller.more_limits(len(bound))
        self.applies = self._applying()

    # samples

    def feed(self, batch: Batch) -> list[HkChange]:
        """Samples of one source, in the order of time; the changes of state that they make."""
        names = self.config.aliases.of_all((*batch.channels, *batch.texts))
        plan = self._plan(names)
        coded = [self._coded(t, n) for n, t in zip(names[len(batch.channels) :], batch.texts.values(), strict=True)]
        given = np.hstack([batch.values, *(c[:, None] for c in coded)]) if coded else batch.values
        self.worded |= {i for n in names[len(batch.channels) :] if self.words_of(i := self.index.get(n, -1))} - {-1}
        out: list[HkChange] = []
        for time, row in zip(batch.times.tolist(), given[:, plan.columns], strict=True):
            if time - self.looked > self._patience:
                out += self._tick(time)  # what became stale in a gap did so before this row came
            self.speakers.spoke(batch.source, time, plan.channels, self.fresh)
            out += self._row(plan, time, row)
        return out

    def _coded(self, texts: Sequence[str | None], name: str) -> Floats:
        """Numbers that stand for words; where numbers are asked for, a word is no valid value."""
        words = name not in self.index or self.words_of(self.index[name])
        return np.array([self.code(t) if words and t is not None else np.nan for t in texts], dtype=float)

    def _plan(self, names: tuple[str, ...]) -> _Plan:
        if names not in self._plans:
            self.grow(names)
            if len(self._plans) > 1000:
                self._plans.clear()
            last = {self.index[n]: column for column, n in enumerate(names) if n in self.index}
            channels = np.array(list(last), dtype=np.int64)
            limits = np.flatnonzero(np.isin(self.limits.channel, channels))
            at = {c: i for i, c in enumerate(last)}
            place = np.array([at[c] for c in self.limits.channel[limits].tolist()], dtype=np.int64)
            tells = any(c in last for c in self._state_channels)
            self._plans[names] = _Plan(channels, np.array(list(last.values()), dtype=np.int64), limits, place, tells)
        return self._plans[names]

    def _row(self, plan: _Plan, time: float, given: Floats) -> list[HkChange]:
        which, limits, place = plan.channels, plan.limits, plan.place
        later = time > self.fresh.last[which]
        if not later.all():
            keep = later[place]
            limits, place = limits[keep], (np.cumsum(later) - 1)[place[keep]]
            which, given = which[later], given[later]
        if not which.size:
            return []
        value, valid = self.validity.physical(which, given)
        self.fresh.take(which, np.full(len(which), time), given, value, valid)
        out = self._look(time) if self.fresh.stale[which].any() else []
        if plan.tells_state:
            out += self._follow(time)
        judged = valid[place] & self._judging[limits]
        self._judge(limits[judged], value[place[judged]], time)
        return out + self.teller.limits(limits, time)

    @property
    def _judging(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        if self.instrument.now == UNTOLD:
            return self.applies & ~self._bound_to_states
        return self.applies

    def _judge(self, which: Index, value: Floats, time: float) -> None:
        if not which.size:
            return
        latest = np.where(self.fresh.speechless, np.nan, self.fresh.value)
        there, _ = self.limits.measure(which, value, np.full(len(which), time), latest)
        self.limits.edges.judge(there, self.limits.x[there], np.full(len(there), time))
        self.limits.judged[there] = True

    # time

    def tick(self, now: float) -> list[HkChange]:
        """It is `now` (Unix seconds): what is stale, which source is silent, in which state the instrument is."""
        if now < self.clock - SET_BACK_S:
            self._shift(now - self.clock)
        self.clock = now
        return self._tick(now)

    def _shift(self, by: float) -> None:
        """The clock was set, by so much: all that is known goes with it, else samples would be late, and nothing stale, until it is where it was."""
        self.looked += by
        for array in (self.fresh.last, self.fresh.last_valid, self.fresh.base, self.speakers.last, self.speakers.since, self.limits.anchor_time):
            array += by
        self.limits.edges.since += by
        self.instrument.shift(by)

    def unwatched(self, since: float, until: float) -> None:
        """Nobody watched between: no age grows by that time."""
        away = until - since
        self.clock = since
        if away > 0:
            self.clock, self.looked = until, max(self.looked, until)
            for last, base in ((self.fresh.last_valid, self.fresh.base), (self.speakers.last, self.speakers.since)):
                base[:] = np.maximum(last, base) + away

    def _tick(self, now: float) -> list[HkChange]:
        out = [self.teller.source(name, silent, now) for name, silent in self.speakers.look(now)]
        out += self._look(now)
        if self._state_channels:
            out += self._follow(now)
        return out

    def _look(self, now: float) -> list[HkChange]:
        self.looked = max(self.looked, now)
        before = self.fresh.stale
        self.fresh.look(now)
        caused = self.speakers.explains(self.fresh, now)
        out = self.teller.data(caused, now, self.watched)
        turned = np.flatnonzero(self.fresh.stale != before)
        if turned.size:
            limits = np.flatnonzero(np.isin(self.limits.channel, turned))
            gone = limits[self.fresh.stale[self.limits.channel[limits]]]
            self.limits.reset(gone, violations=False)
            out += self.teller.limits(limits, now)
        return out

    def _follow(self, now: float) -> list[HkChange]:
        values: dict[str, str] = {}
        for c, name in zip(self._state_channels, sorted(self.instrument.channels), strict=True):
            if self.fresh.last_valid[c] > -np.inf and not self.fresh.stale[c]:
                value = float(self.fresh.value[c])
                values[name] = value_text(self.word(value)) if self.facts[c].text else f"{value:.10g}"
        if not self.instrument.follow(values, now):
            return []
        before = self.applies
        self.applies = self._applying()
        self.limits.reset(np.flatnonzero(before & ~self.applies), violations=True)
        return self.teller.limits(np.flatnonzero(self._bound_to_states), now)

    def _applying(self) -> np.ndarray[tuple[int], np.dtype[np.bool_]]:
        state = self.instrument.now
        return np.array([not b.spec.states or state == UNTOLD or state in b.spec.states for b in self.limits.limits], dtype=bool)

    def again(self) -> None:
        """What was known is known again: what follows from it."""
        self.applies = self._applying()

    # what is so now

    @staticmethod
    def state_of(code: int) -> HkState:
        """The state of a number of `codes`."""
        return STATES[code]

    def codes(self, which: Index) -> Index:
        """The state of the limits `which`, as numbers of `telling`."""
        limits = self.limits
        channel, reference = limits.channel[which], limits.reference[which]
        if not len(which):
            return np.zeros(0, dtype=np.int64)
        no_reference = (reference >= 0) & self.fresh.speechless[reference]
        unknown = ~limits.judged[which] | no_reference | ~self._judging[which]
        state = np.where(limits.edges.history[which].any(axis=1), PENDING, NORMAL)
        state = np.where(unknown, UNKNOWN, state)
        state = np.where(self.fresh.stale[channel], STALE, state)
        state = np.where(limits.edges.violated[which].any(axis=1), VIOLATING, state)
        return np.asarray(np.where(self.applies[which], state, OFF))

    def states(self, now: float) -> tuple[HkChange, ...]:
        """Everything that is watched as it is now: limits, then the data of channels that are not as they should be."""
        return (*self.teller.all_limits(now), *self.teller.all_data(now, self.watched))

    def counts(self) -> Mapping[str, str]:
        """The state of each channel: the worst of its data and its limits."""
        return self.teller.channels()

    @property
    def healthy(self) -> bool:
        """Whether all channels that were ever expected have valid data."""
        return bool((self.fresh.state == FINE).all())
