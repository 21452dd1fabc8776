"""What light a pixel is expected to hold, from the other rows of its column: the models of the preprocessing for single pixels.

The same models as in the fused pass (`algorithms.kernels.preproc`), for the few pixels where cosmic rays are looked for and repaired: five means
of four rows, the far model (their median) and the near model (a cubic through the rows beside). Rows are mirrored at the ends of the image.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.kernels.rows import SIGNIFICANT2, SPREAD2
from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_F = np.float32
_ZERO, _QUARTER = _F(0), _F(0.25)
_W1, _W2 = _F(2 / 3), _F(-1 / 6)


@jit
def _mirrored(v: int, n: int) -> int:
    v = abs(v)
    return max(2 * (n - 1) - v if v >= n else v, 0)


@jit
def group_mean(image: Array, y: int, x: int, group: int) -> Any:
    """Mean of four rows of a column: group 0 ... 4 are the rows -10..-7, -6..-3, (-2 -1 +1 +2), +3..+6, +7..+10 from row y."""
    n = image.shape[0]
    a = y - 10 + 4 * group + (group > 2)
    b, c, d = (y - 1, y + 1, y + 2) if group == 2 else (a + 1, a + 2, a + 3)
    if a < 0 or d >= n:
        a, b, c, d = _mirrored(a, n), _mirrored(b, n), _mirrored(c, n), _mirrored(d, n)
    return _QUARTER * ((image[a, x] + image[b, x]) + (image[c, x] + image[d, x]))


@jit
def near_model(image: Array, y: int, x: int, slack: Any) -> Any:
    """The cubic through rows -2, -1, 1, 2, and at least the geometric mean of rows -1 and 1 less `slack`."""
    n = image.shape[0]
    a, b, c, d = image[_mirrored(y - 2, n), x], image[_mirrored(y - 1, n), x], image[_mirrored(y + 1, n), x], image[_mirrored(y + 2, n), x]
    return max(_W1 * (b + c) + _W2 * (a + d), np.sqrt(max(b, _ZERO) * max(c, _ZERO)) - slack)


@jit
def median_and_spread(image: Array, y: int, x: int) -> tuple[Any, Any]:
    """The far model of a pixel, the median of the means of the five groups, and their spread: the second highest less the lowest."""
    a, b, c, d = group_mean(image, y, x, 0), group_mean(image, y, x, 1), group_mean(image, y, x, 3), group_mean(image, y, x, 4)
    e = group_mean(image, y, x, 2)
    f, g = max(min(a, b), min(c, d)), min(max(a, b), max(c, d))
    second = max(f, g)
    return max(min(f, g), min(second, e)), max(second, min(max(a, b, c, d), e)) - min(a, b, c, d, e)


@jit
def expected(image: Array, y: int, x: int, var: Any) -> tuple[Any, int]:
    """What a pixel of variance `var` is expected to hold at least, and the group of rows that it is the mean of.

    The median of the five groups; the lowest where they differ among themselves, or the near model from the median, by more than noise.
    """
    a, b, c, d = group_mean(image, y, x, 0), group_mean(image, y, x, 1), group_mean(image, y, x, 3), group_mean(image, y, x, 4)
    e = group_mean(image, y, x, 2)
    f, g = max(min(a, b), min(c, d)), min(max(a, b), max(c, d))
    value, lowest = max(min(f, g), min(max(f, g), e)), min(a, b, c, d, e)
    apart, spread = near_model(image, y, x, _ZERO) - value, max(a, b, c, d, e) - lowest
    if apart * apart > SIGNIFICANT2 * var or spread * spread > SPREAD2 * var:
        value = lowest
    if value == e:
        return value, 2
    if value == b:
        return value, 1
    if value == c:
        return value, 3
    return value, 0 if value == a else 4
