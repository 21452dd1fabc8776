"""`quicklook explain`: a metric of a stored result, the limit that judged it and why, on what it rests, and how it was before."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quicklook.cli.options import InstrumentOption, OutOption, SiteOption, TagOption

if TYPE_CHECKING:
    from rich.console import RenderableType

    from quicklook.core.calibration import CalibrationUsed
    from quicklook.core.results import LimitUsed
    from quicklook.core.status import Status
    from quicklook.service.verdicts.explain import Element, Explanation

_SHOWN = 20
"""So many elements of a metric are shown; --json has them all."""
_BARS = "▁▂▃▄▅▆▇█"


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("explain")(explain_)


def explain_(
    exposure: Annotated[str, typer.Argument(help="[NIGHT/]EXPID, as in 20220101/102, or 102 where one night alone has it.")],
    words: Annotated[list[str], typer.Argument(metavar="[CAMERA] METRIC", help="Camera and metric; one of the exposure as a whole has no camera.")],
    plot: Annotated[bool, typer.Option("--plot", help="Draw the plots of the QA where they are there as data alone.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, with all elements.")] = False,
    site: SiteOption = None,
    instrument: InstrumentOption = None,
    out: OutOption = None,
    tag: TagOption = None,
) -> None:
    """Explain a metric: value, limit and why it is there, what to do, calibrations and their age, chain and versions, plots, the last exposures.

    From stored results; nothing is measured again. Exit status: that of the metric (0 NORMAL, WARNING or not judged, 1 ALARM, 3 UNKNOWN), 2 if
    there is no such metric.
    """
    from rich.console import Console

    from quicklook.cli.past import described
    from quicklook.core.errors import BadConfig
    from quicklook.core.status import EXIT_STATUS
    from quicklook.io.folders import exposure_folder
    from quicklook.io.history import FileHistory
    from quicklook.service.verdicts.explain import explain

    if len(words) > 2:
        raise BadConfig(f"{' '.join(words)}: one camera and one metric, please")
    part, metric = words if len(words) == 2 else ("", words[0])
    place = described(site, instrument, out, tag)
    told = explain(FileHistory(place.out), place.limits(), tag=place.file.tag, exposure=exposure, part=part, metric=metric)
    folder = exposure_folder(place.out, told.tag, told.key.unit)
    if plot:
        _draw(place.out, folder, told)
    if as_json:
        typer.echo(_json(told, folder))
    else:
        console = Console()
        for block in _blocks(told, folder):
            console.print(block, soft_wrap=True)
    raise typer.Exit(0 if told.metric.status is None else EXIT_STATUS[told.metric.status])


def _draw(out: Path, folder: Path, told: Explanation) -> None:
    """Draw the plots of a part from its data, unless those of this QA are there."""
    from quicklook.core.errors import BadData
    from quicklook.service.rerun.redraw import redraw
    from quicklook.service.verdicts.explain import picture, plot_data

    data = plot_data(folder, told.key)
    if all(picture(folder, name, told.key).is_file() for name in told.qa.plots):
        return
    if not data.is_file():
        raise BadData(f"there are no plots of {told.key} as data ({data})", what_next="Run the exposure again with --plots.")
    redraw(out, data, told.key, told.tag, told.revision, {name: told.qa.status for name in told.qa.plots})


# ---- as text


def _blocks(told: Explanation, folder: Path) -> Iterator[RenderableType]:
    yield from _head(told)
    yield from _values(told)
    yield from _limit(told)
    yield from _last(told)
    yield from _grounds(told)
    yield from _plots(told, folder)
    for text in told.skipped:
        yield _line(f"  {text}", "dim")


def _line(text: str, style: str = "") -> RenderableType:
    from rich.text import Text

    return Text(text, style=style)


def _title(text: str) -> RenderableType:
    return _line(f"\n{text}", "bold")


def _wrapped(text: str, indent: str = "  ") -> RenderableType:
    """Paragraphs of a docstring or a sentence, wrapped."""
    import textwrap

    paragraphs = [" ".join(p.split()) for p in text.split("\n\n")]
    return _line("\n".join(textwrap.fill(p, 110, initial_indent=indent, subsequent_indent=indent) for p in paragraphs))


def _head(told: Explanation) -> Iterator[RenderableType]:
    from rich.text import Text

    from quicklook.cli.view import status_text

    what = f"{told.metric.name} [{told.metric.unit}]" if told.metric.unit else told.metric.name
    head = Text(f"{told.key.unit} {told.key.part or 'as a whole'} {told.tags.get('flavor', '')}: ").append(what, style="bold").append("   ")
    yield head.append_text(status_text(told.metric.status)) if told.metric.status else head.append("not judged", style="dim")
    yield _wrapped(told.metric.doc)
    if told.metric.reason:
        yield _wrapped(f"{told.metric.status}: {told.metric.reason}")
    if told.metric.not_applicable:
        yield _wrapped(f"It does not apply: {told.metric.not_applicable}")
    if told.qa.failure is not None:
        yield _wrapped(f"Its QA {told.qa.name} failed: {told.qa.failure.message} {told.qa.failure.what_next}")
    if told.causes:
        yield _title("Likely causes")
        for cause in told.causes:
            yield _wrapped(cause.sentence)
    if told.overridden:
        yield _wrapped(f"The verdict of this camera was set by hand - {told.overridden}" if told.key.part else f"Set by hand - {told.overridden}")
    yield _title(f"How it is measured (QA {told.qa.name}, step {told.qa.step})")
    yield _wrapped(told.about or "The QA is not installed here.")


def _values(told: Explanation) -> Iterator[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    from quicklook.cli.view import status_text

    elements = told.elements
    if not elements:
        return
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    for name in told.metric.coords:
        table.add_column(name)
    table.add_column(f"value {told.metric.unit}".strip(), justify="right")
    table.add_column("status", no_wrap=True)
    table.add_column("limit")
    table.add_column("")
    for one in elements[:_SHOWN]:
        known = math.isfinite(one.value)
        shown = Text(_number(one.value) if known else "not measured", style="" if known else "magenta")
        table.add_row(*(Text(str(c)) for c in one.at), shown, status_text(one.status), Text(_ranges(told, one)), Text(one.remark))
    yield _title(f"Values ({len(elements)}, worst first)" if len(elements) > 1 else "Value")
    yield _indented(table)
    if len(elements) > _SHOWN:
        yield _line(f"  and {len(elements) - _SHOWN} more (--json)", "dim")


def _indented(what: RenderableType) -> RenderableType:
    from rich.padding import Padding

    return Padding(what, (0, 0, 0, 2))


def _number(value: float) -> str:
    from quicklook.core.judge import number

    return number(value) if math.isfinite(value) else "-"


def _ranges(told: Explanation, one: Element) -> str:
    if one.limit is None or not told.metric.limits:
        return "left out" if one.status is None and told.metric.left_out else "no limit holds here"
    return _range_words(told.metric.limits[one.limit])


def _range_words(limit: LimitUsed) -> str:
    from quicklook.core.judge import range_words

    warning = "" if limit.warning == limit.normal else f", warning {range_words(*limit.warning)}"
    return f"normal {range_words(*limit.normal)}{warning}"


def _limit(told: Explanation) -> Iterator[RenderableType]:
    from quicklook.cli.limits import line_of

    limit = told.metric.deciding
    if told.metric.not_applicable:
        return
    if limit is None:
        yield _title("Limit")
        yield _wrapped("None holds for it here: it is measured and never judged.")
        return
    yield _title("The limit that decided" if len(told.metric.limits) < 2 else f"The limit that decided, of {len(told.metric.limits)} that were used")
    unit = f" {told.metric.unit}" if told.metric.unit else ""
    yield _line(f"  {_range_words(limit)}{unit}; outside of it ALARM   [{_conditions(limit)}]")
    yield _wrapped(f"why it is there: {limit.reason}")
    yield _wrapped(f"what to do: {limit.action}")
    yield _line(f"  written in {limit.source}", "dim")
    yield _wrapped(_how(told))
    if limit.others:
        yield _line("  would have judged it, in this order, if that were not there:")
        now = {other.source: other for other in told.others}
        yield from (_line(f"    {line_of(now[source]) if source in now else source}", "dim") for source in limit.others)
    if told.limits_changed:
        yield _wrapped("The limits of this site are others now than when this was judged; `quicklook judge` shows what they would change.")


def _conditions(limit: LimitUsed) -> str:
    when = "; ".join(f"{k} {'|'.join(v)}" for k, v in limit.when.items()) or "always"
    dates = f"{limit.valid_from} to {limit.valid_to}" if limit.valid_from or limit.valid_to else ""
    return "; ".join(t for t in (when, dates) if t)


def _how(told: Explanation) -> str:
    """How the status came about."""
    from collections import Counter

    counts = Counter(str(s) if s is not None else "not judged" for s in told.metric.statuses)
    if len(told.metric.statuses) < 2:
        return f"how it was judged: the limit with the most conditions that hold decides; {told.metric.status} at this value"
    parts = ", ".join(f"{n} {word}" for word, n in counts.most_common())
    return f"how it was judged: each element by the limit with the most conditions that hold there ({parts}); the worst of them counts"


def _last(told: Explanation) -> Iterator[RenderableType]:
    from rich.table import Table
    from rich.text import Text

    from quicklook.cli.view import status_text

    if not told.last:
        return
    values = [b.value for b in told.last]
    where = ", ".join(f"{k} {v}" for k, v in told.place.items())
    flavor = told.tags.get("flavor", "")
    of = f" of {told.key.part}" if told.key.part else ""
    which = f"The last {len(told.last)} {flavor} exposures" if len(told.last) > 1 else f"The only {flavor} exposure so far"
    yield _title(f"{which}{of}" + (f", at {where}" if where else "") + f"   {sparkline(values)}")
    table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
    table.add_column("exposure")
    table.add_column(f"value {told.metric.unit}".strip(), justify="right")
    table.add_column("metric", no_wrap=True)
    for before in told.last:
        this = before.unit == told.key.unit
        table.add_row(Text(f"{before.unit}{' (this one)' if this else ''}"), Text(_number(before.value)), status_text(before.status))
    yield _indented(table)


def sparkline(values: Sequence[float]) -> str:
    """Values as bars of eight heights between their least and greatest; a dot for one that was not measured, the lowest bars where all are alike."""
    known = [v for v in values if math.isfinite(v)]
    if not known:
        return "·" * len(values)
    low, span = min(known), max(known) - min(known)
    scale = (len(_BARS) - 1) / span if span > 0 and math.isfinite(span) else 0.0
    return "".join(_BARS[round((v - low) * scale)] if math.isfinite(v) else "·" for v in values)


def _grounds(told: Explanation) -> Iterator[RenderableType]:
    """Calibrations, chain and code."""
    from rich.table import Table
    from rich.text import Text

    if told.provenance is None:
        return
    if told.calibrations:
        table = Table(box=None, pad_edge=False, padding=(0, 2), header_style="dim")
        for name in ("kind", "age", "chosen as", "quality", "file"):
            table.add_column(name, no_wrap=name != "file", overflow="fold")
        for used in told.calibrations:
            style = "yellow" if used.stale else ""
            table.add_row(*(Text(t, style=style) for t in (used.kind, age_words(used), used.chosen_as, used.quality, used.source)))
        yield _title("Calibrations")
        yield _indented(table)
    elif told.key.part:
        yield _title("Calibrations: none were used")
    p = told.provenance
    yield _title("Made by")
    ours = ", ".join(f"{name} {version}" for name, version in p.versions.items())
    yield _line(f"  chain {p.chain} (configuration {p.config_sha256[:12]}, limits {p.limits_sha256[:12]}), tag {told.tag}, revision {told.revision}")
    yield _line(f"  {ours}", "dim")


def age_words(used: CalibrationUsed) -> str:
    """``12 days``, ``400 days, stale (at most 365)``, ``not known``."""
    if used.age_days is None:
        return "not known"
    return f"{used.age_days:g} days" + (f", stale (at most {used.stale_days:g})" if used.stale and used.stale_days is not None else "")


def _plots(told: Explanation, folder: Path) -> Iterator[RenderableType]:
    from quicklook.service.verdicts.explain import picture, plot_data

    if not told.qa.plots:
        return
    yield _title("Plots")
    data = plot_data(folder, told.key)
    for name in told.qa.plots:
        drawn = picture(folder, name, told.key)
        hint = f"{name}: not drawn; --plot draws it from {data}" if data.is_file() else f"{name}: neither a picture nor its data are there"
        yield _line(f"  {drawn if drawn.is_file() else hint}")


# ---- as JSON


def _json(told: Explanation, folder: Path) -> str:
    import json

    from quicklook.service.verdicts.explain import picture

    def finite(value: float) -> float | None:
        return value if math.isfinite(value) else None

    def status(value: Status | None) -> str | None:
        return None if value is None else str(value)

    deciding, p = told.metric.deciding, told.provenance
    places = [dict(zip(told.metric.coords, e.at, strict=True)) for e in told.elements]
    drawn = [picture(folder, name, told.key) for name in told.qa.plots]
    data: dict[str, Any] = {
        "exposure": str(told.key.unit),
        "part": told.key.part,
        "tag": told.tag,
        "revision": told.revision,
        "tags": dict(told.tags),
        "metric": told.metric.name,
        "unit": told.metric.unit,
        "doc": told.metric.doc,
        "status": status(told.metric.status),
        "reason": told.metric.reason,
        "not_applicable": told.metric.not_applicable,
        "causes": [cause.model_dump(mode="json") for cause in told.causes],
        "overridden": told.overridden,
        "qa": {"name": told.qa.name, "step": told.qa.step, "status": status(told.qa.status), "about": told.about},
        "failure": None if told.qa.failure is None else told.qa.failure.model_dump(mode="json"),
        "elements": [
            {"at": at, "value": finite(e.value), "status": status(e.status), "limit": e.limit, "remark": e.remark}
            for at, e in zip(places, told.elements, strict=True)
        ],
        "limits": [limit.model_dump(mode="json") for limit in told.metric.limits],
        "deciding": None if deciding is None else deciding.model_dump(mode="json"),
        "others": [limit.model_dump(mode="json") for limit in told.others],
        "limits_changed": told.limits_changed,
        "place": dict(told.place),
        "last": [{"exposure": str(b.unit), "value": finite(b.value), "status": status(b.status)} for b in told.last],
        "provenance": None if p is None else p.model_dump(mode="json"),
        "plots": [str(path) if path.is_file() else None for path in drawn],
        "skipped": list(told.skipped),
    }
    return json.dumps(data, allow_nan=False, ensure_ascii=False, indent=1)
