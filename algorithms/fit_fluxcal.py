"""The flux calibration from exposures of standard stars."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from algorithms.apply_fiberflat import match
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import FiberFlat, FluxCalib, Frame
from quicklook.ccd.stars import CLIPPED, FITTED, HELD_OUT, MASKED, Extinction, FluxCalFit, StdStars
from quicklook.core.errors import BadData, MissingCalibration
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg
from quicklook.core.quantity import Unit

if TYPE_CHECKING:
    from algorithms.kernels.response import Smooth

Array = npt.NDArray[Any]
Angstrom = Unit("Angstrom")
BALMER = (3722.9, 3735.4, 3751.2, 3771.7, 3799.0, 3836.5, 3890.2, 3971.2, 4102.9, 4341.7, 4862.7, 6564.6)
"""Lines of hydrogen, vacuum Angstrom (NIST)."""
TELLURIC = ((6860.0, 6960.0), (7160.0, 7340.0), (7590.0, 7720.0), (8120.0, 8350.0), (8930.0, 9800.0))
"""Bands of O2 and H2O, Angstrom (as in Smette et al. 2015, A&A 576, A77)."""
_AIRMASS = (0.9, 6.0)
"""What can be believed: less does not exist, more is within nine degrees of the horizon, or a fill value."""


class FitFluxcalParams(Params):
    """Parameters of `fit_fluxcal`."""

    bin: Annotated[float, Angstrom] = Field(10.0, gt=0, description="width of the bins in which a star is compared with what it should give")
    knots: Annotated[float, Angstrom] = Field(200.0, gt=0, description="distance of the knots of the response")
    stiffness: float = Field(1e-3, ge=0, description="how stiff the response is beyond its knots (weight of its third differences)")
    use_lamp: bool = Field(
        True, description="take the response as the lamp of the fibre flat times a smooth curve, where that fits better: both see the same optics"
    )
    balmer: Annotated[float, Angstrom] = Field(20.0, ge=0, description="half width around lines of hydrogen that is left out")
    telluric: bool = Field(True, description="leave out the bands of O2 and H2O")
    clip: float = Field(4.0, gt=1.0, description="a bin that lies off by more is left out [sigma]")
    floor: float = Field(0.01, gt=0, description="relative error that the comparison has at least: that of the reference spectra")
    min_snr: float = Field(3.0, gt=0, description="S/N of a bin below which it is not used")
    hold_out: Annotated[float, Angstrom] = Field(
        0.0, ge=0, description="every second block of so many Angstrom is not fitted, to test the response there; 0: all is fitted"
    )
    edge: int = Field(5, ge=0, description="samples at each end of a spectrum that are not used")
    level_clip: float = Field(0.3, gt=0, description="of several stars, one whose level is off the median by more than this part is left out")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Star:
    """One star in one exposure: its name, ln of the ratio in every bin (NaN: none), the error of that, airmass."""

    name: str
    ratio: Array
    error: Array
    airmass: float


class FitFluxcal(PipelineAlg[FitFluxcalParams]):
    """Fit electrons per 1e-17 erg/cm2 against wavelength to standard stars of known spectrum."""

    name = "fit_fluxcal"

    def run(
        self, frames: Sequence[Frame], exposures: Sequence[Exposure], stars: StdStars, extinction: Extinction | None, flat: FiberFlat | None
    ) -> tuple[FluxCalib, FluxCalFit]:
        """The calibration, and how it was fitted. The frames are sky-subtracted, electron/Angstrom; of a slit the sum over each object.

        ratio = electrons / (flux of the star x exposure time x 10^(-0.4 k (airmass - mean airmass))), with k the extinction in magnitude per
        airmass, in bins; ln ratio is a stiff spline on evenly spaced knots, or such a spline and ln of the lamp of the flat, whichever leaves less
        scatter. The calibration holds at the mean airmass (`pairmass`), `aterm` = k carries it elsewhere. Raises BadData (no star with light, no
        exposure time, spectra already calibrated), MissingCalibration (stars of others).
        """
        assumed: list[str] = [] if extinction is not None else ["no extinction of the atmosphere: none is in the calibrations"]
        edges, found = np.zeros(0), list[_Star]()
        for frame, exposure in zip(frames, exposures, strict=True):
            edges = self._edges(frame) if not edges.size else edges
            found += self._stars(frame, exposure, stars, edges, assumed)
        if not found:
            raise BadData("no standard star gives light in these exposures; look at the pointing, and at what the fibres look at")
        pairmass = float(np.mean([s.airmass for s in found]))
        middle = 0.5 * (edges[:-1] + edges[1:])
        term = np.zeros(middle.size) if extinction is None else np.interp(middle, extinction.wave, extinction.magnitude)
        value, error, used, levels = self._together(found, 0.4 * math.log(10) * term, pairmass)
        use = self._usable(middle, value, error)
        first, last = _span(edges, use)
        grid = np.arange(first, last + 1e-6, 0.1 * self.params.bin)
        smooth, by_lamp = self._fit(middle, value, error, use == FITTED, grid, lamp_of(flat, edges) if self.params.use_lamp else None)
        use[(use == FITTED) & ~smooth.kept] = CLIPPED
        model = np.interp(middle, grid, smooth.value, left=np.nan, right=np.nan)
        fit = FluxCalFit(
            wave=middle, ratio=np.exp(value), error=np.exp(value) * error, model=np.exp(model), use=use,
            stars=tuple(s.name for s in used), levels=tuple(levels), by_lamp=by_lamp, assumed=tuple(dict.fromkeys(assumed)),
        )  # fmt: skip
        aterm = None if extinction is None else np.interp(grid, extinction.wave, extinction.magnitude).astype(np.float32)
        calib = np.exp(smooth.value)
        ivar = 1.0 / np.maximum(calib**2 * smooth.variance, 1e-30)
        return FluxCalib(calib=calib.astype(np.float32), ivar=ivar.astype(np.float32), wave=grid, aterm=aterm, pairmass=pairmass), fit

    def _fit(self, wave: Array, value: Array, error: Array, use: Array, grid: Array, lamp: Array | None) -> tuple[Smooth, bool]:
        """The smooth response on `grid`, and whether it rests on the lamp. Raises BadData."""
        from algorithms.kernels.response import Smooth, fit_smooth

        p, best, by_lamp, least = self.params, None, False, math.inf
        knots = np.linspace(grid[0], grid[-1], max(1, round((grid[-1] - grid[0]) / p.knots)) + 1)
        for shape in (np.zeros(wave.size), lamp):
            if shape is None or not np.isfinite(shape[use]).all():
                continue
            known = np.isfinite(shape)
            try:
                found = fit_smooth(wave, value - shape, np.hypot(error, p.floor), use, knots, grid, p.stiffness, p.clip)
            except (ValueError, np.linalg.LinAlgError) as problem:
                raise BadData(f"the response cannot be fitted: {problem}; is the star bright enough, and in the slit?") from problem
            total = found.value + np.interp(grid, wave[known], shape[known])
            scatter = float(np.std((value - np.interp(wave, grid, total))[found.kept]))
            if scatter < least:
                best, least, by_lamp = Smooth(total, found.variance, found.kept), scatter, shape is lamp
        assert best is not None  # the first shape is always tried
        return best, by_lamp

    def _edges(self, frame: Frame) -> Array:
        low, high = float(frame.wave.min()), float(frame.wave.max())
        return np.arange(math.floor(low / self.params.bin), math.ceil(high / self.params.bin) + 1) * self.params.bin

    def _stars(self, frame: Frame, exposure: Exposure, stars: StdStars, edges: Array, assumed: list[str]) -> list[_Star]:
        """The stars of one exposure, those without light left out."""
        if not frame.unit.lower().startswith("electron"):
            raise BadData(f"{exposure.unit}: the spectra are in {frame.unit}; a flux calibration is fitted to electrons")
        if not (math.isfinite(exposure.exptime) and exposure.exptime > 0):
            raise BadData(f"{exposure.unit}: the exposure time is {exposure.exptime} s, so there is no flux; look at the header")
        airmass, (low, high) = exposure.airmass, _AIRMASS
        if airmass is None or not low <= airmass <= high:
            assumed.append(f"{exposure.unit}: airmass 1, the exposure states {'none' if airmass is None else airmass}")
            airmass = 1.0
        out = []
        for row, k in self._rows(frame, stars):
            value, error = self._ratio(frame, row, stars, k, edges)
            value, error = value / exposure.exptime, error / exposure.exptime
            good = np.isfinite(value) & (value > self.params.min_snr * error)
            if good.sum() >= 4:
                safe = np.where(good, value, 1.0)
                name = stars.names[k] if k < len(stars.names) else f"fibre {int(frame.fibermap.fiber[row])}"
                logarithm, relative = np.where(good, np.log(safe), np.nan), np.where(good, error / safe, np.nan)
                out.append(_Star(name=f"{name} ({exposure.unit})", ratio=logarithm, error=relative, airmass=airmass))
        return out

    def _rows(self, frame: Frame, stars: StdStars) -> list[tuple[int, int]]:
        """(row of the frame, star): by fibre number; a star without one is the brightest object. Raises MissingCalibration."""
        if stars.fiber is None:
            light = [_light(f, i) if t == "TGT" else -math.inf for f, i, t in zip(frame.flux, frame.ivar, frame.fibermap.objtype, strict=True)]
            return [(int(np.argmax(light)), 0)] if max(light) > 0 else []
        rows = match(stars.fiber, frame.fibermap.fiber)
        if (rows < 0).all():
            raise MissingCalibration(f"camera {frame.camera}: none of the {rows.size} standard stars is on a fibre of this frame; give its own stars")
        return [(int(row), k) for k, row in enumerate(rows) if row >= 0]

    def _ratio(self, frame: Frame, row: int, stars: StdStars, k: int, edges: Array) -> tuple[Array, Array]:
        from algorithms.kernels import response

        p = self.params
        wave = frame.wave[row]
        ivar = np.where(frame.mask[row] == 0, frame.ivar[row], 0).astype(np.float64)
        if p.edge:
            ivar[: p.edge] = ivar[-p.edge :] = 0.0
        sigma = float(np.median(frame.sigma[row]))
        near = (stars.wave > wave[0] - 50 - 10 * sigma) & (stars.wave < wave[-1] + 50 + 10 * sigma)
        if near.sum() < 2:
            return np.full(edges.size - 1, np.nan), np.full(edges.size - 1, np.nan)
        own = stars.wave[near]
        expected = np.interp(wave, own, response.blurred(own, stars.flux[k][near], sigma), left=0.0, right=0.0)
        return response.bin_ratios(wave, frame.flux[row].astype(np.float64), ivar, expected, edges)

    def _together(self, found: list[_Star], term: Array, pairmass: float) -> tuple[Array, Array, list[_Star], list[float]]:
        """ln ratio at the mean airmass and its error in every bin, of all stars; the stars used; their levels relative to it."""
        ratio = np.stack([s.ratio + term * (s.airmass - pairmass) for s in found])
        weight = np.where(np.isfinite(ratio), 1.0 / np.stack([s.error**2 + self.params.floor**2 for s in found]), 0.0)
        filled = np.where(weight > 0, ratio, 0.0)
        level = np.zeros(len(found))
        for _ in range(5):
            rest = (weight * (filled - level[:, None])).sum(axis=0) / np.maximum(weight.sum(axis=0), 1e-300)
            level = np.array([float(np.median((r - rest)[w > 0])) for r, w in zip(filled, weight, strict=True)])
            level -= np.median(level)
        use = np.abs(level) <= math.log(1 + self.params.level_clip) if len(found) > 2 else np.ones(len(found), bool)
        weight, level = weight[use], level[use]
        total = weight.sum(axis=0)
        with np.errstate(invalid="ignore", divide="ignore"):
            value = np.where(total > 0, (weight * (filled[use] - level[:, None])).sum(axis=0) / total, np.nan)
            error = np.where(total > 0, 1.0 / np.sqrt(total), np.nan)
        return value, error, [s for s, ok in zip(found, use, strict=True) if ok], [math.exp(v) for v in level]

    def _usable(self, wave: Array, value: Array, error: Array) -> Array:
        """What is to become of each bin."""
        p = self.params
        use = np.where(np.isfinite(value) & np.isfinite(error), FITTED, MASKED).astype(np.uint8)
        for line in BALMER:
            use[np.abs(wave - line) < p.balmer + 0.5 * p.bin if p.balmer else np.zeros(wave.size, bool)] = MASKED
        for low, high in TELLURIC if p.telluric else ():
            use[(wave > low) & (wave < high)] = MASKED
        if p.hold_out > 0:
            use[(use == FITTED) & held_out(wave, p.hold_out)] = HELD_OUT
        return use


def lamp_of(flat: FiberFlat | None, edges: Array) -> Array | None:
    """ln of the mean spectrum of the lamp in bins [nbin]; NaN in bins that it does not cover. None without a lamp that has light."""
    if flat is None:
        return None
    wave = flat.wave if flat.wave.ndim == 1 else np.median(flat.wave, axis=0)
    if wave.size != flat.meanspec.size:
        return None
    good = np.isfinite(flat.meanspec) & (flat.meanspec > 0)
    at = np.searchsorted(edges, wave[good], side="right") - 1
    inside = (at >= 0) & (at < edges.size - 1)
    count = np.bincount(at[inside], minlength=edges.size - 1)
    total = np.bincount(at[inside], flat.meanspec[good][inside], edges.size - 1)
    if not (count > 0).any():
        return None
    return np.where(count > 0, np.log(np.where(count > 0, total, 1.0) / np.maximum(count, 1)), np.nan)


def held_out(wave: Array, block: float) -> Array:
    """Which wavelengths (Angstrom) lie in blocks that are held out: the second, fourth, ... of `block` Angstrom, counted from 0 Angstrom."""
    return np.asarray(np.floor(np.asarray(wave) / block).astype(np.int64) % 2 == 1)


def _light(flux: Array, ivar: Array) -> float:
    good = ivar > 0
    return float(np.median(flux[good])) if good.any() else -math.inf


def _span(edges: Array, use: Array) -> tuple[float, float]:
    """First and last wavelength between which bins are known. Raises BadData."""
    known = np.flatnonzero((use == FITTED) | (use == HELD_OUT))
    if known.size < 4:
        raise BadData(f"the standard stars give {known.size} usable bins of wavelength, 4 are needed; are the reference spectra of this range?")
    return float(edges[known[0]]), float(edges[known[-1] + 1])
