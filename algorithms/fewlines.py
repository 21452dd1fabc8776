"""Arcs of a handful of lines: every assignment of the found lines to bright lines of the lamps is weighed, the lines that are absent with them."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.lineident import Limits, Scale
from quicklook.ccd.linelist import LineList
from quicklook.core.errors import BadData

Array = npt.NDArray[Any]

LEAST, MOST = 4, 8
"""Numbers of found lines for which this is meant: more identify themselves by their places alone, fewer have no shape."""
_ANCHORS = 4
_APART = 1.0
"""Pixel: scales that nowhere differ by more are one."""
_FROM = 5
"""The anchors are taken from so many of the brightest lines: one of these may be foreign."""
_RANK = 10
"""Lines of each lamp, the brightest within reach, that a found line may be."""
TERMS = (0.025, 0.003)
"""Sigma of the second and third term of a wavelength scale, of half its length; spectrographs have 0.02 and 0.001."""
_PLACE = 0.3
"""Pixel: how far a line may lie off a scale of four terms."""
_UNIFORM = 1.0 / math.sqrt(3.0)
"""Sigma of a uniform distribution, of its half width: what is stated of dispersion and centre are bounds."""
_ON = 0.6
_FOREIGN = 0.1
_SCATTER = 0.3
"""Decades by which the light of lines of one lamp scatters about the list."""
_FAINTEST, _LEVELS = 1.5, 8
_SURE = 0.02
"""Probability that a bright line is not found, or a faint one is."""
_KEPT = 3000


@dataclass(frozen=True, slots=True)
class _Entries:
    """The lines that may be found: `index` in the list, `wave`, `light` (log10 of the strongest of its lamp within reach), `lamp` (number)."""

    index: Array
    wave: Array
    light: Array
    lamp: Array


def identify_few(y: Array, flux: Array, ny: int, lines: LineList, limits: Limits, least: float = 3.0) -> Scale:
    """The wavelength scale of a few lines found at rows y [n] with flux [n], on a detector of ny rows.

    Taken if its odds against random places are `least` decades, and two thirds of that against any other scale (see `weighed`). Raises BadData else.
    """
    scales = weighed(y, flux, ny, lines, limits)
    if not scales or scales[0].chance > -least:
        raise BadData(f"{len(y)} arc lines were found, and no lines of these lamps lie like them")
    best, t = scales[0], np.linspace(-1.0, 1.0, 21)
    off = [np.abs(np.polynomial.legendre.legval(t, s.series - best.series)).max() / limits.dispersion for s in scales]
    rival = next((s for s, far in zip(scales, off, strict=True) if far > _APART), None)
    other = rival.chance if rival is not None else 0.0
    if other < best.chance + 0.7 * least:
        raise BadData(f"{len(y)} arc lines were found, and several assignments to lines of these lamps are alike")
    return replace(best, rival=other)


def weighed(y: Array, flux: Array, ny: int, lines: LineList, limits: Limits) -> list[Scale]:
    """Wavelength scales of LEAST to MOST lines found at rows y [n] with flux [n], the most probable one first; none for other numbers of lines.

    `chance` of a scale is log10 of the odds that the lines lie at random places, against this assignment: four lines have little to prove a scale of
    four terms, but a lamp shows its bright lines before its faint ones, so that an assignment that leaves brighter ones of the same lamp unseen is
    improbable. Prior of an assignment: each lamp is on or not; if on, it shows what is above a level, which is not known, within a factor of two.
    The scale: normal about `limits`, higher terms `TERMS`. Lines may be foreign if four others remain.
    Source: own construction, by Bayes' theorem with normal priors (marginal likelihood of a linear model).
    """
    if not LEAST <= len(y) <= MOST or limits.centre is None:
        return []
    work = _Few(y, ny, lines, limits, limits.centre)
    found: dict[tuple[tuple[int, int], ...], Scale] = {}
    bright = np.argsort(-flux)[:_FROM]
    for anchors in itertools.combinations(sorted(int(i) for i in bright), _ANCHORS):
        for pairs in work.best(np.array(anchors)):
            full = tuple(work.completed(list(pairs)))
            if full not in found:
                found[full] = work.scale(full)
    return sorted(found.values(), key=lambda s: s.chance)


class _Few:
    def __init__(self, y: Array, ny: int, lines: LineList, limits: Limits, centre: float) -> None:
        self.half = 0.5 * (ny - 1) * limits.dispersion
        self.t, self.pixel = 2.0 * y / (ny - 1) - 1.0, limits.dispersion
        self.mean = np.array([centre, self.half, 0.0, 0.0])
        sizes = [limits.centre_error * _UNIFORM, self.half * limits.dispersion_error * _UNIFORM, *(s * self.half for s in TERMS)]
        self.prior = np.diag(np.square(sizes))
        self.basis = np.polynomial.legendre.legvander(self.t, 3)
        reach = self.half * (1.0 + limits.dispersion_error + TERMS[0]) + limits.centre_error
        self.entries = _within(lines, centre - reach, centre + reach)

    def best(self, anchors: Array) -> list[tuple[tuple[int, int], ...]]:
        """The most probable assignments of some lines: pairs of line and entry."""
        e = self.entries
        n = len(e.wave)
        if n < len(anchors):
            return []
        chosen = np.fromiter(itertools.chain.from_iterable(itertools.combinations(range(n), len(anchors))), np.int64).reshape(-1, len(anchors))
        order = np.argsort(self.t[anchors])
        light = self.likelihood(anchors[order], e.wave[chosen])
        near = np.argsort(-light)[:_KEPT]
        near = near[light[near] > light[near[0]] - 25.0]
        total = light[near] + np.array([self.prior_of(anchors[order], chosen[k]) for k in near])
        first = np.argsort(-total)[:20]
        return [tuple(zip(anchors[order].tolist(), chosen[near[k]].tolist(), strict=True)) for k in first]

    def likelihood(self, line: Array, wave: Array) -> Array:
        """Log of the probability density of wavelengths [..., nline] at the places of some lines, whatever the scale."""
        b = self.basis[line]
        covariance = b @ self.prior @ b.T + (_PLACE * self.pixel) ** 2 * np.eye(len(line))
        rest = wave - b @ self.mean
        square = np.einsum("...i,ij,...j->...", rest, np.linalg.inv(covariance), rest)
        return np.asarray(-0.5 * square - 0.5 * np.linalg.slogdet(2.0 * np.pi * covariance)[1])

    def series(self, line: Array, wave: Array) -> tuple[Array, Array]:
        """The most probable scale through some lines [4], and its covariance [4, 4]."""
        b, variance = self.basis[line], (_PLACE * self.pixel) ** 2
        inverse = np.linalg.inv(self.prior) + b.T @ b / variance
        covariance = np.linalg.inv(inverse)
        return self.mean + covariance @ (b.T @ (wave - b @ self.mean)) / variance, covariance

    def prior_of(self, line: Array, entry: Array) -> float:
        """Log of the probability that the lamps show these lines and not the others that fall on the detector."""
        e, (series, _) = self.entries, self.series(line, self.entries.wave[entry])
        low, high = np.polynomial.legendre.legval(np.array([-1.0, 1.0]), series)
        inside, seen = (e.wave > low) & (e.wave < high), np.zeros(len(e.wave), bool)
        seen[entry] = True
        level = -np.linspace(0.0, _FAINTEST, _LEVELS)[:, None]
        shown = _SURE + (1.0 - 2.0 * _SURE) / (1.0 + np.exp(-(e.light - level) / (0.55 * _SCATTER)))
        each = np.where(inside | seen, np.log(np.where(seen, shown, 1.0 - shown)), 0.0)
        total = 0.0
        for lamp in range(int(e.lamp.max()) + 1):
            own = e.lamp == lamp
            on = _ON * float(np.mean(np.exp(each[:, own].sum(axis=1))))
            total += math.log(on + (0.0 if seen[own].any() else 1.0 - _ON))
        return total

    def completed(self, pairs: list[tuple[int, int]]) -> list[tuple[int, int]]:
        """With the other lines that lie where an entry should be; one that lies nowhere is foreign."""
        for k in np.setdiff1d(np.arange(len(self.t)), [p[0] for p in pairs]):
            line, entry = (np.array(v) for v in zip(*pairs, strict=True))
            series, covariance = self.series(line, self.entries.wave[entry])
            off = self.entries.wave - self.basis[k] @ series
            unsure = math.sqrt(float(self.basis[k] @ covariance @ self.basis[k]) + (_PLACE * self.pixel) ** 2)
            off[entry] = np.inf
            near = int(np.argmin(np.abs(off)))
            if abs(off[near]) < 3.0 * unsure:
                pairs = [*pairs, (int(k), near)]
        return sorted(pairs)

    def scale(self, pairs: tuple[tuple[int, int], ...]) -> Scale:
        """The scale of an assignment, and what speaks for it."""
        line, entry = (np.array(v, np.int64) for v in zip(*pairs, strict=True))
        wave = self.entries.wave[entry]
        series, _ = self.series(line, wave)
        rest = (np.polynomial.legendre.legval(self.t[line], series) - wave) / self.pixel
        foreign = len(self.t) - len(line)
        random = -math.log(2.0 * self.half)  # density of the wavelength of a line that lies anywhere
        odds = float(self.likelihood(line, wave)) + self.prior_of(line, entry) + foreign * math.log(_FOREIGN) - len(line) * random
        rising = bool(np.polynomial.legendre.legval(np.linspace(-1, 1, 21), np.polynomial.legendre.legder(series)).min() > 0)
        chance = -odds / math.log(10.0) if rising else 0.0
        return Scale(series, line, self.entries.index[entry], float(np.sqrt(np.mean(rest**2))), chance)


def _within(lines: LineList, low: float, high: float) -> _Entries:
    """The brightest lines of each lamp between two wavelengths."""
    element = np.array([n.replace("_", " ").split()[0] for n in lines.name])
    index: list[int] = []
    light: list[float] = []
    lamp: list[int] = []
    for number, one in enumerate(np.unique(element)):
        at = np.flatnonzero((element == one) & (lines.wave > low) & (lines.wave < high))
        at = at[np.argsort(-lines.strength[at])][:_RANK]
        index += at.tolist()
        light += np.log10(lines.strength[at] / lines.strength[at[:1]].sum()).tolist() if len(at) else []
        lamp += [number] * len(at)
    order = np.argsort(lines.wave[index]) if index else np.zeros(0, np.int64)
    where = np.array(index, np.int64)[order]
    return _Entries(where, lines.wave[where], np.array(light)[order], np.array(lamp, np.int64)[order])
