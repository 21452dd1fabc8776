"""`quicklook hk watch`: all channels with limit and state in one view of the terminal, the worst first."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.ctl import KeysOption
from quicklook.cli.options import SiteOption

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.table import Table

    from quicklook.core.housekeeping_watch import HkRow, HkView

_COLORS = {"NORMAL": "green", "PENDING": "cyan", "STALE": "magenta", "UNKNOWN": "blue", "OFF": "bright_black"}
_SEVERE = {"NOTICE": "cyan", "WARNING": "yellow", "ALARM": "bold red", "CRITICAL": "bold white on red"}


def watch(
    config: Annotated[str, typer.Option("--config", help="Configuration of housekeeping; default: that of the site.")] = "",
    site: SiteOption = None,
    path: Annotated[Path | None, typer.Option("--path", help="A log or folder to follow, or a store of samples; default: the site's store.")] = None,
    mirror: Annotated[str, typer.Option("--mirror", help="Follow the copy in this place of the site's mirror (a name under `to`).")] = "",
    remote: Annotated[str, typer.Option("--remote", help="A daemon's endpoint, as tcp://host:5556: what it has said, and says.")] = "",
    replay: Annotated[str | None, typer.Option("--replay", help="With --remote: where missed events are asked for; default: the next port.")] = None,
    lite: Annotated[bool, typer.Option("--lite", help="A line a channel, and then only what changes: for slow lines and small screens.")] = False,
    warnings: Annotated[bool, typer.Option("--warnings", help="Only what is not normal.")] = False,
    once: Annotated[bool, typer.Option("--once", help="Show it once, for scripts.")] = False,
    every: Annotated[float, typer.Option("--every", min=0.2, help="Seconds between looks.")] = 2.0,
    source: Annotated[str, typer.Option("--source", help="With --path: the source of the configuration that reads it.")] = "",
    keys: KeysOption = None,
) -> None:
    """Watch all channels: value, age, state, limit, the worst first. Nothing is written and nobody is told; Ctrl-C ends it.

    Exit status with --once: 0 nothing worse than a WARNING, 1 an ALARM or worse, 3 data that are missing or not judged, 2 it could not run.
    """
    view = _remote(remote, replay, keys) if remote and not (path or mirror) else _view(config, site, path, mirror, source, remote=remote)
    try:
        if once:
            rows = view.rows(time.time())
            _print(view, _shown(rows, warnings), lite=lite)
            raise typer.Exit(_status(rows))
        (_follow_lite if lite else _follow)(view, every, warnings)
    except KeyboardInterrupt:
        pass
    finally:
        view.close()


def _remote(endpoint: str, replay: str | None, keys: Path | None) -> HkView:
    from quicklook.cli.hkremote import RemoteView

    return RemoteView(endpoint, replay, keys)


def _view(config: str, site: Path | None, path: Path | None, mirror: str, source: str, *, remote: str) -> HkView:
    """Raises BadConfig."""
    from quicklook.api import hk_config, housekeeping
    from quicklook.core.errors import BadConfig
    from quicklook.service.site import load_site

    if sum(map(bool, (path, mirror, remote))) > 1:
        raise BadConfig("one of --path, --mirror and --remote at a time")
    described = load_site(site).file if site is not None else None
    name = config or (described.housekeeping.config if described is not None else "")
    if not name:
        raise BadConfig("which housekeeping? give --config NAME, or a --site that names one", what_next="See docs/how-to/housekeeping.md.")
    if mirror:
        places = described.sinks.get("mirror", {}).get("to", {}) if described is not None else {}
        if mirror not in places or ":" in places[mirror].split("/", 1)[0]:
            known = ", ".join(places) or "none"
            raise BadConfig(f"--mirror {mirror}: the site has no such place of a mirror on this machine; it has {known}")
        path = Path(places[mirror])
    if path is None:
        if site is None:
            raise BadConfig("what is to be watched? give --path, --remote, or a --site with a daemon")
        path = Path(described.housekeeping.store) if described is not None and described.housekeeping.store else load_site(site).out / "hk.sqlite"
        if not path.is_file():
            what_next = "Start it, or name a log with --path."
            raise BadConfig(f"there is no store {path}: no daemon has watched housekeeping here yet", what_next=what_next)
    return housekeeping().view(hk_config(name), path, source=source)


def _shown(rows: tuple[HkRow, ...], warnings: bool) -> list[HkRow]:
    return [r for r in rows if not warnings or r.state not in ("NORMAL", "OFF")]


def _status(rows: Sequence[HkRow]) -> int:
    """Of all that is watched, whatever of it is shown. What no limit judges may be unknown."""
    from quicklook.core.severity import Severity

    if any(r.severity >= Severity.ALARM for r in rows):
        return 1
    unknown = any(r.state == "UNKNOWN" and r.limit for r in rows)
    return 3 if not rows or unknown or any(r.state == "STALE" and r.severity >= Severity.WARNING for r in rows) else 0


def _follow(view: HkView, every: float, warnings: bool) -> None:
    from rich.console import Console
    from rich.live import Live

    console = Console()
    with Live(console=console, screen=console.is_terminal, auto_refresh=False) as live:
        while True:
            live.update(_table(view, _looked(view, warnings), max(console.height - 6, 5)), refresh=True)
            time.sleep(every)


def _looked(view: HkView, warnings: bool) -> list[HkRow]:
    """What cannot be read now is a row of its own: the view stays."""
    from quicklook.core.errors import QuicklookError
    from quicklook.core.housekeeping import HkState
    from quicklook.core.housekeeping_watch import HkRow
    from quicklook.core.severity import Severity

    try:
        return _shown(view.rows(time.time()), warnings)
    except QuicklookError as error:
        return [HkRow(name="this view", state=HkState.UNKNOWN, severity=Severity.ALARM, why=str(error))]


def _follow_lite(view: HkView, every: float, warnings: bool) -> None:
    """Every channel once, then those whose state has changed; a sign of life each minute."""
    known: dict[str, str] = {}
    said = 0.0
    while True:
        rows = _looked(view, warnings=False)
        for line in _changed(rows, known, warnings):
            typer.echo(line)
        if time.monotonic() - said > 60:
            said = time.monotonic()
            typer.echo(f"-- {_sum(rows)}; {time.strftime('%H:%M:%S', time.gmtime())} UTC")
        time.sleep(every)


def _changed(rows: list[HkRow], known: dict[str, str], warnings: bool) -> Iterator[str]:
    """A line for each that stands otherwise than in `known`, which is brought up to date; what was silent and speaks again has no row any more."""
    for row in rows:
        if known.get(row.name) != row.state and (not warnings or row.name in known or row.state not in ("NORMAL", "OFF")):
            yield _line(row)
        known[row.name] = str(row.state)
    for name in known.keys() - {r.name for r in rows}:
        yield f"{'over':9} {name} was {known.pop(name)}"


def _print(view: HkView, rows: list[HkRow], *, lite: bool) -> None:
    if lite:
        for row in rows:
            typer.echo(_line(row))
        typer.echo(f"-- {_sum(rows)}")
        return
    from quicklook.cli.options import wide_console

    wide_console().print(_table(view, rows, len(rows)))


def _line(row: HkRow) -> str:
    """Short, and the same columns for all."""
    return f"{_word(row):9} {row.name} {_value(row)} {age_text(row.age_s)} {row.why or row.limit}".rstrip()


def _word(row: HkRow) -> str:
    """How it stands; what no limit judges is not called normal."""
    if row.state == "VIOLATING":
        return str(row.severity)
    return "no limit" if row.state == "NORMAL" and not row.limit else str(row.state)


def _value(row: HkRow) -> str:
    if row.value is None:
        return row.text or "-"
    return f"{row.value:.6g} {row.unit}".strip()


def age_text(age_s: float | None) -> str:
    """``4 s``, ``12 min``, ``3.2 h``, ``8 d``; "never" for None."""
    if age_s is None:
        return "never"
    for unit, seconds, most in (("s", 1.0, 120.0), ("min", 60.0, 7200.0), ("h", 3600.0, 172800.0)):
        if age_s < most:
            return f"{age_s / seconds:.3g} {unit}"
    return f"{age_s / 86400:.0f} d"


def _sum(rows: list[HkRow]) -> str:
    from collections import Counter

    counts = Counter(str(r.state) for r in rows)
    return f"{len(rows)} shown: " + (", ".join(f"{n} {state}" for state, n in counts.most_common()) or "nothing")


def _table(view: HkView, rows: list[HkRow], most: int) -> Table:
    from rich.markup import escape
    from rich.table import Table

    table = Table(title=f"Housekeeping {escape(view.note())}", title_justify="left", expand=False, box=None, pad_edge=False, header_style="bold")
    for name in ("state", "channel", "value", "unit", "age", "limit", ""):
        table.add_column(name, justify="right" if name in ("value", "age") else "left", no_wrap=name != "", overflow="fold")
    for row in rows[:most]:
        word = _word(row)
        color = _SEVERE.get(word) or _COLORS.get(word, "")
        value = row.text if row.value is None else f"{row.value:.6g}"
        cells = (row.name, value or "-", row.unit, age_text(row.age_s), row.limit, row.why)
        table.add_row(f"[{color}]{word}[/]" if color else word, *map(escape, cells))
    more = f"... and {len(rows) - most} more; " if len(rows) > most else ""
    table.caption, table.caption_justify = f"{more}{_sum(rows)}; {time.strftime('%H:%M:%S', time.gmtime())} UTC", "left"
    return table
