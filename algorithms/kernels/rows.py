"""Loops over one row of pixels, from which the fused pass of the preprocessing is put together.

All arrays are one-dimensional and of one length: float32, mask bits uint16, raw pixels of any type. Each loop writes one or two arrays
and reads few: the compiler vectorises a loop only where it can check cheaply that its arrays do not overlap. A row of an amplifier
stays in the first-level cache from loop to loop, so that one loop more costs little. Called from kernels alone.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit

Row = npt.NDArray[Any]
_F = np.float32
_U = np.uint16
_ZERO, _ONE, _QUARTER = _F(0), _F(1), _F(0.25)
_W1, _W2 = _F(2 / 3), _F(-1 / 6)
NEAR_VARIANCE = _F(17 / 18)
"""Variance of the near model in units of that of a pixel: 2 (w1^2 + w2^2)."""
FAR_VARIANCE = _F(1 / 13.9)
"""Variance of the far model in units of that of a pixel: a median of five has 0.287 of the variance of one mean of four."""
SIGNIFICANT2 = _F(9 * (17 / 18 + 1 / 13.9))
SPREAD2 = _F(5)
"""The far model is given up where the square of its spread is more than this times the variance of a pixel: 4.5 sigma of a mean. Two or more of the
five means hold light of lines there, and their median some of it."""
FAR_LEAST, NEAR_LEAST = _F(-2 * (1 / 13.9) ** 0.5), _F(-4 * (1 / 13.9) ** 0.5)
"""Least value of a model, in sigma of a pixel without light. That of the near model lies deeper, for a floor cuts noise on one side alone."""
BESIDE_LINE = _F(2)
"""What the geometric mean may lack, in sigma of a pixel without light: without it the larger one of two noisy values is taken, which is too high."""
LARGEST = _F(1e30)
"""Electrons; more than that, in either direction, is no finite number."""
FLAT_FLOOR, FLAT_CEILING = _F(1e-3), _F(1e3)
"""A response outside of this range is none."""


@jit
def load(raw: Row, level: Any, saturation: Any, bit: Any, start: Any, acc: Row, bits: Row) -> None:
    """acc = raw - level; bits = start, and `bit` where raw >= saturation."""
    for x in range(acc.size):
        value = _F(raw[x])
        acc[x] = value - level
        bits[x] = start | bit if value >= saturation else start


@jit
def subtract(acc: Row, row: Row) -> None:
    """acc -= row."""
    for x in range(acc.size):
        acc[x] -= row[x]


@jit
def subtract_scaled(acc: Row, row: Row, factor: Any) -> None:
    """acc -= factor row."""
    for x in range(acc.size):
        acc[x] -= factor * row[x]


@jit
def subtract_raw(acc: Row, raw: Row, first: int, step: int, level: Any, factor: Any) -> None:
    """acc -= factor (raw - level), the raw row read from `first` on in steps of +1 or -1."""
    if step > 0:
        for x in range(acc.size):
            acc[x] -= factor * (_F(raw[first + x]) - level)
    else:
        for x in range(acc.size):
            acc[x] -= factor * (_F(raw[first - x]) - level)


@jit
def add_stepped(acc: Row, row: Row, first: int, step: int, factor: Any) -> None:
    """acc += factor row, the row read from `first` on in steps of +1 or -1."""
    for x in range(acc.size):
        acc[x] += factor * row[first + step * x]


@jit
def scale(acc: Row, factor: Any) -> None:
    """acc *= factor."""
    for x in range(acc.size):
        acc[x] *= factor


@jit
def set_bits(bits: Row, row: Row) -> None:
    """bits |= row."""
    for x in range(bits.size):
        bits[x] |= row[x]


@jit
def drop_nonfinite(acc: Row, bits: Row, bit: Any) -> None:
    """Where acc is no finite number: 0, and `bit`."""
    for x in range(acc.size):
        good = abs(acc[x]) <= LARGEST
        bits[x] |= _U(0) if good else bit
        acc[x] = acc[x] if good else _ZERO


@jit
def flag_flat(flat: Row, low: Any, zero_bit: Any, low_bit: Any, nonfinite_bit: Any, bits: Row) -> None:
    """`zero_bit` where the flat is no response at all, `nonfinite_bit` too where it is no number, `low_bit` where it is below `low`."""
    for x in range(bits.size):
        value = flat[x]
        usable = (value > FLAT_FLOOR) & (value < FLAT_CEILING)
        unusable_bits = zero_bit if abs(value) <= LARGEST else zero_bit | nonfinite_bit
        bits[x] |= (low_bit if value < low else _U(0)) if usable else unusable_bits


@jit
def divide(acc: Row, flat: Row, out: Row) -> None:
    """out = acc / flat; 0 where the flat is no response at all."""
    for x in range(out.size):
        value = flat[x]
        usable = (value > FLAT_FLOOR) & (value < FLAT_CEILING)
        out[x] = acc[x] / value if usable else _ZERO


@jit
def copy(row: Row, out: Row) -> None:
    """out = row."""
    for x in range(out.size):
        out[x] = row[x]


@jit
def fill(acc: Row, bits: Row, unusable: Any, before: Row, out: Row) -> None:
    """The row as the signal model sees it: acc, and where it is unusable the value of the row before."""
    for x in range(out.size):
        old, new = before[x], acc[x]  # loaded in any case: a load under a condition is not vectorised
        out[x] = old if (bits[x] & unusable) != 0 else new


@jit
def mean4(a: Row, b: Row, c: Row, d: Row, out: Row) -> None:
    """out = mean of four rows."""
    for x in range(out.size):
        out[x] = _QUARTER * ((a[x] + b[x]) + (c[x] + d[x]))


@jit
def median5(a: Row, b: Row, c: Row, d: Row, out: Row, spread: Row) -> None:
    """out = median of four rows and itself; spread = the second highest of the five less the lowest, which no single cosmic ray makes wide."""
    for x in range(out.size):
        low_ab, high_ab, low_cd, high_cd, e = min(a[x], b[x]), max(a[x], b[x]), min(c[x], d[x]), max(c[x], d[x]), out[x]
        f, g = max(low_ab, low_cd), min(high_ab, high_cd)
        second = max(f, g)
        spread[x] = max(second, min(max(high_ab, high_cd), e)) - min(low_ab, low_cd, e)
        out[x] = max(min(f, g), min(second, e))


@jit
def near_model(a: Row, b: Row, c: Row, d: Row, slack: Any, out: Row) -> None:
    """out = value at 0 of the cubic through rows -2, -1, 1, 2, and at least the geometric mean of rows -1 and 1 less `slack`."""
    for x in range(out.size):
        cubic = _W1 * (b[x] + c[x]) + _W2 * (a[x] + d[x])
        out[x] = max(cubic, np.sqrt(max(b[x], _ZERO) * max(c[x], _ZERO)) - slack)


@jit
def add_dark(dark: Row, exptime: Any, out: Row) -> None:
    """out += the electrons that the dark current made; a negative dark current made none."""
    for x in range(out.size):
        out[x] += max(exptime * dark[x], _ZERO)


@jit
def add_model(far: Row, near: Row, spread: Row, sigma: Any, var: Row) -> None:
    """var += the variance of the signal, from its far model, or its near model where lines are: the two, or the means of the far one, differ.

    `sigma`: noise of a pixel without light.
    """
    lowest, deepest = FAR_LEAST * sigma, NEAR_LEAST * sigma
    for x in range(var.size):
        low = var[x] + max(far[x], lowest)
        apart, wide = near[x] - far[x], spread[x]
        line = (apart * apart > SIGNIFICANT2 * low) | (wide * wide > SPREAD2 * low)
        var[x] = var[x] + max(near[x], deepest) + NEAR_VARIANCE if line else low + FAR_VARIANCE


@jit
def invert(var: Row, bits: Row, unusable: Any, out: Row) -> None:
    """out = 1 / var; 0 where the pixel is unusable or its variance is unknown."""
    for x in range(out.size):
        good = ((bits[x] & unusable) == 0) & (var[x] > _ZERO)
        out[x] = _ONE / var[x] if good else _ZERO


@jit
def times_square(flat: Row, out: Row) -> None:
    """out *= flat^2; 0 stays 0 whatever the flat is."""
    for x in range(out.size):
        out[x] = out[x] * (flat[x] * flat[x]) if out[x] > _ZERO else _ZERO
