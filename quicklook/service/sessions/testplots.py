"""Plots of a test over its exposures, as data in a file of each camera, for the sink that draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quicklook.core.groupplots import Against, Point, group_plot
from quicklook.core.plots import Plot
from quicklook.core.results import MetricResult
from quicklook.core.series import AnalysisFile, series_plots
from quicklook.core.status import Status, worst
from quicklook.io.plotfiles import save_plots
from quicklook.service.sessions.testruns import ToDraw
from quicklook.service.sessions.testwork import Digest, Work


@dataclass(frozen=True, slots=True)
class Row:
    """What was found of a camera in one exposure: hours since the first, exposure time (s, NaN where it is not known)."""

    hours: float
    exptime: float
    digest: Digest


def exptime_of(tags: Mapping[str, str]) -> float:
    """Exposure time by the tags of an exposure, s; NaN where they do not say."""
    try:
        return float(tags.get("exptime", "nan"))
    except ValueError:
        return float("nan")


def plot_metrics(analyses: Mapping[str, AnalysisFile]) -> set[str]:
    """Metrics that the plots of analyses show."""
    return {p.metric for a in analyses.values() for p in a.plots}


def save_test_plots(work: Work, rows: Mapping[str, Mapping[str, Sequence[Row]]], series: Mapping[str, Mapping[str, Sequence[Any]]]) -> list[ToDraw]:
    """Lay out and store the plots of a test; `rows` of the exposures and judged `series` (as stored), by analysis and camera."""
    out = []
    for camera in sorted({c for by_camera in rows.values() for c in by_camera}):
        plots: dict[str, tuple[Plot, Status | None]] = {}
        for name, analysis in work.analyses.items():
            found = rows.get(name, {}).get(camera, ())
            judged = [MetricResult.model_validate(r) for r in series.get(name, {}).get(camera, ())]
            for plot, status in _plots(work, analysis, found, judged, camera):
                plots.setdefault(plot.name, (plot, status))
        if plots:
            path = work.folder / "plots" / f"plots-{work.name}-{camera}.npz"
            save_plots(path, [p for p, _ in plots.values()])
            shown = str(path.relative_to(work.recipe.out))
            out.append(ToDraw(part=camera, path=shown, names=list(plots), statuses=[s for _, s in plots.values()]))
    return out


def _plots(work: Work, analysis: AnalysisFile, rows: Sequence[Row], judged: Sequence[MetricResult], camera: str) -> list[tuple[Plot, Status | None]]:
    status_of = {m.name: m.status for m in judged}
    of_metric = {s.metric: worst(status_of.get(o.name) for o in analysis.series if o.metric == s.metric) for s in analysis.series}
    out: list[tuple[Plot, Status | None]] = []
    own = {p.metric for p in analysis.plots if p.against is Against.TIME}  # these are drawn as the analysis has them
    for metric, plot in series_plots(
        analysis, work.metrics, {m: _values(rows, m) for m in of_metric if m not in own}, f"{work.name}, camera {camera}"
    ):
        out.append((plot, of_metric[metric]))
    for one in analysis.plots:
        points = [Point(hours=r.hours, exptime=r.exptime, metric=m) for r in rows if (m := r.digest.metrics.get(one.metric)) is not None]
        made = group_plot(one, work.metrics[one.metric], points, camera)
        if made is not None:
            out.append((made, of_metric.get(one.metric)))
    return out


def _values(rows: Sequence[Row], metric: str) -> list[tuple[float, MetricResult]]:
    return [(r.hours, m) for r in rows if (m := r.digest.metrics.get(metric)) is not None]
