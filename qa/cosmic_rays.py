"""How many pixels cosmic rays hit, for the time that the detector was exposed to them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from qa.figures import bars
from qa.values import judged, per_amp, scalar
from quicklook.ccd.arrays import Raw
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

_ROWS = 64  # of the mask compared at a time: the comparison stays in the cache

HIT = MetricDef("cosmic_fraction", "", dims=("amp",), doc="Fraction of the pixels that were found hit by cosmic rays, their surroundings included.")
RATE = MetricDef(
    "cosmic_rate", "1/ks", dims=("amp",),
    doc="Fraction of the pixels hit by cosmic rays per 1000 s of exposure and read-out; grows with the rate of rays and not with the exposure time.",
)  # fmt: skip

TRACKS = MetricDef(
    "cosmic_track_rate", "1/ks",
    doc="Tracks of cosmic rays over the camera, per million pixels and 1000 s. It tells in short exposures too: long tracks do not make it large.",
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
    """Counts the pixels that preproc found hit by cosmic rays, for each amplifier and the camera, and divides by the time."""

    name = "cosmic_rays"
    metrics = (HIT, RATE, TRACKS)

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
        fraction = per_amp(HIT, image.amplifiers, hit, dead)
        rate = per_amp(RATE, image.amplifiers, {k: _per_ks(v, seconds) for k, v in hit.items()}, dead)
        if exposure.exptime < self.params.least_s:
            rate = not_applicable(RATE.name, f"an exposure of {exposure.exptime:g} s is too short for a rate of cosmic rays in each amplifier")
        panel = bars(RATE, rate, title=f"Pixels hit by cosmic rays, {exposure.exptime:g} s", label="fraction of pixels")
        plot = Plot(name="cosmic_rays", title=f"Cosmic rays, camera {image.camera}", panels=(panel,))
        return Measures((fraction, rate, _tracks(found, seconds)), plots=(plot,))


def _per_ks(fraction: float, seconds: float) -> float:
    return 1000.0 * fraction / seconds if seconds > 0 else math.nan


def _tracks(found: Mapping[str, _Hit], seconds: float) -> Measured:
    """Over the amplifiers that live."""
    if not found:
        return not_applicable(TRACKS.name, "no amplifier is alive")
    count, area = sum(h.tracks for h in found.values()), sum(h.area for h in found.values())
    why = f"{count} tracks" if seconds > 0 else f"the exposure time is {seconds:g} s with the read-out"
    return scalar(TRACKS, _per_ks(1e6 * count / area, seconds), why)


def _hit(image: Image, amp: Amplifier) -> _Hit:
    ny, nx = amp.ccd.shape
    mask, hit = image.mask[amp.ccd.slices], np.zeros((ny + 2, nx + 2), np.bool_)
    for y in range(0, ny, _ROWS):
        rows = mask[y : y + _ROWS]
        np.not_equal(rows & np.uint16(PixelMask.COSMIC), 0, out=hit[y + 1 : y + 1 + len(rows), 1:-1])
    at = np.flatnonzero(hit)
    return _Hit(pixels=int(at.size), tracks=_blobs(hit.ravel(), at, nx + 2), area=ny * nx)


def _blobs(hit: Raw, at: Raw, width: int) -> int:
    """Number of connected groups of the pixels `at` of `hit` (rows of `width`), less their holes; pixels that touch at a corner are connected.

    Source: the Euler number from counts of 2 x 2 quads, (Q1 - Q3 - 2 QD) / 4 (Gray 1971, IEEE Trans. Comput. C-20, 551).
    """
    number = 0.0
    sides = {dx: hit[at + dx] for dx in (1, -1)}
    for dy in (width, -width):
        up = hit[at + dy]
        for dx, side in sides.items():  # each pixel lies in four quads; a quad of n pixels is met n times
            corner = hit[at + dy + dx]
            n = side.view(np.int8) + up + corner
            number += float(np.count_nonzero(n == 0)) - float(np.count_nonzero(n == 2)) / 3.0 - float(np.count_nonzero((n == 1) & corner))
    return round(number / 4.0)
