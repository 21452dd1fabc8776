"""Page Exposure: its own routes are plots as figures, images, spectra, the focal plane, and two exposures compared."""

from __future__ import annotations

from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from monitor.web.figures import figure
from monitor.web.images_cache import Kept, state_of
from monitor.web.pages import exposure_focal, exposure_image, exposure_spectra
from monitor.web.pages.exposure_asks import CompareAnswer, CompareAsk, FigureAnswer, FigureAsk, MetricChange, PartChange
from monitor.web.routing import Page, Route
from quicklook.core.diffing import MetricDiff, PartDiff, diff_results
from quicklook.core.errors import BadData, NotReadyYet, describe
from quicklook.core.hosting import FileRef, Host
from quicklook.core.keys import Unit
from quicklook.core.plots import Plot
from quicklook.core.results import PartResult, UnitVerdict
from quicklook.core.status import Status
from quicklook.io.plotfiles import load_plots

R = TypeVar("R", PartResult, UnitVerdict)

_MOST_PLOTS = 100_000_000
_MOST_CHANGES = 2000
_PLOTS: Kept[tuple[tuple[Plot, ...], int]] = Kept(_MOST_PLOTS, lambda kept: kept[1])


def plot_figure(host: Host, ask: FigureAsk) -> FigureAnswer:
    """A plot of a camera, from the plots as data."""
    for ref in host.files(ask.unit, ask.tag, "plots", ask.camera, ask.revision):
        found = next((p for p in _plots(ref) if p.name == ask.name), None)
        if found is not None:
            return FigureAnswer.model_validate(figure(found))
    raise NotReadyYet(f"{ask.unit} {ask.part} has no plot {ask.name}", what_next="Plots may have been cleaned away; run the exposure again.")


def _plots(ref: FileRef) -> tuple[Plot, ...]:
    try:
        key = state_of(ref.path)
    except OSError as error:
        raise NotReadyYet(f"{Path(ref.path).name} is not there any more") from error
    return _PLOTS.get(key, lambda: (load_plots(ref.path), 4 * key[2]))[0]


def compare(host: Host, ask: CompareAsk) -> CompareAnswer:
    """What differs between two exposures, or between two processings of one; of one camera, or of all that both have."""
    other = Unit(ask.other_night, ask.other_expid)
    mine = _results(host, ask.unit, ask.tag, ask.revision, ask.part)
    before = _results(host, other, ask.other_tag, ask.other_revision, ask.part)
    both = sorted(set(mine) & set(before))
    diffs = [diff_results(before[part], mine[part]) for part in both]
    pairs = (_verdict(host, other, ask.other_tag, ask.other_revision), _verdict(host, ask.unit, ask.tag, ask.revision))
    if not ask.part and pairs[0] is not None and pairs[1] is not None:
        diffs.insert(0, diff_results(pairs[0], pairs[1]))
    groups = {qa.name: qa.group for result in (*before.values(), *mine.values()) for qa in result.qas}
    changes = [_change(m, groups.get(m.qa, "")) for diff in diffs for m in diff.metrics]
    changes.sort(key=lambda c: (c.status_before is c.status_after, -_severity(c.status_after), -(c.size or 0.0), c.part, c.metric))
    return CompareAnswer(
        parts=[_part(d) for d in diffs], changes=changes[:_MOST_CHANGES], compared=len(both), missing=sorted(set(mine) ^ set(before))
    )


def _severity(status: Status | None) -> int:
    return -1 if status is None else status.severity


def _results(host: Host, unit: Unit, tag: str, revision: int | None, part: str) -> dict[str, PartResult]:
    """The merged results of the cameras."""
    refs = host.files(unit, tag, "merged", part or None, revision)
    found = {ref.part: _read(ref, PartResult) for ref in refs if ref.part}
    if not found:
        raise NotReadyYet(f"{unit} has no results{f' of {part}' if part else ''} under this tag", what_next="Choose another exposure or tag.")
    return found


def _read(ref: FileRef, model: type[R]) -> R:
    try:
        return model.model_validate_json(Path(ref.path).read_bytes())
    except FileNotFoundError as error:
        raise NotReadyYet(f"{Path(ref.path).name} is not there any more") from error
    except (OSError, ValidationError) as error:
        raise BadData(f"{Path(ref.path).name} cannot be read: {describe(error).partition(chr(10))[0][:200]}") from error


def _verdict(host: Host, unit: Unit, tag: str, revision: int | None) -> UnitVerdict | None:
    found = host.exposure(unit, tag, revision).verdict
    return None if found is None else UnitVerdict.model_validate(found.model_dump())


def _part(diff: PartDiff) -> PartChange:
    return PartChange(
        part=diff.key.part, before=diff.before, after=diff.after, causes=list(diff.causes),
        only_before=sorted({*diff.only_first}), only_after=sorted({*diff.only_second}),
    )  # fmt: skip


def _change(m: MetricDiff, group: str) -> MetricChange:
    return MetricChange(
        part=m.key.part, qa=m.qa, group=group, metric=m.name, unit=m.unit, at=dict(m.at), before=m.before, after=m.after,
        status_before=m.status_before, status_after=m.status_after, size=m.size, elements=m.elements, reason=m.reason,
    )  # fmt: skip


PAGE = Page(
    name="exposure",
    title="Exposure",
    path="/exposure/{night}/{expid}",
    link="/exposure/latest",
    key="e",
    template="exposure.html",
    routes=(
        Route("GET", "/exposures/{night}/{expid}/figures/{part}/{name}", plot_figure, "A plot as panels for plotly"),
        Route("GET", "/exposures/{night}/{expid}/compare", compare, "What differs from another exposure, or from another tag"),
        *exposure_image.ROUTES,
        *exposure_spectra.ROUTES,
        *exposure_focal.ROUTES,
    ),
)
