"""Calibration files: every kind that is written is read again as it was."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, BinaryIO

import calibs_made
import numpy as np
import pytest
import spectra_made as made
from astropy.io import fits

from quicklook.core.errors import BadConfig, MissingCalibration
from quicklook.core.product import Calibration
from quicklook.io import calibwrite
from quicklook.io.calibfile import load_calibration
from quicklook.io.calibreview import review
from quicklook.io.calibwrite import calibration_name, can_write_calibration, register_calibration_writer, write_calibration
from quicklook.io.products import WriteContext, write_product


def same(one: Any, other: Any, rtol: float = 0.0) -> bool:
    if isinstance(one, np.ndarray):
        return one.dtype == other.dtype and np.allclose(one, other, rtol=rtol, atol=0.0, equal_nan=one.dtype.kind == "f")
    return bool(one == other)


@pytest.mark.parametrize("kind", calibs_made.MAKERS)
def test_every_kind_goes_round(tmp_path: Path, kind: str) -> None:
    first: Any = calibs_made.MAKERS[kind]()
    assert first.kind == kind
    path = write_calibration(first, tmp_path / "deep" / f"{kind}.fits", {"CAMERA": "r0", "EXPIDS": "14-18", "EMPTY": None})
    again = load_calibration(path, type(first), {})
    for field in dataclasses.fields(first):
        rtol = 3e-7 if field.name == "variance" and kind == "bias" else 0.0  # twice inverted in float32
        if field.name not in ("wave_error", "wave_noise"):  # of a sky model: known in memory alone
            assert same(getattr(first, field.name), getattr(again, field.name), rtol), field.name
    assert review(again).wrong == []
    with fits.open(path) as f:
        f.verify("exception")
        assert {k: f[0].header.get(k) for k in ("CAMERA", "EXPIDS", "CALKIND", "EMPTY")} == {"CAMERA": "r0", "EXPIDS": "14-18", "CALKIND": kind, "EMPTY": None}


def test_a_flux_calibration_of_each_fibre(tmp_path: Path) -> None:
    first = calibs_made.fluxcal_per_fibre()
    again = load_calibration(write_calibration(first, tmp_path / "x.fits"), type(first), {})
    assert all(same(getattr(first, f.name), getattr(again, f.name)) for f in dataclasses.fields(first))


def test_fibres_in_any_order_keep_their_numbers(tmp_path: Path) -> None:
    odd = dataclasses.replace(made.traces(), fiber=np.array([7, 3, 5, 4, 6, 9], np.int32))
    again = load_calibration(write_calibration(odd, tmp_path / "x.fits"), type(odd), {})
    assert same(again.fiber, odd.fiber)  # type: ignore[attr-defined]


def test_a_kind_of_somebody_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Odd(Calibration):
        kind = "oddity"

    with pytest.raises(BadConfig, match="'oddity' has no form on disk; there are bias, coadd, dark, fiberflat"):
        write_calibration(Odd(), tmp_path / "x.fits")

    def put(f: BinaryIO, odd: Odd, cards: object) -> None:
        f.write(b"odd")

    monkeypatch.setattr(calibwrite, "_WRITERS", dict(calibwrite._WRITERS))
    register_calibration_writer("oddity", put)
    assert can_write_calibration("oddity")
    assert write_calibration(Odd(), tmp_path / "x.fits").read_bytes() == b"odd"
    with pytest.raises(MissingCalibration, match="'oddity' cannot be loaded"):
        load_calibration(tmp_path / "x.fits", Odd, {})


def test_a_file_that_fails_on_the_way_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(Exception, match="no FITS keyword"):
        write_calibration(calibs_made.dark(), tmp_path / "x.fits", {"NOT A KEYWORD": 1})
    assert list(tmp_path.iterdir()) == []


def test_names_of_files() -> None:
    assert calibration_name("bias", "r0", 20220101, 14) == "bias-r0-20220101-00000014.fits"


@pytest.mark.parametrize("kind", [k for k in calibs_made.MAKERS if k not in ("psf", "sky", "fiberflat")])
def test_a_chain_may_write_it_as_a_product(tmp_path: Path, kind: str) -> None:
    product = calibs_made.MAKERS[kind]()
    path = write_product(product, tmp_path, WriteContext(exposure=made.EXPOSURE, camera="r0", provenance={"CONFHASH": "abc"}, sync=False))
    assert path.name == f"{kind}-r0-00000102.fits"
    assert load_calibration(path, type(product), {}).kind == kind
    with fits.open(path) as f:
        assert {k: f[0].header[k] for k in ("CAMERA", "EXPID", "CALKIND", "CONFHASH")} == {"CAMERA": "r0", "EXPID": 102, "CALKIND": kind, "CONFHASH": "abc"}
