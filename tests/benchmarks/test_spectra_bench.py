"""Steps on extracted spectra of a full-size camera, one thread: run with `pytest tests/benchmarks --benchmark-only`.

Each is held against the public pipeline's time of NUMBERS.md, or, where that has none, against a third of what this project once took.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from algorithms.apply_fiberflat import ApplyFiberFlat
from algorithms.apply_fluxcal import ApplyFluxcal
from algorithms.compute_fiberflat import ComputeFiberFlat
from algorithms.compute_sky import ComputeSky
from algorithms.scores import stage_scores
from qa.snr import Snr
from quicklook.ccd.exposure import Exposure, FiberMap
from quicklook.ccd.spectra import FiberFlat, FluxCalib, Frame
from quicklook.core.keys import Unit

N, NWAVE = 500, 4128


@pytest.fixture(scope="module")
def frame() -> Frame:
    rng = np.random.default_rng(1)
    wave = 5640.0 + 0.54 * np.arange(NWAVE) + 8.0 * np.linspace(-1, 1, N)[:, None] ** 2
    sky = 20.0 + 200.0 * np.exp(-0.5 * ((wave % 40.0 - 20.0) / 0.7) ** 2)
    columns = {"DESI_TARGET": np.full(N, 2), "FLUX_R": np.linspace(1, 20, N)}
    kinds = tuple("SKY" if i % 8 == 3 else "TGT" for i in range(N))
    return Frame(
        camera="r0",
        flux=(sky + 5.0 * rng.normal(size=sky.shape)).astype(np.float32),
        ivar=np.full(sky.shape, 0.04, np.float32),
        mask=(rng.random(sky.shape) < 0.005).astype(np.uint32),
        wave=wave,
        sigma=np.full(sky.shape, 0.6, np.float32),
        fibermap=FiberMap(fiber=np.arange(N, dtype=np.int32), objtype=kinds, columns=columns, source="made"),
    )


def _timed(benchmark: BenchmarkFixture, work: Callable[[], object], target: float, most: float) -> None:
    benchmark.pedantic(work, rounds=10, warmup_rounds=2)
    benchmark.extra_info["target_s"] = target
    assert benchmark.stats.stats.min < most


def test_apply_fiberflat(benchmark: BenchmarkFixture, frame: Frame) -> None:
    wave = np.arange(5630.0, 7880.0, 0.8)
    flat = FiberFlat(
        flat=np.ones((N, wave.size), np.float32),
        ivar=np.full((N, wave.size), 1e4, np.float32),
        mask=np.zeros((N, wave.size), np.uint32),
        wave=wave,
        meanspec=np.ones(wave.size, np.float32),
        fiber=np.arange(N, dtype=np.int32),
    )
    _timed(benchmark, lambda: ApplyFiberFlat().run(frame, flat), 0.010, 0.020)


def test_apply_fluxcal(benchmark: BenchmarkFixture, frame: Frame) -> None:
    wave = np.arange(5630.0, 7880.0, 0.8)
    calib = FluxCalib(wave=wave, calib=np.ones(wave.size, np.float32))
    exposure = Exposure(unit=Unit(20220101, 102), instrument="desi", flavor="science", exptime=900.0)
    _timed(benchmark, lambda: ApplyFluxcal().run(frame, calib, exposure), 0.010, 0.014)


def test_compute_sky(benchmark: BenchmarkFixture, frame: Frame) -> None:
    _timed(benchmark, lambda: ComputeSky().run(frame), 0.05, 0.22)


def test_compute_fiberflat(benchmark: BenchmarkFixture, frame: Frame) -> None:
    lamp = replace(frame, flux=(3000.0 + frame.flux % 20.0).astype(np.float32), ivar=np.full_like(frame.ivar, 3e-4))
    _timed(benchmark, lambda: ComputeFiberFlat().run(lamp), 0.30, 2.3)


def test_scores(benchmark: BenchmarkFixture, frame: Frame) -> None:
    _timed(benchmark, lambda: stage_scores(frame), 0.007, 0.020)


def test_snr(benchmark: BenchmarkFixture, frame: Frame) -> None:
    assert Snr().measure(frame).metrics
    _timed(benchmark, lambda: Snr().measure(frame), 0.008, 0.025)
