"""The reader on small files in the form of DESI: amplifiers, contradictions, companions, broken files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from io_frames import desi_cards, desi_shape, fibermap_hdu, write_desi, write_fibermap

from quicklook.ccd.exposure import Arrival, Exposure, FiberMap
from quicklook.ccd.image import RawImage
from quicklook.core.errors import BadData, NotReadyYet
from quicklook.core.keys import Unit
from quicklook.core.reading import Reading
from quicklook.io.instrument import load_instrument
from quicklook.io.reader import FitsReader, Reader, open_reader


@pytest.fixture(scope="module")
def reader() -> Reader:
    return open_reader(load_instrument("desi"))


def product(reading: Reading, wanted: type[Any]) -> Any:
    return next((p for p in reading.products if isinstance(p, wanted)), None)


@pytest.mark.parametrize(("level", "dtype"), [(65535, np.uint16), (200_000, np.int32)])
def test_the_type_of_raw_pixels(tmp_path: Path, reader: Reader, level: int, dtype: type) -> None:
    """In half the memory where all pixels fit, but not where the top of that type would be taken for saturated."""
    cards = desi_cards("r0") | {f"HIERARCH SATURLEV{amp}": level for amp in "ABCD"}  # nine characters
    raw = product(reader.read(write_desi(tmp_path, {"r0": cards}), "r0"), RawImage)
    assert raw.pixels.dtype == dtype
    assert raw.pixels[3, 5] == 1000 + (3 * desi_shape()[1] + 5) % 97
    assert {a.saturation for a in raw.amplifiers} == {level}


def test_a_good_file(tmp_path: Path, reader: Reader) -> None:
    path = write_desi(tmp_path, {c: desi_cards(c) for c in ("b1", "r0")})
    assert reader.accepts(path)
    peek = reader.peek(path)
    assert (peek.unit, peek.cameras, peek.flavor, peek.exptime) == (Unit(20220101, 102), ("b1", "r0"), "science", 900.0)
    assert peek.start is not None
    assert peek.start.isoformat() == "2022-01-02T06:02:00+00:00"
    assert peek.problems == {}
    reading = reader.read(path, "r0")
    assert {type(p) for p in reading.products} == set(reader.provides)
    raw, exposure = product(reading, RawImage), product(reading, Exposure)
    assert raw.pixels.shape == desi_shape()
    assert raw.pixels[3, 5] == 1000 + (3 * desi_shape()[1] + 5) % 97
    assert raw.image_shape == (40, 32)
    assert [(a.name, str(a.data), str(a.ccd), a.corner) for a in raw.amplifiers] == [
        ("A", "[5:20,2:21]", "[1:16,1:20]", "ll"),
        ("B", "[37:52,2:21]", "[17:32,1:20]", "lr"),
        ("C", "[5:20,28:47]", "[1:16,21:40]", "ul"),
        ("D", "[37:52,28:47]", "[17:32,21:40]", "ur"),
    ]
    first = raw.amplifiers[0]
    assert (str(first.overscan), str(first.prescan), str(first.parallel_overscan)) == ("[21:28,2:21]", "[1:4,2:21]", "[5:20,22:24]")
    assert (first.gain, first.read_noise, first.saturation) == (1.2, 2.5, 65535)
    assert (exposure.airmass, exposure.seeing, exposure.program) == (1.15, 1.25, "dark")
    wanted = {"instrument": "desi", "camera": "r0", "arm": "r", "spectrograph": "0", "flavor": "science", "night": "20220101", "expid": "102"}
    assert wanted.items() <= dict(reading.tags).items()
    assert reading.degraded == ()


def test_cameras_are_named_in_any_case(tmp_path: Path, reader: Reader) -> None:
    assert product(reader.read(write_desi(tmp_path), "R0"), RawImage).camera == "r0"


def test_old_amplifier_names_become_letters(tmp_path: Path, reader: Reader) -> None:
    old = product(reader.read(write_desi(tmp_path, {"r0": desi_cards(amps="1234")}), "r0"), RawImage)
    new = product(reader.read(write_desi(tmp_path), "r0"), RawImage)
    assert old.amplifiers == new.amplifiers


def test_a_camera_read_by_two_amplifiers(tmp_path: Path, reader: Reader) -> None:
    cards = {
        k: v
        for k, v in desi_cards().items()
        if k[-1:] not in "CD" or not k.startswith(("DATASEC", "BIASSEC", "PRESEC", "ORSEC", "CCDSEC", "GAIN", "RDN"))
    }
    reading = reader.read(write_desi(tmp_path, {"r0": cards}), "r0")
    assert product(reading, RawImage).amplifier_names == ("A", "B")
    assert product(reading, Arrival).problems["headers"] == tuple(
        f"amplifier {a} of camera r0 is not described in the header; it is left out" for a in "CD"
    )


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"DATASECB": None}, "amplifier B of camera r0: the header has no section DATASECB"),
        ({"DATASECB": "[1:x]"}, r"amplifier B of camera r0: '\[1:x\]' is no section.*DATASECB"),
        ({"DATASECB": "[370:385,2:21]"}, "data section .* of amplifier B lies outside"),
        ({"BIASSECB": "[90:999,2:21]"}, "overscan section .* of amplifier B lies outside"),
        ({"CCDSECB": "[1:16,1:20]"}, "overlap"),
        ({"CCDSECB": "[17:30,1:20]"}, "differ in shape"),
        ({"GAINC": 0.0}, "amplifier C of camera r0 has no usable gain"),
        ({"GAINC": None}, "amplifier C of camera r0 has no usable gain .GAINC was looked up."),
        ({"GAINC": "nan"}, "no usable gain"),
    ],
)
def test_what_cannot_be_processed(tmp_path: Path, reader: Reader, changes: dict[str, Any], words: str) -> None:
    path = write_desi(tmp_path, {"r0": desi_cards(**changes)})
    reader.peek(path)
    with pytest.raises(BadData, match=words):
        reader.read(path, "r0")


@pytest.mark.parametrize(
    ("changes", "check", "words"),
    [
        ({"CAMERA": "z3"}, "headers", "CAMERA = z3, but this is camera r0"),
        ({"EXPID": 103}, "headers", "EXPID = 103, but the file name says 102"),
        ({"NIGHT": 20220102}, "night", "NIGHT = 20220102, but the path says 20220101"),
        ({"DATE_OBS": "2022-01-04T06:02:00"}, "night", "2022-01-04T06:02:00 UTC belongs to the night 20220103, but the path says 20220101"),
        ({"DATE_OBS": "soon"}, "headers", "DATE-OBS = soon is no time"),
        ({"DATE_OBS": "0001-01-01T00:00:00"}, "headers", "DATE-OBS = 0001-01-01T00:00:00 is no time of an exposure"),
        ({"EXPTIME": "nan"}, "headers", "EXPTIME = nan is no exposure time"),
        ({"EXPTIME": -3.0}, "headers", "EXPTIME = -3.0 is no exposure time"),
        ({"EXPTIME": None}, "headers", "not in the header: EXPTIME"),
        ({"AIRMASS": 0.0}, "headers", "AIRMASS = 0.0 is no airmass"),
        ({"SEEING": 1e20}, "headers", "SEEING = 1e+20 is no seeing in arcsec"),
        ({"RDNOISEA": -1.0}, "headers", "amplifier A of camera r0: RDNOISEA = -1.0 is no read noise"),
        ({"FLAVOR": None}, "headers", "the flavor of the exposure is not known"),
    ],
)
def test_contradictions_are_problems_not_errors(tmp_path: Path, reader: Reader, changes: dict[str, Any], check: str, words: str) -> None:
    reading = reader.read(write_desi(tmp_path, {"r0": desi_cards(**changes)}), "r0")
    arrival = product(reading, Arrival)
    assert words in arrival.problems[check]
    assert product(reading, Exposure).unit == Unit(20220101, 102)


def test_missing_keywords_are_listed(tmp_path: Path, reader: Reader) -> None:
    arrival = product(reader.read(write_desi(tmp_path, {"r0": desi_cards(EXPTIME=None, NIGHT="  ")}), "r0"), Arrival)
    assert arrival.missing_keywords == ("NIGHT", "EXPTIME")
    assert (arrival.night_of_header, arrival.night_of_time, arrival.night_of_path) == (None, 20220101, 20220101)


def test_without_a_night_folder_the_header_says_the_night(tmp_path: Path, reader: Reader) -> None:
    path = write_desi(tmp_path, night=None)
    assert reader.peek(path).unit == Unit(20220101, 102)


def test_the_fibre_map_beside(tmp_path: Path, reader: Reader) -> None:
    fibers = product(reader.read(write_desi(tmp_path, {"r1": desi_cards("r1")}), "r1"), FiberMap)
    assert fibers.fiber.tolist() == [4, 5, 6, 7]
    assert fibers.objtype == ("SKY", "TGT", "TGT", "TGT")
    assert fibers.columns["FLUX_R"].tolist() == [6.0, 7.5, 9.0, 10.5]
    assert fibers.source == "fibermap-00000102.fits"
    assert not fibers.fiber.flags.writeable


def test_the_fibre_map_inside(tmp_path: Path, reader: Reader) -> None:
    path = write_desi(tmp_path, fibermap=None)
    with fits.open(path, mode="append") as f:
        f.append(fibermap_hdu(102))
    reading = reader.read(path, "r0")
    assert product(reading, FiberMap).fiber.tolist() == [0, 1, 2, 3]
    assert product(reading, Arrival).companions[0].present
    assert reading.degraded == ()


def test_no_fibre_map(tmp_path: Path, reader: Reader) -> None:
    path = write_desi(tmp_path, fibermap=None)
    assert [(c.role, c.name, c.present, c.required) for c in reader.companions(path)] == [("fibermap", "fibermap-00000102.fits", False, True)]
    reading = reader.read(path, "r0")
    assert product(reading, FiberMap) is None
    assert reading.degraded == ("fibermap fibermap-00000102.fits is not there",)
    zero = write_desi(tmp_path / "zero", {"r0": desi_cards(FLAVOR="zero", EXPTIME=0.0)}, fibermap=None)
    assert reader.read(zero, "r0").degraded == ()


def test_a_fibre_map_of_another_exposure_is_not_used(tmp_path: Path, reader: Reader) -> None:
    reading = reader.read(write_desi(tmp_path, fibermap=99), "r0")
    assert product(reading, FiberMap) is None
    assert product(reading, Arrival).problems["companions"] == ("the fibre map fibermap-00000102.fits is of exposure 99, not of 102; it is not used",)
    assert reading.degraded


@pytest.mark.parametrize("content", [b"no table", b"SIMPLE  =                    T"])
def test_a_broken_fibre_map_is_a_problem(tmp_path: Path, reader: Reader, content: bytes) -> None:
    path = write_desi(tmp_path)
    (path.parent / "fibermap-00000102.fits").write_bytes(content)
    reading = reader.read(path, "r0")
    assert product(reading, FiberMap) is None
    assert "the fibre map cannot be used" in reading.degraded[0]


def test_fibres_of_another_spectrograph(tmp_path: Path, reader: Reader) -> None:
    reading = reader.read(write_desi(tmp_path, {"r7": desi_cards("r7")}), "r7")
    assert "has no rows with PETAL_LOC = 7" in reading.degraded[0]


def test_a_camera_that_is_not_there(tmp_path: Path, reader: Reader) -> None:
    with pytest.raises(BadData, match=r"desi-00000102.fits.fz has no camera z3; it has r0"):
        reader.read(write_desi(tmp_path), "z3")


def test_expected_cameras(tmp_path: Path) -> None:
    desi = load_instrument("desi")
    some = FitsReader(desi.model_copy(update={"cameras": desi.cameras.model_copy(update={"expected": ("r0", "z0", "z1")})}))
    peek = some.peek(write_desi(tmp_path))
    assert peek.missing_cameras == ("z0", "z1")
    assert peek.problems["hdus"] == ("expected and not there: camera z0, z1",)
    assert product(some.read(peek.path, "r0"), Arrival).problems == {}


def test_files_of_something_else(tmp_path: Path, reader: Reader) -> None:
    path = write_fibermap(tmp_path / "desi-00000102.fits", 102)
    with pytest.raises(BadData, match="holds no camera of desi: its HDUs are PRIMARY, FIBERMAP"):
        reader.peek(path)


def test_a_truncated_file_is_not_ready(tmp_path: Path, reader: Reader) -> None:
    path = write_desi(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: int(0.7 * len(whole))])
    with pytest.raises(NotReadyYet, match="truncated"):
        reader.peek(path)
    with pytest.raises(NotReadyYet, match="truncated"):
        reader.read(path, "r0")


def test_a_one_pixel_image(tmp_path: Path, reader: Reader) -> None:
    path = tmp_path / "desi-00000102.fits"
    hdu = fits.ImageHDU(np.ones((1, 1), np.int32), header=fits.Header(desi_cards()), name="R0")
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    with pytest.raises(BadData, match="1 x 1 pixels; that is no frame"):
        reader.read(path, "r0")


def test_names_that_are_no_raw_files(tmp_path: Path, reader: Reader) -> None:
    good = tmp_path / "20220101/00000102/desi-00000102.fits.fz"
    assert reader.accepts(good)
    for name in (".desi-00000102.fits.fz.x1", "desi-00000102.fits.fz.tmp", "desi-00000102.fits.fz~", "fibermap-00000102.fits", "desi-2.fits.fz"):
        assert not reader.accepts(good.with_name(name)), name
    assert reader.accepts(tmp_path / "desi-123456789.fits.fz")


def test_locate(tmp_path: Path, reader: Reader) -> None:
    path = write_desi(tmp_path)
    other = write_desi(tmp_path, night=20220103)
    assert reader.locate(tmp_path, 102) == (path, other)
    assert reader.locate(tmp_path, 102, 20220103) == (other,)
    assert reader.locate(tmp_path, 5) == ()


def test_a_reader_travels_to_a_worker(tmp_path: Path, reader: Reader) -> None:
    path = write_desi(tmp_path)
    assert pickle.loads(pickle.dumps(reader)).read(path, "r0").tags == reader.read(path, "r0").tags
