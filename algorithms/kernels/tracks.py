"""Cosmic rays, second part: seeds are confirmed on the image, followed from pixel to pixel, and grown by their neighbours.

What a cosmic ray is, and the limits, stand in `algorithms.kernels.cosmics`. The expectation of a pixel is the median of means of four rows, as in
the far model of the preprocessing; where there are lines in its column, the lowest of them, for what is above too high an expectation may
well be sharper than the optics. The columns beside are expected to hold the mean of the same rows, so that all light above expectation has the
profile of light.

A neighbour beyond the first or last column, or, for a pixel that touches a track, one that is unusable or beyond the image, is replaced by the one
opposite; else nothing is compared with rows beyond the image: a line that is cut off there is no wider than a cosmic ray. A track goes on behind a
single unusable pixel, as at a bad column. One of a single pixel must also stand above the noise of the light that its neighbours along the row
speak of: beside lines, noise is mistaken for that most often.

On a bright line these comparisons say little: the lowest expectation leaves the line in, and a cosmic ray beside its peak is no sharper than the
line. There the profile of the fibre tells the light (`algorithms.kernels.pixelmodels.profile_excess`): what stands above it is a cosmic ray, too, and
a track of which no pixel does is none.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.kernels.cosmics import Limits
from algorithms.kernels.pixelmodels import expected, group_mean, profile_excess
from algorithms.kernels.trackrepair import Noise, repair
from quicklook.core.compiled import jit

Float32 = npt.NDArray[np.float32]
UInt16 = npt.NDArray[np.uint16]
Array = npt.NDArray[Any]
_F = np.float32
_U = np.uint16
_HALF, _ZERO = _F(0.5), _F(0)
_UNKNOWN, _HUGE = _F(np.inf), _F(1e30)
_LONG = 30
"""Noise makes no track of so many pixels."""
_VISITED, _CORE = _U(1 << 15), _U(1 << 14)
"""Bits that no mask uses; set while tracks are followed and cleared afterwards."""


@jit
def _pair(image: Array, ivar: Array, y: int, x: int, dy: int, dx: int, left: Any, right: Any, one_sided: bool) -> Any:
    """Mean of two opposite neighbours above their expectations; infinite where one is unusable.

    In the first and the last column of the image, and anywhere if `one_sided`, the other one stands for both; not so where one would lie in a row
    beyond the image: there the flank of a line that is cut off would be as sharp as a cosmic ray.
    """
    ny, nx = image.shape
    ya, xa, yb, xb = y - dy, x - dx, y + dy, x + dx
    inside = 0 <= ya < ny and 0 <= yb < ny
    in_a, in_b = 0 <= ya < ny and 0 <= xa < nx, 0 <= yb < ny and 0 <= xb < nx
    has_a, has_b = in_a and ivar[ya, xa] > 0, in_b and ivar[yb, xb] > 0
    if has_a and has_b:
        return _HALF * ((image[ya, xa] - left) + (image[yb, xb] - right))
    if one_sided or (inside and not (in_a and in_b)):
        if has_a:
            return image[ya, xa] - left
        if has_b:
            return image[yb, xb] - right
    return _UNKNOWN


@jit
def _sharper(above: Any, pair: Any, r: Any, w: Any, var: Any, sharp: Any) -> Any:
    """Whether `above` is too much beside `pair`. If it were light, pair / r electrons of it would add their own noise to `var`."""
    if not pair < _HUGE:
        return False
    excess = w * (r * above - pair)
    return excess > _ZERO and excess * excess > sharp * sharp * (var + max(pair, _ZERO) / r)


@jit
def _is_cosmic(image: Array, ivar: Array, y: int, x: int, level: Any, sharp: Any, lim: Any, one_sided: bool, alone: bool) -> Any:
    """Whether a pixel stands `level` sigma above its expectation and `sharp` sigma above what light makes of its neighbours.

    If `alone`, the light that the neighbours along the row speak of adds its noise to the comparisons along the other directions.
    """
    value, weight, last = image[y, x], ivar[y, x], image.shape[1] - 1
    if value <= _ZERO or value * value * weight < level * level:
        return False
    var = _F(1) / weight
    low = level * np.sqrt(var) + (level * level - _F(1)) / _F(6)
    if not value > low:
        return False
    if 0 < x < last and _sharper(value, _pair(image, ivar, y, x, 0, 1, _ZERO, _ZERO, False), lim.rx, lim.wx, var, sharp):
        return True
    here, group = expected(image, y, x, var)
    above = value - here
    if not above > low:
        return False
    left, right = group_mean(image, y, max(x - 1, 0), group), group_mean(image, y, min(x + 1, last), group)
    beside = _pair(image, ivar, y, x, 0, 1, left, right, one_sided)
    if _sharper(above, beside, lim.rx, lim.wx, var, sharp):
        return True
    if alone and beside < _HUGE:
        var += max(beside, _ZERO) / lim.rx
    return (
        _sharper(above, _pair(image, ivar, y, x, 1, 0, here, here, one_sided), lim.ry, lim.wy, var, sharp)
        or _sharper(above, _pair(image, ivar, y, x, 1, 1, left, right, one_sided), lim.rd, lim.wd, var, sharp)
        or _sharper(above, _pair(image, ivar, y, x, -1, 1, left, right, one_sided), lim.rd, lim.wd, var, sharp)
    )


@jit
def _with_room(items: Array, count: int, more: int) -> Array:
    """`items`, or a longer copy of it, so that `more` fit behind the first `count`."""
    if count + more <= items.size:
        return items
    longer = np.empty(2 * items.size + more, items.dtype)
    longer[:count] = items[:count]
    return longer


@jit
def _spread(image: Array, ivar: Array, mask: Array, y: int, x: int, reach: int, lim: Any, found: Array, count: int, tried: Array, tries: int) -> Any:
    """Append to `found` what belongs to the track of pixel (y, x) among the pixels within `reach`, and the others to `tried`; their new lengths."""
    ny, nx = image.shape
    for v in range(max(y - reach, 0), min(y + reach + 1, ny)):
        for u in range(max(x - reach, 0), min(x + reach + 1, nx)):
            if mask[v, u] & (_CORE | _VISITED) or ivar[v, u] <= 0 or (reach > 1 and not _touches(ivar, y, x, v, u)):
                continue
            if (
                _is_cosmic(image, ivar, v, u, lim.grow, lim.grow_sharp, lim, True, False)
                or profile_excess(image, ivar, mask, v, u, _CORE, True) > lim.profile_grow
            ):
                mask[v, u] |= _CORE
                found[count] = v * nx + u
                count += 1
            else:
                mask[v, u] |= _VISITED
                tried[tries] = v * nx + u
                tries += 1
    return count, tries


@jit
def _touches(ivar: Array, y: int, x: int, v: int, u: int) -> Any:
    """Whether pixel (v, u), at most two rows and columns from (y, x), touches it, or the one between them is unusable."""
    if -1 <= v - y <= 1 and -1 <= u - x <= 1:
        return True
    return ivar[y + min(max(v - y, -1), 1), x + min(max(u - x, -1), 1)] <= 0


@jit
def _usable_around(ivar: Array, y: int, x: int) -> Any:
    """Whether all pixels that touch (y, x) are usable."""
    lowest = ivar[y, x]
    for v in range(max(y - 1, 0), min(y + 2, ivar.shape[0])):
        for u in range(max(x - 1, 0), min(x + 2, ivar.shape[1])):
            lowest = min(lowest, ivar[v, u])
    return lowest > 0


@jit
def _follow_one(image: Array, ivar: Array, mask: Array, lim: Any, found: Array, first: int, tried: Array) -> tuple[Array, int, Array]:
    """The track of the pixel found[first]: its pixels from `first` on and their end; sets _CORE. `tried` is work space."""
    nx = image.shape[1]
    count, tries, next_one = first + 1, 0, first
    while next_one < count:
        y, x = found[next_one] // nx, found[next_one] % nx
        next_one += 1
        found, tried = _with_room(found, count, 25), _with_room(tried, tries, 25)
        count, tries = _spread(image, ivar, mask, y, x, 1 if _usable_around(ivar, y, x) else 2, lim, found, count, tried, tries)
    for i in tried[:tries]:
        mask[i // nx, i % nx] &= ~_VISITED
    return found, count, tried


@jit
def _grow(mask: Array, y: int, x: int, bit: Any, grown: Array, count: int) -> int:
    """Set `bit` in a pixel and those that touch it, and append the indices of those that had it not to `grown`; their number."""
    ny, nx = mask.shape
    for v in range(max(y - 1, 0), min(y + 2, ny)):
        for u in range(max(x - 1, 0), min(x + 2, nx)):
            if not mask[v, u] & bit:
                mask[v, u] |= bit
                grown[count] = v * nx + u
                count += 1
    return count


@jit
def _is_seed(image: Array, ivar: Array, mask: Array, y: int, x: int, lim: Any) -> Any:
    """Whether a pixel that the search by rows found is one of a cosmic ray."""
    if _is_cosmic(image, ivar, y, x, lim.level, lim.sharp, lim, False, False):
        return True
    return profile_excess(image, ivar, mask, y, x, _CORE, True) > lim.profile_seed


@jit
def _is_track(image: Array, ivar: Array, mask: Array, pixels: Array, lim: Any) -> Any:
    """Whether one of these pixels, which have the bit _CORE, at least stands above the profile of its fibre; a single one: above noise, too."""
    nx = image.shape[1]
    if pixels.size >= _LONG:
        return True
    if pixels.size == 1 and not _is_single(image, ivar, mask, pixels[0] // nx, pixels[0] % nx, lim):
        return False
    stands = False
    for i in pixels:
        if profile_excess(image, ivar, mask, i // nx, i % nx, _CORE, False) >= lim.profile_track:
            stands = True
            break
    return stands


@jit
def _is_single(image: Array, ivar: Array, mask: Array, y: int, x: int, lim: Any) -> Any:
    """Whether a pixel is a cosmic ray of one pixel."""
    if _is_cosmic(image, ivar, y, x, lim.level, lim.sharp, lim, False, True):
        return True
    return profile_excess(image, ivar, mask, y, x, _CORE, True) > lim.profile_seed


@jit
def follow(image: Array, ivar: Array, mask: Array, seeds: Array, lim: Any, bit: Any) -> Array:
    """Confirm the seeds, follow the tracks and grow them by all pixels that touch them, usable or not.

    Sets `bit` in `mask` [ny, nx] and returns the indices of the pixels. Image and ivar stay as they are.
    """
    nx = image.shape[1]
    core, count, grown, total = np.empty(2 * seeds.size + 64, np.int64), 0, np.empty(6 * seeds.size + 64, np.int64), 0
    tried = np.empty(256, np.int64)
    for seed in seeds:
        y, x = seed // nx, seed % nx
        if ivar[y, x] <= 0 or mask[y, x] & _CORE or not _is_seed(image, ivar, mask, y, x, lim):
            continue
        first, core = count, _with_room(core, count, 1)
        core[first] = seed
        mask[y, x] |= _CORE
        core, count, tried = _follow_one(image, ivar, mask, lim, core, first, tried)
        if not _is_track(image, ivar, mask, core[first:count], lim):
            for i in core[first:count]:
                mask[i // nx, i % nx] &= ~_CORE
            count = first
        grown = _with_room(grown, total, 9 * (count - first))
        for i in core[first:count]:
            total = _grow(mask, i // nx, i % nx, bit, grown, total)
    for i in core[:count]:
        mask[i // nx, i % nx] &= ~_CORE
    return grown[:total]


@jit
def borders(image: Array, ivar: Array, boxes: Array, level: Any) -> Array:
    """Indices of the bright pixels in the first and last columns of the amplifiers, of which the search by rows sees one side alone."""
    nx = image.shape[1]
    found, count = np.empty(256, np.int64), 0
    for k in range(boxes.shape[0]):
        y0, y1, x0, x1 = boxes[k]
        for y in range(y0, y1):
            found = _with_room(found, count, 2)
            for x in (x0, x1 - 1):
                if image[y, x] > _ZERO and image[y, x] * image[y, x] * ivar[y, x] > level * level:
                    found[count] = y * nx + x
                    count += 1
    return found[:count]


def clean(image: Float32, ivar: Float32, mask: UInt16, seeds: Array, lim: Limits, bit: int, noise: Noise) -> int:
    """Take the cosmic rays that `seeds` belong to out of an image, in place; returns the number of pixels with the bit `bit` set.

    image (electron, flat-fielded), ivar, mask [ny, nx]. Their pixels and all that touch them have `bit` in the mask, ivar 0, and a value
    interpolated along the column, for display. Measured on simulated DESI cameras (science; r, b, z): 99.9, 100.0, 99.8 % of pixels above 20
    electron found, 0.8, 0.5, 1.3 % of the flagged pixels more than two pixels from any cosmic ray; on the brightest sky lines of z 99.6, 2.3 %;
    under a flat lamp 95 %.
    """
    bit16 = _U(bit)
    pixels = follow(image, ivar, mask, np.concatenate((seeds, borders(image, ivar, noise.boxes, lim.level))), lim, bit16)
    repair(image, ivar, mask, pixels, bit16, noise)
    return int(pixels.size)
