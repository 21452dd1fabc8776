"""The scatter of wavelengths that the sky fibres show comes with what noise alone makes of it."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import sky_frames as made

from algorithms.compute_sky import ComputeSky


def test_noise_alone_makes_as_much_as_it_says() -> None:
    found = [ComputeSky().run(made.frame(seed=seed)[0]) for seed in range(1, 41)]
    beyond = np.array([sky.wave_error / sky.wave_noise for sky in found]) ** 2
    # the square is Gaussian about 0, and 0 where it would be negative: its mean square is 0.5, of 40 draws known to 0.2; the clipping of samples,
    # and that the worse of two terms is dropped, make it less
    assert 0.15 < (beyond**2).mean() < 1.1
    assert beyond.max() < 3.5


@pytest.mark.parametrize("scatter", [0.05, 0.1])
def test_a_scatter_stands_out_of_its_noise(scatter: float) -> None:
    frame = made.frame()[0]
    moved = replace(frame, wave=frame.wave + scatter * np.random.default_rng(7).normal(size=(made.NFIBRE, 1)))
    sky = ComputeSky().run(moved)
    assert sky.wave_error > 3 * sky.wave_noise


def test_without_lines_nothing_is_known_of_wavelengths() -> None:
    frame = made.frame()[0]
    rng = np.random.default_rng(3)
    flat = (140.0 + rng.normal(size=frame.flux.shape) / np.sqrt(np.maximum(frame.ivar, 1e-9))).astype(np.float32)
    sky = ComputeSky().run(replace(frame, flux=flat))
    bright = ComputeSky().run(frame)
    assert math.isinf(sky.wave_noise) or sky.wave_noise > 3 * bright.wave_noise
