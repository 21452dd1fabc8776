"""Files that are not what they should be: a clear error, UNKNOWN or ALARM; no traceback, and never NORMAL."""

from __future__ import annotations

import dataclasses
import json
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from corpus import GOOD_FILE, HostileFile, compressed, fits, hostile_files, primary
from hostile_answers import CRASH, answer

from quicklook.api import Session, open_session
from quicklook.core.errors import QuicklookError
from quicklook.core.status import Status

# what numpy says of infinities goes to the log of a daemon; here it must not become the failure of a QA
pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def cases() -> Iterator[Any]:
    for file in hostile_files():
        yield pytest.param(file, id=file.name.encode("ascii", "replace").decode())


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Session:
    return open_session(instrument="desi", out=tmp_path_factory.mktemp("out"))


def judge(session: Session, path: Path) -> tuple[Status | None, str]:
    """The verdict of the only camera and all that was said; None where an error of ours was raised."""
    try:
        cameras = session.peek(path).cameras
        results = [session.process("raw", path, camera).outcome.result for camera in cameras]
    except QuicklookError as error:
        return None, str(error)
    for result in results:
        json.loads(result.model_dump_json(), parse_constant=lambda c: pytest.fail(f"{c} in the JSON"))
    said = [r for result in results for r in result.reasons]
    return (results[0].status, "\n".join(said)) if results else (None, "no camera")


def test_the_corpus_is_not_empty() -> None:
    assert len(hostile_files()) > 150
    assert sum(f.good for f in hostile_files()) < 15


@pytest.mark.parametrize("content", [fits, compressed], ids=["plain", "compressed"])
def test_the_file_that_all_are_made_of_is_good(session: Session, tmp_path: Path, content: Any) -> None:
    """So that what is told of the others is told because of what was done to them."""
    good = dataclasses.replace(GOOD_FILE, content=content, file="desi-00000101.fits" + (".fz" if content is compressed else ""))
    assert judge(session, good.write(tmp_path)) == (Status.NORMAL, "")
    shown = answer("run", "raw", good.write(tmp_path), "--instrument", "desi", "--out", tmp_path / "out", "--no-plots")
    assert (shown.code, "NORMAL" in shown.output) == (0, True), shown.output


@pytest.mark.parametrize("file", list(cases()))
def test_the_api_never_believes_it(session: Session, tmp_path: Path, file: HostileFile) -> None:
    path = file.write(tmp_path)
    start = time.monotonic()
    status, said = judge(session, path)
    assert time.monotonic() - start < 60  # seconds; each takes some hundredths (the first compiles kernels): nothing huge was read or allocated
    assert status is not Status.NORMAL or file.good
    assert said or file.good, "it gives no reason"
    assert re.search(file.says, said), said


@pytest.mark.parametrize("file", [pytest.param(f, id=f.name.encode("ascii", "replace").decode()) for f in hostile_files()])
def test_the_command_answers_in_words(tmp_path: Path, file: HostileFile) -> None:
    path = file.write(tmp_path)
    shown = answer("run", "raw", "--instrument", "desi", "--out", tmp_path / "out", "--no-plots", "--", path)
    assert shown.code != CRASH, shown.output
    assert "Traceback" not in shown.output
    assert shown.output.strip()
    for written in (tmp_path / "out").rglob("*.json"):
        json.loads(written.read_text(), parse_constant=lambda c: pytest.fail(f"{c} in {written.name}"))
    if file.good:
        assert shown.code in (0, 1, 2, 3)
    else:
        assert shown.code in (1, 2, 3) or "WARNING" in shown.output, shown.output
        assert "● NORMAL   " not in shown.output


def test_several_files_get_the_worst_of_their_verdicts(tmp_path: Path) -> None:
    good = GOOD_FILE.write(tmp_path / "a")
    bad = next(f for f in hostile_files() if f.name == "empty").write(tmp_path / "b")
    shown = answer("run", "raw", good, bad, "--instrument", "desi", "--out", tmp_path / "out", "--no-plots", "-q")
    assert shown.code == 3
    assert "NORMAL" in shown.output
    assert "UNKNOWN" in shown.output


@pytest.mark.parametrize("name", ["NaN everywhere", "constant", "infinite everywhere"])
def test_plots_of_hostile_pixels_are_drawn(tmp_path: Path, name: str) -> None:
    file = next(f for f in hostile_files() if f.name == name)
    shown = answer("run", "raw", file.write(tmp_path), "--instrument", "desi", "--out", tmp_path / "out")
    assert shown.code == 1, shown.output
    assert list((tmp_path / "out").rglob("*.png"))


def companions() -> dict[str, bytes | None]:
    from astropy.io import fits as astropy_fits

    sim = fits()
    table = astropy_fits.BinTableHDU.from_columns([astropy_fits.Column("FIBER", "J", array=[1, 1, 2])], name="FIBERMAP")
    import io

    twice = io.BytesIO()
    astropy_fits.HDUList([astropy_fits.PrimaryHDU(), table]).writeto(twice)
    return {
        "absent": None,
        "empty": b"",
        "no FITS": b"hello",
        "cut": twice.getvalue()[:3000],
        "an image": sim,
        "a fibre twice": twice.getvalue(),
    }


@pytest.mark.parametrize("what", ["absent", "empty", "no FITS", "cut", "an image", "a fibre twice", "a directory"])
def test_a_companion_that_is_broken_is_never_normal(session: Session, tmp_path: Path, what: str) -> None:
    """A science frame whose fibre map is no fibre map."""
    science = HostileFile(name="science", content=lambda: fits(flavor="science", head=primary("science")))
    path = science.write(tmp_path)
    beside = path.with_name("fibermap-00000101.fits")
    if what == "a directory":
        beside.mkdir()
    elif (content := companions()[what]) is not None:
        beside.write_bytes(content)
    status, said = judge(session, path)
    assert status in (Status.UNKNOWN, Status.ALARM), said
    assert "companion" in said or "fibermap" in said, said
