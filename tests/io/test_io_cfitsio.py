"""Paths that the library would read as something else."""

from __future__ import annotations

import gzip
from pathlib import Path

import calibs_made
import pytest

from quicklook.core.product import Calibration
from quicklook.io.calib import open_index
from quicklook.io.calibadd import add_calibration
from quicklook.io.calibcensus import take_census
from quicklook.io.calibentry import CalibEntry
from quicklook.io.calibwrite import write_calibration
from quicklook.io.cfitsio import opened
from quicklook.io.fitsfile import read_pixels

SIZE = {"raw_shape": "116,90", "image_shape": "110,60"}


@pytest.mark.parametrize("folder", ["x[a]", "lamps[Hg, Cd]", "[", "y(b) c"])
def test_calibrations_in_a_folder_with_brackets(tmp_path: Path, folder: str) -> None:
    for kind, make in calibs_made.MAKERS.items():
        product: Calibration = make()
        write_calibration(product, tmp_path / folder / f"{kind}.fits", sync=False)
        add_calibration(tmp_path / folder, CalibEntry(kind=kind, path=f"{kind}.fits", camera=("r0",)), SIZE)
    assert take_census(open_index(tmp_path / folder), tmp_path / folder).good


def test_images_of_a_compression_that_the_library_reads(tmp_path: Path) -> None:
    from astropy.io import fits

    (tmp_path / "n[1:2]").mkdir()
    path, pixels = tmp_path / "n[1:2]" / "a.fits.fz", calibs_made.dark().pixels
    fits.HDUList([fits.PrimaryHDU(), fits.CompImageHDU(pixels, compression_type="GZIP_1", quantize_level=0.0)]).writeto(path)
    assert (read_pixels(path, 1) == pixels).all()
    with pytest.raises(OSError, match="No such file"), opened(tmp_path / "n[1:2]" / "none.fits"):
        pass


def test_a_file_in_gzip(tmp_path: Path) -> None:
    (tmp_path / "z[]").mkdir()
    write_calibration(calibs_made.psf(), tmp_path / "psf.fits")
    path = tmp_path / "z[]" / "psf.fits.gz"
    path.write_bytes(gzip.compress((tmp_path / "psf.fits").read_bytes()))
    add_calibration(tmp_path / "z[]", CalibEntry(kind="psf", path=path.name), SIZE)
    with opened(path) as f:
        assert f[0].read().shape == calibs_made.psf().x.shape
