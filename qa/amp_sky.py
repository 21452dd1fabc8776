"""The sky in the four amplifiers of a camera: a gain that has changed since the fibre flat was made."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from qa.values import scalar
from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.fiberstatus import known_bad
from quicklook.ccd.spectra import Frame, SkyModel, TraceSet
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.metrics import Measures, MetricDef, measured
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_PLACES = 9
"""Places along a trace at which it is asked on which amplifiers it lies."""
_NEAR = 4.0
"""Pixels from the border within which a fibre has light on both sides."""
_SAMPLES = 50
_REACH = 8.0
_CLIP = 4.0
_SURE = 4.0

LEVEL = MetricDef("amp_sky_level", "", dims=("amp",), doc="What is left of the sky in the sky fibres on an amplifier, over the sky, mean.")
STEP = MetricDef(
    "amp_sky_step", "",
    doc="Change of the sky from the upper to the lower amplifiers, of the fibres on the left less those on the right: an error of a gain.",
)  # fmt: skip
ERROR = MetricDef("amp_sky_error", "", doc="Error of that step, from the scatter of the fibres and their noise.")
EXCESS = MetricDef("amp_sky_excess", "", doc="Size of that step less four times its error, and at least 0: what noise does not make.")


class AmpSkyParams(Params):
    """Parameters of `amp_sky`."""

    min_fibers: int = Field(4, ge=3, description="sky fibres on the left, and on the right, without which nothing is told")
    max_error: float = Field(0.015, gt=0, description="a step that is known worse than this is not told")


@dataclass(frozen=True, slots=True)
class _Quadrants:
    """Names of the amplifiers, [low or high in y][left or right]; where they meet, in pixels."""

    names: tuple[tuple[str, str], tuple[str, str]]
    x: int
    y: int


class AmpSky(MonitoringAlg[AmpSkyParams]):
    """Compares the sky in the four amplifiers of a camera, which is the same: a step is a gain that has changed since the fibre flat was made.

    How a fibre changes from the lower amplifier to the upper one does not depend on its throughput, nor on a sky that is brighter on one side of the
    field; of fibres on the left and on the right it is the same, unless a gain is wrong.
    Formula: for each sky fibre that is not known to be bad, r_low and r_high = sum of the residual / sum of the sky over its samples on the lower and
    on the upper amplifier, d = r_low - r_high; amp_sky_step = mean of d on the left - mean of d on the right, weighted by the noise, without what
    lies 4 sigma off; amp_sky_error = from the larger of the noise and the scatter of d on either side; amp_sky_excess = max(|step| - 4 errors, 0);
    amp_sky_level = mean of r by amplifier. A gain of one amplifier that is wrong by p makes a step of p;
    it is one of the two whose levels differ most, which of them the sky does not tell.
    Fibres that the model of the sky leaves out count too: a gain that is wrong makes all of one side odd. Targets in sky fibres differ from one to
    the next, so they widen the error. What cancels: both left or both right amplifiers alike, as throughput would (`sky_residual` and `sky_fibers`
    see fibres that differ), and both lower or both upper ones alike, as the model of the sky has that step too (`amp_borders` sees it where the
    light at the border tells it).
    Source: own definition: the sky is its own reference, as the light of a fibre is at the border of two amplifiers in `amp_borders`.
    """

    name = "amp_sky"
    metrics = (LEVEL, STEP, ERROR, EXCESS)

    def measure(self, frame: Frame, sky: SkyModel, traces: TraceSet) -> Measures:
        """Of the sky-subtracted frame.

        Raises NotApplicable where there are not two amplifiers by two, or too few sky fibres, or too little light; BadData where the frame does not
        know its amplifiers.
        """
        quadrants = _quadrants(frame)
        rows = np.flatnonzero((np.array(frame.fibermap.objtype) == "SKY") & ~known_bad(frame.fibermap))
        if not rows.size:
            raise NotApplicable("the fibre map has no sky fibres that are not known to be bad")
        if sky.flux.shape != frame.flux.shape or traces.nfibre != len(frame.flux):
            raise NotApplicable("the model of the sky, or the traces, are not on the fibres and samples of the frame")
        side, edge = _sides(frame, traces, rows, quadrants)
        ratio, noise = _ratios(frame, sky, rows, edge)
        known = np.isfinite(ratio).all(axis=1)
        mine = [known & (side == s) for s in (0, 1)]
        if min(int(m.sum()) for m in mine) < self.params.min_fibers:
            told = " and ".join(str(int(m.sum())) for m in mine)
            raise NotApplicable(f"{told} sky fibres lie on the left and on the right, {self.params.min_fibers} are needed")
        change, error = ratio[:, 0] - ratio[:, 1], np.hypot(noise[:, 0], noise[:, 1])
        (left, e_left), (right, e_right) = (_mean(change[m], error[m]) for m in mine)
        step, total = left - right, math.hypot(e_left, e_right)
        if not total <= self.params.max_error:
            raise NotApplicable(f"the sky fibres, by their noise and their scatter, tell a step to {total:.2g} alone")
        level = {quadrants.names[y][x]: _mean(ratio[mine[x], y], noise[mine[x], y])[0] for y in (0, 1) for x in (0, 1)}
        pair = max(quadrants.names, key=lambda two: abs(level[two[0]] - level[two[1]]))
        between = 100 * (level[pair[0]] - level[pair[1]])
        told = f"{step:+.3f} +- {total:.2g}; amplifiers {pair[0]} and {pair[1]} differ by {between:+.1f} % of the sky"
        metrics = (
            measured(LEVEL.name, list(level.values()), amp=tuple(level)),
            scalar(STEP, step, told),
            scalar(ERROR, total),
            scalar(EXCESS, max(abs(step) - _SURE * total, 0.0), told),
        )
        return Measures(metrics, plots=(_plot(frame, rows, (ratio, noise), mine, quadrants),))


def _quadrants(frame: Frame) -> _Quadrants:
    """Two by two amplifiers. Raises NotApplicable where there are others, BadData where the frame does not know them."""
    if not frame.amplifiers:
        raise BadData("the frame does not say which amplifier has read which pixels", what_next="Extract it again with this version.")
    places = frame.amplifiers.values()
    x, y = sorted({s.x0 for s in places}), sorted({s.y0 for s in places})
    at = {(s.y0, s.x0): name for name, s in frame.amplifiers.items()}
    if (len(x), len(y), len(at)) != (2, 2, 4):
        raise NotApplicable("there are not two amplifiers by two that are sound")
    low, high = ((at[row, x[0]], at[row, x[1]]) for row in y)
    return _Quadrants((low, high), x[1], y[1])


def _sides(frame: Frame, traces: TraceSet, rows: Raw, quadrants: _Quadrants) -> tuple[Raw, Raw]:
    """Of the fibres `rows`: 0 on the left, 1 on the right, -1 on both; the sample from which on they lie on the upper amplifier."""
    at = np.linspace(0, frame.flux.shape[1] - 1, _PLACES).astype(np.int64)
    n = max(traces.x.shape[1], traces.y.shape[1])
    basis = np.polynomial.legendre.legvander(traces.reduced(frame.wave[rows][:, at]), n - 1)
    x, y = (np.einsum("ijk,ik->ij", basis[:, :, : c.shape[1]], c[rows]) for c in (traces.x, traces.y))
    left, right = (x < quadrants.x - _NEAR).all(axis=1), (x > quadrants.x + _NEAR).all(axis=1)
    rising = (np.diff(y, axis=1) > 0).all(axis=1)
    edge = [int(np.rint(np.interp(quadrants.y, own, at))) if ok else 0 for own, ok in zip(y, rising, strict=True)]
    return np.where(left, 0, np.where(right, 1, -1)), np.array(edge, np.int64)


def _ratios(frame: Frame, sky: SkyModel, rows: Raw, edge: Raw) -> tuple[Float64, Float64]:
    """Residual over sky of each fibre, on the lower and on the upper amplifier, and its noise, [n, 2]; NaN where there is too little to tell."""
    from qa.kernels.halves import sum_halves

    sums = np.zeros((rows.size, 2, 4))
    sum_halves(frame.flux, frame.ivar, frame.mask, sky.flux, rows, edge, _REACH, sums)
    enough = (sums[:, :, 3] >= _SAMPLES) & (sums[:, :, 1] > 0)
    under = np.where(enough, sums[:, :, 1], np.nan)
    return sums[:, :, 0] / under, np.sqrt(sums[:, :, 2]) / under


def _mean(values: Float64, noise: Float64) -> tuple[float, float]:
    """Mean weighted by the noise, and its error: of the larger of noise and scatter. What lies 4 robust sigma off the median is left out."""
    middle = float(np.median(values))
    sigma = max(1.4826 * float(np.median(np.abs(values - middle))), float(np.median(noise)))
    near = np.abs(values - middle) <= _CLIP * sigma
    weight = 1.0 / noise[near] ** 2
    mean = float(np.sum(weight * values[near]) / np.sum(weight))
    scatter = float(np.sum(weight * (values[near] - mean) ** 2) / np.sum(weight)) / max(int(near.sum()) - 1, 1)
    return mean, math.sqrt(max(1.0 / float(np.sum(weight)), scatter))


def _plot(frame: Frame, rows: Raw, ratios: tuple[Float64, Float64], mine: list[Raw], quadrants: _Quadrants) -> Plot:
    """Each sky fibre on the lower amplifiers, and on the upper ones, with the mean on each amplifier."""
    number = np.asarray(frame.fibermap.fiber[rows], np.float64)
    (ratio, noise), use = ratios, mine[0] | mine[1]
    panels = []
    for y, word in ((0, "Lower"), (1, "Upper")):
        layers: list[Scatter | Line] = [Scatter(x=number[use], y=100 * ratio[use, y], label="sky fibres")]
        for x in (0, 1):
            mean = 100 * _mean(ratio[mine[x], y], noise[mine[x], y])[0]
            layers.append(Line(x=number[mine[x]][[0, -1]], y=np.full(2, mean), label=f"mean of {quadrants.names[y][x]}"))
        axes = Axis(label="fibre"), Axis(label="left over of the sky", unit="%")
        panels.append(Panel(x=axes[0], y=axes[1], layers=tuple(layers), title=f"{word} amplifiers"))
    return Plot(name="amp_sky", title=f"The sky by amplifier, camera {frame.camera}", panels=tuple(panels), columns=2)
