"""Fibre flats and flux calibrations whose parts do not fit together: each is refused in words, with its file."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from quicklook.ccd.spectra import FiberFlat, FluxCalib
from quicklook.core.errors import MissingCalibration
from quicklook.core.product import Calibration
from quicklook.io.calibfile import load_calibration

Change = Callable[[fits.HDUList], None]
NWAVE = 20


def a_file(path: Path, kind: type[Calibration], rows: int = 3) -> fits.HDUList:
    """A sound file of the kind: planes of `rows` fibres, of one average where rows is 0."""
    name = {FiberFlat: "FIBERFLAT", FluxCalib: "FLUXCALIB"}[kind]
    shape = (rows, NWAVE) if rows else (NWAVE,)
    head = fits.PrimaryHDU(np.ones(shape, "f4"))
    head.header.update(EXTNAME=name, BUNIT="10**+17 cm2 electron s / erg" if kind is FluxCalib else "")
    planes = [fits.ImageHDU(np.ones(shape, "f4"), name="IVAR"), fits.ImageHDU(np.zeros(shape, "i4"), name="MASK")]
    terms = [fits.ImageHDU(np.full(NWAVE, 0.1, "f4"), name=n) for n in ("ATERM", "STERM")] if kind is FluxCalib and not rows else []
    wave = fits.ImageHDU(5000.0 + 0.8 * np.arange(NWAVE), name="WAVELENGTH")
    mean = [fits.ImageHDU(np.ones(NWAVE, "f4"), name="MEANSPEC")] if kind is FiberFlat else []
    return fits.HDUList([head, *planes, *terms, *mean, wave])


def cut(name: str) -> Change:
    def change(hdus: fits.HDUList) -> None:
        hdus[name].data = hdus[name].data[:-1].copy()

    return change


def wave(values: Callable[[np.ndarray], np.ndarray]) -> Change:
    def change(hdus: fits.HDUList) -> None:
        hdus["WAVELENGTH"].data = values(hdus["WAVELENGTH"].data.astype(float))

    return change


def with_nan(values: np.ndarray) -> np.ndarray:
    values[7] = np.nan
    return values


FALLS, CONSTANT, HOLED = wave(lambda w: w[::-1].copy()), wave(lambda w: 0 * w + 5000), wave(with_nan)


@pytest.mark.parametrize("kind", [FiberFlat, FluxCalib])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (cut("IVAR"), "IVAR: is 2 x 20, the values are 3 x 20"),
        (cut("MASK"), "MASK: is 2 x 20, the values are 3 x 20"),
        (cut("WAVELENGTH"), "WAVELENGTH: is 19, it must be 20"),
        (FALLS, "WAVELENGTH: must be numbers that rise; sample 1 is 5014.4 Angstrom"),
        (CONSTANT, "must be numbers that rise; sample 1 is 5000 Angstrom"),
        (HOLED, "must be numbers that rise; sample 7 is nan Angstrom"),
    ],
)
def test_parts_that_do_not_fit(tmp_path: Path, kind: type[Calibration], change: Change, words: str) -> None:
    path = tmp_path / "calib.fits"
    hdus = a_file(path, kind)
    hdus.writeto(path)
    assert isinstance(load_calibration(path, kind, {}), kind)
    change(hdus)
    hdus.writeto(path, overwrite=True)
    with pytest.raises(MissingCalibration, match=words) as caught:
        load_calibration(path, kind, {})
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["ATERM", "STERM", "WAVELENGTH"])
def test_terms_of_another_length(tmp_path: Path, name: str) -> None:
    path = tmp_path / "average.fits"
    hdus = a_file(path, FluxCalib, rows=0)
    hdus.writeto(path)
    assert isinstance(load_calibration(path, FluxCalib, {}), FluxCalib)
    cut(name)(hdus)
    hdus.writeto(path, overwrite=True)
    with pytest.raises(MissingCalibration, match=f"{name}: is 19"):
        load_calibration(path, FluxCalib, {})


def test_wavelengths_of_each_fibre_must_rise(tmp_path: Path) -> None:
    path = tmp_path / "flat.fits"
    hdus = a_file(path, FiberFlat)
    hdus["WAVELENGTH"].data = np.tile(hdus["WAVELENGTH"].data, (3, 1))
    hdus["WAVELENGTH"].data[2, 11] = 4999.0
    hdus.writeto(path)
    with pytest.raises(MissingCalibration, match="sample 2, 11 is 4999 Angstrom"):
        load_calibration(path, FiberFlat, {})
