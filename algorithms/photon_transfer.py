"""Photon transfer: gain, read noise, linearity and full well of every amplifier from pairs of flats and of zeros."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from algorithms.transferfit import Curve, fit_curve, fit_times
from quicklook.ccd.calibs import PhotonTransfer
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.image import Image
from quicklook.ccd.mask import PixelMask
from quicklook.core.errors import BadData
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

Array = npt.NDArray[Any]
_BINS = 128
_TOP = 70_000.0
"""Level, ADU, of the highest bin: above any converter of 16 bits."""
_SAME_TIME = 0.02
_OVERLAP = 1.5
"""Neighbouring pairs share an exposure: the variance of the mean of their squares is larger by this than that of as many independent ones."""
_ROUNDS = 4
_FEW = 50
_WIDER = 1.5
_KEPT = 2
"""Exposures among which the partner of the next one is looked for: flats of two times may alternate."""


class PhotonTransferParams(Params):
    """Parameters of `photon_transfer`."""

    zero: str = Field("zero", description="flavor of the exposures without light; all others are flats")
    clip: float = Field(4.0, gt=2, description="differences farther off than this are left out (cosmic rays), sigma of their bin")
    grow: int = Field(2, ge=0, le=8, description="pixels around a cosmic ray that are left out too")
    box: int = Field(64, ge=8, description="pixels of the boxes in which the two exposures of a pair are brought to one level")
    brighter_fatter: bool = Field(False, description="fit a curved line: variance that falls behind at high levels, as charge repels charge")
    highest: float = Field(0.9, gt=0, le=1, description="levels above this part of the highest that still follows the line are left out of the fit")
    rounded: bool = Field(True, description="raw values are whole numbers: 1/12 ADU^2 of the variance is no read noise")


@dataclass(slots=True)
class _Amp:
    """What has been summed of an amplifier; sums as of `photontransfer.pair_sums`."""

    amp: Amplifier
    flats: Array = field(default_factory=lambda: np.zeros((5, _BINS)))
    zeros: Array = field(default_factory=lambda: np.zeros((5, 1)))
    saturated: int = 0
    levels: list[float] = field(default_factory=list)
    bright: float = math.nan
    overscan: list[float] = field(default_factory=list)


class PhotonTransferCurve(PipelineAlg[PhotonTransferParams]):
    """Gain, read noise, linearity and full well of the amplifiers, from flats of any levels and zeros.

    An exposure is compared with one of the two before it, of the same flavor and exposure time. The images are in ADU (preproc.use_gain=false),
    without pixel flat and without a search for cosmic rays. Four images are in memory, whatever their number.
    """

    name = "photon_transfer"

    def run(self, images: Sequence[Image], exposures: Sequence[Exposure]) -> PhotonTransfer:
        """By amplifier; NaN where one was not measured: no linearity without two times, no full well where nothing is full.

        Without zeros the overscan gives the read noise.

        Raises BadData: no pair of flats, images of different read-outs, in electron.
        """
        flat = [e.flavor != self.params.zero for e in exposures]
        times = [e.exptime for e in exposures]
        if not self._pairs(flat, times, True):
            what = "photon transfer is made from two flats of one exposure time at least"
            raise BadData(what + f"; these are {sum(flat)} flats", what_next="Take pairs of flats.")
        reference = self._reference(images, flat, times)
        amps = [_Amp(amp=a) for a in reference.amplifiers]
        before: list[tuple[bool, float, Image]] = []
        for image, is_flat, seconds in zip(images, flat, times, strict=True):
            self._check(image, reference)
            self._single(amps, image, reference if is_flat else None)
            alike = [other for was_flat, t, other in before if was_flat == is_flat and _same(t, seconds)]
            if alike:
                self._pair(amps, alike[-1], image, is_flat)
            before = [*before, (is_flat, seconds, image)][-_KEPT:]
        shared = _OVERLAP if self._pairs(flat, times, True) > 1 else 1.0
        return self._product(amps, [t for t, f in zip(times, flat, strict=True) if f], shared)

    def _pairs(self, flat: list[bool], times: list[float], wanted: bool) -> int:
        """Number of pairs of flats (or of zeros)."""
        chosen = sorted(t for t, f in zip(times, flat, strict=True) if f == wanted)
        return sum(_same(a, b) for a, b in itertools.pairwise(chosen))

    def _reference(self, images: Sequence[Image], flat: list[bool], times: list[float]) -> Image:
        """The longest flat: its light says which pixels tell the level of an exposure."""
        return images[max((i for i, f in enumerate(flat) if f), key=lambda i: times[i])]

    def _check(self, image: Image, reference: Image) -> None:
        if image.shape != reference.shape or [a.ccd for a in image.amplifiers] != [a.ccd for a in reference.amplifiers]:
            raise BadData(f"the exposures of {image.camera} are of different read-outs: {image.shape} pixels against {reference.shape}")
        if "gain" in image.applied:
            raise BadData(f"the images of {image.camera} are in electron; photon transfer needs ADU", what_next="Set preproc.use_gain=false.")

    def _single(self, amps: list[_Amp], image: Image, reference: Image | None) -> None:
        """Saturated pixels, overscan noise and level of one exposure."""
        for one in amps:
            cut, name = one.amp.ccd.slices, one.amp.name
            one.overscan.append(image.read_noise.get(name, math.nan))
            if reference is None:
                continue
            one.saturated += int(np.count_nonzero(image.mask[cut] & np.uint16(PixelMask.SATURATED)))
            one.levels.append(_level(image, reference, cut))
            if math.isnan(one.bright):
                one.bright = _bright(reference, cut)

    def _pair(self, amps: list[_Amp], a: Image, b: Image, is_flat: bool) -> None:
        for one in amps:
            if one.amp.bad:
                continue
            cut = one.amp.ccd.slices
            views = tuple(np.array(v[cut]) for v in (a.pixels, b.pixels, a.ivar, b.ivar))
            ratio, bins = self._ratio(views) if is_flat else np.ones(_boxes(views[0].shape, self.params.box), np.float32), _BINS if is_flat else 1
            sums = one.flats if is_flat else one.zeros
            sums += self._sums(views, ratio, bins)

    def _ratio(self, views: tuple[Array, ...]) -> Array:
        """First over second exposure in boxes; that of the whole amplifier where a box has little light."""
        from algorithms.kernels import photontransfer as kernel

        box = self.params.box
        shape = _boxes(views[0].shape, box)
        a, b = np.zeros(shape), np.zeros(shape)
        seen = views[0][(views[2] > 0) & (views[3] > 0)]
        least = np.float32(max(0.2 * float(np.percentile(seen[:: max(1, seen.size // 100_000)], 99)), 1.0)) if seen.size else np.float32(1)
        kernel.box_sums(*views, least, box, a, b)
        whole = a.sum() / b.sum() if b.sum() > 0 else 1.0
        enough = b > 0.1 * np.median(b[b > 0]) if (b > 0).any() else np.zeros(shape, bool)
        return np.asarray(np.where(enough, a / np.where(enough, b, 1.0), whole)).astype(np.float32)

    def _sums(self, views: tuple[Array, ...], ratio: Array, bins: int) -> Array:
        """Sums of the last round; what is clipped follows from the round before."""
        from algorithms.kernels import photontransfer as kernel

        sums, limit = np.zeros((5, bins)), np.full(bins, np.inf, np.float32)
        scale = np.float32(bins / math.sqrt(_TOP) if bins > 1 else 0.0)
        for turn in range(_ROUNDS):
            kernel.pair_sums(*views, ratio, self.params.box, scale, limit, sums)
            n = np.maximum(sums[0], 1.0)
            spread = _first_spread(sums) if turn == 0 else np.sqrt(np.maximum(sums[4] / n, 0.0))
            limit = (self.params.clip * spread * (_WIDER if turn == 0 else 1.0)).astype(np.float32)
            if turn == 0 and bins > 1:
                kernel.drop_rays(*views, ratio, self.params.box, scale, limit, self.params.grow)
        return sums

    def _product(self, amps: list[_Amp], times: list[float], shared: float) -> PhotonTransfer:
        rounding = 1 / 12 if self.params.rounded else 0.0
        numbers = ("gain", "gain_error", "read_noise", "read_noise_error", "full_well", "linearity")
        out = {k: np.full(len(amps), math.nan) for k in numbers}
        curves = [Curve.of(one.flats, one.zeros, self.params.clip, shared) for one in amps]
        for i, (one, curve) in enumerate(zip(amps, curves, strict=True)):
            fit = fit_curve(curve, curved=self.params.brighter_fatter, highest=self.params.highest, saturated=one.saturated > 0)
            out["gain"][i], out["gain_error"][i], out["full_well"][i] = fit.gain, fit.gain_error, fit.full_well * fit.gain
            scatter, error = curve.read_noise(rounding)
            if not math.isfinite(scatter):
                scatter, error = float(np.median(one.overscan)), math.nan
            out["read_noise"][i], out["read_noise_error"][i] = scatter * fit.gain, error * fit.gain
            out["linearity"][i] = fit_times(np.array(times), np.array(one.levels))
        level, variance = (np.stack([getattr(c, name) for c in curves]) for name in ("level", "variance"))
        signal = np.array([one.levels for one in amps]) * np.array([[one.bright] for one in amps])
        names = tuple(a.amp.name for a in amps)
        return PhotonTransfer(amp=names, level=level, variance=variance, seconds=np.array(times), signal=signal, **out)


def _first_spread(sums: Array) -> Array:
    """Scatter by bins from mean absolute differences, and not more than that of a line through them: at levels where light is rare, rays alone would
    make it."""
    n = np.maximum(sums[0], 1.0)
    spread, level = np.asarray(math.sqrt(math.pi / 2) * sums[2] / n), sums[1] / n
    first = int(np.argmax(sums[0] > 0))
    far = (sums[0] >= _FEW) & (level > max(4.0 * level[first], 10.0))
    if not far.any():
        return spread
    noise = spread[first] ** 2
    slope = float(np.median((spread[far] ** 2 - noise) / level[far]))
    line = np.sqrt(noise + max(slope, 0.0) * np.maximum(level, 0.0))
    return np.asarray(np.minimum(spread, _WIDER * line))


def _same(a: float, b: float) -> bool:
    return abs(a - b) <= _SAME_TIME * max(abs(a), abs(b))


def _boxes(shape: tuple[int, ...], box: int) -> tuple[int, int]:
    return -(-shape[0] // box), -(-shape[1] // box)


def _bright(reference: Image, cut: tuple[slice, slice]) -> float:
    """Mean light of the bright pixels of the reference, ADU; NaN where none is usable."""
    light = reference.pixels[cut][reference.ivar[cut] > 0]
    light = light[light > 0.3 * np.percentile(light[::17], 99)] if light.size else light
    return float(light.mean(dtype=np.float64)) if light.size else math.nan


def _level(image: Image, reference: Image, cut: tuple[slice, slice]) -> float:
    """Light of the bright pixels of the reference, in units of what they have there; NaN where none is usable in both."""
    bright, light = reference.pixels[cut], image.pixels[cut]
    good = (reference.ivar[cut] > 0) & (image.ivar[cut] > 0)
    if not good.any():
        return math.nan
    good &= bright > 0.3 * np.percentile(bright[good][::17], 99)
    total = float(bright[good].sum(dtype=np.float64))
    return float(light[good].sum(dtype=np.float64)) / total if total > 0 else math.nan
