"""The command `quicklook`. Each command is a module; what is heavy is imported when a command runs, not before."""

from __future__ import annotations

import sys
from importlib.metadata import entry_points
from typing import Annotated

import typer

from quicklook.cli import bench, demo, listen, listing, reference, run, simulate, validate, watch
from quicklook.core.errors import BadConfig, QuicklookError

app = typer.Typer(
    name="quicklook",
    help="Real-time quick-look for spectrographs: tells within seconds whether the exposure just taken is good, and why.",
    no_args_is_help=True,
    add_completion=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
)

for module in (run, watch, listen, simulate, listing, validate, bench, demo, reference):
    module.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        from quicklook.core.provenance import DISTRIBUTION, version_of

        typer.echo(f"quicklook {version_of(DISTRIBUTION)}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and end.")] = False,
) -> None:
    del version


def _add_plugins() -> None:
    """Commands that other packages register; each is a function that takes the app and adds to it."""
    for point in sorted(entry_points(group="quicklook.commands"), key=lambda p: p.name):
        try:
            point.load()(app)
        except Exception as error:
            typer.echo(f"command {point.name!r} ({point.value}) cannot be loaded: {error}", err=True)


def main() -> None:
    """Entry point. Exit status: 0 NORMAL or WARNING, 1 ALARM, 3 UNKNOWN, 2 it could not run."""
    _add_plugins()
    try:
        app()
    except QuicklookError as error:
        kind = "configuration" if isinstance(error, BadConfig) else type(error).__name__
        typer.echo(f"quicklook: {kind}: {error}\n  {error.what_next}", err=True)
        sys.exit(2)
    except KeyboardInterrupt:
        typer.echo("quicklook: stopped", err=True)
        sys.exit(130)
    except BrokenPipeError:
        # the reader of our output has gone, as in `quicklook listen | head`
        sys.stderr.close()
        sys.exit(0)
