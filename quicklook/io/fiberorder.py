"""Orders that explain why the levels of fibres are not those of before: reversed, moved along, two groups exchanged. Pure."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import numpy as np

from quicklook.ccd.arrays import Float64, Raw

EXPLAINED = 0.3
"""Part of the scatter of the ratios that an order leaves, at most."""
_WINDOW = 12
"""Fibres on either side of which the median is taken."""
_ROUNDS, _SMALL = 8, 1e-3
"""Of least squares with weights, and the difference, relative, from which on they fall."""
_APART = 8
"""Fibres that lie further apart are of two groups."""
_AROUND = 3
"""Fibres on either side of those that changed that may have been moved too: they are like those in whose place they are."""
_LONGEST = 100
"""Fibres of a group, at most, of which every shift is tried."""


def smooth(values: Float64, near: int) -> Float64:
    """Running median of the values [n], over `near` on either side, mirrored at the ends; what is not known is put between its neighbours."""
    known = np.flatnonzero(np.isfinite(values))
    values = np.interp(np.arange(len(values)), known, values[known]) if len(known) else np.zeros(len(values))
    near = min(near, len(values) - 1)
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(np.pad(values, near, mode="reflect"), 2 * near + 1), axis=1))


def lamp(ratio: Float64) -> Float64:
    """What is smooth along the slit in the ratio of two flats [n]: a parabola of least absolute differences, and the running median of the rest.

    The parabola keeps the ends right, where a running median of a slope is off. A group of fibres that was moved is no change that is smooth.
    """
    known = np.flatnonzero(np.isfinite(ratio))
    powers = np.vander(np.linspace(-1.0, 1.0, len(ratio)), 3)
    if len(known) < _WINDOW:
        return smooth(ratio, _WINDOW)
    weight = np.ones(len(known))
    for _ in range(_ROUNDS):
        root = np.sqrt(weight)
        line = powers @ np.linalg.lstsq(powers[known] * root[:, None], ratio[known] * root, rcond=None)[0]
        weight = 1.0 / np.maximum(np.abs(ratio[known] - line[known]), _SMALL)
    return np.asarray(line + smooth(ratio - line, _WINDOW))


def order_of_all(levels: Float64, before: Float64) -> str:
    """The order of all fibres, in words, that makes their levels [n] those of before [n]; "" where none does."""
    n = len(levels)
    least = EXPLAINED * _scatter(levels, before)
    if _scatter(levels[::-1], before) < least:
        return "reversed"
    for by in itertools.chain.from_iterable((k, -k) for k in range(1, n // 2 + 1)):
        if _scatter(np.roll(levels, -by), before) < least:
            return f"moved by {abs(by)} {'up' if by > 0 else 'down'}"
    return ""


def _scatter(levels: Float64, before: Float64) -> float:
    """Robust scatter of the ratios, what is smooth along the slit taken off; infinite where the levels say nothing."""
    ratio = levels / np.where(before > 0, before, np.nan)
    middle = lamp(ratio)
    return float(np.nanmedian(np.abs(ratio / middle - 1.0))) if (middle > 0).all() else np.inf


def order_of_some(levels: Float64, before: Float64, fiber: Raw, changed: Raw, least: float) -> str:
    """As `order_of_all`, of a part of the fibres, in words with their numbers `fiber` [n].

    `changed`: rows, ascending, whose levels are not those of before; `least`: difference, relative, below which a level is as before.
    """
    expected = before * _lamp(levels, before, changed)
    for rows in (changed, *np.split(changed, np.flatnonzero(np.diff(changed) > _APART) + 1)):
        if len(rows) < max(2, 0.5 * len(changed)):
            continue
        was = _misfits(levels, expected, rows, rows)
        most = min(least, EXPLAINED * float(np.sqrt(np.mean(was**2)))) if len(was) else 0.0
        for words, to, source in _moves(int(rows[0]), int(rows[-1]), len(levels)):
            left = _misfits(levels, expected, to, source)
            if len(left) > 1 and left.max() < least and np.sqrt(np.mean(left**2)) < most and np.isin(rows, to).all():
                return words.format(*(int(fiber[k]) for k in (to[0], to[-1], to[len(to) // 2 - 1], to[len(to) // 2])))
    return ""


def _lamp(levels: Float64, before: Float64, changed: Raw) -> Float64:
    """Ratio [n] of the levels that is smooth along the slit, from the fibres that did not change."""
    kept = np.setdiff1d(np.flatnonzero((before > 0) & np.isfinite(levels)), changed)
    ratio = np.full(len(levels), np.nan)
    ratio[kept] = levels[kept] / before[kept]
    return lamp(ratio)


def _misfits(levels: Float64, expected: Float64, to: Raw, source: Raw) -> Float64:
    """Sizes of the relative differences of levels in rows `source` from what is expected in rows `to`, where both are known."""
    known = (expected[to] > 0) & np.isfinite(levels[source])
    return np.asarray(np.abs(levels[source][known] / expected[to][known] - 1.0))


def _moves(first: int, last: int, n: int) -> Iterator[tuple[str, Raw, Raw]]:
    """Words, rows, and the rows from which their levels come, of the orders that are tried on the rows `first` to `last` and a few around."""
    ends = [(a, b) for a in range(max(first - _AROUND, 0), first + 1) for b in range(last, min(last + _AROUND, n - 1) + 1)]
    for a, b in sorted(ends, key=lambda e: e[1] - e[0]):
        rows = np.arange(a, b + 1)
        yield "fibres {0} to {1} are in another order, reversed", rows, rows[::-1]
        for size in range(2, len(rows) // 2 + 1):  # two fibres far apart, one up and one down, are soon found by chance
            low, high = rows[:size], rows[-size:]
            to = np.concatenate([low, high])
            yield "fibres {0} to {2} and {3} to {1} are in each other's place", to, np.concatenate([high, low])
        for by in range(1, len(rows) if len(rows) <= _LONGEST else 0):
            yield f"fibres {{0}} to {{1}} are in another order, moved by {min(by, len(rows) - by)} among themselves", rows, np.roll(rows, by)
