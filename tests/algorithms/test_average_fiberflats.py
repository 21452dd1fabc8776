"""Fibre flats of several exposures, averaged."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from algorithms.average_fiberflats import AverageFiberflats, AverageFiberflatsParams
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.spectra import FiberFlat
from quicklook.core.errors import BadData
from quicklook.core.keys import Unit

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


def exposures(n: int) -> list[Exposure]:
    start = datetime(2022, 1, 1, tzinfo=UTC)
    return [Exposure(unit=Unit(20220101, 10 + k), instrument="bench", flavor="flat", exptime=10.0, start=start) for k in range(n)]


def averaged(flats: Sequence[FiberFlat], **params: float) -> FiberFlat:
    """The mean; what was left out is looked at in a test of its own."""
    mean, _ = AverageFiberflats(AverageFiberflatsParams(**params)).run(flats, exposures(len(flats)))
    return mean


def test_the_mean_is_better_than_each_and_says_so() -> None:
    mean = averaged([flat(k) for k in (1, 2, 3, 4)])
    assert np.std(mean.flat - TRUTH) == pytest.approx(SIGMA / 2, rel=0.1)
    # the floor of 0.002 of each is in the error too
    np.testing.assert_allclose(1 / np.sqrt(np.median(mean.ivar)), np.hypot(SIGMA, 0.002) / 2, rtol=0.01)
    np.testing.assert_allclose(mean.meanspec, 250.0)


def test_an_odd_exposure_is_left_out() -> None:
    flats = [flat(k) for k in (1, 2, 3)]
    values = flats[1].flat.copy()
    values[2, 100:120] += 0.3
    mean = averaged([flats[0], replace(flats[1], flat=values), flats[2]])
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
    mean = averaged([one, turned])
    assert np.std((mean.flat - TRUTH)[:, 2:-2]) < SIGMA
    with pytest.raises(BadData, match="of different fibres"):
        averaged([one, replace(other, fiber=other.fiber + 1)])


def test_masked_values_do_not_count_and_what_nobody_knows_stays_masked() -> None:
    one, other = flat(1), flat(2)
    mask, both = one.mask.copy(), one.mask.copy()
    mask[0, :50], both[0, :10] = 1, 1
    values = one.flat.copy()
    values[0, :50] = 99.0
    mean = averaged([replace(one, mask=mask, flat=values), replace(other, mask=both)])
    assert np.abs(mean.flat[0, 10:50] - TRUTH[0, 10:50]).max() < 5 * SIGMA
    assert (mean.mask[0, :10] != 0).all()
    assert (mean.ivar[0, :10] == 0).all()


def test_one_flat_is_itself_and_none_is_refused() -> None:
    only = flat(1)
    assert averaged([only]) is only
    with pytest.raises(BadData, match="no fibre flat to average"):
        averaged([])


def test_an_exposure_whose_lamp_drifted_is_left_out_as_a_whole() -> None:
    slope = 1 + 0.03 * np.linspace(-1, 1, N)[:, None]
    flats = [flat(k) for k in (1, 2, 3, 4)]
    flats[1] = replace(flats[1], flat=(flats[1].flat * slope).astype(np.float32))
    mean = averaged(flats)
    steady = averaged([flats[i] for i in (0, 2, 3)])
    np.testing.assert_array_equal(mean.flat, steady.flat)
    np.testing.assert_allclose(mean.meanspec, steady.meanspec)
    _, left_out = AverageFiberflats().run(flats, exposures(4))
    assert left_out.units == ("20220101/00000011",)
    assert re.fullmatch(r"left out: its lamp drifted; its throughputs scatter by [1-3](\.\d)? % about those of the others", left_out.why[0])
    assert AverageFiberflats().run(flats[:1], exposures(1))[1].units == ()
    everything = averaged(flats, drift=0.5)
    assert np.std(everything.flat - TRUTH) > 1.2 * np.std(mean.flat - TRUTH)
