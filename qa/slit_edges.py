"""Where the light of a slit begins and ends in the image, against the trace set: a slit image that has moved along the slit."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Annotated

import numpy as np
from pydantic import Field

from quicklook.ccd.arrays import Float64
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.image import Image
from quicklook.ccd.mask import PixelMask
from quicklook.ccd.spectra import TraceSet
from quicklook.core.metrics import Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg
from quicklook.core.quantity import Unit

EDGE = MetricDef(
    "slit_edge_shift", "pixel", dims=("edge",),
    doc="Shift along the slit of its first and last edge in the image against the edges of the trace set; positive towards larger x.",
)  # fmt: skip
ERROR = MetricDef(
    "slit_edge_error", "pixel", dims=("edge",), doc="Error of the shift of an edge, from the scatter of the blocks of rows in which it was measured."
)
LENGTH = MetricDef("slit_length_change", "pixel", doc="How much longer the slit is in the image than in the trace set.")

EDGES = ("first", "last")
_DEEP, _FAINTER = 4, 0.3
"""The level of light is first taken so many margins deep inside, of the fainter pixels there: a star beside the edge is no level."""
_DARKEST = 0.05
"""Part of the columns that is dark wherever the slit lies."""
_LEAST = 4
_FLAVORS = ("arc", "flat")
"""Of these the light is that of a lamp: where no edge is seen something is wrong. The light of a sky may be too faint."""


class SlitEdgesParams(Params):
    """Where edges are looked for, and what counts as one."""

    search: Annotated[float, Unit("pixel")] = Field(15.0, gt=1, le=60, description="an edge is looked for as far on each side of where it should be")
    margin: int = Field(8, ge=2, le=40, description="pixels beyond that for the level of dark; four times as many for that of light")
    blocks: int = Field(16, ge=2, le=200, description="blocks of rows that are measured one by one")
    edge: float = Field(0.5, gt=0.05, lt=0.95, description="an edge is where the light falls to this part of what it is beside it, as in trace_flat")
    snr: float = Field(8.0, gt=2, description="a block counts if its step from dark to light stands so many sigma out of the noise of a pixel")
    min_blocks: int = Field(3, ge=2, description="so many blocks must show an edge")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Edge:
    """One edge: rows of the blocks, their shifts (NaN where none was seen), mean and error of those (NaN where they are too few), and why not."""

    row: Float64
    off: Float64
    shift: float
    error: float
    why: str = ""

    @property
    def said(self) -> str:
        """Its error, or why it has no shift."""
        return self.why or f"known to {self.error:.2f} pixel"


class SlitEdges(MonitoringAlg[SlitEdgesParams]):
    """Measures in blocks of rows where the light of a long slit begins and ends, and compares with the edges of the trace set.

    The edges of the traces lie half an aperture outside of the middles of the outer ones. In flats, arcs and science exposures alike: the sky
    lights the slit as well. Where the slit reaches to the edge of the detector, nothing can be seen there.
    Formula: in the mean of the rows of a block an edge is where the profile along x crosses low + `edge` x (high - low), low being the median of
    the pixels outside of the window of the search, high that of those just inside of the edge. slit_edge_shift = median over the blocks of measured
    - expected place, pixel; slit_edge_error = 1.2533 x 1.4826 MAD / sqrt(blocks); slit_length_change = shift of the last edge - that of the first,
    its error both in quadrature.
    Source: own definition: the crossing of a part of the light, as `trace_flat` finds edges; 1.2533 = sqrt(pi/2) is the error of a median over that
    of a mean.
    """

    name = "slit_edges"
    group = "Spectra"
    metrics = (EDGE, ERROR, LENGTH)

    def measure(self, image: Image, traces: TraceSet, exposure: Exposure) -> Measures:
        """Both edges; NaN where a lamp shows none, or a sky that stands out of the noise.

        Does not apply where the sky is too faint to show them, and where they are not on the detector.
        """
        if traces.nfibre < 2 or traces.npix_x != image.shape[1] or traces.npix_y != image.shape[0]:
            return _nothing("the trace set has no edges in this image")
        rows = (np.arange(self.params.blocks) + 0.5) * image.shape[0] / self.params.blocks - 0.5
        expected = _edges_of(traces, rows)
        faint = exposure.flavor not in _FLAVORS
        found = [self._edge(image, rows, at, side, faint) for at, side in zip(expected, (1, -1), strict=True)]
        if faint and not any(math.isfinite(e.shift) for e in found) and (why := self._stands_out(image, expected)):
            found, faint = [e if e.why == _AWAY else replace(e, why=why) for e in found], False
        shown = [e for e in found if math.isfinite(e.shift) or not (faint or e.why == _AWAY)]
        if not shown:
            return Measures(_nothing(found[0].why if found[0].why == found[1].why else "; ".join(e.why for e in found)).metrics)
        names = tuple(n for n, e in zip(EDGES, found, strict=True) if e in shown)
        metrics = (
            measured(EDGE.name, [e.shift for e in shown], edge=names, remarks={(n,): e.said for n, e in zip(names, shown, strict=True)}),
            measured(ERROR.name, [e.error for e in shown], edge=names, remarks={(n,): e.why for n, e in zip(names, shown, strict=True) if e.why}),
            _length(found),
        )
        return Measures(metrics, plots=(_plot(image.camera, found),))

    def _stands_out(self, image: Image, expected: tuple[Float64, Float64]) -> str:
        """What is wrong where no edge was seen but light is: in the middle half of the slit, against the darkest columns; empty where none is."""
        first, last = expected
        profiles, noise = _profiles(image, 0, image.shape[1], first.size, lamp=False)
        if not np.isfinite(profiles).any():
            return "no pixel of the image is good"
        x, quarter = np.arange(image.shape[1]), ((last - first) / 4)[:, None]
        inside = (x > first[:, None] + quarter) & (x < last[:, None] - quarter)
        step = _quantile(np.where(inside, profiles, math.nan), 0.5) - _quantile(profiles, _DARKEST)
        bright = int((step > 2 * self.params.snr * noise).sum())
        if bright < self.params.min_blocks:
            return ""
        return f"the light stands out in {bright} of {first.size} blocks of rows, and no edge is within {self.params.search:g} pixel of its place"

    def _edge(self, image: Image, rows: Float64, expected: Float64, side: int, faint: bool) -> _Edge:
        """One edge; side 1: the light begins there towards larger x, -1: it ends. `faint`: it is light of the sky."""
        p, nx = self.params, image.shape[1]
        outer, inner = math.ceil(p.search) + p.margin, math.ceil(p.search) + _DEEP * p.margin
        beyond = expected - outer if side > 0 else (nx - 1) - (expected + outer)
        if not np.nanmin(beyond) >= -p.search:  # no more than the margin is left of the dark
            return _Edge(row=rows, off=np.full(rows.size, math.nan), shift=math.nan, error=math.nan, why=_AWAY)
        at = np.rint(np.where(np.isfinite(expected), expected, -2.0 * nx)).astype(np.int64)
        columns = at[:, None] + side * np.arange(-outer, inner + 1)  # from dark to light
        low, high = np.clip((columns.min(where=columns > -nx, initial=nx), columns.max() + 1), 0, nx)
        profiles, noise = _profiles(image, int(low), int(high), rows.size, lamp=not faint)
        known = (columns >= low) & (columns < high)
        aligned = np.where(known, np.take_along_axis(profiles, np.clip(columns - low, 0, high - low - 1), axis=1), math.nan)
        return self._mean(rows, side * (self._crossings(aligned, noise, outer) - outer) + at - expected)

    def _mean(self, rows: Float64, off: Float64) -> _Edge:
        seen = np.isfinite(off)
        middle = float(np.median(off[seen])) if seen.any() else math.nan
        scatter = max(1.4826 * float(np.median(np.abs(off[seen] - middle))), 0.01) if seen.any() else math.nan
        if seen.sum() < self.params.min_blocks:
            why = f"the light has an edge in {int(seen.sum())} of {off.size} blocks of rows, {self.params.min_blocks} are needed"
            return _Edge(row=rows, off=off, shift=math.nan, error=math.nan, why=why)
        return _Edge(row=rows, off=off, shift=middle, error=1.2533 * scatter / math.sqrt(int(seen.sum())))

    def _crossings(self, profile: Float64, noise: Float64, at: int) -> Float64:
        """Where each profile [block, pixel], from dark to light, crosses its level nearest to pixel `at`; NaN where no step stands out."""
        p, pixel = self.params, np.arange(profile.shape[1])
        dark = _quantile(profile[:, pixel < at - p.search], 0.5)
        light = _quantile(profile[:, pixel > at + p.search], _FAINTER)
        place = np.full(len(profile), math.nan)
        for _ in range(2):  # with the levels far off, then with those beside the edge that was found
            step = light - dark
            level = np.where(step > p.snr * noise, dark + p.edge * step, math.nan)
            place = _nearest(profile, level[:, None], at, p.search)
            beside = (pixel > place[:, None] + 3) & (pixel < place[:, None] + 3 + p.search)
            light = _quantile(np.where(beside, profile, math.nan), 0.5)
        return place


_AWAY = "the slit reaches to the edge of the detector"


def _edges_of(traces: TraceSet, rows: Float64) -> tuple[Float64, Float64]:
    """x of both edges at rows, half an aperture outside of the outer ones; NaN beyond the wavelengths of the traces."""
    wave = np.linspace(traces.wavemin, traces.wavemax, 128)
    ends = [0, 1, -2, -1] if traces.x[0, 0] <= traces.x[-1, 0] else [-1, -2, 1, 0]
    series = [np.polynomial.legendre.legval(traces.reduced(wave), s[ends].T) for s in (traces.x, traces.y)]
    a, b, c, d = (np.interp(rows, y, x, left=math.nan, right=math.nan) for x, y in zip(*series, strict=True))
    return 1.5 * a - 0.5 * b, 1.5 * d - 0.5 * c


def _profiles(image: Image, low: int, high: int, count: int, *, lamp: bool) -> tuple[Float64, Float64]:
    """Means [count, high - low] over blocks of rows of columns low to high, NaN where fewer than a quarter of the pixels are good; and the error
    [count] of such a mean, typical for the block.

    `lamp`: rows in which pixels were taken for cosmic rays are left out as a whole: these are the sharp ends of bright lines, which would end
    early.
    """
    ny = image.shape[0] // count * count
    cut = (slice(0, ny), slice(low, high))
    ivar = image.ivar[cut]
    mask = image.mask[cut]
    good = (ivar > 0) & (mask == 0)
    if lamp:
        good &= ~((mask & PixelMask.COSMIC) > 0).any(axis=1, keepdims=True)
    shape = (count, ny // count, high - low)
    number = good.reshape(shape).sum(axis=1)
    light = np.where(good, image.pixels[cut], 0).reshape(shape).sum(axis=1, dtype=np.float64)
    mean = np.divide(light, number, out=np.full(number.shape, math.nan), where=number * _LEAST >= shape[1])
    some = ivar.reshape(shape)[:, ::4].reshape(count, -1)
    weight = np.median(some, axis=1).astype(np.float64) * shape[1]
    return mean, np.divide(1.0, np.sqrt(weight), out=np.full(count, math.inf), where=weight > 0)


def _quantile(values: Float64, q: float) -> Float64:
    """Of the numbers of each row; NaN where there are fewer than three."""
    ordered, count = np.sort(values, axis=1), np.isfinite(values).sum(axis=1)
    which = np.clip(np.rint(q * (count - 1)), 0, None).astype(np.int64)
    return np.where(count >= 3, np.take_along_axis(ordered, which[:, None], axis=1)[:, 0], math.nan)


def _nearest(profile: Float64, level: Float64, at: int, search: float) -> Float64:
    """The rising crossing of its level [block, 1] that is nearest to pixel `at` of each profile; between pixels by a straight line, NaN for none."""
    before, after = profile[:, :-1], profile[:, 1:]
    rises = (before < level) & (after >= level)
    place = np.arange(before.shape[1]) + np.divide(level - before, after - before, out=np.zeros_like(before), where=rises)
    distance = np.where(rises, np.abs(place - at), math.inf)
    best = distance.argmin(axis=1)[:, None]
    near = np.take_along_axis(distance, best, axis=1) <= search
    return np.where(near, np.take_along_axis(place, best, axis=1), math.nan)[:, 0]


def _length(found: list[_Edge]) -> Measured:
    if not all(math.isfinite(e.shift) for e in found):
        return not_applicable(LENGTH.name, "both edges are needed")
    error = math.hypot(found[0].error, found[1].error)
    return measured(LENGTH.name, found[1].shift - found[0].shift, remarks={(): f"known to {error:.2f} pixel"})


def _nothing(why: str) -> Measures:
    return Measures(tuple(not_applicable(m.name, why) for m in (EDGE, ERROR, LENGTH)))


def _plot(camera: str, found: list[_Edge]) -> Plot:
    layers: list[Scatter | Line] = []
    for name, edge in zip(EDGES, found, strict=True):
        seen = np.isfinite(edge.off)
        if seen.any():
            layers.append(Scatter(x=edge.row[seen], y=edge.off[seen], label=f"{name} edge"))
        if math.isfinite(edge.shift):
            ends = np.array([edge.row[0], edge.row[-1]])
            layers.append(Line(x=ends, y=np.full(2, edge.shift), label=f"{name}: {edge.shift:+.2f} +- {edge.error:.2f} pixel"))
    x, y = Axis(label="row", unit="pixel"), Axis(label="shift along the slit", unit="pixel")
    panel = Panel(x=x, y=y, layers=tuple(layers), title="Edges of the slit against the traces", metric=EDGE.name)
    return Plot(name="slit_edges", title=f"Edges of the slit, camera {camera}", panels=(panel,))
