"""How long a nominal dark exposure would take to give what this one gave."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from qa.nominal import DARK_SKY, calibration_of_exposure, calibration_per_second, sky_magnitude, sky_row, star_light
from qa.targets import calibrated, catalogue
from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import FluxCalib, Frame, Scores, SkyModel
from quicklook.ccd.templates import GRID, template
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.metrics import Coord, Measures, MetricDef, measured
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Bars, Line, Panel, Plot
from quicklook.core.plugin import MonitoringAlg

_STEP = 4
_ROWS, _BLOCKS = 15, 16
"""Sky fibres, every so many samples of them, and blocks of wavelength, from which the noise of the read-out is taken."""

_LEAST = 1e-3
"""A class is left out whose squared template S/N is less than this part of that of the best class, in the nominal exposure."""

_UNKNOWN = "sky fibres, sky model, flux calibration or exposure time leave it open"
_NO_SUM = "there is no nominal exposure: the flux calibration or the sky model holds nothing there that can be used"
_OWN_NOISE = "; no read noise is stated: that of this exposure counts as nominal"

TIME = MetricDef("effective_time", "s", dims=("target",), doc="Time in which a nominal dark exposure gives the template S/N of a class of targets.")
RATIO = MetricDef("effective_time_ratio", "", dims=("target",), doc="effective_time over the exposure time.")
REACHED = MetricDef("template_snr2", "", dims=("target",), doc="Squared S/N of the template of a class in a fibre of this camera.")
NOMINAL = MetricDef("template_snr2_nominal", "", dims=("target",), doc="What template_snr2 is in an exposure of the nominal time and conditions.")


class EffectiveTimeParams(Params):
    """Parameters of `effective_time`."""

    nominal_time: float = Field(1000.0, gt=0.0, description="exposure time of the nominal exposure [s]")
    nominal_airmass: float = Field(1.0, ge=1.0, description="its airmass")
    nominal_seeing: float = Field(1.1, gt=0.0, description="its seeing [arcsec]")
    dark_sky: dict[str, float] = Field(
        dict(DARK_SKY), description="AB magnitude of the light of a nominal dark sky in a fibre, between its lines, by the first letter of the camera"
    )
    min_stars: int = Field(2, ge=1, description="with fewer standard stars the stated transparency is taken")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Light:
    """Part of the light of targets that arrived, its error, and what says so."""

    value: float
    error: float
    source: str


class EffectiveTime(MonitoringAlg[EffectiveTimeParams]):
    """Measures the effective exposure time of each class of targets: how long a nominal dark exposure would take to give what this one gave.

    By construction it is the exposure time under nominal conditions for nominal_time; where the sky makes the noise it grows with time, and with
    L^2 / sky.
    Formula: effective_time = nominal_time x template_snr2 / template_snr2_nominal, s, template_snr2 = L^2 sum_w T^2(w) ivar(w): T is what the
    spectrum of a typical target of the class has beyond its own mean over 200 Angstrom, ivar the inverse variance of the calibrated spectra of sky
    fibres (read-out and sky; median fibre), L the light of the standard stars over the catalogue (without stars the transparency that the header
    states). template_snr2_nominal = sum_w T^2(w) nominal ivar(w): the nominal variance is that of the read noise that is stated of the amplifiers
    (`Frame.stated_noise`) and of this sky at the brightness of a nominal dark one, the nominal calibration that of clear air at the zenith:
    docs/reference/effective-time.md. effective_time_ratio = effective_time / exposure time. The error is twice the relative one of L, which the
    remark states.
    Source: template S/N of Guy et al. 2023, AJ 165, 144, section 4.14, with templates by formula.
    """

    name = "effective_time"
    group = "Spectra"
    metrics = (TIME, RATIO, REACHED, NOMINAL)

    def measure(self, frame: Frame, scores: Scores, sky: SkyModel, fluxcal: FluxCalib, exposure: Exposure) -> Measures:
        """Of calibrated spectra with their scores. Raises NotApplicable where the sky is not of this exposure, or nothing says what light arrived;
        BadData where the exposure time is no time.
        """
        arm = frame.camera[:1]
        dark = self.params.dark_sky.get(arm)
        kinds = [k for k in _classes(scores, arm) if k != "STD"]
        if dark is None:
            raise NotApplicable(f"no dark sky is given for camera {frame.camera}")
        if not calibrated(frame) or not kinds:
            raise NotApplicable("there is no template S/N of calibrated spectra")
        if not exposure.exptime > 0:
            raise BadData(f"camera {frame.camera}: the exposure time is {exposure.exptime} s; look at the header")
        row = sky_row(frame, sky)
        light = self._light(frame, exposure)
        own = np.isin(scores.fiber, np.array(sky.fibers, np.int64))
        nominal = self._nominal_ivar(frame, sky, fluxcal, exposure, row, dark)
        reached = [light.value**2 * _median(scores.columns[f"TSNR2_{k}_{arm.upper()}"][own]) for k in kinds]
        wanted = [float(np.nansum(np.interp(frame.wave[row], GRID, template(k), left=0, right=0) * nominal)) for k in kinds]
        reached, wanted, kinds = _telling(reached, wanted, kinds)
        seconds = [self.params.nominal_time * a / b if b > 0 else math.nan for a, b in zip(reached, wanted, strict=True)]
        known, words = np.isfinite(reached), _words(light, frame)
        told: dict[Coord | tuple[Coord, ...], str] = {
            k: _UNKNOWN if not ok else words if b > 0 else _NO_SUM for k, b, ok in zip(kinds, wanted, known, strict=True)
        }
        ratio = np.array(seconds) / exposure.exptime
        values = ((TIME, seconds), (RATIO, ratio), (REACHED, reached), (NOMINAL, wanted))
        metrics = tuple(measured(definition.name, found, target=kinds, remarks=told) for definition, found in values)
        facts: dict[str, str | int | float | bool | None] = {"light": light.value, "light_from": light.source, "exptime": exposure.exptime}
        return Measures(metrics, plots=(_plot(frame, kinds, seconds, exposure.exptime),), facts=facts)

    def _light(self, frame: Frame, exposure: Exposure) -> _Light:
        try:
            stars = star_light(frame, catalogue(frame), self.params.min_stars)
            if math.isfinite(stars.light) or exposure.transparency is None:
                return _Light(value=stars.light, error=stars.error, source=f"{stars.n} standard stars")
        except NotApplicable as why:
            if exposure.transparency is None:
                raise NotApplicable(f"nothing says what light of targets arrived: {why}, and no transparency is stated") from why
        return _Light(value=exposure.transparency, error=math.nan, source="the transparency that the exposure states")

    def _nominal_ivar(self, frame: Frame, sky: SkyModel, fluxcal: FluxCalib, exposure: Exposure, row: int, dark: float) -> Float64:
        """Inverse variance [nwave] of a fibre of the nominal exposure; NaN where it is not known."""
        p, wave = self.params, frame.wave[row]
        width = np.gradient(wave)
        rate = calibration_per_second(fluxcal, exposure, wave, p.nominal_airmass, p.nominal_seeing)
        for_sky = calibration_per_second(fluxcal, exposure, wave, fluxcal.pairmass, fluxcal.pseeing)
        brighter = 10 ** (0.4 * (sky_magnitude(sky, row, for_sky, exposure.exptime) - dark))
        per_second = _filled(np.where(sky.mask[row] == 0, sky.flux[row], np.nan).astype(np.float64)) / exposure.exptime * brighter
        readout, of_model = _noise(frame, sky, fluxcal, exposure)
        variance = (readout + np.maximum(per_second, 0.0) * p.nominal_time / width) * (1.0 + of_model)
        return np.asarray((rate * p.nominal_time) ** 2 / variance)


def _telling(reached: list[float], wanted: list[float], kinds: list[str]) -> tuple[list[float], list[float], list[str]]:
    """Without the classes of which this arm sees no feature to speak of: samples at the edges of the arm would tell, and nothing else."""
    most = max(wanted)
    if not most > 0:
        return reached, wanted, kinds
    kept = [i for i, w in enumerate(wanted) if w >= _LEAST * most]
    return [reached[i] for i in kept], [wanted[i] for i in kept], [kinds[i] for i in kept]


def _classes(scores: Scores, arm: str) -> list[str]:
    """Classes that the scores have a template S/N of, in this arm."""
    parts = (name.split("_") for name in scores.columns if name.startswith("TSNR2_"))
    return [p[1] for p in parts if len(p) == 3 and p[2] == arm.upper()]


def _noise(frame: Frame, sky: SkyModel, fluxcal: FluxCalib, exposure: Exposure) -> tuple[Float64, float]:
    """Variance [nwave] of a sample, (electron/Angstrom)^2, by the read-out of a nominal exposure, and that of the sky model over all others.

    What is not the sky's own, times that of the stated read noise over that of this exposure (`Frame.stated_noise`; 1 where it is not known).
    From sky fibres, in blocks of wavelength, for amplifiers differ; NaN where nothing can be used.
    """
    rows = np.flatnonzero(np.isin(frame.fibermap.fiber, np.array(sky.fibers, np.int64)))
    rows = rows[:: max(1, rows.size // _ROWS)]
    at = np.s_[:, ::_STEP]
    ivar, model = frame.ivar[rows][at].astype(np.float64), sky.ivar[rows][at].astype(np.float64)
    good = (frame.mask[rows][at] == 0) & (ivar > 0) & (model > 0)
    wave = frame.wave[rows]
    rate = calibration_of_exposure(fluxcal, exposure, wave[at]) * exposure.exptime
    of_model = 1.0 / np.where(good, model, np.nan)
    own = rate**2 / np.where(good, ivar, np.nan) - of_model
    rest = (own - sky.flux[rows][at] / np.gradient(wave, axis=1)[at]) * _stated(frame, rows)[at]
    blocks = np.array([max(_median(part), 0.0) for part in np.array_split(rest, _BLOCKS, axis=1)])
    place = np.arange(frame.flux.shape[1]) * _BLOCKS // frame.flux.shape[1]
    return _filled(blocks)[place], _median(of_model / own)


def _stated(frame: Frame, rows: Raw) -> Float64:
    """`Frame.stated_noise` of every sample of some rows; 1 where it is not known."""
    nwave = frame.flux.shape[1]
    if frame.stated_noise is None:
        return np.ones((rows.size, nwave))
    factor = np.asarray(frame.stated_noise[rows], np.float64)
    return np.asarray(np.where(np.isfinite(factor), factor, 1.0)[:, np.arange(nwave) * factor.shape[1] // nwave])


def _filled(values: Float64) -> Float64:
    """With the median of what is known where a value is not: what this exposure has lost the nominal one has."""
    return np.asarray(np.where(np.isfinite(values), values, _median(values)))


def _median(values: Raw) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else math.nan


def _words(light: _Light, frame: Frame) -> str:
    error = f" +- {light.error:.3f}" if math.isfinite(light.error) else ""
    stated = frame.stated_noise is not None and bool(np.isfinite(frame.stated_noise).any())
    return f"light of targets {light.value:.3f}{error}, from {light.source}{'' if stated else _OWN_NOISE}"


def _plot(frame: Frame, kinds: list[str], seconds: list[float], exptime: float) -> Plot:
    names: Mapping[str, float] = dict(zip(kinds, seconds, strict=True))
    bars = Bars(names=tuple(names), heights=np.array(list(names.values())))
    line = Line(x=np.array([-0.5, len(kinds) - 0.5]), y=np.full(2, exptime), label="exposure time")
    y = Axis(label="effective time", unit="s", range=(0.0, None))
    panel = Panel(x=Axis(label="class of targets"), y=y, layers=(bars, line), title="Effective exposure time", metric=TIME.name)
    return Plot(name="effective_time", title=f"Effective time, camera {frame.camera}", panels=(panel,))
