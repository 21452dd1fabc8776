"""The wavelengths of a slit are moved onto the sky lines, or left alone where these do not tell."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from algorithms.slit_flexure import SlitFlexure
from qa.slit_wavelengths import SlitWavelengths
from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.linelist import SkyLines, shipped_lines
from quicklook.ccd.spectra import Frame
from quicklook.core.judge import Judge
from quicklook.core.limits import load_limits
from quicklook.core.status import Status
from quicklook.io.configfiles import find_config
from quicklook.service.site import declared_metrics

N, NWAVE, STEP = 20, 2000, 1.3


def frame(spectrum: np.ndarray, grid: np.ndarray, shift: float, *, first: float = 6200.0, noise: float = 3.0, seed: int = 1) -> Frame:
    """Apertures of a curved slit whose wavelengths are wrong by `shift` pixel; `spectrum` on `grid` (Angstrom), electron/Angstrom."""
    curve = 0.05 * (np.arange(N) - 10.0)[:, None] ** 2 / 10.0
    stated = first + STEP * np.arange(NWAVE) + curve
    true = stated - STEP * shift
    variance = np.interp(true, grid, spectrum) + noise**2
    flux = np.interp(true, grid, spectrum) + np.sqrt(variance) * np.random.default_rng(seed).normal(size=true.shape)
    types = tuple("TGT" if 8 <= i < 12 else "SKY" for i in range(N))
    flux[8:12] += 500.0
    return Frame(
        camera="red",
        flux=flux.astype(np.float32),
        ivar=(1 / variance).astype(np.float32),
        mask=np.zeros(flux.shape, np.uint32),
        wave=np.array(stated, np.float64),
        sigma=np.full(flux.shape, 1.8 * STEP, np.float32),
        fibermap=FiberMap(fiber=np.arange(N, dtype=np.int32), objtype=types, source="made"),
    )


def lines_of(strength: float = 1.0, seed: int = 3) -> tuple[np.ndarray, np.ndarray]:
    """The lines of the list with other strengths than it says, as a slit of 1.8 pixels sigma sees them."""
    lines, rng = shipped_lines(SkyLines), np.random.default_rng(seed)
    grid = np.arange(6000.0, 9500.0, 0.2)
    spectrum = 40.0 + np.zeros(grid.size)
    sigma = 1.8 * STEP
    for wave, light in zip(lines.wave, lines.strength * rng.uniform(0.6, 1.6, lines.wave.size), strict=True):
        spectrum += strength * light / (sigma * np.sqrt(2 * np.pi)) * np.exp(-0.5 * ((grid - wave) / sigma) ** 2)
    return spectrum, grid


@pytest.mark.parametrize("shift", [0.0, 0.4, -1.7, 4.3])
def test_a_shift_is_found_and_taken_off(shift: float) -> None:
    spectrum, grid = lines_of()
    given = frame(spectrum, grid, shift)
    moved, found = SlitFlexure().run(given, None)
    # lines of the list are blended at this resolution, by other strengths than it was made for
    assert found.shift == pytest.approx(shift, abs=0.1)
    assert abs(found.shift - shift) < 5 * found.error + 0.05
    np.testing.assert_allclose(moved.wave, given.wave - STEP * shift, atol=0.1 * STEP)
    assert moved.flux is given.flux
    measures = SlitWavelengths().measure(found)
    assert float(measures["slit_wave_shift"].values) == found.shift


def test_a_sky_without_lines_moves_nothing() -> None:
    grid = np.arange(6000.0, 9500.0, 0.2)
    given = frame(40.0 + 5 * np.sin(grid / 200.0), grid, 1.0)
    moved, found = SlitFlexure().run(given, None)
    assert moved is given
    assert np.isnan(found.shift)
    assert found.remark
    assert SlitWavelengths().measure(found)["slit_wave_shift"].not_applicable == found.remark


@pytest.mark.parametrize("shift", [0.3, 4.0])
def test_a_shift_too_doubtful_to_be_taken_off_is_told_all_the_same(shift: float) -> None:
    """Two bright lines, of four that the list has: too few to move anything, enough to say that the wavelengths are wrong."""
    listed = np.array([6500.0, 6900.0, 7400.0, 8000.0])
    lines = SkyLines(name=("sky",) * 4, wave=listed, strength=np.ones(4), sigma=np.full(4, 0.01), window=np.full(4, 10.0))
    grid, sigma = np.arange(6000.0, 9500.0, 0.2), 1.8 * STEP
    spectrum = 40.0 + sum(600.0 * np.exp(-0.5 * ((grid - w) / sigma) ** 2) for w in listed[1:3])
    given = frame(np.asarray(spectrum), grid, shift)
    moved, found = SlitFlexure().run(given, lines)
    assert moved is given
    assert np.isnan(found.shift)
    assert found.suggested == pytest.approx(shift, abs=0.1)
    measures = SlitWavelengths().measure(found)
    limits = load_limits([find_config("limits", "default")], declared_metrics(), {"flavor", "camera", "arm"})
    judged = {m.name: m for m in Judge(limits).measures(SlitWavelengths.metrics, measures, {"flavor": "science"})}
    assert judged["slit_wave_doubt"].status is (Status.WARNING if shift > 2 else Status.NORMAL)


@pytest.mark.parametrize("shift", [11.0, -14.5])
def test_lines_far_away_are_told_and_not_followed(shift: float) -> None:
    spectrum, grid = lines_of()
    given = frame(spectrum, grid, shift)
    moved, found = SlitFlexure().run(given, None)
    assert moved is given
    assert np.isnan(found.shift)
    assert found.suggested == pytest.approx(shift, abs=0.2)  # blends, as above
    assert "farther than is taken off" in found.remark


def test_no_sky_apertures_and_no_lines_in_range_are_said() -> None:
    spectrum, grid = lines_of()
    given = frame(spectrum, grid, 0.0)
    targets = FiberMap(fiber=given.fibermap.fiber, objtype=("TGT",) * N, source="made")
    assert SlitFlexure().run(replace(given, fibermap=targets), None)[1].remark == "no aperture is marked as sky"
    infrared = replace(given, wave=given.wave + 5000.0)
    assert "are in range" in SlitFlexure().run(infrared, None)[1].remark


def test_the_observed_sky(shared_data: Path) -> None:
    """An atlas of the real sky, whose unlisted lines are there too."""
    with fits.open(shared_data / "sky/sky-uves.fits") as f:
        atlas = np.asarray(f[0].data, np.float64)
    atlas_wave = 3400.0 + 0.1 * np.arange(atlas.size)
    sigma = 1.8 * STEP
    grid = np.arange(6000.0, 9500.0, 0.2)
    fine = np.interp(grid, atlas_wave, atlas)
    kernel = np.exp(-0.5 * (np.arange(-60, 61) * 0.2 / sigma) ** 2)
    seen = np.convolve(fine, kernel / kernel.sum(), mode="same")
    spectrum = 30.0 + seen * 3000.0 / np.percentile(seen, 99.5)
    _, found = SlitFlexure().run(frame(spectrum, grid, 1.3), None)
    assert found.shift == pytest.approx(1.3, abs=0.1)
