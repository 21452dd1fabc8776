"""Apertures of a long slit from a flat alone; and the real slit of Kast, to its wavelengths."""

from __future__ import annotations

from pathlib import Path

import arc_frames as af
import numpy as np
import pytest

from algorithms.identify_arc import IdentifyArc
from algorithms.trace_flat import TraceFlat
from quicklook.api import open_session
from quicklook.ccd.image import Image
from quicklook.ccd.pixeltraces import PixelTraces, Spectrograph
from quicklook.core.errors import BadData

NX, NY = 120, 800
ROWS = np.arange(0.0, NY, 20.0)


def edges(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    t = 2.0 * rows / (NY - 1) - 1.0
    return 18.3 - 1.5 * t + 0.4 * t**2, 97.8 - 2.0 * t


def slit(level: float = 3000.0, dust: bool = True, seed: int = 1) -> Image:
    """Light between two edges, blurred by a pixel, with a scattered tenth of it outside, a dust speck on the slit and cosmic rays."""
    rng = np.random.default_rng(seed)
    low, high = edges(np.arange(NY, dtype=float))
    fine = (np.arange(NX * 10) + 0.5) / 10 - 0.5
    step = 0.5 * (np.tanh((fine[None, :] - low[:, None]) / 0.8) - np.tanh((fine[None, :] - high[:, None]) / 0.8))
    light = step.reshape(NY, NX, 10).mean(axis=2) * level * (1.0 - 0.6 * (np.arange(NY) / NY - 0.5) ** 2)[:, None]
    if dust:
        light[:, 55:57] *= 0.35
    light += 0.03 * level
    pixels = rng.poisson(light) + 3.0 * rng.normal(size=light.shape)
    for _ in range(60):
        pixels[rng.integers(0, NY), rng.integers(0, NX)] += 8000
    return af.as_image(pixels, 1.0 / (light + 9.0))


def known(count: int) -> Spectrograph:
    return Spectrograph(camera="r0", fibres=count, slit=True, dispersion=1.0, centre=4500.0)


@pytest.mark.parametrize("count", [1, 12])
def test_apertures_lie_between_the_edges(count: int) -> None:
    traces, fit = TraceFlat().run([slit()], [known(count)], None)
    low, high = edges(ROWS)
    want = low + (np.arange(count)[:, None] + 0.5) / count * (high - low)
    assert np.abs(traces.at_rows(traces.x, ROWS) - want).max() < 0.1
    assert traces.slit
    assert fit.slit
    assert traces.at_rows(traces.xsig, ROWS) * np.sqrt(12.0) == pytest.approx(np.tile((high - low) / count, (count, 1)), abs=0.2)
    assert fit.dark == ()
    assert np.median(fit.flux) == pytest.approx(3030.0 * 79.5 / count, rel=0.1)


def test_a_slit_that_reaches_to_the_edge_of_the_detector() -> None:
    image = slit(dust=False)
    cut = af.as_image(image.pixels[:, 30:].copy(), image.ivar[:, 30:].copy())
    traces, _ = TraceFlat().run([cut], [known(1)], None)
    assert np.abs(traces.at_rows(traces.x, ROWS)[0] - 0.5 * (-0.5 + edges(ROWS)[1] - 30)).max() < 0.1


def filled(across: np.ndarray, along: float = 0.5, seed: int = 2) -> Image:
    """Light over the whole detector, with `across` [nx] along the slit, and weaker by `along` at the ends of the spectrum."""
    rng = np.random.default_rng(seed)
    light = 3000.0 * (1.0 - along * (2.0 * np.arange(NY) / NY - 1.0) ** 2)[:, None] * across[None, :]
    return af.as_image(rng.poisson(light) + 3.0 * rng.normal(size=light.shape), 1.0 / (light + 9.0))


@pytest.mark.parametrize("far", [1.0, 0.8, 0.35])
def test_a_slit_that_fills_the_detector(far: float) -> None:
    """Evenly lit, or dimmer towards one end, with dust: there is no edge in the illumination itself."""
    across = np.linspace(1.0, far, NX)
    across[70:73] *= 0.4
    traces, fit = TraceFlat().run([filled(across)], [known(4)], None)
    assert np.abs(traces.at_rows(traces.x, ROWS) - (-0.5 + NX * (np.arange(4)[:, None] + 0.5) / 4)).max() < 0.1
    assert (fit.coverage.min(), fit.rms.max() < 0.05, fit.dark) == (1.0, True, ())


def test_scattered_light_is_no_slit_that_fills_the_detector() -> None:
    """A background of two fifths of the light beside a real slit: its edges stand out all the same."""
    image = slit(dust=False)
    over = af.as_image(image.pixels + 1800.0 * (image.pixels.mean(axis=1, keepdims=True) / image.pixels.mean()), image.ivar)
    traces, _ = TraceFlat().run([over], [known(1)], None)
    assert np.abs(traces.at_rows(traces.x, ROWS)[0] - 0.5 * np.add(*edges(ROWS))).max() < 0.2


@pytest.mark.parametrize("level", [0.0, 1000.0])
def test_a_frame_without_a_lamp_is_refused(level: float) -> None:
    """Also where an offset of the bias was left in it, which is the same everywhere."""
    with pytest.raises(BadData, match="no slit stands out"):
        TraceFlat().run([af.as_image(np.full((NY, NX), level), np.full((NY, NX), 1.0 / 9.0))], [known(5)], None)
    with pytest.raises(BadData, match="no slit stands out"):
        TraceFlat().run([filled(np.full(NX, 1.0), along=0.0)], [known(5)], None)


def test_no_slit_is_refused() -> None:
    noise = 3.0 * np.random.default_rng(1).normal(size=(NY, NX))
    with pytest.raises(BadData, match="no slit stands out"):
        TraceFlat().run([af.as_image(noise, np.full(noise.shape, 1.0 / 9.0))], [known(5)], None)


@pytest.fixture(scope="module")
def kast(shared_data: Path) -> tuple[PixelTraces, Image]:
    """Traces from the dome flats of a real night, and its arc."""
    session = open_session(instrument="kast_blue")
    folder = shared_data / "kast_blue"
    first, second, arc = (session.run("raw", folder / f"b{i}.fits.gz")[Image] for i in (2, 3, 1))
    assert isinstance(first, Image)
    assert isinstance(second, Image)
    assert isinstance(arc, Image)
    traces, fit = TraceFlat().run([first, second], [Spectrograph(camera="blue", fibres=30, slit=True)], None)
    assert fit.coverage.min() > 0.9
    return traces, arc


@pytest.mark.parametrize(("dispersion", "centre", "lamps"), [(1.02, 4500.0, ("Hg", "Cd", "He")), (1.07, None, ("Hg", "Cd", "He", "Ne"))])
def test_wavelengths_of_a_real_slit(kast: tuple[PixelTraces, Image], dispersion: float, centre: float | None, lamps: tuple[str, ...]) -> None:
    """HgCdHe, 5 % wrong, the centre unknown, a lamp that is not there: under 0.3 Angstrom in every aperture (0.03 to 0.13 as measured)."""
    traces, arc = kast
    about = Spectrograph(camera="blue", fibres=30, slit=True, dispersion=dispersion, centre=centre, lamps=lamps)
    solution, lines = IdentifyArc().run([arc], traces, [about], None)
    assert np.nanmax(lines.rms) < 0.3
    assert (lines.nlines > 8).all()
    assert lines.chance < -8
    bright = lines.wave[np.argsort(-lines.height)[:4]]
    assert {round(float(w)) for w in bright} == {4360, 4801, 5087, 5462}
    row = solution.evaluate(solution.y, np.array([4359.56]))[15, 0]
    assert row == pytest.approx(967.0, abs=4.0)  # where the brightest line stands in the raw frame
    assert solution.ysig is not None
    assert 0.7 < np.median(solution.evaluate(solution.ysig, np.array([4400.0, 5000.0]))) < 2.0
