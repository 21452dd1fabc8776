"""What light a pixel is expected to hold, from the other rows of its column: the models of the preprocessing for single pixels.

The same models as in the fused pass (`algorithms.kernels.preproc`), for the few pixels where cosmic rays are looked for and repaired: five means
of four rows, the far model (their median) and the near model (a cubic through the rows beside). Rows are mirrored at the ends of the image.

`profile_excess` looks across the dispersion instead: over some rows the light of a fibre is a spectrum times a profile, so that the light of a
line is told by the pixels beside in its row and by how all of these columns share the light of the rows above and below.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.kernels.rows import SIGNIFICANT2, SPREAD2
from quicklook.core.compiled import jit

Array = npt.NDArray[Any]
_F = np.float32
_ZERO, _QUARTER, _HALF = _F(0), _F(0.25), _F(0.5)
_W1, _W2 = _F(2 / 3), _F(-1 / 6)
_PROFILE_ERROR = _F(0.01)
"""Error of the profile of a fibre, taken from 16 rows, beyond the noise of the pixels: a fraction."""
_DARK = _F(0.1)
"""Where the pixels beside hold less than this part of a pixel, on either side, no profile explains it."""
_PROFILE_LEAST = _F(30)
"""Electrons; less light than this is not told better by the profile than by the rows."""
UNTOLD = _F(1e30)
"""Excess of a pixel of which the profile tells nothing."""


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


@jit
def _beside(image: Array, ivar: Array, mask: Array, y: int, x: int, step: int, bit: Any) -> tuple[Any, Any, Any, Any]:
    """Two pixels beside (y, x), on one side, less those of bit `bit`: their light, its variance, the light of their columns below and above."""
    light, var, below, above = _ZERO, _ZERO, _ZERO, _ZERO
    for u in (x + step, x + 2 * step):
        if 0 <= u < image.shape[1] and ivar[y, u] > 0 and not mask[y, u] & bit:
            light += image[y, u]
            var += _F(1) / ivar[y, u]
            below += group_mean(image, y, u, 0) + group_mean(image, y, u, 1)
            above += group_mean(image, y, u, 3) + group_mean(image, y, u, 4)
    return max(light, _ZERO), var, max(below, _ZERO), max(above, _ZERO)


@jit
def profile_excess(image: Array, ivar: Array, mask: Array, y: int, x: int, bit: Any, strict: bool) -> Any:
    """How far pixel (y, x) stands above the light that the pixels beside it in its row and the profile of the fibre tell, in sigma.

    The light is that of two pixels beside, of the side towards the middle of the fibre (the one with half the light of the other, or more; of
    two such sides the fainter one), times the ratio of the columns in the rows -10 ... -3 and 3 ... 10. Pixels with `bit` in the mask
    (a track) are left out. If `strict`, the largest of the ratios from the rows below, above, and both: a cosmic ray there makes the
    light too large, never too small; and 0 where there is little light, or in the pixel itself. Else `UNTOLD` where there is nothing to compare with.
    """
    if strict and image[y, x] <= _PROFILE_LEAST:
        return _ZERO
    left, left_var, left_below, left_above = _beside(image, ivar, mask, y, x, -1, bit)
    light, var, below, above = _beside(image, ivar, mask, y, x, 1, bit)
    brightest, left_all, right_all = max(left, light), left_below + left_above, below + above
    if right_all < _HALF * left_all or (left_all >= _HALF * right_all and left * right_all < light * left_all):
        light, var, below, above = left, left_var, left_below, left_above
    both, value = below + above, image[y, x]
    if not both > _ZERO or brightest < _DARK * value:
        return _ZERO if strict else UNTOLD
    own_below = max(group_mean(image, y, x, 0) + group_mean(image, y, x, 1), _ZERO)
    own_above = max(group_mean(image, y, x, 3) + group_mean(image, y, x, 4), _ZERO)
    ratio = (own_below + own_above) / both
    told = ratio * light
    if strict:
        told = max(told, own_below / below * light if below > _ZERO else _ZERO, own_above / above * light if above > _ZERO else _ZERO)
        if told < _PROFILE_LEAST:
            return _ZERO
    # the ivar of a pixel beside a line may hold too little light, so that the light told counts too
    return (value - told) / np.sqrt(_F(1) / ivar[y, x] + told + ratio * ratio * var + (_PROFILE_ERROR * told) ** 2)
