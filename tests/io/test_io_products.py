"""What is written: whole or not at all, strict, and in the DESI data model."""

from __future__ import annotations

import json
import math
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.image import Image
from quicklook.core.calibration import CalibrationUsed
from quicklook.core.errors import BadConfig, BadData, NotReadyYet
from quicklook.core.keys import Unit
from quicklook.core.plots import Axis, Line, Panel, Plot
from quicklook.io.atomic import atomic, jsonable, write_json
from quicklook.io.fitswrite import write_image_hdu
from quicklook.io.headercards import provenance_cards
from quicklook.io.plotfiles import load_plots, save_plots
from quicklook.io.products import WriteContext, product_name, write_preproc, write_product

START = datetime(2022, 1, 2, 6, 2, tzinfo=UTC)
EXPOSURE = Exposure(unit=Unit(20220101, 102), instrument="desi", flavor="science", program="dark", exptime=900.0, start=START, airmass=1.2)


def image() -> Image:
    rng = np.random.default_rng(1)
    amps = tuple(Amplifier(name=n, data=s, ccd=s, gain=1.5) for n, s in (("A", Section(0, 30, 0, 20)), ("B", Section(0, 30, 20, 41))))
    return Image(
        camera="r0",
        pixels=rng.normal(size=(30, 41)).astype(np.float32),
        ivar=rng.uniform(size=(30, 41)).astype(np.float32),
        mask=rng.integers(0, 1 << 11, (30, 41)).astype(np.uint16),
        amplifiers=amps,
        read_noise={"A": 2.5, "B": math.nan},
        overscan_level={"A": 1000.25},
        applied=("bias", "overscan row"),
        skipped={"dark": "no dark is valid on that night, " + "and so on " * 20},
    )


def test_preproc_as_desi_writes_it(tmp_path: Path) -> None:
    path, made = tmp_path / "deep" / "preproc.fits", image()
    used = CalibrationUsed(kind="bias", source="/calib/bias.fits")
    write_preproc(path, made, EXPOSURE, provenance_cards((used,), "abc123"))
    with fits.open(path) as f:
        f.verify("exception")
        assert [h.name for h in f] == ["IMAGE", "IVAR", "MASK", "READNOISE", "AMPLIFIERS"]  # FIBERMAP only where there is one
        np.testing.assert_array_equal(f["IMAGE"].data, made.pixels)
        np.testing.assert_array_equal(f["IVAR"].data, made.ivar)
        np.testing.assert_array_equal(f["MASK"].data, made.mask)
        np.testing.assert_array_equal(f["READNOISE"].data, made.read_noise_image())
        assert [h.data.dtype.newbyteorder("=") for h in f[:4]] == [np.float32, np.float32, np.int32, np.float32]
        head = f[0].header
        wanted = {
            "CAMERA": "r0", "EXPID": 102, "NIGHT": 20220101, "FLAVOR": "science", "EXPTIME": 900.0, "BUNIT": "electron", "CCDSECA": "[1:20,1:30]",
            "CCDSECB": "[21:41,1:30]", "GAINA": 1.5, "OBSRDNA": 2.5, "OVERSCNA": 1000.25, "DATE-OBS": "2022-01-02T06:02:00.000", "AIRMASS": 1.2,
            "APPLD00": "bias", "CALKND00": "bias", "CALSRC00": "/calib/bias.fits", "CONFHASH": "abc123", "DEPNAM00": "python",
        }  # fmt: skip
        assert {k: head.get(k) for k in wanted} == wanted
        assert head["SKIPD00"] == ("dark: " + made.skipped["dark"]).rstrip()
        assert "OBSRDNB" not in head
        assert "SEEING" not in head


def test_write_product_by_kind(tmp_path: Path) -> None:
    context = WriteContext(exposure=EXPOSURE, camera="r0", sync=False)
    path = write_product(image(), tmp_path, context)
    assert path == tmp_path / "preproc-r0-00000102.fits"
    assert path.is_file()
    with pytest.raises(BadConfig, match="'arrival' has no form on disk; there are arcareas, arcfit, bias, cframe, dark"):
        product_name("arrival", "r0", 1)


@pytest.mark.parametrize("dtype", ["u1", "i2", "u2", "i4", "u4", "i8", "f4", "f8"])
def test_every_type_of_image(tmp_path: Path, dtype: str) -> None:
    pixels = (np.arange(600).reshape(20, 30) * 7 % 251).astype(dtype)
    with atomic(tmp_path / "x.fits") as f:
        write_image_hdu(f, None, primary=True)
        write_image_hdu(f, pixels, name="X", cards=[("NOTE", "it's", "a comment"), ("NAXIS1", 5)])
    with fits.open(tmp_path / "x.fits") as f:
        f.verify("exception")
        np.testing.assert_array_equal(f["X"].data, pixels)
        assert f["X"].header["NOTE"] == "it's"
    with pytest.raises(BadData, match="complex64 cannot be written"), atomic(tmp_path / "y.fits") as f:
        write_image_hdu(f, pixels.astype(np.complex64))
    assert not (tmp_path / "y.fits").exists()


def test_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "a" / "x.bin"
    with atomic(path) as f:
        f.write(b"old")
        assert not path.exists()
    with suppress(RuntimeError), atomic(path) as f:
        f.write(b"new and broken")
        raise RuntimeError
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["x.bin"]


def test_where_writing_is_not_possible(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    with pytest.raises(BadConfig, match="may not be written"), atomic(tmp_path / "file" / "x.bin") as f:
        f.write(b"")


def test_json_is_strict(tmp_path: Path) -> None:
    path = tmp_path / "x.json"
    data = {"a": [1, 2.5, None, "é"], "b": {"c": True}}
    write_json(path, data)
    assert json.loads(path.read_text(encoding="utf-8")) == data
    with pytest.raises(ValueError, match=r"\$\.a\[1\]\.b is nan"):
        write_json(path, {"a": [1, {"b": math.nan}]})
    assert json.loads(path.read_text(encoding="utf-8")) == data


def test_what_becomes_null() -> None:
    given = {1: np.array([1.0, np.nan]), "i": np.int16(3), "f": (math.inf, np.float32(0.5)), "b": np.bool_(True)}
    assert jsonable(given) == {"1": [1.0, None], "i": 3, "f": [None, 0.5], "b": True}


def test_plots_come_back(tmp_path: Path) -> None:
    line = Line(x=np.arange(4.0), y=np.array([1, 2, np.nan, 4]))
    panel = Panel(x=Axis(label="row", unit="pixel"), y=Axis(label="level", unit="adu"), layers=(line,))
    plots = (Plot(name="overscan", title="Overscan of r0", panels=(panel,)),)
    save_plots(tmp_path / "x.npz", plots)
    (back,) = load_plots(tmp_path / "x.npz")
    assert (back.name, back.title, back.panels[0].x) == ("overscan", "Overscan of r0", panel.x)
    layer = back.panels[0].layers[0]
    assert isinstance(layer, Line)
    np.testing.assert_array_equal(layer.y, np.array([1, 2, np.nan, 4]))


def test_files_that_are_no_plots(tmp_path: Path) -> None:
    with pytest.raises(NotReadyYet, match="is not there"):
        load_plots(tmp_path / "none.npz")
    (tmp_path / "x.npz").write_bytes(b"junk")
    with pytest.raises(BadData, match="is no file of plots"):
        load_plots(tmp_path / "x.npz")
    np.savez(tmp_path / "y.npz", a=np.array([{}], dtype=object))
    with pytest.raises(BadData, match="is no file of plots"):
        load_plots(tmp_path / "y.npz")
