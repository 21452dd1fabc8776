"""Smooth series through measured places: one of every fibre, drawn towards what the fibres have in common where little was measured."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

_CLIP = 5.0
_SLIT_DEGREE = 4
_FLOOR = 0.002


def fit_series(t: Array, value: Array, error: Array, degree: int, u: Array) -> tuple[Array, Array]:
    """Legendre series [nfibre, degree + 1] through value [nfibre, n] at t [n] (-1 ... 1), error [nfibre, n] (infinite: not measured).

    Outliers beyond 5 robust sigma of the residuals are left out. The terms of a fibre are those of a polynomial of 4th degree along the slit
    (u [nfibre], -1 ... 1) plus what its own values say against the scatter of such terms among the fibres: a fibre whose ends are dark bends as its
    neighbours do. Returns also which values were used [nfibre, n].
    """
    basis = np.polynomial.legendre.legvander(t, degree)
    used = np.isfinite(error) & np.isfinite(value)
    known = used.sum(axis=1) > 2 * (degree + 1)
    smooth = np.zeros((len(value), degree + 1))
    prior = np.full(degree + 1, np.inf)
    series = np.zeros_like(smooth)
    for turn in range(4):
        w = np.where(used, 1.0 / np.where(used, error, 1.0) ** 2, 0.0)
        series = _solve(basis, np.where(used, value, 0.0), w, smooth, prior)
        rest = np.where(used, value - series @ basis.T, np.nan)
        used = _keep(rest, used)
        if turn == 1 and known.sum() > 2 * _SLIT_DEGREE:
            full = known & (used.mean(axis=1) > 0.7 * np.median(used[known].mean(axis=1)))
            smooth, prior = _common(series, u, full if full.sum() > 2 * _SLIT_DEGREE else known)
    return series, used


def _solve(basis: Array, value: Array, w: Array, smooth: Array, prior: Array) -> Array:
    """Weighted least squares of every fibre with a prior around `smooth`; no prior: a little ridge, against fibres without values."""
    n = basis.shape[1]
    pairs = (basis[:, :, None] * basis[:, None, :]).reshape(len(basis), -1)
    a = (w @ pairs).reshape(-1, n, n)
    level = np.maximum(np.trace(a, axis1=1, axis2=2) / n, 1e-12)
    hold = np.where(np.isfinite(prior), 1.0 / np.where(np.isfinite(prior), prior, 1.0) ** 2, 0.0)
    ridge = hold[None, :] + 1e-9 * level[:, None]
    a[:, np.arange(n), np.arange(n)] += ridge
    b = (w * value) @ basis + ridge * smooth
    return np.asarray(np.linalg.solve(a, b[..., None])[..., 0])


def _keep(rest: Array, used: Array) -> Array:
    """Values within 5 robust sigma of their fibre's residuals (of those of all fibres, where these are larger)."""
    filled = np.where(used.any(axis=1, keepdims=True), rest, 0.0)
    spread = 1.4826 * np.nanmedian(np.abs(filled), axis=1)
    common = np.median(spread[used.any(axis=1)]) if used.any() else 0.0
    limit = _CLIP * np.maximum(spread, max(float(common), _FLOOR))
    return np.asarray(used & (np.abs(np.nan_to_num(rest, nan=np.inf)) < limit[:, None]))


def _common(series: Array, u: Array, full: Array) -> tuple[Array, Array]:
    """Terms as polynomials along the slit, and the scatter of the fibres about them; term 0 is free."""
    slit = np.polynomial.legendre.legvander(u, _SLIT_DEGREE)
    smooth, scatter = np.zeros_like(series), np.full(series.shape[1], np.inf)
    for k in range(1, series.shape[1]):
        use = full.copy()
        for _ in range(4):
            fit, *_ = np.linalg.lstsq(slit[use], series[use, k], rcond=None)
            rest = series[:, k] - slit @ fit
            width = max(1.4826 * float(np.median(np.abs(rest[use]))), _FLOOR)
            use = full & (np.abs(rest) < _CLIP * width)
        smooth[:, k], scatter[k] = slit @ fit, width
    return smooth, scatter


def spread_out(index: Array, values: Array, count: int) -> Array:
    """values [n, k] of some fibres (index, rising) for all of 0 ... count - 1: in between linearly, at the ends as the nearest one."""
    at = np.arange(count)
    return np.stack([np.interp(at, index, column) for column in values.T], axis=1)
