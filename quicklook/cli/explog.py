"""`quicklook explog`: the log of exposures, held against the bench's own."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import OutOption, SiteOption, TagOption, place_of

if TYPE_CHECKING:
    from quicklook.io.explog import LogRows

_SHOWN = ("expid", "start", "flavor", "exptime", "test", "cameras", "status", "decision", "why")
_WIDE = 1000


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("explog")(explog)


def explog(
    night: Annotated[int | None, typer.Option("--night", help="YYYYMMDD; default: the last night that has a log.")] = None,
    bench: Annotated[
        list[Path] | None, typer.Option("--bench", help="The bench's own log of that night (EXP_LOG_<ddmmyy>.txt); may be repeated.")
    ] = None,
    site: SiteOption = None,
    out: OutOption = None,
    tag: TagOption = None,
) -> None:
    """Show the log of exposures that the daemon keeps (sink `explog`), and what the bench's own log has and it has not.

    Exit status: 1 where exposures or cameras of the bench's log are not in it, else 0.
    """
    from quicklook.core.errors import BadConfig
    from quicklook.io.explog import explog_path, read_log
    from quicklook.io.history import FileHistory

    folder, own_tag = place_of(site, out)
    chosen = tag or own_tag
    nights = [night] if night is not None else list(FileHistory(folder).nights(chosen))
    paths = [p for n in nights if (p := explog_path(folder, chosen, n)).is_file()]
    if not paths:
        raise BadConfig(f"{folder} has no log of exposures", what_next="Name the sink `explog` in the site: `sinks: {explog: {}}`.")
    ours = read_log(paths[-1])
    _show(ours)
    missing = [line for path in bench or [] for line in _missing(ours, read_log(path))]
    for line in missing:
        typer.echo(line)
    if missing:
        raise typer.Exit(1)


def _missing(ours: LogRows, theirs: LogRows) -> list[str]:
    from quicklook.io.explog import bench_exposures

    seen: dict[int, set[str]] = {}
    for row in ours.rows:
        if row["expid"].isdecimal():
            seen.setdefault(int(row["expid"]), set()).update(c.lower() for c in row["cameras"].split(","))
    out = list(theirs.wrong)
    for expid, cameras in bench_exposures(theirs).items():
        if expid not in seen:
            out.append(f"{expid}: is in {theirs.path.name} and has no verdict here")
        elif absent := [c for c in cameras if c and c.lower() not in seen[expid]]:
            out.append(f"{expid}: {', '.join(absent)} of {theirs.path.name} have no verdict here")
    return out


def _show(log: LogRows) -> None:
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    latest = {row["expid"]: row for row in log.rows}
    table = Table(*_SHOWN, box=None, pad_edge=False)
    for row in sorted(latest.values(), key=lambda row: (row.get("start", ""), row["expid"].zfill(8))):
        table.add_row(*(Text(row.get(name, "")[11:19] if name == "start" else row.get(name, "")) for name in _SHOWN))
    if console.is_terminal:
        console.print(table)
    else:  # into a file or a pipe a line for each exposure, however long
        Console(width=_WIDE, file=console.file).print(table)
    for line in log.wrong:
        console.print(line, markup=False, highlight=False)
