"""Which fibre is which: peaks across the dispersion are given the numbers of fibres by their distances, so that dark fibres keep theirs."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.errors import BadData

Array = npt.NDArray[Any]

_FIT = 0.3
"""A distance may differ so much from a whole number of pitches, in pitches."""
_TRUE = 0.04
"""So well a distance is expected to fit, pitches."""
_SURE = 30.0
"""A way to number the fibres is certain if every other one fits so much worse (squares of `_TRUE`)."""


@dataclass(frozen=True, slots=True)
class Numbers:
    """`index` [npeak]: number of every peak; `count`: number of fibres; `pitch`: pixel between neighbours, `gap`: so much more between bundles."""

    index: Array
    count: int
    pitch: float
    gap: float


def median_pitch(x: Array) -> Array:
    """Distance of neighbouring fibres around every interval of peaks x [n], [n - 1]: the median of those near that are single steps."""
    d = np.diff(x)
    single = float(np.median(d[d <= 1.4 * np.percentile(d, 25)]))
    steps = np.where(np.abs(d - single) < _FIT * single, d, np.nan)
    half = 12
    out = np.full(len(d), single)
    for i in range(len(d)):
        near = steps[max(0, i - half) : i + half + 1]
        if np.isfinite(near).sum() >= 5:
            out[i] = np.nanmedian(near)
    return out


def number_fibres(x: Array, count: int, bundle: int, dark: frozenset[int] = frozenset()) -> Numbers:
    """Numbers 0 ... count - 1 for peaks at x [npeak], pixels, rising.

    `count` 0: as many as there are peaks. With bundles the distances between bundles, which are all alike, tell where a bundle begins. `dark` are
    indices known to give no light; they decide where the distances leave it open which end lacks a fibre. Raises BadData where the peaks do not
    fit the instrument, or in several ways.
    """
    if len(x) < 2 or count == 1:
        if count > 1 or len(x) == 0:
            raise BadData(f"{len(x)} traces are lit, {count or 'some'} are expected; check lamp and shutter")
        return Numbers(index=np.arange(1), count=1, pitch=math.nan, gap=0.0)
    pitch = median_pitch(x)
    typical = float(np.median(pitch))
    if not count:
        return Numbers(index=np.arange(len(x)), count=len(x), pitch=typical, gap=0.0)
    if len(x) > count:
        raise BadData(f"{len(x)} traces are lit, the instrument has {count} fibres; check cameras.spectra.fibres, or light that is no fibre's")
    gaps = _gaps(np.diff(x) / pitch) if bundle else [0.0]
    ways = [w for gap in gaps for start in range(count - len(x) + 1) if (w := _follow(np.diff(x) / pitch, start, gap, count, bundle))]
    if not ways:
        bundles = f" in bundles of {bundle}" if bundle else ""
        raise BadData(f"the distances of the {len(x)} lit traces do not fit {count} fibres{bundles}; is this a flat?")
    unknown = [len(dark.symmetric_difference(set(range(count)) - set(w[1])) & dark) for w in ways] if dark else [0] * len(ways)
    order = sorted(range(len(ways)), key=lambda i: (unknown[i], ways[i][0]))
    best = ways[order[0]]
    for i in order[1:]:
        other = ways[i]
        if other[1] != best[1] and unknown[i] == unknown[order[0]] and other[0] < best[0] + _SURE:
            raise BadData(_ambiguous(len(x), count, best[1], other[1]))
    return Numbers(index=np.array(best[1]), count=count, pitch=typical, gap=best[2] * typical)


def _ambiguous(found: int, count: int, one: list[int], other: list[int]) -> str:
    absent = [sorted(set(range(count)) - set(w)) for w in (one, other)]
    which = " or ".join(", ".join(map(str, a[:6])) for a in absent)
    return f"{found} of {count} fibres are lit, and it is open which are dark ({which}, from 0); name the dark ones in a calibration of kind fibers"


def _gaps(d: Array) -> list[float]:
    """What the distance between bundles may be beyond a pitch, in pitches: of every distance that stands out, less one step, two, three."""
    wide = d[d > 1.0 + _FIT]
    found = {round(float(w) - s, 1): float(w) - s for w in wide for s in (1, 2, 3) if -_FIT < w - s < 12}
    means = []
    for value in found.values():
        near = np.concatenate([wide - s for s in (1, 2, 3)])
        near = near[np.abs(near - value) < 0.15]
        means.append(float(np.median(near)))
    return sorted({0.0, *(round(m, 3) for m in means)})


def _follow(d: Array, start: int, gap: float, count: int, bundle: int) -> tuple[float, list[int], float] | None:
    """Misfit (sum of squares, in units of `_TRUE`), indices and gap, when the first peak is fibre `start`; None where a distance fits no steps."""
    at, index, cost = start, [start], 0.0
    for distance in d:
        best, miss = 0, math.inf
        for step in range(1, int(distance) + 2):
            crossed = (at + step) // bundle - at // bundle if bundle else 0
            off = abs(distance - step - crossed * gap)
            if off < miss:
                best, miss = step, off
        at += best
        if miss > _FIT or at >= count:
            return None
        index.append(at)
        cost += miss * miss
    return cost / _TRUE**2, index, gap
