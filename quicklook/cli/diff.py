"""`quicklook diff`: two processings of the same data, metric by metric."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quicklook.cli.options import InstrumentOption, SiteOption
from quicklook.cli.past import CameraOption, FlavorOption, NightOption, counted, described, nothing_there, selected

if TYPE_CHECKING:
    from quicklook.core.diffing import Diff, MetricDiff, PartDiff
    from quicklook.core.status import Status

_OUT = Annotated[Path | None, typer.Option("--out", help="Output folder that has both tags.", file_okay=False)]


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("diff")(diff)


def diff(
    first: Annotated[str, typer.Argument(metavar="TAG1", help="A tag, or `default` or `last`.")],
    second: Annotated[str, typer.Argument(metavar="TAG2", help="The one that is compared with it.")],
    night: NightOption = None,
    flavor: FlavorOption = None,
    camera: CameraOption = None,
    most: Annotated[int, typer.Option("--most", "-n", help="Flips, and changes, shown one by one; all are counted.", min=0)] = 20,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, everything that differs.")] = False,
    site: SiteOption = None,
    instrument: InstrumentOption = None,
    out: _OUT = None,
) -> None:
    """Compare two processings (tags) of the same exposures: which verdicts flipped, worst first, and what changed most.

    A change is measured in units of the normal range of its limit, else of the robust scatter of the metric. Of each exposure the latest
    revision counts.

    Exit status: 0 no verdict of an exposure, a camera or a metric flipped, 1 some did, 3 they have no camera in common, 2 it could not run.
    """
    from quicklook.core.diffing import compare
    from quicklook.core.errors import BadConfig
    from quicklook.io.history import FileHistory
    from quicklook.service.rerun.processings import tag_of

    place = described(site, instrument, out)
    tags = [tag_of(place.out, name, live=place.file.tag) for name in (first, second)]
    if tags[0] == tags[1]:
        raise BadConfig(f"{first} and {second} are both tag {tags[0]}; name two", what_next="Name another tag.")
    history = FileHistory(place.out)
    wanted = selected(history, tags[0], night=night, flavors=flavor, cameras=camera)
    sides = (wanted, replace(wanted, tag=tags[1]))
    found = compare(history, *sides)
    for side in () if found.compared else sides:
        if next(history.results(side), None) is None:
            typer.echo(f"nothing of {side.tag} was selected: {nothing_there(history, side)}", err=True)
    if as_json:
        _print_json(found, history.skipped)
    else:
        _print(found, history.skipped, most)
    raise typer.Exit(3 if not found.compared else 0 if found.same else 1)


def _arrow(before: Status | None, after: Status | None) -> str:
    return f"{before.value if before else 'not judged'} -> {after.value if after else 'not judged'}"


def _print(found: Diff, skipped: Any, most: int) -> None:
    from quicklook.core.diffing import alone_in_words

    units = {p.key.unit for p in found.parts}
    typer.echo(f"{found.first} -> {found.second}: {counted(found.compared, 'camera')} of {counted(len(units), 'exposure')} are in both")
    for line in alone_in_words(found):
        typer.echo(f"  {line}")
    if skipped:
        typer.echo(f"left out, for it cannot be read: {counted(len(skipped), 'file')}")
    for cause, n in sorted(found.causes.items(), key=lambda c: -c[1]):
        typer.echo(f"  they differ in: {cause} ({counted(n, 'camera')})")
    _print_flips(found, most)
    _print_changes(found, most)


def _print_flips(found: Diff, most: int) -> None:
    whole, cameras = [p for p in found.flipped if not p.key.part], [p for p in found.flipped if p.key.part]
    typer.echo(f"verdicts flipped: {counted(len(whole), 'exposure')}, {counted(len(cameras), 'camera')}, {counted(len(found.flips), 'metric')}")
    for text, n in Counter(_arrow(p.before, p.after) for p in cameras).most_common():
        typer.echo(f"  {n:6d}  cameras  {text}")
    for part in found.flipped[:most]:
        typer.echo(f"\n{part.key.unit} {part.key.part or 'as a whole'} {part.flavor}: {_arrow(part.before, part.after)}")
        for metric in part.flips:
            typer.echo(f"    {_flip_line(metric)}")
        if not part.flips:
            for reason in part.reasons[:3]:
                typer.echo(f"    {reason}")
    if len(found.flipped) > most:
        typer.echo(f"\nand {len(found.flipped) - most} more (--most, --json)")
    shown = {p.key for p in found.flipped}
    quiet = [m for m in found.flips if m.key not in shown]
    if quiet:
        typer.echo("\nmetrics that flipped where the verdict did not:")
        for metric in quiet[:most]:
            typer.echo(f"    {metric.key}  {_flip_line(metric)}")


def _print_changes(found: Diff, most: int) -> None:
    changes = found.changes
    alike = f"\nvalues changed: {counted(len(changes), 'metric')} of cameras and exposures"
    typer.echo(alike + (", the largest change first:" if changes and most else ""))
    for metric in changes[:most]:
        typer.echo(f"    {metric.key}  {_change_words(metric)}")
    if len(changes) > most:
        typer.echo(f"    and {len(changes) - most} more (--most, --json)")
    alone = ((found.first, [n for p in found.parts for n in p.only_first]), (found.second, [n for p in found.parts for n in p.only_second]))
    for tag, names in alone:
        if names:
            typer.echo(f"metrics only in {tag}: {', '.join(f'{name} ({n})' for name, n in Counter(names).most_common())}")


def _flip_line(metric: MetricDiff) -> str:
    change = f"; {_change_words(metric, named=False)}" if metric.elements else ""
    return f"{metric.name}  {_arrow(metric.status_before, metric.status_after)}{': ' + metric.reason if metric.reason else ''}{change}"


def _change_words(metric: MetricDiff, *, named: bool = True) -> str:
    at = f"({', '.join(f'{k} {v}' for k, v in metric.at.items())})" if metric.at else ""
    place = " ".join(filter(None, (metric.name if named else "", at)))
    size = f": {metric.size:.2g} of the {metric.scale}" if metric.size is not None else ""
    more = f", {metric.elements} elements" if metric.elements > 1 else ""
    return f"{place} {_value(metric.before)} -> {_value(metric.after)} {metric.unit}".strip() + f"{size}{more}"


def _value(value: float | None) -> str:
    return "not measured" if value is None else f"{value:.6g}"


def _print_json(found: Diff, skipped: Any) -> None:
    import json

    data = {
        "first": found.first, "second": found.second, "compared": found.compared, "same": found.same, "causes": dict(found.causes),
        "only_first": [str(k) for k in found.only_first], "only_second": [str(k) for k in found.only_second],
        "apart": [str(u) for u in found.apart],
        "parts": [_part_data(p) for p in found.parts if p.flipped or p.metrics or p.only_first or p.only_second], "skipped": list(skipped),
    }  # fmt: skip
    typer.echo(json.dumps(data, allow_nan=False, ensure_ascii=False, indent=1))


def _part_data(part: PartDiff) -> dict[str, Any]:
    metrics = [
        {
            "qa": m.qa, "name": m.name, "unit": m.unit, "before": m.status_before, "after": m.status_after, "at": dict(m.at),
            "value_before": m.before, "value_after": m.after, "size": m.size, "scale": m.scale, "elements": m.elements, "reason": m.reason,
        }
        for m in part.metrics
    ]  # fmt: skip
    return {
        "exposure": str(part.key.unit), "part": part.key.part, "flavor": part.flavor, "before": part.before, "after": part.after,
        "metrics": metrics, "only_first": list(part.only_first), "only_second": list(part.only_second), "reasons": list(part.reasons),
    }  # fmt: skip
