"""`quicklook calib`: list, show, add, check; and what a verdict says of the calibrations of its frame."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from inprocess import told as quicklook

from quicklook.io.calib import CalibFolder
from quicklook.sim import plan_exposure, sim_instruments, write_calibrations, write_exposure

CAMERAS = sim_instruments(("r0",), scale="tiny", seed=5)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("made")
    write_calibrations(folder, CAMERAS)
    write_exposure(folder, plan_exposure("zero", 100), CAMERAS)
    return folder


def simulated(made: Path, kind: str) -> Path:
    return made / "calib" / "spec" / "sm4" / f"{kind}-r0.fits"


@pytest.fixture
def filled(made: Path, tmp_path: Path) -> Path:
    """A working folder with an index of four calibrations, made by the command."""
    rows = [
        ("bias", ["--from", "2021-12-30", "--night", "20211230", "--made-from", "14,15,16,17,18,19,20", "--comment", "zeros of the afternoon"]),
        ("dark", ["--from", "20210101", "--to", "20211231"]),
        ("pixflat", ["--default", "--when", "detector=SIM-R0", "--stale-days", "365"]),
        ("mask", ["--serial", "CCD-7"]),
    ]
    (tmp_path / "like.yaml").write_text("instrument: desi\n")
    like = ["--like", next((made / "raw").rglob("*.fits.fz")), "--site", "like.yaml"]
    for kind, more in rows:
        code, said = quicklook("calib", "add", simulated(made, kind), "--calib", "calib", "--kind", kind, "--camera", "r0", *more, *like, cwd=tmp_path)
        assert (code, said) == (0, f"added {kind} for r0: {kind}-r0.fits\n")
    return tmp_path


def test_list(filled: Path) -> None:
    code, said = quicklook("calib", "list", "--calib", "calib", "--night", "20220101", cwd=filled)
    assert code == 0
    assert "3 of 4 calibrations" in said
    row = next(line for line in said.splitlines() if "bias-r0" in line)
    assert [cell.strip() for cell in row.strip("│").split("│")] == [
        "bias", "r0", "from 20211230", "good", "2", "14, 15, 16, 17, 18, 19, ... (7)", "bias-r0.fits",
    ]  # fmt: skip
    assert "any night, default" in said
    assert "r0, serial CCD-7" in said
    code, said = quicklook("calib", "list", "--calib", "calib", "--kind", "dark", "--camera", "r0", "--json", cwd=filled)
    listed = json.loads(said)
    assert [(e["kind"], e["valid_to"], e["age_days"] > 0) for e in listed] == [("dark", 20211231, True)]


def test_show_one(filled: Path) -> None:
    code, said = quicklook("calib", "show", "pixflat-r0.fits", "--calib", "calib", cwd=filled)
    assert code == 0
    shown = dict(line.split(None, 1) for line in said.splitlines())
    assert (shown["kind"], shown["stale_days"], shown["finite_fraction"]) == ("pixflat", "365.0", "1")
    assert 0.99 < float(shown["median"]) < 1.01
    (filled / "calib" / "pixflat-r0.fits").write_bytes(b"gone")
    code, said = quicklook("calib", "show", "pixflat-r0.fits", "--calib", "calib", cwd=filled)
    assert code == 1
    assert "cannot be used" in said


def test_show_what_a_frame_would_get(filled: Path, made: Path) -> None:
    code, said = quicklook("calib", "show", "dark", "--calib", "calib", "--camera", "r0", "--night", "20220101", cwd=filled)
    assert code == 1
    assert "there is none; `quicklook calib" in said
    assert "dark-r0.fits: is valid 20210101 to 20211231" in said
    code, said = quicklook("calib", "show", "bias", "--calib", "calib", "--camera", "r0", "--night", "2022-01-01", cwd=filled)
    assert code == 0
    assert "bias-r0.fits (valid on it, 2 days old)" in said
    raw = next((made / "raw").rglob("*.fits.fz"))
    like = ("--like", raw, "--instrument", "desi", "--camera", "r0")
    code, said = quicklook("calib", "show", "pixflat", "--calib", "calib", *like, cwd=filled)
    assert code == 0
    assert "pixflat-r0.fits (the default)" in said
    code, said = quicklook("calib", "show", "mask", "--calib", "calib", *like, "--when", "serial=ccd-7", cwd=filled)
    assert (code, "chosen" in said) == (0, True)


def test_show_names_none_where_it_hangs_on_what_is_not_stated(filled: Path) -> None:
    """The file with the serial number would go before the other; the bad one, the one of another year and the default would not."""
    with (filled / "calib" / "calib.yaml").open("a") as f:
        f.write("  - {kind: bias, path: a.fits, camera: r0, valid_from: 20211231, when: {specid: '4'}}\n")
        f.write("  - {kind: pixflat, path: b.fits, camera: r0, quality: bad, when: {object: x}}\n")
        f.write("  - {kind: pixflat, path: c.fits, camera: r0, default: true}\n")
    words = ("calib", "show", "bias", "--calib", "calib", "--camera", "r0", "--night")
    code, said = quicklook(*words, "20220101", cwd=filled)
    assert (code, "chosen" in said) == (1, False)
    assert "it hangs on specid of the frame, which is not stated: give --like FILE, or --when specid=VALUE" in said
    assert "also possible calib/bias-r0.fits" in said
    for more, chosen in ((("20220101", "--when", "specid=4"), "a.fits"), (("20220101", "--when", "specid=5"), "bias-r0.fits"), (("20211230",), "bias-r0.fits")):
        code, said = quicklook(*words, *more, cwd=filled)
        assert code == 0
        assert f"chosen        calib/{chosen}" in said
    code, said = quicklook("calib", "show", "pixflat", "--calib", "calib", "--camera", "r0", "--night", "20220101", "--when", "detector=X", cwd=filled)
    assert (code, "chosen        calib/c.fits" in said) == (0, True)


def test_an_entry_that_is_added_again_is_replaced(filled: Path) -> None:
    words = ("calib", "add", "calib/bias-r0.fits", "--calib", "calib", "--kind", "bias")
    code, said = quicklook(*words, "--to", "20220301", cwd=filled)
    assert (code, said) == (0, "replaced bias for r0: bias-r0.fits (valid_to was None, is 20220301)\n")
    entry = next(e for e in CalibFolder(filled / "calib").entries() if e.kind == "bias")
    assert (entry.night, entry.valid_from, len(entry.made_from)) == (20211230, 20211230, 7)
    assert quicklook(*words, cwd=filled)[1].endswith("(as it was)\n")


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["list"], "which calibrations"),
        (["list", "--calib", "nowhere"], "calibration folder nowhere is not there"),
        (["list", "--calib", "calib", "--night", "tomorrow"], "--night tomorrow: is no night"),
        (["show", "bias", "--calib", "calib"], "for a kind give --camera and --night"),
        (["show", "bis", "--calib", "calib", "--camera", "r0", "--night", "20220101"], "there is no kind of calibration 'bis'"),
        (["show", "bias", "--calib", "calib", "--camera", "r0", "--night", "20220101", "--when", "x"], "write TAG=VALUE"),
        (["show", "bias", "--calib", "calib", "--like", "calib/bias-r0.fits"], "--like needs --instrument"),
        (["add", "calib/bias-r0.fits", "--calib", "calib"], "of which kind is bias-r0.fits"),
        (["add", "calib/bias-r0.fits", "--calib", "calib", "--kind", "bias", "--from", "x"], "is no night"),
        (["check", "--calib", "nowhere"], "is not there"),
    ],
)
def test_what_cannot_be_asked(filled: Path, words: list[str], says: str) -> None:
    code, said = quicklook("calib", *words, cwd=filled)
    assert code == 2
    assert says in said


def test_check(filled: Path) -> None:
    code, said = quicklook("calib", "check", "--calib", "calib", cwd=filled)
    assert code == 0, said
    assert "4 calibrations, 0 of them cannot be used" in said
    assert quicklook("calib", "add", "calib/dark-r0.fits", "--calib", "calib", "--kind", "dark", "--quality", "bad", cwd=filled)[0] == 0
    assert "bad         dark       dark-r0.fits\n" in quicklook("calib", "check", "--calib", "calib", cwd=filled)[1]
    shutil.copy(filled / "calib" / "bias-r0.fits", filled / "calib" / "other.fits")
    raw = bytearray((filled / "calib" / "bias-r0.fits").read_bytes())
    raw[-3000] ^= 4
    (filled / "calib" / "bias-r0.fits").write_bytes(raw)
    code, said = quicklook("calib", "check", "--calib", "calib", cwd=filled)
    assert code == 1
    assert "BROKEN      bias       bias-r0.fits: it is not the file that was added" in said
    assert "not listed  calib/other.fits" in said
    code, said = quicklook("calib", "check", "--calib", "calib", "--json", cwd=filled)
    assert code == 1
    assert [bool(f["wrong"]) for f in json.loads(said)["files"]] == [True, False, False, False]


def test_the_first_of_a_camera_needs_something_that_tells_its_size(made: Path, tmp_path: Path) -> None:
    """A bias that lacks a row is found by a frame, by --raw, by the raw folder of a site; without any nothing is believed."""
    with fits.open(simulated(made, "bias")) as f:
        fits.writeto(tmp_path / "short.fits", f[0].data[:-1])
    (tmp_path / "site.yaml").write_text(f"instrument: desi\nraw: {made / 'raw'}\n")
    words = ("calib", "add", "--calib", "calib", "--kind", "bias", "--camera", "r0")
    raw = next((made / "raw").rglob("*.fits.fz"))
    for file in (tmp_path / "short.fits", simulated(made, "bias")):
        code, said = quicklook(*words, file, cwd=tmp_path)
        assert code == 2
        assert "nothing tells the size of its camera" in said
        assert "Give --like FRAME" in said
    for more in (("--like", raw, "--instrument", "desi"), ("--raw", made / "raw", "--instrument", "desi"), ("--site", "site.yaml")):
        code, said = quicklook(*words, tmp_path / "short.fits", *more, cwd=tmp_path)
        assert code == 2
        assert "pixels, the camera has" in said
        assert quicklook(*words, simulated(made, "bias"), *more, "--calib", f"calib{more[0]}", cwd=tmp_path)[0] == 0
    assert not (tmp_path / "calib" / "calib.yaml").exists()


def test_one_whose_size_nobody_checked_is_shown_as_such(made: Path, tmp_path: Path) -> None:
    words = ("calib", "add", simulated(made, "bias"), "--calib", "calib", "--kind", "bias", "--camera", "r0")
    code, said = quicklook(*words, "--unchecked", cwd=tmp_path)
    assert (code, said) == (0, "added bias for r0: bias-r0.fits\nIt is provisional: its size was never checked against its camera.\n")
    assert "provisional, size never checked" in quicklook("calib", "list", "--calib", "calib", cwd=tmp_path)[1]
    assert "its size was never checked against its camera" in quicklook("calib", "show", "bias-r0.fits", "--calib", "calib", cwd=tmp_path)[1]
    code, said = quicklook("calib", "check", "--calib", "calib", cwd=tmp_path)
    assert (code, "bias-r0.fits: its size was never checked" in said) == (0, True)
    raw = next((made / "raw").rglob("*.fits.fz"))
    code, said = quicklook(*words, "--like", raw, "--instrument", "desi", cwd=tmp_path)
    assert code == 0
    assert "quality was provisional, is good" in said
    assert "size_unchecked was True, is False" in said


def test_check_writes_checksums(made: Path, tmp_path: Path) -> None:
    (tmp_path / "calib").mkdir()
    shutil.copy(simulated(made, "bias"), tmp_path / "calib")
    (tmp_path / "calib" / "calib.yaml").write_text("calibrations:\n  - {kind: bias, path: bias-r0.fits}  # by hand\n")
    code, said = quicklook("calib", "check", "--calib", "calib", "--write", cwd=tmp_path)
    assert (code, "of bias-r0.fits is in the index now" in said) == (0, True)
    assert len(CalibFolder(tmp_path / "calib").entries()[0].sha256) == 64
    assert "# by hand" in (tmp_path / "calib" / "calib.yaml").read_text()


def test_the_folder_of_a_site(filled: Path) -> None:
    (filled / "site.yaml").write_text("instrument: desi\ncalib: calib\n")
    code, said = quicklook("calib", "list", cwd=filled, env={"QUICKLOOK_SITE": "site.yaml"})
    assert (code, "4 of 4" in said) == (0, True)
    code, said = quicklook("calib", "show", "bias", "--site", "site.yaml", "--camera", "R0", "--night", "20220101", cwd=filled)
    assert (code, "chosen" in said) == (0, True)
    (filled / "site.yaml").write_text("instrument: desi\n")
    code, said = quicklook("calib", "check", "--site", "site.yaml", cwd=filled)
    assert (code, "with `calib` in it" in said) == (2, True)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda pixels: np.full_like(pixels, np.nan), "holds no finite pixel"),
        (lambda pixels: np.where(np.arange(pixels.shape[1]) < 0.1 * pixels.shape[1], np.nan, pixels).astype(np.float32), "% of its values are no numbers"),
        (lambda pixels: pixels[:-1], "it has"),
    ],
)
def test_a_bad_one_is_not_added_and_found_at_use(filled: Path, made: Path, change: Any, says: str) -> None:
    """Refused when it is added; put there behind the back of the index, no verdict is NORMAL because of it."""
    raw = next((made / "raw").rglob("*.fits.fz"))
    with fits.open(simulated(made, "bias")) as f:
        bad = change(f[0].data)
    fits.writeto(filled / "bad.fits", bad)
    before = CalibFolder(filled / "calib").entries()
    code, said = quicklook("calib", "add", "bad.fits", "--calib", "calib", "--kind", "bias", "--camera", "r0", "--like", raw, "--instrument", "desi", cwd=filled)
    assert code == 2
    assert says in said
    assert "Nothing was added" in said
    assert CalibFolder(filled / "calib").entries() == before
    assert not (filled / "calib" / "bad.fits").exists()
    shutil.copy(filled / "bad.fits", filled / "calib" / "bias-r0.fits")
    code, said = quicklook("run", "zero", raw, "--instrument", "desi", "--calib", "calib", "--no-plots", cwd=filled)
    assert code == 3, said
    assert "bias-r0.fits cannot be used" in said


def test_a_verdict_says_what_is_stale_and_what_is_lacking(filled: Path, made: Path) -> None:
    """The dark has ended, the pixel flat has no night though it may be a year old at most: a warning each, and what to do."""
    raw = next((made / "raw").rglob("*.fits.fz"))
    code, said = quicklook("run", "raw", raw, "--instrument", "desi", "--calib", "calib", "--no-plots", "-c", "calibrations.ignore=[]", cwd=filled)
    assert code == 0
    assert "▲ WARNING" in said
    said = " ".join(said.split())
    assert "of kind pixflat: pixflat-r0.fits is of an unknown night, it may be 365 days old" in said
    assert "of kind dark: 1 of r0 in" in said
    assert "`quicklook calib build dark --night 20220101 --camera r0 --expid A-B` makes one" in said
    written = json.loads(next((filled / "quicklook-out").rglob("qa-r0-00000100.json")).read_text())
    used = {c["kind"]: c for c in written["provenance"]["calibrations"]}
    assert (used["bias"]["night"], used["bias"]["chosen_as"], used["bias"]["age_days"] > 1) == ("20211230", "valid", True)


def test_validate_looks_at_the_index(filled: Path) -> None:
    words = ("validate", "raw", "--instrument", "desi", "--calib", "calib")
    assert quicklook(*words, cwd=filled)[0] == 0
    with (filled / "calib" / "calib.yaml").open("a") as f:
        f.write("  - {kind: bias, path: x.fits, valid_form: 20220101}\n")
    code, said = quicklook(*words, cwd=filled)
    assert code == 2
    assert "calib.yaml:" in said
    assert "did you mean 'valid_from'" in said


def test_validate_knows_which_kinds_the_daemon_can_take_over(filled: Path) -> None:
    """`traces` is the name of a builder; what it makes is of another kind."""
    site = filled / "site.yaml"
    site.write_text("instrument: desi\ncalib: calib\nadopt: {kinds: [bias, traces]}\n")
    code, said = quicklook("validate", "--site", "site.yaml", cwd=filled)
    assert code == 2
    assert "site.yaml:3 (adopt.kinds): calibrations of kind 'traces' have no form on disk; the builder traces makes pixeltraces" in said
    site.write_text("instrument: desi\ncalib: calib\nadopt: {kinds: [weather]}\n")
    assert "have no form on disk; there are bias" in quicklook("validate", "--site", "site.yaml", cwd=filled)[1]
    site.write_text("instrument: desi\ncalib: calib\nadopt: {kinds: [bias, pixeltraces]}\n")
    assert quicklook("validate", "--site", "site.yaml", cwd=filled)[0] == 0


def test_the_instrument_of_an_entry_is_that_of_the_file(filled: Path, made: Path) -> None:
    (filled / "mine.yaml").write_text("extends: desi\nname: bench7\n")
    words = ("calib", "add", simulated(made, "bias"), "--calib", "other", "--kind", "bias", "--camera", "r0,r1", "--instrument", "./mine.yaml")
    words += ("--raw", made / "raw")
    assert quicklook(*words, cwd=filled)[0] == 0
    entry = CalibFolder(filled / "other").entries()[0]
    assert (entry.instrument, entry.camera) == (("bench7",), ("r0", "r1"))
