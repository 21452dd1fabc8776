"""The simulated long slit: its truth is true, and its frames are those of the instrument's description."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quicklook.sim import slit
from quicklook.sim.lines import lamp_lines
from quicklook.sim.slit import SlitExposure, simulate_slit, slit_row, slit_wave, write_slit


def frame(flavor: str, **how: float) -> slit.SlitFrame:
    return simulate_slit(SlitExposure(flavor=flavor, number=7, **how))  # type: ignore[arg-type]


def electrons_of(raw: np.ndarray) -> np.ndarray:
    """The image of a raw frame, its overscans subtracted: written here once more."""
    half = slit.NY // 2
    blank = [raw[:, slit.NY + k * slit.OVERSCAN : slit.NY + (k + 1) * slit.OVERSCAN] for k in (0, 1)]
    parts = [(raw[:, k * half : (k + 1) * half].astype(float) - np.median(blank[k])) * slit.GAIN[k] for k in (0, 1)]
    return np.hstack(parts).T


def test_rows_and_wavelengths_are_inverse() -> None:
    row, column = np.meshgrid(np.linspace(0, slit.NY - 1, 40), np.linspace(20, 330, 20))
    wave = slit_wave(row, column)
    np.testing.assert_allclose(slit_row(wave, column), row, atol=1e-8)
    assert (np.diff(wave, axis=1) > 0).all()


@pytest.mark.parametrize("flavor", ["zero", "flat", "arc", "science"])
def test_raw_frames_hold_the_expected_electrons_with_their_noise(flavor: str) -> None:
    made = frame(flavor)
    assert made.raw.shape == (slit.NX, slit.NY + 2 * slit.OVERSCAN)
    known = electrons_of(made.raw)
    variance = made.electrons + np.repeat([n**2 + g**2 / 12 for n, g in zip(slit.READ_NOISE, slit.GAIN, strict=True)], slit.NY // 2)[:, None]
    below = made.raw.max() < 65535
    pulls = (known - made.electrons) / np.sqrt(variance)
    assert below, "nothing is saturated"
    assert abs(float(pulls.mean())) < 0.1  # the level of an overscan is known to half an ADU
    assert float(pulls.std()) == pytest.approx(1.0, abs=0.01)


def test_the_same_plan_gives_the_same_frame_and_another_seed_another() -> None:
    first, again, other = frame("science"), frame("science"), frame("science", seed=99)
    np.testing.assert_array_equal(first.raw, again.raw)
    np.testing.assert_array_equal(first.electrons, other.electrons)
    assert (first.raw != other.raw).mean() > 0.5


def test_the_slit_lies_between_its_edges() -> None:
    made = frame("flat", moved=4.0)
    light = made.electrons / made.electrons[:, 100:250].mean(axis=1, keepdims=True)
    for edge in (made.first, made.last):
        at = np.rint(edge).astype(int)
        rows = np.arange(slit.NY)
        inside = np.where(edge is made.first, at + 4, at - 4)
        outside = np.where(edge is made.first, at - 4, at + 4)
        assert (light[rows, inside] > 0.85).all()
        assert (light[rows, outside] < 1e-6).all()
    assert made.last[0] - made.first[0] == slit.LENGTH


def test_lines_lie_at_their_wavelengths() -> None:
    made, column = frame("arc", flexure=0.3), 180
    wave, strength = lamp_lines(4000.0, 5400.0, lamps=slit.LAMPS)
    for one in wave[np.argsort(strength)[-3:]]:
        place = float(slit_row(np.array([one]), np.array([float(column)]))[0]) + 0.3
        rows = np.arange(int(place) - 8, int(place) + 9)
        profile = made.electrons[rows, column] - made.electrons[rows, column].min()
        assert float((rows * profile).sum() / profile.sum()) == pytest.approx(place, abs=0.02), one


def test_what_is_written_is_read_as_that_instrument(tmp_path: Path) -> None:
    from quicklook.api import open_session
    from quicklook.ccd.exposure import Exposure
    from quicklook.ccd.image import RawImage

    session = open_session(instrument="kast_blue", out=tmp_path / "out")
    for number, flavor in enumerate(("zero", "flat", "arc", "science"), 11):
        products = session.read(write_slit(tmp_path, SlitExposure(flavor=flavor, number=number)), "blue").products  # type: ignore[arg-type]
        told = next(p for p in products if isinstance(p, Exposure))
        assert (told.flavor, told.exptime) == (flavor, {"zero": 0.0, "flat": 15.0, "arc": 30.0, "science": 600.0}[flavor])
        assert next(p for p in products if isinstance(p, RawImage)).image_shape == (slit.NX, slit.NY), "as it is read out: preproc turns it"
