"""What commands share that look at stored results: options that select them, the limits they are judged by, the values to learn from."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import site_of, words_of

if TYPE_CHECKING:
    from quicklook.core.history import History, Sample, Selection
    from quicklook.core.limits import LimitSet
    from quicklook.service.site import Site

MetricsOption = Annotated[list[str] | None, typer.Option("--metric", "-m", metavar="METRIC[=COLUMN]", help="Of this metric alone; may be repeated.")]
SinceOption = Annotated[int | None, typer.Option("--since", metavar="DAYS", help="Of so many days, back from the newest night stored.", min=1)]
NightOption = Annotated[str | None, typer.Option("--night", metavar="A[-B]", help="Of this night (YYYYMMDD), or of nights A to B.")]
FlavorOption = Annotated[list[str] | None, typer.Option("--flavor", help="Of exposures of this flavor, or of several: science,arc; may be repeated.")]
CameraOption = Annotated[list[str] | None, typer.Option("--camera", help="Of this camera, or of several: b0,r0; may be repeated.")]
TableOption = Annotated[Path | None, typer.Option("--table", help="In place of stored results: a table (CSV) with columns night, expid, camera, ...")]

_MOST = 64
"""Metrics with more values a frame (one a fibre) are looked at when they are asked for by name: all of them for a season fill the memory."""


def counted(n: int, noun: str) -> str:
    """``1 frame``, ``2 frames``."""
    return f"{n} {noun}{'' if n == 1 else 's'}"


def described(site: Path | None, instrument: str | None, out: Path | None = None, tag: str | None = None) -> Site:
    """The site of the options; without any, DESI."""
    return site_of(site, instrument="desi" if site is None and instrument is None else instrument, out=out, tag=tag)


def limits_of(site: Site, files: Sequence[Path], *, only: bool = False) -> LimitSet:
    """The limits of a site with files laid over them, or those of the files alone. Raises BadConfig, with file and line."""
    from quicklook.core.errors import BadConfig
    from quicklook.core.limits import load_limits
    from quicklook.io.configfiles import read_config
    from quicklook.service.site import declared_metrics

    if only and not files:
        raise BadConfig("--only needs limits: give --limits FILE")
    more = load_limits([read_config(f) for f in files], declared_metrics(), site.tag_names)
    return more if only else site.limits().with_more(more)


def selected(
    history: History,
    tag: str,
    *,
    since: int | None = None,
    night: str | None = None,
    flavors: Sequence[str] | None = None,
    cameras: Sequence[str] | None = None,
) -> Selection:
    """What the options select. Raises BadConfig for a night that is none or nights inside out, BadData where there is nothing under the tag."""
    from quicklook.core.errors import BadConfig
    from quicklook.core.history import Selection, first_night_since
    from quicklook.service.verdicts.explain import nothing_under

    if since is not None and night is not None:
        raise BadConfig("give --since or --night, not both")
    nights = history.nights(tag)
    if not nights:
        raise nothing_under(history, tag)
    first = last = None
    if night is not None:
        first, last = _nights(night)
    elif since is not None:
        first = first_night_since(nights, since)
    return Selection(tag=tag, first_night=first, last_night=last, flavors=_names(flavors), parts=_names(cameras))


def _names(given: Sequence[str] | None) -> frozenset[str]:
    return frozenset(words_of(given))


def nothing_there(history: History, wanted: Selection) -> str:
    """Why a selection has selected nothing, in a sentence: the first of its conditions that nothing stored meets."""
    from dataclasses import replace

    nights = history.nights(wanted.tag)
    span = f"{nights[0]:08d} to {nights[-1]:08d}"
    if not any(wanted.takes_night(night) for night in nights):
        return f"nothing of these nights is stored; there are nights {span}"
    results = list(history.results(replace(wanted, parts=frozenset(), flavors=frozenset())))
    for name, asked, there in (
        ("camera", wanted.parts, {r.part for r in results}),
        ("flavor", wanted.flavors, {r.tags.get("flavor", "") for r in results}),
    ):
        if asked and not asked & there:
            return f"no frame has {name} {' or '.join(sorted(asked))}; there are {', '.join(sorted(there)) or 'none'}"
    return "no frame has all that is asked for at once" if results else "there is no result that can be read"


def _nights(text: str) -> tuple[int, int]:
    from quicklook.core.errors import BadConfig
    from quicklook.core.history import is_night

    ends = [part.strip() for part in text.split("-")]
    if len(ends) > 2 or not all(is_night(e) for e in ends):
        raise BadConfig(f"--night {text}: write a night as YYYYMMDD, or the first and the last as YYYYMMDD-YYYYMMDD")
    if ends[0] > ends[-1]:
        raise BadConfig(f"--night {text}: the first night is later than the last")
    return int(ends[0]), int(ends[-1])


def samples_of(site: Site, metrics: list[str] | None, table: Path | None, selection: dict[str, object]) -> tuple[list[Sample], str]:
    """The values that are asked for, from a table or from stored results, and in words where they come from."""
    from quicklook.core.errors import BadConfig
    from quicklook.core.history import samples
    from quicklook.io.history import FileHistory
    from quicklook.io.metrictable import parse_columns, read_table
    from quicklook.service.site import declared_metrics

    definitions = declared_metrics()
    columns = parse_columns(metrics or [], definitions)
    if table is not None:
        if not columns:
            raise BadConfig("which column holds which metric? give --metric METRIC=COLUMN")
        return read_table(table, columns, definitions, site.instrument.cameras.tags), table.name
    history = FileHistory(site.out)
    wanted = selected(history, site.file.tag, **selection)  # type: ignore[arg-type]
    found = [*samples(history.results(wanted), columns, most=_MOST)]
    if not wanted.parts:
        found += samples(history.verdicts(wanted), columns, most=_MOST)
    if not found:
        measured_too = next(history.results(wanted), None)
        typer.echo(f"nothing was selected: {nothing_there(history, wanted) if measured_too is None else 'it is measured in no frame'}", err=True)
    return found, f"results under tag {wanted.tag}"
