"""Neighbours of lines: the kernel against least squares with everything written out, and what follows from it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from algorithms.kernels import blends, lines
from algorithms.lineblends import Blends, leverage, solve_scales
from quicklook.ccd.linelist import SkyLines

Array = NDArray[Any]
S2 = 1.1**2 + 1.0 / 12.0
OFFSET, LISTED, FAMILY = np.array([-3.1, 1.5, 2.4]), np.array([0.5, 0.3, 0.2]), np.array([-1, 0, 0])
HALF, NFIBRE, ROWS = 6, 40, 17


def gauss(centre: float) -> Array:
    z = np.arange(ROWS) - centre
    return np.asarray(np.exp(-0.5 * z**2 / S2) / np.sqrt(2 * np.pi * S2))


def slope(centre: float) -> Array:
    return (np.arange(ROWS) - centre) / S2 * gauss(centre)


def spectra(shift: float, scale: float, noise: float = 1.0) -> tuple[Array, Array, Array]:
    """Flux, variance [1, nfibre, rows] and places [1, nfibre] of a line of 200 whose neighbours of family 0 have `scale` times the listed light."""
    rng = np.random.default_rng(5)
    y = 8.0 + rng.uniform(-0.5, 0.5, NFIBRE)
    ratio = LISTED * np.where(FAMILY < 0, 1.0, scale)
    mean = np.stack([200.0 * (gauss(c + shift) + sum(r * gauss(c + shift + o) for r, o in zip(ratio, OFFSET, strict=True))) for c in y])
    mean += rng.uniform(20.0, 200.0, (NFIBRE, 1))
    return (mean + noise * np.sqrt(mean) * rng.normal(size=mean.shape))[None], mean[None], y[None]


def normal_equations(flux: Array, var: Array, y: Array, ratio: Array) -> tuple[Array, Array]:
    normal, right = np.empty((1, 3, 3)), np.empty((1, 3))
    offset = np.repeat(OFFSET[:, None], NFIBRE, axis=1)
    beside = (np.array([0, 3]), offset, ratio, LISTED, FAMILY)
    args = (flux.astype(np.float32), var.astype(np.float32), np.zeros(y.shape), y, np.full(y.shape, 1.1), np.array([HALF]))
    blends.ratio_terms(*args, beside, np.ones(y.shape, bool), normal, right)
    return normal[0], right[0]


def test_normal_equations_are_those_of_the_whole_matrix() -> None:
    flux, var, y = spectra(0.05, 2.0)
    normal, right = normal_equations(flux, var, y, LISTED)
    full, data = np.zeros((3 + 2 * NFIBRE, 3 + 2 * NFIBRE)), np.zeros(3 + 2 * NFIBRE)
    for f in range(NFIBRE):
        c = float(y[0, f])
        middle = int(np.floor(c + 0.5))
        rows = slice(middle - HALF, middle + HALF + 1)
        shapes = np.zeros((ROWS, 3 + 2 * NFIBRE))
        shapes[:, 0] = gauss(c) + LISTED[0] * gauss(c + OFFSET[0])
        shapes[:, 1] = slope(c) + sum(r * slope(c + o) for r, o in zip(LISTED, OFFSET, strict=True))
        shapes[:, 2] = sum(r * gauss(c + o) for r, o in zip(LISTED[1:], OFFSET[1:], strict=True))
        shapes[:, 3 + 2 * f], shapes[:, 4 + 2 * f] = 1.0, 0.2 * (np.arange(ROWS) - c)
        weighted = shapes[rows] / var[0, f, rows, None]
        full += weighted.T @ shapes[rows]
        data += weighted.T @ flux[0, f, rows]
        full[4 + 2 * f, 4 + 2 * f] += lines.slope_weight(float(flux[0, f, rows].mean()))
    want = np.linalg.solve(full, data)[:3]
    np.testing.assert_allclose(np.linalg.solve(normal, right), want, rtol=1e-4)  # float32 data, Gaussians cut at 5 sigma


def test_brightness_of_neighbours_and_shift_are_found_together() -> None:
    flux, var, y = spectra(0.02, 2.5, noise=0.0)
    scales, extra = solve_scales(*normal_equations(flux, var, y, LISTED))
    assert scales[0] == pytest.approx(2.5, abs=0.15)  # the list is expected within 1 of it, and pulls a little
    assert 0.0 < extra < 0.1
    normal, right = normal_equations(flux, var, y, LISTED * [1.0, 2.5, 2.5])
    solution = np.linalg.solve(normal, right)
    assert solution[1] / solution[0] == pytest.approx(0.02, abs=0.002)


def test_a_line_that_is_not_there_keeps_the_list() -> None:
    scales, extra = solve_scales(np.eye(4), np.array([-1.0, 0.0, 1.0, 1.0]))
    np.testing.assert_array_equal(scales, 1.0)
    assert extra == 0.0


def test_leverage_is_the_shift_by_a_little_more_light() -> None:
    pull = leverage(OFFSET, LISTED, FAMILY, np.ones(1), 1.1, HALF)
    c = 8.0
    rows = slice(8 - HALF, 8 + HALF + 1)
    kin, others = gauss(c) + LISTED[0] * gauss(c + OFFSET[0]), sum(r * gauss(c + o) for r, o in zip(LISTED[1:], OFFSET[1:], strict=True))
    moved = slope(c) + sum(r * slope(c + o) for r, o in zip(LISTED, OFFSET, strict=True))
    basis = np.stack([kin, moved, np.ones(ROWS), np.arange(ROWS) - c, others], axis=1)[rows]
    for m in range(3):
        data = (kin + others + 0.01 * gauss(c + OFFSET[m]))[rows]
        fit = np.linalg.lstsq(basis, data, rcond=None)[0]
        assert fit[1] / fit[0] == pytest.approx(0.01 * pull[m], rel=0.05, abs=1e-6)


def test_neighbours_of_a_list() -> None:
    wave = np.array([5000.0, 5002.0, 5004.0, 5050.0])
    sky = SkyLines(
        wave=wave, sigma=np.full(4, 0.01), window=np.full(4, 2.0), strength=np.array([100.0, 20.0, 50.0, 10.0]), name=("OH", "OH", "O2", "OH")
    )
    got = Blends(sky, np.array([0, 3]), np.array([3.0, 3.0]))
    np.testing.assert_array_equal(got.first, [0, 1, 1])
    got = Blends(sky, np.array([0, 1]), np.array([5.0, 5.0]))
    np.testing.assert_array_equal(got.wave, [5002.0, 5004.0, 5000.0, 5004.0])
    np.testing.assert_allclose(got.listed, [0.2, 0.5, 5.0, 2.5])
    np.testing.assert_array_equal(got.family, [-1, 0, -1, 0])
