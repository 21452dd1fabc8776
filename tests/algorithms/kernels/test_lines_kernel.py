"""Line kernels against plain numpy and scipy with erf profiles."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import curve_fit
from scipy.special import erf

from algorithms.kernels import flexure, lines

N = 15
SIGMA = 1.12


def profile(k: np.ndarray, centre: float, sigma: float) -> np.ndarray:
    """A unit Gaussian integrated over pixels."""
    z = np.sqrt(0.5) / sigma
    return 0.5 * (erf((k + 0.5 - centre) * z) - erf((k - 0.5 - centre) * z))


def one(spectrum: np.ndarray, var: np.ndarray | float = 30.0) -> tuple[np.ndarray, np.ndarray]:
    shape = (1, 1, len(spectrum))
    return spectrum.reshape(shape).astype(np.float32), np.broadcast_to(np.asarray(var, np.float32), (len(spectrum),)).reshape(shape).copy()


def fit(spectrum: np.ndarray, var: np.ndarray | float, y: float, sigma: float = SIGMA) -> np.ndarray:
    out = np.empty((6, 1, 1))
    flux, variance = one(spectrum, var)
    lines.fit_lines(flux, variance, np.zeros((1, 1)), np.full((1, 1), y), np.full((1, 1), sigma), 5, out)
    return out[:, 0, 0]


def terms(spectrum: np.ndarray, var: np.ndarray | float, y: float, half: int = 3, neighbours: tuple[tuple[float, float], ...] = ()) -> np.ndarray:
    out = np.empty((4, 1, 1))
    flux, variance = one(spectrum, var)
    offset, ratio = np.array(neighbours).reshape(-1, 2).T.copy()
    beside = (np.array([0, len(offset)]), offset[:, None].copy(), ratio)
    lines.shift_terms(flux, variance, np.zeros((1, 1)), np.full((1, 1), y), np.full((1, 1), SIGMA), np.array([half]), *beside, out)
    return out[:, 0, 0]


@pytest.mark.parametrize("phase", [-0.5, -0.3, 0.0, 0.2, 0.45])
@pytest.mark.parametrize("sigma", [0.95, 1.12, 1.6])
def test_a_noiseless_line_is_fitted_exactly(phase: float, sigma: float) -> None:
    k = np.arange(N)
    got = fit(5000.0 * profile(k, 7.0 + phase, sigma) + 40.0, 30.0, 7.1)
    assert got[0] == pytest.approx(5000.0, rel=2e-3)  # the Gaussian that stands for the integrated one differs by 0.4 % of the peak
    assert got[1] + 7.1 == pytest.approx(7.0 + phase, abs=1e-3)
    assert got[3] == pytest.approx(sigma, abs=2e-3)


def test_fit_agrees_with_scipy() -> None:
    rng = np.random.default_rng(2)
    k = np.arange(2, 13).astype(float)
    pulls = []
    for _ in range(60):
        centre, total = 7.0 + rng.uniform(-0.5, 0.5), rng.uniform(2000, 20000)
        mean = total * profile(np.arange(N), centre, SIGMA) + 50.0
        spectrum = rng.normal(mean, np.sqrt(mean))
        got = fit(spectrum, mean, 7.0)
        weight = np.sqrt(mean + (0.01 * mean.max()) ** 2)[2:13]  # the kernel allows 1 % of the peak as error of the model
        want, cov = curve_fit(
            lambda k, a, c, s, b: a * profile(k, c, s) + b, k, spectrum[2:13], p0=(total, 7.0, 1.1, 50.0), sigma=weight, absolute_sigma=True
        )
        assert got[1] + 7.0 == pytest.approx(want[1], abs=0.15 * np.sqrt(cov[1, 1]) + 1e-3)
        assert got[3] == pytest.approx(want[2], abs=0.15 * np.sqrt(cov[2, 2]) + 2e-3)
        pulls.append((got[1] + 7.0 - centre) / got[2])
    assert 0.6 < np.std(pulls) < 1.25  # 60 lines: 0.09 is one sigma; errors hold the 1 % of the model, which is not in these data


def test_a_hopeless_line_has_no_flux() -> None:
    assert fit(np.full(N, 10.0), 30.0, 7.0)[0] == 0.0
    assert fit(np.full(N, np.nan), lines._BIG, 7.0)[0] == 0.0
    assert fit(1000.0 * profile(np.arange(N), 13.5, SIGMA), 30.0, 7.0)[0] == 0.0


@pytest.mark.parametrize("shift", [-0.2, -0.05, 0.0, 0.1, 0.2])
def test_terms_of_a_small_shift(shift: float) -> None:
    a, b, var_a, var_b = terms(3000.0 * profile(np.arange(N), 7.3 + shift, SIGMA) + 100.0 + 0.3 * np.arange(N), 50.0, 7.3)
    # linear: at 0.2 pixel 3 % are missing, the next round finds them; the slope of the continuum is held down, which costs 0.001
    assert b / a == pytest.approx(shift, rel=0.05, abs=1.5e-3)
    assert var_a > 0
    assert var_b > 0


def test_terms_are_unbiased_in_the_noise() -> None:
    """Lines of signal to noise 1: no single one could be fitted, together they give the shift."""
    rng = np.random.default_rng(4)
    sums = np.zeros(2)
    for _ in range(4000):
        mean = 40.0 * profile(np.arange(N), 7.12, SIGMA) + 100.0
        sums += terms(rng.normal(mean, 10.0), 100.0, 7.0)[:2]
    assert sums[1] / sums[0] == pytest.approx(0.12, abs=0.12)  # 0.03 from noise; far below the 2 pixel of one line
    assert sums[0] / 4000 == pytest.approx(40.0, abs=4.0)


def test_terms_without_a_lost_row_and_with_two() -> None:
    spectrum = 3000.0 * profile(np.arange(N), 7.1, SIGMA)
    var = np.full(N, 30.0)
    var[8] = lines._BIG
    assert terms(spectrum, var, 7.0)[1] / terms(spectrum, var, 7.0)[0] == pytest.approx(0.1, abs=0.01)
    var[6] = lines._BIG
    assert (terms(spectrum, var, 7.0) == 0).all()


def test_a_neighbour_that_is_known_does_not_move_a_line() -> None:
    k = np.arange(N)
    spectrum = 3000.0 * profile(k, 7.1, SIGMA) + 900.0 * profile(k, 8.7, SIGMA) + 100.0
    alone, known = terms(spectrum, 50.0, 7.1, 5), terms(spectrum, 50.0, 7.1, 5, ((1.6, 0.3),))
    assert alone[1] / alone[0] > 0.2
    assert known[1] / known[0] == pytest.approx(0.0, abs=1.5e-3)
    assert known[0] == pytest.approx(3000.0, rel=0.005)


def test_terms_are_those_of_least_squares() -> None:
    """Level and slope, which the kernel eliminates by hand, as columns of a matrix; one row is lost."""
    rng = np.random.default_rng(4)
    k = np.arange(N)
    spectrum = rng.normal(3000.0 * profile(k, 7.2, SIGMA) + 20.0 * k + 100.0, 8.0)
    var = rng.uniform(30.0, 90.0, N)
    var[4] = lines._BIG
    got = terms(spectrum, var, 7.1, 5)
    s2 = SIGMA**2 + lines.PIXEL
    rows = np.array([2, 3, 5, 6, 7, 8, 9, 10, 11, 12])
    g = np.exp(-0.5 * (rows - 7.1) ** 2 / s2) / np.sqrt(2.0 * np.pi * s2)
    basis = np.stack([g, g * (rows - 7.1) / s2, np.ones(10), 0.2 * (rows - 7.1)], axis=1)
    normal = (basis.T / var[rows]) @ basis
    normal[3, 3] += lines.slope_weight(spectrum[rows].mean())
    want = np.linalg.solve(normal, (basis.T / var[rows]) @ spectrum[rows])
    cov = np.linalg.inv(normal)
    np.testing.assert_allclose(got, [want[0], want[1], cov[0, 0], cov[1, 1]], rtol=2e-5)  # float32 data, Gaussians cut at 5 sigma


def test_profile_is_a_sum_of_gaussians() -> None:
    g, d = np.empty(15), np.empty(15)
    s2, offset, ratio = SIGMA**2, np.array([1.7, -40.0]), np.array([0.4, 3.0])
    lines.profile(7.2, lines.gaussian_form(s2), 1, 13, offset, ratio, g, d)
    z = np.arange(1, 14)[:, None] - 7.2 - np.array([0.0, 1.7])
    want = np.exp(-0.5 * z**2 / s2) / np.sqrt(2 * np.pi * s2) * np.array([1.0, 0.4])
    np.testing.assert_allclose(g[:13], want.sum(axis=1), atol=2e-6)  # Gaussians are cut at 5 sigma
    np.testing.assert_allclose(d[:13], (want * z / s2).sum(axis=1), atol=1e-5)


def test_a_cosmic_ray_is_no_line() -> None:
    spectrum = 300.0 * profile(np.arange(N), 7.1, SIGMA)
    spectrum[9] += 800.0
    assert (terms(spectrum, 30.0, 7.0) == 0).all()


def test_windows_are_boxcars_with_fractions() -> None:
    rng = np.random.default_rng(1)
    pixels = rng.normal(100, 10, (40, 50)).astype(np.float32)
    ivar = np.full((40, 50), 0.04, np.float32)
    ivar[21, 24] = 0.0
    flux, var = np.empty((1, 1, 7), np.float32), np.empty((1, 1, 7), np.float32)
    x, slope, y = np.full((1, 1), 23.3), np.full((1, 1), 0.05), np.full((1, 1), 19.6)
    lines.cut_windows(pixels, ivar, x, slope, y, 2.5, 3, flux, var)
    for k in range(7):
        row = 20 - 3 + k
        if row == 21:
            assert var[0, 0, k] >= lines._BIG
            continue
        centre = 23.3 + 0.05 * (row - 19.6)
        weight = np.clip(np.minimum(np.arange(50) + 0.5, centre + 2.5) - np.maximum(np.arange(50) - 0.5, centre - 2.5), 0, None)
        assert flux[0, 0, k] == pytest.approx(weight @ pixels[row], rel=1e-5)
        assert var[0, 0, k] == pytest.approx(weight.sum() / 0.04, rel=1e-5)


def test_windows_off_the_detector_are_lost() -> None:
    flux, var = np.empty((1, 2, 7), np.float32), np.empty((1, 2, 7), np.float32)
    x, y = np.array([[1.0, 20.0]]), np.array([[20.0, 1.0]])
    lines.cut_windows(np.ones((40, 40), np.float32), np.ones((40, 40), np.float32), x, np.zeros((1, 2)), y, 2.5, 3, flux, var)
    assert (var[0, 0] >= lines._BIG).all()
    assert (var[0, 1] >= lines._BIG).sum() == 2


def test_cross_terms_find_the_trace_among_neighbours() -> None:
    x = np.arange(60)
    row = sum(f * profile(x, c, 1.05) for f, c in ((800.0, 22.73), (2000.0, 30.0), (900.0, 37.27))) + 20.0
    pixels = np.tile(row, (3, 1)).astype(np.float32)
    out = np.empty((3, 1, 1))
    for start in (29.85, 30.1):
        args = (np.full((1, 1), start), np.full((1, 1), 1), np.full((1, 1), 1.05))
        flexure.cross_terms(pixels, np.ones_like(pixels), *args, 3, 9.0, out)
        assert out[1, 0, 0] / out[0, 0, 0] == pytest.approx(30.0 - start, abs=4e-3)  # linear, and 0.02 % of the neighbours' light in the window
    bad = np.ones_like(pixels)
    bad[1, 31] = 0
    flexure.cross_terms(pixels, bad, *args, 3, 9.0, out)
    assert (out == 0).all()


def test_light_of_faint_lines_is_expected_from_the_others() -> None:
    """In the noise A / B of single groups is biased where errors of A and B belong together; with an expected A it is not."""
    rng = np.random.default_rng(9)
    true, n, starts = 30.0, 500, np.arange(0, 500, 25)
    noise = rng.multivariate_normal([0, 0], [[900.0, 600.0], [600.0, 900.0]], size=(40, n))
    amp, moved = true + noise[..., 0], 0.1 * true + noise[..., 1]
    var = np.full(amp.shape, 900.0)
    light, mean, error = flexure.expected_light(amp, var, starts)
    np.testing.assert_allclose(mean, true, atol=4 * 30 / np.sqrt(n))
    np.testing.assert_allclose(error, 30 / np.sqrt(n), rtol=1e-6)
    shift, spread = flexure.group_shifts(light, moved, var, starts, 0.01)
    naive, _ = flexure.group_shifts(amp, moved, var, starts, 0.01)
    assert np.mean(shift) == pytest.approx(0.1, abs=0.03)  # 0.2 each over 28: 0.007; what is left of the correlation: 0.01
    assert np.mean(naive) > 0.3
    assert np.std(shift) == pytest.approx(np.mean(spread), rel=0.15)


def test_bright_fibres_have_their_own_light() -> None:
    amp = np.full((1, 50), 1000.0)
    amp[0, 7], amp[0, 9] = 0.0, 2000.0
    light, _, _ = flexure.expected_light(amp, np.full(amp.shape, 1.0), np.array([0, 25]))
    np.testing.assert_allclose(light, amp, atol=1.0)
    assert (flexure.expected_light(amp, np.zeros(amp.shape), np.array([0, 25]))[0] == 0).all()


def test_smooth_fit_against_the_full_matrix() -> None:
    """Offsets of the groups eliminated or written out: the same solution, where no weights change."""
    rng = np.random.default_rng(6)
    u, t, terms_ = np.linspace(-1, 1, 8), np.linspace(-0.9, 0.8, 6), flexure.powers(1, 1, 1)
    value = 0.2 + 0.05 * u[None, :] - 0.03 * t[:, None] + 0.002 * rng.normal(size=(6, 8))
    error, group_error, prior = np.full((6, 8), 0.02), np.full(6, 0.02), np.array([np.inf, 0.1, 0.1])
    got = flexure.fit_smooth(u, t, value, error, group_error, terms_, prior)
    assert got is not None
    matrix = np.hstack([flexure.design(np.tile(u, 6), np.repeat(t, 8), terms_), np.kron(np.eye(6), np.ones((8, 1)))])
    # weights of groups are not quite 1 / (1 + (z / 2.5)^4), z is about 0.1 here
    ridge = np.diag(np.concatenate([1.0 / prior**2, 1.0 / group_error**2]))
    want = np.linalg.solve(matrix.T @ matrix / 0.02**2 + ridge, matrix.T @ value.ravel() / 0.02**2)
    np.testing.assert_allclose([got.model[i, j] for i, j in terms_], want[:3], atol=2e-5)


def test_groups_of_fibres_clip_outliers() -> None:
    rng = np.random.default_rng(7)
    amp = np.full((2, 50), 1000.0)
    moved = 0.1 * amp + 20.0 * rng.normal(size=amp.shape)
    moved[0, :5] += 600.0
    shift, error = flexure.group_shifts(amp, moved, np.full(amp.shape, 400.0), np.array([0, 25]), 0.01)
    np.testing.assert_allclose(shift, 0.1, atol=0.02)  # 0.02 each over 5
    assert (error < 0.01).all()
    shift, error = flexure.group_shifts(amp, moved, np.zeros(amp.shape), np.array([0, 25]), 0.01)
    assert np.isnan(shift).all()
    assert np.isinf(error).all()
