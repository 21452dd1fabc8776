"""Arc lines identified from scratch: from places on the detector and a list of wavelengths to a wavelength scale, or a refusal."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt

from quicklook.ccd.linelist import LineList
from quicklook.core.errors import BadData

Array = npt.NDArray[Any]
L = TypeVar("L", bound=LineList)

_BRIGHT = 30
"""Lines, the brightest, with which all scales are tried."""
_TOLERANCE = 2.0
"""Pixel: a line meets one of the list if it is so near, in that search."""
_SHRINK = (3.0, 3.0, 2.0, 1.5, 1.0, 0.7, 0.5, 0.5)
"""The same while a scale is refined."""
_TRUE = 0.8
"""Fraction of the bright lines of an arc that are taken to be in the list."""
_ALL_FROM = 4
"""Turn of the refinement from which on all lines count, and not the brightest alone."""
_FINEST = 0.1
"""Pixel: no scale is taken to be truer than that when chance is reckoned."""
_MAX_BEND = 0.05
_HIGHER = 0.005
"""Expected size of the terms of third and higher order of a wavelength scale, of half its length."""
_OVERCOUNT = 4.0
"""log10 by which the number of tried scales is more than that of independent ones: the best scale of lines at random places then reaches 1 +- 1
(median of 300 trials of 8 to 28 lines; the least was -2.4)."""
_SUBSETS = (8, 12, 20, 10_000)
"""Numbers of brightest lines by which a scale may prove itself: faint ones may be of another element."""
_CANDIDATES = 60


@dataclass(frozen=True, slots=True)
class Scale:
    """A wavelength scale: Legendre series of the wavelength in 2 y / (ny - 1) - 1, and the pairs of lines that it rests on.

    `line`, `entry` [n]: index of a found line, and of the entry of the list that it is; `rms` pixel; `chance`: log10 of the expected number of
    scales that meet as many lines of the list by chance; `rival`: the same for the next best scale.
    """

    series: Array
    line: Array
    entry: Array
    rms: float
    chance: float
    rival: float = field(default=0.0)

    def wave(self, y: Array, ny: int) -> Array:
        """Wavelength at rows y."""
        return np.asarray(np.polynomial.legendre.legval(2.0 * np.asarray(y) / (ny - 1) - 1.0, self.series))


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What is known beforehand: Angstrom per pixel and its relative error, wavelength at the middle and its error (None: any of the list)."""

    dispersion: float
    dispersion_error: float
    centre: float | None
    centre_error: float


def identify(y: Array, flux: Array, ny: int, lines: LineList, limits: Limits, least: float = 3.0, degree: int = 5) -> Scale:
    """The wavelength scale of lines found at rows y [n] with flux [n], on a detector of ny rows.

    All scales within the limits, with a bend, are tried on the brightest lines; the best are refined on all of them, and the best of these is
    taken if it is `least` decades less probable by chance than 1 and than any other. Raises BadData where none is.
    """
    if len(y) < 4:
        raise BadData(f"{len(y)} arc lines were found, that is too few to identify them; check lamps and exposure time")
    search = _Search(y, flux, ny, lines, limits)
    refined = [s for c in search.candidates() if (s := search.refine(c, degree)) is not None]
    refined.sort(key=lambda s: (s.chance, s.rms))
    found = f"{len(y)} lines were found between rows {y.min():.0f} and {y.max():.0f}"
    if not refined or refined[0].chance > -least:
        met = f"; the best scale meets {len(refined[0].line)} of them, which chance may do" if refined else ""
        raise BadData(f"the arc cannot be identified: {found}{met}; check lamps, dispersion and centre in the description of the instrument")
    best = refined[0]
    rival = next((s for s in refined[1:] if not _same(s, best, search.pixel)), None)
    other = rival.chance if rival is not None else 0.0
    if other < best.chance + 0.7 * least:
        at = " or ".join(f"{float(np.polynomial.legendre.legval(0.0, s.series)):.0f}" for s in (best, rival) if s is not None)
        raise BadData(f"the arc can be identified in two ways: {found}, and the middle row may be at {at} Angstrom; give a better centre")
    return Scale(best.series, best.line, best.entry, best.rms, best.chance, other)


def _same(a: Scale, b: Scale, pixel: float) -> bool:
    """Whether two scales agree within some pixels over most of the detector: one of them has merely less lines."""
    t = np.linspace(-0.8, 0.8, 9)
    off = np.abs(np.polynomial.legendre.legval(t, a.series) - np.polynomial.legendre.legval(t, b.series))
    shared = set(zip(a.line.tolist(), a.entry.tolist(), strict=True)) & set(zip(b.line.tolist(), b.entry.tolist(), strict=True))
    return bool(np.median(off) < 4.0 * pixel) or 2 * len(shared) > min(len(a.line), len(b.line))


def prominent(lines: LineList, rank: int = 3, reach: float = 150.0, part: float = 0.05, least: float = 0.003) -> Array:
    """Which lines are among the `rank` strongest of their element within `reach` Angstrom.

    And above `part` of the strongest one there, and `least` of the strongest of the element.
    """
    element = np.array([n.replace("_", " ").split()[0] for n in lines.name])
    out = np.zeros(len(lines.wave), bool)
    for one in np.unique(element):
        at = np.flatnonzero(element == one)
        strength = lines.strength[at]
        near = np.abs(lines.wave[at, None] - lines.wave[None, at]) < reach
        stronger = (near & (strength[None, :] > strength[:, None])).sum(axis=1)
        top = np.where(near, strength[None, :], 0.0).max(axis=1)
        out[at] = (stronger < rank) & (strength >= part * top) & (strength >= least * strength.max())
    return out


def resolved(lines: L, width: float) -> tuple[L, Array]:
    """The list as it is seen with lines of full width at half maximum `width`, Angstrom: those of one element that are closer are one line.

    It lies at their mean, weighted by strength; that is uncertain by a fifth of their spread. A neighbour that is not so close still pulls, by a
    part of the width. Returns also the place of the strongest member of every line [nline]: where it lies if the lamp does not show the others.
    """
    element = np.array([n.replace("_", " ").split()[0] for n in lines.name])
    rows: list[tuple[float, float, float, float, str, float]] = []
    for one in np.unique(element):
        at = np.flatnonzero(element == one)
        for group in np.split(at, np.flatnonzero(np.diff(lines.wave[at]) > 0.9 * width) + 1):
            s, w = lines.strength[group], lines.wave[group]
            heavy = s >= 0.02 * s.max()
            mean = float(np.sum(s[heavy] * w[heavy]) / np.sum(s[heavy]))
            spread = float(np.sqrt(np.sum(s[heavy] * (w[heavy] - mean) ** 2) / np.sum(s[heavy])))
            sigma = math.hypot(float(lines.sigma[group].max()), 0.2 * spread)
            top = group[int(np.argmax(s))]
            rows.append((mean, sigma, float(lines.window[group].min()), float(s.sum()), lines.name[top], float(lines.wave[top])))
    rows.sort()
    wave, strength = np.array([r[0] for r in rows]), np.array([r[3] for r in rows])
    names = np.array([r[4] for r in rows])
    unsure = np.array([r[1] for r in rows])
    for i in range(len(rows)):
        near = (np.abs(wave - wave[i]) < 2.5 * width) & (names == names[i]) & (np.arange(len(rows)) != i)
        if near.any():
            unsure[i] = math.hypot(unsure[i], 0.05 * width * min(2.0, float(strength[near].max() / strength[i])))
    keep = np.concatenate([[True], np.diff(wave) > 0])
    merged = replace(
        lines, wave=wave[keep], sigma=unsure[keep], window=np.array([r[2] for r in rows])[keep], strength=strength[keep],
        name=tuple(str(n) for n in names[keep]),
    )  # fmt: skip
    return merged, np.array([r[5] for r in rows])[keep]


class _Search:
    def __init__(self, y: Array, flux: Array, ny: int, lines: LineList, limits: Limits) -> None:
        order = np.argsort(-flux)
        self.bright = order[:_BRIGHT]
        self.t, self.flux = 2.0 * y / (ny - 1) - 1.0, flux
        self.half, self.limits = 0.5 * (ny - 1), limits
        self.pixel = limits.dispersion
        self.listed, self.sigma = lines.wave, lines.sigma
        self.strong = np.flatnonzero(prominent(lines))
        self.tried = 1.0

    def candidates(self) -> list[Array]:
        """The best scales of the search, as series of three terms, those of one place apart from each other."""
        from algorithms.kernels import identify as kernel

        lim, tol = self.limits, _TOLERANCE * self.pixel
        edge = self.half * self.pixel
        step = tol / edge
        scale = edge * (1.0 + np.arange(-lim.dispersion_error, lim.dispersion_error + step, step))
        bend = np.arange(-_MAX_BEND, _MAX_BEND + step, 1.3 * step)
        low, high = self._centres()
        width = 0.5 * tol
        gain, margin = self._gain(low, high, width, tol)
        score, place = np.empty((len(scale), len(bend), 2)), np.empty((len(scale), len(bend), 2), np.int64)
        rank = np.arange(len(self.bright))
        kernel.search(self.t[self.bright], np.where(rank < 15, 1.0, 0.7), scale, bend, gain, margin, width, int(4 * tol / width), score, place)
        self.tried = float(score.size / 2 * (gain.size - 2 * margin))
        found: list[Array] = []
        for flat in np.argsort(-score, axis=None)[:6000]:
            i, j, k = np.unravel_index(flat, score.shape)
            if place[i, j, k] < 0:
                continue
            series = np.array([low + width * place[i, j, k], scale[i], scale[i] * bend[j]])
            if all(self._apart(series, other, 2.0 * tol) for other in found):
                found.append(series)
            if len(found) >= _CANDIDATES:
                break
        return found

    def _centres(self) -> tuple[float, float]:
        lim = self.limits
        if lim.centre is None:
            return float(self.listed.min()), float(self.listed.max())
        return lim.centre - lim.centre_error, lim.centre + lim.centre_error

    def _gain(self, low: float, high: float, width: float, tol: float) -> tuple[Array, int]:
        """Log of the likelihood ratio of a line at every wavelength: one of the list is within tol of it, against how often that is so by chance."""
        margin = math.ceil(1.2 * (1.0 + self.limits.dispersion_error) * self.half * self.pixel / width)
        n = round((high - low) / width) + 1
        wave = low + width * (np.arange(n + 2 * margin) - margin)
        listed = self.listed[self.strong]
        after = np.clip(np.searchsorted(listed, wave), 1, len(listed) - 1)
        hit = np.minimum(np.abs(wave - listed[after - 1]), np.abs(wave - listed[after])) < tol
        reach = max(1, round(150.0 / width))
        often = np.convolve(np.pad(hit.astype(float), reach, mode="edge"), np.ones(2 * reach + 1) / (2 * reach + 1), mode="valid")
        often = np.clip(often, 0.02, 1.0)
        return np.where(hit, np.log(_TRUE / often + 1.0 - _TRUE), math.log(1.0 - _TRUE)), margin

    def _apart(self, a: Array, b: Array, tol: float) -> bool:
        t = np.array([-0.8, -0.4, 0.0, 0.4, 0.8])
        return bool(np.abs(np.polynomial.legendre.legval(t, a) - np.polynomial.legendre.legval(t, b)).max() > tol)

    def refine(self, start: Array, degree: int) -> Scale | None:
        """A scale drawn onto the lines that it meets, the tolerance ever smaller; None where nothing is left of it."""
        series, unsure = start, np.zeros(len(self.t))
        line, entry = np.zeros(0, np.int64), np.zeros(0, np.int64)
        for turn, tolerance in enumerate(_SHRINK):
            wave = np.polynomial.legendre.legval(self.t, series)
            line, entry = self._meet(wave, np.minimum(tolerance + unsure, 6.0) * self.pixel, everything=turn >= _ALL_FROM)
            n = min(degree, max(1, (len(line) - 2) // 2), 3 if turn < _ALL_FROM else degree)
            if len(line) < n + 3:
                return None
            series, line, entry, unsure = self._fit(line, entry, n, start)
        rest = (np.polynomial.legendre.legval(self.t[line], series) - self.listed[entry]) / self.pixel
        rms = float(np.sqrt(np.sum(rest**2) / max(1, len(line) - len(series))))
        if not self._plausible(series):
            return None
        return Scale(series, line, entry, rms, self._chance(line, entry, series, max(3.0 * rms, _FINEST)))

    def _meet(self, wave: Array, tol: Array, everything: bool) -> tuple[Array, Array]:
        """Pairs of lines and entries that are each other's nearest, within tol [nline] Angstrom; all of them, or the bright and prominent ones."""
        index = np.arange(len(self.listed)) if everything else self.strong
        listed = self.listed[index]
        after = np.clip(np.searchsorted(listed, wave), 1, len(listed) - 1)
        near = np.where(np.abs(wave - listed[after - 1]) <= np.abs(wave - listed[after]), after - 1, after)
        miss = np.abs(wave - listed[near])
        ok = np.flatnonzero(miss < tol)
        if not everything:
            ok = np.intersect1d(ok, self.bright)
        best: dict[int, int] = {}
        for k in ok:
            e = int(near[k])
            if e not in best or miss[k] < miss[best[e]]:
                best[e] = int(k)
        pairs = sorted((k, int(index[e])) for e, k in best.items())
        return np.array([p[0] for p in pairs], np.int64), np.array([p[1] for p in pairs], np.int64)

    def _fit(self, line: Array, entry: Array, degree: int, start: Array) -> tuple[Array, Array, Array, Array]:
        """Robust fit (Cauchy weights); terms beyond the third are held small against the first, as a spectrograph has them.

        Gives the series, the lines and entries that follow it, and for every line how unsure its place is where the fit does not reach, pixel.
        """
        t, wave = self.t[line], self.listed[entry]
        error = np.hypot(0.1 * self.pixel, self.sigma[entry])
        basis = np.polynomial.legendre.legvander(t, degree)
        hold = np.array([0.0, 0.0, 0.0, *([1.0 / (_HIGHER * self.half * self.pixel)] * 20)])[: degree + 1] * self.pixel
        weight = np.ones(len(t))
        series, spread = start, self.pixel
        for _ in range(8):
            a = basis * (weight * self.pixel / error)[:, None]
            stacked = np.vstack([a, np.diag(hold)])
            series = np.linalg.lstsq(stacked, np.concatenate([weight * self.pixel / error * wave, np.zeros(degree + 1)]), rcond=None)[0]
            rest = np.abs(wave - basis @ series)
            spread = max(1.4826 * float(np.median(rest)), 0.03 * self.pixel)
            weight = 1.0 / np.sqrt(1.0 + (rest / (2.0 * np.hypot(spread, error))) ** 2)
        keep = rest < 6.0 * np.hypot(spread, self.sigma[entry])
        covariance = np.linalg.pinv(stacked.T @ stacked)
        every = np.polynomial.legendre.legvander(self.t, degree)
        leverage = np.sqrt(np.einsum("ij,jk,ik->i", every, covariance, every))
        return series, line[keep], entry[keep], 3.0 * np.maximum(spread / self.pixel, 0.1) * leverage

    def _plausible(self, series: Array) -> bool:
        """Within the limits, rising everywhere."""
        lim = self.limits
        slope = np.polynomial.legendre.legval(np.linspace(-1, 1, 21), np.polynomial.legendre.legder(series)) / self.half
        low, high = self._centres()
        inside = abs(series[1] / (self.half * lim.dispersion) - 1.0) < 1.2 * lim.dispersion_error + 0.01
        return bool(inside and slope.min() > 0.5 * lim.dispersion and slope.max() < 2.0 * lim.dispersion and low - 20 < series[0] < high + 20)

    def _chance(self, line: Array, entry: Array, series: Array, tolerance: float) -> float:
        """log10 of (scales tried) x (probability that as many lines, less the free terms, meet the list by chance).

        The least of several: among the brightest lines or all, against the prominent entries of the list or all.
        """
        from scipy.stats import binom

        wave = np.polynomial.legendre.legval(self.t, series)
        order = np.argsort(-self.flux)
        best = 0.0
        for listed in (self.listed[self.strong], self.listed):
            own = np.isin(self.listed[entry], listed)
            density = np.array([np.count_nonzero(np.abs(listed - w) < 100.0) / 200.0 for w in wave])
            each = 1.0 - np.exp(-2.0 * tolerance * self.pixel * density)
            for size in _SUBSETS:
                chosen = order[:size]
                hits = np.isin(line[own], chosen).sum() - len(series)
                n = len(chosen) - len(series)
                if hits >= 1 and (size == _SUBSETS[0] or len(order) > size // 2):
                    best = min(best, binom.logsf(hits - 1, n, float(np.clip(each[chosen].mean(), 1e-4, 0.99))) / math.log(10.0))
        return best + math.log10(2.0 * len(_SUBSETS) * self.tried) - _OVERCOUNT
