"""Bad-pixel mask: hot, noisy and dead pixels and bad columns, from zeros, darks and a pixel flat."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from quicklook.ccd.arrays import Float32, UInt16
from quicklook.ccd.calibs import BadPixelMask, Dark, PixelFlat
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.image import Image
from quicklook.ccd.mask import PixelMask
from quicklook.core.errors import BadData
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

Array = npt.NDArray[Any]
_FEWEST = 4
"""So many zeros say whether a pixel is noisy; so many darks, less one, whether it is hot."""
_MANY = 5
_SEGMENT = 64
_SEGMENTS = 3
_SAMPLE = 512


class BadPixelMaskParams(Params):
    """What is called bad."""

    hot: float = Field(8.0, gt=2, description="a pixel is hot where its dark current stands so many sigma above that of its amplifier")
    hot_rate: float = Field(0.05, ge=0, description="and by so much at least, electron/s")
    noisy: float = Field(4.0, gt=1, description="a pixel is noisy where it scatters over zeros so many times as others do, its largest value apart")
    dead: float = Field(0.3, gt=0, lt=1, description="a pixel with a measured response below this is dead")
    column: float = Field(8.0, gt=3, description="a column is bad where its level stands so many sigma off that of the other columns")
    column_level: float = Field(2.0, ge=0, description="and by so much at least in zeros, electron")
    column_rate: float = Field(0.02, ge=0, description="and by so much at least in darks, electron/s")
    column_response: float = Field(0.1, ge=0, description="and by so much at least in the pixel flat")
    keep: bool = Field(True, description="take over the bits of the mask that is valid, as far as they are not looked for here")


class MakeBadPixelMask(PipelineAlg[BadPixelMaskParams]):
    """Bits HOT, HIGHVAR (noisy), DEAD, and BAD (columns), as far as the exposures tell.

    Rates come from the darks of the group, each pixel without its highest values (cosmic rays), else from the master dark; responses from the pixel
    flat. The memory is that of twelve images.
    """

    name = "bad_pixel_mask"

    def run(
        self, images: Sequence[Image], exposures: Sequence[Exposure], dark: Dark | None, flat: PixelFlat | None, known: BadPixelMask | None
    ) -> BadPixelMask:
        """Of the shape of the trimmed image. Raises BadData: exposures of different read-outs, or nothing that tells of bad pixels."""
        zeros, rates = _Sums(), _Sums()
        amplifiers: tuple[Amplifier, ...] = ()
        shape: tuple[int, int] | None = None
        for image, exposure in zip(images, exposures, strict=True):
            amplifiers, shape = amplifiers or image.amplifiers, shape or image.shape
            if image.shape != shape:
                raise BadData(f"the exposures of {image.camera} are of different read-outs: {image.shape} pixels against {shape}")
            if exposure.exptime > 0:
                rates.add(image.pixels / np.float32(exposure.exptime))
            else:
                zeros.add(image.pixels)
        if shape is None or max(zeros.n, rates.n) < _FEWEST:
            raise BadData(f"{zeros.n} zeros and {rates.n} darks tell of no bad pixels; {_FEWEST} of either are needed", what_next="Take more.")
        rate = rates.without_highest() if rates.n >= _FEWEST else _of_shape(None if dark is None else dark.pixels, shape)
        response = self._response(flat, shape)
        out = self._start(known, shape)
        for amp in amplifiers:
            self._hot(out, rate, amp)
            self._noisy(out, zeros, amp)
            self._columns(out, zeros, rate, response, amp)
            if response is not None:
                cut = amp.ccd.slices
                out[cut][response[cut] < self.params.dead] |= np.uint16(PixelMask.DEAD)
        return BadPixelMask(pixels=out)

    def _start(self, known: BadPixelMask | None, shape: tuple[int, int]) -> UInt16:
        """The known mask without what is looked for here; else nothing."""
        pixels = _of_shape(None if known is None else known.pixels, shape) if self.params.keep else None
        looked_for = np.uint16(PixelMask.HOT | PixelMask.HIGHVAR)
        return np.zeros(shape, np.uint16) if pixels is None else np.asarray(pixels & ~looked_for, np.uint16)

    def _response(self, flat: PixelFlat | None, shape: tuple[int, int]) -> Float32 | None:
        """Measured responses; NaN where there are none."""
        pixels = _of_shape(None if flat is None else flat.pixels, shape)
        if flat is None or pixels is None or flat.ivar is None:
            return pixels
        return np.where(flat.ivar > 0, pixels, np.float32(np.nan))

    def _hot(self, out: UInt16, rate: Float32 | None, amp: Amplifier) -> None:
        if rate is None:
            return
        mine = rate[amp.ccd.slices]
        level, scatter = _robust(mine)
        out[amp.ccd.slices][mine > level + max(self.params.hot * scatter, self.params.hot_rate)] |= np.uint16(PixelMask.HOT)

    def _noisy(self, out: UInt16, zeros: _Sums, amp: Amplifier) -> None:
        if zeros.n < _FEWEST:
            return
        variance = zeros.variance_without_largest(amp.ccd.slices)
        usual = float(np.median(variance[:: max(1, len(variance) // _SAMPLE)]))
        out[amp.ccd.slices][variance > self.params.noisy**2 * usual] |= np.uint16(PixelMask.HIGHVAR)

    def _columns(self, out: UInt16, zeros: _Sums, rate: Float32 | None, response: Float32 | None, amp: Amplifier) -> None:
        cut, p = amp.ccd.slices, self.params
        maps = [(zeros.mean(cut), p.column_level)] if zeros.n >= _FEWEST else []
        maps += [(m[cut], least) for m, least in ((rate, p.column_rate), (response, p.column_response)) if m is not None]
        for values, least in maps:
            for x, first, last in bad_columns(values, p.column, least):
                out[cut][first:last, x] |= np.uint16(PixelMask.BAD)


class _Sums:
    """Sums of exposures pixel by pixel; the highest and the largest value of each pixel apart."""

    def __init__(self) -> None:
        self.n = 0
        self.total = self.square = self.highest = self.second = self.largest = np.zeros((0, 0), np.float32)

    def add(self, pixels: Float32) -> None:
        """Add one; what is no finite number counts as 0."""
        values = np.where(np.isfinite(pixels), pixels, np.float32(0))
        if not self.n:
            self.total, self.square, self.largest = (np.zeros_like(values) for _ in range(3))
            self.highest, self.second = (np.full_like(values, -np.inf) for _ in range(2))
        self.n += 1
        self.total += values
        self.square += values * values
        np.maximum(self.second, np.minimum(self.highest, values), out=self.second)
        np.maximum(self.highest, values, out=self.highest)
        np.maximum(self.largest, np.abs(values), out=self.largest)

    def mean(self, cut: tuple[slice, slice]) -> Float32:
        """Mean without the highest."""
        return np.asarray((self.total[cut] - self.highest[cut]) / np.float32(self.n - 1))

    def without_highest(self) -> Float32:
        """Mean of all but the highest; of five and more without the two highest, since long darks have pixels with two cosmic rays."""
        if self.n < _MANY:
            return np.asarray((self.total - self.highest) / np.float32(self.n - 1))
        return np.asarray((self.total - self.highest - self.second) / np.float32(self.n - 2))

    def variance_without_largest(self, cut: tuple[slice, slice]) -> Float32:
        """Mean square about zero, without the one that is farthest from it: a cosmic ray makes no pixel noisy."""
        return np.asarray((self.square[cut] - self.largest[cut] ** 2) / np.float32(self.n - 1))


def _of_shape(pixels: Array | None, shape: tuple[int, int]) -> Array | None:
    return pixels if pixels is not None and pixels.shape == shape else None


def _robust(values: Float32) -> tuple[float, float]:
    """Median and 1.4826 MAD of the finite values of some rows."""
    some = values[:: max(1, len(values) // _SAMPLE)]
    some = some[np.isfinite(some)]
    if not some.size:
        return math.inf, math.inf
    middle = float(np.median(some))
    return middle, 1.4826 * float(np.median(np.abs(some - middle)))


def bad_columns(values: Float32, sigma: float, least: float) -> list[tuple[int, int, int]]:
    """Columns (x, first row, row after the last) of [ny, nx] whose medians over 64 rows stand off those of others, in three stretches at least.

    Stretches are a quarter of the rows where there are fewer than 256.
    """
    ny, nx = values.shape
    height = max(8, min(_SEGMENT, ny // 4))
    rows = np.arange(0, ny + 1, height)
    if len(rows) < _SEGMENTS + 1 or nx < 16:
        return []
    blocks = values[: rows[-1]].reshape(len(rows) - 1, height, nx)
    empty = np.isfinite(blocks).mean(axis=1) < 0.5
    level = np.median(np.where(np.isfinite(blocks), blocks, np.float32(0)), axis=1)
    known = np.where(empty, np.nan, level)
    off = np.zeros_like(level)
    scatter = np.full(len(level), np.inf)
    for i, line in enumerate(known):
        if np.isfinite(line).sum() >= 16:
            middle = np.nanmedian(line)
            off[i] = np.where(np.isfinite(line), line - middle, 0.0)
            scatter[i] = 1.4826 * np.nanmedian(np.abs(line - middle))
    flagged = np.abs(off) > np.maximum(sigma * scatter, least)[:, None]
    out = []
    for x in np.flatnonzero(flagged.sum(axis=0) >= _SEGMENTS):
        places = np.flatnonzero(flagged[:, x])
        last = ny if places[-1] == len(flagged) - 1 else int(rows[places[-1] + 1])
        out.append((int(x), int(rows[places[0]]), last))
    return out
