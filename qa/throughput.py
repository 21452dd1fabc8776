"""How much of the light of the standard stars arrives, and whether it is the air or the instrument that takes the rest."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from qa.nominal import DARK_SKY, Stars, calibration_of_exposure, calibration_per_second, sky_magnitude, sky_row, star_light
from qa.targets import calibrated, catalogue, on_focal_plane
from qa.values import numbered, scalar
from qa.zero_point import ab_zero_point
from quicklook.ccd.arrays import Float64
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.photometry import ab_magnitude
from quicklook.ccd.spectra import FluxCalib, Frame, SkyModel
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measured, Measures, MetricDef, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_FAR = 3.0

STARS = MetricDef(
    "star_light", "", doc="Light of the standard stars over what catalogue and flux calibration let expect at the airmass and seeing of the exposure."
)
ERROR = MetricDef("star_light_error", "", doc="Error of star_light by the scatter of the stars.")
ZERO = MetricDef(
    "star_zero_point", "mag",
    doc="AB magnitude of a star that gives one electron per second and Angstrom in this exposure, at the middle wavelength of the camera.",
)  # fmt: skip
THROUGHPUT = MetricDef(
    "throughput", "", doc="star_light over the transparency of the air that the exposure states: what telescope, fibres and spectrograph let through."
)
SKY = MetricDef("sky_light", "", doc="Light of the sky between its lines over that of a nominal dark sky.")
COMMON = MetricDef(
    "common_light", "",
    doc="The larger of star_light and sky_light, where nobody states the transparency: what is lost of both is lost in the instrument.",
)  # fmt: skip


class ThroughputParams(Params):
    """Parameters of `throughput`."""

    min_stars: int = Field(2, ge=1, description="with fewer standard stars nothing is said")
    max_noise: float = Field(
        0.03, gt=0.0, description="error by noise above which the stars tell neither throughput nor common_light; at three times that no star_light"
    )
    dark_sky: dict[str, float] = Field(
        dict(DARK_SKY), description="AB magnitude of the light of a nominal dark sky in a fibre, between its lines, by the first letter of the camera"
    )


class Throughput(MonitoringAlg[ThroughputParams]):
    """Measures the light of the standard stars against the catalogue, and what of a loss is the instrument's.

    star_light is 1 where the air is as clear, the fibres as well centred and the instrument as good as when the flux calibration was made. Clouds
    dim stars and not the sky, and the guide cameras see them. Where no transparency is stated, what tells clouds from a loss in the instrument is
    that the latter dims the sky as well. A dark sky may be as low as that by itself, so common_light is less sure than throughput.
    Formula: star_light = median over the n stars of (flux of the calibrated spectrum / flux of the imaging), as in `integrated_magnitudes`;
    star_light_error = max(1.4826 MAD, median noise) sqrt(pi / (2 n)); throughput = star_light / transparency stated in the header; sky_light =
    10^(0.4 (dark_sky - magnitude of the sky in a fibre)); common_light = max(star_light, sky_light). star_zero_point = -2.5 lg(f_nu) - 48.60, mag,
    of the flux that gives one electron/(s Angstrom) at the middle wavelength. Where median noise sqrt(pi / (2 n)) of the stars exceeds `max_noise`,
    as in a few seconds, throughput and common_light do not apply; of three times as much star_light does not.
    Source: AB magnitudes: Oke & Gunn 1983, ApJ 266, 713. The separation of air and instrument is own definition: no single reference is in use for
    it.
    """

    name = "throughput"
    group = "Spectra"
    metrics = (STARS, ERROR, ZERO, THROUGHPUT, SKY, COMMON)

    def measure(self, frame: Frame, exposure: Exposure, fluxcal: FluxCalib, sky: SkyModel | None = None) -> Measures:
        """Of calibrated spectra. Raises NotApplicable for others and for too few standard stars, BadData where the fibre map does not tell."""
        if not calibrated(frame):
            raise NotApplicable("the spectra are not flux-calibrated")
        known = catalogue(frame)
        stars = star_light(frame, known, self.params.min_stars)
        stated = exposure.transparency
        words = _words(frame, stars)
        sky_light = self._sky(frame, exposure, fluxcal, sky)
        faint = f"by their noise alone {stars.n} standard stars tell it to {stars.noise:.2g}: they have too little light"
        if stars.noise > self.params.max_noise:
            metrics = (not_applicable(THROUGHPUT.name, faint), sky_light, not_applicable(COMMON.name, faint))
        elif stated is not None and stated > 0:
            metrics = (
                scalar(THROUGHPUT, stars.light / stated, f"{words} at a stated transparency of {stated:.3g}"),
                sky_light,
                not_applicable(COMMON.name, "the exposure states the transparency"),
            )
        else:
            metrics = (not_applicable(THROUGHPUT.name, "the exposure states no transparency"), sky_light, _common(stars, sky_light))
        facts = {"stars": stars.n, "stars_marked": stars.marked, "transparency": stated}
        zero = _zero_point(frame, stars, fluxcal, exposure)
        hidden = stars.noise > _FAR * self.params.max_noise
        light = not_applicable(STARS.name, faint) if hidden else scalar(STARS, stars.light, words)
        told = (light, scalar(ERROR, stars.error, "" if math.isfinite(stars.error) else words), zero, *metrics)
        return Measures(told, plots=(_plot(frame, stars, known.flux, stated),), facts=facts)

    def _sky(self, frame: Frame, exposure: Exposure, fluxcal: FluxCalib, sky: SkyModel | None) -> Measured:
        """The air above the instrument is not the sky's: airmass and seeing of the exposure do not count for it."""
        dark = self.params.dark_sky.get(frame.camera[:1])
        if sky is None or dark is None:
            why = "there is no model of the sky" if sky is None else f"nobody says how dark the sky is in camera {frame.camera}"
            return not_applicable(SKY.name, why)
        try:
            row = sky_row(frame, sky)
        except NotApplicable as why:
            return not_applicable(SKY.name, str(why))
        rate = calibration_per_second(fluxcal, exposure, sky.wave[row], fluxcal.pairmass, fluxcal.pseeing)
        magnitude = sky_magnitude(sky, row, rate, exposure.exptime)
        return scalar(SKY, 10 ** (0.4 * (dark - magnitude)), f"magnitude {magnitude:.2f} in a fibre, nominal {dark:g}")


def _zero_point(frame: Frame, stars: Stars, fluxcal: FluxCalib, exposure: Exposure) -> Measured:
    """Of the calibration at the airmass and seeing of the exposure, times the light of the stars."""
    middle = np.array([float(np.median(frame.wave[frame.wave.shape[0] // 2]))])
    zero = float(ab_zero_point(middle, stars.light * calibration_of_exposure(fluxcal, exposure, middle))[0])
    where = f"at {middle[0]:.0f} Angstrom"
    return scalar(ZERO, zero, where if math.isfinite(zero) else f"the stars or the flux calibration do not tell it {where}")


def _common(stars: Stars, sky_light: Measured) -> Measured:
    if sky_light.not_applicable is not None:
        return not_applicable(COMMON.name, sky_light.not_applicable)
    sky = float(sky_light.values)
    known = math.isfinite(sky) and math.isfinite(stars.light)
    return scalar(COMMON, max(sky, stars.light) if known else math.nan, f"stars {stars.light:.3g}, sky {sky:.3g}; clouds dim the stars alone")


def _words(frame: Frame, stars: Stars) -> str:
    if not math.isfinite(stars.light):
        return f"{stars.n} of {stars.marked} standard stars have a magnitude and a usable spectrum"
    off = np.abs(stars.each / stars.light - 1.0)
    odd = stars.row[off > max(0.2, 5 * stars.error * math.sqrt(stars.n))]
    aside = numbered("; unlike the others: fibre", np.asarray(frame.fibermap.fiber)[odd])
    return f"{stars.n} standard stars, {stars.light:.3f} +- {stars.error:.3f}{aside}"


def _plot(frame: Frame, stars: Stars, flux: Float64, stated: float | None) -> Plot:
    """Of each star what is judged: light over catalogue, and over the transparency where it is stated."""
    known = stated is not None and stated > 0
    each = stars.each / stated if stated is not None and known else stars.each
    label, of = "light / expected", "catalogue and transparency" if known else "catalogue"
    points = Scatter(x=ab_magnitude(flux[stars.row]), y=each, label="standard stars")
    y = Axis(label=label, range=(0.0, max(1.5, 1.1 * float(np.max(each, initial=0.0)))))
    metric = THROUGHPUT.name if known else STARS.name
    panels = [Panel(x=Axis(label="magnitude", unit="mag"), y=y, layers=(points,), title=f"Stars over {of}", metric=metric)]
    panels += on_focal_plane(frame.fibermap, stars.row, each, Axis(label=label), "On the focal plane")
    return Plot(name="throughput", title=f"Throughput, camera {frame.camera}", panels=tuple(panels), columns=len(panels))
