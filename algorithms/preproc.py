"""From raw ADU to electrons, inverse variance and mask: every correction of the detector in one pass."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

import numpy as np
from pydantic import BeforeValidator, Field

from quicklook.ccd.arrays import Float32, Raw, UInt16
from quicklook.ccd.calibs import BadPixelMask, Bias, Dark, PixelFlat
from quicklook.ccd.deadarea import dead_area
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.health import health
from quicklook.ccd.image import Image, RawImage
from quicklook.ccd.mask import PixelMask
from quicklook.ccd.strips import saturation_level
from quicklook.core.errors import BadConfig, BadData, MissingCalibration
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

if TYPE_CHECKING:
    from algorithms.amplifiers import Measured, Settings
    from algorithms.kernels.cosmics import Limits
    from algorithms.kernels.preproc import Amp, Box
    from algorithms.kernels.trackrepair import Noise

UNUSABLE = PixelMask(0x7FF) & ~PixelMask.PIXFLATLOW
"""Bits that make ivar 0. A pixel of low response has little weight as it is."""


def _yes_no(value: object) -> object:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value  # YAML reads yes and no as truth values


Use = Annotated[Literal["auto", "yes", "no"], BeforeValidator(_yes_no)]
Sigma = Annotated[float, Field(gt=0.3, le=10)]
Trim = Annotated[int, Field(ge=0)]


class PreprocParams(Params):
    """Every correction is a switch. auto: made if the calibration is there, else listed as skipped; yes: it must be there; no: not made."""

    orient: bool = Field(True, description="turn the image so that wavelength runs along y")
    use_bias: Use = Field("auto", description="subtract the bias image: auto (if there is one), yes (required), no")
    overscan: Literal["row", "median", "none"] = Field("row", description="overscan level: one per row, one per amplifier (median), or none")
    overscan_source: Literal["auto", "overscan", "prescan", "both"] = Field(
        "auto", description="section the level comes from; auto: the overscan, or the prescan where there is no overscan"
    )
    overscan_trim: tuple[Trim, Trim] = Field(
        (3, 3), description="columns of the section left out: [beside the data, at the far end]; of a narrow section a quarter at most"
    )
    overscan_smooth: int = Field(51, ge=0, description="rows of the Savitzky-Golay window over the row levels; 0: each row its own mean")
    overscan_order: int = Field(2, ge=0, le=5, description="order of the Savitzky-Golay polynomial")
    overscan_adaptive: bool = Field(True, description="keep what a row departs from the smooth level beyond its noise (jumps, steps, row noise)")
    orsec: Literal["none", "smooth", "column"] = Field(
        "none", description="level per column from the parallel overscan (ORSEC rows), after the row level: none, smoothed, each column its own"
    )
    use_gain: bool = Field(True, description="multiply with the gains of the amplifiers; off: 1 electron/ADU for all")
    use_dark: Use = Field("auto", description="subtract dark current times exposure time: auto, yes, no")
    use_crosstalk: bool = Field(True, description="subtract cross-talk between amplifiers, with the coefficients of the instrument (none: no cost)")
    use_pixflat: Use = Field("auto", description="divide by the pixel flat: auto, yes, no")
    pixflat_min: float = Field(0.1, gt=0, lt=1, description="a pixel response below this is flagged PIXFLATLOW")
    use_mask: Use = Field("auto", description="take over the bad-pixel mask: auto, yes, no")
    use_saturation: bool = Field(True, description="flag saturated pixels, from the level of the instrument on, else from 65535 ADU")
    cosmics: bool = Field(True, description="find cosmic rays, mask and interpolate them (ivar 0)")
    cosmics_psf: tuple[Sigma, Sigma] = Field(
        (1.0, 1.0), description="Gaussian sigma of the sharpest light, [across the dispersion, along it], pixel; what is sharper is no light"
    )
    cosmics_level: float = Field(4.8, gt=0, description="a cosmic ray stands so far above its surroundings, sigma")
    cosmics_sharp: float = Field(3.4, gt=0, description="a cosmic ray stands so far above what light makes of its neighbours, sigma")
    background_box: int = Field(0, ge=0, description="subtract medians of boxes of so many pixels (for darks, where no light is wanted); 0: not")
    dark_trail: float = Field(0.0, ge=0, lt=1, description="fraction of a pixel's charge that is missing in those read after it; 0: no correction")
    dark_trail_width: float = Field(8.0, gt=0, description="length of such a trail (to 1/e), pixel")
    find_dead: bool = Field(True, description="mask amplifiers that are found dead, and dead areas of living ones")
    use_badamps: bool = Field(True, description="mask amplifiers that are known to be bad (bad_amplifiers of instrument and site, --badamps)")


class _Log:
    """What was applied, and what was wanted and skipped, with the reason."""

    def __init__(self) -> None:
        self.applied: list[str] = []
        self.skipped: dict[str, str] = {}

    def skip(self, what: str, why: str) -> None:
        self.skipped[what] = f"{self.skipped[what]}; {why}" if what in self.skipped else why

    def choose(self, use: str, what: str, pixels: Raw | None, shapes: tuple[tuple[int, int], ...], camera: str) -> Raw | None:
        """The pixels of a calibration if it is to be used. Raises MissingCalibration."""
        if use == "no":
            return None
        if pixels is None:
            if use == "yes":
                raise MissingCalibration(f"camera {camera}: no {what} is certified for this exposure; make one, or set use_{what} to auto")
            self.skip(what, "there is none for this exposure")
            return None
        if pixels.shape not in shapes:
            wanted = " or ".join(f"{nx} x {ny}" for ny, nx in dict.fromkeys(shapes))
            has = f"{pixels.shape[1]} x {pixels.shape[0]}"
            raise MissingCalibration(f"camera {camera}: the {what} has {has} pixels, {wanted} are needed; certify another")
        self.applied.append(what)
        return pixels


class Preproc(PipelineAlg[PreprocParams]):
    """Subtract bias, overscan, cross-talk and dark, apply gain and pixel flat, flag bad pixels and cosmic rays, estimate the inverse variance."""

    name = "preproc"

    def run(
        self, raw: RawImage, exposure: Exposure, bias: Bias | None, dark: Dark | None, pixflat: PixelFlat | None, badpix: BadPixelMask | None
    ) -> Image:
        """The image of one camera. Raises MissingCalibration, BadConfig (cross-talk), BadData (exposure time)."""
        from algorithms import amplifiers as amps
        from algorithms.kernels import cosmics
        from algorithms.kernels import preproc as kernel

        p, log = self.params, _Log()
        turned = raw.oriented() if p.orient else raw
        if turned is not raw:
            log.applied.append("orientation")
        shape, camera = turned.image_shape, raw.camera
        raw_bias, image_bias = self._bias(raw, turned, bias, log)
        dark_pixels, exptime = self._dark(exposure, dark, shape, camera, log)
        flat = log.choose(p.use_pixflat, "pixflat", None if pixflat is None else pixflat.pixels, (shape,), camera)
        dead = [health(raw.pixels, a).dead for a in raw.amplifiers]
        bad = self._bad(raw, turned, badpix, dead, log)
        settings = self._settings()
        measured = [amps.measure(turned.pixels, raw_bias, a, settings, d) for a, d in zip(self._amplifiers(turned), dead, strict=True)]
        if p.use_bias != "no" and bias is None:
            _need_overscan(measured, camera)
        used = bias if image_bias is not None else None, dark if dark_pixels is not None else None
        rows = _with_noise(self._parts(measured, turned, log), *used, exptime)
        lim = cosmics.limits(*p.cosmics_psf, level=p.cosmics_level, sharp=p.cosmics_sharp) if p.cosmics else None
        found = kernel.correct_and_search(
            *(turned.pixels, rows, shape),
            bias=raw_bias if raw_bias is not None else image_bias,
            dark=dark_pixels,
            exptime=exptime,
            flat=flat,
            flat_low=p.pixflat_min,
            bad=bad,
            bits=kernel.Bits(PixelMask.SATURATED, PixelMask.PIXFLATZERO, PixelMask.PIXFLATLOW, PixelMask.NONFINITE),
            unusable=int(UNUSABLE),
            search=lim,
        )
        noise = kernel.noise_of(rows, dark=dark_pixels, exptime=exptime, flat=flat)
        self._finish(found, turned, [r.ccd for r in rows], lim, noise, log)
        without_light = kernel.variance_without_light(rows, dark_pixels, exptime)
        return _image(camera, found, turned, measured, without_light, log)

    def _finish(
        self, found: tuple[Float32, Float32, UInt16, Raw], turned: RawImage, boxes: list[Box], lim: Limits | None, noise: Noise, log: _Log
    ) -> None:
        """What is done on the whole image, in place: dark trails, cosmic rays, background."""
        from algorithms.kernels import background, tracks

        p, (image, ivar, mask, seeds) = self.params, found
        if p.dark_trail > 0:
            right = [a.corner[1] == "r" for a in turned.amplifiers]
            background.correct_dark_trails(image, boxes, right, p.dark_trail, p.dark_trail_width)
            log.applied.append("dark trails")
        if lim is not None:
            tracks.clean(image, ivar, mask, seeds, lim, int(PixelMask.COSMIC), noise)
            log.applied.append("cosmics")
        if p.background_box > 0:
            image -= background.median_background(image, ivar, p.background_box)
            log.applied.append("background")

    def _bias(self, raw: RawImage, turned: RawImage, bias: Bias | None, log: _Log) -> tuple[Float32 | None, Float32 | None]:
        """The bias in the shape of the (turned) raw image, or in that of the trimmed image; one of the two or none."""
        pixels = log.choose(self.params.use_bias, "bias", None if bias is None else bias.pixels, (raw.shape, turned.image_shape), raw.camera)
        if pixels is None:
            return None, None
        if pixels.shape == raw.shape:
            return (pixels if turned is raw else raw.orient_like(pixels)), None
        return None, pixels

    def _bad(self, raw: RawImage, turned: RawImage, badpix: BadPixelMask | None, dead: list[str], log: _Log) -> UInt16 | None:
        """The bad-pixel mask, with the areas that are found dead."""
        shape = turned.image_shape
        bad = log.choose(self.params.use_mask, "mask", None if badpix is None else badpix.pixels, (shape,), raw.camera)
        return _with_dead_areas(bad, raw, turned, dead, log) if self.params.find_dead else bad

    def _dark(self, exposure: Exposure, dark: Dark | None, shape: tuple[int, int], camera: str, log: _Log) -> tuple[Float32 | None, float]:
        """The dark current and the time it is scaled with. Raises BadData where it is required and the time is no time."""
        use, seconds = self.params.use_dark, exposure.exptime
        if use == "no" or seconds == 0:
            return None, 0.0
        if not (math.isfinite(seconds) and seconds > 0):
            if use == "yes":
                raise BadData(f"camera {camera}: the exposure time is {seconds} s, so the dark cannot be scaled; look at the header")
            log.skip("dark", f"the exposure time is {seconds} s")
            return None, 0.0
        return log.choose(use, "dark", None if dark is None else dark.pixels, (shape,), camera), seconds

    def _settings(self) -> Settings:
        from algorithms.amplifiers import Settings

        p = self.params
        return Settings(
            overscan=p.overscan,
            source=p.overscan_source,
            trim=p.overscan_trim,
            window=p.overscan_smooth,
            order=p.overscan_order,
            adaptive=p.overscan_adaptive,
            orsec=p.orsec,
        )

    def _amplifiers(self, raw: RawImage) -> tuple[Amplifier, ...]:
        """The amplifiers, with a gain of 1 where gains are not to be used."""
        if self.params.use_gain:
            return raw.amplifiers
        return tuple(replace(a, gain=1.0, read_noise=a.read_noise / a.gain if a.read_noise is not None else None) for a in raw.amplifiers)

    def _parts(self, measured: list[Measured], raw: RawImage, log: _Log) -> list[Amp]:
        """What the fused pass needs of each amplifier, and what is said of it."""
        from algorithms.kernels.preproc import Amp

        p = self.params
        links = _crosstalk(measured) if p.use_crosstalk else [()] * len(measured)
        parts = []
        for m, link in zip(measured, links, strict=True):
            amp = m.amp
            dead = bool(m.dead) and p.find_dead
            bits = PixelMask.BADAMP if dead or (amp.bad and p.use_badamps) else PixelMask(0)
            if math.isnan(m.scatter) and not dead:
                bits |= PixelMask.BADREADNOISE
            if m.dead:
                self.log.debug("camera %s amplifier %s is dead: %s", raw.camera, amp.name, m.dead)  # dead_amp tells the observer
            for what, why in m.notes.items() if not amp.bad else ():
                log.skip(what, why)
            part = Amp(
                data=_box(amp.data),
                ccd=_box(amp.ccd),
                gain=amp.gain,
                saturation=saturation_level(amp, raw.pixels.dtype) if p.use_saturation else math.inf,
                noise_variance=m.scatter**2,
                row_level=m.rows.level,
                row_variance=m.rows.variance,
                col_level=None if m.cols is None else m.cols.level,
                col_variance=None if m.cols is None else m.cols.variance,
                bits=int(bits),
                corner=(amp.corner[0] == "u", amp.corner[1] == "r"),
                crosstalk=link,
            )
            parts.append(part)
        self._say(any(m.amp.bad for m in measured), any(links), log)
        return parts

    def _say(self, known_bad: bool, crosstalk: bool, log: _Log) -> None:
        p = self.params
        made = {
            "overscan": p.overscan != "none",
            "orsec": p.orsec != "none",
            "gain": p.use_gain,
            "crosstalk": crosstalk,
            "saturation": p.use_saturation,
            "badamps": known_bad and p.use_badamps,
        }
        log.applied += [what for what, done in made.items() if done and what not in log.skipped]


def _image(
    camera: str,
    found: tuple[Float32, Float32, UInt16, Raw],
    turned: RawImage,
    measured: Sequence[Measured],
    without_light: Sequence[float],
    log: _Log,
) -> Image:
    """The product, with what was measured of the amplifiers."""
    image, ivar, mask, _ = found
    return Image(
        camera=camera,
        pixels=image,
        ivar=ivar,
        mask=mask,
        amplifiers=turned.amplifiers,
        read_noise={m.amp.name: m.read_noise for m in measured},
        overscan_level={m.amp.name: m.level for m in measured},
        noise_variance=dict(zip(turned.amplifier_names, without_light, strict=True)),
        dead={m.amp.name: m.dead for m in measured if m.dead and not m.amp.bad},
        applied=tuple(log.applied),
        skipped=log.skipped,
    )


def _need_overscan(measured: Sequence[Measured], camera: str) -> None:
    """Without overscan the bias level is known from a bias alone. Raises MissingCalibration."""
    bare = [m.amp.name for m in measured if "overscan" in m.notes and not m.amp.bad]
    if bare:
        of = f"amplifier{'s' if len(bare) > 1 else ''} {', '.join(bare)}"
        raise MissingCalibration(
            f"camera {camera}: {of} without overscan, and there is no bias: the bias level would be left in the image; "
            "make one from zeros with quicklook calib build bias"
        )


def _with_dead_areas(bad: UInt16 | None, raw: RawImage, turned: RawImage, dead: list[str], log: _Log) -> UInt16 | None:
    """The bad-pixel mask with DEAD where living amplifiers are dead in part; itself where none is. Found in the raw image, as the QAs do."""
    areas = [(a, dead_area(raw.pixels, a).pixels) for a, why in zip(raw.amplifiers, dead, strict=True) if not why and not a.bad]
    flags = np.zeros(raw.shape, np.bool_) if any(found is not None for _, found in areas) else None
    if flags is None:
        return bad
    for amp, found in areas:
        if found is not None:
            flags[amp.data.slices] = found
    flags = flags if turned is raw else raw.orient_like(flags)
    out = np.zeros(turned.image_shape, np.uint16) if bad is None else bad.copy()
    for amp in turned.amplifiers:
        out[amp.ccd.slices][flags[amp.data.slices]] |= np.uint16(PixelMask.DEAD)
    log.applied.append("dead areas")
    return out


def _with_noise(rows: list[Amp], trimmed: Bias | None, dark: Dark | None, exptime: float) -> list[Amp]:
    """With the noise that the calibrations add: the medians of their variances over the amplifier, electron^2.

    A bias of the raw shape adds its noise to the overscan too, where it is measured. A median is enough, and costs the pass over the image
    nothing: the pixels of an amplifier have one read noise, and were exposed for the same time.
    """
    out = []
    for r in rows:
        added = r.gain**2 * _typical(trimmed, r.ccd) + exptime**2 * _typical(dark, r.ccd)
        out.append(r._replace(noise_variance=r.noise_variance + added))
    return out


def _typical(made: Bias | Dark | None, box: tuple[int, int, int, int]) -> float:
    """Median of what is known of the variance in a section, from about 64 x 64 pixels of it; 0 where nothing is."""
    if made is None or made.variance is None:
        return 0.0
    (y0, y1, x0, x1), variance = box, made.variance
    some = variance[y0 : y1 : max(1, (y1 - y0) // 64), x0 : x1 : max(1, (x1 - x0) // 64)]
    some = some[np.isfinite(some) & (some > 0)]
    return float(np.median(some)) if some.size else 0.0


def _box(section: Section) -> tuple[int, int, int, int]:
    return (section.y0, section.y1, section.x0, section.x1)


def _crosstalk(measured: list[Measured]) -> list[tuple[tuple[int, float], ...]]:
    """Per amplifier the (index, coefficient) of its sources; a dead source gives nothing. Raises BadConfig."""
    index = {m.amp.name: i for i, m in enumerate(measured)}
    links = []
    for m in measured:
        for name, coefficient in m.amp.crosstalk.items():
            if name not in index or name == m.amp.name:
                raise BadConfig(f"crosstalk of amplifier {m.amp.name} names {name!r}; the others are {', '.join(sorted(set(index) - {m.amp.name}))}")
            if measured[index[name]].amp.data.shape != m.amp.data.shape:
                raise BadConfig(f"crosstalk from {name} to {m.amp.name}: their data sections differ in shape, so no pixels are read together")
            if not math.isfinite(coefficient):
                raise BadConfig(f"crosstalk from {name} to {m.amp.name} is {coefficient}")
        links.append(tuple((index[n], c) for n, c in m.amp.crosstalk.items() if c != 0 and not measured[index[n]].dead))
    return links
