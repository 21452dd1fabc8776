"""How alarms stand, and what has become of them, read from the events of the journal alone."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from quicklook.core.alarms import AlarmNow, AlarmPast, MuteNow, begins
from quicklook.core.events import AlarmChanged, CommandGiven, Event, MutesChanged
from quicklook.service.journal.journal import Journal

MARKS = ("useful", "noise")
_CLOSED = "closed"
_PAGE = 2000


@dataclass(frozen=True, slots=True, kw_only=True)
class Alarms:
    """All that the journal has of alarms: those that stand, mutes that stand, and every incident by fingerprint, oldest first."""

    now: tuple[AlarmNow, ...]
    mutes: tuple[MuteNow, ...]
    past: tuple[AlarmPast, ...]


def read_alarms(journal: Journal) -> Alarms:
    """From the first event that the journal still has to the last."""
    standing: dict[str, AlarmNow] = {}
    mutes: tuple[MuteNow, ...] = ()
    past: dict[str, AlarmPast] = {}
    for event in _events(journal):
        payload = event.typed()
        if isinstance(payload, AlarmChanged):
            alarm = payload.alarm
            standing[alarm.key] = alarm
            past[alarm.fingerprint] = _grown(past.get(alarm.fingerprint), alarm, event.time)
            if alarm.state == _CLOSED:
                del standing[alarm.key]
        elif isinstance(payload, MutesChanged):
            mutes = tuple(payload.mutes)
        elif isinstance(payload, CommandGiven) and payload.name == "mark" and payload.done:
            text = payload.args.get("alarm", "")
            known = past.get(text) or one_of(past.values(), text)
            if known is not None:
                past[known.fingerprint] = known.model_copy(update={"mark": payload.args.get("as", "")})
    order = sorted(standing.values(), key=lambda a: (-a.worst.rank, a.began))
    return Alarms(now=tuple(order), mutes=mutes, past=tuple(p for p in past.values() if p.fired is not None))


def one_of(past: Iterable[AlarmPast], text: str) -> AlarmPast | None:
    """The one whose fingerprint is that, or begins so; None where there is none, or more than one."""
    found = [p for p in past if begins(text, p.fingerprint)]
    return found[0] if len(found) == 1 else None


def _events(journal: Journal) -> Iterator[Event]:
    after, kinds = 0, (AlarmChanged.kind, MutesChanged.kind, CommandGiven.kind)
    while page := journal.events(after, limit=_PAGE, kinds=kinds):
        yield from page
        after = page[-1].seq


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
