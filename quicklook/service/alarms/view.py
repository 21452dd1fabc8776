"""How alarms stand, and what has become of them, read from the events of the journal alone."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from quicklook.core.alarms import AlarmNow, AlarmPast, MuteNow, begins
from quicklook.core.events import AlarmChanged, CommandGiven, Event, MutesChanged
from quicklook.service.journal.journal import Journal

MARKS = ("useful", "noise")
KINDS = (AlarmChanged.kind, MutesChanged.kind, CommandGiven.kind)
"""Events that tell of alarms."""
_CLOSED = "closed"
_PAGE = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """All that the journal has of alarms: those that stand, mutes that stand, and every incident by fingerprint, oldest first."""

    now: tuple[AlarmNow, ...]
    mutes: tuple[MuteNow, ...]
    past: tuple[AlarmPast, ...]


class AlarmStory:
    """Alarms as events tell of them, one after the other: who follows a journal for weeks reads no event twice."""

    def __init__(self) -> None:
        self._after = 0
        self._standing: dict[str, AlarmNow] = {}
        self._mutes: tuple[MuteNow, ...] = ()
        self._past: dict[str, AlarmPast] = {}

    def read_on(self, journal: Journal) -> Alarms:
        """With what the journal has got since the last time; the first time from the first event that it still has. Raises what a journal raises."""
        while page := journal.events(self._after, limit=_PAGE, kinds=KINDS):
            for event in page:
                self._take(event)
                self._after = event.seq
        order = sorted(self._standing.values(), key=lambda a: (-a.worst.rank, a.began))
        return Alarms(now=tuple(order), mutes=self._mutes, past=tuple(p for p in self._past.values() if p.fired is not None))

    def _take(self, event: Event) -> None:
        payload = event.typed()
        if isinstance(payload, AlarmChanged):
            self._changed(payload.alarm, event.time)
        elif isinstance(payload, MutesChanged):
            self._mutes = tuple(payload.mutes)
        elif isinstance(payload, CommandGiven) and payload.name == "mark" and payload.done:
            text = payload.args.get("alarm", "")
            known = self._past.get(text) or one_of(self._past.values(), text)
            if known is not None:
                self._past[known.fingerprint] = known.model_copy(update={"mark": payload.args.get("as", "")})

    def _changed(self, alarm: AlarmNow, time: int) -> None:
        before = self._standing.get(alarm.key)
        if before is not None and before.fingerprint != alarm.fingerprint:  # it ended and came again between two events: nobody told its end
            over = self._past[before.fingerprint]
            self._past[before.fingerprint] = over.model_copy(update={"ended": over.ended or alarm.began})
        self._standing[alarm.key] = alarm
        self._past[alarm.fingerprint] = _grown(self._past.get(alarm.fingerprint), alarm, time)
        if alarm.state == _CLOSED:
            del self._standing[alarm.key]


def read_alarms(journal: Journal) -> Alarms:
    """From the first event that the journal still has to the last."""
    return AlarmStory().read_on(journal)


def one_of(past: Iterable[AlarmPast], text: str) -> AlarmPast | None:
    """The one whose fingerprint is that, or begins so; None where there is none, or more than one."""
    found = [p for p in past if begins(text, p.fingerprint)]
    return found[0] if len(found) == 1 else None


def _grown(known: AlarmPast | None, alarm: AlarmNow, time: int) -> AlarmPast:
    if known is None:
        known = AlarmPast(fingerprint=alarm.fingerprint, key=alarm.key, rule=alarm.rule, what=alarm.what, worst=alarm.worst, fired=alarm.fired)
    acknowledged = alarm.by != "" and alarm.state in ("acknowledged", _CLOSED) and known.acknowledged is None
    over = alarm.state in ("resolved", _CLOSED)
    return known.model_copy(update={
        "what": alarm.what or known.what,
        "worst": max(known.worst, alarm.worst),
        "fired": known.fired if known.fired is not None else alarm.fired,
        "ended": (known.ended or alarm.ended or time) if over else known.ended,
        "acknowledged": time if acknowledged else known.acknowledged,
        "by": alarm.by if acknowledged else known.by,
        "told": list(alarm.told) or known.told,
    })  # fmt: skip
