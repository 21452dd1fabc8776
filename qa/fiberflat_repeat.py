"""How well the fibre flats of single exposures agree with their mean."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from quicklook.ccd.arrays import Float64
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import FiberFlat
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Coord, Measures, MetricDef, measured
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Bars, Panel, Plot
from quicklook.core.plugin import MonitoringAlg

REPEAT = MetricDef(
    "fiberflat_repeat", "", dims=("exposure",), doc="Robust scatter over the fibres of the throughput in one exposure over that of their mean."
)


class FiberflatRepeatParams(Params):
    """Nothing to set."""


class FiberflatRepeat(MonitoringAlg[FiberflatRepeatParams]):
    """Compares the throughput of the fibres in each exposure with the mean of all: a lamp that drifts moves it.

    Formula: r = mean over the known samples of the flat of a fibre in one exposure / that in the mean of all; fiberflat_repeat = 1.4826 x median
    over the fibres of |r / median(r) - 1|, relative. No error: it is a scatter.
    Source: own definition: robust scatter (1.4826 MAD) of ratios.
    """

    name = "fiberflat_repeat"
    group = "Fibres"
    metrics = (REPEAT,)

    def measure(self, mean: FiberFlat, flats: Sequence[FiberFlat], exposures: Sequence[Exposure]) -> Measures:
        """By exposure. Raises NotApplicable where there is one exposure."""
        if len(flats) < 2:
            raise NotApplicable("the fibre flat is that of one exposure")
        whole = _levels(mean)
        values = [_scatter(_levels(one), one, mean, whole) for one in flats]
        numbers = [str(e.unit.expid) for e in exposures]
        panel = Panel(
            x=Axis(label="exposure"),
            y=Axis(label="scatter over the fibres", range=(0.0, None)),
            layers=(Bars(names=tuple(numbers), heights=np.array(values)),),
            title="Throughput against the mean",
            metric=REPEAT.name,
        )
        plot = Plot(name="fiberflat_repeat", title="Fibre flats of single exposures", panels=(panel,))
        names = _distinct(numbers)
        why = "it has no fibre in common with the mean"
        unknown: dict[Coord | tuple[Coord, ...], str] = {n: why for n, v in zip(names, values, strict=True) if math.isnan(v)}
        return Measures((measured(REPEAT.name, values, remarks=unknown, exposure=names),), plots=(plot,))


def _distinct(names: list[str]) -> list[str]:
    """Names, with a number behind those that stand twice."""
    return [n if names.count(n) == 1 else f"{n} ({names[: i + 1].count(n)})" for i, n in enumerate(names)]


def _levels(flat: FiberFlat) -> Float64:
    """Mean throughput of every fibre; NaN where it is not known."""
    known = (flat.mask == 0) & (flat.ivar > 0)
    total, count = np.where(known, flat.flat, 0).sum(axis=1, dtype=np.float64), known.sum(axis=1)
    return np.asarray(np.where(count > 0, total / np.maximum(count, 1), np.nan))


def _scatter(levels: Float64, one: FiberFlat, mean: FiberFlat, whole: Float64) -> float:
    _, own, other = np.intersect1d(one.fiber, mean.fiber, return_indices=True)
    ratio = levels[own] / whole[other]
    ratio = ratio[np.isfinite(ratio)]
    return float(1.4826 * np.median(np.abs(ratio / np.median(ratio) - 1.0))) if ratio.size else math.nan
