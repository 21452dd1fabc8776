"""The pictures of a report: those that were drawn, what should be looked at first. Nothing is drawn here but what is asked for."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from quicklook.core.errors import QuicklookError, describe
from quicklook.core.keys import PartKey, Unit
from quicklook.core.reporting import Absent, Block, Figure, Figures, Prose, Section
from quicklook.core.status import Status
from quicklook.service.reporting.tables import Result
from quicklook.service.reporting.words import counted, png_size
from quicklook.service.rerun.redraw import redraw
from quicklook.service.verdicts.explain import picture, plot_data

log = logging.getLogger("quicklook.reports")

TITLE = "Plots"
MOST = 24
"""So many pictures a report has: of thirty cameras it would have six hundred."""
_SEEN_TO = (Status.ALARM, Status.WARNING, Status.UNKNOWN)


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """A picture that should be there: its file, what stands below it, the status of what it shows."""

    path: Path
    caption: str
    status: Status | None


def of_exposure(folder: Path, unit: Unit, results: Sequence[Result]) -> list[Wanted]:
    """The pictures of an exposure: the sheet with all cameras, those of what is not NORMAL, then the others, camera by camera."""
    sheet = Wanted(path=folder / "plots" / f"contact-{unit.expid:08d}.png", caption="All cameras, with masks", status=None)
    found = of_qas(folder, unit, results)
    drawn = {w.path for w in found}
    figures = [p for p in sorted((folder / "plots").glob(f"figure-*-{unit.expid:08d}.png")) if p not in drawn]
    found += [Wanted(path=p, caption=p.stem.removeprefix("figure-").removesuffix(f"-{unit.expid:08d}"), status=None) for p in figures]
    return [sheet, *ordered(found)]


def of_qas(folder: Path, unit: Unit, results: Sequence[Result]) -> list[Wanted]:
    """The pictures that QAs have laid out."""
    return [
        Wanted(path=picture(folder, name, PartKey(unit, r.part)), caption=f"{name}, {r.place}", status=r.qa.status)
        for r in results
        for name in r.qa.plots
    ]


def ordered(found: Iterable[Wanted]) -> list[Wanted]:
    """What is not NORMAL first."""
    return sorted(found, key=lambda w: _SEEN_TO.index(w.status) if w.status in _SEEN_TO else len(_SEEN_TO))


def drawn_now(out: Path, folder: Path, unit: Unit, tag: str, results: Sequence[Result], revision: int) -> None:
    """Have pictures drawn that are there as data alone. What cannot be drawn is left out, and the report says so."""
    by_part: dict[str, dict[str, Status | None]] = {}
    for result in results:
        by_part.setdefault(result.part, {}).update(dict.fromkeys(result.qa.plots, result.qa.status))
    for part, statuses in by_part.items():
        key = PartKey(unit, part)
        data = plot_data(folder, key)
        if data.is_file() and not all(picture(folder, name, key).is_file() for name in statuses):
            try:
                redraw(out, data, key, tag, revision, statuses)
            except QuicklookError as error:
                log.warning("plots of %s are not drawn: %s", key, describe(error))


def plots_section(wanted: Sequence[Wanted], where: Path, most: int = MOST, *, link: bool = False) -> Section:
    """The pictures that there are, the first `most` of them. `link`: those that are still being drawn, too."""
    there: list[Figure] = []
    lacking = left = 0
    for one in wanted:
        size = png_size(one.path)
        if size is None and link:
            size = (864, 540)
        if size is None:
            lacking += 1
        elif len(there) == most:
            left += 1
        else:
            there.append(Figure(path=str(one.path.absolute()), caption=one.caption, width=size[0], height=size[1], status=one.status))
    blocks: list[Block] = [Figures(items=there)] if there else []
    if not wanted:
        blocks.append(Absent(text="No plots were made."))
    elif not there:
        blocks.append(Absent(text=f"None of {counted(len(wanted), 'plot')} is drawn in {where}."))
    elif lacking:
        blocks.append(Absent(text=f"{counted(lacking, 'plot')} of {len(wanted)} {'is' if lacking == 1 else 'are'} not drawn."))
    if left:
        blocks.append(Prose(paragraphs=[f"{counted(left, 'more plot')} {'is' if left == 1 else 'are'} in {where}."]))
    return Section(title=TITLE, blocks=blocks)


def by_analysis(out: Path, to_draw: Iterable[Mapping[str, object]]) -> list[Wanted]:
    """The pictures of a test, from what its record says was to be drawn."""
    found = []
    for one in to_draw:
        data = out / str(one["path"])
        names, statuses = one["names"], one["statuses"]
        assert isinstance(names, list)
        assert isinstance(statuses, list)
        analysis = data.parent.parent.name
        for name, status in zip(names, statuses, strict=True):
            path = data.parent / f"{name}-{one['part']}.png"
            caption = f"{name} of {one['part']} ({analysis})"
            found.append(Wanted(path=path, caption=caption, status=Status(status) if status else None))
    return ordered(found)
