"""Whether an amplifier is alive. A dead one is called so by name: its read noise is not zero, it is not measured."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from qa.sections import sample, saturation_level
from quicklook.ccd.arrays import Raw
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.image import RawImage

CONSTANT_FRACTION = 0.9
MIN_SCATTER = 0.1
_SAMPLE = 40_000


@dataclass(frozen=True, slots=True)
class Vitals:
    """What a sample of one section tells: commonest value, fraction of the finite pixels at it, scatter (half of the central 68 %), ADU."""

    value: float
    constant: float
    scatter: float
    high: float


def vitals(pixels: Raw, saturation: float) -> Vitals | None:
    """Of a section [ny, nx]; None where no pixel of the sample is finite.

    A value that more than half of the pixels share is their median: the median stands for the commonest value.
    """
    values = np.sort(sample(pixels, _SAMPLE), axis=None)
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    n = values.size
    if n == 0:
        return None
    value = values[n // 2]
    same = np.searchsorted(values, value, "right") - np.searchsorted(values, value, "left")
    low, high = values[int(0.15866 * (n - 1))], values[int(0.84134 * (n - 1))]
    above = n - np.searchsorted(values, values.dtype.type(saturation) if values.dtype.kind == "f" else int(np.ceil(saturation)), "left")
    return Vitals(float(value), float(same) / n, 0.5 * (float(high) - float(low)), float(above) / n)


def death(raw: RawImage, amp: Amplifier, constant: float = CONSTANT_FRACTION, min_scatter: float = MIN_SCATTER) -> tuple[str, float]:
    """Why an amplifier is dead ("" if it lives), and the fraction of its image at one value (NaN if no pixel is finite).

    Dead is: no finite pixel; overscan and image at one value each (`constant` of the pixels); the image at one value although the overscan
    lives, unless it is overexposed; no noise (`min_scatter`, ADU) in either; both at the top of the converter.
    """
    top = saturation_level(raw, amp)
    section = amp.overscan or amp.prescan
    data, blank = raw.pixels[amp.data.slices], None if section is None else raw.pixels[section.slices]
    image, strip = vitals(data, top), None if blank is None else vitals(blank, top)
    if image is None:
        if np.isfinite(data).any():
            return "nearly no finite pixel", float("nan")
        return "no finite pixel", float("nan")
    constant_strip = strip is None or strip.constant >= constant
    if image.constant >= constant:
        if not constant_strip:
            overexposed = image.value >= top
            return ("" if overexposed else f"the image reads {image.value:g} throughout, although its overscan has noise"), image.constant
        return _constant(data, blank, image, strip), image.constant
    if image.scatter < min_scatter and (strip is None or strip.scatter < min_scatter):
        return f"no noise: scatter {image.scatter:.2g} ADU in the image{_and_strip(strip)}", image.constant
    if image.high >= constant and strip is not None and strip.high >= constant:
        return f"{_percent(image.high)} of the pixels at or above saturation ({top:g} ADU), overscan too", image.constant
    return "", image.constant


def _and_strip(strip: Vitals | None) -> str:
    return "" if strip is None else f", {strip.scatter:.2g} ADU in the overscan"


def _constant(data: Raw, blank: Raw | None, image: Vitals, strip: Vitals | None) -> str:
    if strip is not None and strip.value != image.value:
        return f"constant: the image reads {image.value:g}, the overscan {strip.value:g}"
    parts = [data] if blank is None else [data, blank]
    same = sum(int(np.count_nonzero(p == image.value)) for p in parts)
    total = sum(p.size for p in parts)
    return f"every pixel reads {image.value:g}" if same == total else f"{_percent(same / total)} of the pixels read {image.value:g}"


def _percent(fraction: float) -> str:
    """Never 100 % of what is not all."""
    return f"{min(np.floor(fraction * 1e4) / 100.0, 100.0):.2f} %"
