"""Where an amplifier reads no light, and from which value on it is saturated: what QAs and steps must see alike."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quicklook.ccd.arrays import Raw
from quicklook.ccd.geometry import Amplifier, Section

TOP_OF_CONVERTER = 65535.0
"""Largest value of a 16-bit converter, ADU; wider integers and floats mostly hold the same, unless the instrument says otherwise."""
_PHI = 0.6180339887498949
"""Golden ratio: its multiples, modulo 1, fill 0 ... 1 evenly and keep step with no period."""


def saturation_level(amp: Amplifier, dtype: npt.DTypeLike) -> float:
    """Raw value from which on a pixel is saturated, ADU: as stated, else that of a converter of 16 bits; at most the top of a type of 16 bits."""
    kind = np.dtype(dtype)
    top = float(np.iinfo(kind).max) if kind.kind in "iu" and kind.itemsize <= 2 else np.inf
    return min(TOP_OF_CONVERTER if amp.saturation is None else amp.saturation, top)


def trimmed(section: Section, amp: Amplifier, trim: tuple[int, int]) -> Section:
    """An overscan or prescan without the pixels trimmed beside the data (first number) and at its far end (second), of each a quarter at most."""
    along_rows = amp.serial_axis == 1
    y0, y1, x0, x1 = section.y0, section.y1, section.x0, section.x1
    first, last = (x0, x1) if along_rows else (y0, y1)
    after = first >= (amp.data.x1 if along_rows else amp.data.y1)
    most = (last - first - 1) // 4
    left, right = (min(t, most) for t in (trim if after else trim[::-1]))
    return Section(y0, y1, x0 + left, x1 - right) if along_rows else Section(y0 + left, y1 - right, x0, x1)


def sample_lines(number: int, wanted: int) -> npt.NDArray[np.intp]:
    """About `wanted` line numbers of 0 ... `number` - 1, in order: one in every stretch of equal length, at a place that has no period."""
    if number <= wanted:
        return np.arange(number)
    edges = np.linspace(0.0, number, wanted + 1)
    return np.unique((edges[:-1] + (edges[1:] - edges[:-1]) * ((np.arange(wanted) * _PHI) % 1.0)).astype(np.intp).clip(0, number - 1))


def sample_rows(pixels: Raw, size: int) -> Raw:
    """Whole rows of [ny, nx], in all near `size` pixels but eight rows at least. Unlike pixels at even distances they miss no pattern."""
    return pixels[sample_lines(pixels.shape[0], max(8, size // pixels.shape[1]))]
