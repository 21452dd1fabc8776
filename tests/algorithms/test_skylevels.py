"""Which sky fibres see the sky and nothing else: by their level, as far as their noise tells it."""

from __future__ import annotations

import numpy as np

from algorithms import skylevels
from quicklook.ccd.arrays import Raw

N = 12
SETTINGS = skylevels.Settings(
    mode_fraction=0.4, reject_sigma=5.0, reject_floor=0.04, reject_shape=2.5, free_above=0.1,
    knots=0.8, clip=5.0, model_error=0.0, leave_one_out=True, spatial_order=0, spatial_sigma=5.0,
)  # fmt: skip


def near(level: np.ndarray, noise: float) -> Raw:
    return skylevels._near_mode(level, np.ones(N, bool), SETTINGS, noise)


def test_noise_of_a_faint_sky_rejects_no_fibre() -> None:
    """Of twelve levels that are known to a fifth some lie close together by chance: taken for their scatter, that would reject the others."""
    levels = [np.random.default_rng(seed).normal(1.0, 0.2, N) for seed in range(200)]
    assert sum(int((~near(level, 0.0)).sum()) for level in levels) > 20
    assert sum(int((~near(level, 0.2)).sum()) for level in levels) == 0


def test_a_fibre_that_sees_something_else_is_rejected() -> None:
    level = np.random.default_rng(3).normal(100.0, 0.4, N)
    level[3] = 110.0
    np.testing.assert_array_equal(np.flatnonzero(~near(level, 0.4)), [3])
