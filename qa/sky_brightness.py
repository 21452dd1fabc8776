"""Surface brightness of the sky in the band of the arm."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from qa.skyrows import seconds, sky_rows
from qa.values import scalar
from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.photometry import AB_FLUX
from quicklook.ccd.spectra import FluxCalib, Frame, SkyModel
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measures, MetricDef, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot
from quicklook.core.plugin import MonitoringAlg

_FIBRES = 4
_ENOUGH = 0.5

BRIGHTNESS = MetricDef(
    "sky_brightness", "mag/arcsec2",
    doc="AB surface brightness of the sky, lines included, in the band of the arm, as it reaches the telescope (not corrected for extinction).",
)  # fmt: skip


class SkyBrightnessParams(Params):
    """Parameters of `sky_brightness`."""

    bands: dict[str, tuple[float, float]] = Field(
        {"b": (4000.0, 5500.0), "r": (5760.0, 7160.0), "z": (8500.0, 9800.0)},
        description="band by the first letter of the camera, near g, r and z of the imaging surveys within what the arm covers [Angstrom]",
    )
    coverage: float = Field(0.5, gt=0, le=1, description="least part of the band that the camera and the flux calibration cover")
    dark: dict[str, float] = Field(
        {"b": 22.2, "r": 21.2, "z": 19.8},
        description="brightness of a dark sky in the band, lines included; nothing is said where noise would hide it [mag/arcsec2]",
    )
    level_error: float = Field(0.5, ge=0.0, description="how well the zero of the spectra is known, by bias and background [electron/Angstrom]")
    sigma: float = Field(5.0, gt=0.0, description="errors by which the sky of this exposure, or a dark one, is to stand out")
    star_fraction: float = Field(
        1.0, gt=0, le=1, description="part of the light of a star that enters a fibre in the flux calibration, where that counts the rest as lost"
    )


class SkyBrightness(MonitoringAlg[SkyBrightnessParams]):
    """States how bright the sky is, from the model of the sky before it is subtracted, the flux calibration and the area of a fibre on the sky.

    The calibration is taken at its own airmass and seeing: the sky fills a fibre in any seeing, and its light has no common way through the air, so
    that extinction is left in, as is usual for the brightness of the sky.
    Formula: f = sky [electron/Angstrom] x star_fraction / (calibration x exposure time x area), in 1e-17 erg/(s cm2 Angstrom arcsec2), mean of four
    sky fibres; sky_brightness = -2.5 log10 (integral f w dw / integral f_AB w dw) over the band, mag/arcsec2, w the wavelength, f_AB the flux
    density of magnitude 0. No error is stated: the flux calibration has none. It does not apply where neither this sky nor a `dark` one has `sigma`
    errors of light in the band, the error being that of the noise of the model and of the zero of the spectra (`level_error`) in quadrature.
    Source: it stands for SKYRBAND (Sky_Rband) of DESI's quick-look. Extinction: Patat 2003, A&A 400, 1183; f_AB: Oke & Gunn 1983, ApJ 266, 713;
    photon counting: Fukugita et al. 1996, AJ 111, 1748.
    """

    name = "sky_brightness"
    group = "Spectra"
    metrics = (BRIGHTNESS,)

    def measure(self, frame: Frame, sky: SkyModel, exposure: Exposure, fluxcal: FluxCalib | None) -> Measures:
        """Of the model of the sky in some of its fibres. Raises NotApplicable where the band, the area of a fibre or a flux calibration is
        not known, or not covered, BadData without exposure time."""
        band = self.params.bands.get(frame.camera[:1].lower())
        if band is None:
            raise NotApplicable(f"no band is set for camera {frame.camera} (sky_brightness.bands)")
        if exposure.fibre_area_arcsec2 is None:
            raise NotApplicable("the description of the instrument does not state the area of a fibre (fibre_area_arcsec2)")
        if fluxcal is None:
            raise NotApplicable("there is no flux calibration")
        rows = sky_rows(frame, sky)
        rows = rows[:: max(1, rows.size // _FIBRES)][:_FIBRES]
        wave = np.arange(band[0], band[1])
        unit = exposure.fibre_area_arcsec2 * (1.0 if fluxcal.times_exptime else seconds(exposure.exptime)) / self.params.star_fraction
        seen = [_Seen.of(sky, frame, fluxcal, row, wave) for row in rows]
        flux = _mean([one.electrons / one.calib for one in seen]) / unit
        known = np.isfinite(flux)
        if known.mean() < self.params.coverage:
            raise NotApplicable(f"sky and flux calibration cover {100 * known.mean():.0f} % of the band, {band[0]:.0f} to {band[1]:.0f} Angstrom")
        if why := self._hidden(frame.camera, sky, rows, wave, seen, unit):
            return Measures((not_applicable(BRIGHTNESS.name, why),))
        of_zero = (AB_FLUX / wave)[known].sum()
        ratio = float((flux * wave)[known].sum() / of_zero)
        value = -2.5 * math.log10(ratio) if ratio > 0 else math.nan
        span = f"{wave[known][0]:.0f} to {wave[known][-1]:.0f} Angstrom"
        facts: dict[str, str | float | None] = {"band": span, "fibre_area_arcsec2": exposure.fibre_area_arcsec2, "airmass": exposure.airmass}
        metrics = (scalar(BRIGHTNESS, value, f"from {span}" if ratio > 0 else "the sky is not above zero"),)
        return Measures(metrics, plots=(_plot(frame.camera, wave[known], flux[known]),), facts=facts)


    def _hidden(self, camera: str, sky: SkyModel, rows: Raw, wave: Float64, seen: list[_Seen], unit: float) -> str:
        """Why the brightness is not told: noise would hide a dark sky, and hides this one; "" if it does not, or nobody says how dark a sky is."""
        dark = self.params.dark.get(camera[:1].lower())
        if dark is None:
            return ""
        light, calib = (_mean([getattr(one, name) for one in seen]) for name in ("electrons", "calib"))
        known = np.isfinite(light + calib)
        due = float((AB_FLUX / wave**2 * calib)[known].sum()) * 10 ** (-0.4 * dark) * unit
        error = math.hypot(_noise(sky, int(rows[0]), wave), self.params.level_error * float(known.sum()))
        if max(due, float(light[known].sum())) >= self.params.sigma * error:
            return ""
        return f"noise and zero of the spectra would hide a dark sky of {dark:g} mag/arcsec2, which gives {due / error:.1f} errors in all of the band"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """Light of one fibre, electron/Angstrom, and its calibration, electron per 1e-17 erg/(cm2 Angstrom), at some wavelengths; NaN where not known."""

    electrons: Float64
    calib: Float64

    @classmethod
    def of(cls, sky: SkyModel, frame: Frame, fluxcal: FluxCalib, row: int, wave: Float64) -> _Seen:
        electrons = _electrons(sky, row, wave)
        calib = np.interp(wave, fluxcal.wave, _vector(fluxcal, int(frame.fibermap.fiber[row]), row), left=np.nan, right=np.nan)
        known = np.isfinite(electrons) & (calib > 0)
        return cls(electrons=np.where(known, electrons, np.nan), calib=np.where(known, calib, np.nan))


def _noise(sky: SkyModel, row: int, wave: Float64) -> float:
    """Error by noise of the light of a row of the model over the band, electron: what its fibres share is what counts, so that of one row."""
    own = sky.wave[row]
    use = (sky.mask[row] == 0) & (sky.ivar[row] > 0) & (own >= wave[0]) & (own <= wave[-1])
    return math.sqrt(float((np.gradient(own)[use] ** 2 / sky.ivar[row][use].astype(np.float64)).sum()))


def _electrons(sky: SkyModel, row: int, wave: Float64) -> Float64:
    """Sky of one fibre in each Angstrom about these wavelengths; NaN where it is not known."""
    good = (sky.mask[row] == 0) & (sky.ivar[row] > 0) & np.isfinite(sky.flux[row])
    if not good.any():
        return np.full(wave.shape, np.nan)
    total = np.concatenate([[0.0], np.cumsum(np.where(good, sky.flux[row], 0.0) * np.gradient(sky.wave[row]))])
    own = sky.wave[row]
    edges = np.concatenate([own - 0.5 * np.gradient(own), [own[-1] + 0.5 * (own[-1] - own[-2])]])
    electrons = np.interp(wave + 0.5, edges, total) - np.interp(wave - 0.5, edges, total)  # in each Angstrom: narrow lines keep their light
    covered = np.interp(wave, sky.wave[row], good.astype(np.float64), left=0.0, right=0.0) > _ENOUGH
    return np.where(covered, electrons, np.nan)


def _vector(fluxcal: FluxCalib, fiber: int, row: int) -> Raw:
    """The calibration of a fibre; NaN where it holds none."""
    if fluxcal.calib.ndim == 1:
        return fluxcal.calib
    at = [row] if fluxcal.fiber is None else np.flatnonzero(fluxcal.fiber == fiber)
    return np.asarray(fluxcal.calib[at[0]]) if len(at) and at[0] < len(fluxcal.calib) else np.full(fluxcal.wave.shape, np.nan)


def _mean(spectra: list[Float64]) -> Float64:
    """Mean of the known values at each wavelength, NaN where there is none."""
    values = np.array(spectra)
    known = np.isfinite(values)
    count = known.sum(axis=0)
    return np.asarray(np.where(count > 0, np.where(known, values, 0.0).sum(axis=0) / np.maximum(count, 1), np.nan))


def _plot(camera: str, wave: Float64, flux: Float64) -> Plot:
    ratio = flux * wave**2 / AB_FLUX
    mag = -2.5 * np.log10(np.where(ratio > 0, ratio, np.nan))
    faint, bright = (float(np.nanpercentile(mag, 99.5)) + 0.5, float(np.nanmin(mag)) - 0.3) if np.isfinite(mag).any() else (None, None)
    axes = Axis(label="wavelength", unit="Angstrom"), Axis(label="AB brightness", unit="mag/arcsec2", range=(faint, bright))
    panel = Panel(x=axes[0], y=axes[1], layers=(Line(x=wave, y=mag),), title="Brightness of the sky by wavelength, before it is subtracted")
    return Plot(name="sky_brightness", title=f"Brightness of the sky, camera {camera}", panels=(panel,))
