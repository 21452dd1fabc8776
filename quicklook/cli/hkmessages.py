"""What people would have been told of a log: messages a day, of which alarms, by channel."""

from __future__ import annotations

from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import typer

if TYPE_CHECKING:
    from quicklook.core.alarm_replay import WouldBeTold, WouldTell
    from quicklook.core.housekeeping_watch import Replayed

_LISTED = 4


def messages_of(done: Replayed, rules: str, least: str) -> WouldBeTold:
    """Of a replay, by rules (a name in configs/alerts, or a file). Raises BadConfig."""
    from quicklook.core.alarm_replay import alarm_replay
    from quicklook.core.errors import BadConfig
    from quicklook.core.severity import Severity
    from quicklook.io.configfiles import find_config

    try:
        severity = Severity(least.upper())
    except ValueError as error:
        raise BadConfig(f"--least {least}: there is no such severity; write one of {', '.join(s.lower() for s in list(Severity)[1:])}") from error
    return alarm_replay().told(done.changes, find_config("alerts", rules), until=done.last if done.rows else 0.0, least=severity)


def by_day(done: Replayed, told: WouldBeTold) -> list[dict[str, Any]]:
    """A row for each day (UTC) with data or messages: messages, alarms that began and ended, what they were about, most often first."""
    days: dict[str, list[WouldTell]] = {day: [] for day in done.per_day}
    for message in told.messages:
        days.setdefault(datetime.fromtimestamp(message.time, UTC).date().isoformat(), []).append(message)
    return [_row(day, said) for day, said in sorted(days.items())]


def _row(day: str, said: list[WouldTell]) -> dict[str, Any]:
    begun, ended = ([key.partition("/")[2] for m in said for key in getattr(m, kind)] for kind in ("begun", "ended"))
    about = dict(Counter(_channel(k) for k in begun).most_common())
    return {"day": day, "messages": len(said), "began": len(begun), "ended": len(ended), "about": about}


def _channel(subject: str) -> str:
    return subject if subject.startswith("source:") else subject.partition("/")[0]


def show_messages(done: Replayed, told: WouldBeTold) -> None:
    """The table, and its sum."""
    if done.faults:
        typer.echo(f"{sum(f.count for f in done.faults)} faults in the log; without --messages they are listed")
    if not done.rows:
        typer.echo("no samples: nothing was judged")
        return
    rows = by_day(done, told)
    typer.echo(f"{'day':10}  {'messages':>8}  {'began':>5}  {'ended':>5}  about")
    for row in rows:
        names = [f"{name} ({n})" if n > 1 else name for name, n in row["about"].items()]
        more = f", and {len(names) - _LISTED} more" if len(names) > _LISTED else ""
        typer.echo(f"{row['day']}  {row['messages']:8d}  {row['began']:5d}  {row['ended']:5d}  {', '.join(names[:_LISTED])}{more}")
    counts = sorted(int(r["messages"]) for r in rows)
    if counts:
        typer.echo(f"{sum(counts)} messages in {len(counts)} days: at most {counts[-1]} a day, median {counts[len(counts) // 2]}")
    often = Counter(dict(told.alarms)).most_common(12)
    for key, n in often:
        typer.echo(f"  {n:5d}  {key}")
    if len(told.alarms) > len(often):
        typer.echo(f"  ... and {len(told.alarms) - len(often)} more alarms")
    if told.standing:
        typer.echo(f"{len(told.standing)} alarms stood at the end: {', '.join(told.standing[:6])}{', ...' if len(told.standing) > 6 else ''}")
