"""`quicklook judge`: stored metrics judged again with other limits, before these go live. No pixel is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quicklook.cli.options import InstrumentOption, OutOption, SiteOption, TagOption
from quicklook.cli.past import (
    CameraOption,
    FlavorOption,
    MetricsOption,
    NightOption,
    SinceOption,
    TableOption,
    counted,
    described,
    limits_of,
    nothing_there,
    samples_of,
    selected,
)

if TYPE_CHECKING:
    from quicklook.core.history import History, Sample, Selection
    from quicklook.core.judge import Judge
    from quicklook.core.keys import PartKey
    from quicklook.core.limits import LimitSet
    from quicklook.core.rejudge import Definitions, MetricChange, PartChange
    from quicklook.core.status import Status
    from quicklook.service.site import Site

LimitsOption = Annotated[list[Path] | None, typer.Option("--limits", "-l", help="Limits file, laid over those of the site; may be repeated.")]

_IDLE = 5
"""Limits that judge nothing are named up to that number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Changes:
    """Frames that were judged again; `anyway`: those that come to the same with the limits in force, without the new ones."""

    found: list[PartChange]
    anyway: frozenset[PartKey]


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("judge")(judge)


def judge(
    limits: LimitsOption = None,
    only: Annotated[bool, typer.Option("--only", help="These limits alone, without those of the site.")] = False,
    since: SinceOption = None,
    night: NightOption = None,
    flavor: FlavorOption = None,
    camera: CameraOption = None,
    table: TableOption = None,
    metrics: MetricsOption = None,
    most: Annotated[int, typer.Option("--most", "-n", help="Frames shown one by one; all are counted.", min=0)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, all frames.")] = False,
    site: SiteOption = None,
    instrument: InstrumentOption = None,
    out: OutOption = None,
    tag: TagOption = None,
) -> None:
    """Judge stored metrics again, and show which past frames and metrics would change. Nothing is written, no pixel is read.

    Exit status: 0 no frame becomes ALARM or UNKNOWN that was not, 1 some frame becomes ALARM, 3 some becomes UNKNOWN or there was nothing to judge,
    2 it could not run. With --table (and --metric METRIC=COLUMN) the values of a table are judged: 0 NORMAL or WARNING, 1 ALARM, 3 UNKNOWN.
    """
    from quicklook.core.judge import Judge
    from quicklook.io.history import FileHistory
    from quicklook.service.site import declared_metrics

    place = described(site, instrument, out, tag)
    in_force = limits_of(place, limits or [], only=only)
    if table is not None:
        raise typer.Exit(_judge_table(place, in_force, table, metrics, most))
    history = FileHistory(place.out)
    wanted = selected(history, place.file.tag, since=since, night=night, flavors=flavor, cameras=camera)
    base = Judge(place.limits()) if limits else None
    changes = all_changes(history, wanted, Judge(in_force), declared_metrics(), base=base)
    mine = [one.source for one in in_force.limits[len(in_force.limits) - _count(limits or [], place) :]] if limits else []
    idle = [s for s in mine if not any(s in c.used for c in changes.found)]
    if not changes.found:
        typer.echo(f"nothing was judged: {nothing_there(history, wanted)}", err=True)
    if as_json:
        _print_json(changes, idle, history.skipped)
    else:
        _print(changes, idle, history.skipped, most, f"tag {wanted.tag} in {place.out}")
    raise typer.Exit(exit_code(changes.found))


def all_changes(history: History, wanted: Selection, judge_: Judge, definitions: Definitions, *, base: Judge | None = None) -> Changes:
    """Every part judged again, and every exposure as a whole that has QAs of its own.

    `base` judges by the limits in force: what it changes, of frames that were judged before these limits, is no merit of the new ones.
    """
    from quicklook.core.rejudge import change_of, change_of_whole

    found, anyway = [], set()
    for result in history.results(wanted):
        change = change_of(judge_, result, definitions=definitions)
        found.append(change)
        older = base is not None and change.changed and result.provenance.limits_sha256 != base.limits.sha256
        if base is not None and older and change_of(base, result, definitions=definitions).after is change.after:
            anyway.add(change.key)
    if not wanted.parts:
        whole = (change_of_whole(judge_, verdict, definitions=definitions) for verdict in history.verdicts(wanted))
        found += [change for change in whole if change is not None]
    return Changes(found=found, anyway=frozenset(anyway))


def exit_code(changes: Sequence[PartChange]) -> int:
    """See `judge`."""
    from quicklook.core.status import Status

    new = {c.after for c in changes if c.changed}
    return 1 if Status.ALARM in new else 3 if Status.UNKNOWN in new or not changes else 0


def _count(files: Sequence[Path], site: Site) -> int:
    return len(limits_of(site, files, only=True).limits) if files else 0


def _arrow(before: Status | None, after: Status | None) -> str:
    return f"{before.value if before else 'not judged'} -> {after.value if after else 'not judged'}"


def _worst_first(change: PartChange) -> tuple[int, int, int]:
    return -change.after.severity, change.before.severity, -len(change.metrics)


def _print(judged: Changes, idle: Sequence[str], skipped: Sequence[str], most: int, about: str) -> None:
    changes = judged.found
    moved = sorted((c for c in changes if c.changed), key=_worst_first)
    units = {c.key.unit for c in changes}
    nights = sorted(u.night for u in units)
    span = f", nights {nights[0]:08d} to {nights[-1]:08d}" if nights else ""
    typer.echo(f"{counted(len(changes), 'frame')} of {counted(len(units), 'exposure')} judged again ({about}{span})")
    if skipped:
        typer.echo(f"left out, for it cannot be read: {counted(len(skipped), 'file')}")
    typer.echo(f"would change: {counted(len(moved), 'frame')} of {counted(len({c.key.unit for c in moved}), 'exposure')}")
    for text, n in Counter(_arrow(c.before, c.after) for c in moved).most_common():
        typer.echo(f"  {n:6d}  {text}")
    if judged.anyway:
        typer.echo(f"  {len(judged.anyway):6d}  of these with the limits of the site alone, which have changed since")
    counts = Counter((m.name, _arrow(m.before, m.after)) for c in changes for m in c.metrics if m.before is not m.after)
    typer.echo(f"would change: {counted(sum(counts.values()), 'metric')} in all frames" + (":" if counts else ""))
    for (name, text), n in counts.most_common():
        typer.echo(f"  {n:6d}  {name}  {text}")
    if idle:
        more = f" and {len(idle) - _IDLE} more" if len(idle) > _IDLE else ""
        typer.echo(f"new limits that judge nothing in these frames: {', '.join(idle[:_IDLE])}{more}")
    for change in moved[:most]:
        typer.echo(f"\n{change.key.unit} {change.key.part or 'as a whole'} {change.flavor}: {_arrow(change.before, change.after)}")
        for metric in (m for m in change.metrics if m.before is not m.after):
            typer.echo(f"    {_metric_line(metric)}")
    if len(moved) > most:
        typer.echo(f"\nand {len(moved) - most} more frames (--most, --json)")


def _metric_line(metric: MetricChange) -> str:
    source = f" [{metric.source}]" if metric.source else ""
    return f"{metric.name}  {_arrow(metric.before, metric.after)}{': ' + metric.reason if metric.reason else ''}{source}"


def _print_json(judged: Changes, idle: Sequence[str], skipped: Sequence[str]) -> None:
    import json

    changes = judged.found
    moved = sorted((c for c in changes if c.metrics or c.changed), key=_worst_first)
    frames = [
        {
            "exposure": str(c.key.unit),
            "part": c.key.part,
            "flavor": c.flavor,
            "revision": c.revision,
            "before": c.before.value,
            "after": c.after.value,
            "anyway": c.key in judged.anyway,
            "metrics": [_metric_data(m) for m in c.metrics],
        }
        for c in moved
    ]
    counts = Counter(_arrow(c.before, c.after) for c in changes if c.changed)
    data = {"judged": len(changes), "changed": sum(counts.values()), "counts": dict(counts), "frames": frames}
    data |= {"idle": list(idle), "skipped": list(skipped)}
    typer.echo(json.dumps(data, allow_nan=False, ensure_ascii=False, indent=1))


def _metric_data(m: MetricChange) -> dict[str, Any]:
    return {"name": m.name, "before": m.before, "after": m.after, "elements": m.elements, "reason": m.reason, "limit": m.source}


def _judge_table(site: Site, limits: LimitSet, table: Path, metrics: list[str] | None, most: int) -> int:
    """Judge the values of a table, each by its own coordinates; the exit status."""
    from quicklook.core.status import EXIT_STATUS, Status, total

    values, about = samples_of(site, metrics, table, {})
    judged = [(sample, *_judge_sample(sample, limits)) for sample in values]
    counts = Counter(status.value if status else "not judged" for _, status, _ in judged)
    typer.echo(f"{about}: {len(values)} values: " + ", ".join(f"{n} {text}" for text, n in counts.most_common()))
    bad = sorted((j for j in judged if j[1] not in (None, Status.NORMAL)), key=lambda j: -(j[1].severity if j[1] else 0))
    for sample, _, sentence in bad[:most]:
        typer.echo(f"{sample.key.unit} {sample.key.part}: {sentence}")
    if len(bad) > most:
        typer.echo(f"and {len(bad) - most} more (--most)")
    return EXIT_STATUS[total(status for _, status, _ in judged)]


def _judge_sample(sample: Sample, limits: LimitSet) -> tuple[Status | None, str]:
    from quicklook.core.judge import Judge
    from quicklook.core.metrics import MetricDef, measured

    definition = MetricDef(sample.metric, sample.unit, dims=tuple(sample.coords), doc=sample.metric)
    values: Any = sample.value
    for _ in sample.coords:
        values = [values]
    coords: Any = {k: (v,) for k, v in sample.coords.items()}
    result = Judge(limits).metric(definition, measured(sample.metric, values, **coords), sample.tags)
    source = f" [{result.deciding.source}]" if result.deciding is not None else ""
    return result.status, f"{result.status}: {result.reason}{source}"
