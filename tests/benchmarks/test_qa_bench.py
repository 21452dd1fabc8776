"""Seconds of every QA of raw frames on a full-size camera: 4194 x 4256 int32, four amplifiers of 2064 x 2057."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from qa.bias_level import BiasLevel
from qa.dead_amp import DeadAmp
from qa.image_level import ImageLevel
from qa.lit_fraction import LitFraction
from qa.read_noise import ReadNoise
from qa.saturation import Saturation
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image, RawImage
from quicklook.core.keys import Unit

NY, NX, OVER, PRE = 2064, 2057, 64, 7


def _amplifier(index: int) -> Amplifier:
    right, upper = index % 2, index // 2
    y = (33 + 2064, 33 + 2 * 2064) if upper else (1, 1 + NY)
    middle = PRE + NX + OVER
    x = (middle + OVER, middle + OVER + NX) if right else (PRE, PRE + NX)
    o = (middle, middle + OVER) if right else (PRE + NX, middle)
    ccd = Section(upper * NY, (upper + 1) * NY, right * NX, (right + 1) * NX)
    return Amplifier(name="ABCD"[index], data=Section(*y, *x), overscan=Section(*y, *o), ccd=ccd, gain=1.3, read_noise=2.6)


@pytest.fixture(scope="module")
def full() -> dict[str, Any]:
    rng = np.random.default_rng(1)
    pixels = np.rint(rng.normal(1000, 2, (4194, 4256)).astype(np.float32)).astype(np.int32)
    raw = RawImage(camera="r0", pixels=pixels, amplifiers=tuple(_amplifier(i) for i in range(4)))
    shape = raw.image_shape
    image = Image(
        camera="r0", pixels=rng.normal(20, 30, shape).astype(np.float32), ivar=np.ones(shape, np.float32), mask=np.zeros(shape, np.uint16),
        amplifiers=raw.amplifiers, read_noise=dict.fromkeys("ABCD", 2.6),
    )  # fmt: skip
    zero = Exposure(unit=Unit(20220101, 1), instrument="desi", flavor="zero", exptime=0.0)
    return {"raw": raw, "image": image, "exposure": zero}


def test_bench_bias_level(benchmark: Any, full: dict[str, Any]) -> None:
    assert benchmark(BiasLevel().measure, full["raw"], full["exposure"]).metrics


def test_bench_read_noise(benchmark: Any, full: dict[str, Any]) -> None:
    assert benchmark(ReadNoise().measure, full["raw"], full["exposure"]).metrics


def test_bench_dead_amp(benchmark: Any, full: dict[str, Any]) -> None:
    assert benchmark(DeadAmp().measure, full["raw"]).metrics


def test_bench_saturation(benchmark: Any, full: dict[str, Any]) -> None:
    assert benchmark(Saturation().measure, full["raw"]).metrics


def test_bench_lit_fraction(benchmark: Any, full: dict[str, Any]) -> None:
    assert benchmark(LitFraction().measure, full["image"]).metrics


def test_bench_image_level(benchmark: Any, full: dict[str, Any]) -> None:
    assert benchmark(ImageLevel().measure, full["image"]).metrics
