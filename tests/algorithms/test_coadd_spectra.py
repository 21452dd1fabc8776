"""Spectra added up: against sums that are taken sample by sample, with an outlier, with wavelengths that moved, with noise that is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from algorithms.coadd_spectra import CoaddParams, CoaddSpectra
from quicklook.ccd.coadd import Coadd, SkyLevels, block_snr
from quicklook.ccd.exposure import Exposure, FiberMap
from quicklook.ccd.spectra import Frame
from quicklook.core.errors import BadData
from quicklook.core.keys import Unit

NFIBRE, NWAVE = 4, 640
WAVE = np.tile(np.linspace(6000.0, 7000.0, NWAVE), (NFIBRE, 1))
SIGNAL = np.linspace(1.0, 4.0, NFIBRE)[:, None] * np.ones(NWAVE)
START = datetime(2022, 1, 1, 20, tzinfo=UTC)


def frame(seed: int, *, error: float = 1.0, wave: np.ndarray = WAVE, order: tuple[int, ...] = (0, 1, 2, 3)) -> Frame:
    rng = np.random.default_rng(seed)
    fiber = np.array(order, np.int32)
    return Frame(
        camera="r0", flux=(SIGNAL + error * rng.normal(size=SIGNAL.shape))[fiber].astype(np.float32),
        ivar=np.full(SIGNAL.shape, 1 / error**2, np.float32), mask=np.zeros(SIGNAL.shape, np.uint32), wave=wave.copy(),
        sigma=np.zeros(SIGNAL.shape, np.float32), fibermap=FiberMap(fiber=fiber, objtype=("TGT",) * NFIBRE, source="made"), unit="u", stage="cframe",
    )  # fmt: skip


def add(frames: list[Frame], **params: float) -> Coadd:
    exposures = [
        Exposure(unit=Unit(20220101, 100 + i), instrument="desi", flavor="science", exptime=900.0, start=START + timedelta(minutes=30 * i))
        for i in range(len(frames))
    ]
    levels = [SkyLevels(wave=np.array([6500.0]), rate=np.array([0.1 * (i + 1)])) for i in range(len(frames))]
    return CoaddSpectra(CoaddParams(**params)).run(frames, exposures, levels)


def test_it_is_the_weighted_mean_sample_by_sample() -> None:
    frames = [frame(1, error=1.0), frame(2, error=2.0), frame(3, error=0.5)]
    got = add(frames, clip=0)
    for i, k in ((0, 0), (2, 17), (3, NWAVE - 1)):
        w = [float(f.ivar[i, k]) for f in frames]
        mean = sum(wi * float(f.flux[i, k]) for wi, f in zip(w, frames, strict=True)) / sum(w)
        assert got.flux[i, k] == pytest.approx(mean, rel=1e-5)
        assert got.ivar[i, k] == pytest.approx(sum(w), rel=1e-6)
    np.testing.assert_array_equal(got.used, 3)
    np.testing.assert_allclose(got.hours, [0, 0.5, 1.0])
    np.testing.assert_allclose(got.sky[:, 0], [0.1, 0.2, 0.3])


def test_signal_to_noise_grows_with_the_root_of_the_number_and_the_scatter_is_what_the_errors_say() -> None:
    got = add([frame(i) for i in range(9)], clip=0)
    np.testing.assert_allclose(got.snr_after[-1], 3 * SIGNAL[:, 0], rtol=0.06)  # noise of the mean of a block: 1 / sqrt(20)
    np.testing.assert_allclose(got.snr_after[3], 2 * SIGNAL[:, 0], rtol=0.1)
    np.testing.assert_allclose(got.chi2, 1.0, atol=4 * np.sqrt(2 / (8 * NWAVE)))
    assert np.std(got.flux - SIGNAL) == pytest.approx(1 / 3, rel=0.05)


def test_an_outlier_is_left_out_and_those_beside_it_stay() -> None:
    frames = [frame(i) for i in range(4)]
    flux = np.array(frames[2].flux)
    flux[1, 100] += 500.0
    frames[2] = replace(frames[2], flux=flux)
    got = add(frames)
    others = np.mean([frames[i].flux[1, 100] for i in (0, 1, 3)])
    assert got.flux[1, 100] == pytest.approx(others, rel=1e-5)
    assert got.ivar[1, 100] == pytest.approx(3.0)
    assert got.rejected == pytest.approx(1 / (4 * NFIBRE * NWAVE))
    assert add(frames, clip=0).flux[1, 100] > 100


def test_of_two_nobody_knows_which_is_right() -> None:
    frames = [frame(0), frame(1)]
    flux = np.array(frames[1].flux)
    flux[1, 100] += 500.0
    assert add([frames[0], replace(frames[1], flux=flux)]).rejected == 0


def test_exposures_may_differ_by_clouds_where_targets_are_bright() -> None:
    clear = [frame(i, error=0.001) for i in range(5)]
    frames = [replace(f, flux=np.asarray(f.flux * (0.9 if i == 2 else 1.0), np.float32)) for i, f in enumerate(clear)]
    assert add(frames).rejected == 0
    assert add(frames, tolerance=0.0).rejected > 0.1


@pytest.mark.parametrize("shift", [0.2, 1.0, -3.0])
def test_wavelengths_that_moved_go_to_the_nearest_sample(shift: float) -> None:
    step = WAVE[0, 1] - WAVE[0, 0]
    line = np.exp(-0.5 * ((np.arange(NWAVE) - 300) / 2.0) ** 2)
    one = replace(frame(0, error=0.01), flux=np.tile(line, (NFIBRE, 1)).astype(np.float32))
    moved = replace(one, flux=np.tile(np.interp(np.arange(NWAVE) + shift, np.arange(NWAVE), line), (NFIBRE, 1)).astype(np.float32),
                    wave=WAVE + shift * step)  # fmt: skip
    got = add([one, moved], clip=0)
    centre = float(got.flux[0] @ np.arange(NWAVE) / got.flux[0].sum())
    assert centre == pytest.approx(300 - 0.5 * (shift - np.rint(shift)), abs=0.02)
    inside = slice(10, -10)
    np.testing.assert_allclose(got.ivar[:, inside], 2e4, rtol=1e-5)


def test_fibres_are_matched_by_number_and_a_missing_one_adds_nothing() -> None:
    got = add([frame(0), frame(1, order=(3, 2, 1, 0))], clip=0)
    np.testing.assert_allclose(got.flux.mean(axis=1), SIGNAL[:, 0], atol=0.15)
    other = frame(1)
    lost = replace(other, fibermap=FiberMap(fiber=np.array([0, 1, 2, 9], np.int32), objtype=("TGT",) * 4, source="made"))
    np.testing.assert_array_equal(add([frame(0), lost], clip=0).used, [2, 2, 2, 1])


def test_what_nobody_measured_stays_without_a_value() -> None:
    frames = [frame(i) for i in range(3)]
    blind = [replace(f, ivar=np.where(np.arange(NWAVE) < 50, 0, f.ivar).astype(np.float32), mask=np.full(f.mask.shape, 2, np.uint32)) for f in frames]
    got = add(blind)
    assert (got.ivar[:, :50] == 0).all()
    assert (got.mask[:, :50] == 2).all()
    assert (got.mask[:, 50:] == 0).all()


def test_frames_of_another_unit_or_without_a_common_fibre_are_refused() -> None:
    with pytest.raises(BadData, match="cannot be added"):
        add([frame(0), replace(frame(1), unit="v")])
    far = replace(frame(1), fibermap=FiberMap(fiber=np.arange(10, 14, dtype=np.int32), objtype=("TGT",) * 4, source="made"))
    with pytest.raises(BadData, match="share no fibre"):
        add([frame(0), far])


def test_the_signal_to_noise_of_blocks() -> None:
    flux, ivar = np.full((2, 320), 3.0), np.full((2, 320), 4.0)
    ivar[1, :200] = 0
    got = block_snr(flux, ivar)
    assert got[0] == pytest.approx(6.0)
    assert np.isnan(got[1])
