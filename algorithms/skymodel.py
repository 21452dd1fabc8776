"""The steps from the spectra of sky fibres to the model of the sky: which fibres, which knots, which weights, how good."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from algorithms.kernels import sky, skyfit
from algorithms.kernels.resample import new_room
from algorithms.skylevels import BLOCK, Settings, choose, variation

Array = npt.NDArray[Any]
_STRETCH = 64
_CLIPS = 6
_STIFFNESS = 1e-7
_UNKNOWN = 4.0
_DITHERED = 8
"""With fewer sky fibres their samples are not taken to fall between each other's."""
_WIDE = 1.3
_FEW = 25
"""With fewer sky fibres the error of the model without one of them is worked out for each."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Knots:
    """Where the intervals of the spline lie, and the reference resolution as a cubic in (w - middle) scale."""

    first: float
    step: float
    intervals: int
    reference: Array
    middle: float
    scale: float

    def place(self, wave: Array, sigma: Array) -> tuple[Array, Array, Array]:
        """Interval, fraction, broadening of each sample of the spectra."""
        index, t, s = np.empty(wave.shape, np.int32), np.empty(wave.shape), np.empty(wave.shape)
        sky.place(wave, sigma, self.first, self.step, self.reference, self.middle, self.scale, index, t, s)
        return index, t, s


@dataclass(frozen=True, slots=True, kw_only=True)
class Spline:
    """Polynomials of every interval [intervals, 6], variance of the model there [intervals]."""

    pieces: Array
    variance: Array


@dataclass(frozen=True, slots=True, kw_only=True)
class Fit:
    """The model from all accepted sky fibres, and without each of them. `used` and `rejected` count within the spectra given.

    `level` [all fibres]: sky of each fibre in units of the model. `line_error`: relative error of emission lines; `wave_error`: scatter of the
    wavelengths among the fibres, in intervals; both beyond the noise.
    """

    knots: Knots
    spline: Spline
    without: tuple[Spline, ...]
    used: Array
    rejected: Array
    level: Array
    line_error: float
    wave_error: float
    wave_noise: float


def make_knots(low: float, high: float, wave: Array, sigma: Array, spacing: float) -> Knots:
    """Knots every `spacing` median pixels from `low` to `high` Angstrom; reference resolution: a cubic through that of the spectra [n, nwave].

    Where all fibres have their samples at the same wavelengths (rectified spectra), nothing is known between them: knots of a pixel, on the
    samples. Where they are few and do not fall between each other's, knots lie wider.
    """
    pixel = float(np.median(wave[:, -1] - wave[:, 0])) / (wave.shape[1] - 1)
    step, first = spacing * pixel, low - spacing * pixel
    if not _dithered(wave, pixel):
        even = bool(np.abs(np.diff(wave, axis=1) - pixel).max() < 1e-3 * pixel) and bool(np.ptp(wave[:, 0]) < 0.1 * pixel)
        step = pixel if even else max(spacing, _WIDE) * pixel
        first = float(wave[0, 0]) - pixel * (1 + math.ceil((wave[0, 0] - low) / pixel - 1e-6)) - (1e-6 * pixel if even else 0.0)
    intervals = math.ceil((high - first) / step) + 1
    middle, scale = 0.5 * (low + high), 2.0 / (high - low)
    columns = np.unique(np.linspace(1, wave.shape[1] - 2, 64).astype(int))
    widths = 0.5 * (wave[:, columns + 1] - wave[:, columns - 1])
    own = np.asarray(sigma[:, columns], np.float64)
    x, v = (wave[:, columns] - middle) * scale, own**2 + widths**2 / 12
    good = np.isfinite(v) & (own > 0)
    reference = np.polynomial.polynomial.polyfit(x[good], v[good], 3) if np.count_nonzero(good) >= 8 else np.zeros(4)
    return Knots(first=first, step=step, intervals=intervals, reference=reference, middle=middle, scale=scale)


def _dithered(wave: Array, pixel: float) -> bool:
    """Whether the samples of the fibres together leave no gap of more than half a pixel."""
    if len(wave) < _DITHERED:
        return False
    gaps = []
    for c in np.linspace(0, wave.shape[1] - 1, 9).astype(int):
        phase = np.sort((wave[:, c] / pixel) % 1.0)
        gaps.append(float(np.diff(np.append(phase, phase[0] + 1.0)).max()))
    return float(np.median(gaps)) < 0.5


class Solver:
    """The normal equations of the accepted sky fibres. `places`: interval, fraction and broadening of each sample."""

    def __init__(self, knots: Knots, places: tuple[Array, Array, Array], flux: Array, ivar: Array, settings: Settings) -> None:
        self.knots, self.settings, self.flux, self.n = knots, settings, flux, len(flux)
        self.index, self.t, self.s = places
        self.weight = np.empty(flux.shape)
        self.pixel_variance = self._variance(ivar)
        skyfit.model_weights(ivar, self.index, self.pixel_variance, _STRETCH, self.weight)
        size = knots.intervals + sky.ORDER - 1
        self.matrix, self.right = np.zeros((size, sky.ORDER)), np.zeros(size)
        for i in range(self.n):
            sky.accumulate(*self.spectrum(i), 1.0, self.matrix, self.right)
        diagonal = self.matrix[:, 0]
        self.stiffness = _STIFFNESS * float(np.median(diagonal[diagonal > 0])) if (diagonal > 0).any() else 1.0
        self.lower, self.coefficients = np.empty_like(self.matrix), np.empty_like(self.right)

    def spectrum(self, i: int) -> tuple[Array, ...]:
        """Places, flux and weights of one fibre."""
        return self.index[i], self.t[i], self.s[i], self.flux[i], self.weight[i]

    def _variance(self, ivar: Array) -> Array:
        out, limit = np.empty(self.knots.intervals), np.full(self.knots.intervals, np.inf)
        skyfit.mean_variance(ivar, self.index, limit, out)
        skyfit.mean_variance(ivar, self.index, np.nan_to_num(3 * out), out)
        known = np.flatnonzero(np.isfinite(out))
        return np.asarray(np.interp(np.arange(out.size), known, out[known]))

    def solve(self, left_out: int | None = None) -> Array:
        """The polynomials of all, or of all but one."""
        pieces = np.empty((self.knots.intervals, sky.ORDER))
        rest = (self.matrix, self.right, self.stiffness, self.lower, self.coefficients, pieces)
        if left_out is None:
            skyfit.solution(*rest)
        else:
            skyfit.solution_without(*self.spectrum(left_out), *rest)
        return pieces

    def variance(self) -> Array:
        """Variance of the last solution, per interval; infinite where it is known worse than a few pixels know it."""
        bands, out = np.empty_like(self.lower), np.empty(self.knots.intervals)
        sky.inverse_bands(self.lower, bands)
        sky.variances(bands, out)
        out[~(out < _UNKNOWN * self.pixel_variance)] = np.inf
        return out

    def clipped(self, pieces: Array) -> Array:
        """The solution when outliers are taken out."""
        worst = np.empty(self.knots.intervals)
        for _ in range(_CLIPS):
            lines = self.settings.model_error * line_light(pieces)
            samples = (self.index, self.t, self.s, self.flux, self.weight)
            if not skyfit.clip(*samples, pieces, lines, self.settings.clip, self.matrix, self.right, worst):
                break
            pieces = self.solve()
        return pieces

    def without(self, variance: Array) -> tuple[Spline, ...]:
        """The solution without each of the fibres; `variance` is that of all."""
        shares = self.weight.mean(axis=1) / max(self.weight.mean(axis=1).sum(), 1e-300)
        out = []
        for i in range(self.n):
            pieces = self.solve(i)
            own = self.variance() if self.n < _FEW else variance / (1.0 - shares[i])
            out.append(Spline(pieces=pieces, variance=own))
        return tuple(out)


def line_light(pieces: Array) -> Array:
    """Light of emission lines in every interval: what lies above the median of two blocks around it."""
    middle = pieces @ (0.5 ** np.arange(sky.ORDER))
    width = 2 * BLOCK
    n = max(1, middle.size // width)
    edges = np.linspace(0, middle.size, n + 1).astype(int)
    centres = 0.5 * (edges[:-1] + edges[1:])
    medians = np.array([np.median(middle[a:b]) for a, b in pairwise(edges)])
    return np.asarray(np.clip(middle - np.interp(np.arange(middle.size), centres, medians), 0, None))


def fit(
    wave: Array,
    sigma: Array,
    flux: Array,
    ivar: Array,
    rows: Array,
    reach: tuple[float, float],
    places: tuple[Array, Array] | None,
    settings: Settings,
) -> Fit | None:
    """Model of the sky from spectra [n, nwave] of the sky fibres, over the wavelengths `reach` (Angstrom). None where no spectrum can be used.

    `rows` [n]: which of all fibres the spectra are; `places`: x and y of all fibres on the focal plane, None where they are not known.
    """
    knots = make_knots(*reach, wave, sigma, settings.knots)
    samples = knots.place(wave, sigma)
    if places is not None and settings.free_above > 0:
        settings = replace(settings, free_above=math.inf)  # what levels do over the focal plane is modelled
    good, level, free = choose(flux, ivar, samples[0], knots.intervals, settings)
    if not good.any():
        return None
    used = np.flatnonzero(good)
    if not good.all():
        samples, flux, ivar = (samples[0][used], samples[1][used], samples[2][used]), flux[used], ivar[used]
    level = level[used] if free else np.ones(used.size)
    if free:
        flux, ivar = (flux / level[:, None]).astype(np.float32), (ivar * level[:, None] ** 2).astype(np.float32)
    solver = Solver(knots, samples, flux, ivar, settings)
    pieces = solver.clipped(solver.solve())
    spline = Spline(pieces=pieces, variance=solver.variance())
    without = solver.without(spline.variance) if used.size > 1 and settings.leave_one_out else ()
    n = int(rows.max()) + 1 if places is None else places[0].size
    own = _levels(solver, pieces, rows[used], places, n, free)
    line_error, wave_error, wave_noise = _errors(solver, spline, without, own[rows[used]])
    own[rows[used]] *= level
    return Fit(
        knots=knots,
        spline=spline,
        without=without,
        used=used,
        rejected=np.flatnonzero(~good),
        level=own,
        line_error=line_error,
        wave_error=wave_error,
        wave_noise=wave_noise,
    )


def _levels(solver: Solver, pieces: Array, rows: Array, places: tuple[Array, Array] | None, n: int, free: bool) -> Array:
    """Sky of each of the n fibres in units of the model."""
    level, settings = np.ones(n), solver.settings
    if not free and (settings.spatial_order == 0 or places is None):
        return level
    value, error = np.empty(rows.size), np.empty(rows.size)
    skyfit.amplitudes(solver.index, solver.t, solver.s, solver.flux, solver.weight, pieces, value, error)
    if free:
        level[rows] = 1.0 + value
        return level
    return level if places is None else variation(*places, rows, value, error, settings.spatial_order, settings.spatial_sigma)


def _errors(solver: Solver, spline: Spline, without: tuple[Spline, ...], level: Array) -> tuple[float, float, float]:
    """Errors of the model beyond the noise, from the residuals of every fibre to the model of the others.

    Relative error of the lines, and error of the wavelengths in intervals; 0 where there is none. The third is what noise alone makes of the second:
    the square root of the error of its square (a squared residual over its variance has variance 2); infinite where no line tells.
    """
    lines, slopes, m = line_light(spline.pieces), _slopes(spline.pieces), np.zeros(5)
    for i, other in enumerate(without):
        skyfit.error_moments(*solver.spectrum(i), level[i], other.pieces, other.variance, lines, slopes, m)
    if not (m[0] > 0 and m[2] > 0):
        return 0.0, 0.0, math.inf
    determinant = m[0] * m[2] - m[1] ** 2
    noise = (2.0 * m[0] / determinant if determinant > 1e-6 * m[0] * m[2] else 2.0 / m[2]) ** 0.25
    both = (
        ((m[3] * m[2] - m[4] * m[1]) / determinant, (m[4] * m[0] - m[3] * m[1]) / determinant) if determinant > 1e-6 * m[0] * m[2] else (-1.0, -1.0)
    )
    if min(both) < 0:  # one of the two explains it better than both: take the one that explains more
        alone = (max(m[3], 0.0) ** 2 / m[0], max(m[4], 0.0) ** 2 / m[2])
        both = (max(m[3], 0.0) / m[0], 0.0) if alone[0] >= alone[1] else (0.0, max(m[4], 0.0) / m[2])
    return math.sqrt(both[0]), math.sqrt(both[1]), noise


def _slopes(pieces: Array) -> Array:
    """Root mean square slope of the model in every interval, per interval."""
    derivative = pieces[:, 1:] * np.arange(1, sky.ORDER)
    points = np.stack([derivative @ (x ** np.arange(sky.ORDER - 1)) for x in (0.0, 0.5, 1.0)])
    return np.asarray(np.sqrt((points**2).mean(axis=0)))


def extra_variance(fitted: Fit) -> Array:
    """Variance of the model in every interval by the errors of lines and of wavelengths."""
    pieces = fitted.spline.pieces
    if max(fitted.line_error, fitted.wave_error) == 0:
        return np.zeros(len(pieces))
    return np.asarray((fitted.line_error * line_light(pieces)) ** 2 + (fitted.wave_error * _slopes(pieces)) ** 2)


def evaluate(
    wave: Array,
    sigma: Array,
    rows: Array,
    knots: Knots,
    spline: Spline,
    extra: Array,
    level: Array,
    bad_bit: int,
    out: tuple[Array, Array, Array],
) -> None:
    """Write flux, ivar and mask of the model of the fibres `rows`, times `level` [nfibre]; `extra` [interval] is added to the variance."""
    ivar = (1.0 / (spline.variance + extra)).astype(np.float32)
    pieces = spline.pieces.astype(np.float32)
    grid = (knots.first, knots.step, knots.reference, knots.middle, knots.scale)
    sky.evaluate(wave, sigma, rows, *grid, pieces, ivar, level, np.uint32(bad_bit), new_room(wave.shape[1]), *out)
