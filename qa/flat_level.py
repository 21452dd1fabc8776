"""The light of each fibre in a flat against a reference: a lamp that fades or changes colour, fibres that lose light or are exchanged."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from pydantic import Field

from qa.fiberlight import bad_fibers, flat_levels, matched, usable
from qa.values import numbered, row_medians, scalar
from quicklook.ccd.arrays import Float32, Float64, Raw
from quicklook.ccd.calibs import ReferenceFlat
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import FiberFlat, Frame
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measured, Measures, MetricDef, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_STEP, _LONG = 8, 2048
_BINS, _FEW, _MANY = 32, 5, 0.1

LEVEL = MetricDef("flat_level", "", doc="Light of the fibres per second over that of the reference flat, median over the fibres.")
SCATTER = MetricDef("flat_level_scatter", "", doc="Robust scatter over the fibres of their light over that of the reference, relative.")
RMS = MetricDef("flat_level_rms", "", doc="Rms over the fibres of their light over that of the reference, relative to the median.")
SLOPE = MetricDef("flat_level_slope", "", doc="Change of that ratio from the first fibre to the last, relative: an uneven lamp.")
CHANGED = MetricDef("flat_fibers_changed", "", doc="Part of the fibres whose light over the reference departs from that of the others.")
SWAPPED = MetricDef("swapped_fibers", "", doc="Number of pairs of fibres, each of which has the light that the other has in the reference.")
COLOUR = MetricDef(
    "lamp_colour", "",
    doc="Change of the spectrum of the lamp against that of the fibre flat of the calibrations, from the shortest wavelength to the longest, ln.",
)  # fmt: skip


class FlatLevelParams(Params):
    """Parameters of `flat_level`."""

    changed: float = Field(0.1, gt=0, description="a fibre has changed where its light departs by more than this part of the others'")
    exchanged: float = Field(0.03, gt=0, description="fibres are only called exchanged where each departs by more than this part, and by 8 scatters")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Levels:
    """Of the fibres that both have: number, light here and in the reference (each over its median), their ratio over its median; which are known."""

    fiber: Raw
    own: Float64
    other: Float64
    relative: Float64
    known: Raw


class FlatLevel(MonitoringAlg[FlatLevelParams]):
    """Compares the level of every fibre in a flat exposure with the reference flat; where there is none, with the fibre flat of the calibrations.

    The absolute level needs the reference flat, the colour of the lamp the fibre flat (its MEANSPEC); what lacks its reference does not apply.
    Formula: r = (median flux of a fibre / exposure time, electron/(s Angstrom)) / that of the reference; flat_level = median of r over the fibres,
    q = r / flat_level. flat_level_scatter = 1.4826 x median of |q - 1|; flat_level_rms = rms of q - 1; flat_level_slope = slope of a straight line
    through q against the place along the slit, first to last fibre, fibres that have changed apart; flat_fibers_changed = part of the fibres with
    |q - 1| > `changed`. swapped_fibers = pairs of fibres that depart from their own reference alone and each have the level of the other, within a
    quarter of their departures. lamp_colour = slope of ln(spectrum of the middle fibres / MEANSPEC) against wavelength x range of the wavelengths.
    Source: own definition; the comparison with a reference is that of CHECKFLAT (Check_FiberFlat) of DESI's quick-look.
    """

    name = "flat_level"
    group = "Fibres"
    metrics = (LEVEL, SCATTER, RMS, SLOPE, CHANGED, SWAPPED, COLOUR)

    def measure(self, frame: Frame, exposure: Exposure, reference: ReferenceFlat | None, flat: FiberFlat | None = None) -> Measures:
        """Of the fibres that both have and that are not known to be bad. Raises NotApplicable where there is no reference, or no exposure time."""
        if reference is None and flat is None:
            raise NotApplicable("there is no reference flat (`quicklook calib build refflat` makes one), and no fibre flat")
        if not (math.isfinite(exposure.exptime) and exposure.exptime > 0):
            raise NotApplicable(f"the exposure time is {exposure.exptime} s")
        step = _STEP if frame.flux.shape[1] >= _LONG else 1
        light = row_medians(*_some(frame, step)) / exposure.exptime
        due = ~bad_fibers(frame)
        fiber, light = frame.fibermap.fiber[due], light[due]
        if reference is not None:
            middle, levels = _compared(fiber, light, reference.fiber, reference.level)
            level = scalar(LEVEL, middle)
        elif flat is not None:
            levels = _compared(fiber, light, flat.fiber, flat_levels(flat))[1]
            level = not_applicable(LEVEL.name, "there is no reference flat (`quicklook calib build refflat` makes one); fibres are compared alone")
        some = levels.relative[levels.known]
        if not some.size:
            dark = tuple(scalar(d, math.nan, "half of the fibres and more have no light") for d in (SCATTER, RMS, SLOPE, CHANGED, SWAPPED))
            return Measures((level, *dark, _colour(frame, flat)))
        scatter = 1.4826 * float(np.median(np.abs(some - 1.0)))
        moved = ~(np.abs(levels.relative - 1.0) <= self.params.changed)
        metrics = (
            level,
            scalar(SCATTER, scatter),
            scalar(RMS, float(np.sqrt(np.mean((some - 1.0) ** 2)))),
            _slope(levels, moved),
            scalar(CHANGED, float(moved.mean()), numbered("fibre", levels.fiber[moved])),
            self._swapped(levels, scatter),
            _colour(frame, flat),
        )
        return Measures(metrics, plots=(_plot(frame.camera, levels),), facts={"fibers": int(levels.known.sum())})

    def _swapped(self, levels: _Levels, scatter: float) -> Measured:
        """Pairs whose levels are each other's: both depart from their own reference by much, and agree with the other's within a quarter of that."""
        least = max(self.params.exchanged, 8.0 * scatter)
        off = np.flatnonzero(levels.known & (np.abs(levels.relative - 1.0) > least))
        if off.size > max(_FEW, _MANY * levels.known.sum()):
            return not_applicable(SWAPPED.name, f"{off.size} fibres depart from the reference: among so many no pair can be told")
        crossed = np.abs(levels.own[off][:, None] / levels.other[off] - 1.0)
        own = np.abs(levels.relative[off] - 1.0)
        pairs = np.argwhere(np.triu(np.maximum(crossed, crossed.T) < 0.25 * np.minimum(own[:, None], own), 1))
        named = [f"fibres {levels.fiber[off[a]]} and {levels.fiber[off[b]]}" for a, b in pairs[:_FEW]]
        return scalar(SWAPPED, len(pairs), ", ".join(named))


def _some(frame: Frame, step: int) -> tuple[Float32, Raw]:
    """Every `step`-th sample of the flux, and which of them can be used."""
    flux = frame.flux[:, ::step]
    return flux, usable(flux, frame.ivar[:, ::step], frame.mask[:, ::step])


def _compared(fiber: Raw, light: Float64, number: Raw, level: Float64) -> tuple[float, _Levels]:
    """Median ratio, and the levels of the fibres that have one in the reference. Raises NotApplicable where none has light in both."""
    other = matched(fiber, number, level)
    lit = np.isfinite(other) & (other > 0)
    fiber, own, other = fiber[lit], light[lit], other[lit]
    ratio = own / other
    known = np.isfinite(ratio)
    if not known.any():
        raise NotApplicable("no fibre has light in the flat and a level in the reference")
    middle = float(np.median(ratio[known]))
    relative = ratio / middle if middle > 0 else np.full(ratio.shape, math.nan)
    scale = middle if middle > 0 else 1.0
    return middle, _Levels(fiber=fiber, own=own / scale, other=other, relative=relative, known=known & np.isfinite(relative))


def _plot(camera: str, levels: _Levels) -> Plot:
    layer = Scatter(x=np.asarray(levels.fiber[levels.known], np.float64), y=levels.relative[levels.known])
    panel = Panel(x=Axis(label="fibre"), y=Axis(label="over reference, relative"), layers=(layer,), title="Light by fibre")
    return Plot(name="flat_level", title=f"Fibres against the reference, camera {camera}", panels=(panel,))


def _slope(levels: _Levels, moved: Raw) -> Measured:
    use = levels.known & ~moved
    if use.sum() < _FEW:
        return not_applicable(SLOPE.name, f"fewer than {_FEW} fibres can be compared")
    place = np.linspace(-0.5, 0.5, len(use))[use]
    return scalar(SLOPE, float(np.polyfit(place, levels.relative[use], 1)[0]))


def _colour(frame: Frame, flat: FiberFlat | None) -> Measured:
    """Slope of ln(median spectrum / mean lamp) over the wavelengths, times their range: from the medians of stretches of the middle fibres."""
    wave = None if flat is None else flat.wave if flat.wave.ndim == 1 else np.median(flat.wave, axis=0)
    if flat is None or wave is None or flat.meanspec.shape != wave.shape:
        return not_applicable(COLOUR.name, "there is no fibre flat with the mean spectrum of the lamp")
    n = len(frame.flux)
    rows = slice(max(0, n // 2 - 10), n // 2 + 10)
    expected = np.interp(frame.wave[rows], wave, flat.meanspec, left=np.nan, right=np.nan)
    good = usable(frame.flux[rows], frame.ivar[rows], frame.mask[rows]) & (expected > 0.1 * np.nanmax(flat.meanspec))
    ratio = np.divide(frame.flux[rows], expected, out=np.full(expected.shape, np.nan), where=good)
    edges = np.linspace(0, ratio.shape[1], _BINS + 1).astype(int)
    parts = [(frame.wave[rows, a:b], ratio[:, a:b]) for a, b in pairwise(edges)]
    seen = [(float(np.median(w[np.isfinite(r)])), float(np.median(r[np.isfinite(r)]))) for w, r in parts if np.isfinite(r).any()]
    places = np.array([(w, r) for w, r in seen if r > 0]).reshape(-1, 2)
    if len(places) < _FEW:
        return not_applicable(COLOUR.name, "the lamp has too little light to say")
    slope = float(np.polyfit(places[:, 0] - places[:, 0].mean(), np.log(places[:, 1]), 1)[0])
    return scalar(COLOUR, slope * float(np.ptp(places[:, 0])))
