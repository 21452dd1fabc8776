"""Arcs of four to eight lines: identified where the lamps allow it, refused where chance would do."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest

from algorithms.fewlines import identify_few, weighed
from algorithms.identify_arc import lamp_lines
from algorithms.lineident import Limits, resolved
from quicklook.ccd.linelist import LampLines, shipped_lines
from quicklook.core.errors import BadData

NY = 2064
LOW, HIGH, DISPERSION = 4175.0, 5385.0, 0.5865
"""The middle half of the blue arm of DESI: four lines of mercury and cadmium, and none of the other lamps."""


@cache
def lamps() -> LampLines:
    return resolved(lamp_lines(shipped_lines(LampLines), ("Hg", "Cd", "Ne", "Ar", "Kr", "Xe")), 1.48)[0]


def rows_of(wave: np.ndarray) -> np.ndarray:
    t = (wave - 0.5 * (LOW + HIGH)) / (0.5 * (HIGH - LOW))
    return np.asarray((NY - 1) * 0.5 * (1 + t + 0.028 * (t**2 - 1) + 0.003 * (t**3 - t)))


def blue(folder: Path, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wavelengths, rows and fluxes of the lines that DESI has there; the fluxes say nothing."""
    wave = np.loadtxt(folder / "lines" / "bright_arc_lines_vacuum.dat")
    wave = wave[(rows_of(wave) > 6) & (rows_of(wave) < NY - 7)]
    rng = np.random.default_rng(seed)
    return wave, rows_of(wave) + 0.02 * rng.normal(size=len(wave)), 10 ** rng.uniform(3.2, 4.8, len(wave))


def limits(wrong: float = 1.0, away: float = 0.0) -> Limits:
    return Limits(dispersion=DISPERSION * wrong, dispersion_error=0.06, centre=0.5 * (LOW + HIGH) + away, centre_error=200.0)


@pytest.mark.parametrize(("wrong", "away"), [(0.95, 0.0), (1.05, -100.0), (1.0, 150.0)])
def test_four_lines_of_two_lamps(shared_data: Path, wrong: float, away: float) -> None:
    for seed in range(3):
        wave, y, flux = blue(shared_data, seed)
        assert len(wave) == 4
        scale = identify_few(y, flux, NY, lamps(), limits(wrong, away))
        np.testing.assert_allclose(lamps().wave[scale.entry], wave, atol=0.01)
        np.testing.assert_allclose(scale.wave(y, NY), wave, atol=0.2)  # a third of a pixel: what a cubic may be off
        assert scale.chance < -3
        assert scale.rival > scale.chance + 2.1


def test_a_foreign_line_is_left_out(shared_data: Path) -> None:
    wave, y, flux = blue(shared_data, 1)
    y, flux = np.append(y, 1777.0), np.append(flux, 700.0)
    scales = weighed(y, flux, NY, lamps(), limits())
    np.testing.assert_allclose(lamps().wave[scales[0].entry], wave, atol=0.01)
    assert 4 not in scales[0].line


@pytest.mark.parametrize("seeds", [range(6), pytest.param(range(6, 200), marks=pytest.mark.long)])
def test_lines_by_chance_are_never_identified(seeds: range) -> None:
    for seed in seeds:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(4, 8))
        known = Limits(dispersion=0.55, dispersion_error=0.06, centre=float(rng.uniform(4500, 8800)), centre_error=200.0)
        with pytest.raises(BadData, match="lie like them|are alike"):
            identify_few(np.sort(rng.uniform(20, NY - 20, n)), 10 ** rng.uniform(3, 5, n), NY, lamps(), known)


def test_other_numbers_of_lines_and_no_centre_are_not_tried() -> None:
    nowhere = Limits(dispersion=0.55, dispersion_error=0.06, centre=None, centre_error=0.0)
    y = np.linspace(100.0, 1900.0, 9)
    assert weighed(y, y, NY, lamps(), limits()) == []
    assert weighed(y[:3], y[:3], NY, lamps(), limits()) == []
    assert weighed(y[:5], y[:5], NY, lamps(), nowhere) == []


def test_the_odds_are_those_of_bayes() -> None:
    """The marginal likelihood of four lines against the mean of their likelihood over scales drawn from the prior."""
    from algorithms.fewlines import _PLACE, _Few

    text_lines = lamps()
    work = _Few(np.array([300.0, 700.0, 1100.0, 1500.0]), NY, text_lines, limits(), 4780.0)
    every = np.arange(4)
    rng = np.random.default_rng(3)
    draws = rng.multivariate_normal(work.mean, work.prior, size=400_000) @ work.basis.T
    wave = draws[0] + 3.0
    sigma = 8.0  # Angstrom, in place of a third of a pixel, so that draws come near
    work.pixel = sigma / _PLACE
    density = np.exp(-0.5 * np.sum(((wave - draws) / sigma) ** 2, axis=1)) / (2 * np.pi * sigma**2) ** 2
    assert float(work.likelihood(every, wave)) == pytest.approx(np.log(density.mean()), abs=0.1)  # 1 % of the draws count: a scatter of 3 %
