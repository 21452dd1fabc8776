"""The state machine of alarms: signals, people and time go in; changes and notices come out. Pure: it reads no clock and tells nobody itself.

An incident is told once when it fires, once more for each time that it becomes worse or comes back, and once when it is over. All that it knows is in
its incidents and mutes, so that one that is made anew from these goes on as if nothing had happened. How an incident lives is in `lifecycle`, what
folds what in `folding`, what mutes do in `muting`, who is told in `telling`; all of them change what stands (`standing`), and nothing else.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from monitor.alerts import lifecycle
from monitor.alerts.folding import fold, with_folded
from monitor.alerts.handling import Handling
from monitor.alerts.model import Incident, Mute, Signal
from monitor.alerts.muting import end_mutes, mark_all
from monitor.alerts.standing import Outcome, Standing
from monitor.alerts.telling import tell_what_is_due
from quicklook.core.alarms import matches
from quicklook.core.severity import Severity


class Machine:
    """Incidents by key, mutes by id. `handling` is by rule, the default for others. `now` is never twice the same, and goes back only where the clock
    was set back by more than a minute.

    `routes` says who is told of what a rule without channels raises, by severity.
    """

    def __init__(
        self,
        handling: Mapping[str, Handling],
        incidents: Iterable[Incident] = (),
        mutes: Iterable[Mute] = (),
        now: int = 0,
        routes: Mapping[Severity, tuple[str, ...]] | None = None,
    ) -> None:
        self._standing = Standing(
            handling=handling, routes=routes or {}, incidents={i.key: i for i in incidents}, mutes={m.id: m for m in mutes}, now=now
        )

    @property
    def incidents(self) -> dict[str, Incident]:
        """By key."""
        return self._standing.incidents

    @property
    def mutes(self) -> dict[str, Mute]:
        """By id."""
        return self._standing.mutes

    @property
    def now(self) -> int:
        """The time of the last input."""
        return self._standing.now

    def signal(self, now: int, signal: Signal) -> Outcome:
        """A condition is there, or gone."""
        standing = self._begin(now)
        known = standing.incidents.get(signal.key)
        if known is None or known.ended is not None:
            if signal.active:
                lifecycle.open_incident(standing, signal, known)
        else:
            lifecycle.update(standing, known, signal)
        lifecycle.advance(standing, signal.key)
        return standing.out

    def acknowledge(self, now: int, pattern: str, by: str, why: str = "") -> Outcome:
        """Somebody knows of the incidents whose key or fingerprint matches: no more messages until they are worse, over, or there for too long.

        What is over is closed, and an event of a frame too. Who knows the cause knows its consequences.
        """
        standing = self._begin(now)
        for incident in with_folded(standing, standing.matching(pattern)):
            lifecycle.acknowledge(standing, incident, by, why)
        return standing.out

    def mute(self, now: int, mute: Mute) -> Outcome:
        """No messages of what matches, until the mute ends; in place of one with the same id."""
        standing = self._begin(now)
        standing.mutes[mute.id] = mute
        mark_all(standing)
        return standing.out

    def unmute(self, now: int, mute_id: str, by: str) -> Outcome:
        """The mute ends now. Raises KeyError where there is none."""
        standing = self._begin(now)
        del standing.mutes[mute_id]
        mark_all(standing, by)
        return standing.out

    def tick(self, now: int) -> Outcome:
        """Time goes on: what has lasted long enough fires, what is due is told. To be called every few seconds, and after signals."""
        standing = self._begin(now)
        end_mutes(standing)
        for key in list(standing.incidents):
            lifecycle.advance(standing, key)
        fold(standing)
        tell_what_is_due(standing)
        return standing.out

    def retire(self, now: int, rules: Collection[str]) -> Outcome:
        """Only these rules are left: nothing will say any more of what others have raised that it is over."""
        standing = self._begin(now)
        for incident in [i for i in standing.incidents.values() if i.ended is None and i.rule not in rules]:
            lifecycle.retire(standing, incident)
        return standing.out

    def covered(self, pattern: str) -> Severity:
        """Up to which severity a mute of this pattern goes, if nobody says: of the worst that it covers now; of what is not there yet, ALARM."""
        found = [i.severity for i in self.incidents.values() if i.ended is None and matches(pattern, i.key)]
        return max(found, default=Severity.ALARM)

    def _begin(self, now: int) -> Standing:
        self._standing.begin(now)
        return self._standing
