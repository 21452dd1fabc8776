"""Gain, read noise and pixel response of the real Kast blue detector, from its flats and zeros."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from quicklook.api import open_session
from quicklook.ccd.calibs import PhotonTransfer, PixelFlat
from quicklook.core.status import Status


def frames(shared_data: Path, *numbers: int) -> list[Path]:
    return [shared_data / "kast_blue" / f"b{i}.fits.gz" for i in numbers]


@pytest.mark.parametrize("flats", [(2, 3, 4, 5), (3, 4, 5)])
def test_gain_and_read_noise(shared_data: Path, flats: tuple[int, ...]) -> None:
    """Gains of INDEX.md within 5 %; read noises are those of docs/decisions/0007 (INDEX.md has figures from a MAD of whole numbers)."""
    built = open_session(instrument="kast_blue").build("ptc", frames(shared_data, *flats, 14, 15, 16, 17, 18))
    assert built.status is Status.NORMAL
    ptc = built.products["ptc"]
    assert isinstance(ptc, PhotonTransfer)
    np.testing.assert_allclose(ptc.gain, [1.205, 1.243], rtol=0.05)
    assert (ptc.gain_error < 0.02).all()
    np.testing.assert_allclose(ptc.read_noise, [3.44, 3.36], rtol=0.05)


def test_a_long_slit_has_a_pixel_flat(shared_data: Path, tmp_path: Path) -> None:
    """Three flats on traces made from them: most of the slit is measured, its pixels scatter by some tenths of a per cent."""
    session = open_session(instrument="kast_blue", calib=tmp_path)
    session.write_built(session.build("traces", frames(shared_data, 3, 4, 5)))
    built = open_session(instrument="kast_blue", calib=tmp_path).build("pixflat", frames(shared_data, 3, 4, 5))
    flat = built.products["pixflat"]
    assert isinstance(flat, PixelFlat)
    assert flat.ivar is not None
    known = flat.ivar > 0
    assert known.mean() > 0.6
    assert 0.001 < 1.4826 * np.median(np.abs(flat.pixels[known] - 1)) < 0.006
    assert np.median(flat.pixels[known]) == pytest.approx(1.0, abs=0.003)
