"""Fibres that have lost part of their light: in lamps against the fibre flat, in science by the sky that all of them see."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from pydantic import Field

from qa.fiberlight import bad_fibers, catalogue_light, flat_levels, light_of_few, light_sums, matched, of_expected
from qa.values import numbered, scalar
from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import FiberFlat, Frame, SkyModel
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measured, Measures, MetricDef, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, FocalPlane, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_LAMPS = ("arc", "flat")
_DARK = ("zero", "dark")
_LONG, _STEP = 2048, 8
_CHUNK, _CHUNKS = 16, 16
"""Samples of each stretch of the spectrum that are summed, and stretches: a line of memory each, for it is memory that takes the time."""
_STRETCHES, _AT_ONCE = 24, 4000
_SOME = 64
_DOUBTFUL = 0.9
_KNOWN, _APART = 0.04, 3.0
"""Error of a throughput by sky lines below which they alone decide; errors by which they contradict the catalogue, if there is more sky than target:
where a fibre misses its target, or the catalogue is wrong, the fibre has lost nothing."""
_HALF, _NEARLY_ALL = 0.5, 0.9

WEAK = MetricDef(
    "weak_fibers", "",
    doc="Number of fibres, not known to be bad and not dead, that have lost part of their light: in lamps against the fibre flat of the "
    "calibrations, in science against the sky model and the magnitudes of the targets.",
)  # fmt: skip
LOWEST = MetricDef("fiber_throughput_lowest", "", doc="Lowest throughput, relative to the others, of a fibre that is not known to be bad, nor dead.")
SCATTER = MetricDef("fiber_throughput_scatter", "", doc="Robust scatter over the fibres of their throughput relative to the fibre flat.")
TOLD = MetricDef("fiber_throughput_told", "", doc="Part of the live fibres whose throughput is known well enough to see a quarter lost.")
UNSEEN = MetricDef("unseen_fibers", "", doc="Number of live fibres in which the noise would hide the loss of half of their light.")
FAINTEST = MetricDef("fiber_loss_told", "", doc="Least loss of light, a part of 1, that would be told in nine of ten of the live fibres; 1: none.")


class FiberThroughputParams(Params):
    """Parameters of `fiber_throughput`."""

    weak: float = Field(0.75, gt=0.0, lt=1.0, description="a fibre with less than this part of the light that it should have is weak")
    dead: float = Field(0.05, ge=0.0, lt=1.0, description="one with less than this is dead, and counted by good_fibers")
    sigma: float = Field(5.0, gt=0.0, description="how many errors a weak fibre must lie below 1")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Fibres:
    """Throughput of each fibre relative to the others and its error [nfibre], NaN where it is not known; which are live, which weak."""

    value: Float64
    error: Float64
    live: Raw
    weak: Raw


class FiberThroughput(MonitoringAlg[FiberThroughputParams]):
    """Finds fibres that give less light than the fibre flat makes of them.

    In science after flat-fielding, where the sky is alike in all fibres.
    Formula: in flats and arcs: (mean flux of the fibre / its level in the fibre flat of the calibrations) / the same of the median fibre (without a
    flat, the flux alone); error from the variances of the samples. In science: (1) the factor r of a least-squares fit of r sky + straight continuum
    to stretches of 21 samples with structure of the sky lines, which no smooth target disturbs: weighted mean, the highest of those without one of
    the stretches, so that no line of a target lowers it; divided by the part of the structure that is no noise of the sky model; error from the
    weights, enlarged where the stretches disagree, and half of what is taken for noise of the model; (2) sum of the flux / sum of the sky, an upper
    limit whatever the target adds; (3) sum of the flux / (sum of the sky + c catalogue), with the fibre fluxes of the fibre map in the band of the
    arm and c such that the median target has 1; error from noise and the scatter of the targets about c. weak_fibers = number of fibres with one of
    the three below `weak` and `sigma` errors below 1, where (3) counts only if (1) is known worse than to 0.04 and not higher by three errors, as
    where the fibre misses its target. It does not apply where half of the light could be lost unseen in more than a tenth of the fibres, unless some
    are found. fiber_throughput_lowest = the least, fiber_throughput_scatter = 1.4826 MAD over the fibres, all relative to 1; fiber_throughput_told =
    part of the live fibres that are weak, or known so well that `sigma` errors are less than 1 - `weak`; unseen_fibers = number of those that are
    not weak and whose `sigma` errors are not less than 0.5; fiber_loss_told = the `sigma` errors that nine of ten stay below, at least 1 - `weak`.
    Source: own definition: weighted linear least squares; a lamp or the sky, which all fibres see alike, is the reference.
    """

    name = "fiber_throughput"
    group = "Fibres"
    metrics = (WEAK, LOWEST, SCATTER, TOLD, UNSEEN, FAINTEST)

    def measure(self, frame: Frame, exposure: Exposure, flat: FiberFlat | None = None, sky: SkyModel | None = None) -> Measures:
        """Of extracted spectra of lamps, or of flat-fielded spectra and their sky. Raises NotApplicable where there is neither lamp nor sky."""
        if exposure.flavor in _DARK:
            raise NotApplicable(f"no light is in a {exposure.flavor}")
        if exposure.flavor in _LAMPS:
            found = self._lamp(frame, flat, 1 if exposure.flavor == "arc" else _STEP)
        elif sky is not None and sky.flux.shape == frame.flux.shape and (sky.fiber is None or np.array_equal(sky.fiber, frame.fibermap.fiber)):
            found = self._sky(frame, sky)
        else:
            raise NotApplicable("there is no sky model of these fibres")
        number, told = frame.fibermap.fiber, found.live & np.isfinite(found.value)
        if not told.any():
            raise NotApplicable("no live fibre has light enough to tell its throughput")
        of = "fibre flat" if exposure.flavor in _LAMPS else "sky model"
        return Measures(self._metrics(number, found, told), plots=(self._plot(frame, found, of),), facts={"fibers": int(told.sum())})

    def _metrics(self, number: Raw, found: _Fibres, told: Raw) -> tuple[Measured, ...]:
        """Of the fibres `told` [nfibre], one at least, in the order of their declaration."""
        value, n = found.value[told], int(found.live.sum())
        lowest = int(np.argmin(np.where(told, found.value, np.inf)))
        hidden = np.where(told, np.minimum(self.params.sigma * found.error, 1.0), 1.0)
        unseen = found.live & ~found.weak & ~(hidden < _HALF)
        if found.weak.any() or unseen.sum() <= (1.0 - _NEARLY_ALL) * n:
            weak = scalar(WEAK, int(found.weak.sum()), _named(number, found))
        else:
            weak = not_applicable(WEAK.name, f"in {int(unseen.sum())} of {n} fibres the noise would hide the loss of half of their light")
        return (
            weak,
            scalar(LOWEST, float(found.value[lowest]), f"fibre {number[lowest]}, known to {found.error[lowest]:.2g}"),
            scalar(SCATTER, float(1.4826 * np.median(np.abs(value - np.median(value))))),
            scalar(TOLD, float(((hidden < 1.0 - self.params.weak) | found.weak)[found.live].mean())),
            scalar(UNSEEN, int(unseen.sum()), numbered("fibre", number[unseen])),
            scalar(FAINTEST, max(float(np.quantile(hidden[found.live], _NEARLY_ALL, method="higher")), 1.0 - self.params.weak)),
        )

    def _lamp(self, frame: Frame, flat: FiberFlat | None, step: int) -> _Fibres:
        count, total, noise = light_sums(frame, step if frame.flux.shape[1] >= _LONG else 1)
        seen = count > 0
        light = np.divide(total, count, out=np.full(total.shape, np.nan), where=seen)
        error = np.divide(np.sqrt(noise), count, out=np.full(total.shape, np.nan), where=seen)
        level = np.ones(light.shape) if flat is None else matched(frame.fibermap.fiber, flat.fiber, flat_levels(flat))
        usable = seen & np.isfinite(level) & (level > self.params.dead)
        light, error = (np.where(usable, v / np.where(usable, level, 1.0), np.nan) for v in (light, error))
        live = ~bad_fibers(frame)
        some = live & usable
        typical, noise_of_it = (float(np.median(v[some])) if some.any() else 0.0 for v in (light, error))
        if not typical > self.params.sigma * noise_of_it:
            raise NotApplicable("no light reaches this camera, so fibres cannot be told apart")
        value, error = light / typical, error / typical
        doubtful = np.flatnonzero(live & (value < _DOUBTFUL) & (value >= self.params.dead))
        value[doubtful] = np.fmax(value[doubtful], light_of_few(frame, doubtful, value * level, some & (value > self.params.weak)) / level[doubtful])
        return self._judged(live, value, error)

    def _sky(self, frame: Frame, sky: SkyModel) -> _Fibres:
        from qa.kernels.skyparts import sky_parts, telling

        live = ~bad_fibers(frame)
        row = _typical_row(frame, live)
        start = telling(sky.flux[row], frame.ivar[row], min(_STRETCHES, max(1, _AT_ONCE // len(live))))
        whole, lines = np.empty((len(live), 3)), np.empty((len(live), 2))
        every = max(_CHUNK, frame.flux.shape[1] // _CHUNKS)
        sky_parts(frame.flux, frame.ivar, frame.mask, frame.wave, sky.flux, sky.ivar, start, row, _CHUNK, every, whole, lines)
        light, level, noise = whole.T
        lit = np.where(level > 0, level, np.nan)
        by_lines, limit = self._judged(live, *lines.T), self._judged(live, light / lit, noise / lit)
        by_catalogue = self._judged(live, *of_expected(light, level, noise, np.where(live, catalogue_light(frame), np.nan)))
        return self._best(by_lines, by_catalogue, limit, np.array(frame.fibermap.objtype) == "SKY")

    def _best(self, lines: _Fibres, expected: _Fibres, limit: _Fibres, sky: Raw) -> _Fibres:
        """Of each fibre what tells most: good lines, the catalogue if the lines do not contradict it, too little light or that of sky, lines."""
        missed = lines.value - expected.value > _APART * np.hypot(lines.error, expected.error)
        choices = (lines.error < _KNOWN, np.isfinite(expected.error) & ~missed, limit.weak | sky)
        value, error = (
            np.select(choices, (lined, awaited, limited), lined)
            for lined, limited, awaited in ((getattr(f, name) for f in (lines, limit, expected)) for name in ("value", "error"))
        )
        weak = limit.weak | lines.weak | (expected.weak & ~missed & ~(lines.error < _KNOWN))
        return _Fibres(value=value, error=error, live=lines.live, weak=weak & ~(limit.value < self.params.dead))

    def _judged(self, live: Raw, value: Float64, error: Float64) -> _Fibres:
        low = (value < self.params.weak) & (value + self.params.sigma * error < 1.0) & (value >= self.params.dead)
        return _Fibres(value=value, error=error, live=live, weak=live & low)

    def _plot(self, frame: Frame, found: _Fibres, of: str) -> Plot:
        number = np.asarray(frame.fibermap.fiber, np.float64)
        seen = np.isfinite(found.value) & found.live
        sure = found.weak | (self.params.sigma * found.error < _HALF)
        groups = (("sound", seen & sure & ~found.weak), ("weak", seen & found.weak), ("half could be lost unseen", seen & ~sure))
        layers = tuple(Scatter(x=number[g], y=found.value[g], label=name) for name, g in groups if g.any())
        line = Line(x=number[[0, -1]], y=np.full(2, self.params.weak), label=f"weak: below {self.params.weak:g}")
        y = Axis(label="relative throughput", range=(0.0, None))
        panels = [Panel(x=Axis(label="fibre"), y=y, layers=(*layers, line), title=f"Throughput against the {of}")]
        x_mm, y_mm = frame.fibermap.columns.get("FIBERASSIGN_X"), frame.fibermap.columns.get("FIBERASSIGN_Y")
        if x_mm is not None and y_mm is not None:
            places = (np.asarray(c, np.float64)[seen] for c in (x_mm, y_mm))
            layer = FocalPlane(x=next(places), y=next(places), c=found.value[seen], c_axis=Axis(label="relative throughput"))
            panels.append(Panel(x=Axis(label="X", unit="mm"), y=Axis(label="Y", unit="mm"), layers=(layer,), title="On the focal plane"))
        return Plot(name="fiber_throughput", title=f"Throughput of the fibres, camera {frame.camera}", panels=tuple(panels), columns=2)


def _named(number: Raw, found: _Fibres) -> str:
    """``fibre 7, 19 (0.48, 0.51 of their light)``."""
    if not found.weak.any():
        return ""
    values = ", ".join(f"{v:.2f}" for v in found.value[found.weak][:5])
    return f"{numbered('fibre', number[found.weak])} ({values}{', ...' if found.weak.sum() > 5 else ''} of the light)"


def _typical_row(frame: Frame, live: Raw) -> int:
    """The live fibre nearest to the middle of those that are nearly whole: its sky says where the lines are."""
    good = (frame.ivar[:, :: max(1, frame.ivar.shape[1] // _SOME)] > 0).mean(axis=1)
    candidates = np.flatnonzero(live & (good >= 0.9 * float(good.max())))
    if not candidates.size:
        raise NotApplicable("all fibres are known to be bad")
    return int(candidates[np.argmin(np.abs(candidates - len(live) // 2))])
