"""`quicklook hk`: housekeeping: check a configuration, replay a log against its limits, watch, plot, show the history of channels."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quicklook.cli.hkplot import plot
from quicklook.cli.hkwatch import watch

if TYPE_CHECKING:
    from quicklook.core.housekeeping import HkChange
    from quicklook.core.housekeeping_watch import HkSeries, Replayed

group = typer.Typer(help="Housekeeping: check, watch, plot, history.", no_args_is_help=True)

ConfigOption = Annotated[str, typer.Option("--config", help="Configuration of housekeeping: a name (in configs/hk/) or a file.")]
SourceOption = Annotated[str, typer.Option("--source", help="Source of the configuration that reads it; default: by the name of the file.")]
LogArgument = Annotated[Path | None, typer.Argument(metavar="[FILE|FOLDER]", help="A log or a folder of logs; without: the configuration alone.")]
JsonOption = Annotated[bool, typer.Option("--json", help="As JSON.")]
_COLORS = {"NOTICE": "cyan", "WARNING": "yellow", "ALARM": "red", "CRITICAL": "bright_red"}
_SQLITE = b"SQLite format 3\0"


def register(app: typer.Typer) -> None:
    """Add the group to the app."""
    app.add_typer(group, name="hk")


@group.callback()
def _group() -> None:
    """Housekeeping: check, watch, plot, history."""


group.command("watch")(watch)
group.command("plot")(plot)


@group.command("check")
def check(
    config: ConfigOption,
    path: LogArgument = None,
    source: SourceOption = "",
    most: Annotated[int, typer.Option("--most", help="So many excursions are listed, the others counted; 0: all.")] = 200,
    everything: Annotated[bool, typer.Option("--all", help="Every change of state, also to PENDING and back to NORMAL.")] = False,
    messages: Annotated[bool, typer.Option("--messages", help="What people would have been told: messages a day, with digests, by channel.")] = False,
    rules: Annotated[str, typer.Option("--rules", help="With --messages: rules of alarms, a name in configs/alerts or a file.")] = "default",
    least: Annotated[str, typer.Option("--least", help="With --messages: the least severity that is sent: notice, warning, alarm.")] = "warning",
    as_json: JsonOption = False,
) -> None:
    """Check a configuration, and replay a log in fast time against its limits: excursions, counts, how many there are a day.

    Exit status: 0 nothing worse than a WARNING, 1 an ALARM or worse, 3 data that are missing to the end, or none at all, 2 it could not run.
    """
    from quicklook.api import hk_config, housekeeping

    monitor, document = housekeeping(), hk_config(config)
    remarks = monitor.check(document)
    if path is None:
        typer.echo(f"{document.source}: in order")
        for remark in remarks:
            typer.echo(f"  {remark}")
        return
    done = monitor.replay(document, path, source=source)
    told = monitor.incidents(done.changes)
    if messages:
        from quicklook.cli import hkmessages

        said = hkmessages.messages_of(done, rules, least)
        if as_json:
            typer.echo(json.dumps({"days": hkmessages.by_day(done, said), "alarms": said.alarms, "standing": said.standing}, indent=1))
        else:
            hkmessages.show_messages(done, said)
    elif as_json:
        typer.echo(json.dumps(_as_data(done, told, list(done.changes) if everything else told), indent=1, ensure_ascii=False))
    else:
        _show(done, told, list(done.changes) if everything else told, most)
    raise typer.Exit(_status(done, told))


def _status(done: Replayed, told: list[HkChange]) -> int:
    from quicklook.core.severity import Severity

    if any(c.severity.rank >= Severity.ALARM.rank for c in told):
        return 1
    last = {c.subject: c for c in done.changes}.values()
    missing = [c for c in last if c.state == "STALE" and c.told and c.severity.rank >= Severity.WARNING.rank]
    return 3 if not done.rows or missing else 0


def _show(done: Replayed, told: list[HkChange], listed: list[HkChange], most: int) -> None:
    if not done.rows:
        typer.echo("no samples: nothing was judged")
    for change in listed[: most or None]:
        word = typer.style(f"{change.severity if change in told else change.state!s:9}", fg=_COLORS.get(str(change.severity), ""))
        typer.echo(f"{_time(change.time)} {word} {change.sentence}")
    if most and len(listed) > most:
        typer.echo(f"... and {len(listed) - most} more (--most 0 shows all)")
    for fault in done.faults[:20]:
        typer.echo(f"fault: {fault.where}: {fault.message}" + (f" ({fault.count} times)" if fault.count > 1 else ""))
    if len(done.faults) > 20:
        typer.echo(f"... and {len(done.faults) - 20} more faults")
    if done.rows:
        _counts(done, told)


def _counts(done: Replayed, told: list[HkChange]) -> None:
    limits: dict[tuple[str, str], int] = {}
    for change in told:
        key = (str(change.severity), change.limit)
        limits[key] = limits.get(key, 0) + 1
    samples, invalid = sum(c.samples for c in done.channels), sum(c.invalid for c in done.channels)
    days = sorted(done.per_day.values())
    counted = f"{len(done.channels)} channels, {samples} samples, {invalid} of them no valid values"
    typer.echo(f"{done.rows} rows, {_time(done.first)} to {_time(done.last)}, {counted}")
    often = f"at most {days[-1]} a day, median {days[len(days) // 2]}"
    typer.echo(f"{len(told)} excursions in {len(days)} days with data: {often}; {len(done.faults)} faults")
    for (severity, limit), count in sorted(limits.items(), key=lambda item: -item[1]):
        typer.echo(f"  {count:5d}  {severity:9}{limit}")


def _time(time: float) -> str:
    return datetime.fromtimestamp(time, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _as_data(done: Replayed, told: list[HkChange], listed: list[HkChange]) -> dict[str, Any]:
    from dataclasses import asdict

    changes = [{k: (str(v) if k in ("state", "before", "severity") else v) for k, v in asdict(c).items()} for c in listed]
    span = {"first": done.first, "last": done.last} if done.rows else {"first": None, "last": None}
    counts = {"rows": done.rows, **span, "incidents": len(told), "per_day": dict(done.per_day)}
    return {**counts, "changes": changes, "faults": [asdict(f) for f in done.faults], "channels": [asdict(c) for c in done.channels]}


@group.command("history")
def history(
    path: Annotated[Path, typer.Argument(metavar="FILE|FOLDER", help="The store of samples, a log, or a folder of logs.", exists=True)],
    config: ConfigOption,
    channels: Annotated[list[str], typer.Option("--channel", "-n", help="A channel, or a pattern such as 'CCD*'; may be repeated.")],
    since: Annotated[str, typer.Option("--since", help="From this time, UTC, as 2020-02-19T03:00; default: all.")] = "",
    until: Annotated[str, typer.Option("--until", help="Up to this time, UTC.")] = "",
    bins: Annotated[int, typer.Option("--bins", min=1, max=10000, help="The time is divided into so many parts.")] = 12,
    raw: Annotated[bool, typer.Option("--raw", help="Also fill values and what is not plausible.")] = False,
    source: SourceOption = "",
    as_json: JsonOption = False,
) -> None:
    """Show the history of channels: how many samples in each part of the time, and their least, median and largest value.

    Exit status: 0, 3 if no channel has samples there, 2 it could not run.
    """
    from quicklook.api import hk_config, housekeeping

    monitor, document = housekeeping(), hk_config(config)
    start, stop = parsed_span(since, until)
    if _is_store(path):
        store = monitor.store(document, path)
        found = list(store.fetch(channels, start, stop, filter_bad=not raw).values())
        store.close()
    else:
        found = [_within(s, start, stop) for s in monitor.read(document, path, channels, source=source, filter_bad=not raw)]
    found = [s for s in found if len(s.times)]
    rows = {s.channel: binned(s, bins) for s in found}
    if as_json:
        typer.echo(json.dumps({s.channel: {"unit": s.unit, "bins": rows[s.channel]} for s in found}, indent=1))
    for series in [] if as_json else found:
        typer.echo(f"{series.channel} {series.unit}: {len(series.times)} samples, {int(series.values.mask.sum())} masked")
        for row in rows[series.channel]:
            typer.echo(f"  {_time(row['start'])}  {row['samples']:7d}  {_shown(row)}")
    if not found and not as_json:
        typer.echo("no channel of that name has samples there")
    raise typer.Exit(0 if found else 3)


def _shown(row: dict[str, Any]) -> str:
    if not row["valid"]:
        return "no valid value"
    return str(row["last"]) if "last" in row else "  ".join(f"{row[k]:12.6g}" for k in ("min", "median", "max"))


def _is_store(path: Path) -> bool:
    if not path.is_file():
        return False
    with open(path, "rb") as f:
        return f.read(len(_SQLITE)) == _SQLITE


def parsed_time(text: str, default: float) -> float:
    """Unix seconds of a time in ISO form, UTC where it says nothing else. Raises BadConfig."""
    from quicklook.core.errors import BadConfig

    if not text:
        return default
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise BadConfig(f"{text!r} is no time; write such as 2020-02-19T03:00") from error
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def parsed_span(since: str, until: str) -> tuple[float, float]:
    """Unix seconds of both ends, infinite where nothing is said. Raises BadConfig, also where the end is not after the beginning."""
    from quicklook.core.errors import BadConfig

    start, stop = parsed_time(since, float("-inf")), parsed_time(until, float("inf"))
    if stop <= start:
        raise BadConfig(f"--until {until} is not after --since {since}: no time is between them", what_next="Exchange them.")
    return start, stop


def _within(series: HkSeries, start: float, stop: float) -> HkSeries:
    from dataclasses import replace

    kept = (series.times >= start) & (series.times < stop)
    return replace(series, times=series.times[kept], values=series.values[kept])


def binned(series: HkSeries, bins: int) -> list[dict[str, Any]]:
    """Statistics of the samples in each of `bins` equal parts of their time; parts without samples are left out."""
    import numpy as np

    edges = np.linspace(series.times[0], series.times[-1], bins + 1)
    which = np.clip(np.searchsorted(edges, series.times, side="right") - 1, 0, bins - 1)
    out = []
    for b in np.unique(which).tolist():
        values = series.values[which == b]
        good = values.compressed()
        row: dict[str, Any] = {"start": float(edges[b]), "samples": len(values), "valid": len(good)}
        if series.words:
            row["last"] = series.words[int(good[-1])] if len(good) else None
        elif len(good):
            row |= {"min": float(good.min()), "median": float(np.median(good)), "max": float(good.max())}
        out.append(row)
    return out
