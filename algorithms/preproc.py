"""From raw ADU to electrons, inverse variance and mask: every correction of the detector in one pass."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator

from quicklook.ccd.arrays import Float32, Raw
from quicklook.ccd.calibs import BadPixelMask, Bias, Dark, PixelFlat
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image, RawImage
from quicklook.ccd.mask import PixelMask
from quicklook.core.errors import BadConfig, BadData, MissingCalibration
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

if TYPE_CHECKING:
    from algorithms.amplifiers import Measured, Settings
    from algorithms.kernels.preproc import Amp

UNUSABLE = PixelMask(0x7FF) & ~PixelMask.PIXFLATLOW
"""Bits that make ivar 0. A pixel of low response has little weight as it is."""


def _yes_no(value: object) -> object:
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else value  # YAML reads yes and no as truth values


Use = Annotated[Literal["auto", "yes", "no"], BeforeValidator(_yes_no)]
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
    find_dead: bool = Field(True, description="mask an amplifier that reads one value throughout or whose overscan is saturated")
    badamps: str = Field("", description="amplifiers known to be bad, as in b7D,z8A (camera and amplifier; CCD1:E where that is not clear)")

    @field_validator("badamps")
    @classmethod
    def _form(cls, value: str) -> str:
        wrong = [t for t in _tokens(value) if not re.fullmatch(r"[\w.-]+:?\w+", t)]
        if wrong:
            raise ValueError(f"{', '.join(wrong)}: an amplifier is written as camera and name, as in b7D or CCD1:E")
        return value


def _tokens(badamps: str) -> list[str]:
    return [t for t in re.split(r"[,\s]+", badamps) if t]


def bad_amplifiers(badamps: str, raw: RawImage) -> frozenset[str]:
    """Names of the amplifiers of this camera that `badamps` lists. Raises BadConfig where it names one that the camera has not."""
    camera, found = raw.camera.lower(), set()
    for token in _tokens(badamps):
        where, colon, name = token.partition(":")
        if not colon:
            if not token.lower().startswith(camera):
                continue
            name = token[len(camera) :]
        elif where.lower() != camera:
            continue
        if name in raw.amplifier_names:
            found.add(name)
        elif colon or not name[:1].isdigit():  # without colon, r1 and the 2 of r12 cannot be told apart
            raise BadConfig(f"badamps: {token}: camera {raw.camera} has amplifiers {', '.join(raw.amplifier_names)}")
    return frozenset(found)


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
    """Subtract bias, overscan, cross-talk and dark, apply gain and pixel flat, flag bad pixels, estimate the inverse variance."""

    name = "preproc"

    def run(
        self, raw: RawImage, exposure: Exposure, bias: Bias | None, dark: Dark | None, pixflat: PixelFlat | None, badpix: BadPixelMask | None
    ) -> Image:
        """The image of one camera. Raises MissingCalibration, BadConfig (badamps, cross-talk), BadData (exposure time)."""
        from algorithms import amplifiers as amps
        from algorithms.kernels import preproc as kernel

        p, log = self.params, _Log()
        known_bad = bad_amplifiers(p.badamps, raw)
        turned = raw.oriented() if p.orient else raw
        if turned is not raw:
            log.applied.append("orientation")
        shape, camera = turned.image_shape, raw.camera
        raw_bias, image_bias = self._bias(raw, turned, bias, log)
        dark_pixels, exptime = self._dark(exposure, dark, shape, camera, log)
        flat = log.choose(p.use_pixflat, "pixflat", None if pixflat is None else pixflat.pixels, (shape,), camera)
        bad = log.choose(p.use_mask, "mask", None if badpix is None else badpix.pixels, (shape,), camera)
        measured = [amps.measure(turned.pixels, raw_bias, a, self._settings()) for a in self._amplifiers(turned)]
        rows = self._parts(measured, known_bad, turned, log)
        image, ivar, mask = kernel.correct(
            turned.pixels,
            rows,
            shape,
            bias=raw_bias if raw_bias is not None else image_bias,
            dark=dark_pixels,
            exptime=exptime,
            flat=flat,
            flat_low=p.pixflat_min,
            bad=bad,
            bits=kernel.Bits(PixelMask.SATURATED, PixelMask.PIXFLATZERO, PixelMask.PIXFLATLOW, PixelMask.NONFINITE),
            unusable=int(UNUSABLE),
        )
        return Image(
            camera=camera,
            pixels=image,
            ivar=ivar,
            mask=mask,
            amplifiers=turned.amplifiers,
            read_noise={m.amp.name: m.read_noise for m in measured},
            overscan_level={m.amp.name: m.level for m in measured},
            applied=tuple(log.applied),
            skipped=log.skipped,
        )

    def _bias(self, raw: RawImage, turned: RawImage, bias: Bias | None, log: _Log) -> tuple[Float32 | None, Float32 | None]:
        """The bias in the shape of the (turned) raw image, or in that of the trimmed image; one of the two or none."""
        pixels = log.choose(self.params.use_bias, "bias", None if bias is None else bias.pixels, (raw.shape, turned.image_shape), raw.camera)
        if pixels is None:
            return None, None
        if pixels.shape == raw.shape:
            return (pixels if turned is raw else raw.orient_like(pixels)), None
        return None, pixels

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

    def _parts(self, measured: list[Measured], known_bad: frozenset[str], raw: RawImage, log: _Log) -> list[Amp]:
        """What the fused pass needs of each amplifier, and what is said of it."""
        from algorithms.amplifiers import saturation_of
        from algorithms.kernels.preproc import Amp

        p = self.params
        links = _crosstalk(measured) if p.use_crosstalk else [()] * len(measured)
        parts = []
        for m, link in zip(measured, links, strict=True):
            amp = m.amp
            dead = bool(m.dead) and p.find_dead
            bits = PixelMask.BADAMP if dead or amp.name in known_bad else PixelMask(0)
            if math.isnan(m.scatter) and not dead:
                bits |= PixelMask.BADREADNOISE
            if m.dead:
                self.log.warning("camera %s amplifier %s is dead: %s", raw.camera, amp.name, m.dead)
            for what, why in m.notes.items():
                log.skip(what, why)
            part = Amp(
                data=_box(amp.data),
                ccd=_box(amp.ccd),
                gain=amp.gain,
                saturation=saturation_of(amp, raw.pixels.dtype) if p.use_saturation else math.inf,
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
        self._say(known_bad, any(links), log)
        return parts

    def _say(self, known_bad: frozenset[str], crosstalk: bool, log: _Log) -> None:
        p = self.params
        made = {
            "overscan": p.overscan != "none",
            "orsec": p.orsec != "none",
            "gain": p.use_gain,
            "crosstalk": crosstalk,
            "saturation": p.use_saturation,
            "badamps": bool(known_bad),
        }
        log.applied += [what for what, done in made.items() if done and what not in log.skipped]


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
