"""Calibrations: which one is chosen, and what is refused."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from io_frames import write_plain

from quicklook.ccd.calibs import BadPixelMask, Bias, Dark, KnownFibers, PixelFlat
from quicklook.ccd.mask import PixelMask
from quicklook.core.calibration import CalibrationUsed, NoCalibrations
from quicklook.core.errors import BadConfig, MissingCalibration
from quicklook.core.keys import PartKey, Unit
from quicklook.core.product import Calibration
from quicklook.io import calibfile
from quicklook.io.calib import CalibFolder, DesiCalibTree, open_calibrations

TAGS = {"instrument": "bench", "raw_shape": "10,14", "image_shape": "10,10", "start": "2026-01-10T00:00:00+00:00"}


def part(night: int = 20260110, camera: str = "r0") -> PartKey:
    return PartKey(Unit(night, 1), camera)


def folder_with(tmp_path: Path, index: str) -> CalibFolder:
    (tmp_path / "calib.yaml").write_text("calibrations:\n" + index)
    return CalibFolder(tmp_path)


def image(tmp_path: Path, name: str, value: float = 1.0, shape: tuple[int, int] = (10, 10), **cards: Any) -> Path:
    return write_plain(tmp_path / name, np.full(shape, value, np.float32), cards)


def must(found: tuple[Calibration, CalibrationUsed] | None) -> tuple[Any, CalibrationUsed]:
    assert found is not None
    return found


INDEX = """
- {kind: bias, camera: "*", path: default.fits, default: true}
- {kind: bias, camera: r*, valid_from: 2026-01-01, valid_to: 2026-01-31, path: january.fits, made_from: [3, 4]}
- {kind: bias, camera: [r0, b0], valid_from: 20260105, path: later.fits, quality: provisional}
- {kind: bias, camera: r0, valid_from: 20260106, path: bad.fits, quality: bad}
- {kind: bias, instrument: another, valid_from: 20260107, path: another.fits}
- {kind: bias, when: {detector: SN2}, valid_from: 20260108, path: sn2.fits}
"""


@pytest.mark.parametrize(
    ("night", "camera", "more", "chosen", "alternatives"),
    [
        (20260110, "r0", {}, "later.fits", ["january.fits", "default.fits"]),
        (20260104, "r0", {}, "january.fits", ["default.fits"]),
        (20260110, "r3", {}, "january.fits", ["default.fits"]),
        (20260201, "r3", {}, "default.fits", []),
        (20251231, "z9", {}, "default.fits", []),
        (20260110, "r0", {"detector": "SN2"}, "sn2.fits", ["later.fits", "january.fits", "default.fits"]),
    ],
)
def test_the_newest_valid_one_wins(tmp_path: Path, night: int, camera: str, more: dict[str, str], chosen: str, alternatives: list[str]) -> None:
    for i, name in enumerate(("default", "january", "later", "bad", "another", "sn2")):
        image(tmp_path, f"{name}.fits", i)
    calibration, used = must(folder_with(tmp_path, INDEX).find(Bias, part(night, camera), TAGS | more))
    assert isinstance(calibration, Bias)
    assert Path(used.source).name == chosen
    assert [Path(p).name for p in used.alternatives] == alternatives


def test_what_is_said_of_it(tmp_path: Path) -> None:
    image(tmp_path, "later.fits")
    _, used = must(folder_with(tmp_path, "- {kind: bias, valid_from: 20260105, path: later.fits, quality: provisional}").find(Bias, part(), TAGS))
    assert (used.kind, used.valid_from, used.valid_to, used.quality, used.age_days) == ("bias", "20260105", "", "provisional", 5.0)


def test_nothing_outside_of_its_validity(tmp_path: Path) -> None:
    image(tmp_path, "x.fits")
    folder = folder_with(tmp_path, "- {kind: dark, valid_from: 20260105, valid_to: 20260106, path: x.fits}")
    for night, there in ((20260104, False), (20260105, True), (20260106, True), (20260107, False)):
        assert (folder.find(Dark, part(night), TAGS) is not None) == there
    assert folder.find(Bias, part(20260105), TAGS) is None


def test_every_kind(tmp_path: Path) -> None:
    image(tmp_path, "bias.fits", 3.0, (10, 14), BUNIT="ADU")
    image(tmp_path, "dark.fits", 0.1, BUNIT="electron/s")
    image(tmp_path, "pixflat.fits", 1.0)
    folder = folder_with(tmp_path, "".join(f"- {{kind: {k}, path: {k}.fits}}\n" for k in ("bias", "dark", "pixflat", "mask")))
    mask = np.zeros((10, 10), np.int32)
    mask[0, :4] = [1, PixelMask.HOT | PixelMask.COSMIC, 1 << 20, (1 << 9) | PixelMask.DEAD]
    write_plain(tmp_path / "mask.fits", mask)
    assert must(folder.find(Bias, part(), TAGS))[0].pixels.shape == (10, 14)
    assert must(folder.find(Dark, part(), TAGS))[0].pixels[0, 0] == np.float32(0.1)
    assert must(folder.find(PixelFlat, part(), TAGS))[0].pixels.dtype == np.float32
    found = must(folder.find(BadPixelMask, part(), TAGS))[0].pixels
    assert found.dtype == np.uint16
    assert found[0, :5].tolist() == [1, 2 | 16, 1, 1 | 4, 0]


@pytest.mark.parametrize(
    ("kind", "pixels", "cards", "words"),
    [
        (Bias, np.full((10, 10), np.nan, np.float32), {}, "holds no finite pixel"),
        (Bias, np.ones((10, 13), np.float32), {}, "has 13 x 10 pixels, the camera has 10 x 10 or 14 x 10"),
        (Dark, np.ones((10, 14), np.float32), {}, "has 14 x 10 pixels, the camera has 10 x 10;"),
        (Dark, np.ones((10, 10), np.float32), {"BUNIT": "adu"}, "its unit .BUNIT. is 'adu', it must be electron/s"),
        (PixelFlat, np.ones((10, 10), np.float32), {"BUNIT": "electron"}, "it must be a pure number"),
        (BadPixelMask, np.ones((10, 10), np.float32), {}, "a mask holds whole numbers"),
        (Dark, np.ones((2, 10, 10), np.float32), {}, "has 3 axes"),
    ],
)
def test_what_cannot_be_used(tmp_path: Path, kind: type[Calibration], pixels: Any, cards: dict[str, Any], words: str) -> None:
    write_plain(tmp_path / "x.fits", pixels, cards)
    folder = folder_with(tmp_path, f"- {{kind: {kind.kind}, path: x.fits}}")
    with pytest.raises(MissingCalibration, match=rf"{kind.kind} .*x\.fits cannot be used: .*{words}"):
        folder.find(kind, part(), TAGS)


def test_broken_and_absent_files(tmp_path: Path) -> None:
    folder = folder_with(tmp_path, "- {kind: bias, path: x.fits}")
    with pytest.raises(MissingCalibration, match=r"x.fits cannot be read: No such file"):
        folder.find(Bias, part(), TAGS)
    (tmp_path / "x.fits").write_bytes(b"junk" * 99)
    with pytest.raises(MissingCalibration, match="is no FITS file"):
        folder.find(Bias, part(), TAGS)
    image(tmp_path, "x.fits").write_bytes((tmp_path / "x.fits").read_bytes()[:3000])
    with pytest.raises(MissingCalibration, match="truncated"):
        folder.find(Bias, part(), TAGS)


def test_a_nan_here_and_there_is_no_fault(tmp_path: Path) -> None:
    pixels = np.ones((10, 10), np.float32)
    pixels[3] = np.nan
    write_plain(tmp_path / "x.fits", pixels)
    found, _ = must(folder_with(tmp_path, "- {kind: pixflat, path: x.fits}").find(PixelFlat, part(), TAGS))
    assert np.isnan(found.pixels).sum() == 10


def test_loaded_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = calibfile.CalibrationCache(max_bytes=900)
    monkeypatch.setattr(calibfile, "_CACHE", cache)
    path = image(tmp_path, "x.fits", 1.0)
    folder = folder_with(tmp_path, "- {kind: bias, path: x.fits}\n- {kind: dark, path: y.fits}\n- {kind: pixflat, path: z.fits}")
    first = must(folder.find(Bias, part(), TAGS))[0]
    assert must(folder.find(Bias, part(), TAGS))[0] is first
    image(tmp_path, "x.fits", 2.0)
    os.utime(path, ns=(1, 1))
    assert must(folder.find(Bias, part(), TAGS))[0].pixels[0, 0] == 2.0
    for kind, name in ((Dark, "y.fits"), (PixelFlat, "z.fits")):
        image(tmp_path, name)
        folder.find(kind, part(), TAGS)
    assert sum(n for _, n in cache._kept.values()) <= 900  # two images of 400 bytes


def test_a_changed_index_is_taken_up(tmp_path: Path) -> None:
    image(tmp_path, "x.fits")
    folder = folder_with(tmp_path, "- {kind: dark, path: x.fits}")
    assert folder.find(Bias, part(), TAGS) is None
    (tmp_path / "calib.yaml").write_text("calibrations:\n- {kind: bias, path: x.fits, comment: a new one}\n")
    assert folder.find(Bias, part(), TAGS) is not None


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("- {kind: bias, path: x.fits, valid_form: 20260101}", r"calib.yaml:2 .*did you mean 'valid_from'"),
        ("- {kind: bias, path: x.fits, valid_from: 2026-13-01}", r"calib.yaml:2 .*no date of the calendar"),
        ("- {kind: bias, path: x.fits, valid_from: yesterday}", r"calib.yaml:2 .*is no night"),
        ("- {kind: bias}", r"calib.yaml:2 .*is required"),
        ("- {kind: bias, path: x.fits, valid_from: 2026-01-02, valid_to: 2026-01-01}", r"calib.yaml:2 .*valid_to 20260101 is before valid_from 20260102"),
    ],
)
def test_a_bad_index_is_refused_with_its_line(tmp_path: Path, line: str, words: str) -> None:
    with pytest.raises(BadConfig, match=words):
        folder_with(tmp_path, line)


DESI = """sm4-r:
  V20200101:
    BIAS: spec/sm4/old.fits
    DATE-OBS-BEGIN: '20200101'
    DATE-OBS-END: '20260107'
    DETECTOR: SN-1
  V20260105:
    BIAS: spec/sm4/new.fits
    PSF: spec/sm4/psf.fits
    DATE-OBS-BEGIN: '20260105'
    DATE-OBS-END: None
    DETECTOR: SN-1
  V20260106:
    BIAS: spec/sm4/other.fits
    DATE-OBS-BEGIN: '20260106'
    DATE-OBS-END: '20301231'
    DETECTOR: SN-2
"""


def desi_tree(tmp_path: Path, more: str = "") -> DesiCalibTree:
    folder = tmp_path / "spec" / "sm4"
    folder.mkdir(parents=True)
    (folder / "sm4-r.yaml").write_text(DESI + more)
    for i, name in enumerate(("old", "new", "other")):
        image(folder, f"{name}.fits", i)
    return DesiCalibTree(tmp_path)


def test_a_version_of_a_tree_that_ends_before_it_begins_is_named(tmp_path: Path) -> None:
    more = "  V2026X:\n    BIAS: spec/sm4/old.fits\n    DATE-OBS-BEGIN: '20260301'\n    DATE-OBS-END: '20260201'\n"
    with pytest.raises(BadConfig, match=r"sm4-r\.yaml: V2026X ends \(20260201\) before it begins \(20260301\)"):
        desi_tree(tmp_path, more).entries()


@pytest.mark.parametrize(
    ("night", "detector", "chosen"),
    [
        (20260104, "SN-1", "old"), (20260106, "SN-1", "new"), (20260110, "SN-1", "new"), (20260110, "SN-2", "other"), (20260110, "", "other"),
        (20260104, "SN-2", None), (20190101, "SN-1", None),
    ],
)  # fmt: skip
def test_a_desi_tree(tmp_path: Path, night: int, detector: str, chosen: str | None) -> None:
    tags = {"arm": "r", "specid": "4", "detector": detector, "image_shape": "10,10"}
    found = desi_tree(tmp_path).find(Bias, part(night), tags)
    assert (Path(found[1].source).stem if found else None) == chosen
    assert found is None or found[1].valid_from


TWO = """sm4-r:
  V{0}: {{BIAS: {0}.fits, PSF: psf.fits, {more0}BROKENFIBERS: '{0}', DATE-OBS-BEGIN: '{0}'}}
  V{1}: {{BIAS: {1}.fits, PSF: psf.fits, {more1}BROKENFIBERS: '{1}', DATE-OBS-BEGIN: '{1}'}}
"""


@pytest.mark.parametrize("order", [(20200101, 20211201), (20211201, 20200101)])
def test_versions_of_a_desi_tree_are_not_mixed(tmp_path: Path, order: tuple[int, int]) -> None:
    """Both hold: the later one counts for the known fibres too, and what it leaves out is not taken from the older one."""
    folder = tmp_path / "spec" / "sm4"
    folder.mkdir(parents=True)
    old = order.index(20200101)
    more = {"more0": "", "more1": "", f"more{old}": "DARK: dark.fits, "}
    (folder / "sm4-r.yaml").write_text(TWO.format(*order, **more))
    for name in ("20200101", "20211201", "dark"):
        image(tmp_path, f"{name}.fits", 0)
    tree, tags = DesiCalibTree(tmp_path), {"arm": "r", "specid": "4", "image_shape": "10,10"}
    known, bias = (must(tree.find(kind, part(20220101), tags)) for kind in (KnownFibers, Bias))
    assert known[0].broken == (20211201,)
    assert (known[1].valid_from, Path(bias[1].source).stem) == ("20211201", "20211201")
    assert tree.find(Dark, part(20220101), tags) is None
    assert "dark.fits is of V20200101, which V20211201 replaces" in tree.absence(Dark, part(20220101), tags).why
    assert must(tree.find(KnownFibers, part(20210101), tags))[0].broken == (20200101,)
    assert tree.find(Dark, part(20210101), tags) is not None


def test_a_desi_tree_without_what_is_asked_for(tmp_path: Path) -> None:
    tree = desi_tree(tmp_path)
    assert tree.find(Dark, part(), {"arm": "r", "specid": "4"}) is None
    assert tree.find(Bias, part(), {"arm": "b", "specid": "4"}) is None
    assert tree.find(Bias, part(), {"arm": "r", "specid": "9"}) is None
    assert tree.find(Bias, part(), {"arm": "r"}) is not None
    (tmp_path / "spec" / "sm5").mkdir()
    (tmp_path / "spec" / "sm5" / "sm5-r.yaml").write_text("sm5-r: {}\n")
    with pytest.raises(MissingCalibration, match="no SPECID"):
        tree.find(Bias, part(), {"arm": "r"})


def test_which_form_it_is(tmp_path: Path) -> None:
    assert isinstance(open_calibrations(None), NoCalibrations)
    desi_tree(tmp_path / "desi")
    assert isinstance(open_calibrations(tmp_path / "desi"), DesiCalibTree)
    folder_with(tmp_path, "- {kind: bias, path: x.fits}")
    assert isinstance(open_calibrations(tmp_path), CalibFolder)
    assert isinstance(open_calibrations(tmp_path / "calib.yaml"), CalibFolder)
    with pytest.raises(BadConfig, match="is not there"):
        open_calibrations(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadConfig, match=r"holds neither calib[.]yaml nor a DESI tree"):
        open_calibrations(tmp_path / "empty")


def test_a_kind_that_nobody_can_load(tmp_path: Path) -> None:
    class Odd(Calibration):
        kind = "odd"

    with pytest.raises(MissingCalibration, match="'odd' cannot be loaded"):
        folder_with(tmp_path, "- {kind: odd, path: x.fits}").find(Odd, part(), TAGS)


def test_the_example_is_a_good_index(repo_root: Path, tmp_path: Path) -> None:
    example = (repo_root / "configs" / "calib" / "example" / "calib.yaml").read_text()
    assert open_calibrations(repo_root / "configs" / "calib" / "example").find(Bias, part(), TAGS) is None
    filled = "\n".join(line.removeprefix("# ") for line in example[example.index("# calibrations:") :].splitlines() if line.startswith("# "))
    (tmp_path / "calib.yaml").write_text(filled)
    assert [e.kind for e in CalibFolder(tmp_path).entries()] == ["bias", "mask", "pixflat"]
