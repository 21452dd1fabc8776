"""`quicklook alarms`: how they stand, acknowledge, mute, mark, and the report card."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import OutOption, SiteOption, place_of

if TYPE_CHECKING:
    from quicklook.core.alarms import AlarmNow, MuteNow, ReportCard
    from quicklook.service.alarms.view import Alarms

ByOption = Annotated[str | None, typer.Option("--by", help="Who you are; default: your user name.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]
_STYLES = {"CRITICAL": "bold red", "ALARM": "red", "WARNING": "yellow", "NOTICE": ""}
_DAY_NS = 86_400_000_000_000
_SILENT_S = 60.0
"""A daemon that lives says something every 5 s: one that has said nothing for so long hangs, and raises no alarm."""


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    alarms = typer.Typer(no_args_is_help=True, help="Alarms: what stands, acknowledge it, mute it, say whether it was useful.")
    alarms.command("list")(list_alarms)
    alarms.command("ack")(ack)
    alarms.command("mute")(mute)
    alarms.command("unmute")(unmute)
    alarms.command("mark")(mark)
    alarms.command("report")(report)
    app.add_typer(alarms, name="alarms")


def list_alarms(site: SiteOption = None, out: OutOption = None, as_json: JsonOption = False) -> None:
    """Show the alarms that stand, worst first, and the mutes.

    Exit status: 1 where one fires that nobody has acknowledged or muted, 3 where nobody watches (no daemon, or one without the sink `alarms`),
    else 0.
    """
    found, blind = _read(site, out), _blind(site, out)
    if as_json:
        import json

        rows = {"alarms": [a.model_dump(mode="json") for a in found.now], "mutes": [m.model_dump(mode="json") for m in found.mutes]}
        typer.echo(json.dumps({**rows, "blind": blind}, indent=1, allow_nan=False))
    else:
        _show(found, blind)
    if blind or any(a.state == "firing" for a in found.now):
        raise typer.Exit(1 if any(a.state == "firing" for a in found.now) else 3)


def ack(
    alarm: Annotated[str, typer.Argument(help="Fingerprint of an alarm (its first six digits do), its key, or a pattern of keys with * and ?.")],
    reason: Annotated[str, typer.Option(help="What is known, what is done.")] = "",
    by: ByOption = None,
    site: SiteOption = None,
    out: OutOption = None,
) -> None:
    """Acknowledge alarms: you know of them. They go no further up, and are told again only when they are worse, or there for too long."""
    _send(site, out, by, "acknowledge", alarm=alarm, reason=reason)


def mute(
    pattern: Annotated[str, typer.Argument(help="Key of an alarm, or a pattern with * and ?.")],
    minutes: Annotated[float, typer.Option(help="For how long; at most two weeks.", min=0.01)],
    reason: Annotated[str, typer.Option(help="Why; everybody sees it.")],
    severity: Annotated[str, typer.Option(help="Up to which severity; default: of the worst it covers now, else ALARM.")] = "",
    by: ByOption = None,
    site: SiteOption = None,
    out: OutOption = None,
) -> None:
    """Mute alarms, those that stand and those that come. What becomes worse than the mute covers is told all the same."""
    _send(site, out, by, "mute", pattern=pattern, minutes=f"{minutes:g}", reason=reason, **({"severity": severity} if severity else {}))


def unmute(
    mute_id: Annotated[str, typer.Argument(metavar="MUTE", help="As `quicklook alarms list` shows it.")],
    by: ByOption = None,
    site: SiteOption = None,
    out: OutOption = None,
) -> None:
    """End a mute."""
    _send(site, out, by, "unmute", mute=mute_id)


def mark(
    alarm: Annotated[str, typer.Argument(help="Fingerprint of an alarm; its first six digits do.")],
    as_what: Annotated[str, typer.Argument(metavar="useful|noise", help="What it was.")],
    by: ByOption = None,
    site: SiteOption = None,
    out: OutOption = None,
) -> None:
    """Say whether an alarm was useful or noise. The report card counts it."""
    _send(site, out, by, "mark", alarm=alarm, **{"as": as_what})


def report(
    days: Annotated[float, typer.Option(help="The last so many days.", min=0.01, max=36500.0)] = 30.0,
    site: SiteOption = None,
    out: OutOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report card: how many alarms, of which rule, useful or noise, how long until somebody knew, rules that nobody ever acted on."""
    from quicklook.service.alarms.report import report_card

    now = time.time_ns()
    card = report_card(_read(site, out).past, now - round(days * _DAY_NS), now)
    typer.echo(card.model_dump_json(indent=1)) if as_json else _show_card(card)


def _read(site: Path | None, out: Path | None) -> Alarms:
    from quicklook.core.errors import BadConfig
    from quicklook.service.alarms.view import read_alarms
    from quicklook.service.journal.journal import Journal, journal_path

    path = journal_path(place_of(site, out)[0])
    if not path.is_file():
        raise BadConfig(f"{path.parent} has no journal: no daemon has ever worked in it; give --site or --out of one that has")
    journal = Journal(path, time.time_ns, to_read=True)
    try:
        return read_alarms(journal)
    finally:
        journal.close()


def _blind(site: Path | None, out: Path | None) -> str:
    """Why no alarm is raised now, whatever happens; empty where a daemon watches."""
    from quicklook.service.journal.journal import Journal, daemon_lives, journal_path
    from quicklook.service.publishing.snapshot import state_of

    folder = place_of(site, out)[0]
    if not daemon_lives(folder):
        return f"no daemon works in {folder}"
    journal = Journal(journal_path(folder), time.time_ns, to_read=True)
    try:
        state = state_of(journal, units=0)
    finally:
        journal.close()
    beat, silent_s = state.heartbeat, (time.time_ns() - (state.heartbeat_time or 0)) / 1e9
    if beat is not None and silent_s > _SILENT_S:
        return f"the daemon has given no sign of life for {silent_s:.0f} s; look at its log, and start it again"
    watched = beat is None or "alarms" in beat.sinks
    return "" if watched else "the daemon has no sink `alarms`: name it in the site, docs/how-to/alarms.md says how"


def _send(site: Path | None, out: Path | None, by: str | None, command: str, **args: str) -> None:
    from quicklook.cli.ctl import controller_of

    with controller_of(site, out, by=by) as controller:
        typer.echo(controller.send(command, **args).said)


def _when(ns: int) -> str:
    return time.strftime("%m-%d %H:%M:%S", time.gmtime(ns / 1e9))


def _show(found: Alarms, blind: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console()
    if blind:
        console.print(Text(f"NOBODY WATCHES: {blind}.", style="bold yellow"), soft_wrap=True)
    if not found.now:
        console.print("No alarm is known." if blind else "No alarm stands.", highlight=False)
    for alarm in found.now:
        console.print(Text(f"{alarm.worst:9}", style=_STYLES[alarm.worst]), end="")
        console.print(f"{_state(alarm)}, since {_when(alarm.began)} UTC  {alarm.fingerprint}", markup=False, highlight=False, soft_wrap=True)
        console.print(f"         {alarm.what or alarm.key}", markup=False, highlight=False, soft_wrap=True)
    for mute in found.mutes:
        console.print(_muted(mute), markup=False, highlight=False, soft_wrap=True)


def _state(alarm: AlarmNow) -> str:
    if alarm.folded:
        return f"{alarm.state}, with {alarm.folded}"
    return f"{alarm.state} by {alarm.by}" if alarm.state == "acknowledged" and alarm.by else alarm.state


def _muted(mute: MuteNow) -> str:
    return f"{mute.id}: {mute.pattern} up to {mute.severity}, until {_when(mute.until)} UTC, by {mute.owner}: {mute.reason}"


def _show_card(card: ReportCard) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console()
    console.print(f"{card.incidents} alarms in {card.days:g} days, {card.per_day:.1f} a day", highlight=False)
    table = Table("rule", "alarms", "a day", "told", "useful", "noise", "known", "known after", box=None, pad_edge=False)
    for rule in card.rules:
        wait = "" if rule.seconds_to_acknowledge is None else f"{rule.seconds_to_acknowledge / 60:.1f} min"
        row = (rule.incidents, f"{rule.per_day:.1f}", rule.told, rule.useful, rule.noise, rule.acknowledged, wait)
        table.add_row(rule.rule, *map(str, row))
    if card.rules:
        console.print(table)
    if idle := [rule.rule for rule in card.rules if not rule.acted]:
        console.print(f"Nobody ever acted on: {', '.join(idle)}", highlight=False, soft_wrap=True)
