"""Where a living amplifier is dead: pixels far below its bias level, and stretches of rows without noise."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from quicklook.ccd.arrays import Raw
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.health import TRIM, percent
from quicklook.ccd.memo import remembered
from quicklook.ccd.strips import sample_lines, sample_rows, saturation_level, trimmed

Flags = npt.NDArray[np.bool_]

FAR_BELOW = 15.0
"""A pixel so many sigma of the overscan below the bias level reads no charge: noise, ripples and trails stay within six."""
MIN_SIGMA = 0.5
"""Scatter of the overscan (ADU) that is taken at least: rounding hides a smaller one."""
STRETCH = 64
"""So many pixels of a row at one value have no noise; of narrow amplifiers, the whole row."""
_CHANCE = 1e-4
_FIRST = 8
_LINES = 256
_SEEN = 1e-4
_SAMPLE = 40_000


@dataclass(frozen=True, slots=True, eq=False)
class DeadArea:
    """The dead pixels of an amplifier: their `fraction`, what they are in `words`, `pixels` [ny, nx] of its data section (None if there are none)."""

    fraction: float = 0.0
    words: str = ""
    pixels: Flags | None = None


NOTHING = DeadArea()


def dead_area(pixels: Raw, amp: Amplifier) -> DeadArea:
    """Of a living amplifier of the raw `pixels` [ny, nx], ADU.

    Some hundred lines of the read-out are looked at first, and all where one of ten thousand of their pixels is dead. Saturated pixels read
    one value too and are not dead. Where noise is so low that neighbours agree by chance, or no overscan tells the level, that sign of
    death is left out. What is asked of an array that cannot change is found out once.
    """
    key = (amp.data, amp.overscan, amp.prescan, amp.saturation)
    return remembered(pixels, ("dead area", *key), lambda: _dead_area(pixels, amp))


def _dead_area(pixels: Raw, amp: Amplifier) -> DeadArea:
    level, sigma = _level(pixels, amp)
    floor, top = level - FAR_BELOW * sigma, saturation_level(amp, pixels.dtype)
    along_rows = amp.serial_axis == 1
    data = pixels[amp.data.slices]
    lines = data if along_rows else data.T
    some = lines[sample_lines(lines.shape[0], _LINES)]
    if lines.shape[0] > _LINES and _count(some, floor, top) < _SEEN * some.size:
        return NOTHING
    low, quiet = _low(lines, floor), _quiet(lines, top)
    dead = low | quiet
    n = int(np.count_nonzero(dead))
    if n == 0:
        return NOTHING
    upright = dead if along_rows else dead.T
    fraction = n / dead.size
    return DeadArea(fraction, _words(data, upright, amp.data, fraction, level if 2 * np.count_nonzero(low) >= n else None), upright)


def _level(pixels: Raw, amp: Amplifier) -> tuple[float, float]:
    """Bias level and scatter of the overscan, ADU; NaN where there is none."""
    section = amp.overscan or amp.prescan
    if section is None:
        return float("nan"), float("nan")
    values = np.sort(sample_rows(pixels[trimmed(section, amp, TRIM).slices], _SAMPLE), axis=None)  # faster than a partition of float64
    if values.dtype.kind == "f":
        values = values[np.isfinite(values)]
    if values.size == 0:
        return float("nan"), float("nan")
    at = np.array((0.15866, 0.5, 0.84134)) * (values.size - 1)
    below = at.astype(np.int64)
    first, second = (values[np.minimum(i, values.size - 1)].astype(np.float64) for i in (below, below + 1))
    low, middle, high = first + (at - below) * (second - first)
    return float(middle), max(float(0.5 * high - 0.5 * low), MIN_SIGMA)


def _count(lines: Raw, floor: float, top: float) -> int:
    return int(np.count_nonzero(_low(lines, floor) | _quiet(lines, top)))


def _low(lines: Raw, floor: float) -> Flags:
    """Which pixels lie below the floor; none where it is no number."""
    if not floor > _least(lines):
        return np.zeros(lines.shape, np.bool_)
    return np.asarray(lines < _own(lines, floor))


def _least(lines: Raw) -> float:
    return float(np.finfo(lines.dtype).min if lines.dtype.kind == "f" else np.iinfo(lines.dtype).min)


def _own(lines: Raw, value: float) -> Raw:
    """A bound in the type of the pixels, so that comparing makes no copy."""
    if lines.dtype.kind == "f":
        return np.array(min(value, float(np.finfo(lines.dtype).max)), lines.dtype)
    return np.array(min(int(np.ceil(value)), np.iinfo(lines.dtype).max), lines.dtype)


def _quiet(lines: Raw, top: float) -> Flags:
    """Which pixels [nline, n] lie in a stretch of their line that holds one value below `top`."""
    n = lines.shape[1]
    length = min(STRETCH, n)
    out = np.zeros(lines.shape, np.bool_)
    if length < 2 or not _may_be_quiet(lines, length):
        return out
    equal = lines[:, 1:] == lines[:, :-1]
    equal &= lines[:, 1:] < _own(lines, top)
    whole = _all_of(equal, length - 1)  # by its first pixel
    if not whole.any():
        return out
    quiet = ~_all_of(~np.pad(whole, ((0, 0), (length - 1, length - 1))), length)
    return quiet if _is_rare(equal, quiet, length) else out


def _may_be_quiet(lines: Raw, length: int) -> bool:
    """False where no stretch can be of one value: one of this length holds a whole block of half of it, whose first pixels would be equal."""
    block = length // 2
    first = min(_FIRST, block)
    if first < 2:
        return True
    blocks = lines[:, : lines.shape[1] // block * block : block]
    alike = np.ones(blocks.shape, np.bool_)
    for k in range(1, first):
        alike &= blocks == lines[:, k : lines.shape[1] // block * block : block]
    return bool(alike.any())


def _all_of(flags: Flags, length: int) -> Flags:
    """Where `length` flags in a row begin that are all set: [nline, n - length + 1]."""
    have = 1
    while have < length:
        more = min(have, length - have)
        flags = flags[:, :-more] & flags[:, more:]
        have += more
    return flags


def _is_rare(equal: Flags, quiet: Flags, length: int) -> bool:
    """Whether noise makes such stretches hardly ever: by how often neighbours agree elsewhere. Half of the steps count: neighbours share pixels."""
    elsewhere = ~(quiet[:, 1:] & quiet[:, :-1])
    n = np.count_nonzero(elsewhere)
    share = np.count_nonzero(equal & elsewhere) / n if n else 0.0
    return bool(share ** (0.5 * length) < _CHANCE)


def _words(data: Raw, dead: Flags, where: Section, fraction: float, level: float | None) -> str:
    """``48.6 % of the pixels, in [1:1024,1:170], read 0, far below the bias level of 943 ADU``."""
    rows, columns = (_extent(np.count_nonzero(dead, axis=axis)) for axis in (1, 0))
    box = Section(where.y0 + rows[0], where.y0 + rows[1], where.x0 + columns[0], where.x0 + columns[1])
    values = data[dead]
    value = np.partition(values, values.size // 2)[values.size // 2]
    same = np.count_nonzero(values == value) > 0.9 * values.size
    inside = np.count_nonzero(dead[rows[0] : rows[1], columns[0] : columns[1]])
    most = "" if inside > 0.9 * values.size else "mostly "
    reads = f"read {value:g}" if same else f"read about {value:g}"
    how = " without noise" if level is None else f", far below the bias level of {level:.0f} ADU"
    return f"{percent(fraction)} of the pixels, {most}in {box}, {reads}{how}"


def _extent(counts: npt.NDArray[np.intp]) -> tuple[int, int]:
    """First and behind the last of the lines that hold at least half as many as the fullest."""
    full = np.flatnonzero(2 * counts >= counts.max())
    return int(full[0]), int(full[-1]) + 1
