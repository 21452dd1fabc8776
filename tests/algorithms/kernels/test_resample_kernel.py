"""Calibrations brought to the wavelengths of the fibres, against plain numpy."""

from __future__ import annotations

import numpy as np
import pytest

from algorithms.kernels import resample, scores, skyterms

N, M = 5, 60
BAD, LOW = np.uint32(16), np.uint32(8)


def spectra(seed: int = 1) -> tuple[np.ndarray, ...]:
    rng = np.random.default_rng(seed)
    wave = 5000 + np.arange(M) * 1.1 + rng.uniform(0, 1, (N, 1))
    flux = rng.normal(100, 20, (N, M)).astype(np.float32)
    ivar = rng.uniform(0.01, 0.1, (N, M)).astype(np.float32)
    ivar[1, 7] = 0
    mask = np.zeros((N, M), np.uint32)
    mask[2, 3] = 1
    return flux, ivar, mask, wave


def test_fibre_flat_agrees_with_numpy() -> None:
    flux, ivar, mask, wave = spectra()
    grid = 4990 + 0.8 * np.arange(100)
    rng = np.random.default_rng(2)
    flat = (1 + 0.1 * rng.normal(size=(N, 1)) + 0.001 * np.arange(100)).astype(np.float32)
    flat[3] = 0.05
    var = np.full(flat.shape, 1e-4, np.float32)
    var[2, 40:45] = np.inf
    out = resample.empty_like(flux)
    rows = np.array([1, 0, 2, 3, -1])
    resample.divide_flat(flux, ivar, mask, wave, rows, 4990.0, 0.8, flat, var, np.float32(0.1), LOW, BAD, resample.new_room(flux.shape[1]), *out)
    for i, row in enumerate(rows[:4]):
        q = np.interp(wave[i], grid, flat[row])
        k = ((wave[i] - 4990) / 0.8).astype(int)
        usable = np.isfinite(np.maximum(var[row][k], var[row][k + 1]))
        np.testing.assert_allclose(out[0][i][usable], (flux[i] / q)[usable], rtol=2e-5)
        variance = 1 / np.where(ivar[i] > 0, ivar[i], np.inf) / q**2 + (flux[i] / q) ** 2 * 1e-4 / q**2
        good = usable & (ivar[i] > 0) & (q >= 0.1)
        expected = np.where(good, 1 / (1 / np.where(ivar[i] > 0, ivar[i], 1) / q**2 + (flux[i] / q) ** 2 * 1e-4 / q**2), 0)
        np.testing.assert_allclose(out[1][i], expected, rtol=1e-4)
        np.testing.assert_array_equal(out[2][i], mask[i] | np.where(~usable, BAD, np.where(q < 0.1, LOW, 0)).astype(np.uint32))
        assert variance.size == M
    assert (out[1][4] == 0).all()
    assert (out[2][4] == BAD).all()


def test_flux_calibration_agrees_with_numpy() -> None:
    flux, ivar, mask, wave = spectra()
    grid = 5005 + 0.8 * np.arange(60)
    calib = (50 + np.arange(60.0)).astype(np.float32)[None, :]
    out = resample.empty_like(flux)
    resample.divide_calibration(flux, ivar, mask, wave, np.array([0, 0, 0, 0, -1]), 5005.0, 0.8, calib, BAD, resample.new_room(flux.shape[1]), *out)
    c = np.interp(wave, grid, calib[0])
    inside = (wave > 5005 - 0.4) & (wave < grid[-1] + 0.4)
    inside[4] = False
    well = inside & (wave > 5005) & (wave < grid[-1])
    np.testing.assert_allclose(out[0][well], (flux / c)[well], rtol=2e-5)
    np.testing.assert_allclose(out[1][well], (ivar * c**2)[well], rtol=4e-5)
    np.testing.assert_array_equal(out[2] & BAD > 0, ~inside)
    assert (out[1][~inside] == 0).all()


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_a_calibration_that_is_no_positive_number_is_flagged(bad: float) -> None:
    flux, ivar, mask, wave = spectra()
    calib = np.full((1, 200), 2.0, np.float32)
    calib[0, 50] = bad
    out = resample.empty_like(flux)
    resample.divide_calibration(flux, ivar, mask, wave, np.zeros(N, np.int64), 4990.0, 0.8, calib, BAD, resample.new_room(flux.shape[1]), *out)
    assert np.isfinite(out[0]).all()
    assert np.isfinite(out[1]).all()
    if not np.isfinite(bad):
        near = np.abs(wave - (4990 + 40)) < 0.8
        assert (out[2][near] & BAD > 0).all()


def test_grids() -> None:
    wave = np.arange(5543.0, 7826.0, 0.8)
    assert resample.is_uniform(wave.astype(np.float32).astype(np.float64))
    assert not resample.is_uniform(wave**1.01)
    assert not resample.is_uniform(wave[::-1])
    bent = wave**1.01
    values = np.stack([np.sin(bent / 300), np.cos(bent / 300)])
    table = resample.tabulate(bent, values)
    at = table.first + table.step * np.arange(table.values.shape[1])
    np.testing.assert_allclose(table.values[0], np.sin(at / 300), atol=1e-5)
    two = resample.tabulate(np.stack([wave, wave + 5]), values)
    assert np.isnan(two.values[1][0])
    with pytest.raises(ValueError, match="do not rise"):
        resample.tabulate(np.stack([wave, wave[::-1]]), values)


def test_subtraction_agrees_with_numpy() -> None:
    flux, ivar, mask, _ = spectra()
    sky, sky_ivar, sky_mask, _ = spectra(2)
    sky_ivar[3, 9] = 0
    scale = np.linspace(0.9, 1.1, N).astype(np.float32)
    out = resample.empty_like(flux)
    resample.subtract(flux, ivar, mask, sky, sky_ivar, sky_mask, scale, BAD, *out)
    np.testing.assert_allclose(out[0], np.where(sky_ivar > 0, flux - scale[:, None] * sky, flux), rtol=1e-5, atol=1e-4)
    known = (sky_ivar > 0) & (ivar > 0)
    variance = 1 / np.where(known, ivar, 1) + scale[:, None] ** 2 / np.where(known, sky_ivar, 1)
    np.testing.assert_allclose(out[1], np.where(known, 1 / variance, 0), rtol=1e-5)
    np.testing.assert_array_equal(out[2], mask | sky_mask | np.where(sky_ivar > 0, 0, BAD).astype(np.uint32))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_what_is_no_number_goes_no_further(value: float) -> None:
    flux, ivar, mask, wave = spectra()
    flux[0, 5], ivar[1, 6] = value, value
    table, rows, sky = np.ones((1, 200), np.float32), np.zeros(N, np.int64), np.ones_like(flux)
    zero = np.zeros_like(mask)
    made = [resample.empty_like(flux) for _ in range(3)]
    resample.divide_flat(
        flux, ivar, mask, wave, rows, 4990.0, 0.8, table, 0.01 * table, np.float32(0.1), LOW, BAD, resample.new_room(flux.shape[1]), *made[0]
    )
    resample.divide_calibration(flux, ivar, mask, wave, rows, 4990.0, 0.8, table, BAD, resample.new_room(flux.shape[1]), *made[1])
    resample.subtract(flux, ivar, mask, sky, sky, zero, np.ones(N, np.float32), BAD, *made[2])
    for out in made:
        assert np.isfinite(out[0]).all()
        assert np.isfinite(out[1]).all()
        assert out[1][0, 5] == out[1][1, 6] == 0
        assert out[2][0, 5] == out[2][1, 6] == resample.NO_DATA


def test_cubic_interpolation_is_exact_for_cubics() -> None:
    wave = np.sort(np.random.default_rng(1).uniform(0, 10, (2, 30)), axis=1)
    cubic = (1 + wave - 0.5 * wave**2 + 0.1 * wave**3).astype(np.float64)
    at = np.linspace(1, 9, 50)[None, :].repeat(2, axis=0)
    out = resample.empty_like(at)
    skyterms.cubic_rows(wave, cubic, np.ones_like(cubic), np.zeros(wave.shape, np.uint32), at, *out)
    inside = (at >= wave[:, :1]) & (at <= wave[:, -1:])
    np.testing.assert_allclose(out[0][inside], (1 + at - 0.5 * at**2 + 0.1 * at**3)[inside], rtol=1e-5)
    assert (out[1][~inside] == 0).all()


def test_scores_agree_with_numpy() -> None:
    flux, ivar, mask, wave = spectra()
    ivar[4] = 0
    made = np.empty((3, N))
    scores.moments(flux, ivar, mask, wave, np.empty(flux.shape[1], np.float32), made)
    total, mean, median = made
    templates, snr2 = np.stack([np.linspace(1, 3, 100), np.linspace(2, 0, 100)]), np.empty((2, N))
    scores.template_snr2(ivar, mask, wave, 4990.0, 1.0, templates, np.zeros(100), snr2)
    for i in range(4):
        good = (ivar[i] > 0) & (mask[i] == 0)
        assert total[i] == pytest.approx((flux[i].astype(float) * np.gradient(wave[i]))[good].sum())
        assert mean[i] == pytest.approx(flux[i][good].mean(dtype=float))
        assert median[i] == pytest.approx(np.median(flux[i][good]))
        for k in range(2):
            assert snr2[k, i] == pytest.approx(np.sum((ivar[i] * np.interp(wave[i], 4990 + np.arange(100.0), templates[k]))[good]))
    assert np.isnan([*made[:, 4], *snr2[:, 4]]).all()


@pytest.mark.parametrize("size", [1, 2, 5, 31, 400, 4127, 4128])
def test_medians_are_exact(size: int) -> None:
    """Of smooth and of spiky spectra, with ties, two heaps, outliers of any size, and samples that do not count."""
    rng = np.random.default_rng(size)
    heaps = np.where(rng.random(size) < 0.5, -1e4, 1e4)
    shapes = (
        rng.normal(50, 9, size),
        rng.normal(50, 9, size) + 1e30 * (rng.random(size) < 0.3),
        rng.integers(0, 3, size),
        np.zeros(size),
        heaps,
        heaps + rng.normal(size=size),
        np.exp(rng.normal(0, 20, size)),
        np.sort(rng.normal(size=size)),
    )
    for values in shapes:
        for part in (1.0, 0.6, 0.01):
            used = rng.random(size) < part
            row = np.where(used, values, np.inf).astype(np.float32)
            found = scores.median(row, int(used.sum()))
            if used.any():
                assert found == np.median(row[used].astype(float))
            else:
                assert np.isnan(found)


def test_blocks_cover_all_rows_once() -> None:
    from quicklook.core.compiled import get_threads, set_threads

    before = get_threads()
    try:
        for threads in (1, 2):
            set_threads(threads)
            seen = np.zeros(130, int)

            def mark(a: int, b: int, seen: np.ndarray = seen) -> None:
                seen[a:b] += 1

            resample.by_blocks(130, mark)
            assert (seen == 1).all()
    finally:
        set_threads(before)
