"""Identification of lists of lines: wrong scales, missing lamps, wrong places, foreign lines; and no answer where chance would do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from algorithms.identify_arc import lamp_lines
from algorithms.lineident import Limits, identify, prominent, resolved
from quicklook.ccd.linelist import LampLines, air_to_vacuum, parse_lines, shipped_lines
from quicklook.core.errors import BadData

CAMERAS = {"b": (3570.0, 5990.0, 0.59), "r": (5617.0, 7803.0, 0.53), "z": (7450.0, 9885.0, 0.59)}
NY = 4128
LAMPS = ("Hg", "Cd", "Ne", "Ar", "Kr", "Xe")


def element_of(wave: float) -> str:
    lines = shipped_lines(LampLines)
    return str(lines.name[int(np.argmin(np.abs(lines.wave - wave)))]).split("_")[0]


def rows_of(wave: np.ndarray, camera: str) -> np.ndarray:
    """Rows of wavelengths in a camera of DESI, as its traces have them."""
    low, high, _ = CAMERAS[camera]
    t = (wave - 0.5 * (low + high)) / (0.5 * (high - low))
    return np.asarray((NY - 1) * 0.5 * (1 + t + 0.028 * (t**2 - 1) + 0.003 * (t**3 - t)))


def arc(folder: Path, camera: str, missing: str, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Wavelengths, rows and fluxes of the lines of `bright_arc_lines_vacuum.dat`; flux says nothing of the element."""
    rng = np.random.default_rng(seed)
    wave = np.loadtxt(folder / "lines" / "bright_arc_lines_vacuum.dat")
    y = rows_of(wave, camera)
    kept = (y > 6) & (y < NY - 7) & np.array([element_of(w) != missing for w in wave])
    return wave[kept], y[kept] + 0.02 * rng.normal(size=kept.sum()), 10 ** rng.uniform(3.2, 4.8, kept.sum())


@pytest.mark.parametrize("wrong", [0.95, 1.05])
@pytest.mark.parametrize(("camera", "missing"), [("b", ""), ("b", "Kr"), ("r", ""), ("r", "Hg"), ("z", ""), ("z", "Xe")])
def test_identified_with_a_wrong_dispersion_a_missing_lamp_and_saturated_lines(shared_data: Path, camera: str, missing: str, wrong: float) -> None:
    """The two brightest lines lie 0.8 pixel off."""
    low, high, dispersion = CAMERAS[camera]
    for seed in range(2):
        wave, y, flux = arc(shared_data, camera, missing, seed)
        brightest = np.argsort(-flux)[:2]
        place = y.copy()
        place[brightest] += np.random.default_rng(seed).choice([-0.8, 0.8], 2)
        limits = Limits(dispersion=dispersion * wrong, dispersion_error=0.06, centre=0.5 * (low + high), centre_error=200.0)
        scale = identify(place, flux, NY, lamp_lines(shipped_lines(LampLines), LAMPS), limits)
        inner = (y > y.min() + 100) & (y < y.max() - 100)
        assert np.abs(scale.wave(y, NY) - wave)[inner].max() < 0.5  # the final fit over all fibres makes 0.01 of it
        assert scale.chance < -3
        assert scale.rival > scale.chance + 2


def test_foreign_lines_and_an_unknown_centre(shared_data: Path) -> None:
    wave, y, flux = arc(shared_data, "r", "", 1)
    rng = np.random.default_rng(1)
    place, light = np.append(y, rng.uniform(20, NY - 20, 5)), np.append(flux, rng.uniform(800, 3000, 5))
    limits = Limits(dispersion=0.53 * 1.03, dispersion_error=0.06, centre=None, centre_error=0.0)
    scale = identify(place, light, NY, shipped_lines(LampLines), limits)
    assert np.median(np.abs(scale.wave(y, NY) - wave)) < 0.1


@pytest.mark.parametrize("seeds", [range(8), pytest.param(range(8, 50), marks=pytest.mark.long)])
def test_lines_by_chance_are_never_identified(seeds: range) -> None:
    lines = lamp_lines(shipped_lines(LampLines), LAMPS)
    for seed in seeds:
        rng = np.random.default_rng(seed)
        n = int(rng.integers(8, 30))
        limits = Limits(dispersion=0.55, dispersion_error=0.06, centre=float(rng.uniform(4500, 8800)), centre_error=200.0)
        with pytest.raises(BadData, match="cannot be identified|in two ways"):
            identify(np.sort(rng.uniform(20, NY - 20, n)), 10 ** rng.uniform(3, 5, n), NY, lines, limits)


def test_few_lines_are_too_few() -> None:
    limits = Limits(dispersion=0.55, dispersion_error=0.06, centre=6700.0, centre_error=200.0)
    with pytest.raises(BadData, match="too few to identify"):
        identify(np.array([10.0, 20.0, 30.0]), np.ones(3), NY, shipped_lines(LampLines), limits)


def test_prominent_lines_and_the_bright_lists(shared_data: Path) -> None:
    """The list is the project's own; nine in ten of the lines that DESI uses are among the prominent ones, and all in the list."""
    lines = shipped_lines(LampLines)
    wanted = np.loadtxt(shared_data / "lines" / "bright_arc_lines_vacuum.dat")
    assert max(float(np.abs(lines.wave - w).min()) for w in wanted) < 0.05
    bright = lines.wave[prominent(lines)]
    assert np.mean([np.abs(bright - w).min() < 0.3 for w in wanted]) > 0.85
    assert len(bright) < 0.6 * len(lines.wave)


def test_blends_are_one_line_in_between() -> None:
    text = "5000 0.002 1.8 100 Ne_I\n5000.6 0.002 1.8 50 Ne_I\n5010 0.002 1.8 100 Ne_I\n5000.3 0.002 1.8 70 Ar_I"
    merged, strongest = resolved(parse_lines(text, LampLines), 1.0)
    assert merged.wave.tolist() == pytest.approx([5000.2, 5000.3, 5010.0])
    assert merged.name == ("Ne_I", "Ar_I", "Ne_I")
    assert merged.sigma[0] > 0.05  # a fifth of their spread
    assert strongest.tolist() == pytest.approx([5000.0, 5000.3, 5010.0])


def test_lists_in_air() -> None:
    """He-Ne laser and green mercury, air and vacuum wavelengths of the literature."""
    assert air_to_vacuum(np.array([6328.160, 5460.753])) == pytest.approx([6329.909, 5462.270], abs=0.002)
    text = "# medium: air\n5460.753 0.002 1.8 100 Hg_I\n"
    assert parse_lines(text, LampLines).wave[0] == pytest.approx(5462.270, abs=0.002)
    with pytest.raises(BadData, match="air or vacuum, not water"):
        parse_lines("# medium: water\n5460.753 0.002 1.8 100 Hg_I\n", LampLines)


@pytest.mark.long
def test_wrong_lamps_and_wrong_centres_are_refused_or_right(shared_data: Path) -> None:
    """Lamps that are not on, a centre that is 700 Angstrom off: refused, or (where some of the lamps are on) right. Never wrong."""
    lines, right = shipped_lines(LampLines), 0
    for camera, (low, high, dispersion) in CAMERAS.items():
        wave, y, flux = arc(shared_data, camera, "", 3)
        for lamps, off in ((("Hg", "Xe"), 0.0), (("He", "Cd", "Zn"), 0.0), (LAMPS, 700.0), (LAMPS, -700.0), (("Ne", "Ar"), 0.0)):
            limits = Limits(dispersion=dispersion, dispersion_error=0.06, centre=0.5 * (low + high) + off, centre_error=200.0)
            try:
                scale = identify(y, flux, NY, lamp_lines(lines, lamps), limits)
            except BadData:
                continue
            assert np.median(np.abs(scale.wave(y, NY) - wave)) < 0.1
            right += 1
    assert right >= 2
