"""Arcs identified from scratch, against known truth; and the refusal of what is not certain."""

from __future__ import annotations

from dataclasses import replace

import arc_frames as af
import numpy as np
import pytest

from algorithms.identify_arc import IdentifyArc, IdentifyArcParams, lamp_lines
from algorithms.trace_flat import TraceFlat
from quicklook.ccd.image import Image
from quicklook.ccd.lineid import LineIdentification
from quicklook.ccd.linelist import LampLines, shipped_lines
from quicklook.ccd.pixeltraces import PixelTraces, Spectrograph
from quicklook.ccd.spectra import TraceSet
from quicklook.core.errors import BadConfig, BadData

LAMPS = ("Ne", "Ar", "Hg", "Kr")
PLAIN = af.Bench()


@pytest.fixture(scope="module")
def traces() -> PixelTraces:
    return TraceFlat().run([af.flat(af.Bench(dark=(4,)))], [af.spectrograph()], None)[0]


def run(image: Image, traces: PixelTraces, known: Spectrograph | None = None, **params: object) -> tuple[TraceSet, LineIdentification]:
    return IdentifyArc(IdentifyArcParams.model_validate(params)).run([image], traces, [known or af.spectrograph()], None)


def wave_error(got: TraceSet, bench: af.Bench = PLAIN) -> np.ndarray:
    """Found minus true row at wavelengths of the detector, in Angstrom: [nfibre, nwave], lit fibres."""
    wave = np.linspace(af.wave_true(np.array([40.0]))[0], af.wave_true(np.array([af.NY - 40.0]))[0], 60)
    error = (got.evaluate(got.y, wave) - af.y_true(wave, bench)) * af.DISPERSION
    return np.delete(error, list(bench.dark), axis=0)


def rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))


def test_wavelengths_traces_and_widths_come_back(traces: PixelTraces) -> None:
    """The dispersion is 5 % wrong, the centre 60 Angstrom."""
    wave, light, own = af.lamp(LAMPS)
    got, lines = run(af.arc(wave, light, af.Bench(dark=(4,))), traces)
    assert rms(wave_error(got)) < 0.01
    assert lines.bright_matched > 0.9
    assert lines.chance < -8
    assert {e for e, n in lines.by_lamp.items() if n} == set(own)
    at = np.linspace(got.wavemin + 80, got.wavemax - 80, 20)
    x = np.stack([np.interp(y, np.arange(af.NY), t) for y, t in zip(got.evaluate(got.y, at), af.x_true(np.arange(af.NY)), strict=True)])
    assert rms(np.delete(got.evaluate(got.x, at) - x, 4, axis=0)) < 0.01
    assert got.ysig is not None
    assert abs(float(np.median(got.evaluate(got.ysig, at))) - af.SIGMA_Y) < 0.01
    assert got.wavemin < af.wave_true(np.array([0.0]))[0]
    assert got.wavemax > af.wave_true(np.array([af.NY - 1.0]))[0]


def test_a_missing_lamp_saturated_and_unknown_lines_do_no_harm(traces: PixelTraces) -> None:
    """Krypton is listed and not lit; the two brightest lines are cut off at the top, unmasked in one and masked in the other; others are in no list."""
    wave, light, own = af.lamp(LAMPS)
    lit = own != "Kr"
    wave, light = wave[lit], light[lit]
    foreign = af.wave_true(np.array([111.3, 420.7, 777.7, 1203.1]))
    image = af.arc(np.append(wave, foreign), np.append(light, [600.0, 900.0, 500.0, 700.0]), af.Bench(dark=(4,), cosmics=200))
    pixels, ivar = image.pixels.copy(), image.ivar.copy()
    for n, i in enumerate(np.argsort(-light)[:2]):
        y = af.y_true(wave[i : i + 1]).mean()
        rows = slice(int(y) - 12, int(y) + 13)
        top = 0.4 * pixels[rows].max()
        if n == 0:
            ivar[rows][pixels[rows] > top] = 0.0
        pixels[rows] = np.minimum(pixels[rows], top)
    got, lines = run(replace(image, pixels=pixels, ivar=ivar), traces)
    assert rms(wave_error(got)) < 0.025  # 0.018 pixel: as 0.01 Angstrom at the dispersion of DESI
    assert lines.by_lamp["Kr"] == 0
    assert lines.chance < -3


@pytest.mark.parametrize(("lamps", "other"), [("He,Zn,Xe", ()), ("Ne,Ar", ("He", "Zn"))])
def test_a_handful_of_lines_and_a_lamp_that_nobody_wrote_down(traces: PixelTraces, lamps: str, other: tuple[str, ...]) -> None:
    """Five lines of helium, two of zinc, and a dispersion that is 5 % wrong: a cubic through them. Lamps that are not lit are named."""
    wave, light, own = af.lamp(("He", "Zn"))
    got, lines = run(af.arc(wave, light, af.Bench(dark=(4,))), traces, lamps=lamps)
    assert np.isfinite(lines.wave).sum() == len(wave) == 7
    inner = np.linspace(wave.min(), wave.max(), 40)
    error = np.delete((got.evaluate(got.y, inner) - af.y_true(inner)) * af.DISPERSION, 4, axis=0)
    assert rms(error) < 0.05  # 0.035 pixel; blends of zinc and the degree beyond the third are in it
    assert lines.other_lamps == other
    assert {e for e, n in lines.by_lamp.items() if n} == {"He", "Zn"}
    assert ("Xe" in (*lines.faint_lamps, *lines.by_lamp)) == ("Xe" in lamps)
    assert len(own) == 7


def test_fibres_of_their_own_are_followed(traces: PixelTraces) -> None:
    wave, light, _ = af.lamp(LAMPS)
    bench = af.Bench(own=0.1)
    image = af.arc(wave, light, bench)
    assert rms(wave_error(run(image, traces)[0], bench)) < 0.015
    assert rms(wave_error(run(image, traces, per_fibre=False)[0], bench)) > 0.08


def test_the_centre_may_be_unknown(traces: PixelTraces) -> None:
    wave, light, _ = af.lamp(LAMPS)
    got, _ = run(af.arc(wave, light), traces, af.spectrograph(centre=None))
    assert rms(wave_error(got)) < 0.01


def test_several_arcs_are_added(traces: PixelTraces) -> None:
    """One lamp after another."""
    first, second = af.lamp(("Ne",)), af.lamp(("Ar", "Hg"))
    images = [af.arc(first[0], first[1]), af.arc(second[0], second[1], af.Bench(seed=2))]
    got, lines = IdentifyArc().run(images, traces, [af.spectrograph()], None)
    assert rms(wave_error(got)) < 0.015
    assert {"Ne", "Ar"} <= {e for e, n in lines.by_lamp.items() if n}


@pytest.mark.parametrize("seed", range(6))
def test_lines_of_another_lamp_are_refused(traces: PixelTraces, seed: int) -> None:
    """Lines at places of chance: never a solution."""
    rng = np.random.default_rng(seed)
    wave = af.wave_true(np.sort(rng.uniform(20, af.NY - 20, 18)))
    with pytest.raises(BadData, match="cannot be identified|in two ways"):
        run(af.arc(wave, 10 ** rng.uniform(3, 4.3, 18)), traces)


def test_it_says_what_is_lacking(traces: PixelTraces) -> None:
    wave, light, _ = af.lamp(LAMPS)
    image = af.arc(wave, light)
    with pytest.raises(BadConfig, match="dispersion is not known"):
        run(image, traces, af.spectrograph(dispersion=None))
    with pytest.raises(BadConfig, match="no line of Th; it has Ar"):
        run(image, traces, lamps="Th,Ar")
    with pytest.raises(BadData, match="arc lines were found|check the lamps|stand out"):
        run(af.arc(wave[:2], light[:2]), traces)
    with pytest.raises(BadData, match="lines"):
        run(af.arc(wave[:0], light[:0]), traces)
    with pytest.raises(BadData, match="make traces of this read-out"):
        run(af.as_image(np.zeros((300, 300)), np.ones((300, 300))), traces)


def test_wavelengths_that_fall_are_told(traces: PixelTraces) -> None:
    wave, light, _ = af.lamp(LAMPS)
    image = af.arc(wave, light)
    upside_down = replace(image, pixels=image.pixels[::-1].copy(), ivar=image.ivar[::-1].copy())
    with pytest.raises(BadData, match="flip_y"):
        run(upside_down, traces)


def test_lines_of_elements() -> None:
    lines = shipped_lines(LampLines)
    assert {n.split("_")[0] for n in lamp_lines(lines, ("Hg", "Cd")).name} == {"Hg", "Cd"}
    assert len(lamp_lines(lines, ()).wave) == len(lines.wave)


def test_a_flat_is_no_arc_and_says_so_without_a_warning_of_numpy(traces: PixelTraces) -> None:
    """Warnings are errors in these tests."""
    with pytest.raises(BadData, match="0 arc lines were found, that is too few"):
        run(af.flat(af.Bench(dark=(4,))), traces)
