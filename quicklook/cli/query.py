"""`quicklook query`: histories of metrics, verdicts, decisions, tests and what scripts have recorded, from the metrics store."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import OutOption, SiteOption, wide_console

if TYPE_CHECKING:
    from collections.abc import Sequence

    from quicklook.io.metricstore import MetricStore, MetricTable

_COLORS = {"ALARM": "red", "WARNING": "yellow", "UNKNOWN": "magenta", "NORMAL": "green"}
_NONE = 3
_WHOLE = "(all)"
"""In place of a camera: it is of the exposure as a whole."""


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("query")(query)


def query(
    text: Annotated[str, typer.Argument(metavar="[QUERY]", help='As "read_noise where camera=r0 and night>=20220101".')] = "",
    as_csv: Annotated[bool, typer.Option("--csv", help="As CSV, units in the header.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    as_table: Annotated[bool, typer.Option("--table", help="As a table to read; the default.")] = False,
    since: Annotated[str, typer.Option("--since", help="From this night (20220101 or 2022-01-01) or time (UTC).")] = "",
    until: Annotated[str, typer.Option("--until", help="Up to this night or time.")] = "",
    tag: Annotated[str, typer.Option("--tag", help="Of this processing; default: that of the site; `all`: of any.")] = "",
    revision: Annotated[str, typer.Option("--revision", help="`last` of each exposure, or `all`.")] = "last",
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="So many rows, the newest; default: 1000, as CSV or JSON 100000.")] = None,
    summary: Annotated[bool, typer.Option("--summary", help="A row a metric: the median of its elements in place of each.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="What there is to be asked for.")] = False,
    prune: Annotated[float | None, typer.Option("--prune", min=1, help="Drop elements of metrics older than so many days; medians stay.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="With --prune: count, and drop nothing.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Fill the store from stored results and the journal; what it has stays.")] = False,
    store: Annotated[str, typer.Option("--store", help="The store: a file, postgresql://USER@HOST/NAME or env:NAME; default: of the site.")] = "",
    site: SiteOption = None,
    out: OutOption = None,
) -> None:
    """Ask the metrics store: METRIC[, METRIC ...] [where CONDITION].

    A condition is over camera, night, expid, flavor, program, status, value, tags of exposures and coordinates (amp, fiber, ...), with = != < <= >
    >= in, and, or, not, brackets. In place of metrics: verdicts, exposures, decisions, tests, flags, overrides, housekeeping, or MEASUREMENT.FIELD
    of a script.

    Exit status: 0, 3 if there is nothing, 2 it could not run.
    """
    from quicklook.core.errors import BadConfig
    from quicklook.io.metricstore import MetricStore
    from quicklook.service.rerun.restoring import place_of_store

    _refuse(revision, prune, formats=as_csv + as_json + as_table, dry_run=dry_run)
    url, folder, live = place_of_store(store, site, out)
    if rebuild:
        _rebuild(url, folder)
    if prune is not None:
        _prune(url, prune, dry_run=dry_run)
    if (rebuild or prune is not None) and not (text or listed):
        return
    if not (text or listed):
        raise BadConfig("what is asked for?", what_next="Write such as `quicklook query read_noise`; `quicklook query --list` shows what there is.")
    most = limit or (100_000 if as_csv or as_json else 1000)
    with MetricStore(url) as opened:
        if listed:
            _list(opened, text)
            return
        wanted = "" if tag == "all" else tag or live
        found = opened.query(text, since=since, until=until, limit=most, tag=wanted, revision="all" if revision == "all" else "last", summary=summary)
        doubts = opened.doubts(text, wanted) if not len(found) else []
    _show(found, as_csv=as_csv, as_json=as_json, doubts=doubts)
    if not len(found):
        raise typer.Exit(_NONE)


def _refuse(revision: str, prune: float | None, *, formats: int, dry_run: bool) -> None:
    """Raises BadConfig for options that say nothing, or two things at once."""
    from quicklook.core.errors import BadConfig

    if revision not in ("last", "all"):
        raise BadConfig(f"--revision {revision}: it is `last` or `all`", what_next="Write one of them.")
    if formats > 1:
        raise BadConfig("--csv, --json and --table are one in place of the other", what_next="Choose one of them.")
    if dry_run and prune is None:
        raise BadConfig("--dry-run is of --prune alone", what_next="Give --prune DAYS, too.")


def _show(found: MetricTable, *, as_csv: bool, as_json: bool, doubts: Sequence[str]) -> None:
    if as_csv:
        typer.echo(found.to_csv(), nl=False)
    elif as_json:
        typer.echo(json.dumps(found.to_json(), allow_nan=False, ensure_ascii=False))
    elif len(found):
        _as_table(found)
    if not len(found):
        typer.echo(_printable("; ".join(["nothing was found", *doubts])), err=True)
    elif found.more:
        typer.echo(f"the newest {f'{len(found)} rows' if len(found) > 1 else 'row'}; there are older ones (--limit, --since)", err=True)
    if found.medians:
        typer.echo("of some old metrics only the median is kept, and was looked at (--rebuild brings back what files have)", err=True)


def _as_table(found: MetricTable) -> None:
    """A table; columns without a single value, and those that say the same in each row, are left out: the latter stand above it.

    Of metrics that is so of a single row, too."""
    from rich.table import Table
    from rich.text import Text

    console = wide_console()
    rows = list(found.rows())
    names = list(found.columns)
    cells = {name: [_cell(row[i]) for row in rows] for i, name in enumerate(names)}
    if "camera" in cells and "." not in found.name:  # not of what scripts have recorded: there it is a tag
        cells["camera"] = [text or _WHOLE for text in cells["camera"]]
    above = len(rows) > 1 or "value" in found.columns
    same = {n: c[0] for n, c in cells.items() if above and n not in ("value", "status") and len(set(c)) == 1}
    told = [f"{found.header(n)} {text}" for n, text in same.items() if text]
    if told:
        console.print(Text(", ".join(told)))
    shown = [n for n in names if n not in same and any(cells[n])]
    table = Table(box=None, pad_edge=False)
    for name in shown:
        right = found.columns[name].dtype.kind in "if" and name != "time_ns"
        table.add_column(Text(found.header(name)), justify="right" if right else "left", overflow="fold", no_wrap=name == "time_ns")
    for i in range(len(rows)):
        table.add_row(*(Text(cells[n][i], style=_COLORS.get(cells[n][i], "") if n in ("status", "was") else "") for n in shown))
    console.print(table)


def _cell(value: object) -> str:
    text = f"{value:.6g}" if isinstance(value, float) else "" if value is None else str(value)
    return _printable(text)


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else "\ufffd" for c in text)


def _list(store: MetricStore, pattern: str) -> None:
    from fnmatch import fnmatchcase

    from quicklook.io.metricstore.lists import LISTS

    told = {i.name: f"{f' [{i.unit}]' if i.unit else ''}{_by(i.dims)}: {i.doc}" for i in store.metrics()}
    told |= {name: f": {of.doc}" for name, of in LISTS.items()}
    told |= {f"{r.measurement}.{r.field}": f"{_by(r.tags)}: recorded by a script" for r in store.recorded()}
    for name, text in told.items():
        if fnmatchcase(name, pattern or "*"):
            typer.echo(_printable(f"{name}{text}"))


def _by(names: Sequence[str]) -> str:
    return f" by {', '.join(names)}" if names else ""


def _rebuild(url: str, folder: Path) -> None:
    from quicklook.service.rerun.restoring import restore

    done = restore(url, folder, tell=lambda text: typer.echo(f"{text} ...", err=True))
    typer.echo(f"filled from {done.exposures} stored exposures and {done.events} events of the journal")
    for text in done.left_out[:20]:
        typer.echo(f"  left out: {text}", err=True)
    if len(done.left_out) > 20:
        typer.echo(f"  ... and {len(done.left_out) - 20} more", err=True)


def _prune(url: str, days: float, *, dry_run: bool) -> None:
    import time

    from quicklook.io.metricstore.dropping import Dropping, before_days, count_old
    from quicklook.io.metricstore.store import MetricStore

    with MetricStore(url):  # where there is none, none is made
        pass
    with MetricStore(url, to_read=False) as store:
        before_ns = before_days(days, time.time_ns())
        if dry_run:
            typer.echo(f"elements of {count_old(store.engine, before_ns)} cameras of exposures would be dropped")
            return
        work = Dropping(store.engine, before_ns)
        while work.turn():
            pass
    typer.echo(f"elements of {work.metrics} metrics of {work.cameras} cameras of exposures were dropped; their room is used again")
