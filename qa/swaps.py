"""Which fibres have each other's light: their light against the catalogue in the stated order, and exchanged."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from quicklook.ccd.arrays import Float64, Raw

_FEWEST, _STANDS_OUT, _FAINTEST = 8, 5.0, 1e-9
_SKY_LEVEL, _LEAST_SCATTER = 0.02, 0.05
_TAIL, _TAIL_SIGMA = 0.9, 1.645
"""Nine of ten values of a Gaussian lie within 1.645 sigma: targets whose light is far from the catalogue widen what is taken for usual."""
_PAIR = 2
"""So many targets, the farthest, do not count for the scatter: of few, those of one pair would hide it."""
_ODD, _ODD_SCATTER, _ODD_FACTOR = 0.1, 0.25, 3.0
"""Part of the targets whose light is far from the catalogue (colour, emission lines, a fibre beside its target), and their relative scatter: so much,
or so many times that of the others."""
_CAP = 6.0
"""Beyond so many errors a departure tells no more: one fibre alone must not make a pair."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """Of each fibre [nfibre]: `light` beyond the sky, what the catalogue lets `expect` (0 in a sky fibre), both electron/Angstrom, `error` of the
    light whatever the target, and `known`, whether all three are. `scatter`: relative, of targets about the catalogue."""

    light: Float64
    expect: Float64
    error: Float64
    known: Raw
    scatter: float

    def deviance(self, light: Float64, rows: Raw, targets: Raw) -> Float64:
        """How little some light in the fibres `rows` looks like what other fibres' `targets` let expect: z^2 of a Gaussian, less far out.

        -2 ln of (0.9 exp(-z^2/2) + 0.1 (s/w) exp(-v^2/2) + exp(-18)), over the same of no difference; z and v the difference in errors s and w: with
        the usual scatter of targets and with that of odd ones. `light`, `rows`, `targets` are of one shape, or are broadcast to one.
        """
        off, wide = light - self.expect[targets], max(_ODD_SCATTER, _ODD_FACTOR * self.scatter)
        usual, odd = (np.hypot(self.error[rows], part * self.expect[targets]) for part in (self.scatter, wide))
        narrow, rare, floor = 1.0 - _ODD, _ODD * usual / odd, math.exp(-0.5 * _CAP**2)
        likely = narrow * np.exp(-0.5 * (off / usual) ** 2) + rare * np.exp(-0.5 * (off / odd) ** 2)
        return np.asarray(-2.0 * np.log((likely + floor) / (narrow + rare + floor)))

    def own(self) -> Float64:
        """How far each fibre is from what is expected of it, [nfibre], with its sign, as Gaussian errors; 0 where nothing is known."""
        every = np.arange(len(self.light))
        size = np.sqrt(self.deviance(self.light, every, every))
        return np.where(self.known, np.sign(self.light - self.expect) * size, 0.0)


def expected(light: Float64, sky: Float64, noise: Float64, catalogue: Float64, empty: Raw) -> Expected | None:
    """What catalogue and sky let expect: [nfibre], from mean flux, mean sky, error of the flux, `catalogue` (NaN: not known), and which see but sky.

    Formula: c = median of (light - sky) / catalogue over the targets that the catalogue makes stand out by five errors; expect = c catalogue;
    error^2 = noise^2 + (l sky)^2, l = robust scatter of the empty fibres about the sky, at least 0.02; scatter = the larger of 1.4826 MAD and
    q90 / 1.645 of |ratio / c - 1| over those targets but the farthest two, less their noise in quadrature, at least 0.05. A fibre with less than the
    sky by five errors has lost light, and is left out. None where fewer than eight targets tell.
    """
    beyond = light - sky
    usable = np.isfinite(beyond) & np.isfinite(noise) & (sky > 0)
    alone = usable & empty
    level = 1.4826 * float(np.median(np.abs(beyond[alone] / sky[alone]))) if alone.sum() >= _FEWEST else 0.0
    error = np.hypot(noise, max(level, _SKY_LEVEL) * sky)
    whole = usable & (beyond > -_STANDS_OUT * error)
    alone, target = whole & empty, whole & ~empty & (catalogue > _FAINTEST) & (catalogue < 1 / _FAINTEST)
    if target.sum() < _FEWEST:
        return None
    ratio = np.divide(beyond, catalogue, out=np.full(light.shape, np.nan), where=target)
    bright = target & (catalogue >= np.median(catalogue[target]))
    tells = target & (catalogue * float(np.median(ratio[bright])) > _STANDS_OUT * error)
    scale = float(np.median(ratio[tells])) if tells.sum() >= _FEWEST else 0.0
    if not scale > 0:
        return None
    away = np.sort(np.abs(ratio[tells] / scale - 1.0))[:-_PAIR]
    seen = max(1.4826 * float(np.median(away)), float(np.quantile(away, _TAIL)) / _TAIL_SIGMA)
    by_noise = float(np.median(error[tells] / (scale * catalogue[tells])))
    scatter = max(math.sqrt(max(seen**2 - by_noise**2, 0.0)), _LEAST_SCATTER)
    known = target | alone
    expect = np.where(target, scale * catalogue, np.where(alone, 0.0, np.nan))
    return Expected(light=beyond, expect=expect, error=error, known=known, scatter=scatter)


def departing(of: Expected, least: float) -> Raw:
    """Rows of the known fibres that depart from what is expected of them by more than `least` errors."""
    return np.flatnonzero(np.abs(of.own()) > least)


def exchanged(of: Expected, off: Raw, agree: float, evidence: float) -> list[tuple[int, int]]:
    """Pairs of the departing rows `off` whose light is each other's, the clearest first, each fibre in one pair.

    Formula: the deviance of both by the other's target is less than `agree`^2, and the ln of the ratio of the likelihoods, exchanged over stated,
    half of the difference of the deviances, summed over both, exceeds `evidence`.
    """
    own = of.deviance(of.light[off], off, off)
    crossed = of.deviance(of.light[off][:, None], off[:, None], off[None, :])
    fits = np.maximum(crossed, crossed.T) < agree**2
    gain = np.triu(np.where(fits, 0.5 * (own[:, None] + own - crossed - crossed.T), -np.inf), 1)
    found = list[tuple[int, int]]()
    for a, b in zip(*np.unravel_index(np.argsort(-gain, axis=None, kind="stable"), gain.shape), strict=True):
        if not (a < b and gain[a, b] > evidence):
            break
        if not {int(off[a]), int(off[b])} & {row for pair in found for row in pair}:
            found.append((int(off[a]), int(off[b])))
    return found


def told(of: Expected, least: float, evidence: float, most: int) -> float:
    """Part of the pairs of known fibres, of an even sample of `most` of them, whose exchange would be seen, if either had just the light of the
    other's target, but for one error in favour of the stated order. NaN of less than two."""
    rows = np.flatnonzero(of.known)
    rows = rows[np.unique(np.linspace(0, rows.size - 1, min(rows.size, most)).astype(np.intp))] if rows.size else rows
    if rows.size < 2:
        return math.nan
    own, other = rows[:, None], rows[None, :]
    step = of.expect[other] - of.expect[own]
    light = of.expect[own] + np.sign(step) * np.maximum(np.abs(step) - np.hypot(of.error[own], of.scatter * of.expect[other]), 0.0)
    stated, crossed = of.deviance(light, own, own), of.deviance(light, own, other)
    gain = stated - crossed
    clear = (np.minimum(stated, stated.T) > least**2) & (0.5 * (gain + gain.T) > evidence)
    return float(clear[np.triu_indices(rows.size, 1)].mean())
