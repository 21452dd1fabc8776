"""Routes of the focal plane: which metrics have values of fibres, and one of them over the places of the fibres."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt

from monitor.web.api import ExposureAsk
from monitor.web.figures import panel_figure
from monitor.web.figures_encode import Json, plain
from monitor.web.pages.exposure_asks import FocalAnswer, FocalAsk, FocalMetric, FocalMetrics
from monitor.web.pages.exposure_scores import FIBER, scores
from monitor.web.routing import Route
from quicklook.core.errors import BadConfig, NotReadyYet
from quicklook.core.hosting import Host
from quicklook.core.metrics import Coord, label_of
from quicklook.core.plots import Axis, FocalPlane, Panel, Scatter
from quicklook.core.results import MetricResult
from quicklook.core.validation import suggest

X, Y = "fiber_x", "fiber_y"
"""Metrics that hold the places of the fibres (mm)."""

Key = tuple[str, int]
"""Camera and number of a fibre."""


def focal_metrics(host: Host, ask: ExposureAsk) -> FocalMetrics:
    """What can be shown."""
    found: dict[str, FocalMetric] = {}
    placed, of_scores = [], scores(host, ask)
    for camera, metrics in _cameras(host, ask, of_scores).items():
        if X in metrics and Y in metrics and metrics[X].values:
            placed.append(camera)
        for name, metric in metrics.items():
            if name in (X, Y) or not metric.values:
                continue
            before = found.get(name)
            dims = {d: list(c) for d, c in metric.coords.items() if d != FIBER}
            arms = sorted({*(before.arms if before else ()), camera[:1]})
            found[name] = FocalMetric(
                name=name, unit=metric.unit, doc=metric.doc, dims=before.dims if before else dims, arms=arms,
                score=metric is of_scores.get(camera, {}).get(name),
            )  # fmt: skip
    return FocalMetrics(metrics=[found[name] for name in sorted(found)], placed=placed)


def focal(host: Host, ask: FocalAsk) -> FocalAnswer:
    """A metric over the places of the fibres, of all cameras of an arm; over the numbers of the fibres where no camera knows places."""
    cameras = _cameras(host, ask, scores(host, ask), ask.arm)
    have = {c: m for c, m in cameras.items() if ask.metric in m and m[ask.metric].values}
    if not have:
        names = sorted({n for m in cameras.values() for n in m})
        raise NotReadyYet(f"no camera of {ask.unit} has {ask.metric} over its fibres{suggest(ask.metric, names, noun='metrics')}")
    wanted = _wanted(ask.at)
    values: dict[Key, float] = {}
    places: dict[Key, tuple[float, float]] = {}
    for camera, metrics in have.items():
        values |= {(camera, fiber): value for fiber, value in _by_fiber(metrics[ask.metric], wanted).items()}
        if X in metrics and Y in metrics:
            x, y = _by_fiber(metrics[X], {}), _by_fiber(metrics[Y], {})
            places |= {(camera, f): (x[f], y[f]) for f in x.keys() & y.keys()}
    metric = next(iter(have.values()))[ask.metric]
    return _map(ask, metric, values, places)


def _map(ask: FocalAsk, metric: MetricResult, values: Mapping[Key, float], places: Mapping[Key, tuple[float, float]]) -> FocalAnswer:
    colours = Axis(label=ask.metric.replace("_", " "), unit=metric.unit)
    keys = sorted({*values, *places} if places else values)
    c = np.array([values.get(k, math.nan) for k in keys])
    if places:
        keys = [k for k in keys if k in places]
        c = np.array([values.get(k, math.nan) for k in keys])
        x, y = (np.array([places[k][i] for k in keys]) for i in (0, 1))
        layer: FocalPlane | Scatter = FocalPlane(x=x, y=y, c=c, c_axis=colours)
        axes = (Axis(label="x", unit="mm"), Axis(label="y", unit="mm"))
    else:
        layer = Scatter(x=np.array([float(f) for _, f in keys]), y=c)
        axes = (Axis(label="fibre (no camera knows the places of its fibres)"), colours)
    panel = panel_figure(Panel(x=axes[0], y=axes[1], layers=(layer,), title=""))
    _name_points(panel, keys, c)
    return FocalAnswer(metric=ask.metric, panel=panel, fibers=[f for _, f in keys], cameras=[c for c, _ in keys])


def _name_points(panel: Json, keys: Sequence[Key], c: npt.NDArray[np.float64]) -> None:
    """Say of each point which fibre it is, as in ``r0 fibre 12``; those without a value are the second trace."""
    names = [plain(f"{camera} fibre {fiber}") for camera, fiber in keys]
    good = np.isfinite(c)
    for trace, chosen in zip(panel["data"] or (), (good, ~good), strict=False):
        trace |= {"text": [n for n, g in zip(names, chosen, strict=True) if g], "hovertemplate": f"<b>%{{text}}</b><br>{trace['hovertemplate']}"}


def _cameras(
    host: Host, ask: ExposureAsk, of_scores: Mapping[str, Mapping[str, MetricResult]], arm: str = ""
) -> dict[str, dict[str, MetricResult]]:
    """Metrics over fibres of the cameras of an arm, by camera and name; `of_scores` beside those of QAs."""
    parts = host.exposure(ask.unit, ask.tag, ask.revision).parts
    out: dict[str, dict[str, MetricResult]] = {}
    for camera in sorted(c for c in parts if c.startswith(arm)):
        try:
            qas = host.qas(ask.unit, camera, ask.tag, ask.revision)
        except NotReadyYet:
            continue
        out[camera] = {**of_scores.get(camera, {}), **{m.name: m for qa in qas for m in qa.metrics if FIBER in m.coords}}
    return out


def _wanted(text: str) -> dict[str, str]:
    """Further coordinates, from ``line=0,window=1``. Raises BadConfig."""
    out = {}
    for item in filter(None, text.split(",")):
        name, equals, value = item.partition("=")
        if not equals:
            raise BadConfig(f"{item!r} names no coordinate", what_next="Write NAME=VALUE, as in window=0.")
        out[name.strip()] = value.strip()
    return out


def _by_fiber(metric: MetricResult, wanted: Mapping[str, str]) -> dict[int, float]:
    """Values by fibre, at the wanted coordinates of further dimensions, or the first ones."""
    axes: dict[str, list[Coord]] = metric.coords
    at = {d: next((c for c in axes[d] if label_of(c) == wanted.get(d)), axes[d][0]) for d in axes if d != FIBER and axes[d]}
    out: dict[int, float] = {}
    for place, value in zip(itertools.product(*axes.values()), metric.values, strict=True):
        named = dict(zip(axes, place, strict=True))
        if all(named[d] == c for d, c in at.items()):
            out[int(float(named[FIBER]))] = math.nan if value is None else value
    return out


_FOCAL = "/exposures/{night}/{expid}/focal"
ROUTES = (
    Route("GET", _FOCAL, focal_metrics, "Metrics that have values of fibres"),
    Route("GET", _FOCAL + "/{metric}", focal, "A metric over the focal plane, as a panel for plotly"),
)
