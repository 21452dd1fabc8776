"""How many pixels cosmic rays hit, for the time that the detector was exposed to them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from qa.figures import bars
from qa.values import judged, per_amp, scalar
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.health import cause
from quicklook.ccd.image import Image
from quicklook.ccd.mask import PixelMask
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measured, Measures, MetricDef, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Plot
from quicklook.core.plugin import MonitoringAlg

_CM2 = 1e-8  # of a square micrometre
_MINUTE = 60.0

HIT = MetricDef("cosmic_fraction", "", dims=("amp",), doc="Fraction of the pixels that were found hit by cosmic rays, their surroundings included.")
RATE = MetricDef(
    "cosmic_rate", "1/ks", dims=("amp",),
    doc="Fraction of the pixels hit by cosmic rays per 1000 s of exposure and read-out; grows with the rate of rays and not with the exposure time.",
)  # fmt: skip

TRACKS = MetricDef(
    "cosmic_track_rate", "1/ks",
    doc="Tracks of cosmic rays over the camera, per million pixels and 1000 s. It tells in short exposures too: long tracks do not make it large.",
)  # fmt: skip
FLUX = MetricDef(
    "cosmic_flux", "1/(cm2 min)",
    doc="Tracks of cosmic rays over the camera, per square centimetre of the detector and minute of exposure and read-out.",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class _Hit:
    """Of one amplifier: pixels that are hit, tracks, and all pixels."""

    pixels: int
    tracks: int
    area: int


class CosmicRaysParams(Params):
    """Parameters of `cosmic_rays`."""

    readout_s: float = Field(60.0, ge=0, description="time that is added to the exposure time: rays fall during the read-out too [s]")
    least_s: float = Field(100.0, ge=0, description="shorter exposures have no rate for each amplifier, for too few rays have fallen [s]")
    least_pixels: int = Field(200_000, ge=1, description="nor in images of fewer pixels, where a single long track decides [pixel]")


class CosmicRays(MonitoringAlg[CosmicRaysParams]):
    """Counts the pixels that preproc found hit by cosmic rays, and the tracks that they make, and divides by area and time.

    Rays fall during the exposure and the read-out. Tracks are connected groups of pixels, not pixels.
    Formula: t = exposure time + `readout_s`, s: cosmic_fraction = hit pixels / pixels; cosmic_rate = 1000 cosmic_fraction / t, 1/ks;
    cosmic_track_rate = 1000 x 1e6 tracks / (pixels x t), 1/ks per million pixels; cosmic_flux = 60 tracks / (area x t), 1/(cm2 min), its error
    sqrt(tracks) in the same unit (Poisson).
    Source: tracks are counted by the Euler number (Gray 1971, IEEE Trans. Comput. C-20, 551). At sea level about one muon crosses a horizontal
    square centimetre in a minute (Particle Data Group, Review of Particle Physics, "Cosmic rays"); thick detectors see as many Compton electrons
    again from the radioactivity around them (Groom 2004, "Cosmic rays and other nonsense in astronomical CCD imagers", in Scientific Detectors for
    Astronomy).
    """

    name = "cosmic_rays"
    metrics = (HIT, RATE, TRACKS, FLUX)

    def measure(self, image: Image, exposure: Exposure) -> Measures:
        """Per amplifier and of the camera. Raises NotApplicable where cosmic rays were not looked for, or the image is small."""
        if "cosmics" not in image.applied:
            raise NotApplicable("cosmic rays were not looked for")
        if image.pixels.size < self.params.least_pixels:
            raise NotApplicable(f"an image of {image.pixels.size} pixels is too small for a rate of cosmic rays")
        dead = {a.name: cause(image.dead[a.name]) for a in judged(image.amplifiers) if a.name in image.dead}
        found = {a.name: _hit(image, a) for a in judged(image.amplifiers) if a.name not in dead}
        hit = dict.fromkeys(dead, math.nan) | {k: h.pixels / h.area for k, h in found.items()}
        seconds = exposure.exptime + self.params.readout_s
        untimed = exposure.exptime == 0.0 and exposure.flavor != "zero"
        fraction = per_amp(HIT, image.amplifiers, hit, dead)
        rate = per_amp(RATE, image.amplifiers, {k: _per_ks(v, seconds) for k, v in hit.items()}, dead)
        if exposure.exptime < self.params.least_s:
            rate = not_applicable(RATE.name, f"an exposure of {exposure.exptime:g} s is too short for a rate of cosmic rays in each amplifier")
        flux, per_pixels = _flux(found, seconds, exposure.pixel_area_um2), _tracks(found, seconds)
        if untimed:
            flux, per_pixels = (not_applicable(d.name, f"an exposure time of 0 s is not that of a {exposure.flavor}") for d in (FLUX, TRACKS))
        tracks = "" if flux.not_applicable or not np.isfinite(flux.values) else f"; {float(flux.values):.2g} tracks per cm2 and minute"
        panel = bars(RATE, rate, title=f"Pixels hit by cosmic rays, {exposure.exptime:g} s{tracks}", label="fraction of pixels")
        plot = Plot(name="cosmic_rays", title=f"Cosmic rays, camera {image.camera}", panels=(panel,))
        return Measures((fraction, rate, per_pixels, flux), plots=(plot,))


def _per_ks(fraction: float, seconds: float) -> float:
    return 1000.0 * fraction / seconds if seconds > 0 else math.nan


def _tracks(found: Mapping[str, _Hit], seconds: float) -> Measured:
    """Over the amplifiers that live."""
    if not found:
        return not_applicable(TRACKS.name, "no amplifier is alive")
    count, area = sum(h.tracks for h in found.values()), sum(h.area for h in found.values())
    why = f"{count} tracks" if seconds > 0 else f"the exposure time is {seconds:g} s with the read-out"
    return scalar(TRACKS, _per_ks(1e6 * count / area, seconds), why)


def _flux(found: Mapping[str, _Hit], seconds: float, pixel_um2: float | None) -> Measured:
    """Over the amplifiers that live, with the error of the number of tracks."""
    if pixel_um2 is None:
        return not_applicable(FLUX.name, "the instrument does not state the size of a pixel (pixel_size_um)")
    if not found:
        return not_applicable(FLUX.name, "no amplifier is alive")
    count, cm2 = sum(h.tracks for h in found.values()), sum(h.area for h in found.values()) * pixel_um2 * _CM2
    if not seconds > 0:
        return scalar(FLUX, math.nan, f"the exposure time is {seconds:g} s with the read-out")
    each = _MINUTE / (cm2 * seconds)
    return scalar(FLUX, count * each, f"{count} tracks on {cm2:.3g} cm2 in {seconds:.4g} s, known to {math.sqrt(max(count, 1)) * each:.2g}")


def _hit(image: Image, amp: Amplifier) -> _Hit:
    from qa.kernels.tracks import count_groups

    ny, nx = amp.ccd.shape
    pixels, tracks, _ = count_groups(image.mask, int(PixelMask.COSMIC), amp.ccd.slices, int(PixelMask.NONFINITE))  # `unusable_pixels` asks too
    return _Hit(pixels=pixels, tracks=tracks, area=ny * nx)
