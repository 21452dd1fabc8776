"""Instruments that are described by data alone, and what is refused in a description."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from io_frames import write_plain

from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.image import Header, RawImage
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.keys import Unit
from quicklook.io.amplifiers import Tile, build_amplifiers, choose_layout, orientation_of
from quicklook.io.configfiles import list_configs
from quicklook.io.headerfacts import Headers, Problems
from quicklook.io.instrument import Instrument, load_instrument, make_instrument
from quicklook.io.naming import match_path
from quicklook.io.reader import FitsReader

ONE_AMP: dict[str, Any] = {
    "name": "bench",
    "files": {"patterns": ["frame_{expid:4d}.fits"]},
    "layouts": [{"amplifiers": {"only": {"data": "[1:20,:]", "overscan": "[21:,:]", "gain": 2.0, "read_noise": 5}}}],
}


def make(**changes: Any) -> Instrument:
    return make_instrument(ONE_AMP | changes)


def raw_of(instrument: Instrument, path: Path, camera: str) -> RawImage:
    return next(p for p in FitsReader(instrument).read(path, camera).products if isinstance(p, RawImage))


@pytest.mark.parametrize("name", ["desi", "kast_blue", "virus", "vis_bench"])
def test_shipped_descriptions_are_good(name: str) -> None:
    assert name in list_configs("instruments")
    assert load_instrument(name).name == name


def test_a_bench_of_one_amplifier(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "frame_0007.fits", np.full((10, 26), 500, np.uint16), {"EXPTIME": 1.5, "DATE_OBS": "2026-01-02T13:00:00"})
    instrument = make()
    peek = FitsReader(instrument).peek(path)
    assert (peek.unit, peek.cameras, peek.exptime) == (Unit(20260102, 7), ("bench",), 1.5)
    (amp,) = raw_of(instrument, path, "bench").amplifiers
    assert (str(amp.data), str(amp.overscan), str(amp.ccd)) == ("[1:20,1:10]", "[21:26,1:10]", "[1:20,1:10]")
    assert (amp.gain, amp.read_noise, amp.saturation) == (2.0, 5.0, 65535.0)


def test_a_file_per_camera(tmp_path: Path) -> None:
    instrument = make(
        files={"patterns": ["{camera}-{expid:6d}.fits"]},
        cameras={"expected": ["red", "blue"], "tags": "(?P<arm>.*)", "case": "lower"},
        layouts=[{"when": {"CAMERA": "red"}, "amplifiers": {"a": {"gain": 1}}, "flip_x": True}, {"amplifiers": {"a": {"gain": 3}}}],
    )
    reader = FitsReader(instrument)
    for name, gain in (("RED", 1.0), ("blue", 3.0)):
        path = write_plain(tmp_path / f"{name}-000012.fits", np.ones((10, 10), np.float32), {"EXPTIME": 1.0})
        peek = reader.peek(path)
        assert (peek.unit.expid, peek.cameras, peek.missing_cameras) == (12, (name.lower(),), ())
        raw = raw_of(instrument, path, name.lower())
        assert raw.amplifiers[0].gain == gain
        assert raw.orientation.flip_x is (name == "RED")
        assert reader.read(path, name.lower()).tags["arm"] == name.lower()


def test_several_cameras_in_a_file(tmp_path: Path) -> None:
    instrument = make(layout={"camera_hdus": "CCD_(?P<camera>.*)"}, expected_hdus=["INFO"])
    path = tmp_path / "frame_0001.fits"
    hdus = [fits.PrimaryHDU(), *(fits.ImageHDU(np.full((10, 26), i, np.int16), name=f"CCD_{c}") for i, c in enumerate(("b", "r")))]
    fits.HDUList(hdus).writeto(path)
    reader = FitsReader(instrument)
    assert reader.peek(path).cameras == ("B", "R")
    assert raw_of(instrument, path, "R").pixels[0, 0] == 1
    assert reader.peek(path).problems["hdus"] == ("HDU INFO is not there",)


def test_an_amplifier_in_each_extension(tmp_path: Path) -> None:
    each = {"data": "DATASEC", "overscan": "[9:,:]", "gain": "GAIN", "ccd": "DETSEC"}
    instrument = make(
        layouts=[{"each": each, "gain_unit": "ADU/electron", "ccd_binning": "CCDSUM", "amplifiers": {"left": {"hdu": 1}, "right": {"hdu": "AMP2"}}}]
    )
    path = tmp_path / "frame_0001.fits"
    cards = {"DATASEC": "[1:8,1:12]", "GAIN": 0.5, "CCDSUM": "2 1"}
    hdus = [fits.PrimaryHDU()]
    for i, section in ((1, "[1:16,1:12]"), (2, "[17:32,1:12]")):
        hdus.append(fits.ImageHDU(np.full((12, 11), i, np.uint16), header=fits.Header(cards | {"DETSEC": section}), name=f"AMP{i}"))
    fits.HDUList(hdus).writeto(path)
    raw = raw_of(instrument, path, "bench")
    assert raw.pixels.shape == (12, 22)
    assert [(a.name, str(a.data), str(a.overscan), str(a.ccd), a.gain) for a in raw.amplifiers] == [
        ("left", "[1:8,1:12]", "[9:11,1:12]", "[1:8,1:12]", 2.0),
        ("right", "[12:19,1:12]", "[20:22,1:12]", "[9:16,1:12]", 2.0),
    ]
    for amp, value in zip(raw.amplifiers, (1, 2), strict=True):
        assert (raw.pixels[amp.data.slices] == value).all()


@pytest.mark.parametrize(("rows", "parallel"), [(4132, False), (4172, True)])
def test_quadrants_of_the_bench(rows: int, parallel: bool) -> None:
    """Every pixel of the raw image is read by one section alone, and the sections of a quadrant lie as it is read out."""
    instrument = load_instrument("vis_bench")
    shape = (rows, 4238)
    layout = choose_layout(instrument, "ROE1_CCD1", (), shape)
    headers = Headers(Header({}))
    amps = build_amplifiers("ROE1_CCD1", layout, dict.fromkeys(layout.amplifiers, Tile(headers=headers, shape=shape)), Problems())
    raw = RawImage(camera="ROE1_CCD1", pixels=np.zeros(shape, np.uint16), amplifiers=amps)
    used = np.zeros(shape, np.uint8)
    for amp in raw.amplifiers:
        sections = [s for s in (amp.data, amp.overscan, amp.prescan, amp.parallel_overscan) if s]
        assert len(sections) == 3 + parallel
        for section in sections:
            used[section.slices] += 1
    assert used.max() == 1
    corners = 4 * 20 * (51 + 20) if parallel else 0  # rows of parallel overscan that lie beside it
    assert (used == 0).sum() == corners
    assert raw.image_shape == (4132, 4096)
    assert {a.name: a.corner for a in amps} == {"E": "ul", "F": "ur", "G": "lr", "H": "ll"}
    assert orientation_of(instrument, layout).identity
    with pytest.raises(BadData, match="no layout of instrument vis_bench fits its image of 4238 x 4000"):
        choose_layout(instrument, "ROE1_CCD1", (), (4000, 4238))


def test_names_of_the_bench() -> None:
    instrument = load_instrument("vis_bench")
    for name in ("EUC_191_251116D150614T_ROE1_CCD2.fits", "EUC_191_251116D_150614T_ROE1_CCD2.fits"):
        facts = match_path(Path("/data/16Nov25") / name, instrument)
        assert facts is not None
        assert (facts.expid, facts.camera) == (191, "ROE1_CCD2")
        assert facts.start is not None
        assert facts.start.isoformat() == "2016-11-25T15:06:14+00:00"


def test_data_sections_that_are_not_a_grid(tmp_path: Path) -> None:
    overlap = {"a": {"data": "[1:10,:]", "gain": 1}, "b": {"data": "[9:20,:]", "gain": 1}}
    path = write_plain(tmp_path / "frame_0001.fits", np.ones((10, 26), np.int16))
    with pytest.raises(BadData, match="give the ccd sections"):
        raw_of(make(layouts=[{"amplifiers": overlap}]), path, "bench")


def test_a_slit_has_a_fibre_map(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "frame_0001.fits", np.ones((10, 26), np.int16))
    reading = FitsReader(make(apertures={"count": 3, "sky": [0, 2]})).read(path, "bench")
    fibers = next(p for p in reading.products if isinstance(p, FiberMap))
    assert (fibers.fiber.tolist(), fibers.objtype, fibers.source) == ([0, 1, 2], ("SKY", "TGT", "SKY"), "apertures of the slit")


@pytest.mark.parametrize(
    ("cards", "flavor"),
    [
        ({"LAMP": "ON", "EXPTIME": 5.0}, "arc"),
        ({"LAMP": "off", "DOME": "on", "EXPTIME": 5.0}, "flat"),
        ({"LAMP": "off", "EXPTIME": 0}, "zero"),
        ({"LAMP": "off", "EXPTIME": 2000.0, "SHUT": False}, "dark"),
        ({"LAMP": "off", "EXPTIME": 5.0, "IMAGETYP": " Object"}, "science"),
        ({"LAMP": "off", "EXPTIME": 5.0, "IMAGETYP": "SKYFLAT2"}, "flat"),
        ({"LAMP": "off", "EXPTIME": 5.0}, "engineering"),
    ],
)
def test_flavors_by_rules(tmp_path: Path, cards: dict[str, Any], flavor: str) -> None:
    spec = {
        "keywords": "IMAGETYP",
        "values": {"object": "science", "/flat/": "flat"},
        "default": "engineering",
        "rules": [
            {"value": "zero", "when": {"EXPTIME": 0}},
            {"value": "dark", "when": {"EXPTIME": {"min": 1000}, "SHUT": False}},
            {"value": "arc", "when": {"LAMP": "on"}},
            {"value": "flat", "when": {"/DO.E/": ["on", "dim"]}},
        ],
    }
    path = write_plain(tmp_path / "frame_0001.fits", np.ones((10, 26), np.int16), cards)
    assert FitsReader(make(header={"flavor": spec})).peek(path).flavor == flavor


@pytest.mark.parametrize(
    ("cards", "start"),
    [
        ({"DATE_OBS": "2026-01-02", "UT": "03:04:05.5"}, "2026-01-02T03:04:05.500000+00:00"),
        ({"DATE_OBS": "2026-01-02T03:04"}, "2026-01-02T03:04:00+00:00"),
        ({"DATE_OBS": "02/01/99", "UT": "03:04:05"}, "1999-01-02T03:04:05+00:00"),
        ({"DATE_OBS": "2026-01-02T23:59:60"}, "2026-01-03T00:00:00+00:00"),
        ({"DATE_OBS": "2026-01-02T01:00:00+02:00"}, "2026-01-01T23:00:00+00:00"),
        ({"MJD_OBS": 59000.5}, "2020-05-31T12:00:00+00:00"),
        ({"DATE_OBS": "2026-01-02"}, None),
        ({}, None),
    ],
)
def test_times(tmp_path: Path, cards: dict[str, Any], start: str | None) -> None:
    path = write_plain(tmp_path / "frame_0001.fits", np.ones((10, 26), np.int16), cards)
    peek = FitsReader(make()).peek(path)
    assert (peek.start.isoformat() if peek.start else None) == start
    if start is None:
        assert peek.unit.night == 0
        assert "the night is not known" in peek.problems["night"][0]


@pytest.mark.parametrize(
    ("longitude", "change", "utc", "night"),
    [(-110.0, 12, "2026-01-02T06:00:00", 20260101), (-110.0, 12, "2026-01-02T20:00:00", 20260102), (149.0, 12, "2026-01-02T12:00:00", 20260102),
     (250.0, 12, "2026-01-02T06:00:00", 20260101), (0.0, 0, "2026-01-02T23:59:00", 20260102), (0.0, 0, "2026-01-02T00:01:00", 20260102)],
)  # fmt: skip
def test_nights(tmp_path: Path, longitude: float, change: float, utc: str, night: int) -> None:
    """Kitt Peak at 22:40 and 12:40 local mean time, Siding Spring at 22:00, east longitude above 180, a bench by date."""
    path = write_plain(tmp_path / "frame_0001.fits", np.ones((10, 26), np.int16), {"DATE_OBS": utc})
    site = {"longitude_deg": longitude, "night_change_hour": change}
    assert FitsReader(make(site=site)).peek(path).unit.night == night


def test_local_times(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "frame_0001.fits", np.ones((10, 26), np.int16), {"DATE_OBS": "2026-01-02T01:00:00"})
    start = FitsReader(make(site={"utc_offset_hours": -7})).peek(path).start
    assert start is not None
    assert start.isoformat() == "2026-01-02T08:00:00+00:00"


def test_no_number_at_all(tmp_path: Path) -> None:
    path = write_plain(tmp_path / "other.fits", np.ones((10, 26), np.int16))
    with pytest.raises(BadData, match=r"other[.]fits has no number of an exposure"):
        FitsReader(make()).peek(path)
    numbered = write_plain(tmp_path / "other.fits", np.ones((10, 26), np.int16), {"EXPID": 5})
    assert FitsReader(make()).peek(numbered).unit.expid == 5


def test_all_types_of_pixels_become_those_of_the_kernels(tmp_path: Path) -> None:
    for dtype, wanted in (("u1", "i2"), ("i8", "i4"), ("u4", "i4"), ("f8", "f4"), ("u2", "u2")):
        path = write_plain(tmp_path / "frame_0001.fits", np.full((10, 26), 200, dtype))
        assert raw_of(make(), path, "bench").pixels.dtype == np.dtype(wanted)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: x\nfiles: {patterns: [a]}\nlayouts: [{amplifiers: {a: {gian: 1}}}]", r"bad\.yaml:3 .*unknown key 'gian'; did you mean 'gain'"),
        ("name: x\nfiles: {patterns: [a]}\nlayouts: []", r"bad\.yaml:3 \(layouts\): must not be empty"),
        ("name: x\nfiles:\n  patterns: []\nlayouts: [{amplifiers: {a: {}}}]", r"bad\.yaml:3"),
        ("name: x\nfiles: {patterns: [a]}\ncameras: {tags: '(?P<arm'}\nlayouts: [{amplifiers: {a: {}}}]", r"bad\.yaml:3 .*no regular expression"),
        ("name: x\nfiles: {patterns: [a]}\nlayouts: [{amplifiers: {a: {hdu: 1}, b: {}}}]", r"bad\.yaml:3 .*have an `hdu` and others have none"),
        ("name: x\nfiles: {patterns: ['regex:(?P<expid']}\nlayouts: [{amplifiers: {a: {}}}]", r"bad\.yaml:2 .*no pattern of file names"),
        (
            "name: x\nfiles: {patterns: [a]}\nlayouts: [{amplifiers: {a: {}}}]\nheader: {flavor: {rules: [{value: a, when: {B: /(/}}]}}",
            r"bad\.yaml:4 .*no regular expression",
        ),
        (
            "name: x\nfiles: {patterns: [a]}\nlayouts: [{amplifiers: {a: {}}}]\nheader: {flavor: {values: {/(/: b}}}",
            r"bad\.yaml:4 .*no regular expression",
        ),
        ("name: x\nfiles: {patterns: [a]}\nsite: {longitude_deg: west}\nlayouts: [{amplifiers: {a: {}}}]", r"bad\.yaml:3 .*must be a number"),
    ],
)
def test_bad_descriptions_are_refused_with_their_line(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(BadConfig, match=words):
        load_instrument(tmp_path / "bad.yaml")


def test_extends(tmp_path: Path) -> None:
    (tmp_path / "mine.yaml").write_text("extends: desi\nname: mine\ncameras: {expected: [r0]}\n")
    mine = load_instrument("mine", [tmp_path])
    assert (mine.name, mine.cameras.expected, mine.cameras.case, mine.telescope) == ("mine", ("r0",), "lower", "Mayall")
    (tmp_path / "a.yaml").write_text("extends: b\n")
    (tmp_path / "b.yaml").write_text("extends: a\n")
    with pytest.raises(BadConfig, match="in a circle"):
        load_instrument("a", [tmp_path])


def test_unknown_instrument_and_reader(tmp_path: Path) -> None:
    with pytest.raises(BadConfig, match="did you mean 'virus'"):
        load_instrument("vrius")
