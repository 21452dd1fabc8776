"""No frame makes a QA of frames raise anything but NotApplicable, change its input, or call a dead amplifier alive."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qa_frames import amplifier, exposure, image, raw_image

from qa.amp_borders import AmpBorders
from qa.bias_level import BiasLevel
from qa.dark_level import DarkLevel
from qa.dead_amp import DeadAmp
from qa.image_level import ImageLevel
from qa.lit_fraction import LitFraction
from qa.noise_structure import NoiseStructure
from qa.read_noise import ReadNoise
from qa.saturation import Saturation
from quicklook.ccd.image import RawImage
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measures
from quicklook.core.plots import pack


def measure_all(raw: RawImage, flavor: str) -> dict[str, Measures]:
    out = {"dead_amp": DeadAmp().measure(raw), "saturation": Saturation().measure(raw)}
    for qa in (BiasLevel(), NoiseStructure(), ReadNoise()):
        try:
            out[qa.name] = qa.measure(raw, exposure(flavor))
        except NotApplicable:
            continue
    return out


@st.composite
def frames(draw: st.DrawFn) -> RawImage:
    sizes = {k: draw(st.integers(low, high)) for k, low, high in (("ny", 1, 40), ("nx", 1, 40), ("over", 0, 9), ("pre", 0, 3))}
    dtype = draw(st.sampled_from([np.uint16, np.int16, np.int32, np.float32]))
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    shape = (2 * sizes["ny"], 2 * (sizes["pre"] + sizes["nx"] + sizes["over"]))
    values = rng.normal(draw(st.sampled_from([0.0, 1000.0, 32_000.0])), draw(st.sampled_from([0.0, 0.3, 2.0, 1e4])), shape).clip(0, 32_767)
    values = np.rint(values).astype(dtype) if np.dtype(dtype).kind in "iu" else values.astype(dtype)
    if np.dtype(dtype).kind == "f":
        values[rng.uniform(size=shape) < draw(st.sampled_from([0.0, 0.1, 0.5, 0.99, 1.0]))] = draw(st.sampled_from([np.nan, np.inf, -np.inf, 1e30, 3.4e38, -3.4e38]))
    amps = tuple(amplifier(i, **sizes, saturation=draw(st.sampled_from([None, 60_000.0])), bad=draw(st.booleans())) for i in range(4))
    return raw_image(values, amps)


@settings(max_examples=60, deadline=None)
@given(raw=frames(), flavor=st.sampled_from(["zero", "science"]))
def test_any_raw_frame(raw: RawImage, flavor: str) -> None:
    before = raw.pixels.copy()
    got = measure_all(raw, flavor)
    np.testing.assert_array_equal(raw.pixels, before)
    dead = got["dead_amp"]["dead_amp"]
    judged = [a.name for a in raw.amplifiers if not a.bad]
    assert (dead.not_applicable is None) == bool(judged)
    if not judged:
        return
    names = dead.coords["amp"]
    assert set(dead.values[[n in judged for n in names]]) <= {0.0, 1.0}
    for measures in got.values():
        pack(measures.plots)
        for metric in measures.metrics:
            finite = np.isfinite(metric.values)
            assert np.isnan(metric.values[~finite]).all()
            if metric.name.startswith("read_noise"):
                assert (metric.values[finite] >= 0).all()
                assert not finite[[n == 1.0 for n in dead.values]].any() if metric.coords and len(finite) == 4 else True


@pytest.mark.parametrize("shape", [(2, 2), (2, 600), (64, 4), (2200, 2)])
@pytest.mark.parametrize("fill", [0.0, 1e30, -1e30, 3.4e38])
def test_any_image(shape: tuple[int, int], fill: float) -> None:
    values = np.full(shape, fill, np.float32)
    for mask in (np.zeros(shape, np.uint16), np.full(shape, 65535, np.uint16)):
        frame = image(values, mask)
        for qa in (LitFraction(), ImageLevel()):
            for metric in qa.measure(frame).metrics:
                assert metric.not_applicable or metric.values.shape == ((4,) if metric.coords else ())


@pytest.mark.parametrize("flavor", ["dark", "flat", "science"])
@pytest.mark.parametrize("fill", [np.nan, np.inf, -1e30, 3.4e38])
@pytest.mark.parametrize("shape", [(2, 600), (64, 64), (200, 300)])
def test_borders_and_dark_current_of_any_image(shape: tuple[int, int], fill: float, flavor: str) -> None:
    values = np.random.default_rng(1).normal(0.0, 3.0, shape).astype(np.float32)
    values[::2] = fill
    for qa in (AmpBorders(), DarkLevel()):
        try:
            got = qa.measure(image(values.copy()), exposure(flavor, 900.0))
        except NotApplicable:
            continue
        pack(got.plots)
        for metric in got.metrics:
            assert metric.not_applicable or not np.isinf(metric.values).any()
            assert metric.not_applicable or np.nanmax(np.abs(metric.values), initial=0.0) < 1e6  # what is no charge is left out
