"""A shift of a flat along the dispersion, from the tilts of the traces: the kernels against slow references, and the QA on a made image."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.polynomial import legendre
from scipy.special import ndtr

from qa.flat_wavelengths import FlatWavelengths, FlatWavelengthsParams
from qa.kernels.profiles import profile_shifts, shift_along
from quicklook.ccd.image import Image
from quicklook.ccd.spectra import TraceSet
from quicklook.ccd.traceshift import AxisShift, ShiftSamples, TraceShift
from quicklook.core.errors import BadData

NX, NY, NFIBRE, PITCH = 260, 400, 24, 10.0
SIGMA, LIGHT, NOISE = 1.1, 4000.0, 3.0
U = np.linspace(-1.0, 1.0, NFIBRE)


def traces(lean: float = 20.0) -> TraceSet:
    """Fibres that lean by `lean` (u / 2 + u t) pixel over the detector, with straight wavelengths."""
    x, y = np.zeros((NFIBRE, 3)), np.zeros((NFIBRE, 2))
    x[:, 0] = 15.0 + PITCH * np.arange(NFIBRE)
    x[:, 1] = 0.25 * lean * U
    x[:, 2] = 0.15 * lean * U
    y[:, 0], y[:, 1] = 0.5 * (NY - 1), 0.5 * (NY + 20)
    number = np.arange(NFIBRE, dtype=np.int32)
    return TraceSet(x=x, y=y, wavemin=6000.0, wavemax=6300.0, npix_x=NX, npix_y=NY, fiber=number)


def light_on(of: TraceSet, dx: float = 0.0, dy: float = 0.0) -> np.ndarray:
    """Expected light on those traces, moved by dx and dy: pixel-integrated Gaussians, drawn row by row."""
    t = (np.arange(NY) - dy - of.y[0, 0]) / of.y[0, 1]
    x = legendre.legval(t, of.x.T) + dx
    columns = np.arange(NX)
    expected = np.zeros((NY, NX))
    for f in range(NFIBRE):
        z = columns - x[f][:, None]
        expected += LIGHT * (ndtr((z + 0.5) / SIGMA) - ndtr((z - 0.5) / SIGMA))
    return expected


def image(of: TraceSet, dx: float = 0.0, dy: float = 0.0, seed: int = 1, expected: np.ndarray | None = None) -> Image:
    """An image of that light with photon noise."""
    expected = light_on(of, dx, dy) if expected is None else expected
    rng = np.random.default_rng(seed)
    pixels = rng.poisson(expected) + rng.normal(0.0, NOISE, expected.shape)
    ivar = 1.0 / (expected + NOISE**2)
    zero = np.zeros((NY, NX), np.uint16)
    return Image(
        camera="r0", pixels=pixels.astype(np.float32), ivar=ivar.astype(np.float32), mask=zero, amplifiers=(), read_noise={"A": NOISE}
    )  # fmt: skip


def shift(dx: float = 0.0) -> TraceShift:
    """What `flexure` would say: x moved by dx."""
    one = np.full(1, np.nan)
    samples = ShiftSamples(fibre=one, wave=one.copy(), shift=one.copy(), error=one.copy())
    axis = AxisShift(model=np.array([[dx]]), mean=dx, low=dx, high=dx, rms=0.0, error=0.001, samples=samples)
    return TraceShift(camera="r0", x=axis, y=axis, y_expected=False)


@pytest.mark.parametrize("dy", [-1.0, 0.0, 0.5, 3.0])
def test_the_shift_is_measured_within_its_error(dy: float) -> None:
    of = traces()
    got = FlatWavelengths().measure(image(of, dx=0.1, dy=dy), replace(of, x=of.x + 0.1 * np.eye(3)[0]), shift(0.1))
    value, error = (float(got[n].values) for n in ("flat_wavelength_shift", "flat_wavelength_error"))
    assert error < 0.1
    assert abs(value - dy) < 4.0 * error
    assert "known to" in got["flat_wavelength_shift"].remarks[()]


def test_its_error_is_its_scatter() -> None:
    of = traces()
    pulls, expected = [], light_on(of)
    for seed in range(12):
        got = FlatWavelengths().measure(image(of, seed=seed, expected=expected), of, shift())
        pulls.append(float(got["flat_wavelength_shift"].values) / float(got["flat_wavelength_error"].values))
    assert 0.5 < np.std(pulls) < 1.7  # of twelve numbers the standard deviation is known to a fifth


def test_what_flexure_across_the_dispersion_makes_is_no_shift_along_it() -> None:
    of = traces()
    moved = of.x.copy()  # a rotation, a change of scale, and errors of single traces
    moved[:, 0] += 0.05 * U + np.random.default_rng(3).normal(0, 0.02, NFIBRE)
    moved[:, 1] += 0.08
    got = FlatWavelengths().measure(image(replace(of, x=moved)), of, shift())
    assert abs(float(got["flat_wavelength_shift"].values)) < 4.0 * float(got["flat_wavelength_error"].values)


def test_straight_traces_tell_nothing_and_darkness_is_unknown() -> None:
    of = traces(lean=0.02)
    got = FlatWavelengths().measure(image(of), of, shift())
    assert "lean too little" in (got["flat_wavelength_shift"].not_applicable or "")
    dark = FlatWavelengths().measure(replace(image(of), ivar=np.zeros((NY, NX), np.float32)), of, shift())
    assert np.isnan(dark["flat_wavelength_shift"].values)
    with pytest.raises(BadData, match="certify others"):
        FlatWavelengths().measure(image(of), replace(of, npix_x=NX + 1), shift())


def test_a_dead_quarter_and_hot_pixels_do_no_harm() -> None:
    of = traces()
    made = image(of, dy=1.0)
    pixels, ivar = made.pixels.copy(), made.ivar.copy()
    ivar[: NY // 2, : NX // 2] = 0.0
    pixels[300, ::7] += 30_000.0
    got = FlatWavelengths(FlatWavelengthsParams(max_error=0.5)).measure(replace(made, pixels=pixels, ivar=ivar), of, shift())
    assert abs(float(got["flat_wavelength_shift"].values) - 1.0) < 4.0 * float(got["flat_wavelength_error"].values)


# ---- kernels


def slow_sums(made: Image, x: np.ndarray, row: np.ndarray, slope: np.ndarray, block: np.ndarray) -> tuple[np.ndarray, ...]:
    """As `profile_shifts` says, by numpy's least squares, sample by sample."""
    moved, lean, light = (np.zeros((x.shape[1], int(block.max()) + 1)) for _ in range(3))
    s2 = SIGMA**2 + 1 / 12
    for i in range(x.shape[0]):
        for f in range(x.shape[1]):
            if not 0 <= row[i, f] < NY:
                continue
            k = int(np.floor(x[i, f] + 0.5)) + np.arange(-3, 4)
            z = k - x[i, f]
            p = np.exp(-0.5 * z**2 / s2) / np.sqrt(2 * np.pi * s2)
            v = made.pixels[row[i, f], k].astype(float)
            if (made.ivar[row[i, f], k] <= 0).any() or v.sum() <= 0:
                continue
            root = 1 / np.sqrt(NOISE**2 + v.sum() / p.sum() * p)
            (a, b, _), *_ = np.linalg.lstsq(np.stack([p, p * z / s2, np.ones(7)], axis=1) * root[:, None], v * root, rcond=None)
            if a > 0 and abs(b) < 0.5 * a:
                light[f, block[i]] += a
                moved[f, block[i]] += b
                lean[f, block[i]] += a * slope[i, f]
    return moved, lean, light


def test_profile_shifts_against_least_squares() -> None:
    of = traces()
    made = image(of, dx=0.07)
    made = replace(made, ivar=np.where(np.arange(NX) == 60, np.float32(0), made.ivar))
    n = 40
    row = np.repeat(np.linspace(-3, NY + 2, n).astype(np.int64)[:, None], NFIBRE, axis=1)
    x = legendre.legval((row[:, 0] - of.y[0, 0]) / of.y[0, 1], of.x.T).T
    slope = np.random.default_rng(2).normal(size=x.shape)
    block = np.arange(n) * 4 // n
    out = [np.zeros((NFIBRE, 4)) for _ in range(3)]
    x = np.ascontiguousarray(x)
    profile_shifts(made.pixels, made.ivar, x, row, np.full(x.shape, SIGMA), slope, block, NOISE**2, *out)
    for got, wanted in zip(out, slow_sums(made, x, row, slope, block), strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-5, atol=1e-4 * np.abs(wanted).max())
    np.testing.assert_allclose(out[0].sum() / out[2].sum(), 0.07, atol=0.005)  # noise of 960 samples, and of pixels against points


def test_shift_along_is_the_least_squares_solution() -> None:
    rng = np.random.default_rng(4)
    slope = rng.normal(0, 0.01, (9, 6))
    across = rng.normal(0, 0.001, slope.shape) - 0.7 * slope + rng.normal(0, 1, 9)[:, None] + rng.normal(0, 1, 6)
    across[2, 3] = np.nan
    use = np.isfinite(across)
    f, b = np.nonzero(use)
    design = np.zeros((use.sum(), 16))
    design[np.arange(use.sum()), f] = 1
    design[np.arange(use.sum()), 9 + b] = 1
    design[:, 15] = -slope[use]
    wanted = np.linalg.lstsq(design, across[use], rcond=None)[0][15]
    got = shift_along(across, slope)
    assert got.shift == pytest.approx(wanted, rel=1e-6)
    assert abs(got.shift - 0.7) < 4 * got.error
    assert np.isnan(shift_along(across[:2], slope[:2]).shift)
