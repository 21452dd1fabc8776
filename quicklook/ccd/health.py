"""Whether an amplifier is alive, decided once for all who ask: the QAs, and the steps that mask what is dead.

A dead amplifier is called so, with the reason in words: its read noise is not zero, it is not measured.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quicklook.ccd.arrays import Raw
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.memo import remembered
from quicklook.ccd.strips import sample_rows, saturation_level, trimmed

CONSTANT_FRACTION = 0.9
"""An area is constant when this fraction of its finite pixels is at one value."""
MIN_SCATTER = 0.1
"""Scatter (ADU) of image and overscan below which there is no noise."""
SATURATED_OVERSCAN = 0.5
"""Fraction of saturated pixels from which on an overscan holds no level."""
TRIM = (3, 3)
_SAMPLE = 40_000


@dataclass(frozen=True, slots=True)
class Health:
    """`dead` says why the amplifier is dead, "" if it lives; `constant` is the fraction of its image at one value, NaN if none is finite."""

    dead: str
    constant: float

    @property
    def cause(self) -> str:
        """Why something could not be measured of it, in the words that all QAs use; "" if it lives."""
        return cause(self.dead)


def cause(dead: str) -> str:
    """``the amplifier is dead: every pixel reads 65535``, from the reason; "" of ""."""
    return f"the amplifier is dead: {dead}" if dead else ""


@dataclass(frozen=True, slots=True)
class _Vitals:
    """What a sample of a section tells: commonest value, fraction at it, scatter (half of the central 68 %, ADU), fraction at the top."""

    value: float
    constant: float
    scatter: float
    high: float


def health(pixels: Raw, amp: Amplifier) -> Health:
    """Of an amplifier of the raw `pixels` [ny, nx], ADU.

    Dead is: no finite pixel; image and overscan constant; the image constant although the overscan lives, unless it is overexposed; no noise
    in either; a saturated overscan, beside which no image can be used. Where there is no overscan the prescan stands in for it. What is asked of
    an array that cannot change is found out once.
    """
    key = (amp.data, amp.overscan, amp.prescan, amp.saturation)
    return remembered(pixels, ("health", *key), lambda: _health(pixels, amp))


def _health(pixels: Raw, amp: Amplifier) -> Health:
    top = saturation_level(amp, pixels.dtype)
    section = amp.overscan or amp.prescan
    data, blank = pixels[amp.data.slices], None if section is None else pixels[trimmed(section, amp, TRIM).slices]
    image, strip = _vitals(data, top), None if blank is None else _vitals(blank, top)
    if image is None:
        return Health("nearly no finite pixel" if np.isfinite(data).any() else "no finite pixel", float("nan"))
    return Health(_why(data, blank, image, strip, top), image.constant)


def _why(data: Raw, blank: Raw | None, image: _Vitals, strip: _Vitals | None, top: float) -> str:
    stuck = image.constant >= CONSTANT_FRACTION
    if stuck and (strip is None or strip.constant >= CONSTANT_FRACTION):
        return _constant(data, blank, image, strip)
    if strip is not None and strip.high >= SATURATED_OVERSCAN:
        too = ", its image too" if image.high >= SATURATED_OVERSCAN else ""
        return f"its overscan is saturated ({percent(strip.high)} of it at {top:g} ADU or more), so that there is no bias level{too}"
    if stuck:
        return "" if image.value >= top else f"the image reads {image.value:g} throughout, although its overscan has noise"
    if image.scatter < MIN_SCATTER and (strip is None or strip.scatter < MIN_SCATTER):
        overscan = "" if strip is None else f", {strip.scatter:.2g} ADU in the overscan"
        return f"no noise: scatter {image.scatter:.2g} ADU in the image{overscan}"
    return ""


def _constant(data: Raw, blank: Raw | None, image: _Vitals, strip: _Vitals | None) -> str:
    if strip is not None and strip.value != image.value:
        return f"constant: the image reads {image.value:g}, the overscan {strip.value:g}"
    parts = [data] if blank is None else [data, blank]
    same, total = sum(int(np.count_nonzero(p == image.value)) for p in parts), sum(p.size for p in parts)
    return f"every pixel reads {image.value:g}" if same == total else f"{percent(same / total)} of the pixels read {image.value:g}"


def _vitals(pixels: Raw, saturation: float) -> _Vitals | None:
    """Of a section [ny, nx]; None where no pixel of the sample is finite.

    A value that more than half of the pixels share is their median: the median stands for the commonest value.
    """
    values = np.sort(sample_rows(pixels, _SAMPLE), axis=None)
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    n = values.size
    if n == 0:
        return None
    value = values[n // 2]
    same = np.searchsorted(values, value, "right") - np.searchsorted(values, value, "left")
    low, high = float(values[int(0.15866 * (n - 1))]), float(values[int(0.84134 * (n - 1))])
    return _Vitals(float(value), float(same) / n, 0.5 * high - 0.5 * low, float(n - _first_at(values, saturation)) / n)


def _first_at(values: npt.NDArray[np.generic], level: float) -> int:
    """Index of the first of the ordered values that is not below the level."""
    if values.dtype.kind != "f":
        level = int(np.ceil(min(level, float(np.iinfo(np.int64).max // 2))))
    return int(np.searchsorted(values, np.asarray(level, np.float64 if values.dtype.kind == "f" else np.int64), "left"))


def percent(fraction: float) -> str:
    """Never 100 % of what is not all."""
    return f"{min(np.floor(fraction * 1e4) / 100.0, 100.0):.4g} %"
