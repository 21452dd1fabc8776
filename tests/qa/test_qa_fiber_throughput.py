"""Weak fibres: in lamps against the fibre flat, in science by the sky; known, dead and bright ones apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import qa_spectra as s

from qa.fiber_throughput import FiberThroughput
from qa.fiberlight import of_expected
from qa.kernels.skyparts import WINDOW, sky_parts, telling
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import FiberFlat, Frame, SkyModel
from quicklook.core.errors import NotApplicable
from quicklook.core.keys import Unit
from quicklook.core.metrics import Measures
from quicklook.core.plots import Scatter

WEAK = (4, 9, 31)
LOST = np.where(np.isin(np.arange(s.NFIBRE), WEAK), 0.5, 1.0)


def exposure(flavor: str = "science") -> Exposure:
    return Exposure(unit=Unit(20220101, 1), instrument="desi", flavor=flavor, exptime=10.0)


def lines() -> np.ndarray:
    """A sky of a continuum and five lines."""
    wave = s.WAVE[:, None]
    return np.asarray(s.LEVEL + (np.array([900, 500, 1500, 700, 300]) * np.exp(-0.5 * ((wave - np.array([6020, 6055, 6100, 6140, 6180])) / 0.7) ** 2)).sum(1))


def science(target: np.ndarray | float = 0.0, lost: np.ndarray = LOST, seed: int = 5, **columns: np.ndarray) -> tuple[Frame, SkyModel]:
    """Flat-fielded spectra of sky and targets, [nfibre, nwave] or one level for all that are no sky, and the model of the sky."""
    sky = np.tile(lines(), (s.NFIBRE, 1))
    seen = np.where(np.isin(np.arange(s.NFIBRE), s.SKY)[:, None], 0.0, target)
    noise = np.random.default_rng(seed).normal(0.0, s.SIGMA, sky.shape)
    frame = s.frame(lost[:, None] * (sky + seen) + noise, stage="fframe", fibermap=s.fibermap(**columns))
    model = SkyModel(
        flux=sky.astype(np.float32), ivar=np.full(sky.shape, 1.0, np.float32), mask=np.zeros(sky.shape, np.uint32),
        wave=frame.wave, fibers=tuple(500 + i for i in s.SKY), fiber=frame.fibermap.fiber.astype(np.int32),
    )  # fmt: skip
    return frame, model


def measured(frame: Frame, sky: SkyModel) -> Measures:
    return FiberThroughput().measure(frame, exposure(), None, sky)


@pytest.mark.parametrize("target", [0.0, 100.0, 400.0])
def test_fibres_of_half_the_light_are_found_by_the_sky(target: float) -> None:
    got = measured(*science(target))
    assert float(got["weak_fibers"].values) == 3
    assert got["weak_fibers"].remarks[()].startswith("fibre 504, 509, 531 (0.5")
    assert float(got["fiber_throughput_lowest"].values) == pytest.approx(0.5, abs=0.06)


def test_sound_fibres_with_targets_of_any_shape_are_not_weak() -> None:
    slope = np.linspace(-300.0, 900.0, s.NWAVE).clip(0)
    targets: tuple[np.ndarray | float, ...] = (0.0, 50.0, 5000.0, slope)
    for seed, target in enumerate(targets):
        assert float(measured(*science(target, np.ones(s.NFIBRE), seed=seed))["weak_fibers"].values) == 0


def test_an_absorption_of_the_target_on_a_sky_line_makes_no_fibre_weak() -> None:
    hole = 3000.0 * (1.0 - 0.6 * np.exp(-0.5 * ((s.WAVE - 6100) / 0.7) ** 2))
    assert float(measured(*science(hole, np.ones(s.NFIBRE)))["weak_fibers"].values) == 0


def test_known_and_dead_fibres_do_not_count() -> None:
    status = np.zeros(s.NFIBRE, np.int32)
    status[4] = 1 << 2
    lost = LOST.copy()
    lost[31] = 0.0
    got = measured(*science(60.0, lost, FIBERSTATUS=status))
    assert got["weak_fibers"].remarks[()].startswith("fibre 509 (")


def test_it_does_not_apply_without_sky_or_light() -> None:
    frame, sky = science()
    for given, flavor in ((None, "science"), (replace(sky, fiber=np.arange(s.NFIBRE, dtype=np.int32)), "science"), (sky, "zero")):
        with pytest.raises(NotApplicable):
            FiberThroughput().measure(frame, exposure(flavor), None, given)
    with pytest.raises(NotApplicable, match="no light"):
        FiberThroughput().measure(s.frame(np.random.default_rng(1).normal(0, s.SIGMA, frame.flux.shape)), exposure("flat"), None, None)


# ---- by the catalogue, where the sky has no lines

TARGET = np.array([i not in s.SKY for i in range(s.NFIBRE)])


def faint_lines(lost: np.ndarray, height: float = 0.0, missed: tuple[int, ...] = (), seed: int = 3, **columns: np.ndarray) -> tuple[Frame, SkyModel]:
    """Spectra of a sky with lines that tell little, and of targets from half to four times as bright as it, with the magnitudes of these."""
    catalogue = np.where(TARGET, np.geomspace(0.5, 4.0, s.NFIBRE), 0.0)
    catalogue[12] = 7.0  # a sky fibre: what the fibre map says of its target does not count
    seen = np.where(TARGET & ~np.isin(np.arange(s.NFIBRE), missed), 1.2 * s.LEVEL * catalogue, 0.0)
    sky = np.tile(s.LEVEL + height * (lines() - s.LEVEL), (s.NFIBRE, 1))
    noise = np.random.default_rng(seed).normal(0.0, s.SIGMA, sky.shape)
    frame = s.frame(lost[:, None] * (sky + seen[:, None]) + noise, stage="fframe", fibermap=s.fibermap(**({"FIBERFLUX_R": catalogue} | columns)))
    return frame, replace(science()[1], flux=sky.astype(np.float32))


def test_by_the_catalogue_fibres_are_found_whose_targets_are_as_bright_as_the_sky() -> None:
    got = measured(*faint_lines(LOST))
    assert got["weak_fibers"].remarks[()].startswith("fibre 504, 509, 531 (0.")
    assert float(got["fiber_throughput_lowest"].values) == pytest.approx(0.5, abs=0.03)
    assert float(got["unseen_fibers"].values) == 0
    assert float(got["fiber_loss_told"].values) == 0.25
    assert float(measured(*faint_lines(np.ones(s.NFIBRE)))["weak_fibers"].values) == 0


def test_the_light_of_fibres_over_what_is_expected() -> None:
    light, sky, noise = (np.full(12, v) for v in (300.0, 100.0, 1.0))
    catalogue = np.full(12, 40.0)
    light[3], catalogue[5], light[6] = 150.0, np.nan, np.nan
    value, error = of_expected(light, sky, noise, catalogue)
    # c = 200 / 40 = 5: 300 expected; the scatter is the least, 0.03 of 200, and 0.02 of the sky
    assert value[[0, 3]] == pytest.approx([1.0, 0.5])
    assert error[0] == pytest.approx(np.sqrt(1 + 2**2 + 6**2) / 300)
    assert np.isnan(value[[5, 6]]).all()
    assert np.isnan(of_expected(light[:7], sky[:7], noise[:7], catalogue[:7])[0]).all(), "six are too few to tell"
    assert np.isnan(of_expected(light, sky, 40 * noise, catalogue)[0]).all(), "none of them stands out by five errors"
    assert np.isnan(of_expected(sky, sky, noise, catalogue)[0]).all(), "no light of any target"


def test_scatter_of_the_targets_about_the_catalogue_is_no_loss() -> None:
    wrong = np.where(TARGET, np.geomspace(0.5, 4.0, s.NFIBRE), 0.0) * np.random.default_rng(4).normal(1, 0.3, s.NFIBRE)
    got = measured(*faint_lines(LOST, FIBERFLUX_R=wrong))
    named = {int(n) for n in got["weak_fibers"].remarks.get((), "fibre 509 (").split("fibre ")[1].split(" (")[0].split(", ")}
    assert named <= {504, 509, 531}
    assert float(got["fiber_loss_told"].values) > 0.4


def test_a_fibre_that_missed_its_target_has_lost_nothing() -> None:
    found = {height: measured(*faint_lines(np.ones(s.NFIBRE), height, missed=(10, 25)))["weak_fibers"] for height in (0.0, 0.2)}
    assert found[0.0].remarks[()].startswith("fibre 510, 525 ("), "without lines nothing speaks against a loss"
    assert float(found[0.2].values) == 0


def test_what_the_noise_hides_is_not_called_good() -> None:
    sound = faint_lines(np.ones(s.NFIBRE), FIBERFLUX_R=np.zeros(s.NFIBRE))
    got = measured(*sound)
    assert got["weak_fibers"].not_applicable == "in 40 of 60 fibres the noise would hide the loss of half of their light"
    assert float(got["unseen_fibers"].values) == 40
    assert float(got["fiber_loss_told"].values) == 1.0
    faint = measured(*faint_lines(np.ones(s.NFIBRE), 0.05, FIBERFLUX_R=np.zeros(s.NFIBRE)))
    hidden = [layer for layer in faint.plots[0].panels[0].layers if isinstance(layer, Scatter) and layer.label == "half could be lost unseen"]
    assert len(hidden[0].x) == 40
    half = np.where(np.arange(s.NFIBRE) == 9, 0.5, 1.0)
    got = measured(*faint_lines(half, FIBERFLUX_R=np.zeros(s.NFIBRE)))
    assert got["weak_fibers"].remarks[()].startswith("fibre 509 ("), "what is found is said all the same"


# ---- lamps


def fiberflat(level: np.ndarray) -> FiberFlat:
    shape = (s.NFIBRE, 50)
    return FiberFlat(
        flat=np.broadcast_to(level[::-1, None], shape).astype(np.float32), ivar=np.full(shape, 1e6, np.float32), mask=np.zeros(shape, np.uint32),
        wave=np.linspace(6000, 6200, 50), meanspec=np.ones(50, np.float32), fiber=np.arange(500, 500 + s.NFIBRE, dtype=np.int32)[::-1].copy(),
    )  # fmt: skip


@pytest.mark.parametrize("flavor", ["arc", "flat"])
def test_in_lamps_the_fibre_flat_says_what_a_fibre_should_give(flavor: str) -> None:
    level = np.ones(s.NFIBRE)
    level[20] = 0.6  # a fibre that has always been so
    spectrum = np.full(s.NWAVE, 3000.0) if flavor == "flat" else 20.0 * (lines() - s.LEVEL)
    noise = np.random.default_rng(6).normal(0, s.SIGMA, (s.NFIBRE, s.NWAVE))
    frame = s.frame((level * LOST)[:, None] * spectrum + noise)
    got = FiberThroughput().measure(frame, exposure(flavor), fiberflat(level))
    assert got["weak_fibers"].remarks[()] == "fibre 504, 509, 531 (0.50, 0.50, 0.50 of the light)"
    alone = FiberThroughput().measure(frame, exposure(flavor))
    assert float(alone["weak_fibers"].values) == 4, "without a fibre flat fibres are compared with each other"


def test_a_mask_over_the_brightest_line_of_an_arc_makes_no_fibre_weak() -> None:
    noise = np.random.default_rng(7).normal(0, s.SIGMA, (s.NFIBRE, s.NWAVE))
    frame = s.frame(20.0 * (lines() - s.LEVEL) + noise)
    mask = frame.mask.copy()
    mask[12, np.abs(s.WAVE - 6100) < 3] = 1
    got = FiberThroughput().measure(replace(frame, mask=mask), exposure("arc"))
    assert float(got["weak_fibers"].values) == 0


# ---- kernels


def slow_lines(frame: Frame, sky: SkyModel, start: np.ndarray, fibre: int) -> tuple[float, float]:
    """Factor of the sky in the stretches, by numpy's least squares, the highest mean without one; for the noise of the sky."""
    r, weight, noise = [], [], 0.0
    for k in start:
        part = slice(int(k), int(k) + WINDOW)
        n = len(sky.flux[fibre, part])
        root = np.sqrt(frame.ivar[fibre, part].astype(float))
        design = np.stack([sky.flux[fibre, part].astype(float), np.ones(n), np.arange(n) - n / 2], axis=1) * root[:, None]
        covariance = np.linalg.inv(design.T @ design)
        r.append((covariance @ design.T @ (root * frame.flux[fibre, part]))[0])
        weight.append(1 / covariance[0, 0])
        noise += (1 - 2 / WINDOW) * (frame.ivar[fibre, part].astype(float) / sky.ivar[fibre, part]).sum()
    values, weights = np.array(r), np.array(weight)
    means = []
    for out in range(len(r)):
        v, w = np.delete(values, out), np.delete(weights, out)
        mean = np.average(v, weights=w)
        means.append((mean, np.sqrt(max(1.0, (w * (v - mean) ** 2).sum() / (len(v) - 1)) / w.sum())))
    left = 1 - noise / weights.sum()
    return max(means)[0] / left, np.hypot(max(means)[1], 0.5 * (1 - left)) / left


def parts(frame: Frame, sky: SkyModel, start: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    whole, by_lines = np.empty((s.NFIBRE, 3)), np.empty((s.NFIBRE, 2))
    sky_parts(frame.flux, frame.ivar, frame.mask, frame.wave, sky.flux, sky.ivar, start, 0, 16, 100, whole, by_lines)
    return whole, by_lines


def test_noise_of_the_sky_makes_no_fibre_faint() -> None:
    frame, sky = science(0.0, np.ones(s.NFIBRE))
    noise = 80.0
    model = (sky.flux + np.random.default_rng(9).normal(0, noise, sky.flux.shape)).astype(np.float32)
    start = telling(lines().astype(np.float32), frame.ivar[0], 12)
    found = [parts(frame, replace(sky, flux=model, ivar=np.full(model.shape, ivar, np.float32)), start)[1][:, 0] for ivar in (0.0, noise**-2)]
    assert np.median(found[0]) < 0.92
    # the highest of the means that leave one stretch out lies above 1, by less than the error of one fibre, 0.075
    assert np.median(found[1]) == pytest.approx(1.0, abs=0.075)


def test_sky_parts_against_least_squares() -> None:
    frame, sky = science(200.0)
    sky = replace(sky, ivar=np.full(sky.flux.shape, 0.01, np.float32))
    start = telling(sky.flux[0], frame.ivar[0], 6)
    assert all(any(k <= np.argmin(np.abs(s.WAVE - line)) + 2 and k + WINDOW >= np.argmin(np.abs(s.WAVE - line)) - 2 for k in start) for line in (6020, 6100))
    whole, by_lines = parts(frame, sky, start)
    chosen = np.arange(s.NWAVE) % 100 < 16
    np.testing.assert_allclose(whole[:, 0], frame.flux[:, chosen].mean(axis=1, dtype=float), rtol=1e-6)
    np.testing.assert_allclose(whole[:, 1], sky.flux[:, chosen].mean(axis=1, dtype=float), rtol=1e-6)
    np.testing.assert_allclose(whole[:, 2], s.SIGMA / np.sqrt(chosen.sum()), rtol=1e-5)
    for fibre in (0, 9, 59):
        np.testing.assert_allclose(by_lines[fibre], slow_lines(frame, sky, start, fibre), rtol=1e-5)


def test_samples_that_cannot_be_used_tell_nothing() -> None:
    frame, sky = science()
    ivar = frame.ivar.copy()
    ivar[3] = 0.0
    frame = replace(frame, ivar=ivar)
    whole, by_lines = parts(frame, sky, telling(sky.flux[0], frame.ivar[0], 4))
    assert np.isnan(whole[3]).all()
    assert np.isnan(by_lines[3]).all()
    assert telling(sky.flux[0], np.zeros(s.NWAVE, np.float32), 4).size == 0


def test_the_plot_says_what_the_fibres_are_compared_with() -> None:
    assert measured(*science()).plots[0].panels[0].title == "Throughput against the sky model"
    flat = FiberThroughput().measure(s.frame(np.full((s.NFIBRE, s.NWAVE), 5000.0)), exposure("flat"))
    assert flat.plots[0].panels[0].title == "Throughput against the fibre flat"
