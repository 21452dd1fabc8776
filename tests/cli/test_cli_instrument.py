"""`quicklook instrument new` from outside."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from inprocess import quicklook


@pytest.fixture
def frames(tmp_path: Path) -> list[Path]:
    """Two zeros and two flats of one amplifier, dispersion along y, overscan at the right."""
    rng = np.random.default_rng(2)
    paths = []
    for k, level in enumerate((0.0, 0.0, 8000.0, 8000.0)):
        image = np.full((200, 250), 1000.0)
        image[:, 20:180] += rng.poisson(np.full((200, 160), level))
        pixels = np.rint(image + rng.normal(0, 3, image.shape)).astype(np.uint16)
        hdu = fits.PrimaryHDU(pixels)
        hdu.header.update({"EXPTIME": 0.0 if k < 2 else 5.0, "IMAGETYP": "BIAS" if k < 2 else "FLAT", "DATE-OBS": f"2021-02-03T04:0{k}:00"})
        paths.append(tmp_path / f"ccd_{k + 7}.fits")
        hdu.writeto(paths[-1])
    return paths


def test_the_file_is_written_and_used(frames: list[Path], tmp_path: Path) -> None:
    made = quicklook("instrument", "new", "bench", *frames, "--longitude", "10", "--camera", "ccd", cwd=tmp_path)
    assert made.returncode == 0, made.stderr
    assert "written: bench.yaml" in made.stdout
    assert "unsure: " in made.stdout
    assert "gain 1.0" in made.stdout or "gain 0.9" in made.stdout
    for path, flavor in ((frames[0], "zero"), (frames[3], "flat")):
        assert f"{flavor}" in made.stdout
        done = quicklook("run", "raw", path, "--instrument", "./bench.yaml", "--out", "out", "--no-plots", "-q", cwd=tmp_path)
        assert done.returncode in (0, 1), done.stderr
        assert "ccd: " in done.stdout
        assert "UNKNOWN" not in done.stdout


def test_nothing_is_replaced_unasked(frames: list[Path], tmp_path: Path) -> None:
    (tmp_path / "bench.yaml").write_text("mine")
    refused = quicklook("instrument", "new", "bench", *frames, cwd=tmp_path)
    assert refused.returncode == 2
    assert "bench.yaml is there" in refused.stderr
    assert (tmp_path / "bench.yaml").read_text() == "mine"
    assert quicklook("instrument", "new", "bench", *frames, "--force", cwd=tmp_path).returncode == 0


def test_what_cannot_be_used_is_told(frames: list[Path], tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("no frame")
    mixed = quicklook("instrument", "new", "bench", *frames, "note.txt", "absent.fits", cwd=tmp_path)
    assert mixed.returncode == 0
    assert "left out: note.txt is no FITS file" in mixed.stdout
    assert "left out: absent.fits is not there" in mixed.stdout
    none = quicklook("instrument", "new", "other", "note.txt", cwd=tmp_path)
    assert (none.returncode, (tmp_path / "other.yaml").exists()) == (2, False)
    assert "none of the files can be used" in none.stderr
    assert quicklook("instrument", "new", "no name", *frames, cwd=tmp_path).returncode == 2


def test_a_name_that_is_no_text_is_refused(frames: list[Path], tmp_path: Path) -> None:
    odd = Path(os.fsdecode(os.fsencode(tmp_path) + b"/ccd_\xff9.fits"))
    odd.write_bytes(frames[0].read_bytes())
    done = quicklook("instrument", "new", "bench", *frames, odd, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "is no text that a description could hold" in done.stdout
