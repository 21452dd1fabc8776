"""`quicklook drill`: a bad frame, and a sensor that goes wrong, through the real chain, up to the message."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import SiteOption

if TYPE_CHECKING:
    from quicklook.service.proofs.drill import Drilled, Sent


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("drill")(drill)


def drill(
    site: SiteOption = None,
    folder: Annotated[Path | None, typer.Option(help="Empty folder to work in, kept afterwards; default: a temporary one.", file_okay=False)] = None,
    only: Annotated[str, typer.Option("--only", help="frame or sensor; default: both.")] = "",
) -> None:
    """Send a simulated bad frame, and a sensor that goes wrong, through a daemon with the alarms of a site, and say how long each stage took.

    Then a sound frame and sound values, which end them.
    Messages really leave by the channels of the site, marked as a drill. It works beside a daemon that runs, in a folder of its own.
    Exit status: 0 where every channel that is told of such alarms has had it and its end, and there is one, else 1.
    """
    from quicklook.core.errors import BadConfig
    from quicklook.service.proofs import drill as proof
    from quicklook.service.site import load_site

    if site is None:
        raise BadConfig("which site? a drill is of its alarms: give --site FILE (or QUICKLOOK_SITE)")
    params = load_site(site).file.sinks.get("alarms")
    if params is None:
        raise BadConfig(f"{site} has no sink `alarms`", what_next="See docs/how-to/alarms.md.")
    typer.echo("A daemon of its own starts; its messages are marked as a drill. The first time on a machine it compiles, for a minute or two.")
    if folder is not None:
        folder.mkdir(parents=True, exist_ok=True)
        if any(folder.iterdir()):
            raise BadConfig(f"{folder} is not empty; name another folder")
        done = proof.drill(params, folder, only=only, tell=typer.echo)
    else:
        with tempfile.TemporaryDirectory(prefix="quicklook-drill-") as made:
            done = proof.drill(params, Path(made), only=only, tell=typer.echo)
    for one in done:
        _show(one)
    if not all(one.passed for one in done):
        raise typer.Exit(1)


_STAGES = {"seen": "seen", "verdict": "verdict of the camera", "unit_verdict": "verdict of the exposure", "hk": "limit passed", "alarm": "alarm"}
_BEGAN = {"frame": "the last byte of the bad frame", "sensor": "the first wrong value of the sensor"}
_ENDED = {"frame": "the last byte of the sound frame", "sensor": "the first sound value of the sensor"}


def _show(done: Drilled) -> None:
    names = _STAGES
    typer.echo(f"Seconds after {_BEGAN[done.kind]}, which was judged {done.status}:")
    for name, word in names.items():
        if name in done.stages:
            typer.echo(f"  {done.stages[name]:7.2f}  {word}{f': {done.alarm}' if name == 'alarm' else ''}")
    for one in done.sent:
        typer.echo(f"  {_message(one)}{f' ({one.error})' if one.error else ''}")
    typer.echo(f"Seconds after {_ENDED[done.kind]}:")
    for one in done.sent:
        if one.wanted:
            typer.echo(f"  {f'{one.end_s:7.2f}' if one.end_s is not None else '      -'}  its end by {one.channel}")


def _message(one: Sent) -> str:
    if not one.wanted:
        return f"      -  no message by {one.channel}"
    return f"      -  message by {one.channel} did not leave" if one.alarm_s is None else f"{one.alarm_s:7.2f}  message by {one.channel} was taken"
