"""`quicklook instrument new`: what example frames tell of their instrument."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import bringup_frames as made
import numpy as np
import pytest
import yaml
from astropy.io import fits

from quicklook.ccd.geometry import Section
from quicklook.core.errors import BadConfig, BadData
from quicklook.io.bringup.examples import Unsure, load_examples
from quicklook.io.bringup.names import propose_names
from quicklook.io.bringup.noise import gain_of, read_noise_of
from quicklook.io.bringup.optics import find_optics
from quicklook.io.bringup.sections import find_amplifiers
from quicklook.io.instrument import load_instrument
from quicklook.io.patterns import compile_pattern
from quicklook.io.propose import Hints, Proposal, propose
from quicklook.io.reader import FitsReader

READOUTS = {"one": made.ONE, "side": made.SIDE, "quadrants": made.QUADRANTS}


def section(box: tuple[int, int, int, int]) -> Section:
    return Section(*box)


@pytest.mark.parametrize("name", READOUTS)
@pytest.mark.parametrize("transpose", [False, True], ids=["along y", "along x"])
def test_amplifiers_and_their_strips_are_found(name: str, transpose: bool) -> None:
    readout = READOUTS[name]
    found = find_amplifiers(made.raw(readout, "flat", transpose, 1), made.raw(readout, "zero", transpose, 2))
    assert {a.data for a in found.amps} == {section(b) for b in readout.data.values()}
    for amp in found.amps:
        key = next(k for k, b in readout.data.items() if section(b) == amp.data)
        strips = readout.strips[key]
        assert amp.overscan == section(strips[0])
        if len(strips) > 1:
            assert (amp.prescan, amp.parallel) == (section(strips[1]), section(strips[2]))
        else:
            assert (amp.prescan, amp.parallel) == (None, None)


def test_an_overscan_below_or_above_belongs_to_columns() -> None:
    """A detector that is read out along y: the file of two amplifiers side by side, turned."""
    bright, dark = made.raw(made.SIDE, "flat", False, 1).T, made.raw(made.SIDE, "zero", False, 2).T
    found = find_amplifiers(bright, dark)
    assert [(a.data, a.overscan, a.parallel) for a in found.amps] == [
        (Section(0, 300, 0, 200), Section(600, 630, 0, 200), None),
        (Section(300, 600, 0, 200), Section(630, 660, 0, 200), None),
    ]
    assert [a.corner for a in found.amps] == ["ll", "ul"]


def test_a_dark_end_of_the_slit_is_data_where_the_header_or_a_round_number_says_so() -> None:
    rng = np.random.default_rng(4)
    zero = 1000.0 + rng.normal(0, 3, (512, 440))
    flat = zero + rng.normal(0, 3, zero.shape)
    flat[30:480, :400] += 20000.0
    (only,) = find_amplifiers(flat, zero).amps  # 512 rows: a detector of that size
    assert (only.data, only.parallel) == (Section(0, 512, 0, 400), None)
    cut = find_amplifiers(flat[:500], zero[:500])
    assert cut.amps[0].data.y0 == 30  # nothing tells
    stated = find_amplifiers(flat[:500], zero[:500], Section(0, 500, 0, 400))
    assert stated.amps[0].data == Section(0, 500, 0, 400)


def test_a_header_that_calls_the_overscan_data_is_named() -> None:
    """Stale after the overscan was moved; that nothing was found is no fault of the frames."""
    flat, zero = made.raw(made.ONE, "flat", False, 1), made.raw(made.ONE, "zero", False, 2)
    wrong = find_amplifiers(flat, zero, Section(0, 300, 40, 440))
    assert [s for s in wrong.unsure if "overscan" in s] == [
        "overscan: none, as the header calls [41:440,1:300] data (DATASEC or TRIMSEC); but light does not reach [401:440,1:300]: is the header right?"
    ]
    right = find_amplifiers(flat, zero, Section(0, 300, 0, 400))
    assert right.amps[0].overscan == Section(0, 300, 400, 440)
    cut = find_amplifiers(flat[:, :400], zero[:, :400], Section(0, 300, 10, 400))
    assert any("no strip was found that light does not reach" in s for s in cut.unsure)


def test_without_a_zero_it_says_so() -> None:
    found = find_amplifiers(made.raw(made.ONE, "flat", False, 1), None)
    assert found.amps[0].overscan == Section(0, 300, 400, 440)
    assert any("without a zero" in s for s in found.unsure)


def test_without_light_no_overscan_is_claimed() -> None:
    zero = made.raw(made.ONE, "zero", False, 1)
    found = find_amplifiers(zero, made.raw(made.ONE, "zero", False, 2))
    assert found.amps[0].overscan is None
    assert any("no strip was found" in s for s in found.unsure)


def test_a_gradient_of_the_bias_is_no_border() -> None:
    rng = np.random.default_rng(3)
    slope = 1000.0 + 0.2 * np.arange(440)[None, :] + np.zeros((300, 1))
    zero = np.rint(slope + rng.normal(0, 3, slope.shape))
    flat = zero + np.where(np.arange(440) < 400, 20000.0, 0.0)
    assert len(find_amplifiers(flat, zero).amps) == 1


@pytest.mark.parametrize("transpose", [False, True], ids=["along y", "along x"])
def test_orientation_and_slit(transpose: bool) -> None:
    arc, flat = (made.light(kind, (300, 400), transpose) for kind in ("arc", "flat"))
    rng = np.random.default_rng(1)
    optics = find_optics(arc + rng.normal(0, 3, arc.shape), flat + rng.normal(0, 3, arc.shape))
    n = 300 if transpose else 400
    assert optics.transpose is transpose
    assert optics.slit == pytest.approx((0.1 * n, 0.85 * n), abs=1.5)
    assert optics.flip is False
    turned = find_optics(arc, flat[:, ::-1] if transpose else flat[::-1])
    assert turned.flip is True


def test_fibres_are_no_slit() -> None:
    x = np.arange(400)
    profile = np.sum([np.exp(-0.5 * ((x - c) / 1.2) ** 2) for c in range(20, 380, 8)], axis=0)
    flat = np.ones((300, 1)) * profile * 5000.0
    lines = 0.001 + np.sum([np.exp(-0.5 * ((np.arange(300) - c) / 1.2) ** 2) for c in (30, 71, 133, 180, 255)], axis=0)
    optics = find_optics(lines[:, None] * profile * 5000.0, flat)
    assert (optics.transpose, optics.slit, optics.fibres) == (False, None, 45)


def test_gain_and_read_noise_of_pairs() -> None:
    one, other = made.raw(made.ONE, "zero", False, 5), made.raw(made.ONE, "zero", False, 6)
    noise = read_noise_of(one[:, :400], other[:, :400])
    assert noise == pytest.approx(np.hypot(made.NOISE / made.GAIN, 1 / np.sqrt(12)), rel=0.02)
    flats = [made.raw(made.ONE, "flat", False, k)[:, :400] for k in (7, 8)]
    gain, error = gain_of(flats[0], flats[1], (1010.0, 1010.0), noise)
    assert gain == pytest.approx(made.GAIN, abs=4 * error)
    assert error < 0.02
    # a second flat of another level of the bias, and cosmic rays in it, change nothing
    other = flats[1].astype(float) + 25.0
    other[::37, ::41] += 3000.0
    assert gain_of(flats[0], other, (1010.0, 1035.0), noise)[0] == pytest.approx(made.GAIN, abs=4 * error)
    assert np.isnan(gain_of(one[:, :400], other[:, :400], (1010.0, 1010.0), noise)[0])
    assert np.isnan(read_noise_of(np.full((9, 9), 65535), np.full((9, 9), 65535)))


def _checked(proposal: Proposal, path: Path) -> dict[str, Any]:
    path.write_text(proposal.text)
    load_instrument(path)
    loaded: dict[str, Any] = yaml.safe_load(proposal.text)
    return loaded


@pytest.mark.parametrize("name", READOUTS)
@pytest.mark.parametrize("transpose", [False, True], ids=["along y", "along x"])
def test_a_whole_description(tmp_path: Path, name: str, transpose: bool) -> None:
    files = made.write_set(tmp_path, READOUTS[name], transpose)
    proposal = propose("bench", files)
    data = _checked(proposal, tmp_path / "bench.yaml")
    assert data["files"]["patterns"][0] == "x{expid:4d}.fits"
    assert data["orientation"]["transpose"] is transpose
    assert data["site"]["longitude_deg"] == -110.6
    assert [r.flavor for r in proposal.rows] == [k for k, _ in made.SET]
    assert [r.expid for r in proposal.rows] == [str(31 + k) for k in range(6)]
    assert not any(r.problem for r in proposal.rows)
    amps = data["layouts"][0]["amplifiers"]
    assert set(amps) == set(READOUTS[name].data)
    for amp in amps.values():
        assert amp["gain"] == pytest.approx(made.GAIN, rel=0.04)  # few cells on so small a detector
        assert amp["read_noise"] == pytest.approx(made.NOISE, rel=0.06)
    assert data["apertures"]["count"] > 20
    reading = FitsReader(load_instrument(tmp_path / "bench.yaml")).read(files[-1], "bench")
    assert reading.tags["flavor"] == "science"


@pytest.mark.parametrize(
    ("flavor", "words"),
    [
        ("zero", ["BIAS", "Zero", "zro", "OsirisBias"]),
        ("dark", ["DARK", "drk"]),
        ("arc", ["Arcs", "COMP", "WAVE,LAMP", "arclamp", "Line", "OsirisCalibrationLamp", "comparison"]),
        ("flat", ["Dome Flat", "FLAT,LAMP", "flatlamp", "LAMPFLAT", "DmeFlat", "twi"]),
        ("science", ["OBJECT", "STD", "sky", "SPECTRUM"]),
    ],
)
def test_words_of_observatories(tmp_path: Path, flavor: str, words: list[str]) -> None:
    for k, word in enumerate(words):
        hdu = fits.PrimaryHDU(np.zeros((40, 40), np.uint16))
        hdu.header.update({"IMAGETYP": word, "EXPTIME": 0.0 if flavor == "zero" else 5.0})
        hdu.writeto(tmp_path / f"a{k}.fits")
    found = load_examples(sorted(tmp_path.glob("*.fits")), Unsure())
    assert {word: e.flavor for word, e in zip(words, found, strict=True)} == dict.fromkeys(words, flavor)


@pytest.mark.parametrize(
    ("names", "pattern"),
    [
        (["b1.fits.gz", "b24.fits.gz"], "b{expid:d}.fits.gz"),
        (["r0001.fits", "r0124.fits"], "r{expid:4d}.fits"),
        (["LB.20160109.12345.fits", "LB.20160109.12399.fits"], "LB.*.{expid:5d}.fits"),
        (["N20190101S0123.fits", "N20190101S0124.fits"], "N*S{expid:4d}.fits"),
        (["FORS2.2018-04-10T03:22:11.123.fits", "FORS2.2018-04-10T03:29:41.777.fits"], "regex:FORS2"),
    ],
)
def test_names_of_observatories(names: list[str], pattern: str) -> None:
    proposal = propose_names(names, Unsure())
    first = proposal.files["patterns"][0]
    assert first.startswith(pattern)
    assert proposal.numbered
    assert all(compile_pattern(first).search(n) for n in names)


def test_an_hdu_for_each_amplifier(tmp_path: Path) -> None:
    """Two images side by side, each with its overscan, and no word on amplifiers in one header."""
    paths = []
    for k, (kind, exptime) in enumerate(made.SET):
        whole = made.raw(made.SIDE, kind, False, 50 + k)
        left, right = np.hstack([whole[:, :300], whole[:, 600:630]]), np.hstack([whole[:, 300:600], whole[:, 630:660]])
        primary = fits.PrimaryHDU()
        primary.header.update({"EXPTIME": exptime, "OBSTYPE": kind.upper(), "DATE-OBS": f"2020-03-04T0{k}:10:00"})
        images = [fits.ImageHDU(left, name="IM1"), fits.ImageHDU(right, name="IM2")]
        if k % 2:  # as some programs write them
            images[0].header["GAIN"] = images[1].header["GAIN"] = 1.5
        paths.append(tmp_path / f"m{k}.fits")
        fits.HDUList([primary, *images]).writeto(paths[-1])
    proposal = propose("two", paths)
    data = _checked(proposal, tmp_path / "two.yaml")
    amps = data["layouts"][0]["amplifiers"]
    assert {name: amp["hdu"] for name, amp in amps.items()} == {"IM1": "IM1", "IM2": "IM2"}
    assert {amp["data"] for amp in amps.values()} == {"[1:300,:]"}
    assert {amp["overscan"] for amp in amps.values()} == {"[301:330,:]"}
    assert [amp["gain"] for amp in amps.values()] == pytest.approx([made.GAIN] * 2, rel=0.05)
    assert any("taken for the amplifiers of one camera" in s for s in proposal.unsure)
    reading = FitsReader(load_instrument(tmp_path / "two.yaml")).read(paths[2], "two")
    assert reading.tags["image_shape"] == "200,600"


def test_what_the_user_knows_is_taken(tmp_path: Path) -> None:
    hints = Hints(longitude=10.5, camera="red", dispersion=1.1, centre=5100.0, lamps=("Ne",), apertures=7, flip=True)
    data = _checked(propose("bench", made.write_set(tmp_path, made.ONE), hints), tmp_path / "b.yaml")
    assert data["site"]["longitude_deg"] == 10.5
    assert data["layout"]["camera"] == "red"
    assert data["spectra"] == {"dispersion": 1.1, "centre": 5100.0, "lamps": ["Ne"]}
    assert data["apertures"]["count"] == 7
    assert data["orientation"]["flip_y"] is True


def test_what_is_not_certain_is_said_in_the_file_and_to_the_user(tmp_path: Path) -> None:
    files = made.write_set(tmp_path, made.ONE)
    proposal = propose("bench", [files[5]])
    assert any("gain of amplifier A is a guess" in s for s in proposal.unsure)
    assert any("orientation" in s for s in proposal.unsure)
    assert all(f"# unsure: {s}" in proposal.text for s in proposal.unsure)


def test_broken_and_foreign_files_are_left_out_with_the_reason(tmp_path: Path) -> None:
    files = made.write_set(tmp_path, made.ONE)
    cut, text, small = tmp_path / "x0090.fits", tmp_path / "x0091.fits", tmp_path / "x0092.fits"
    cut.write_bytes(files[0].read_bytes()[:-5000])
    text.write_text("no FITS file")
    fits.PrimaryHDU(np.zeros((4, 4), np.uint16)).writeto(small)
    other = tmp_path / "x0093.fits"
    fits.PrimaryHDU(np.zeros((64, 64), np.uint16)).writeto(other)
    proposal = propose("bench", [*files, cut, text, small, other, tmp_path / "absent.fits"])
    assert len(proposal.rows) == len(files)
    assert len(proposal.left_out) == 5
    for name in ("x0090.fits", "x0091.fits", "x0092.fits", "x0093.fits", "absent.fits"):
        assert any(name in s for s in proposal.left_out)
    with pytest.raises(BadData, match="none of the files can be used: .*x0091"):
        propose("bench", [text])
    with pytest.raises(BadConfig, match="is no name of an instrument"):
        propose("a b", files)


def _sections(path_or_name: str | Path) -> dict[str, tuple[Section, Section | None]]:
    """Data and overscan by amplifier, in the layout of an instrument, for the shape of Kast."""
    (layout,) = load_instrument(path_or_name).layouts

    def whole(text: object) -> Section:
        return Section.parse(str(text).replace(",:]", ",1:350]"))

    return {n: (whole(s.data[0]), whole(s.overscan[0])) for n, s in layout.specs().items()}


def test_kast_blue_is_described_as_by_hand(shared_data: Path, tmp_path: Path) -> None:
    files = sorted((shared_data / "kast_blue").glob("b*.fits.gz"))
    proposal = propose("new", files, Hints(camera="blue"))
    data = _checked(proposal, tmp_path / "new.yaml")
    assert _sections(tmp_path / "new.yaml") == _sections("kast_blue")
    amps: Mapping[str, Any] = data["layouts"][0]["amplifiers"]
    # INDEX.md of the data: gain 1.205 and 1.243
    assert amps["L"]["gain"] == pytest.approx(1.205, rel=0.05)
    assert amps["R"]["gain"] == pytest.approx(1.243, rel=0.05)
    assert amps["L"]["read_noise"] == pytest.approx(3.44, rel=0.05)
    assert amps["R"]["read_noise"] == pytest.approx(3.36, rel=0.05)
    assert data["orientation"] == {"transpose": True, "flip_y": False}
    assert data["apertures"]["count"] == pytest.approx(61, abs=1)
    assert data["spectra"]["lamps"] == ["Hg", "Cd", "He"]
    flavors = {r.file: r.flavor for r in proposal.rows}
    by_hand = FitsReader(load_instrument("kast_blue"))
    assert flavors == {f.name: by_hand.peek(f).flavor for f in files}


def test_virus_files_of_amplifiers(shared_data: Path, tmp_path: Path) -> None:
    files = sorted((shared_data / "virus_raw").glob("*.fits.gz"))
    proposal = propose("virus_new", files)
    data = _checked(proposal, tmp_path / "v.yaml")
    assert data["layouts"][0]["each"] == {"data": "DATASEC", "overscan": "BIASSEC", "gain": "GAIN", "read_noise": "RDNOISE"}
    assert [(r.camera, r.flavor) for r in proposal.rows] == [("053LU", "zero"), ("053RL", "zero")]
    assert not proposal.findings  # two amplifiers are no pair of zeros


def test_desi_files_by_their_headers(tmp_path: Path) -> None:
    from quicklook.sim import plan_exposure, sim_instruments, simulate_night

    plan = [plan_exposure(f, 100 + k) for k, f in enumerate(("zero", "arc", "flat", "science"))]  # type: ignore[arg-type]
    simulate_night(tmp_path, plan, sim_instruments(("r0",), scale="tiny", seed=3))
    files = sorted(tmp_path.glob("raw/**/desi-*.fits.fz"))
    proposal = propose("desi_new", files)
    data = _checked(proposal, tmp_path / "d.yaml")
    assert data["layout"]["camera_hdus"] == "[R][0-9]"
    assert data["layouts"][0]["each"]["overscan"] == "BIASSEC{amp}"
    assert [r.flavor for r in proposal.rows] == ["zero", "arc", "flat", "science"]
    assert {r.camera for r in proposal.rows} == {"r0"}
    assert data["orientation"]["transpose"] is False
