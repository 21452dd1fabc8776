"""The extraction kernels against independent slow versions."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import pytest
import reference_extract as reference

from algorithms.kernels import extract as extract_module
from algorithms.kernels.extract import boxcar
from algorithms.kernels.extraction import Bits, PixelNoise, Settings, Spectra
from algorithms.kernels.lightrows import HALO, RING, add_mean, model_variance
from algorithms.kernels.profile import NO_WINGS, Profile, add_profile, below, in_pixel, of_neighbour, place, window_tables
from algorithms.kernels.tracegrid import Knots, trace_knots
from algorithms.kernels.weighted import weighted
from algorithms.kernels.wings import measure_wings

NX, NY, NFIBRE = 90, 70, 9
W0, W1 = 5150.0, 5950.0
WINGS = ((0.03, 3.0),)


class Scene(NamedTuple):
    knots: Knots
    wave: np.ndarray
    place: np.ndarray
    sigma: np.ndarray
    electrons: np.ndarray


def series(values: np.ndarray) -> np.ndarray:
    """Legendre series [nfibre, 5] through values [nfibre, 60] on a grid of the reduced wavelength."""
    return np.polynomial.legendre.legfit(np.linspace(-1, 1, values.shape[1]), values.T, 4).T


@pytest.fixture(scope="module")
def scene() -> Scene:
    """Nine fibres 7.27 pixels apart (two bundles), bent and tilted, with a spectrum of lines on a continuum."""
    t = np.linspace(-1, 1, 60)
    u = np.linspace(-1, 1, NFIBRE)[:, None]
    pitch = 7.27 * np.arange(NFIBRE) + 10.0 * (np.arange(NFIBRE) >= 5) + 9.0
    x, y = series(pitch[:, None] + 8 * t + 3 * u * t**2), series(NY / 2 + 400 * t + 6 * t**2 + 2 * u**2)
    xsig, ysig = series(1.05 + 0.05 * u**2 + 0.03 * t**2), series(1.1 + 0.4 * t + 0 * u)
    wave, place = reference.rows_of(x, y, W0, W1, NY)
    sigma = np.array([np.polynomial.legendre.legval(2 * (wave[f] - W0) / (W1 - W0) - 1, xsig[f]) for f in range(NFIBRE)])
    electrons = 200 + 40 * np.arange(NFIBRE)[:, None] + 3000 * np.exp(-0.5 * ((wave - 5550) / 0.8) ** 2) * (1 + np.arange(NFIBRE)[:, None] % 2)
    return Scene(trace_knots(x, y, xsig, ysig, W0, W1, NY), wave, place, sigma, electrons)


def extract(
    scene: Scene, image: np.ndarray, ivar: np.ndarray | None = None, mask: np.ndarray | None = None, method: Any = boxcar, **options: Any
) -> Spectra:
    ivar = np.full(image.shape, 0.1) if ivar is None else ivar
    mask = np.zeros(image.shape) if mask is None else mask
    out: Spectra = method(image.astype(np.float32), ivar.astype(np.float32), mask.astype(np.uint16), scene.knots, **options)
    return out


def counts(scene: Scene, spectra: Spectra) -> np.ndarray:
    """Electrons per row: the rows are not quite equal steps in wavelength."""
    return spectra.flux * np.gradient(scene.wave, axis=1)


def test_wavelengths_are_the_inverse_of_the_traces(scene: Scene) -> None:
    out = extract(scene, np.zeros((NY, NX)))
    assert np.abs(out.wave - scene.wave).max() < 1e-6  # Angstrom: the cubic between knots 32 rows apart, on traces ten times shorter than real ones
    step = np.gradient(scene.wave, axis=1)[:, 1:-1]
    assert out.sigma[:, 1:-1] / step == pytest.approx(np.broadcast_to(1.1, step.shape), abs=0.06)  # the sigma itself runs from 1.05 to 1.15 pixel


@pytest.mark.parametrize("width", [7.0, 5.5, 4.0])
@pytest.mark.parametrize("wings", [(), WINGS])
def test_boxcar_equals_the_slow_version(scene: Scene, width: float, wings: tuple[tuple[float, float], ...]) -> None:
    rng = np.random.default_rng(3)
    image = reference.light_of(scene.electrons, scene.place, scene.sigma, NX, wings) + rng.normal(size=(NY, NX)) * 3
    ivar = rng.uniform(0.05, 0.2, (NY, NX))
    found = extract(scene, image, ivar, wings=made(wings), settings=Settings(width=width))
    expected, variance = reference.boxcar(image, ivar, scene.place, scene.sigma, width, wings)
    step = np.gradient(scene.wave, axis=1)
    inner = np.s_[:, 1:-1]  # at the ends np.gradient is of first order
    # the light of neighbours is taken at the mean over places of the window within a pixel, for 128 rows at a time
    assert (found.flux * step)[inner] == pytest.approx(expected[inner], rel=1e-3, abs=4e-4 * scene.electrons.max())
    assert (found.ivar / step**2 * variance)[inner] == pytest.approx(1.0, abs=2e-3)


def made(wings: tuple[tuple[float, float], ...]) -> Profile:
    return Profile(np.array([w for w, _ in wings]), np.array([s for _, s in wings])) if wings else NO_WINGS


@pytest.mark.parametrize("wings", [(), WINGS])
@pytest.mark.parametrize("method", [boxcar, weighted])
def test_light_without_noise_comes_back(scene: Scene, wings: tuple[tuple[float, float], ...], method: Any) -> None:
    image = reference.light_of(scene.electrons, scene.place, scene.sigma, NX, wings)
    found = counts(scene, extract(scene, image, wings=made(wings), method=method))[:, 1:-1]
    # light of neighbours is taken off at the mean over places of the window within a pixel: 4e-4 of them
    assert found == pytest.approx(scene.electrons[:, 1:-1], rel=1e-3, abs=4e-4 * scene.electrons.max())
    assert found.sum() / scene.electrons[:, 1:-1].sum() == pytest.approx(1.0, abs=2e-4)


@pytest.mark.parametrize("method", [boxcar, weighted])
def test_a_bad_column_is_repaired_from_the_profile(scene: Scene, method: Any) -> None:
    rng = np.random.default_rng(8)
    light = reference.light_of(scene.electrons, scene.place, scene.sigma, NX)
    variance = light + 9
    pulls = []
    for _ in range(6):
        image = rng.poisson(light) + 3 * rng.normal(size=light.shape)
        bad = np.zeros((NY, NX), bool)
        bad[:, np.rint(scene.place[4]).astype(int).min()] = True
        image[bad] = 60000.0
        found = extract(scene, image, np.where(bad, 0, 1 / variance), bad, method=method)
        assert (found.mask[4] == 0).all()
        step = np.gradient(scene.wave, axis=1)[4]
        pulls.append(((found.flux[4] * step - scene.electrons[4]) * np.sqrt(found.ivar[4]) / step)[1:-1])
    assert np.mean(np.square(pulls)) == pytest.approx(1.0, abs=0.25)  # 408 samples: 0.07, and the 2 % of the profile is not there
    assert abs(np.mean(pulls)) < 0.25


def test_a_sample_without_most_of_its_light_is_lost(scene: Scene) -> None:
    light = reference.light_of(scene.electrons, scene.place, scene.sigma, NX)
    x, bad = int(np.rint(scene.place[3, 20])), np.zeros((NY, NX), np.uint16)
    bad[20, x - 2 : x + 3] = Bits().cosmic
    bad[40, x : x + 1] = Bits().saturated
    bad[50, x - 4 : x + 5] = 1
    found = extract(scene, light, np.where(bad > 0, 0, 0.1), bad)
    b = Bits()
    assert found.mask[3, [20, 40, 50]].tolist() == [b.some | b.spec_cosmic, b.some | b.spec_saturated, b.all]
    assert (found.ivar[3, [20, 40, 50]] == 0).all()
    assert found.flux[3, 20] == pytest.approx(found.flux[3, 19], rel=5e-3)  # for display: the row before
    assert (np.delete(found.mask[3], [20, 40, 50]) == 0).all()
    others = np.delete(found.mask, 3, axis=0)
    assert np.count_nonzero(others) <= 3  # a neighbour keeps its light


def saturated(light: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The image as a detector gives it that counts no more than 65000 electrons, and its mask."""
    full = light > 65000
    return np.where(full, 65000, light), np.where(full, Bits().saturated, 0)


@pytest.mark.parametrize("method", [boxcar, weighted])
def test_beside_saturated_light_nothing_is_known(scene: Scene, method: Any) -> None:
    """Fibre 4 is the last of its bundle: what it has, and what fibre 3 gets of it, is lost; fibre 5, 17 pixels away, gets nothing."""
    strong = scene.electrons.copy()
    strong[4, 20:30] = 2e6
    image, mask = saturated(reference.light_of(strong, scene.place, scene.sigma, NX))
    found = extract(scene, image, np.where(mask > 0, 0, 0.1), mask, method=method)
    b = Bits()
    for f in (3, 4):
        assert (found.mask[f, 20:30] == b.some | b.spec_saturated).all()
        assert (found.ivar[f, 20:30] == 0).all()
    others = np.delete(np.arange(NFIBRE), [3, 4])
    assert (found.mask[others] == 0).all()
    assert (np.delete(found.mask[3], np.arange(20, 30)) == 0).all()
    assert counts(scene, found)[others, 1:-1] == pytest.approx(scene.electrons[others, 1:-1], rel=1e-3, abs=4e-4 * scene.electrons.max())


def test_light_of_a_lost_neighbour_is_in_the_variance(scene: Scene) -> None:
    """3e5 electrons in the row before: so may it be in the row that is lost."""
    bright = scene.electrons.copy()
    bright[3] = 3e5
    light = reference.light_of(bright, scene.place, scene.sigma, NX)
    x, bad = int(np.rint(scene.place[3, 40])), np.zeros((NY, NX), np.uint16)
    bad[40, x - 3 : x + 4] = 1
    noise = {"noise": PixelNoise(np.array([[0, NY, 0, NX]], np.int64), np.array([9.0]))}
    sound, found = extract(scene, light, **noise), extract(scene, light, np.where(bad > 0, 0, 0.1), bad, **noise)
    step = np.gradient(scene.wave, axis=1)
    k = np.arange(NX)
    for f in (2, 4):
        own = reference.window_weights(NX, scene.place[f, 40], 7.0)
        given = 3e5 * own @ reference.profile(k, scene.place[3, 40], scene.sigma[3, 40])
        added = step[f, 40] ** 2 * (1 / found.ivar[f, 40] - 1 / sound.ivar[f, 40])
        # the fraction is its mean over places of the window within a pixel, which by themselves change it by a factor of two
        assert 0.25 < added / given**2 < 4
        assert found.mask[f, 40] == 0


@pytest.mark.parametrize("width", [2.0, 3.0, 7.0, 9.0])
def test_pulls_are_one_at_any_width(scene: Scene, width: float) -> None:
    """Pixels at the edges of the window count by a part w: their photons by w^2. 12000 samples: chi2 is known to 0.013."""
    rng = np.random.default_rng(12)
    even = np.full(scene.electrons.shape, 2000.0)
    light, step = reference.light_of(even, scene.place, scene.sigma, NX), np.gradient(scene.wave, axis=1)
    noise = PixelNoise(np.array([[0, NY, 0, NX]], np.int64), np.array([9.0]))
    pulls = []
    for _ in range(20):
        image = rng.poisson(light) + 3 * rng.normal(size=light.shape)
        found = extract(scene, image, noise=noise, settings=Settings(width=width))
        pulls.append(((found.flux * step - even) * np.sqrt(found.ivar) / step)[:, 1:-1])
    assert np.mean(np.square(pulls)) == pytest.approx(1.0, abs=0.05)


def test_a_window_that_runs_off_the_image_is_repaired_or_lost(scene: Scene) -> None:
    moved = scene.knots._replace(x=scene.knots.x - scene.place[0].mean() + 0.2)
    place = scene.place - scene.place[0].mean() + 0.2
    image = reference.light_of(scene.electrons, place, scene.sigma, NX)
    found = extract(scene._replace(knots=moved), image)
    half = counts(scene, found)[0, 2:-2]
    assert half == pytest.approx(scene.electrons[0, 2:-2], rel=5e-3)  # half of the light is on the image: enough
    far = extract(scene._replace(knots=scene.knots._replace(x=scene.knots.x - 500)), image)
    assert (far.ivar == 0).all()
    assert (far.mask & Bits().all != 0).all()
    assert np.isfinite(far.flux).all()


def test_dead_fibres_and_rows_beyond_the_traces_are_masked(scene: Scene) -> None:
    alive = np.ones(NFIBRE, bool)
    alive[2] = False
    short = scene.knots._replace(last=np.full(NFIBRE, 60.0))
    found = extract(scene._replace(knots=short), np.full((NY, NX), 5.0), alive=alive)
    assert (found.ivar[2] == 0).all()
    assert (found.mask[2, :61] == Bits().bad_fibre).all()
    assert (found.mask[3, 61:] == Bits().all).all()
    assert (found.mask[3, :61] == 0).all()


def modelled(values: np.ndarray, own: np.ndarray, base: np.ndarray) -> np.ndarray:
    """Variance [ny, nfibre] by the kernel, row after row as `algorithms.kernels.spectra` calls it."""
    ny, nfibre = values.shape
    ring, far, near, out = np.empty((RING, nfibre), np.float32), np.empty(nfibre, np.float32), np.empty(nfibre, np.float32), np.empty_like(values)
    for k in range(-HALO, HALO - 3):
        add_mean(values, 0, ny, k, ring)
    for y in range(ny):
        add_mean(values, 0, ny, y + HALO - 3, ring)
        model_variance(values, 0, ny, y, own, base, ring, far, near, out[y])
    return out


def test_variance_comes_from_the_other_rows(scene: Scene) -> None:
    rng = np.random.default_rng(4)
    values = np.ascontiguousarray(rng.poisson(scene.electrons).astype(np.float32).T)
    own, base = np.linspace(0.95, 0.999, NFIBRE).astype(np.float32), np.linspace(40, 60, NFIBRE).astype(np.float32)
    out = modelled(values, own, base)
    for f in range(NFIBRE):
        expected = reference.model_variance(values[:, f].astype(float), np.full(NY, float(own[f])), np.full(NY, float(base[f])))
        assert out[:, f] == pytest.approx(expected, rel=1e-5)  # of float32
    changed = values.copy()
    changed[30, 5] += 1e4
    assert modelled(changed, own, base)[30, 5] == out[30, 5]


def test_noise_of_the_amplifiers_replaces_that_of_the_pixels(scene: Scene) -> None:
    boxes = np.array([[0, NY, 0, NX // 2], [0, NY, NX // 2, NX]], np.int64)
    image = np.zeros((NY, NX))
    found = extract(scene, image, noise=PixelNoise(boxes, np.array([4.0, 16.0])))
    step = np.gradient(scene.wave, axis=1)
    variance = (step**2 / found.ivar)[:, 1:-1]  # over the square of the own fraction, 0.995 to 0.999
    assert variance[0] == pytest.approx(4.0 * (7 - 1 / 3) + 1 / 13.9, rel=0.02)
    assert variance[-1] == pytest.approx(16.0 * (7 - 1 / 3) + 1 / 13.9, rel=0.02)
    flagged, ivar = np.zeros((NY, NX)), np.full((NY, NX), 0.25)
    x = int(scene.place[0, 30])
    flagged[30, x], ivar[30, x] = 1 << 6, 1e-4  # a pixel of low response is usable: its own variance counts
    lifted = extract(scene, image, ivar, flagged, noise=PixelNoise(boxes, np.array([4.0, 16.0])))
    assert step[0, 30] ** 2 / lifted.ivar[0, 30] > 9e3


def test_the_result_does_not_depend_on_threads(scene: Scene) -> None:
    from quicklook.core.compiled import get_threads, set_threads

    image = reference.light_of(scene.electrons, scene.place, scene.sigma, NX)
    one, before = extract(scene, image), get_threads()
    set_threads(2)
    try:
        two = extract(scene, image)
    finally:
        set_threads(before)
    assert all(np.array_equal(a, b) for a, b in zip(one, two, strict=True))


def test_the_result_does_not_depend_on_where_tasks_end(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each task looks at ten rows of the next ones; only what stands in lost samples for display rests on the rows of the task."""
    rng = np.random.default_rng(11)
    image = rng.poisson(reference.light_of(scene.electrons, scene.place, scene.sigma, NX)).astype(float)
    bad = (rng.random(image.shape) < 0.02).astype(np.uint16)
    options: dict[str, Any] = {"noise": PixelNoise(np.array([[0, NY, 0, NX]], np.int64), np.array([9.0]))}
    whole = extract(scene, image, np.where(bad > 0, 0, 0.1), bad, **options)
    monkeypatch.setattr(extract_module, "BLOCKS", 1)
    parts = extract(scene, image, np.where(bad > 0, 0, 0.1), bad, **options)
    assert (whole.mask == 0).all()
    for one, other in zip(whole, parts, strict=True):
        assert np.array_equal(one, other)


def test_a_lost_fibre_has_numbers_and_no_weight(scene: Scene) -> None:
    """Lost from the first row on: the first value after; lost throughout: 0."""
    light = reference.light_of(scene.electrons, scene.place, scene.sigma, NX)
    bad = np.zeros((NY, NX), np.uint16)
    bad[:12, : int(scene.place[0].max()) + 5] = 1
    found = extract(scene, light, np.where(bad > 0, 0, 0.1), bad)
    assert (found.ivar[0, :12] == 0).all()
    assert counts(scene, found)[0, 1:12] == pytest.approx(scene.electrons[0, 12], rel=0.01)
    bad[:] = 1
    found = extract(scene, light, np.where(bad > 0, 0, 0.1), bad)
    assert (found.flux == 0).all()
    assert (found.mask & Bits().all != 0).all()


def test_a_pixel_that_is_no_number_spoils_one_sample(scene: Scene) -> None:
    light = reference.light_of(scene.electrons, scene.place, scene.sigma, NX)
    light[30, int(np.rint(scene.place[4, 30]))] = np.nan
    found = extract(scene, light)
    assert np.isfinite(found.flux).all()
    assert np.isfinite(found.ivar).all()
    assert found.ivar[4, 30] == 0
    assert found.mask[4, 30] != 0
    assert np.count_nonzero(found.mask) == 1


def test_light_on_pixels_from_the_table() -> None:
    tables = window_tables(7.0, 1.0, 1.2, made(WINGS))
    for sigma, centre in ((1.0, 0.3), (1.07, -0.49), (1.2, 0.0)):
        i, part = place(tables.sigma, sigma)
        found = np.zeros(17, np.float32)
        add_profile(tables.pixel, i, part, -8 - centre, np.float32(100.0), 24.0, found)
        assert found == pytest.approx(100 * reference.profile(np.arange(-8, 9), centre, sigma, WINGS), abs=4e-3)  # 3e-5 by steps, 1e-5 by sigma


def test_profile_and_tables() -> None:
    pixels = np.arange(-8, 9)
    wings = made(WINGS)
    found = [in_pixel(int(k), 0.3, 1.1, wings) for k in pixels]
    assert found == pytest.approx(reference.profile(pixels, 0.3, 1.1, WINGS), abs=5e-6)  # the table of the normal distribution
    assert below(100.0, 1.1, wings) == 1.0
    tables = window_tables(7.0, 1.0, 1.2, wings)
    for distance in (7.27, 17.76, 5.1):
        exact = np.mean(
            [reference.window_weights(60, 30 + p, 7.0) @ reference.profile(np.arange(60), 30 + p + distance, 1.1, WINGS) for p in np.arange(8) / 8]
        )
        assert of_neighbour(tables.other, *place(tables.sigma, 1.1), distance) == pytest.approx(exact, rel=0.02, abs=2e-5)
    assert of_neighbour(tables.other, 0, 0.5, 40.0) == 0.0


@pytest.mark.parametrize("background", [0.0, 30.0])
def test_wings_are_measured_beside_the_traces(scene: Scene, background: float) -> None:
    rng = np.random.default_rng(5)
    for wings in ((), WINGS):
        light = reference.light_of(20 * scene.electrons, scene.place, scene.sigma, NX, wings) + background
        image, ivar = (rng.poisson(light) + 3 * rng.normal(size=light.shape)).astype(np.float32), (1 / (light + 9)).astype(np.float32)
        found = measure_wings(image, ivar, scene.knots, every=1)
        outside = sum(w * (1 - 0.757 * (s < 4)) for w, s in zip(found.weight, found.sigma, strict=True))
        if not wings:
            assert found.weight.sum() < 0.01
        else:
            assert outside == pytest.approx(0.03 * 0.243, abs=0.004)  # light of the wings outside of the window


def test_traces_that_do_not_rise_are_refused() -> None:
    x, y = np.zeros((2, 3)), np.array([[10.0, 20.0, 0.0], [10.0, -20.0, 0.0]])
    with pytest.raises(ValueError, match=r"does not rise with wavelength in 1 of 2 traces"):
        trace_knots(x, y, x + 1, x + 1, W0, W1, 30)


def test_arrays_that_do_not_fit_are_refused(scene: Scene) -> None:
    image = np.zeros((NY, NX), np.float32)
    with pytest.raises(ValueError, match=r"differ in shape"):
        boxcar(image, image[:-1], np.zeros((NY, NX), np.uint16), scene.knots)
    tall = np.zeros((3 * NY, NX), np.float32)
    with pytest.raises(ValueError, match=r"reach to row 96, the image has 210 rows"):
        boxcar(tall, tall, np.zeros(tall.shape, np.uint16), scene.knots)
