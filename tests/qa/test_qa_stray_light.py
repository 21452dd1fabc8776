"""Light between bundles of fibres: what was put there is found, and traces that lie on other fibres show."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qa.stray_light import StrayLight
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image
from quicklook.ccd.spectra import TraceSet
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.metrics import Measured

NY, NX = 300, 200
PITCH, GAP = 7.0, 17.0
PLACES = np.concatenate([10 + PITCH * np.arange(8), 10 + 7 * PITCH + GAP + PITCH * np.arange(8), [10 + 14 * PITCH + 2 * GAP]])
"""Two bundles of eight fibres, and one fibre more; the first gap lies on amplifier A, the other on B."""
NOISE, LIGHT = 2.0, 500.0


def traces(places: np.ndarray = PLACES) -> TraceSet:
    x = np.stack([places, np.full(len(places), 0.5)], axis=1)  # a slight tilt
    y = np.tile([0.5 * (NY - 1), 0.5 * (NY - 1)], (len(places), 1))
    return TraceSet(x=x, y=y, wavemin=5000.0, wavemax=6000.0, npix_x=NX, npix_y=NY, fiber=np.arange(len(places), dtype=np.int32))


def image(light: float = LIGHT, leak: float = 0.0, mask: np.ndarray | None = None, dead: dict[str, str] | None = None) -> Image:
    column, row = np.arange(NX), np.arange(NY)
    tilt = 0.5 * (2 * row / (NY - 1) - 1)
    spectra = sum(light * np.exp(-0.5 * ((column[None, :] - p - tilt[:, None]) / 1.1) ** 2) for p in PLACES)
    pixels = spectra + leak + np.random.default_rng(1).normal(0.0, NOISE, (NY, NX))
    half = NX // 2
    amps = tuple(Amplifier(name=n, data=Section(0, NY, x, x + half), ccd=Section(0, NY, x, x + half), gain=1.0) for n, x in (("A", 0), ("B", half)))
    return Image(
        camera="r0",
        pixels=pixels.astype(np.float32),
        ivar=np.ones((NY, NX), np.float32),
        mask=np.zeros((NY, NX), np.uint16) if mask is None else mask,
        amplifiers=amps,
        read_noise={"A": NOISE, "B": NOISE},
        dead=dead or {},
    )


def measured(frame: Image, of: TraceSet | None = None) -> tuple[Measured, Measured]:
    got = StrayLight().measure(frame, of or traces())
    return got["stray_light"], got["stray_light_ratio"]


def test_between_bundles_it_is_dark() -> None:
    stray, ratio = measured(image())
    assert stray.coords == {"amp": ("A", "B")}
    np.testing.assert_allclose(stray.values, 0.0, atol=4 * 1.25 * NOISE / np.sqrt(75))  # the median of 75 pixels
    np.testing.assert_allclose(ratio.values, 0.0, atol=0.003)


def test_a_leak_is_measured() -> None:
    stray, ratio = measured(image(leak=30.0))
    np.testing.assert_allclose(stray.values, 30.0, atol=1.2)
    np.testing.assert_allclose(ratio.values, 30.0 / (LIGHT + 30.0), rtol=0.1)


def test_traces_on_the_next_fibre_have_light_between_bundles() -> None:
    ratio = measured(image(), traces(PLACES + PITCH))[1]
    assert (ratio.values > 0.1).all()


def test_without_light_on_the_traces_there_is_no_ratio() -> None:
    stray, ratio = measured(image(light=0.0))
    assert np.isfinite(stray.values).all()
    assert np.isnan(ratio.values).all()
    assert "no light on the traces" in ratio.remarks[("A",)]


def test_masked_gaps_tell_nothing_and_a_dead_amplifier_is_unknown() -> None:
    mask = np.zeros((NY, NX), np.uint16)
    mask[:, : NX // 2] = 1
    assert measured(image(mask=mask))[0].coords == {"amp": ("B",)}
    nothing = measured(image(mask=np.ones((NY, NX), np.uint16)))[0]
    assert np.isnan(nothing.values).all()
    assert nothing.remarks[("A",)] == "no pixel between bundles is usable"
    dead = measured(image(dead={"B": "every pixel reads 7"}))[0]
    assert np.isnan(dead.values[1])
    assert "every pixel reads 7" in dead.remarks[("B",)]


def test_where_it_does_not_apply_it_says_so() -> None:
    with pytest.raises(NotApplicable, match="not in bundles"):
        measured(image(), traces(10 + PITCH * np.arange(20)))
    with pytest.raises(BadData, match="certify others"):
        measured(image(), replace(traces(), npix_x=NX + 1))
