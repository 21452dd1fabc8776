"""`quicklook limits`: show, check, learn limits, and judge each exposure by the others."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import InstrumentOption, OutOption, SiteOption, TagOption, one_of
from quicklook.cli.past import CameraOption, FlavorOption, MetricsOption, NightOption, SinceOption, TableOption, counted, described, samples_of

if TYPE_CHECKING:
    from quicklook.core.learn import LearnSettings
    from quicklook.core.limits import Limit
    from quicklook.service.site import Site

group = typer.Typer(help="Limits: show, check, learn.", no_args_is_help=True)

ByOption = Annotated[str, typer.Option("--by", help="Labels that get limits of their own, such as camera,amp; default: flavor, camera, dimensions.")]
AtLeastOption = Annotated[int, typer.Option("--at-least", help="Exposures needed to learn from.")]
NormalOption = Annotated[float, typer.Option("--normal", help="Half width of the normal range, in spreads.")]
WarningOption = Annotated[float, typer.Option("--warning", help="Half width of the warning range, in spreads.")]
NarrowestOption = Annotated[float, typer.Option("--narrowest", metavar="PERCENT", help="Least half width of the normal range, % of the median.")]

AtOption = Annotated[list[str] | None, typer.Option("--at", metavar="NAME=VALUE", help="For a frame like this: camera=r0, flavor=zero, amp=B.")]


def register(app: typer.Typer) -> None:
    """Add the group to the app."""
    app.add_typer(group, name="limits")


@group.callback()
def _group() -> None:
    """Limits: show, check, learn."""


@group.command("show")
def show(
    metric: Annotated[str | None, typer.Option("--metric", "-m", help="Of this metric; default: of all.")] = None,
    cameras: Annotated[list[str] | None, typer.Option("--camera", help="In frames of this camera; as --at camera=NAME.")] = None,
    flavor: Annotated[str, typer.Option("--flavor", help="In frames of this flavor; as --at flavor=NAME.")] = "",
    at: AtOption = None,
    site: SiteOption = None,
    instrument: InstrumentOption = None,
) -> None:
    """Show limits, most specific first; with --camera, --flavor, --at those that hold there, and which one wins.

    "could": it has conditions on what was not given, and would win where they hold.

    Exit status: 0, 2 if a limits file cannot be used.
    """
    from quicklook.core.errors import BadConfig
    from quicklook.core.numericwhen import meets

    place = described(site, instrument)
    limits = place.limits()
    given = [f"{name}={value}" for name, value in (("camera", one_of(cameras, "--camera")), ("flavor", flavor)) if value]
    labels = _labels([*given, *(at or [])], place)
    metrics = sorted({limit.metric for limit in limits.limits})
    if metric is not None and metric not in metrics:
        raise BadConfig(f"{metric} has no limit, so it is never judged; `quicklook list metrics` shows all metrics")
    for name in [metric] if metric else metrics:
        found = limits.of(name)
        if labels:
            found = tuple(one for one in found if one.applies(labels) and all(meets(labels[k], v) for k, v in one.when.items() if k in labels))
        for number, limit in enumerate(found):
            open_ = [k for k in limit.when if k not in labels]
            first = all(any(k not in labels for k in before.when) for before in found[:number])
            mark = "" if not labels else "wins  " if not open_ and first else "could " if open_ and first else "      "
            typer.echo(f"{mark}{line_of(limit)}")
            if metric:
                typer.echo(f"{' ' * len(mark)}    {limit.reason}\n{' ' * len(mark)}    what to do: {limit.action}")
        if labels and not found and metric:
            typer.echo(f"{name} has no limit there: it is not judged")


def _labels(at: list[str], site: Site) -> dict[str, str]:
    import re

    from quicklook.core.errors import BadConfig

    labels: dict[str, str] = {}
    for text in at:
        name, equals, value = text.partition("=")
        if not equals:
            raise BadConfig(f"--at {text}: write NAME=VALUE, as in camera=r0")
        labels[name.strip()] = value.strip()
    if site.instrument.cameras.tags and (match := re.fullmatch(site.instrument.cameras.tags, labels.get("camera", ""))):
        labels = {k: v for k, v in match.groupdict().items() if v} | labels
    return labels


def line_of(limit: Limit) -> str:
    """A limit in a line: metric, ranges, conditions, where it is written."""
    from quicklook.core.judge import range_words

    unit = f" {limit.unit}" if limit.unit else ""
    warning = "" if limit.warning is None else f", warning {range_words(*limit.warning)}"
    when = "; ".join(f"{k} {'|'.join(v)}" for k, v in limit.when.items()) or "always"
    dates = f"{limit.valid.start or ''} to {limit.valid.end or ''}" if limit.valid.start or limit.valid.end else ""
    return f"{limit.metric}: normal {range_words(*limit.normal)}{warning}{unit} [{'; '.join(t for t in (when, dates) if t)}] {limit.source}"


@group.command("check")
def check(
    files: Annotated[list[Path], typer.Argument(help="Limits files.")],
    site: SiteOption = None,
    instrument: InstrumentOption = None,
) -> None:
    """Check limits files: metrics, units, ranges, conditions. Warns of conditions that no frame of the instrument can meet.

    Exit status: 0 they can be used, 2 they cannot, with file and line.
    """
    from quicklook.core.limits import load_limits
    from quicklook.io.configfiles import read_config
    from quicklook.io.limitvalues import doubtful_values, shadowed
    from quicklook.service.site import declared_metrics

    place = described(site, instrument)
    limits = load_limits([read_config(f) for f in files], declared_metrics(), place.tag_names)
    for doubt in (*doubtful_values(limits.limits, place.instrument), *shadowed(limits.limits)):
        typer.echo(f"warning: {doubt}")
    typer.echo(f"good: {counted(len(limits.limits), 'limit')} of {counted(len({one.metric for one in limits.limits}), 'metric')}")


def settings_of(by: str, at_least: int, normal: float, warning: float, narrowest: float) -> LearnSettings:
    """How to learn, from the options."""
    from quicklook.core.learn import LearnSettings

    names = tuple(n.strip() for n in by.split(",") if n.strip())
    return LearnSettings(by=names, normal=normal, warning=warning, at_least=at_least, narrowest=narrowest / 100.0)


@group.command("learn")
def learn_(
    metrics: MetricsOption = None,
    since: SinceOption = None,
    night: NightOption = None,
    flavor: FlavorOption = None,
    camera: CameraOption = None,
    table: TableOption = None,
    by: ByOption = "",
    at_least: AtLeastOption = 20,
    normal: NormalOption = 4.0,
    warning: WarningOption = 6.0,
    narrowest: NarrowestOption = 0.0,
    write: Annotated[Path | None, typer.Option("--write", "-w", help="File to write; default: to the terminal.", dir_okay=False)] = None,
    site: SiteOption = None,
    instrument: InstrumentOption = None,
    out: OutOption = None,
    tag: TagOption = None,
) -> None:
    """Propose limits from what was measured, with the number of exposures that each rests on. They are written, not used.

    Exposures that were ALARM for a metric of another QA are left out; a few bad ones that are left move nothing. Exit status: 0, or 3 if
    nothing could be learned, 2 if it could not run.
    """
    from quicklook.core.learn import learn, refused_words
    from quicklook.core.limitstext import limits_text
    from quicklook.io.atomic import atomic

    place = described(site, instrument, out, tag)
    settings = settings_of(by, at_least, normal, warning, narrowest)
    values, about = samples_of(place, metrics, table, {"since": since, "night": night, "flavors": flavor, "cameras": camera})
    lesson = learn(values, settings)
    text = limits_text(lesson, settings, known=place.limits(), about=about)
    if write is None and lesson.learned:
        typer.echo(text, nl=False)
    elif write is not None and lesson.learned:
        with atomic(write) as file:
            file.write(text.encode())
    for refused in refused_words(lesson.refused, settings):
        typer.echo(f"not learned: {refused}", err=True)
    where = "; nothing is written" if not lesson.learned else f"; written: {write}" if write else ""
    exposures = counted(len({v.key.unit for v in values}), "exposure")
    typer.echo(f"{counted(len(lesson.learned), 'limit')} from {exposures} ({about}){where}", err=True)
    raise typer.Exit(0 if lesson.learned else 3)


@group.command("outliers")
def outliers(
    metrics: MetricsOption = None,
    since: SinceOption = None,
    night: NightOption = None,
    flavor: FlavorOption = None,
    camera: CameraOption = None,
    table: TableOption = None,
    by: ByOption = "",
    at_least: AtLeastOption = 20,
    normal: NormalOption = 4.0,
    warning: WarningOption = 6.0,
    narrowest: NarrowestOption = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
    site: SiteOption = None,
    instrument: InstrumentOption = None,
    out: OutOption = None,
    tag: TagOption = None,
) -> None:
    """Judge each exposure by limits learned from all others, and explain what is out: alone, at two levels, or with its neighbours.

    Exit status: 0 nothing is ALARM, 1 something is, 3 nothing could be judged, 2 it could not run.
    """
    from quicklook.cli.trialview import print_json, print_trial
    from quicklook.core.outliers import try_each
    from quicklook.core.status import Status

    place = described(site, instrument, out, tag)
    settings = settings_of(by, at_least, normal, warning, narrowest)
    values, about = samples_of(place, metrics, table, {"since": since, "night": night, "flavors": flavor, "cameras": camera})
    trial = try_each(values, settings)
    if as_json:
        print_json(trial)
    else:
        print_trial(trial, about, settings)
    raise typer.Exit(3 if not trial.judged else int(any(f.status is Status.ALARM for f in trial.findings)))
