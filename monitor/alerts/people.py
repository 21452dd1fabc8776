"""What people do with alarms, as it comes through the journal: acknowledge, mute, unmute, mark. Pure but for the clock of the event."""

from __future__ import annotations

from collections.abc import Mapping

from monitor.alerts.machine import Machine
from monitor.alerts.model import Mute
from monitor.alerts.standing import Outcome
from quicklook.core.alarms import MuteWish
from quicklook.core.events import CommandGiven

_S = 1_000_000_000


def obey(machine: Machine, given: CommandGiven, now: int, seq: int) -> Outcome:
    """What a command that was taken does to the alarms; nothing for one that is not about them."""
    does = {"acknowledge": _acknowledge, "mute": _mute, "unmute": _unmute}.get(given.name)
    return does(machine, given.args, given.by or "somebody", now, seq) if does is not None and given.done else Outcome()


def _acknowledge(machine: Machine, args: Mapping[str, str], by: str, now: int, _seq: int) -> Outcome:
    return machine.acknowledge(now, args.get("alarm", ""), by, args.get("reason", ""))


def _mute(machine: Machine, args: Mapping[str, str], by: str, now: int, seq: int) -> Outcome:
    wish = MuteWish.model_validate(dict(args))
    severity = wish.severity or machine.covered(wish.pattern)
    mute = Mute(
        id=f"mute-{seq}", pattern=wish.pattern, owner=by, reason=wish.reason, made=now, until=now + round(wish.minutes * 60) * _S, severity=severity
    )
    return machine.mute(now, mute)


def _unmute(machine: Machine, args: Mapping[str, str], by: str, now: int, _seq: int) -> Outcome:
    wanted = args.get("mute", "")
    return machine.unmute(now, wanted, by) if wanted in machine.mutes else Outcome()
