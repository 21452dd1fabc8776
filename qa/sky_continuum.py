"""The continuum of the sky in the sky fibres, between its emission lines."""

from __future__ import annotations

import math
from typing import Annotated

import numpy as np
from pydantic import Field

from qa.gaps import gaps
from qa.skyrows import seconds, sky_rows
from qa.values import row_medians
from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import Frame, SkyModel
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg
from quicklook.core.quantity import Unit

_SAMPLES, _ENOUGH = 128, 16
_SURE = 3.0
"""Times what noise makes of the scatter of some ten fibres that is no chance."""
_SEEN = 5.0
_FEW = "too few samples can be used"
_UNIT = "electron/(s Angstrom)"

LEVEL = MetricDef("sky_continuum", _UNIT, dims=("window",), doc="Continuum of the sky in a window of wavelengths, median over the sky fibres.")
EACH = MetricDef("sky_continuum_fibers", _UNIT, dims=("window", "fiber"), doc="Continuum of the sky in a window of wavelengths in each sky fibre.")
SCATTER = MetricDef(
    "sky_continuum_scatter", "", dims=("window",),
    doc="Robust scatter of the continuum over all sky fibres, those that the model leaves out too, beyond its noise and over its median.",
)  # fmt: skip


class SkyContinuumParams(Params):
    """Parameters of `sky_continuum`."""

    windows: tuple[tuple[float, float], ...] = Field(
        ((4000, 4500), (5250, 5550), (5950, 6200), (6990, 7230), (8120, 8270), (9110, 9280)),
        description="windows of wavelengths with few lines of the sky, vacuum [Angstrom]",
    )
    scatter_known: float = Field(0.03, gt=0, description="where noise alone makes a larger scatter, it is stated if it is thrice that")
    known: Annotated[float, Unit(_UNIT)] = Field(
        0.01, gt=0, description="a continuum that is known worse than this is stated where it stands five errors out of the noise"
    )
    coverage: float = Field(0.5, gt=0, le=1, description="a window counts where the camera covers at least this part of it")


class SkyContinuum(MonitoringAlg[SkyContinuumParams]):
    """Measures the continuum of the sky before it is subtracted, in windows of wavelength with few lines.

    A median, because few and faint lines of the sky lie in the windows.
    Formula: sky_continuum_fibers = median of the flat-fielded spectrum of a sky fibre over a window / exposure time, electron/(s Angstrom); its
    error is sqrt(pi/2 x mean variance / n) of n samples. sky_continuum = median over the sky fibres; sky_continuum_scatter = sqrt(max((1.4826 MAD
    over the fibres)^2 - (median error)^2, 0)) / sky_continuum; where noise alone makes more than `scatter_known` of it, a window is judged if it
    scatters by thrice that. The error of sky_continuum is 1.2533 x median error / sqrt(fibres); one that is larger than `known`, as in exposures of
    some seconds, leaves a window out, unless its continuum is five times that.
    Source: it stands for SKYCONT (Sky_Continuum) of DESI's quick-look, whose windows these are; DESI's is not divided by the exposure time.
    """

    name = "sky_continuum"
    group = "Spectra"
    metrics = (LEVEL, EACH, SCATTER)

    def measure(self, frame: Frame, sky: SkyModel, exposure: Exposure) -> Measures:
        """Of flat-fielded spectra. Raises NotApplicable where no window falls on the camera, or it has no sky fibre, BadData without
        exposure time."""
        rows, time = sky_rows(frame, sky, rejected=True), seconds(exposure.exptime)
        middle = frame.wave[rows[rows.size // 2]]
        wanted = [(w, np.flatnonzero((middle >= w[0]) & (middle <= w[1]))) for w in self.params.windows]
        covered = [(w, at) for w, at in wanted if at.size and middle[at[-1]] - middle[at[0]] >= self.params.coverage * (w[1] - w[0])]
        if not covered:
            raise NotApplicable(f"no window lies between {middle[0]:.0f} and {middle[-1]:.0f} Angstrom, the range of this camera")
        level, noise = (np.array(v) for v in zip(*(_levels(frame, rows, at) for _, at in covered), strict=True))
        level, noise = level / time, noise / time
        names = [f"{low:.0f}-{high:.0f}" for (low, high), _ in covered]
        fiber = [int(f) for f in frame.fibermap.fiber[rows]]
        middles, scatter = [_median(v) for v in level], [_scatter(v, e) for v, e in zip(level, noise, strict=True)]
        relative = [_median(e) / m if m > 0 else math.nan for e, m in zip(noise, middles, strict=True)]
        unseen = self._unseen(names, middles, noise)
        metrics = (
            _middles(names, middles, unseen),
            measured(EACH.name, level, window=names, fiber=fiber, remarks=gaps(level, names, fiber, why=_FEW)),
            self._scatters(names, scatter, relative, unseen),
        )
        beyond = ", ".join(f"{low:.0f}-{high:.0f}" for low, high in self.params.windows if f"{low:.0f}-{high:.0f}" not in names)
        return Measures(metrics, plots=(_plot(frame, rows, names, level),), facts={"not_covered": beyond or "none", "fibers": int(rows.size)})

    def _unseen(self, names: list[str], middles: list[float], noise: Float64) -> dict[str, float]:
        """Windows whose continuum noise may have made alone, and its error there; `noise` [nwindow, nfibre] is that of each fibre."""
        error = [1.2533 * _median(e) / math.sqrt(max(int(np.isfinite(e).sum()), 1)) for e in noise]
        return {n: e for n, v, e in zip(names, middles, error, strict=True) if e > self.params.known and not abs(v) > _SEEN * e}

    def _scatters(self, names: list[str], scatter: list[float], noise: list[float], unseen: dict[str, float]) -> Measured:
        """By window, `noise` relative to the continuum too: those that noise may have made are not judged."""
        made = {n: e for n, v, e in zip(names, scatter, noise, strict=True) if e > self.params.scatter_known and math.hypot(v, e) < _SURE * e}
        dark = [n for n, v in zip(names, scatter, strict=True) if n in unseen and not math.isfinite(v)]
        if len(made) + len(dark) == len(names):
            why = f"the noise of so faint a sky alone makes {min(made.values()):.2g}" if made else "so short an exposure shows no continuum"
            return not_applicable(SCATTER.name, why)
        told = gaps(scatter, names, why="the continuum is not known, or not above zero")
        told = {**told, **{n: f"noise alone makes {e:.2g}" for n, e in made.items()}}
        return measured(SCATTER.name, scatter, window=names, remarks=told, left_out=[*made, *dark])


def _middles(names: list[str], middles: list[float], unseen: dict[str, float]) -> Measured:
    """By window; those that are `unseen`, with their errors, are not judged."""
    if len(unseen) == len(names):
        return not_applicable(LEVEL.name, f"so short an exposure tells it to {min(unseen.values()):.2g} alone")
    told = gaps(middles, names, why=_FEW)
    told = {**told, **{n: f"known to {e:.2g} alone" for n, e in unseen.items()}}
    return measured(LEVEL.name, middles, window=names, remarks=told, left_out=list(unseen))


def _levels(frame: Frame, rows: Raw, at: Raw) -> tuple[Float64, Float64]:
    """Median of each sky fibre over these samples and its error, electron/Angstrom [nfibre]; NaN where too few can be used."""
    which = np.ix_(rows, at[:: max(1, at.size // _SAMPLES)])
    flux, ivar = frame.flux[which], frame.ivar[which]
    good = (ivar > 0) & (frame.mask[which] == 0) & np.isfinite(flux)
    count = good.sum(axis=1)
    variance = np.where(good, 1.0 / np.where(good, ivar, 1.0), 0.0).sum(axis=1) / np.maximum(count, 1)
    enough = count >= _ENOUGH
    error = np.sqrt(0.5 * math.pi * variance / np.maximum(count, 1))  # of a median: pi / 2 times the variance of the mean
    return np.where(enough, row_medians(flux, good), np.nan), np.where(enough, error, np.nan)


def _median(values: Float64) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else math.nan


def _scatter(level: Float64, noise: Float64) -> float:
    """Beyond its noise, relative to the median; NaN where that is not above zero."""
    middle = _median(level)
    if not middle > 0:
        return math.nan
    spread = 1.4826 * _median(np.abs(level - middle))
    return math.sqrt(max(spread**2 - _median(noise) ** 2, 0.0)) / middle


def _plot(frame: Frame, rows: Raw, names: list[str], level: Float64) -> Plot:
    number = np.asarray(frame.fibermap.fiber[rows], np.float64)
    layers = tuple(Scatter(x=number[np.isfinite(v)], y=v[np.isfinite(v)], label=f"{n} Angstrom") for n, v in zip(names, level, strict=True))
    axes = Axis(label="fibre"), Axis(label="continuum of the sky", unit=_UNIT)
    panel = Panel(x=axes[0], y=axes[1], layers=layers, title="Continuum in the sky fibres", metric=LEVEL.name)
    return Plot(name="sky_continuum", title=f"Continuum of the sky, camera {frame.camera}", panels=(panel,))
