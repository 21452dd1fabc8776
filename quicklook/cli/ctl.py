"""`quicklook ctl`: give a command to a daemon. `quicklook keys`: make the keys for a daemon and its clients."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import OutOption, SiteOption

if TYPE_CHECKING:
    from quicklook.client import ClientKeys, Controller

KeysOption = Annotated[Path | None, typer.Option("--keys", help="Folder of this client's keys, made by `quicklook keys`.", file_okay=False)]


class Command(StrEnum):
    """What a daemon can be told."""

    STATUS = "status"
    RERUN = "rerun"
    REQUEUE = "requeue"
    OVERRIDE = "override"
    RELOAD = "reload"
    STOP = "stop"


def register(app: typer.Typer) -> None:
    """Add the commands to the app."""
    app.command("ctl")(ctl)
    keys = typer.Typer(no_args_is_help=True, help="Make the keys that a daemon needs when it is reached from other machines.")
    keys.command("new")(new)
    keys.command("add")(add)
    app.add_typer(keys, name="keys")


def ctl(
    command: Annotated[Command, typer.Argument(help="What to do.")],
    exposure: Annotated[str, typer.Argument(help="NIGHT/EXPID, for rerun, override, requeue (without: all that failed).")] = "",
    camera: Annotated[str, typer.Argument(help="Camera; without one all of them, or the exposure as a whole.")] = "",
    status: Annotated[str, typer.Option(help="For override: NORMAL, WARNING, ALARM or UNKNOWN.")] = "",
    reason: Annotated[str, typer.Option(help="For override: why.")] = "",
    by: Annotated[str | None, typer.Option(help="Who gives the command; default: your user name.")] = None,
    site: SiteOption = None,
    out: OutOption = None,
    endpoint: Annotated[str | None, typer.Option(help="Where the daemon takes commands; default: as in its site, or in its output folder.")] = None,
    keys: KeysOption = None,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for the answer.", min=0.1)] = 30.0,
) -> None:
    """Tell a daemon that runs to do something. It is written into its journal: what, who, outcome.

    Without keys whoever can read the token in the output folder may (or in the environment, QUICKLOOK_TOKEN).
    """
    args = {"unit": exposure, "part": camera, "status": status, "reason": reason}
    with controller_of(site, out, by=by, endpoint=endpoint, keys=keys, timeout_s=timeout) as controller:
        answer = controller.send(str(command), **{name: text for name, text in args.items() if text})
    if command is Command.STATUS:
        from quicklook.cli.status import show
        from quicklook.core.wire import State

        show(State.model_validate(answer.result))
        return
    typer.echo(answer.said)


def controller_of(
    site: Path | None, out: Path | None, *, by: str | None = None, endpoint: str | None = None, keys: Path | None = None, timeout_s: float = 30.0
) -> Controller:
    """What gives commands to the daemon of a site or an output folder. Raises BadConfig where that has no command socket, or no token can be read."""
    from quicklook.client import Controller
    from quicklook.core.errors import BadConfig, Transient
    from quicklook.service.journal.journal import daemon_lives
    from quicklook.service.publishing.commands import command_endpoint, token_of, who
    from quicklook.service.settings import CommandSettings
    from quicklook.service.site import load_site

    settings, folder = CommandSettings(), out or Path("quicklook-out")
    if site is not None:
        described = load_site(site, options={"out": str(out)} if out else {})
        settings, folder = described.file.commands, described.out
    address = endpoint or command_endpoint(folder, settings)
    if not address:
        raise BadConfig(f"a daemon in {folder} has no command socket; name where it takes commands with --endpoint")
    if endpoint is None and not daemon_lives(folder) and address.startswith("ipc://"):
        raise Transient(f"no daemon works in {folder}", what_next="Start it with `quicklook watch`, or name its folder with --out or --site.")
    token = "" if keys else token_of(folder, settings)
    return Controller(address, token=token, keys=keys_of(keys), by=by or who(), timeout_s=timeout_s)


def keys_of(folder: Path | None) -> ClientKeys | None:
    """The keys in a folder, if one is given."""
    from quicklook.client import ClientKeys

    return ClientKeys.load(folder) if folder is not None else None


def new(
    folder: Annotated[Path, typer.Argument(help="Folder of the daemon's keys; it is made, for its owner alone.", file_okay=False)],
    client: Annotated[str, typer.Option(help="Name of a first client, who may also give commands; empty: none.")] = "operator",
) -> None:
    """Make the keys of a daemon, and of a first client. Name the folder as `keys` under `sinks.zmq` and `commands` of the site."""
    from quicklook.io.curvekeys import new_server

    new_server(folder)
    typer.echo(f"{folder}: keys of the daemon; server.key_secret stays here")
    if client:
        add(folder, client, commands=True)


def add(
    folder: Annotated[Path, typer.Argument(help="Folder of the daemon's keys.", file_okay=False)],
    name: Annotated[str, typer.Argument(help="Name of the client.")],
    commands: Annotated[bool, typer.Option("--commands", help="It may also give commands; else it may only listen.")] = False,
) -> None:
    """Make keys for a client, and let it in. To keep one out again, remove NAME.key from `clients` or `commanders`, and restart the daemon."""
    from quicklook.io.curvekeys import new_client

    handed = new_client(folder, name, commands=commands)
    may = "listen and give commands" if commands else "listen"
    typer.echo(f"{handed}: keys of {name}, who may {may}; bring this folder there, and use it with --keys")
