"""How long events stay in the journal: details for a month, facts for ever, unless the site says otherwise.

Heartbeats go after an hour (see `vitals`).

What is removed leaves no gap for a listener: its numbers are not given again, and the replay socket says through which number nothing is missing.
Events that a sink has not taken yet stay, and so does the last one, by which the numbers go on. Jobs, exposures and known raw files are not events,
and stay: a raw file that was forgotten would be processed again.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Collection
from dataclasses import dataclass

import sqlalchemy as sa

from quicklook.core.events import (
    PAYLOADS,
    Heartbeat,
    Mirrored,
    PlotDrawn,
    PlotsReady,
    PlotsSkipped,
    ProductWritten,
    QADone,
    SessionNow,
    SinkGaveUp,
    Started,
    StepDone,
)
from quicklook.service.journal.journal import EVENTS, POSITIONS, Journal
from quicklook.service.running.attending import Surroundings
from quicklook.service.settings import RetentionSettings
from quicklook.service.verdicts.concluding import Conclusion

log = logging.getLogger("quicklook.retention")

_DETAILED = (Started, StepDone, QADone, PlotsReady, PlotDrawn, PlotsSkipped, ProductWritten, SinkGaveUp, Mirrored, SessionNow)
DETAILS = frozenset(payload.kind for payload in _DETAILED)
FACTS = frozenset(PAYLOADS) - DETAILS - {Heartbeat.kind}
_DAY_NS = 86400 * 10**9
_LONGEST_DAYS = 36500.0
_BATCH = 2000
"""So many are removed in one transaction, a few hundredths of a second: nobody waits for it."""
_FIRST_S, _PERIOD_S = 60.0, 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """Events of these kinds go when they are older than so many days."""

    kinds: frozenset[str]
    days: float


def rules_of(settings: RetentionSettings) -> list[Rule]:
    """The rules of a site; none for what stays for ever."""
    both = (Rule(kinds=DETAILS, days=settings.details_days), Rule(kinds=FACTS, days=settings.facts_days))
    return [rule for rule in both if rule.days > 0]


def last_removable(connection: sa.Connection, rule: Rule, sinks: Collection[str] | None, now_ns: int) -> int:
    """The number up to which events are old enough, were taken by these sinks (None: all that ever were), and are not the last; 0: none.

    Numbers and times rise together, so that the place is found by halving.
    """
    high = int(connection.execute(sa.select(sa.func.max(EVENTS.c.seq))).scalar() or 0) - 1
    taken = {sink: int(seq) for sink, seq in connection.execute(sa.select(POSITIONS.c.sink, POSITIONS.c.seq))}
    # one that has never taken any has no position yet
    high = min((high, *(taken.get(sink, 0) for sink in (taken if sinks is None else sinks))))
    low, before_ns = 0, now_ns - int(min(rule.days, _LONGEST_DAYS) * _DAY_NS)
    while low < high:
        middle = (low + high + 1) // 2
        at = sa.select(EVENTS.c.time).where(EVENTS.c.seq <= middle).order_by(EVENTS.c.seq.desc()).limit(1)
        time_ns = connection.execute(at).scalar()
        if time_ns is None or time_ns < before_ns:
            low = middle
        else:
            high = middle - 1
    return max(low, 0)


def count_old(connection: sa.Connection, rule: Rule, through: int) -> int:
    """How many events a rule would remove up to a number."""
    return int(connection.execute(sa.select(sa.func.count()).where(EVENTS.c.seq <= through, EVENTS.c.kind.in_(list(rule.kinds)))).scalar() or 0)


def remove_batch(journal: Journal, rule: Rule, through: int, limit: int = _BATCH) -> int:
    """Remove some of the events of a rule, up to a number, the oldest first. Returns how many; 0: there are no more."""
    with journal.transaction() as connection:
        oldest = sa.select(EVENTS.c.seq).where(EVENTS.c.seq <= through, EVENTS.c.kind.in_(list(rule.kinds))).order_by(EVENTS.c.seq).limit(limit)
        return connection.execute(sa.delete(EVENTS).where(EVENTS.c.seq.in_(oldest))).rowcount


def remove_all(journal: Journal, settings: RetentionSettings) -> dict[str, int]:
    """Remove what is too old and was taken by every sink that ever was, batch by batch. Returns how many, by `details` and `facts`."""
    out = {"details": 0, "facts": 0}
    for rule in rules_of(settings):
        with journal.reading() as connection:
            through = last_removable(connection, rule, None, time.time_ns())
        while n := remove_batch(journal, rule, through):
            out["details" if rule.kinds == DETAILS else "facts"] += n
    return out


def count_all(journal: Journal, settings: RetentionSettings) -> dict[str, int]:
    """What `remove_all` would remove."""
    out = {"details": 0, "facts": 0}
    with journal.reading() as connection:
        for rule in rules_of(settings):
            through = last_removable(connection, rule, None, time.time_ns())
            out["details" if rule.kinds == DETAILS else "facts"] += count_old(connection, rule, through)
    return out


class Keeper:
    """Removes in the daemon what is too old, once a day, a little at every turn."""

    def __init__(self, around: Surroundings) -> None:
        self._journal, self._sinks = around.journal, tuple(around.site.file.sinks)
        self._rules = rules_of(around.site.file.retention)
        self._work: list[tuple[Rule, int]] = []
        self._next, self._removed = time.monotonic() + _FIRST_S, 0

    def turn(self) -> None:
        """Remove a batch, if there is any. Raises what the journal raises: then it is done at the next turn."""
        if self._work:
            rule, through = self._work[0]
            n = remove_batch(self._journal, rule, through, _BATCH)
            self._removed += n
            if n == 0:
                self._work.pop(0)
                if not self._work and self._removed:
                    log.info("%d old events were removed from the journal", self._removed)
        elif time.monotonic() >= self._next:
            with self._journal.reading() as connection:
                self._work = [(rule, last_removable(connection, rule, self._sinks, time.time_ns())) for rule in self._rules]
            self._next, self._removed = time.monotonic() + _PERIOD_S, 0

    def closed(self, connection: sa.Connection, done: Conclusion) -> None:
        """Nothing of that is old."""

    @property
    def idle(self) -> bool:
        """What is left can be removed at the next start."""
        return True

    def close(self) -> None:
        """Nothing is open."""


def keeper(around: Surroundings) -> Keeper | None:
    """For a site; None where everything stays for ever."""
    return Keeper(around) if rules_of(around.site.file.retention) else None
