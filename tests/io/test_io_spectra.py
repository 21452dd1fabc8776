"""Spectra, sky models and fibre flats on disk: what is written is read, by us and by others."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import spectra_made as made
from astropy.io import fits

from quicklook.ccd.spectra import Frame
from quicklook.core.errors import BadConfig, BadData, NotReadyYet
from quicklook.io.flatfile import read_fiberflat, read_fluxcalib, write_fiberflat
from quicklook.io.products import WriteContext, can_write, context_of, write_product
from quicklook.io.spectrafile import basic_scores, read_frame, read_sky, write_frame, write_sky
from quicklook.io.tablefile import read_table, write_table_hdu


def test_a_frame_in_the_data_model(tmp_path: Path) -> None:
    frame = made.frame("cframe", "10**-17 erg/(s cm2 Angstrom)")
    write_frame(tmp_path / "x.fits", frame, made.EXPOSURE, {"CONFHASH": "abc"}, scores=made.scores())
    with fits.open(tmp_path / "x.fits") as f:
        f.verify("exception")
        assert [h.name for h in f] == ["FLUX", "IVAR", "MASK", "WAVELENGTH", "SIGMA", "FIBERMAP", "SCORES"]
        np.testing.assert_array_equal(f["FLUX"].data, frame.flux)
        np.testing.assert_array_equal(f["MASK"].data, frame.mask)
        np.testing.assert_array_equal(f["WAVELENGTH"].data, frame.wave)
        types = [f[n].data.dtype.newbyteorder("=") for n in ("FLUX", "IVAR", "WAVELENGTH")]
        assert types == [np.float32, np.float32, np.float64]
        head = f[0].header
        wanted = {"BUNIT": "10**-17 erg/(s cm2 Angstrom)", "CAMERA": "r0", "EXPID": 102, "AIRMASS": 1.2, "STAGE": "cframe", "CONFHASH": "abc"}
        assert {k: head[k] for k in wanted} == wanted
        table = f["FIBERMAP"].data
        assert list(table["OBJTYPE"]) == list(frame.fibermap.objtype)
        for name, column in frame.fibermap.columns.items():
            np.testing.assert_array_equal(np.asarray(table[name]), column, err_msg=name)
        assert f["FIBERMAP"].header["FMAPSRC"] == "fibermap-00000102.fits"
        assert list(f["SCORES"].data["TSNR2_ELG_R"]) == list(range(6))
        assert f["SCORES"].columns["SUM_RAW"].unit == "electron"
        assert f["SCORES"].columns.names == ["TARGETID", "TSNR2_ELG_R", "SUM_RAW"]


def test_a_frame_comes_back(tmp_path: Path) -> None:
    frame = made.frame("sframe")
    write_frame(tmp_path / "sframe-r0-00000102.fits", frame, made.EXPOSURE)
    back = read_frame(tmp_path / "sframe-r0-00000102.fits")
    for name in ("flux", "ivar", "mask", "wave", "sigma"):
        np.testing.assert_array_equal(getattr(back, name), getattr(frame, name), err_msg=name)
    assert (back.camera, back.unit, back.stage) == ("r0", frame.unit, "sframe")
    assert back.fibermap.objtype == frame.fibermap.objtype
    assert list(back.fibermap.columns) == list(frame.fibermap.columns)
    np.testing.assert_array_equal(back.fibermap.columns["PHOTSYS"], frame.fibermap.columns["PHOTSYS"])
    assert back.fibermap.source == frame.fibermap.source
    assert back.assumed == ("airmass 1.0", "seeing 1.1 arcsec, as when the calibration was made")


def test_a_frame_of_another_program(tmp_path: Path) -> None:
    """One wavelength grid for all fibres, no mask, no widths, no fibre map."""
    hdus = [fits.PrimaryHDU(np.ones((3, 5), "f4")), fits.ImageHDU(np.ones((3, 5), "f4"), name="IVAR"), fits.ImageHDU(np.arange(5.0), name="WAVELENGTH")]
    hdus[0].header.update(EXTNAME="FLUX", CAMERA="B3 ", FIBERMIN=1500)
    path = tmp_path / "cframe-b3-00000007.fits"
    fits.HDUList(hdus).writeto(path)
    frame = read_frame(path)
    assert (frame.camera, frame.stage, frame.wave.shape, frame.mask.any()) == ("b3", "cframe", (3, 5), False)
    assert list(frame.fibermap.fiber) == [1500, 1501, 1502]


def test_what_is_no_frame(tmp_path: Path) -> None:
    with pytest.raises(NotReadyYet):
        read_frame(tmp_path / "none.fits")
    (tmp_path / "junk.fits").write_bytes(b"junk" * 1000)
    with pytest.raises(BadData, match="is no FITS file"):
        read_frame(tmp_path / "junk.fits")
    write_frame(tmp_path / "x.fits", made.frame(), made.EXPOSURE)
    whole = (tmp_path / "x.fits").read_bytes()
    (tmp_path / "cut.fits").write_bytes(whole[: len(whole) * 6 // 10])
    with pytest.raises(NotReadyYet, match="truncated"):
        read_frame(tmp_path / "cut.fits")
    fits.PrimaryHDU(np.ones((3, 5), "f4")).writeto(tmp_path / "image.fits")
    with pytest.raises(BadData, match="has no HDU FLUX"):
        read_frame(tmp_path / "image.fits")


def test_scores_count_good_samples_alone() -> None:
    frame = made.frame()
    flux, ivar = frame.flux.copy(), frame.ivar.copy()
    flux[0, 20], ivar[0, 20] = np.nan, 0.0
    flux[1, 21], ivar[1, 21] = 1e9, 0.0
    ivar[3] = 0.0
    scores = basic_scores(Frame(**{**_fields(frame), "flux": flux, "ivar": ivar}))
    good = (ivar[1] > 0) & (frame.mask[1] == 0)
    # a sum of 34 float32 numbers near 10: 1e-5 of it is a hundred times their rounding
    assert scores["SUM_RAW_COUNT_R"][1] == pytest.approx(0.6 * flux[1][good].sum(), rel=1e-5)
    assert scores["MEDIAN_RAW_COUNT_R"][1] == pytest.approx(np.median(flux[1][good]))
    assert scores["MEDIAN_RAW_SNR_R"][1] == pytest.approx(np.median(flux[1][good]) * 0.5, rel=1e-6)
    assert all(scores[name][3] == 0 for name in scores)
    assert all(np.isfinite(column).all() for column in scores.values())


def _fields(frame: Frame) -> dict[str, object]:
    return {name: getattr(frame, name) for name in ("camera", "flux", "ivar", "mask", "wave", "sigma", "fibermap", "unit", "stage")}


def test_a_sky_model_comes_back(tmp_path: Path) -> None:
    sky = made.sky()
    write_sky(tmp_path / "sky.fits", sky, made.EXPOSURE, "r0", fibermap=made.fibermap())
    back = read_sky(tmp_path / "sky.fits")
    for name in ("flux", "ivar", "mask", "wave"):
        np.testing.assert_array_equal(getattr(back, name), getattr(sky, name), err_msg=name)
    assert (back.fibers, back.rejected, back.leave_one_out, back.line_error) == ((1, 4), (3,), True, 0.01)
    with fits.open(tmp_path / "sky.fits") as f:
        f.verify("exception")
        assert [h.name for h in f] == ["SKY", "IVAR", "MASK", "WAVELENGTH", "SKYFIBERS", "FIBERMAP"]


def test_a_fibre_flat_comes_back(tmp_path: Path) -> None:
    flat = made.fiberflat()
    write_fiberflat(tmp_path / "a.fits", flat, made.EXPOSURE, "r0", fibermap=made.fibermap())
    write_fiberflat(tmp_path / "b.fits", flat, made.EXPOSURE, "r0", fibermap=made.fibermap(first=500))
    for name in ("a.fits", "b.fits"):
        back = read_fiberflat(tmp_path / name)
        for field in ("flat", "ivar", "mask", "wave", "meanspec", "fiber"):
            np.testing.assert_array_equal(getattr(back, field), getattr(flat, field), err_msg=field)
    with fits.open(tmp_path / "b.fits") as f:
        f.verify("exception")
        assert f["FIBERMAP"].columns.names == ["FIBER"]  # a fibre map of other fibres is none of its


def test_a_fibre_flat_with_holes(tmp_path: Path) -> None:
    flat = np.ones((3, 5), "f4")
    flat[1, 2] = np.nan
    hdus = [fits.PrimaryHDU(flat), fits.ImageHDU(np.ones((3, 5), "f4"), name="IVAR"), fits.ImageHDU(np.arange(5, dtype="f4"), name="WAVELENGTH")]
    hdus[0].header["EXTNAME"] = "FIBERFLAT"
    fits.HDUList(hdus).writeto(tmp_path / "flat.fits")
    read = read_fiberflat(tmp_path / "flat.fits")
    assert (read.flat[1, 2], read.ivar[1, 2], read.ivar.sum(), read.wave.dtype) == (1.0, 0.0, 14.0, np.float64)
    hdus[0].data[:] = np.nan
    fits.HDUList(hdus).writeto(tmp_path / "none.fits")
    with pytest.raises(BadData, match="no finite fibre flat"):
        read_fiberflat(tmp_path / "none.fits")


def _fluxcalib(path: Path, calib: np.ndarray, unit: str, **more: fits.ImageHDU) -> Path:
    head = fits.PrimaryHDU(calib.astype("f4"))
    head.header.update(EXTNAME="FLUXCALIB", BUNIT=unit)
    n = calib.shape[-1]
    for name, hdu in more.items():
        hdu.header["EXTNAME"] = name
    fits.HDUList([head, *more.values(), fits.ImageHDU(5000 + np.arange(n, dtype="f4"), name="WAVELENGTH")]).writeto(path)
    return path


def test_an_average_flux_calibration(tmp_path: Path) -> None:
    terms = {"ATERM": fits.ImageHDU(np.full(7, 0.12, "f4")), "STERM": fits.ImageHDU(np.full(7, 0.15, "f4"))}
    terms["ATERM"].header["PAIRMASS"] = 1.05
    terms["STERM"].header["PSEEING"] = 1.3
    calib = read_fluxcalib(_fluxcalib(tmp_path / "a.fits", np.arange(7), "10**+17 cm2 count / erg", **terms))
    assert (calib.pairmass, calib.pseeing, calib.times_exptime, calib.fiber) == (1.05, 1.3, False, None)
    assert calib.aterm is not None
    assert calib.sterm is not None
    assert (calib.calib.ndim, calib.aterm[0], calib.sterm[0]) == (1, np.float32(0.12), np.float32(0.15))
    bare = read_fluxcalib(_fluxcalib(tmp_path / "b.fits", np.arange(7), "10**+17 cm2 count / erg"))
    assert (bare.aterm, bare.sterm) == (None, None)


def test_a_flux_calibration_of_each_fibre(tmp_path: Path) -> None:
    mask, ivar = np.zeros((2, 7), np.int32), np.ones((2, 7), "f4")
    mask[0, 1], ivar[1, 2] = 1, 0.0
    planes = {"IVAR": fits.ImageHDU(ivar), "MASK": fits.ImageHDU(mask)}
    calib = read_fluxcalib(_fluxcalib(tmp_path / "a.fits", np.full((2, 7), 3.0), "10**+17 cm2 count s / erg", **planes))
    assert calib.times_exptime
    assert calib.fiber is not None
    assert list(calib.fiber) == [0, 1]
    assert (calib.calib[0, 1], calib.calib[1, 2], calib.calib.sum()) == (0.0, 0.0, 36.0)


def test_products_by_label(tmp_path: Path) -> None:
    context = context_of([made.EXPOSURE, made.fibermap(), made.scores()], "r0", {}, sync=False)
    assert [can_write(k) for k in ("frame", "fframe", "sframe", "cframe", "psf", "sky", "fiberflat", "preproc", "arrival")] == [True] * 8 + [False]
    products = (made.frame(), made.frame("cframe"), made.traces(), made.sky(), made.fiberflat())
    names = [write_product(p, tmp_path, context).name for p in products]
    assert names == [f"{n}-r0-00000102.fits" for n in ("frame", "cframe", "psf", "sky", "fiberflat")]
    assert "TSNR2_ELG_R" in fits.getdata(tmp_path / "frame-r0-00000102.fits", "SCORES").names
    with pytest.raises(BadConfig, match="no Exposure is known for r0"):
        context_of([made.frame()], "r0", {})
    assert isinstance(context, WriteContext)


@pytest.mark.parametrize("dtype", ["u1", "i1", "i2", "u2", "i4", "u4", "i8", "u8", "f4", "f8", "b1", "U5", "S3"])
def test_every_type_of_column(tmp_path: Path, dtype: str) -> None:
    values = np.array([0, 1, 100, 7, 3]).astype(dtype)
    path = tmp_path / "t.fits"
    with path.open("wb") as f:
        f.write(fits.PrimaryHDU().header.tostring().encode())
        write_table_hdu(f, {"A": values, "B": np.arange(30.0).reshape(5, 2, 3)}, name="T", units={"B": "mm"})
    with fits.open(path) as f:
        f.verify("exception")
        got = np.asarray(f["T"].data["A"])
        np.testing.assert_array_equal(got.astype("U5") if dtype[0] in "US" else got, values.astype("U5") if dtype[0] in "US" else values)
        np.testing.assert_array_equal(f["T"].data["B"], np.arange(30.0).reshape(5, 2, 3))
        assert f["T"].columns["B"].unit == "mm"
    back = read_table(path, 1)
    np.testing.assert_array_equal(back["B"], np.arange(30.0).reshape(5, 2, 3))


def test_tables_that_cannot_be(tmp_path: Path) -> None:
    with (tmp_path / "t.fits").open("wb") as f:
        with pytest.raises(BadData, match="have \\[2, 3\\] rows"):
            write_table_hdu(f, {"A": np.zeros(2), "B": np.zeros(3)}, name="T")
        with pytest.raises(BadData, match="column A of complex128"):
            write_table_hdu(f, {"A": np.zeros(2, complex)}, name="T")
