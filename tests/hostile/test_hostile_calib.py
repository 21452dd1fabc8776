"""Calibrations that are none, and indexes that are none: refused in words when they are added, listed, checked and used."""

from __future__ import annotations

import re
import time
from pathlib import Path
from typing import Any

import pytest
from corpus import GOOD_FILE, HostileFile, HostileText, fits, hostile_files, hostile_yaml
from hostile_answers import CRASH, Answer, answer

from quicklook.io.calib import CalibFolder

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")

KINDS = ("bias", "mask", "psf", "fiberflat", "fluxcal", "skylines", "fibers")
REFUSED = (
    "empty", "NaN everywhere", "infinite everywhere",
)  # fmt: skip
"""Of these the answer is known: no calibration of any kind can be made of them."""


def name_of(file: HostileFile) -> str:
    return file.name.encode("ascii", "replace").decode()


def add(folder: Path, path: Path, kind: str) -> Answer:
    return answer("calib", "add", "--calib", folder / "calib", "--kind", kind, "--camera", "r0", "--unchecked", "--", path)


def believed(shown: Answer, folder: Path) -> bool:
    """Whether it was added; either way the answer is in words, and the index is whole."""
    assert shown.code in (0, 2), shown.output
    assert "Traceback" not in shown.output
    assert shown.output.strip()
    index = folder / "calib" / "calib.yaml"
    entries = CalibFolder(folder / "calib").entries() if index.exists() else ()
    assert len(entries) == (shown.code == 0)
    left = [p.name for p in (folder / "calib").rglob("*")] if (folder / "calib").exists() else []
    assert not any(name.endswith(".tmp") for name in left)
    return shown.code == 0


@pytest.mark.parametrize("file", [pytest.param(f, id=name_of(f)) for f in hostile_files()])
def test_a_hostile_file_is_no_bias(tmp_path: Path, file: HostileFile) -> None:
    """Either it is refused, or the check finds it in order: many are odd in their headers alone, and their pixels are good."""
    path = file.write(tmp_path)
    start = time.monotonic()
    added = believed(add(tmp_path, path, "bias"), tmp_path)
    assert time.monotonic() - start < 60  # seconds; each takes some hundredths
    assert not (added and file.name in REFUSED)
    if added:
        checked = answer("calib", "check", "--calib", tmp_path / "calib")
        assert checked.code == 0, checked.output


@pytest.mark.parametrize("name", REFUSED)
def test_the_corpus_has_those_that_are_refused(name: str) -> None:
    assert [f.name for f in hostile_files()].count(name) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_a_raw_frame_is_no_calibration_of_another_kind(tmp_path: Path, kind: str) -> None:
    shown = add(tmp_path, GOOD_FILE.write(tmp_path), kind)
    assert believed(shown, tmp_path) == (kind == "bias"), shown.output  # its level is that of a bias; its size is not looked at without a frame


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("content", [b"", b"\0" * 2880, b"SIMPLE", b"broken: [1\n", b"5577 x\n", b"\xff\xfe", b"{}" * 9999], ids=repr)
def test_junk_is_no_calibration_of_any_kind(tmp_path: Path, kind: str, content: bytes) -> None:
    path = tmp_path / "junk.fits"
    path.write_bytes(content)
    assert not believed(add(tmp_path, path, kind), tmp_path) or (kind == "fibers" and content == b"")


@pytest.mark.parametrize("name", ["a: b.fits", "#x.fits", "- .fits", "'q\".fits", "{x}.fits", "ünï.fits", "a\nb.fits", "tab\t.fits", "null", "\udcff.fits"])
def test_names_that_mean_something_in_yaml(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    path.write_bytes(fits())
    if believed(add(tmp_path, path, "bias"), tmp_path):
        assert CalibFolder(tmp_path / "calib").entries()[0].path == name
        assert answer("calib", "check", "--calib", tmp_path / "calib").code == 0
        assert answer("calib", "list", "--calib", tmp_path / "calib").code == 0
    else:
        assert "\n" in name or "\t" in name or "\udcff" in name


@pytest.mark.parametrize("where", ["/dev/zero", "/dev/null", "directory", "fifo", "link to nowhere"])
def test_what_is_no_file(tmp_path: Path, where: str) -> None:
    import os

    path = Path(where) if where.startswith("/") else tmp_path / "x.fits"
    if where == "directory":
        path.mkdir()
    elif where == "fifo":
        os.mkfifo(path)
    elif where == "link to nowhere":
        path.symlink_to(tmp_path / "nowhere")
    shown = add(tmp_path, path, "bias")
    assert shown.code == 2, shown.output
    (tmp_path / "calib").mkdir()
    (tmp_path / "calib" / "calib.yaml").write_text(f"calibrations:\n- {{kind: bias, path: '{path}'}}\n")
    checked = answer("calib", "check", "--calib", tmp_path / "calib")
    assert checked.code == 1, checked.output
    assert "BROKEN" in checked.output
    used = answer("run", "zero", GOOD_FILE.write(tmp_path), "--instrument", "desi", "--calib", tmp_path / "calib", "--out", tmp_path / "o", "--no-plots")
    assert used.code == 3, used.output
    assert re.search(r"bias .* cannot be (used|read)", used.output)


@pytest.mark.parametrize("text", hostile_yaml(), ids=lambda t: t.name)
@pytest.mark.parametrize("command", ["list", "check", "show", "add"])
def test_an_index_that_is_no_configuration(tmp_path: Path, text: HostileText, command: str) -> None:
    (tmp_path / "calib").mkdir()
    (tmp_path / "calib" / "calib.yaml").write_bytes(text.content)
    more: dict[str, list[Any]] = {"show": ["bias", "--camera", "r0", "--night", "20220101"], "add": [GOOD_FILE.write(tmp_path), "--kind", "bias"]}
    shown = answer("calib", command, *more.get(command, []), "--calib", tmp_path / "calib")
    assert shown.code == 2, shown.output
    assert "Traceback" not in shown.output
    assert "calib.yaml" in shown.output
    assert (tmp_path / "calib" / "calib.yaml").read_bytes() == text.content


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ("{kind: bias, path: ../../../../../../../../../../../../etc/passwd}", "no FITS file"),
        ("{kind: bias, path: '.'}", "no regular file"),
        ("{kind: odd, path: x}", "cannot be loaded"),
        ("{kind: bias, path: x.fits, sha256: abc}", "sha256"),
        ("{kind: bias, path: x.fits, stale_days: -1}", "stale_days"),
        ("{kind: bias, path: x.fits, stale_days: .nan}", "stale_days"),
        ("{kind: bias, path: x.fits, camera: '[r'}", "No such file"),
        ("{kind: bias, path: x.fits, when: {a: [1]}}", "text"),
        ("{kind: bias, path: \"x\\u0000.fits\"}", r"calib.yaml:2 .*path"),
    ],
)  # fmt: skip
def test_entries_that_are_odd(tmp_path: Path, entry: str, says: str) -> None:
    (tmp_path / "calib.yaml").write_text(f"calibrations:\n- {entry}\n")
    shown = answer("calib", "check", "--calib", tmp_path)
    assert shown.code in (1, 2), shown.output
    assert shown.code != CRASH
    assert "Traceback" not in shown.output
    assert re.search(says, shown.output), shown.output
