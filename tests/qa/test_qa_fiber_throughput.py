"""Weak fibres: in lamps against the fibre flat, in science by the sky; known, dead and bright ones apart."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import qa_spectra as s

from qa.fiber_throughput import FiberThroughput
from qa.kernels.skyparts import WINDOW, sky_parts, telling
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import FiberFlat, Frame, SkyModel
from quicklook.core.errors import NotApplicable
from quicklook.core.keys import Unit
from quicklook.core.metrics import Measures

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
    """Factor of the sky in the stretches, by numpy's least squares, the highest mean without one."""
    r, weight = [], []
    for k in start:
        part = slice(int(k), int(k) + WINDOW)
        n = len(sky.flux[fibre, part])
        root = np.sqrt(frame.ivar[fibre, part].astype(float))
        design = np.stack([sky.flux[fibre, part].astype(float), np.ones(n), np.arange(n) - n / 2], axis=1) * root[:, None]
        covariance = np.linalg.inv(design.T @ design)
        r.append((covariance @ design.T @ (root * frame.flux[fibre, part]))[0])
        weight.append(1 / covariance[0, 0])
    values, weights = np.array(r), np.array(weight)
    means = []
    for out in range(len(r)):
        v, w = np.delete(values, out), np.delete(weights, out)
        mean = np.average(v, weights=w)
        means.append((mean, np.sqrt(max(1.0, (w * (v - mean) ** 2).sum() / (len(v) - 1)) / w.sum())))
    return max(means)


def test_sky_parts_against_least_squares() -> None:
    frame, sky = science(200.0)
    start = telling(sky.flux[0], frame.ivar[0], 6)
    assert all(any(k <= np.argmin(np.abs(s.WAVE - line)) + 2 and k + WINDOW >= np.argmin(np.abs(s.WAVE - line)) - 2 for k in start) for line in (6020, 6100))
    whole, by_lines = np.empty((s.NFIBRE, 2)), np.empty((s.NFIBRE, 2))
    sky_parts(frame.flux, frame.ivar, frame.mask, frame.wave, sky.flux, start, 0, 16, 100, whole, by_lines)
    chosen = np.arange(s.NWAVE) % 100 < 16
    total = sky.flux[:, chosen].sum(axis=1, dtype=float)
    np.testing.assert_allclose(whole[:, 0], frame.flux[:, chosen].sum(axis=1, dtype=float) / total, rtol=1e-6)
    np.testing.assert_allclose(whole[:, 1], s.SIGMA * np.sqrt(chosen.sum()) / total, rtol=1e-5)
    for fibre in (0, 9, 59):
        np.testing.assert_allclose(by_lines[fibre], slow_lines(frame, sky, start, fibre), rtol=1e-5)


def test_samples_that_cannot_be_used_tell_nothing() -> None:
    frame, sky = science()
    ivar = frame.ivar.copy()
    ivar[3] = 0.0
    frame = replace(frame, ivar=ivar)
    whole, by_lines = np.empty((s.NFIBRE, 2)), np.empty((s.NFIBRE, 2))
    sky_parts(frame.flux, frame.ivar, frame.mask, frame.wave, sky.flux, telling(sky.flux[0], frame.ivar[0], 4), 0, 16, 100, whole, by_lines)
    assert np.isnan(whole[3]).all()
    assert np.isnan(by_lines[3]).all()
    assert telling(sky.flux[0], np.zeros(s.NWAVE, np.float32), 4).size == 0


def test_the_plot_says_what_the_fibres_are_compared_with() -> None:
    assert measured(*science()).plots[0].panels[0].title == "Throughput against the sky model"
    flat = FiberThroughput().measure(s.frame(np.full((s.NFIBRE, s.NWAVE), 5000.0)), exposure("flat"))
    assert flat.plots[0].panels[0].title == "Throughput against the fibre flat"
