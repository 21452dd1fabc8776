"""How good a fibre flat is."""

from __future__ import annotations

import math

import numpy as np

from qa.values import row_medians, scalar
from quicklook.ccd.calibs import KnownFibers
from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.fiberstatus import known_bad
from quicklook.ccd.spectra import FiberFlat
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_SAMPLES = 512
_HALF = 0.5
"""A fibre counts as usable where so much of its flat is known."""

USABLE = MetricDef(
    "fiberflat_usable", "", doc="Part of the fibres (or apertures), known bad ones apart, whose flat is known over half of their wavelengths or more."
)
ERROR = MetricDef("fiberflat_error", "", doc="Median relative error of the fibre flat where it is known.")
SCATTER = MetricDef("fiberflat_scatter", "", doc="Robust scatter of the throughput of the fibres about 1.")
LOWEST = MetricDef("fiberflat_lowest", "", doc="Lowest throughput of a usable fibre, relative to the mean.")


class FiberflatQualityParams(Params):
    """Nothing to set."""


class FiberflatQuality(MonitoringAlg[FiberflatQualityParams]):
    """Measures how many fibres a fibre flat holds, how well it is known, and how far they differ.

    Formula: t = median over wavelength of the flat of a fibre, 1 for the mean fibre: fiberflat_scatter = 1.4826 x median of |t - 1|,
    fiberflat_lowest = least t; fiberflat_error = median of 1 / (sqrt(ivar) |flat|) over known samples; fiberflat_usable = part of the fibres, known
    bad ones apart, of which more than half of the samples are known (mask 0, ivar above 0). Relative, without unit.
    Source: it stands for CHECKFLAT (Check_FiberFlat) of DESI's quick-look; robust scatter in place of a comparison with the reference flat, which
    `flat_level` makes.
    """

    name = "fiberflat_quality"
    group = "Fibres"
    metrics = (USABLE, ERROR, SCATTER, LOWEST)

    def measure(self, flat: FiberFlat, fibermap: FiberMap | None = None, fibers: KnownFibers | None = None) -> Measures:
        """Of a fibre flat, of one exposure or of several. Fibres that are known to be bad are no news: they do not count as lost."""
        due = ~np.isin(flat.fiber, _bad_numbers(fibermap, fibers))
        known = (flat.mask == 0) & (flat.ivar > 0) & np.isfinite(flat.flat)
        usable = known.mean(axis=1) > _HALF
        step = max(1, flat.flat.shape[1] // _SAMPLES)
        some, seen, ivar = flat.flat[:, ::step], known[:, ::step], flat.ivar[:, ::step]
        level = np.where(usable, row_medians(some, seen), np.nan)
        error = float(np.median(1.0 / np.sqrt(ivar[seen]) / np.abs(some[seen]).clip(1e-6))) if seen.any() else math.nan
        good = level[usable]
        lowest = int(flat.fiber[usable][np.argmin(good)]) if good.size else -1
        scatter = float(1.4826 * np.median(np.abs(good - 1.0))) if good.size else math.nan
        metrics = (
            scalar(USABLE, float(usable[due].mean()) if due.any() else math.nan, "" if due.any() else "all fibres are known to be bad"),
            scalar(ERROR, error, "" if seen.any() else "the flat is known nowhere"),
            scalar(SCATTER, scatter),
            scalar(LOWEST, float(good.min()) if good.size else math.nan, f"fibre {lowest}" if good.size else "no fibre is usable"),
        )
        return Measures(metrics, plots=(_plot(flat, level, usable),))


def _bad_numbers(fibermap: FiberMap | None, fibers: KnownFibers | None) -> list[int]:
    listed = [*fibers.broken, *fibers.low] if fibers is not None else []
    return listed if fibermap is None else [*listed, *(int(n) for n in fibermap.fiber[known_bad(fibermap)])]


def _plot(flat: FiberFlat, level: np.ndarray, usable: np.ndarray) -> Plot:
    number = np.asarray(flat.fiber, np.float64)
    throughput = Panel(
        x=Axis(label="fibre"),
        y=Axis(label="median flat", range=(0.0, None)),
        layers=(Scatter(x=number[usable], y=level[usable]),),
        title="Throughput",
    )
    wave = flat.wave if flat.wave.ndim == 1 else np.median(flat.wave, axis=0)
    step = max(1, wave.size // 1000)
    same = flat.meanspec.size == wave.size
    lamp = Line(x=np.asarray(wave[::step]), y=np.asarray(flat.meanspec[::step], np.float64)) if same else Line(x=np.zeros(0), y=np.zeros(0))
    spectrum = Panel(x=Axis(label="wavelength", unit="Angstrom"), y=Axis(label="lamp", unit="electron/Angstrom"), layers=(lamp,), title="Mean lamp")
    return Plot(name="fiberflat_quality", title="Fibre flat", panels=(throughput, spectrum), columns=2)
