"""The levels of the fibres of a fibre flat, compared with the last good one of its camera: fibres in another order, or many that changed."""

from __future__ import annotations

import numpy as np

from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.spectra import FiberFlat
from quicklook.core.product import Calibration
from quicklook.io.calibentry import CalibEntry
from quicklook.io.calibothers import last_good
from quicklook.io.calibspectra import SpectraCheck
from quicklook.io.calibstore import CalibIndexStore
from quicklook.io.fiberorder import lamp, order_of_all, order_of_some, smooth

LEAST_FIBRES = 20
"""Fewer say too little."""
LEAST_SCATTER = 0.003
"""Scatter of the levels about their neighbours, relative: less is the noise of a flat, and no mark of its fibres."""
ALIKE = 0.5
"""Correlation: throughputs of fibres differ by some per cent and change by some tenths of one; flats of the same fibres have 0.95 and more."""
_NEAR = 5
"""Fibres on either side whose median is taken off: a lamp that lights the slit in another way changes what is smooth along it."""
_CLIP = 4.0
_SIGMAS, LEAST_CHANGE = 5.0, 0.02
"""A fibre has changed whose ratio is off by so many times the scatter of the ratios, and by so much, relative."""
BLOCK, MANY = 10, 0.1
"""Most of so many neighbours, or more than this part of all fibres: not dust."""
MOST_MOVED = 0.6
"""Part of the fibres that may have moved among others that have not."""
_NAMED = 8


def compare_fibres(store: CalibIndexStore, entry: CalibEntry, calibration: Calibration) -> SpectraCheck:
    """A doubt about fibres of a fibre flat; nothing of other kinds, or where there is no other flat of these fibres."""
    if not isinstance(calibration, FiberFlat):
        return SpectraCheck()
    found = last_good(store, entry, (entry.of_kind,))
    if found is None or not isinstance(found[1], FiberFlat):
        return SpectraCheck()
    why = difference(calibration, found[1])
    return SpectraCheck(doubt=f"the levels of its fibres are not those of {found[0].path}: {why}" if why else "")


def difference(flat: FiberFlat, before: FiberFlat) -> str:
    """What the levels of the fibres that two flats have in common tell: an order that explains them, or the fibres that changed; "" where they agree.

    Of few changed fibres it says something only if an order explains them: dust falls on fibres, and a flat is there to tell it.
    """
    fiber, levels, levels_before = _common(flat, before)
    alike = likeness(flat, before)
    if alike is None:
        return ""
    ratio = levels / np.where(levels_before > 0, levels_before, np.nan)
    middle = lamp(ratio)
    off = ratio / np.where(middle > 0, middle, np.nan) - 1.0
    known = np.abs(off[np.isfinite(off)])
    least = max(_SIGMAS * 1.4826 * float(np.median(known)), LEAST_CHANGE) if len(known) else np.inf
    changed = np.flatnonzero(np.abs(off) > least)
    if alike < ALIKE and (words := order_of_all(levels, levels_before)):
        return f"they are in another order, {words} (correlation {alike:.2f})"
    if 2 <= len(changed) <= MOST_MOVED * len(fiber) and (words := order_of_some(levels, levels_before, fiber, changed, least)):
        return words
    near = max((np.count_nonzero(np.abs(changed - c - BLOCK // 2) <= BLOCK // 2) for c in changed), default=0)
    if alike < ALIKE or near > BLOCK // 2 or len(changed) > MANY * len(fiber):
        return _named(fiber[changed], 1.0 + off[changed], len(fiber), alike)
    return ""


def _named(fiber: Raw, ratio: Float64, n: int, alike: float) -> str:
    """The fibres that changed most, in words."""
    if not len(fiber):
        return f"correlation {alike:.2f}, at least {ALIKE:g} is usual, for {n} fibres; many have changed, or are in another order"
    most = np.sort(np.argsort(-np.round(np.abs(ratio - 1.0), 2), kind="stable")[:_NAMED])
    those = ", ".join(f"{int(fiber[k])} ({ratio[k]:.2f})" for k in most)
    more = f", and {len(fiber) - len(most)} more" if len(fiber) > len(most) else ""
    return f"{len(fiber)} of {n} changed, fibre {those}{more} (times before; correlation {alike:.2f}); look at them before it is used"


def likeness(flat: FiberFlat, before: FiberFlat) -> float | None:
    """Correlation of the levels of the fibres that two flats have in common, what is smooth along the slit taken off; None: it says nothing."""
    _, new, old = _common(flat, before)
    known = np.isfinite(new) & np.isfinite(old)
    if known.sum() < LEAST_FIBRES:
        return None
    details = [_detail(level[known]) for level in (new, old)]
    scatters = [1.4826 * float(np.median(np.abs(d))) for d in details]
    if min(scatters) < LEAST_SCATTER:
        return None
    a, b = (np.clip(d, -_CLIP * s, _CLIP * s) for d, s in zip(details, scatters, strict=True))
    return float(np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b)))


def _levels(flat: FiberFlat) -> Float64:
    """Median of the good samples of each fibre; NaN where there is none."""
    good = (flat.ivar > 0) & (flat.mask == 0) & np.isfinite(flat.flat)
    return np.array([np.median(f[g]) if g.any() else np.nan for f, g in zip(flat.flat, good, strict=True)], np.float64)


def _common(flat: FiberFlat, before: FiberFlat) -> tuple[Raw, Float64, Float64]:
    """Numbers and levels in both of the fibres that both have."""
    fiber, one, other = np.intersect1d(flat.fiber, before.fiber, return_indices=True)
    return np.asarray(fiber), _levels(flat)[one], _levels(before)[other]


def _detail(level: Float64) -> Float64:
    """Levels over the median of those around, less 1."""
    middle = smooth(level, _NEAR)
    return np.asarray(level / np.where(middle > 0, middle, 1.0) - 1.0)
