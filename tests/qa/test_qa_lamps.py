"""QAs of what is made from lamps: against references, of repeated fibre flats, of photon transfer, pixel flat and mask."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import qa_frames as f
import qa_spectra as s

from qa.arc_areas import ArcAreasQa
from qa.bad_pixels import BadPixels
from qa.fiberflat_repeat import FiberflatRepeat
from qa.flat_level import FlatLevel
from qa.lamp_state import LampState
from qa.photon_transfer import PhotonTransferQa
from qa.pixel_response import PixelResponse
from qa.reference_lamps import ReferenceArcLines, ReferenceFlatFibers
from quicklook.ccd.arcareas import ArcAreas
from quicklook.ccd.calibs import BadPixelMask, PhotonTransfer, PixelFlat, ReferenceArc, ReferenceFlat
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.image import Image, RawImage
from quicklook.ccd.mask import PixelMask
from quicklook.ccd.spectra import FiberFlat
from quicklook.core.errors import NotApplicable
from quicklook.core.keys import Unit
from quicklook.core.plots import Scatter

WAVE = np.linspace(6000.0, 6140.0, 8)
NAMES = ("Ne_I",) * 4 + ("Ar_I",) * 4
AMPS = tuple(f.amplifier(i) for i in range(4))


def exposure(expid: int = 1, seconds: float = 10.0) -> Exposure:
    return Exposure(unit=Unit(20220101, expid), instrument="desi", flavor="flat", exptime=seconds)


def image() -> Image:
    shape = RawImage(camera="r0", pixels=f.pixels(), amplifiers=AMPS).image_shape
    zeros = np.zeros(shape, np.float32)
    return Image(camera="r0", pixels=zeros, ivar=zeros.copy(), mask=np.zeros(shape, np.uint16), amplifiers=AMPS, read_noise={})


# ---- arcs


def reference(area: float = 200.0) -> ReferenceArc:
    shape = (30, len(WAVE))
    return ReferenceArc(wave=WAVE.copy(), fiber=np.arange(500, 530, dtype=np.int32), area=np.full(shape, area), sigma=np.full(shape, 0.6))


def arc(area: np.ndarray | float = 200.0, sigma: float = 0.6) -> ArcAreas:
    areas = np.broadcast_to(area, (30, len(WAVE))).copy()
    fiber = np.arange(500, 530, dtype=np.int32)
    return ArcAreas(camera="r0", wave=WAVE.copy(), name=NAMES, fiber=fiber, area=areas, sigma=np.full(areas.shape, sigma))


def test_an_arc_like_the_reference() -> None:
    got = ArcAreasQa().measure(arc(), reference())
    np.testing.assert_allclose(got["arc_level"].values, 1.0)
    assert got["arc_level"].coords["lamp"] == ("Ne", "Ar")
    assert [float(got[n].values) for n in ("arc_lines_changed", "arc_lines_lost", "arc_fibers_changed", "arc_width_ratio")] == [0, 0, 0, 1]


def test_a_lamp_that_fades_a_fibre_that_is_dim_a_line_that_is_lost_and_focus() -> None:
    area = np.full((30, len(WAVE)), 200.0)
    area[:, 4:] *= 0.4
    area[12] *= 0.5
    area[:, 1] = np.nan
    area[:, 2] *= 1.6
    got = ArcAreasQa().measure(arc(area, sigma=0.66), reference())
    np.testing.assert_allclose(got["arc_level"].values, [1.0, 0.4])
    assert float(got["arc_lines_changed"].values) == 1
    assert got["arc_lines_changed"].remarks[()] == "6040.0 Angstrom"
    assert float(got["arc_lines_lost"].values) == 1
    assert float(got["arc_fibers_changed"].values) == pytest.approx(1 / 30)
    assert got["arc_fibers_changed"].remarks[()] == "fibre 512"
    assert float(got["arc_width_ratio"].values) == pytest.approx(1.1)


def test_an_arc_without_a_reference_is_not_judged() -> None:
    with pytest.raises(NotApplicable, match="build refarc"):
        ArcAreasQa().measure(arc(), None)
    with pytest.raises(NotApplicable, match="other fibres"):
        ArcAreasQa().measure(arc(), replace(reference(), fiber=np.arange(30, dtype=np.int32)))


def test_references_are_counted() -> None:
    area = np.full((30, len(WAVE)), 200.0)
    area[3] = np.nan
    got = ReferenceArcLines().measure(replace(reference(), area=area))
    assert float(got["reference_lines"].values) == 8
    assert float(got["reference_fibers"].values) == pytest.approx(29 / 30)
    level = np.ones(10)
    level[4] = np.nan
    flat = ReferenceFlatFibers().measure(ReferenceFlat(fiber=np.arange(10, dtype=np.int32), level=level))
    assert flat["reference_fibers"].remarks[()] == "none in fibre 4"
    lines, levels = (measures.plots[0].panels[0].layers[0] for measures in (got, flat))
    assert isinstance(lines, Scatter)
    assert isinstance(levels, Scatter)
    np.testing.assert_allclose(lines.y, 29 / 30)
    np.testing.assert_array_equal(levels.y, level)


# ---- flats


def lamp(factor: np.ndarray | float = 1.0) -> np.ndarray:
    return np.asarray(np.full((s.NFIBRE, s.NWAVE), 5000.0) * np.broadcast_to(factor, s.NFIBRE)[:, None])


def test_a_flat_against_the_reference() -> None:
    known = ReferenceFlat(fiber=np.arange(500, 500 + s.NFIBRE, dtype=np.int32), level=np.full(s.NFIBRE, 500.0))
    got = FlatLevel().measure(s.frame(lamp()), exposure(), known)
    assert [float(got[n].values) for n in ("flat_level", "flat_level_scatter", "flat_fibers_changed")] == [1.0, 0.0, 0.0]
    factor = np.full(s.NFIBRE, 0.7)
    factor[9] *= 0.8
    faint = FlatLevel().measure(s.frame(lamp(factor)), exposure(), known)
    assert float(faint["flat_level"].values) == pytest.approx(0.7)
    assert float(faint["flat_fibers_changed"].values) == pytest.approx(1 / s.NFIBRE)
    assert faint["flat_fibers_changed"].remarks[()] == "fibre 509"
    ivar = np.full((s.NFIBRE, s.NWAVE), 1.0)
    ivar[5] = 0.0  # a fibre that has a level in the reference and none here
    lost = FlatLevel().measure(s.frame(lamp(), ivar), exposure(), known)
    assert lost["flat_fibers_changed"].remarks[()] == "fibre 505"
    for flat, one in ((None, exposure()), (known, exposure(seconds=0.0))):
        with pytest.raises(NotApplicable):
            FlatLevel().measure(s.frame(lamp()), one, flat)


def fiberflat(values: np.ndarray) -> FiberFlat:
    shape = (len(values), 50)
    flat = np.broadcast_to(values[:, None], shape).astype(np.float32)
    return FiberFlat(
        flat=flat,
        ivar=np.full(shape, 1e6, np.float32),
        mask=np.zeros(shape, np.uint32),
        wave=6000.0 + np.arange(50.0),
        meanspec=np.ones(50, np.float32),
        fiber=np.arange(len(values), dtype=np.int32),
    )


def test_without_a_reference_flat_fibres_are_compared_with_the_fibre_flat() -> None:
    level = 1.0 + 0.1 * np.sin(np.arange(s.NFIBRE))
    flat = replace(fiberflat(level), fiber=np.arange(500, 500 + s.NFIBRE, dtype=np.int32), wave=np.linspace(5990.0, 6210.0, 50))
    tilted = level * (1.0 + 0.05 * np.linspace(-0.5, 0.5, s.NFIBRE))
    colour = np.exp(0.3 * (s.WAVE - s.WAVE[0]) / np.ptp(s.WAVE))
    got = FlatLevel().measure(s.frame(lamp(tilted) * colour), exposure(), None, flat)
    assert "no reference flat" in (got["flat_level"].not_applicable or "")
    assert float(got["flat_level_slope"].values) == pytest.approx(0.05, abs=0.002)
    assert float(got["flat_level_rms"].values) == pytest.approx(0.05 / np.sqrt(12.0), rel=0.05)
    assert float(got["lamp_colour"].values) == pytest.approx(0.3, abs=0.01)
    assert float(got["flat_fibers_changed"].values) == 0


def test_exchanged_fibres_are_named() -> None:
    level = 1.0 + 0.15 * np.sin(1.7 * np.arange(s.NFIBRE))
    flat = replace(fiberflat(level), fiber=np.arange(500, 500 + s.NFIBRE, dtype=np.int32))
    swapped = level.copy()
    swapped[[11, 12]] = level[[12, 11]]
    swapped[30] *= 0.5  # a weak fibre is not exchanged with any
    noise = 1.0 + np.random.default_rng(8).normal(0, 0.002, s.NFIBRE)
    got = FlatLevel().measure(s.frame(lamp(swapped * noise)), exposure(), None, flat)["swapped_fibers"]
    assert (float(got.values), got.remarks[()]) == (1.0, "fibres 511 and 512")
    assert float(FlatLevel().measure(s.frame(lamp(level * noise)), exposure(), None, flat)["swapped_fibers"].values) == 0


def test_fibres_that_are_known_to_be_bad_are_not_compared() -> None:
    status, factor = np.zeros(s.NFIBRE, np.int32), np.ones(s.NFIBRE)
    status[7], factor[7] = 1 << 2, 0.0
    known = ReferenceFlat(fiber=np.arange(500, 500 + s.NFIBRE, dtype=np.int32), level=np.full(s.NFIBRE, 500.0))
    got = FlatLevel().measure(s.frame(lamp(factor), fibermap=s.fibermap(FIBERSTATUS=status)), exposure(), known)
    assert float(got["flat_fibers_changed"].values) == 0
    assert float(got["flat_level_rms"].values) == 0


def test_the_light_says_which_lamp_is_on() -> None:
    noise = np.random.default_rng(9).normal(0, s.SIGMA, (s.NFIBRE, s.NWAVE))
    lines = 5000.0 * np.exp(-0.5 * (((s.WAVE - 6000) % 40 - 20) / 0.7) ** 2)
    state = [float(LampState().measure(s.frame(flux + noise))["lamp_continuum"].values) for flux in (lamp(), np.tile(lines, (s.NFIBRE, 1)))]
    assert state[0] == 1.0
    assert 0.05 < state[1] < 0.15  # 3 Angstrom in 40 lie above a tenth of the peak of a line
    shown = LampState().measure(s.frame(lamp() + noise)).plots[0].panels[0]
    assert isinstance(shown.layers[0], Scatter)
    assert shown.layers[0].y.tolist() == [1.0] * len(shown.layers[0].x)
    assert shown.metric == "lamp_continuum"
    off = LampState().measure(s.frame(noise))["lamp_continuum"]
    assert np.isnan(off.values)
    assert "no lamp is on" in off.remarks[()]


def test_a_short_flat_is_no_lamp_that_is_off() -> None:
    """S/N 5 a sample, 100 over the spectrum: no sample alone stands out by ten sigma."""
    noise = np.random.default_rng(2).normal(0.0, s.SIGMA, (s.NFIBRE, s.NWAVE))
    got = LampState().measure(s.frame(lamp() / 5000.0 * 5 * s.SIGMA + noise))["lamp_continuum"]
    assert float(got.values) == pytest.approx(1.0, abs=0.01)


def test_the_exposure_that_differs_is_seen() -> None:
    even = np.ones(40)
    tilted = 1 + 0.03 * np.linspace(-1, 1, 40)
    got = FiberflatRepeat().measure(fiberflat(even), [fiberflat(even), fiberflat(tilted)], [exposure(7), exposure(8)])["fiberflat_repeat"]
    assert got.coords["exposure"] == ("7", "8")
    assert got.values[0] == pytest.approx(0.0, abs=1e-6)
    assert got.values[1] == pytest.approx(1.4826 * 0.015, rel=0.05)
    with pytest.raises(NotApplicable, match="one exposure"):
        FiberflatRepeat().measure(fiberflat(even), [fiberflat(even)], [exposure()])


# ---- detectors


def test_photon_transfer_against_what_is_stated() -> None:
    names, n = tuple(a.name for a in AMPS), len(AMPS)
    gain = np.array([a.gain for a in AMPS]) * 1.1
    curve = np.tile(np.array([0.0, 1000.0, np.nan]), (n, 1))
    nothing = np.full(n, np.nan)
    ptc = PhotonTransfer(
        amp=names, gain=gain, gain_error=0.01 * gain, read_noise=np.full(n, 3.0), read_noise_error=np.full(n, 0.01), full_well=nothing,
        linearity=nothing.copy(), level=curve, variance=curve.copy(),
    )  # fmt: skip
    got = PhotonTransferQa().measure(ptc, [image()])
    np.testing.assert_allclose(got["gain_ratio"].values, 1.1)
    np.testing.assert_allclose(got["gain_error"].values, 0.01)
    np.testing.assert_allclose(got["ptc_read_noise"].values, 3.0)
    assert got["linearity_error"].not_applicable == "the flats have one exposure time"
    assert got["full_well"].not_applicable == "no pixel was saturated"


def test_extent_and_scatter_of_a_pixel_flat() -> None:
    one = image()
    rng = np.random.default_rng(1)
    pixels = (1 + 0.01 * rng.normal(size=one.shape)).astype(np.float32)
    ivar = np.full(one.shape, 1e6, np.float32)
    ivar[:, ::4] = 0.0
    ivar[AMPS[2].ccd.slices] = 0.0
    pixels[5, 5] = 0.5
    got = PixelResponse().measure(PixelFlat(pixels=pixels, ivar=ivar), [one])
    np.testing.assert_allclose(got["pixflat_measured"].values, [0.75, 0.75, 0, 0.75])
    np.testing.assert_allclose(got["pixflat_scatter"].values[[0, 1, 3]], 0.01, rtol=0.05)
    np.testing.assert_allclose(got["pixflat_error"].values[[0, 1, 3]], 0.001)
    assert np.isnan(got["pixflat_scatter"].values[2])
    assert got["pixflat_low_fraction"].values[0] > 0


def test_bad_pixels_are_counted_by_kind() -> None:
    one = image()
    bits = np.zeros(one.shape, np.uint16)
    bits[0, 0] = int(PixelMask.HOT)
    bits[0, 1] = int(PixelMask.HOT | PixelMask.BAD)
    bits[1, 0] = int(PixelMask.DEAD)
    got = BadPixels().measure(BadPixelMask(pixels=bits), [one])
    np.testing.assert_array_equal(got["bad_pixels"].values[0], [2, 1, 0, 1])
    assert not got["bad_pixels"].values[1:].any()
    assert got["bad_pixel_fraction"].values[0] == pytest.approx(3 / (one.shape[0] // 2 * (one.shape[1] // 2)))
