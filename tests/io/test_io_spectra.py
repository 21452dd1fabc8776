"""Spectra, sky models and fibre flats on disk: what is written is read, by us and by others."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import spectra_made as made
from astropy.io import fits
from astropy.table import Table

from quicklook.ccd.geometry import Section
from quicklook.ccd.image import Image
from quicklook.ccd.spectra import Scores
from quicklook.core.errors import BadConfig, BadData, NotReadyYet
from quicklook.io.fibermap import read_fibermap
from quicklook.io.flatfile import read_fiberflat, read_fluxcalib, write_fiberflat
from quicklook.io.products import WriteContext, can_write, context_of, write_preproc, write_product
from quicklook.io.spectrafile import read_frame, read_sky, write_frame, write_sky
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
        assert f["SCORES"].columns.names == ["TARGETID", "FIBER", "TSNR2_ELG_R", "SUM_RAW"]


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
    assert list(back.amplifiers.items()) == [("D", Section(0, 40, 0, 20)), ("upper left", Section(40, 80, 0, 20))]


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


def test_scores_of_this_stage_and_of_those_before(tmp_path: Path) -> None:
    names = ("SUM_RAW_COUNT_R", "MEDIAN_FFLAT_SNR_R", "SUM_SKYSUB_COUNT_R", "MEAN_CALIB_COUNT_R", "TSNR2_ELG_R", "OWN_MEASURE")
    scores = Scores(camera="r0", fiber=np.arange(made.NFIBRE, dtype=np.int32), columns={n: np.arange(6.0) for n in names})
    columns = {}
    for stage in ("frame", "fframe", "sframe", "cframe"):
        write_frame(tmp_path / f"{stage}.fits", made.frame(stage), made.EXPOSURE, scores=scores)
        columns[stage] = fits.getdata(tmp_path / f"{stage}.fits", "SCORES").names[2:]
    assert columns == {
        "frame": ["SUM_RAW_COUNT_R", "OWN_MEASURE"],
        "fframe": ["SUM_RAW_COUNT_R", "MEDIAN_FFLAT_SNR_R", "OWN_MEASURE"],
        "sframe": ["SUM_RAW_COUNT_R", "MEDIAN_FFLAT_SNR_R", "SUM_SKYSUB_COUNT_R", "OWN_MEASURE"],
        "cframe": list(names),
    }


def test_what_nobody_scored_has_no_columns(tmp_path: Path) -> None:
    others = Scores(camera="r0", fiber=np.arange(9, dtype=np.int32), columns={"SUM_RAW_COUNT_R": np.ones(9)})
    for name, scores in (("none.fits", None), ("others.fits", others)):
        write_frame(tmp_path / name, made.frame(), made.EXPOSURE, scores=scores)
        assert fits.getdata(tmp_path / name, "SCORES").names == ["TARGETID", "FIBER"]


def test_a_fibre_map_keeps_units_widths_and_cards(tmp_path: Path) -> None:
    n = made.NFIBRE
    columns = [
        fits.Column(name="FIBER", format="J", array=np.arange(n)), fits.Column(name="OBJTYPE", format="3A", array=["TGT"] * n),
        fits.Column(name="FLUX_R", format="D", unit="nanomaggies", array=np.ones(n)), fits.Column(name="BRICKNAME", format="8A", array=[""] * n),
        fits.Column(name="TARGET_RA", format="D", unit="deg", array=np.ones(n)),
    ]  # fmt: skip
    table = fits.BinTableHDU.from_columns(columns, name="FIBERMAP")
    table.header.update(TILEID=1000, TILERA=180.5, FLAVOR="science")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "fibermap.fits", checksum=True)
    given, _, left_out = read_fibermap(tmp_path / "fibermap.fits", "FIBERMAP", {})
    assert left_out == ()
    image = Image(
        camera="r0", pixels=np.zeros((4, 5), np.float32), ivar=np.ones((4, 5), np.float32), mask=np.zeros((4, 5), np.uint16), read_noise={"A": 3.0},
        amplifiers=(),
    )  # fmt: skip
    write_frame(tmp_path / "frame.fits", replace(made.frame(), fibermap=given), made.EXPOSURE)
    write_sky(tmp_path / "sky.fits", replace(made.sky(), fiber=given.fiber), made.EXPOSURE, "r0", fibermap=given)
    write_fiberflat(tmp_path / "flat.fits", made.fiberflat(), made.EXPOSURE, "r0", fibermap=given)
    write_preproc(tmp_path / "preproc.fits", image, made.EXPOSURE, fibermap=given)
    again = replace(made.frame(), fibermap=read_frame(tmp_path / "frame.fits").fibermap)
    write_frame(tmp_path / "again.fits", again, made.EXPOSURE)
    for name in ("frame", "sky", "flat", "preproc", "again"):
        with fits.open(tmp_path / f"{name}.fits") as f:
            f.verify("exception")
            got = f["FIBERMAP"]
            assert {c.name: c.unit for c in got.columns if c.unit} == {"FLUX_R": "nanomaggies", "TARGET_RA": "deg"}
            assert {c.name: c.format for c in got.columns}["BRICKNAME"] == "8A"
            assert [got.header[k] for k in ("TILEID", "TILERA", "FLAVOR", "FMAPSRC")] == [1000, 180.5, "science", "fibermap.fits"]
            assert "CHECKSUM" not in got.header  # that of another file


def test_rows_of_a_sky_model_keep_their_fibres(tmp_path: Path) -> None:
    """Its rows stand as the traces do, the fibre map in the order of FIBER."""
    order = np.array([3, 0, 5, 1, 4, 2])
    fibermap = made.fibermap()
    sky = replace(made.sky(), fiber=np.asarray(fibermap.fiber)[order])
    context = context_of([made.EXPOSURE, fibermap], "r0", {}, sync=False)
    path = write_product(sky, tmp_path, context)
    with fits.open(path) as f:
        assert f["FIBERMAP"].data["FIBER"].tolist() == order.tolist()
        assert f["FIBERMAP"].data["OBJTYPE"].tolist() == [fibermap.objtype[i] for i in order]
        assert (f["IVAR"].header["BUNIT"], f["SKY"].header["BUNIT"]) == ("1/(electron/Angstrom)**2", "electron/Angstrom")
    back = read_sky(path).fiber
    assert back is not None
    assert back.tolist() == order.tolist()
    alone = write_product(sky, tmp_path, context_of([made.EXPOSURE, made.fibermap(500)], "r0", {}, sync=False))
    assert fits.getdata(alone, "FIBERMAP").names == ["FIBER"]


def test_a_sky_model_comes_back(tmp_path: Path) -> None:
    sky = made.sky()
    write_sky(tmp_path / "sky.fits", replace(sky, fiber=made.fibermap().fiber), made.EXPOSURE, "r0", fibermap=made.fibermap())
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
    has = ["TSNR2_ELG_R" in fits.getdata(tmp_path / f"{n}-r0-00000102.fits", "SCORES").names for n in ("frame", "cframe")]
    assert has == [False, True]
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


@pytest.mark.parametrize(("flux", "why"), [(np.array(["n/a"] * 5), "is text"), (np.ones((5, 2)), "has 2 values a fibre, not one")])
def test_a_column_that_is_not_one_number_a_fibre_is_as_absent(tmp_path: Path, flux: np.ndarray, why: str) -> None:
    columns = {"FIBER": np.arange(5, dtype=np.int32), "FLUX_R": flux, "FIBERASSIGN_X": np.ones(5), "MORPHTYPE": np.array(["PSF"] * 5)}
    table_file(tmp_path / "fibermap.fits", columns)
    fibermap, _, left_out = read_fibermap(tmp_path / "fibermap.fits", "FIBERMAP", {})
    assert left_out == (f"column FLUX_R of fibermap.fits {why}; it is not used",)
    assert sorted(fibermap.columns) == ["FIBERASSIGN_X", "MORPHTYPE"]


@pytest.mark.parametrize(
    ("column", "values", "why"),
    [
        ("FIBER", np.array(["a"] * 5), "column FIBER is text; it must be the number of the fibre"),
        ("OBJTYPE", np.array([["TGT", "SKY"]] * 5), "column OBJTYPE has 2 values a fibre, not one"),
        ("FIBERSTATUS", np.zeros((5, 2), np.int32), "column FIBERSTATUS has 2 values a fibre, not one"),
    ],
)
def test_a_fibre_map_whose_fibres_cannot_be_told_is_refused(tmp_path: Path, column: str, values: np.ndarray, why: str) -> None:
    table_file(tmp_path / "fibermap.fits", {"FIBER": np.arange(5, dtype=np.int32)} | {column: values})
    with pytest.raises(BadData, match=f"^fibermap.fits, .*: {why}"):
        read_fibermap(tmp_path / "fibermap.fits", "FIBERMAP", {})


def table_file(path: Path, columns: dict[str, np.ndarray]) -> None:
    """A file with the table FIBERMAP of these columns."""
    table = fits.BinTableHDU(Table(columns), name="FIBERMAP")
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(path)
