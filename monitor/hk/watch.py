"""The watch at work: asks the sources, stores what came, has it checked. What fails is told, and stops nothing else."""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from monitor.hk.checker import Checker
from monitor.hk.loading import HkConfig
from monitor.hk.memory import as_text, from_text, gone, remember, remembered
from monitor.hk.plugins import context_of, make_source
from monitor.hk.store import HkStore
from quicklook.core.errors import BadConfig, Transient, describe
from quicklook.core.housekeeping import Batch, HkChange, HkFault, HkSource, HkState, Taken
from quicklook.core.severity import Severity

log = logging.getLogger("quicklook.hk")

AHEAD_S = 300.0
"""A sample that is so far ahead of our clock is not judged: it would make all that come after it late."""
_TURN_S = 0.3
"""A source is asked for so long in one turn; then the others have theirs."""
_MOST_WAITING = 2_000_000
"""Values that may wait for a store that cannot be written; after that the oldest are given up."""
_TRIM_S = 600.0
_MOST_FAULTS = 1000
_MOST_GIVEN = 5000
"""Changes that are held until they are kept elsewhere."""


@dataclass(slots=True)
class _Running:
    """A source at work. `closed`: it is to be opened (again), at `retry` the earliest."""

    name: str
    source: HkSource[Any]
    closed: bool = True
    retry: float = -np.inf
    failed: str = ""
    waiting: list[Taken] = field(default_factory=list)


class Trouble:
    """Things that either work or do not, each told once when that changes: a source that fails, the store, the checker itself."""

    def __init__(self, since: Mapping[str, float] | None = None) -> None:
        self._since = dict(since or {})

    @property
    def since(self) -> Mapping[str, float]:
        """What does not work now, and since when."""
        return self._since

    def look(self, subject: str, kind: str, failed: str, severity: Severity, now: float, action: str) -> list[HkChange]:
        """The change, if there is one; `failed` is why it does not work, "" where it does."""
        known = self._since.get(subject)
        if bool(failed) == (known is not None):
            return []
        if failed:
            self._since[subject] = now
        else:
            del self._since[subject]
        state, before = (HkState.VIOLATING, HkState.NORMAL) if failed else (HkState.NORMAL, HkState.VIOLATING)
        return [
            HkChange(
                subject=subject, channel="", limit="works", kind=kind, state=state, before=before, severity=severity if failed else Severity.NONE,
                time=now, since=now, text=failed, reason="What does not work watches nothing." if failed else "", action=action if failed else "",
            )
        ]  # fmt: skip


class GuardedChecker:
    """The checker, with its own failure as an alarm: after one it begins anew, and what it knew is to be judged again."""

    def __init__(self, config: HkConfig, started: float, trouble: Trouble) -> None:
        self._config, self.trouble = config, trouble
        self.checker = Checker(config, started)

    def check(self, batches: Sequence[Batch], now: float) -> list[HkChange]:
        """All batches in the order of time, then what time it is."""
        out: list[HkChange] = []
        failed = ""
        try:
            for batch in batches:
                out += self.checker.feed(batch)
            out += self.checker.tick(now)
        except Exception as error:  # whatever it is, nothing must pass for normal
            log.exception("the checker of housekeeping has failed")
            failed = describe(error)
            self.checker = Checker(self._config, now)
        action = "Tell the developers; until the next good look nothing of the housekeeping is judged."
        return out + self.trouble.look("checker", "checker", failed, Severity.ALARM, now, action)


class Watch:
    """All sources of a configuration, one store, one checker. See `quicklook.core.housekeeping_watch.HkWatch`.

    What the checker knows, and what it has said and nobody has kept yet, is in the store with the samples: a restart goes on with it.
    A source that cannot be opened is tried again every 10 s. Raises BadConfig where plugins or parameters are wrong, or the store cannot be opened.
    """

    def __init__(self, config: HkConfig, store: Path, started: float) -> None:
        self.config = config
        self._running = [_Running(name, make_source(config, name)) for name in config.file.sources]
        self.store = HkStore(store, writing=True)
        self._faults: list[HkFault] = []
        self._trimmed = started
        self._given: list[HkChange] = []
        """Changes that were given and are not known to be kept, the last of `_n_given`."""
        self._n_given = 0
        self._untold = True
        """Whether the store has changes that nobody is known to have kept."""
        self._known: list[object] | None = None
        """The state of the instrument as the store has it, where it has what the checker knows (time alone may change it); None where it has not."""
        self._go_on(started)

    def _go_on(self, started: float) -> None:
        """With what the watch before this one knew, where there was one."""
        self._trouble = Trouble()
        self._guarded = GuardedChecker(self.config, started, self._trouble)
        blob, clock = self.store.fact("checker"), self.store.fact("clock")
        self._again: list[HkChange] = []
        if not isinstance(blob, bytes):
            return
        try:
            since, untold = json.loads(self.store.fact("trouble") or "{}"), from_text(str(self.store.fact("untold") or "[]"))
            over = remember(self.checker, blob)
            self.checker.unwatched(float(str(clock)), started)
        except Exception as error:  # a store of another version, or a damaged one
            log.warning("housekeeping begins anew: %s", describe(error))
            self._guarded = GuardedChecker(self.config, started, self._trouble)
            return
        known = {"store", "checker", *(f"source:{each.name}/works" for each in self._running)}
        over += [gone(s, started, HkState.VIOLATING) for s in since if s not in known]
        self._trouble = self._guarded.trouble = Trouble({s: float(t) for s, t in since.items() if s in known})
        self._again = untold + over

    @property
    def checker(self) -> Checker:
        """The checker, for what is so now."""
        return self._guarded.checker

    def turn(self, now: float) -> tuple[HkChange, ...]:
        """Ask each source, store what came, check it. Raises nothing over what a source or the store does."""
        out, self._again = self._again, []
        batches: list[Batch] = []
        for each in self._running:
            batches += self._ask(each, now)
            action = "See whether what it reads is there; it is tried again by itself."
            out += self._trouble.look(f"source:{each.name}/works", "source", each.failed, Severity.WARNING, now, action)
        batches.sort(key=lambda b: float(b.times[0]))
        out += self._guarded.check([b for b in (_until(b, now + AHEAD_S) for b in batches) if len(b.times)], now)
        failed = self._store(now, out, judged=bool(batches or out or self._known != self.checker.instrument.state))
        action = "Look at the disk of the store; it is tried again by itself."
        out += self._trouble.look("store", "store", failed, Severity.ALARM, now, action)
        self._given = [*self._given, *out][-_MOST_GIVEN:]
        self._n_given += len(out)
        return tuple(out)

    def kept(self, n: int) -> None:
        """The first `n` of all changes that were given are kept elsewhere: they are not given again after a restart."""
        del self._given[: max(0, len(self._given) - (self._n_given - n))]

    def _ask(self, each: _Running, now: float) -> list[Batch]:
        if each.closed and not self._open(each, now):
            return []
        out: list[Batch] = []
        end = time.monotonic() + _TURN_S
        while True:
            taken = each.source.take(each.name, now)
            each.failed = taken.failed
            self._note(taken.faults)
            batches = [b for b in taken.batches if len(b.times)]
            self._note_ahead(each.name, batches, now)
            out += batches
            if batches or taken.positions:
                each.waiting.append(taken)
            if not taken.more or time.monotonic() > end:
                return out

    def _open(self, each: _Running, now: float) -> bool:
        if now < each.retry:
            return False
        try:
            each.source.open(context_of(self.config, each.name, self.store.positions(each.name)))
        except Exception as error:  # of a plugin
            each.retry, each.failed = now + 10.0, describe(error)
            self._note([HkFault(source=each.name, time=now, where=each.name, message=each.failed, kind=type(error).__name__)])
            return False
        each.closed, each.failed = False, ""
        return True

    def _note_ahead(self, name: str, batches: Sequence[Batch], now: float) -> None:
        ahead = sum(int((b.times > now + AHEAD_S).sum()) for b in batches)
        if ahead:
            said = f"samples are more than {AHEAD_S:.0f} s ahead of our clock: one of the clocks is wrong; they are stored and not judged"
            self._note([HkFault(source=name, time=now, where=name, message=said, count=ahead, kind="Clock")])

    def _store(self, now: float, out: Sequence[HkChange], *, judged: bool) -> str:
        """Store what waits, and with it what the checker knows (if it has `judged` anything); returns why it cannot be stored."""
        try:
            facts: dict[str, str | bytes] = {"clock": repr(now), "trouble": json.dumps(self._trouble.since)}
            if judged:
                facts["checker"] = remembered(self.checker)
            if self._given or out or self._untold:
                facts["untold"] = as_text([*self._given, *out])
            self._put(facts)
            self._untold, self._known = bool(self._given or out), self.checker.instrument.state if judged else self._known
            self.store.compact(now)
            if now - self._trimmed > _TRIM_S:
                self._trimmed = now
                self.store.trim(now, self.config.file.store.keep_days, self.config.file.store.max_mb)
        except (Transient, BadConfig) as error:
            self._known = self._known if not judged else None
            self._give_up(now)
            return describe(error)
        return ""

    def _put(self, facts: Mapping[str, str | bytes]) -> None:
        self.store.put([(e.name, t.batches, t.positions) for e in self._running for t in e.waiting], facts, self.config.aliases)
        for each in self._running:
            each.waiting.clear()

    def _give_up(self, now: float) -> None:
        for each in self._running:
            sizes = [sum(b.size for b in t.batches) for t in each.waiting]
            while sum(sizes) > _MOST_WAITING:
                each.waiting.pop(0)
                lost = sizes.pop(0)
                said = "samples were given up: the store cannot be written"
                self._note([HkFault(source=each.name, time=now, where="store", message=said, count=lost)])

    def _note(self, faults: Sequence[HkFault]) -> None:
        self._faults = [*self._faults, *faults][-_MOST_FAULTS:]

    def faults(self) -> tuple[HkFault, ...]:
        """Faults since the last call, the last 1000 at most."""
        found, self._faults = tuple(self._faults), []
        return found

    def states(self, now: float) -> tuple[HkChange, ...]:
        """Everything that is watched as it is now."""
        return self.checker.states(now)

    def channels(self) -> Mapping[str, str]:
        """The worst state of each channel."""
        return self.checker.counts()

    def close(self) -> None:
        """Store what is left, close sources and store."""
        for each in self._running:
            try:
                each.source.close()
            except Exception as error:  # of a plugin; the others are to be closed too
                log.warning("source %s could not be closed: %s", each.name, describe(error))
        try:
            facts: dict[str, str | bytes] = {"checker": remembered(self.checker)} if self._known is None else {}
            self._put({**facts, "untold": as_text([*self._given, *self._again]), "trouble": json.dumps(self._trouble.since)})
        except (Transient, BadConfig) as error:
            log.warning("the last samples could not be stored: %s", describe(error))
        self.store.close()


def _until(batch: Batch, latest: float) -> Batch:
    """What of it is not later than that."""
    n = int(np.searchsorted(batch.times, latest, side="right"))
    if n == len(batch.times):
        return batch
    return replace(batch, times=batch.times[:n], values=batch.values[:n], texts={name: t[:n] for name, t in batch.texts.items()})
