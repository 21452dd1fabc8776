"""Master dark: the dark current of every pixel, from exposures with the shutter closed."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from pydantic import Field

from quicklook.ccd.arrays import Float32, UInt16
from quicklook.ccd.calibs import BadPixelMask, Bias, Dark
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.image import Image
from quicklook.ccd.mask import PixelMask
from quicklook.core.errors import BadData
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

_UNUSABLE = np.uint16(PixelMask.BAD | PixelMask.DEAD | PixelMask.SATURATED | PixelMask.COSMIC | PixelMask.BADAMP | PixelMask.NONFINITE)
"""Bits of an exposure that say nothing of the dark current. HOT is what is looked for."""
_SAMPLE = 64
_COMMON_NOISE = 5.0
_MOST_OF_BIAS = 0.5


class MasterDarkParams(Params):
    """How exposures are compared, and what is called hot."""

    clip: float = Field(5.0, gt=2, description="values farther than this from the median of the pixel are left out (cosmic rays), sigma")
    head: int = Field(5, ge=3, le=15, description="exposures that the median is made from (an odd number)")
    hot: float = Field(8.0, gt=2, description="a pixel is hot where its dark current stands so many sigma above that of its amplifier")
    hot_rate: float = Field(0.05, ge=0, description="and by so much at least, electron/s")
    least_seconds: float = Field(1.0, gt=0, description="a shorter exposure says nothing of the dark current and is refused")
    box: int = Field(64, ge=0, description="pixels are drawn towards the medians of boxes of so many, as far as they are noise; 0: each as measured")
    keep: float = Field(5.0, gt=2, description="a pixel that stands off its surroundings by more keeps what was measured, sigma")


class MasterDark(PipelineAlg[MasterDarkParams]):
    """Clipped mean of the dark current over exposures of any lengths, each weighted by its variance, and the hot pixels.

    The variance of an exposure of t seconds is (read noise^2 + dark current t) / t^2, by amplifier: weights grow with t where dark current makes
    the noise, with t^2 where the read-out does. The noise of the bias is the same in all of them and does not average out; it is part of the
    variance that is stated. What is noise alone is taken out of the pixels (`algorithms.darknoise`): subtracted from a long exposure, the dark of a
    few short ones would otherwise make it worse. The memory is that of `head` exposures and six more, whatever their number.
    """

    name = "master_dark"

    def run(
        self, images: Sequence[Image], exposures: Sequence[Exposure], known: BadPixelMask | None, bias: Bias | None
    ) -> tuple[Dark, BadPixelMask]:
        """Dark current [ny, nx], NaN where nothing is known, and the known mask with HOT as found now and BAD where nothing is known.

        `bias` is the one that was subtracted; its variance counts. Raises BadData: fewer than three exposures, times that are none, other shapes.
        """
        from algorithms.kernels import stacking

        seconds = [self._seconds(e) for e in exposures]
        if len(seconds) < 3:
            raise BadData(f"a master dark is made from three exposures at least, these are {len(seconds)}", what_next="Take more darks.")
        stack: _Stack | None = None
        for image, t in zip(images, seconds, strict=True):
            stack = stack or _Stack(image, self.params.clip, stacking.head_size(len(seconds), self.params.head), bias)
            stack.take(image, t)
        assert stack is not None
        pixels, variance = stack.result()
        mask = self._mask(pixels, stack.amplifiers, known)
        self._settle(pixels, variance, stack.amplifiers)
        dark = Dark(pixels=pixels, variance=variance, temperature_c=_mean_temperature(exposures), seconds=float(sum(seconds)))
        return dark, mask

    def _settle(self, pixels: Float32, variance: Float32, amplifiers: tuple[Amplifier, ...]) -> None:
        from algorithms.darknoise import settle

        for amp in amplifiers if self.params.box else ():
            part = settle(pixels[amp.ccd.slices], variance[amp.ccd.slices], self.params.box, self.params.keep)
            self.log.info("amplifier %s: %.3g of what a pixel deviates from its surroundings is its own, the rest is noise", amp.name, part)

    def _seconds(self, exposure: Exposure) -> float:
        t = exposure.exptime
        if not (math.isfinite(t) and t >= self.params.least_seconds):
            raise BadData(f"exposure {exposure.unit} took {t:g} s; a dark takes {self.params.least_seconds:g} s at least", what_next="Leave it out.")
        return t

    def _mask(self, pixels: Float32, amplifiers: tuple[Amplifier, ...], known: BadPixelMask | None) -> BadPixelMask:
        """From the rates as measured: their scatter holds the noise."""
        fits = known is not None and known.pixels.shape == pixels.shape
        out: UInt16 = known.pixels & np.uint16(~PixelMask.HOT & 0xFFFF) if fits and known is not None else np.zeros(pixels.shape, np.uint16)
        for amp in amplifiers:
            rate = pixels[amp.ccd.slices]
            level, scatter = _robust(rate)
            hot = rate > level + max(self.params.hot * scatter, self.params.hot_rate)
            out[amp.ccd.slices][hot] |= np.uint16(PixelMask.HOT)
            out[amp.ccd.slices][~np.isfinite(rate)] |= np.uint16(PixelMask.BAD)
        return BadPixelMask(pixels=out)


class _Stack:
    """The arrays of a stack of rates that grows exposure by exposure."""

    def __init__(self, first: Image, clip: float, size: int, bias: Bias | None) -> None:
        self.shape, self.amplifiers, self.clip = first.shape, first.amplifiers, clip
        self.of_bias = _share_of_bias(first, bias)
        self.shares = {a.name: [0.0, 0.0] for a in first.amplifiers}
        self.head: Float32 = np.zeros((size, *first.shape), np.float32)
        self.of_head: list[tuple[dict[str, float], float]] = []
        self.rate: dict[str, float] = {}
        self.centre, self.scale, self.total, self.weights = (np.zeros(first.shape, np.float32) for _ in range(4))
        self.count = np.zeros(first.shape, np.uint16)

    def take(self, image: Image, seconds: float) -> None:
        """Take an exposure: into the head while that is not full, then into the sums. Raises BadData for another read-out."""
        if image.shape != self.shape or [a.ccd for a in image.amplifiers] != [a.ccd for a in self.amplifiers]:
            raise BadData(f"the darks of {image.camera} are of different read-outs: {image.shape} pixels against {self.shape}, or other sections")
        noise = {a.name: _noise(image, a) for a in self.amplifiers}
        if self.rate:
            self._add(image.pixels, image.mask, noise, seconds, 1 / seconds)
            return
        _put_rates(image, seconds, self.head[len(self.of_head)])
        self.of_head.append((noise, seconds))
        if len(self.of_head) == len(self.head):
            self._middle()
            nothing = np.zeros(self.shape, np.uint16)  # what cannot be used has a number that is always clipped
            for rates, (levels, t) in zip(self.head, self.of_head, strict=True):
                self._add(rates, nothing, levels, t, 1.0)
            self.head = self.head[:0].copy()

    def _middle(self) -> None:
        from algorithms.kernels import stacking

        for amp in self.amplifiers:
            rows, cols = amp.ccd.slices
            rates = self.head[:, rows, cols]
            level, _ = _robust(np.median(rates[:, :: max(1, rates.shape[1] // _SAMPLE)], axis=0))
            self.rate[amp.name] = max(level, 0.0) if math.isfinite(level) else 0.0
            floor = float(np.median([self._sigma(amp, noise, t) for noise, t in self.of_head]))
            stacking.middle(rates, floor, self.centre[rows, cols], self.scale[rows, cols])

    def _sigma(self, amp: Amplifier, noise: dict[str, float], seconds: float) -> float:
        """Noise of the rate of a pixel of an exposure, electron/s, from that without light, electron; that of the bias left out, which all share."""
        return math.sqrt((1.0 - self.of_bias) * noise[amp.name] ** 2 + self.rate[amp.name] * seconds) / seconds

    def _add(self, pixels: Float32, mask: UInt16, noise: dict[str, float], seconds: float, factor: float) -> None:
        from algorithms.kernels import stacking

        f = np.float32
        for amp in self.amplifiers:
            cut, sigma = amp.ccd.slices, self._sigma(amp, noise, seconds)
            self.shares[amp.name][0] += 1 / sigma**2
            self.shares[amp.name][1] += math.sqrt(self.of_bias) * noise[amp.name] / (seconds * sigma**2)
            stacking.add_weighted(
                pixels[cut], mask[cut], _UNUSABLE, f(factor), f(1 / sigma**2), f(sigma), self.centre[cut], self.scale[cut], f(self.clip),
                self.total[cut], self.weights[cut], self.count[cut],
            )  # fmt: skip

    def result(self) -> tuple[Float32, Float32]:
        """Mean rate and its variance; an amplifier that is known to be bad has no dark current and no variance."""
        from algorithms.kernels import stacking

        mean, variance = np.zeros_like(self.centre), np.zeros_like(self.centre)
        for amp in self.amplifiers:
            if not amp.bad:
                cut = amp.ccd.slices
                stacking.finish_weighted(self.centre[cut], self.total[cut], self.weights[cut], np.float32(1e-20), mean[cut], variance[cut])
                weight, shared = self.shares[amp.name]
                variance[cut][variance[cut] > 0] += np.float32((shared / weight) ** 2)
        return mean, variance


def _noise(image: Image, amp: Amplifier) -> float:
    """Noise of a pixel without light, electron: as measured, else the read noise, else that of a common detector."""
    variance, read_noise = image.noise_variance.get(amp.name, math.nan), image.read_noise.get(amp.name, math.nan)
    return math.sqrt(variance) if variance > 0 else read_noise if read_noise > 0 else _COMMON_NOISE


def _share_of_bias(image: Image, bias: Bias | None) -> float:
    """Part of the variance of a pixel without light that is that of the master bias: about 1 over its number of zeros; 0 where it states none.

    Both are taken over the whole detector, since the bias has the orientation of the raw file: the amplifiers of one bias have the same zeros.
    """
    if bias is None or bias.variance is None or "bias" not in image.applied:
        return 0.0
    some = bias.variance[:: max(1, bias.variance.shape[0] // _SAMPLE), :: max(1, bias.variance.shape[1] // _SAMPLE)]
    some = some[np.isfinite(some) & (some > 0)]
    noise = [(_noise(image, a) / a.gain) ** 2 for a in image.amplifiers if not a.bad]
    return min(float(np.median(some)) / float(np.median(noise)), _MOST_OF_BIAS) if some.size and noise else 0.0


def _put_rates(image: Image, seconds: float, out: Float32) -> None:
    """Electron/s; what cannot be used is given the largest number, which is always clipped."""
    from algorithms.kernels.stacking import LARGEST

    np.multiply(image.pixels, np.float32(1 / seconds), out=out)
    out[((image.mask & _UNUSABLE) != 0) | ~np.isfinite(out)] = LARGEST


def _robust(values: Float32) -> tuple[float, float]:
    """Median and 1.4826 MAD of the finite values; NaN where there is none."""
    some = values[:: max(1, values.shape[0] // 512)]
    some = some[np.isfinite(some) & (np.abs(some) < 1e29)]
    if some.size == 0:
        return math.nan, math.nan
    middle = float(np.median(some))
    return middle, 1.4826 * float(np.median(np.abs(some - middle)))


def _mean_temperature(exposures: Sequence[Exposure]) -> float | None:
    known = [e.temperature_c for e in exposures if e.temperature_c is not None]
    return float(np.mean(known)) if known else None
