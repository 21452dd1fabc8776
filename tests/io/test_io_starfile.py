"""Spectra of standard stars and the extinction on disk."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from quicklook.ccd.stars import Extinction, StdStars
from quicklook.core.errors import BadData
from quicklook.io.starfile import read_extinction, read_stdstars

WAVE = np.arange(3500.0, 6000.0, 2.0)


def calspec(path: Path, flux: np.ndarray, unit: str = "FLAM", wave_unit: str = "ANGSTROMS") -> Path:
    columns = [fits.Column("WAVELENGTH", "E", unit=wave_unit, array=WAVE), fits.Column("FLUX", "E", unit=unit, array=flux)]
    primary = fits.PrimaryHDU()
    primary.header["TARGETID"] = "A STAR"
    fits.HDUList([primary, fits.BinTableHDU.from_columns(columns)]).writeto(path)
    return path


def test_a_calspec_file(tmp_path: Path) -> None:
    stars = read_stdstars(calspec(tmp_path / "star.fits", np.full(WAVE.size, 3e-13)))
    np.testing.assert_allclose(stars.flux, 3e4, rtol=1e-6)
    assert (stars.names, stars.fiber) == (("A STAR",), None)
    np.testing.assert_allclose(stars.wave, WAVE)


def test_a_power_of_ten_in_the_unit_counts(tmp_path: Path) -> None:
    stars = read_stdstars(calspec(tmp_path / "star.fits", np.full(WAVE.size, 5.0), "10**-16 erg/(s cm2 Angstrom)"))
    np.testing.assert_allclose(stars.flux, 50.0)


def test_stars_of_fibres(tmp_path: Path) -> None:
    flux = np.stack([np.full(WAVE.size, 10.0), np.full(WAVE.size, 20.0)])
    hdus = [fits.PrimaryHDU(flux), fits.ImageHDU(WAVE, name="WAVELENGTH"), fits.ImageHDU(np.array([7, 12], np.int32), name="FIBERS")]
    hdus[0].name = "FLUX"
    hdus[0].header["BUNIT"] = "10**-17 erg/(s cm2 Angstrom)"
    fits.HDUList(hdus).writeto(tmp_path / "stdstars-0.fits")
    stars = read_stdstars(tmp_path / "stdstars-0.fits")
    np.testing.assert_allclose(stars.flux, flux)
    assert stars.fiber is not None
    assert stars.fiber.tolist() == [7, 12]


@pytest.mark.parametrize(
    ("flux", "unit", "wave_unit", "words"),
    [
        (np.full(WAVE.size, 1.0), "mJy", "ANGSTROMS", "its flux is in 'mJy'"),
        (np.full(WAVE.size, 1.0), "FLAM", "nm", "its wavelengths are in nm"),
        (np.full(WAVE.size, np.nan), "FLAM", "ANGSTROMS", "no spectrum with light"),
        (np.zeros(WAVE.size), "FLAM", "ANGSTROMS", "no spectrum with light"),
    ],
)
def test_what_is_no_spectrum_is_refused(tmp_path: Path, flux: np.ndarray, unit: str, wave_unit: str, words: str) -> None:
    with pytest.raises(BadData, match=words):
        read_stdstars(calspec(tmp_path / "star.fits", flux, unit, wave_unit))


def test_a_file_without_such_a_table_is_refused(tmp_path: Path) -> None:
    fits.PrimaryHDU(np.zeros((8, 8))).writeto(tmp_path / "image.fits")
    for read in (read_stdstars, read_extinction):
        with pytest.raises(BadData, match="holds no table with WAVELENGTH"):
            read(tmp_path / "image.fits")


def test_extinction_from_table_and_text(tmp_path: Path) -> None:
    magnitude = 0.5 * (WAVE / 4000) ** -4
    magnitude[-1] = -1e-3
    columns = [fits.Column("WAVELENGTH", "D", array=WAVE), fits.Column("EXTINCTION", "D", array=magnitude)]
    fits.BinTableHDU.from_columns(columns).writeto(tmp_path / "e.fits")
    text = "# Angstrom, magnitude per airmass\n" + "".join(f"{w} {m}\n" for w, m in zip(WAVE, magnitude, strict=True))
    (tmp_path / "e.dat").write_text(text)
    for name in ("e.fits", "e.dat"):
        found = read_extinction(tmp_path / name)
        np.testing.assert_allclose(found.magnitude, np.clip(magnitude, 0, None))
    (tmp_path / "bad.txt").write_text("one two\n")
    with pytest.raises(BadData, match="no table of two columns of numbers"):
        read_extinction(tmp_path / "bad.txt")
    (tmp_path / "flux.txt").write_text("4000 5000\n5000 6000\n")
    with pytest.raises(BadData, match="no magnitude per airmass"):
        read_extinction(tmp_path / "flux.txt")


def test_types_refuse_what_makes_no_sense() -> None:
    one = np.ones((2, 3))
    with pytest.raises(BadData, match="no fibre numbers that tell them apart"):
        StdStars(wave=np.arange(3.0), flux=one)
    with pytest.raises(BadData, match="do not rise"):
        Extinction(wave=np.array([2.0, 1.0]), magnitude=np.ones(2))
    with pytest.raises(BadData, match="negative"):
        Extinction(wave=np.arange(2.0), magnitude=np.array([1.0, -1.0]))


def test_the_real_files(shared_data: Path) -> None:
    stars = read_stdstars(shared_data / "truth/feige66_002.fits.gz")
    # Feige 66 has V = 10.5: 3.63e-9 x 10^(-0.4 x 10.5) at 5500 Angstrom
    assert np.interp(5500.0, stars.wave, stars.flux[0]) == pytest.approx(3.63e-9 * 10 ** (-0.4 * 10.5) * 1e17, rel=0.05)
    extinction = read_extinction(shared_data / "truth/ZenExtinct-KPNO.fits.gz")
    assert 0.1 < float(np.interp(5500.0, extinction.wave, extinction.magnitude)) < 0.2
