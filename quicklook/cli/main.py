"""The command `quicklook`. Each command is a module; what is heavy is imported when a command runs, not before."""

from __future__ import annotations

import os
import re
import sys
from importlib.metadata import entry_points
from typing import Annotated

import typer
from typer.core import TyperGroup

from quicklook.cli import (
    aim,
    alarms,
    bench,
    bundle,
    calib,
    clean,
    crash,
    ctl,
    demo,
    diff,
    doctor,
    drill,
    explain,
    explog,
    export,
    hk,
    instrument,
    jobs,
    judge,
    ledger,
    limits,
    listen,
    listing,
    override,
    plot,
    query,
    reference,
    report,
    retention,
    run,
    scorecard,
    serve,
    show,
    simulate,
    simulate_bench,
    status,
    top,
    validate,
    watch,
)
from quicklook.core.errors import BadConfig, NotReadyYet, QuicklookError, Transient, describe


class _Group(TyperGroup):
    """The root command. A broken pipe would end it with 1, which means ALARM here."""

    def invoke(self, ctx: typer.Context) -> object:  # type: ignore[override]
        try:
            return super().invoke(ctx)
        except BrokenPipeError:
            # the reader of our output has gone, as in `quicklook listen | head`
            sys.stdout = sys.stderr = open(os.devnull, "w")  # noqa: SIM115 - until the process ends
            raise typer.Exit(0) from None


app = typer.Typer(
    name="quicklook",
    cls=_Group,
    help="Real-time quick-look for spectrographs: tells within seconds whether the exposure just taken is good, and why.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

for module in (
    run,
    watch,
    aim,
    diff,
    clean,
    calib,
    listen,
    serve,
    top,
    status,
    doctor,
    jobs,
    ledger,
    explog,
    alarms,
    drill,
    retention,
    ctl,
    simulate,
    simulate_bench,
    listing,
    explain,
    query,
    show,
    judge,
    limits,
    hk,
    instrument,
    validate,
    export,
    scorecard,
    override,
    plot,
    report,
    bundle,
    bench,
    demo,
    reference,
):
    module.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        from quicklook.core.provenance import DISTRIBUTION, version_of

        typer.echo(f"quicklook {version_of(DISTRIBUTION)}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Where the program itself fails, show where (or set QUICKLOOK_DEBUG=1).")] = False,
) -> None:
    del version
    if debug:
        os.environ[crash.VARIABLE] = "1"  # for processes that are started, too


def _add_plugins() -> None:
    """Commands that other packages register; each is a function that takes the app and adds to it."""
    for point in sorted(entry_points(group="quicklook.commands"), key=lambda p: p.name):
        try:
            point.load()(app)
        except (Exception, SystemExit) as error:
            typer.echo(f"command {point.name!r} ({point.value}) cannot be loaded: {describe(error)}", err=True)


def main() -> None:
    """Entry point. Exit status: 0 NORMAL or WARNING, 1 ALARM, 3 UNKNOWN, 2 it could not run, 70 a fault of the program, 130 stopped by Ctrl-C."""
    _add_plugins()
    try:
        app()
    except QuicklookError as error:
        kind = "configuration" if isinstance(error, BadConfig) else type(error).__name__
        _complain(f"{kind}: {error}\n  {_what_next(error)}")
        sys.exit(2)
    except KeyboardInterrupt:
        _complain("stopped")
        sys.exit(130)
    except Exception as error:
        of_system = crash.of_system(error)
        _complain(of_system or crash.tell(error))
        sys.exit(2 if of_system else crash.STATUS)


_NAMES_A_FILE = re.compile(r"\.(ya?ml|jinja|typ)\b")


def _complain(text: str) -> None:
    # names of files may be no text
    typer.echo(f"quicklook: {text}".encode(errors="backslashreplace").decode(), err=True)


def _what_next(error: QuicklookError) -> str:
    """The daemon tries again by itself; a command that has ended does not."""
    if "what_next" in vars(error):
        return error.what_next
    if isinstance(error, BadConfig) and not _NAMES_A_FILE.search(str(error)):
        return "Mend what was typed, or edit the configuration."
    return "Try again when that has passed." if isinstance(error, Transient | NotReadyYet) else error.what_next
