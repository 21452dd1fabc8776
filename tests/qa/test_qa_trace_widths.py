"""QA of the widths of profiles, on an image of Gaussians integrated over pixels that is made here."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from scipy.special import ndtr

from qa.trace_widths import TraceWidths, TraceWidthsParams
from qa.traceplaces import brightest, lone_lines, places
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image
from quicklook.ccd.linelist import ArcLines, SkyLines
from quicklook.ccd.spectra import TraceSet
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.keys import Unit

NFIBRE, NY, NX, W0, DISPERSION = 16, 240, 140, 6000.0, 0.6
SX, SY = 1.03, 1.1
LINES = np.array([6020.0, 6052.3, 6091.4, 6125.8])
NOISE = 3.0
FAINT = 37.5
"""Electrons of a profile of which a quarter of the detector tells the width to 4 to 10 %."""


def traces(*, widths: bool = True) -> TraceSet:
    """Straight traces, each somewhat tilted; y = (w - 6000) / 0.6."""
    x = np.stack([12.3 + 7.4 * np.arange(NFIBRE), np.linspace(-0.6, 0.6, NFIBRE)], axis=1)
    half = 0.5 * (NY - 1)
    y = np.tile([half, half], (NFIBRE, 1)).astype(np.float64)
    sigma = {"xsig": np.full((NFIBRE, 1), SX), "ysig": np.full((NFIBRE, 1), SY)} if widths else {}
    return TraceSet(
        x=x, y=y, wavemin=W0, wavemax=W0 + DISPERSION * (NY - 1), npix_x=NX, npix_y=NY, fiber=np.arange(100, 100 + NFIBRE, dtype=np.int32), **sigma
    )


def amplifiers() -> tuple[Amplifier, ...]:
    halves = ((0, NY // 2), (NY // 2, NY)), ((0, NX // 2), (NX // 2, NX))
    ccds = [Section(*y, *x) for y in halves[0] for x in halves[1]]
    return tuple(Amplifier(name=n, data=c, overscan=None, ccd=c, gain=1.0, read_noise=NOISE) for n, c in zip("ABCD", ccds, strict=True))


def image(wide: np.ndarray | float = 1.0, *, wide_y: float = 1.0, continuum: float = 250.0, lines: float = 4000.0, seed: int = 1) -> Image:
    """`wide` [nfibre] or for all: factor on the width across the dispersion."""
    rng, rows = np.random.default_rng(seed), np.arange(NY)
    y_lines = (LINES - W0) / DISPERSION
    spectrum = continuum + sum(lines * np.diff(ndtr((np.arange(NY + 1) - 0.5 - y) / (SY * wide_y))) for y in y_lines)
    t = 2 * rows / (NY - 1) - 1
    pixels = np.zeros((NY, NX))
    for (x0, slope), factor in zip(traces().x, np.broadcast_to(wide, NFIBRE), strict=True):
        edges = (np.arange(NX + 1) - 0.5 - (x0 + slope * t)[:, None]) / (SX * factor)
        pixels += spectrum[:, None] * np.diff(ndtr(edges), axis=1)
    variance = pixels + NOISE**2
    pixels = pixels + rng.normal(size=pixels.shape) * np.sqrt(variance)
    return Image(
        camera="r0", pixels=pixels.astype(np.float32), ivar=(1 / variance).astype(np.float32), mask=np.zeros(pixels.shape, np.uint16),
        amplifiers=amplifiers(), read_noise=dict.fromkeys("ABCD", NOISE),
    )  # fmt: skip


def exposure(flavor: str = "science") -> Exposure:
    return Exposure(unit=Unit(20220101, 1), instrument="desi", flavor=flavor, exptime=900.0)


def sky_lines() -> SkyLines:
    same = np.ones(len(LINES))
    return SkyLines(wave=LINES, sigma=0.004 * same, window=2.9 * same, strength=500 * same, name=("OH",) * len(LINES))


@pytest.mark.parametrize(("wide", "wide_y"), [(1.0, 1.0), (1.15, 1.0), (1.0, 1.15), (0.85, 1.3), (1.4, 0.8)])
def test_widths_are_measured(wide: float, wide_y: float) -> None:
    got = TraceWidths().measure(image(wide, wide_y=wide_y), traces(), exposure(), sky_lines(), None)
    room = 0.03 if wide < 1.2 else 0.06  # the light of neighbours that overlap is taken for level, and the fit is not repeated for the last 6 %
    np.testing.assert_allclose(got["width_x"].values, SX * wide, rtol=room)
    np.testing.assert_allclose(got["width_x_ratio"].values, wide, rtol=room)
    np.testing.assert_allclose(got["width_y"].values, SY * wide_y, rtol=0.02)
    np.testing.assert_allclose(got["width_y_ratio"].values, wide_y, rtol=0.02)
    assert got["width_x"].coords["amp"] == tuple("ABCD")
    assert np.median(got["fiber_width_x"].values) == pytest.approx(wide, rel=room)
    assert np.median(got["fiber_width_y"].values) == pytest.approx(wide_y, rel=0.01)
    assert got["fiber_width_x"].coords["fiber"][0] == 100
    assert got["broad_fibers"].values == 0


def test_a_fibre_alone_that_is_broad_is_named() -> None:
    wide = np.ones(NFIBRE)
    wide[5] = 1.5
    got = TraceWidths().measure(image(wide), traces(), exposure(), sky_lines(), None)
    assert got["broad_fibers"].values == pytest.approx(1 / NFIBRE)
    assert got["broad_fibers"].remarks[()] == "fibre 105"


def test_flats_have_no_width_along_the_dispersion_and_zeros_none_at_all() -> None:
    got = TraceWidths().measure(image(lines=0.0), traces(), exposure("flat"), None, None)
    assert "no lines in this exposure" in str(got["width_y"].not_applicable)
    np.testing.assert_allclose(got["width_x_ratio"].values, 1.0, rtol=0.03)
    with pytest.raises(NotApplicable, match="zero has no light"):
        TraceWidths().measure(image(), traces(), exposure("zero"), None, None)


def test_an_amplifier_on_which_no_lamp_has_a_line_is_left_out_of_an_arc() -> None:
    seen = image(continuum=0.0)
    rows = np.arange(NY) > NY // 2
    dark = replace(seen, pixels=np.where(rows[:, None], np.float32(0), seen.pixels))
    arclines = ArcLines(**{k: getattr(sky_lines(), k) for k in ("wave", "sigma", "window", "strength", "name")})
    got = TraceWidths().measure(dark, traces(), exposure("arc"), None, arclines)
    np.testing.assert_allclose(got["width_x_ratio"].values[:2], 1.0, rtol=0.03)
    assert got["width_x_ratio"].left_out == {("C",), ("D",)}, "it is no fault of the camera"


def test_a_trace_set_without_widths() -> None:
    got = TraceWidths(TraceWidthsParams(sigma=1.4)).measure(image(), traces(widths=False), exposure(), sky_lines(), None)
    np.testing.assert_allclose(got["width_x"].values, SX, rtol=0.03)  # from a start that is 36 % too wide
    for name in ("width_x_ratio", "fiber_width_x", "broad_fibers"):
        assert "states no widths" in str(got[name].not_applicable)


def test_a_dead_amplifier_is_unknown_a_known_one_left_out() -> None:
    seen = image()
    ivar = seen.ivar.copy()
    ivar[: NY // 2, : NX // 2] = 0
    dead = replace(seen, ivar=ivar, dead={"A": "every pixel reads 0"})
    got = TraceWidths().measure(dead, traces(), exposure(), sky_lines(), None)["width_x_ratio"]
    assert np.isnan(got.values[0])
    assert "dead" in got.remarks[("A",)]
    assert ("A",) not in got.left_out
    known = replace(dead, amplifiers=(replace(dead.amplifiers[0], bad=True), *dead.amplifiers[1:]))
    assert ("A",) in TraceWidths().measure(known, traces(), exposure(), sky_lines(), None)["width_x_ratio"].left_out


def test_no_light_is_not_measured() -> None:
    got = TraceWidths().measure(image(continuum=0.0, lines=0.0), traces(), exposure(), sky_lines(), None)
    assert np.isnan(got["width_x"].values).all()
    assert got["width_x"].remarks[("A",)]
    assert got["width_y"].not_applicable is not None, "lines that are not there say nothing of the focus"
    assert np.isnan(got["broad_fibers"].values)


def test_traces_of_another_detector_are_refused() -> None:
    with pytest.raises(BadData, match="certify others"):
        TraceWidths().measure(image(), replace(traces(), npix_x=NX + 1), exposure(), sky_lines(), None)


def test_places_and_lines() -> None:
    at = places(traces(), LINES)
    np.testing.assert_allclose(at.y, np.tile((LINES - W0)[:, None] / DISPERSION, NFIBRE), atol=1e-9)
    np.testing.assert_allclose(at.slope, np.tile(np.linspace(-0.6, 0.6, NFIBRE) / (0.5 * (NY - 1)), (4, 1)), atol=1e-12)
    assert np.isnan(places(traces(widths=False), LINES).sigma_x).all()
    close = replace(sky_lines(), wave=np.array([6020.0, 6022.0, 6091.4, 6125.8]), strength=np.array([100.0, 4.0, 50.0, 70.0]))
    assert lone_lines(close, 6000, 6200, reach=6.0, share=0.05).tolist() == [0, 2, 3]
    assert brightest(np.array([5.0, 9.0, 7.0, 1.0]), np.array([1.0, 2.0, 3.0, 4.0]), 2, 1).tolist() == [1, 2]
    assert brightest(np.zeros(0), np.zeros(0), 2, 1).size == 0


def test_a_short_exposure_leaves_the_width_across_out_as_that_along() -> None:
    """Light that tells the width to a few per cent is no fault, and no measurement either; where there is none, it is unknown."""
    faint = image(continuum=FAINT, lines=0.0)
    got = TraceWidths().measure(faint, traces(), exposure(), sky_lines(), None)["width_x"]
    assert got.not_applicable is not None or got.left_out
    assert "the fibres there tell it to" in (got.not_applicable or next(iter(got.remarks.values())))
    unknown = [] if got.not_applicable else [at for at, v in zip("ABCD", got.values, strict=True) if np.isnan(v) and (at,) not in got.left_out]
    assert not unknown
    fainter = TraceWidths().measure(image(continuum=0.3 * FAINT, lines=0.0), traces(), exposure(), sky_lines(), None)
    assert "no fibre there is bright enough" in (fainter["width_x"].not_applicable or ""), "of the fibres together there is light"
    assert fainter["broad_fibers"].not_applicable is not None
    dark = TraceWidths().measure(image(continuum=0.0, lines=0.0), traces(), exposure(), sky_lines(), None)["width_x"]
    assert dark.not_applicable is None
    assert np.isnan(dark.values).all()
