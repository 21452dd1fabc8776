"""Co-added spectra on disk: what was written is read again."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from quicklook.ccd.coadd import Coadd
from quicklook.ccd.exposure import FiberMap
from quicklook.core.errors import BadData
from quicklook.io.calibfile import read_kind
from quicklook.io.calibwrite import write_calibration
from quicklook.io.coaddfile import read_coadd


@pytest.fixture
def made(tmp_path: Path) -> tuple[Coadd, Path]:
    rng = np.random.default_rng(1)
    shape, nexp = (3, 40), 2
    coadd = Coadd(
        camera="r0", flux=rng.normal(size=shape).astype(np.float32), ivar=rng.random(shape).astype(np.float32), mask=np.zeros(shape, np.uint32),
        wave=np.tile(np.linspace(6000.0, 7000.0, 40), (3, 1)), unit="1e-17 erg/(s cm2 Angstrom)", rejected=0.25,
        fibermap=FiberMap(fiber=np.arange(3, dtype=np.int32), objtype=("TGT", "SKY", "TGT"), source="made"),
        night=np.array([20220101] * 2), expid=np.array([7, 9]), exptime=np.array([900.0, 800.0]), hours=np.array([0.0, np.nan]),
        used=np.array([2, 1, 0], np.int32), chi2=np.array([1.0, np.nan, 2.0], np.float32), snr_single=rng.random((nexp, 3)).astype(np.float32),
        snr_after=rng.random((nexp, 3)).astype(np.float32), sky_wave=np.array([6200.0, 6800.0]), sky=np.array([[0.1, np.nan], [0.2, 0.3]]),
    )  # fmt: skip
    return coadd, write_calibration(coadd, tmp_path / "coadd.fits", {"CAMERA": "r0"})


def test_it_is_read_as_it_was_written(made: tuple[Coadd, Path]) -> None:
    coadd, path = made
    again = read_kind(path, "coadd")
    assert isinstance(again, Coadd)
    for name in (f.name for f in fields(Coadd) if f.name != "fibermap"):
        np.testing.assert_array_equal(getattr(again, name), getattr(coadd, name), err_msg=name)
    assert again.fibermap.objtype == coadd.fibermap.objtype


def test_others_find_what_they_know_of_the_data_model(made: tuple[Coadd, Path]) -> None:
    with fits.open(made[1]) as hdus:
        assert [h.name for h in hdus][:5] == ["FLUX", "IVAR", "MASK", "WAVELENGTH", "FIBERMAP"]
        assert hdus["FLUX"].header["BUNIT"] == "1e-17 erg/(s cm2 Angstrom)"
        assert hdus["SKYRATE"].data.shape == (2, 2)
        assert list(hdus["EXPOSURES"].data["EXPID"]) == [7, 9]


def test_a_file_without_its_tables_is_refused(made: tuple[Coadd, Path], tmp_path: Path) -> None:
    with fits.open(made[1]) as hdus:
        hdus["EXPOSURES"].columns.del_col("HOURS")
        hdus.writeto(tmp_path / "less.fits")
    with pytest.raises(BadData, match="no HOURS"):
        read_coadd(tmp_path / "less.fits")
