"""What people tell the daemon to do with alarms: looked at before it goes into the journal, from where the sink of alarms takes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pydantic import ValidationError

from quicklook.core.alarms import MuteWish, begins, matches, names_alarm
from quicklook.core.errors import BadConfig, BadData, describe
from quicklook.service.alarms.view import MARKS, Alarms, one_of, read_alarms
from quicklook.service.journal.journal import Journal

Answer = tuple[str, dict[str, Any]]


def _acknowledge(alarms: Alarms, args: Mapping[str, str]) -> Answer:
    pattern = args.get("alarm", "")
    found = [a.key for a in alarms.now if names_alarm(pattern, a.key, a.fingerprint)]
    if len(found) > 1 and len([a for a in alarms.now if begins(pattern, a.fingerprint)]) > 1:
        raise BadData(f"more than one alarm has a fingerprint that begins with {pattern!r}: {', '.join(found)}", what_next="Give more digits.")
    if not found:
        raise BadData(f"no alarm that stands is called {pattern!r}", what_next="See `quicklook alarms list`; it may be over by now.")
    return f"acknowledged: {', '.join(found)}", {"alarms": found}


def _mute(alarms: Alarms, args: Mapping[str, str]) -> Answer:
    try:
        wish = MuteWish.model_validate(dict(args))
    except ValidationError as error:
        raise BadConfig(f"this cannot be muted: {describe(error)}", what_next="Say which alarms, for how many minutes, and why.") from error
    found = [a.key for a in alarms.now if matches(wish.pattern, a.key)]
    return f"muted for {wish.minutes:g} minutes: {', '.join(found) or f'what may come of {wish.pattern}'}", {"alarms": found}


def _unmute(alarms: Alarms, args: Mapping[str, str]) -> Answer:
    wanted = args.get("mute", "")
    if wanted not in {m.id for m in alarms.mutes}:
        said = ", ".join(f"{m.id} ({m.pattern})" for m in alarms.mutes) or "none"
        raise BadData(f"there is no mute {wanted!r}; there are: {said}", what_next="Name one of these.")
    return f"{wanted} is over", {}


def _mark(alarms: Alarms, args: Mapping[str, str]) -> Answer:
    fingerprint, mark = args.get("alarm", ""), args.get("as", "")
    if mark not in MARKS:
        raise BadConfig(f"an alarm is {' or '.join(MARKS)}, not {mark!r}", what_next="Say one of these.")
    if one_of(alarms.past, fingerprint) is None:
        more = [p for p in alarms.past if begins(fingerprint, p.fingerprint)]
        said = f"more than one alarm has a fingerprint that begins with {fingerprint!r}" if more else f"no alarm has the fingerprint {fingerprint!r}"
        raise BadData(said, what_next="Its fingerprint stands in its message and in `quicklook alarms list`.")
    return f"{fingerprint} was {mark}", {}


WISHES: Mapping[str, Callable[[Alarms, Mapping[str, str]], Answer]] = {
    "acknowledge": _acknowledge,
    "mute": _mute,
    "unmute": _unmute,
    "mark": _mark,
}


def wish(name: str, journal: Journal, args: Mapping[str, str]) -> Answer:
    """What is said to somebody who wishes it; what comes of it follows from its event. Raises BadConfig or BadData where it cannot be done."""
    return WISHES[name](read_alarms(journal), args)
