"""Fibre flats of several exposures, averaged."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from algorithms.average_fiberflats import AverageFiberflats, AverageFiberflatsParams
from quicklook.ccd.spectra import FiberFlat
from quicklook.core.errors import BadData

N, NWAVE, SIGMA = 6, 300, 0.005
WAVE = 4000.0 + np.arange(NWAVE)
TRUTH = 1 + 0.1 * np.linspace(-1, 1, N)[:, None] + 0.02 * np.sin(WAVE / 60.0)


def flat(seed: int) -> FiberFlat:
    noise = SIGMA * np.random.default_rng(seed).normal(size=TRUTH.shape)
    return FiberFlat(
        flat=(TRUTH + noise).astype(np.float32),
        ivar=np.full(TRUTH.shape, SIGMA**-2, np.float32),
        mask=np.zeros(TRUTH.shape, np.uint32),
        wave=np.array(WAVE, np.float64),
        meanspec=np.full(NWAVE, 100.0 * seed, np.float32),
        fiber=np.arange(500, 500 + N, dtype=np.int32),
    )


def test_the_mean_is_better_than_each_and_says_so() -> None:
    mean = AverageFiberflats().run([flat(k) for k in (1, 2, 3, 4)])
    assert np.std(mean.flat - TRUTH) == pytest.approx(SIGMA / 2, rel=0.1)
    # the floor of 0.002 of each is in the error too
    np.testing.assert_allclose(1 / np.sqrt(np.median(mean.ivar)), np.hypot(SIGMA, 0.002) / 2, rtol=0.01)
    np.testing.assert_allclose(mean.meanspec, 250.0)


def test_an_odd_exposure_is_left_out() -> None:
    flats = [flat(k) for k in (1, 2, 3)]
    values = flats[1].flat.copy()
    values[2, 100:120] += 0.3
    mean = AverageFiberflats().run([flats[0], replace(flats[1], flat=values), flats[2]])
    assert np.abs(mean.flat - TRUTH)[2, 100:120].max() < 5 * SIGMA
    assert mean.ivar[2, 110] < mean.ivar[2, 200] * 0.8


def test_fibres_are_matched_by_number_and_wavelengths_brought_together() -> None:
    one, other = flat(1), flat(2)
    turned = replace(
        other,
        flat=other.flat[::-1].copy(),
        fiber=other.fiber[::-1].copy(),
        wave=np.array(WAVE + 0.5, np.float64),
        ivar=other.ivar.copy(),
        mask=other.mask.copy(),
    )
    mean = AverageFiberflats().run([one, turned])
    assert np.std((mean.flat - TRUTH)[:, 2:-2]) < SIGMA
    with pytest.raises(BadData, match="of different fibres"):
        AverageFiberflats().run([one, replace(other, fiber=other.fiber + 1)])


def test_masked_values_do_not_count_and_what_nobody_knows_stays_masked() -> None:
    one, other = flat(1), flat(2)
    mask, both = one.mask.copy(), one.mask.copy()
    mask[0, :50], both[0, :10] = 1, 1
    values = one.flat.copy()
    values[0, :50] = 99.0
    mean = AverageFiberflats().run([replace(one, mask=mask, flat=values), replace(other, mask=both)])
    assert np.abs(mean.flat[0, 10:50] - TRUTH[0, 10:50]).max() < 5 * SIGMA
    assert (mean.mask[0, :10] != 0).all()
    assert (mean.ivar[0, :10] == 0).all()


def test_one_flat_is_itself_and_none_is_refused() -> None:
    only = flat(1)
    assert AverageFiberflats().run([only]) is only
    with pytest.raises(BadData, match="no fibre flat to average"):
        AverageFiberflats().run([])


def test_an_exposure_whose_lamp_drifted_is_left_out_as_a_whole() -> None:
    slope = 1 + 0.03 * np.linspace(-1, 1, N)[:, None]
    flats = [flat(k) for k in (1, 2, 3, 4)]
    flats[1] = replace(flats[1], flat=(flats[1].flat * slope).astype(np.float32))
    mean = AverageFiberflats().run(flats)
    steady = AverageFiberflats().run([flats[i] for i in (0, 2, 3)])
    np.testing.assert_array_equal(mean.flat, steady.flat)
    np.testing.assert_allclose(mean.meanspec, steady.meanspec)
    everything = AverageFiberflats(AverageFiberflatsParams(drift=0.5)).run(flats)
    assert np.std(everything.flat - TRUTH) > 1.2 * np.std(mean.flat - TRUTH)
