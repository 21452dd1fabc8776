"""The fused pass against a slow float64 reference, and what its inverse variance is worth on known noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference_preproc as reference
from hypothesis import given, settings
from hypothesis import strategies as st

from algorithms.kernels import preproc as kernel
from algorithms.kernels.preproc import Amp
from quicklook.core.compiled import set_threads

NY, NX = 37, 53  # of one amplifier: no multiple of any vector width
SHAPE = (2 * NY, 2 * NX)
CORNERS = {"A": (False, False), "B": (False, True), "C": (True, False), "D": (True, True)}


def quadrants(rng: np.random.Generator, *, columns: bool = False, crosstalk: bool = False) -> list[Amp]:
    """Four amplifiers read from the corners of a raw frame with 5 columns of prescan and 9 of overscan, one row free at either end."""
    amps = []
    for k, (top, right) in enumerate(CORNERS.values()):
        x0 = 5 + (NX + 18) * right
        y0 = 1 + NY * top
        links = tuple((i, 0.01 * (i + 1)) for i in range(4) if i != k) if crosstalk else ()
        amps.append(
            Amp(
                data=(y0, y0 + NY, x0, x0 + NX),
                ccd=(NY * top, NY * (1 + top), NX * right, NX * (1 + right)),
                gain=1.1 + 0.1 * k,
                saturation=60000.0,
                noise_variance=7.0 + k,
                row_level=(1000 + k + rng.normal(size=NY)).astype(np.float32),
                row_variance=rng.uniform(0, 0.1, NY).astype(np.float32),
                col_level=rng.normal(size=NX).astype(np.float32) if columns else None,
                col_variance=rng.uniform(0, 0.1, NX).astype(np.float32) if columns else None,
                bits=0x200 if k == 3 else 0,
                corner=(top, right),
                crosstalk=links,
            )
        )
    return amps


def frame(rng: np.random.Generator, dtype: Any = np.uint16) -> np.ndarray:
    """Noise, a few lines and stripes, some saturated and cosmic-like pixels."""
    shape = (2 * NY + 2, 2 * NX + 28)
    light = 40.0 * (np.arange(shape[1]) % 7 == 3) + 400.0 * (np.arange(shape[0]) % 19 == 7)[:, None]
    raw = 1000 + rng.poisson(light) + 2 * rng.normal(size=shape)
    raw[rng.integers(0, shape[0], 20), rng.integers(0, shape[1], 20)] = 65000 if np.dtype(dtype) != np.int16 else 32000
    raw[rng.integers(0, shape[0], 20), rng.integers(0, shape[1], 20)] += 3000
    out: np.ndarray = np.round(raw).astype(dtype)
    return out


def calibrations(rng: np.random.Generator, raw: np.ndarray, trimmed: bool) -> dict[str, Any]:
    bias = rng.normal(size=SHAPE if trimmed else raw.shape).astype(np.float32)
    flat = (1 + 0.02 * rng.normal(size=SHAPE)).astype(np.float32)
    flat.flat[rng.integers(0, flat.size, 12)] = [0, -1, np.nan, np.inf, -np.inf, 1e-4, 0.05, 0.09, 1e6, 1e-38, 0.5, 0.2]
    dark = rng.uniform(-0.001, 0.01, SHAPE).astype(np.float32)
    dark.flat[rng.integers(0, dark.size, 3)] = [np.nan, 5.0, np.inf]
    bias.flat[rng.integers(0, bias.size, 2)] = np.nan
    bad = np.zeros(SHAPE, np.uint16)
    bad[:, 30] = 1
    bad.flat[rng.integers(0, bad.size, 30)] = 2
    return {"bias": bias, "flat": flat, "dark": dark, "exptime": 900.0, "bad": bad}


def assert_agrees(raw: np.ndarray, amps: list[Amp], shape: tuple[int, int] = SHAPE, **options: Any) -> None:
    image, ivar, mask = kernel.correct(raw, amps, shape, **options)
    image0, ivar0, mask0, close = reference.correct(raw, amps, shape, **options)
    np.testing.assert_array_equal(mask, mask0)
    np.testing.assert_allclose(image, image0, rtol=1e-5, atol=0.01)
    np.testing.assert_array_equal(ivar == 0, ivar0 == 0)
    sure = ~close
    assert sure.mean() > 0.98
    np.testing.assert_allclose(ivar[sure], ivar0[sure], rtol=1e-4)


@pytest.mark.parametrize("dtype", [np.uint16, np.int16, np.int32, np.float32, np.float64, np.dtype(">i4"), np.dtype(">u2")])
@pytest.mark.parametrize("trimmed_bias", [False, True])
def test_everything_on_agrees_with_reference(dtype: Any, trimmed_bias: bool) -> None:
    rng = np.random.default_rng(11)
    raw = frame(rng, dtype)
    if raw.dtype.kind == "f":
        raw[3, 10:14] = [np.nan, np.inf, -np.inf, 1e35]
    assert_agrees(raw, quadrants(rng, columns=True, crosstalk=True), **calibrations(rng, raw, trimmed_bias))


@pytest.mark.parametrize("only", ["", "bias", "dark", "flat", "bad", "columns", "crosstalk"])
def test_each_correction_alone_agrees_with_reference(only: str) -> None:
    rng = np.random.default_rng(12)
    raw = frame(rng)
    amps = quadrants(rng, columns=only == "columns", crosstalk=only == "crosstalk")
    calibs = calibrations(rng, raw, False)
    assert_agrees(raw, amps, exptime=900.0, **({only: calibs[only]} if only in calibs else {}))


@pytest.mark.parametrize("ny", [1, 2, 5, 12])
def test_sections_shorter_than_the_model_agree_with_reference(ny: int) -> None:
    rng = np.random.default_rng(13)
    raw = np.round(1000 + 3 * rng.normal(size=(ny, 40))).astype(np.int32)
    amp = Amp((0, ny, 0, 40), (0, ny, 0, 40), 1.0, np.inf, 9.0, np.full(ny, 1000, np.float32), np.zeros(ny, np.float32))
    image, ivar, _ = kernel.correct(raw, [amp], (ny, 40))
    image0, ivar0, _, _ = reference.correct(raw, [amp], (ny, 40))
    np.testing.assert_allclose(image, image0, atol=0.01)
    np.testing.assert_allclose(ivar, ivar0, rtol=1e-4)


def one_amp(ny: int, nx: int, noise: float = 2.6) -> Amp:
    return Amp((0, ny, 0, nx), (0, ny, 0, nx), 1.0, np.inf, noise**2, np.zeros(ny, np.float32), np.zeros(ny, np.float32))


def test_threads_and_tasks_change_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(14)
    raw = (100 * rng.random((400, 60))).astype(np.float32)
    amp = one_amp(400, 60)
    results = []
    for chunk, threads in ((516, 1), (64, 1), (64, 2)):
        monkeypatch.setattr(kernel, "CHUNK", chunk)
        set_threads(threads)
        results.append(kernel.correct(raw, [amp], (400, 60)))
    set_threads(1)
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


def test_ivar_of_a_pixel_does_not_depend_on_its_own_value() -> None:
    rng = np.random.default_rng(15)
    raw = rng.poisson(50, (60, 8)).astype(np.float32)
    amp = one_amp(60, 8)
    _, before, _ = kernel.correct(raw, [amp], (60, 8))
    raw[30, 4] += 5000
    _, after, _ = kernel.correct(raw, [amp], (60, 8))
    assert after[30, 4] == before[30, 4]
    assert after[31, 4] < before[31, 4]
    np.testing.assert_array_equal(np.delete(after, 4, axis=1), np.delete(before, 4, axis=1))


@pytest.mark.parametrize(("signal", "noise"), [(0.0, 2.6), (0.0, 1.2), (5.0, 2.6), (50.0, 2.6), (1000.0, 2.6)])
def test_pulls_are_of_unit_width_and_weighted_means_unbiased(signal: float, noise: float) -> None:
    ny, nx = 1000, 1000
    rng = np.random.default_rng(16)
    raw = (rng.poisson(signal, (ny, nx)) + noise * rng.normal(size=(ny, nx))).astype(np.float32)
    image, ivar, _ = kernel.correct(raw, [one_amp(ny, nx, noise)], (ny, nx))
    assert np.mean((image - signal) ** 2 * ivar) == pytest.approx(1.0, abs=0.015)  # 10^6 pixels: 0.0014 from statistics
    bias = np.sum(image * ivar) / np.sum(ivar) - signal
    error = np.sqrt(1 / np.sum(ivar, dtype=float))
    assert abs(bias) < 5 * error + 0.01  # 1/variance from the pixel's own value would give -1


def test_errors_hold_on_emission_lines_beside_bright_and_empty_columns() -> None:
    ny, nx = 1200, 300
    rng = np.random.default_rng(17)
    y = np.arange(ny)[:, None]
    lines = sum(5000 * np.exp(-0.5 * ((y - c - 0.02 * np.arange(nx)[None]) / 1.1) ** 2) for c in range(20, ny, 60))
    truth = 20 + lines * (np.arange(nx) % 3 > 0)
    raw = (rng.poisson(truth) + 2.6 * rng.normal(size=truth.shape)).astype(np.float32)
    image, ivar, _ = kernel.correct(raw, [one_amp(ny, nx)], (ny, nx))
    pull2 = (image - truth) ** 2 * ivar
    on = truth > 500
    # four neighbours miss the top of a line of 1.1 pixel by 18 %, too little at the top and too much on its flanks
    assert pull2[on].mean() == pytest.approx(1.0, abs=0.1)
    assert pull2[~on].mean() == pytest.approx(1.0, abs=0.03)
    bias = np.sum((image - truth)[on] * ivar[on]) / np.sum(ivar[on])
    assert abs(bias) < 4 / np.sqrt(np.sum(ivar[on], dtype=float))


def test_a_cosmic_ray_does_not_hide_itself() -> None:
    rng = np.random.default_rng(18)
    raw = (2.6 * rng.normal(size=(200, 200))).astype(np.float32)
    raw[50:55, 100] += 800  # a track along y, the worst direction for a model along y
    raw[120, 30] += 800
    image, ivar, _ = kernel.correct(raw, [one_amp(200, 200)], (200, 200))
    pull = image * np.sqrt(ivar)
    assert pull[120, 30] > 200
    assert (pull[50:55, 100] > 15).all()
    far = np.r_[109:117, 124:131]
    assert (ivar[far, 30] > 0.7 / 2.6**2).all()  # rows that see it in one of five means keep their weight


def test_unknown_noise_and_uncovered_pixels_have_no_weight() -> None:
    amp = one_amp(20, 30)._replace(noise_variance=np.nan)
    image, ivar, mask = kernel.correct(np.ones((20, 30), np.uint16), [amp], (25, 30))
    assert (ivar == 0).all()
    assert (mask[20:] == 1).all()
    assert (mask[:20] == 0).all()
    assert np.isfinite(image).all()


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), values=st.lists(st.floats(width=32), min_size=1, max_size=8))
def test_image_and_ivar_are_finite_whatever_comes(seed: int, values: list[float]) -> None:
    rng = np.random.default_rng(seed)
    shape = (14, 9)
    arrays = [np.where(rng.random(shape) < 0.2, rng.choice(np.array(values, np.float32), shape), 1).astype(np.float32) for _ in range(4)]
    raw, bias, dark, flat = arrays
    image, ivar, mask = kernel.correct(raw, [one_amp(*shape)], shape, bias=bias, dark=dark, exptime=900.0, flat=flat)
    assert np.isfinite(image).all()
    assert np.isfinite(ivar).all()
    assert (ivar >= 0).all()
    assert (ivar[(mask & ~np.uint16(1 << 6)) != 0] == 0).all()


def test_what_does_not_fit_is_refused() -> None:
    amp = one_amp(10, 10)
    raw = np.zeros((10, 10), np.uint16)
    with pytest.raises(ValueError, match=r"pixel flat has shape \(9, 10\)"):
        kernel.correct(raw, [amp], (10, 10), flat=np.ones((9, 10), np.float32))
    with pytest.raises(ValueError, match="bias has shape"):
        kernel.correct(raw, [amp], (10, 10), bias=np.ones((9, 10), np.float32))
    with pytest.raises(ValueError, match="differ in shape"):
        kernel.correct(raw, [amp._replace(ccd=(0, 10, 0, 9))], (10, 10))
    with pytest.raises(ValueError, match="outside"):
        kernel.correct(raw, [amp._replace(data=(1, 11, 0, 10))], (10, 10))
    with pytest.raises(ValueError, match="row level"):
        kernel.correct(raw, [amp._replace(row_level=np.zeros(3, np.float32))], (10, 10))
    with pytest.raises(ValueError, match="cross-talk"):
        kernel.correct(
            raw, [amp._replace(crosstalk=((0, 0.1),)), amp._replace(data=(0, 5, 0, 10), ccd=(0, 5, 0, 10), crosstalk=((0, 0.1),))], (10, 10)
        )


def test_noise_image() -> None:
    image = kernel.noise_image((4, 6), [(0, 4, 0, 3), (0, 4, 3, 6)], [2.5, np.nan])
    assert (image[:, :3] == 2.5).all()
    assert np.isnan(image[:, 3:]).all()
