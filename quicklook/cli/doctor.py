"""`quicklook doctor`: is everything in order for the night?"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import CalibOption, InstrumentOption, OutOption, RawOption, SetOption, SiteOption, site_of

if TYPE_CHECKING:
    from quicklook.service.running.hostchecks import Finding

_COLORS = {"ok": "green", "warning": "yellow", "problem": "red"}


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("doctor")(doctor)


def doctor(
    site: SiteOption = None,
    instrument: InstrumentOption = None,
    raw: RawOption = None,
    calib: CalibOption = None,
    out: OutOption = None,
    sets: SetOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Check a site: configuration, permissions, clocks, file systems, disk, memory, cores, kernel cache, calibrations, ports, the daemon.

    Each line says ok, warning or problem, and what to do. Exit status: 0 without a problem (warnings may be there), 1 with one, 2 where the
    site cannot be read at all.
    """
    from quicklook.service.running.doctor import examine_site

    described = site_of(site, sets, instrument=instrument, raw=raw, calib=calib, out=out)
    found = examine_site(described, (lambda _: None) if as_json else _show)
    if as_json:
        typer.echo(json.dumps([f.model_dump(mode="json") for f in found], indent=1, ensure_ascii=False))
    else:
        counts = {status: sum(f.status == status for f in found) for status in _COLORS}
        typer.echo(f"{counts['ok']} ok, {counts['warning']} warnings, {counts['problem']} problems")
    if any(f.status == "problem" for f in found):
        raise typer.Exit(1)


def _show(finding: Finding) -> None:
    word = typer.style(f"{finding.status:8}", fg=_COLORS[finding.status])
    typer.echo(f"{word} {finding.topic}: {finding.said}")
    if finding.what_next:
        typer.echo(f"         {finding.what_next}")
