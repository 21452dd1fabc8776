"""The ledger of a night: right when all was done, and it names whatever is not."""

from __future__ import annotations

import json
import os
import shutil
import time
from pathlib import Path

import pytest
from typer.testing import CliRunner

from quicklook.cli.main import app
from quicklook.core.errors import BadConfig, BadData
from quicklook.io.reader import open_reader
from quicklook.service.daemon import Daemon
from quicklook.service.journal.journal import Journal, journal_path
from quicklook.service.journal.ledger import Ledger, latest_night, ledger_of
from quicklook.service.site import load_site
from quicklook.sim import plan_exposure, sim_instruments, write_calibrations, write_exposure

NIGHT = 20220101
CAMERAS = sim_instruments(("b0", "r0"), scale="tiny", seed=3)


def raw_path(folder: Path, expid: int) -> Path:
    return folder / "raw" / str(NIGHT) / f"{expid:08d}" / f"desi-{expid:08d}.fits.fz"


def site_of(folder: Path, **more):
    options = {
        "instrument": "desi",
        "cameras": ["b0", "r0"],
        "raw": str(folder / "raw"),
        "calib": str(folder / "calib"),
        "out": str(folder / "out"),
        "chains": {"_default": "zero"},
        "products": ["preproc"],
        "plots": False,
        "work": {"executor": "inline"},
        "watch": {"settle_s": 0.05, "patience_s": 0.2, "rescan_s": 0.5},
        "sinks": {"files": {}},
        "commands": {"endpoint": ""},
        **more,
    }
    return load_site(None, options=options)


@pytest.fixture(scope="module")
def night(tmp_path_factory) -> Path:
    """A night of two exposures that went well, one that was broken, and numbers that nobody used between them."""
    folder = tmp_path_factory.mktemp("night")
    write_calibrations(folder, CAMERAS)
    for expid in (100, 101, 105):
        write_exposure(folder, plan_exposure("zero", expid, night=NIGHT), CAMERAS)
    broken = raw_path(folder, 105)
    broken.write_bytes(broken.read_bytes()[:6000])
    daemon = Daemon(site_of(folder))
    daemon.start()
    try:
        end = time.monotonic() + 120
        while time.monotonic() < end and not (len(daemon.journal.events(kinds=["unit_verdict", "refused"])) == 3 and daemon.idle):
            daemon.step()
        assert daemon.drain(60)
    finally:
        daemon.stop()
    return folder


@pytest.fixture
def copy(night, tmp_path) -> Path:
    """A copy of the night, as it was copied: paths in the journal are those of the first one."""
    for name in ("raw", "out"):
        shutil.copytree(night / name, tmp_path / name, symlinks=True)
    return tmp_path


def books(folder: Path, raw: Path, *, verify: bool = False, number: int = NIGHT) -> Ledger:
    site = site_of(folder)
    journal = Journal(journal_path(folder / "out"), time.time_ns)
    try:
        return ledger_of(journal, site.out, raw, open_reader(site.instrument), number, "live", verify=verify)
    finally:
        journal.close()


def problems(made: Ledger) -> dict[int, list[str]]:
    return {int(line.unit[-8:]): line.problems for line in made.exposures if line.problems}


def test_what_was_done_is_right_and_what_was_refused_is_named(night):
    made = books(night, night / "raw", verify=True)
    assert problems(made) == {}
    assert [(line.unit, line.expected, line.seen, line.processed, str(line.status)) for line in made.exposures] == [
        (f"{NIGHT}/00000100", ["b0", "r0"], ["b0", "r0"], ["b0", "r0"], "NORMAL"),
        (f"{NIGHT}/00000101", ["b0", "r0"], ["b0", "r0"], ["b0", "r0"], "NORMAL"),
    ]
    assert {line.products for line in made.exposures} == {4}, "a merged QA and an image of each camera"
    (path, why), = made.stray.items()
    assert path.endswith("desi-00000105.fits.fz")
    assert why.startswith("it was refused: ")
    assert not made.reconciled
    assert made.totals["cameras_processed"] == 4
    assert made.totals["problems"] == 1
    assert made.missing_numbers == []
    assert made.raw_files == 3


def test_a_night_without_the_broken_file_is_reconciled(night, copy):
    raw_path(copy, 105).unlink()
    made = books(copy, copy / "raw")
    assert {why for why in made.stray.values()} == {"it was never seen; is the daemon running, and does it watch this folder?"}, "the copy is elsewhere"
    other = books(night, copy / "no_raw_files")
    assert (other.reconciled, other.raw_files, other.gone) == (True, 0, 0)


def test_results_that_are_missing_or_changed(night, copy):
    folder = copy / "out/live/exposures" / str(NIGHT) / "00000100"
    (folder / "qa-r0-00000100.json").unlink()
    (folder / "verdict.json").unlink()
    (folder.parent / "00000101/receipt.json").unlink()
    (folder / "preproc-b0-00000100.fits").unlink()
    other = folder.parent / "00000101" / "preproc-b0-00000101.fits"
    size = other.stat().st_size
    content = bytearray(other.read_bytes())
    content[-1] ^= 1
    other.write_bytes(content)
    made = books(copy, night / "raw", verify=False)
    assert problems(made) == {100: ["verdict.json is not there", "the merged QA of r0 is not there"], 101: ["receipt.json is not there"]}
    assert made.exposures[0].removed == 1, "an image can be made again"
    assert problems(books(copy, night / "raw", verify=True))[101][1:] == ["preproc-b0-00000101.fits is not what was written: its checksum differs"]
    other.write_bytes(content[:-10])
    assert problems(books(copy, night / "raw"))[101][1:] == [f"preproc-b0-00000101.fits has {size - 10} bytes, {size} were written"]


def test_cameras_that_never_came_failed_or_wait(night, copy):
    journal = Journal(journal_path(copy / "out"), time.time_ns)
    with journal.transaction() as connection:
        run = connection.exec_driver_sql
        run("UPDATE units SET expected = '[\"b0\", \"r0\", \"z0\"]' WHERE unit LIKE '%/00000100'")
        run("UPDATE jobs SET state = 'failed', reasons = '[\"UNKNOWN: no sky\"]' WHERE unit LIKE '%/00000100' AND part = 'b0'")
        run("UPDATE jobs SET state = 'open' WHERE unit LIKE '%/00000101' AND part = 'r0'")
        run("UPDATE units SET verdict_ns = NULL WHERE unit LIKE '%/00000101'")
    journal.close()
    made = books(copy, night / "raw")
    assert problems(made) == {
        100: [
            "expected and never seen: z0",
            "failed: b0 (UNKNOWN: no sky); do them again with `quicklook jobs 20220101/00000100 --requeue`",
        ],
        101: ["not done yet: r0", "it has no verdict"],
    }
    journal = Journal(journal_path(copy / "out"), time.time_ns)
    with journal.transaction() as connection:
        connection.exec_driver_sql("UPDATE jobs SET state = 'ignored' WHERE state = 'failed'")
    journal.close()
    assert problems(books(copy, night / "raw"))[100] == ["expected and never seen: z0"], "what a person ignores is no problem"


def test_a_raw_file_that_was_never_seen_or_has_changed(night):
    new = raw_path(night, 103)
    write_exposure(night, plan_exposure("zero", 103, night=NIGHT), CAMERAS)
    old = raw_path(night, 100)
    stat = old.stat()
    try:
        old.touch()
        made = books(night, night / "raw")
        assert {Path(p).name: why.split(";")[0] for p, why in made.stray.items() if "refused" not in why} == {
            new.name: "it was never seen",
            old.name: "it has changed since it was taken",
        }
        assert books(night, night / "raw", number=20220103).stray == {}
    finally:
        os.utime(old, ns=(stat.st_atime_ns, stat.st_mtime_ns))
        shutil.rmtree(new.parent)


def run(*args: str) -> tuple[int, str]:
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["ledger", *args])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.exit_code, done.output


def test_the_command(night, copy):
    where = ["--instrument", "desi", "--raw", str(night / "raw"), "--out", str(night / "out")]
    status, text = run(*where)
    assert status == 1
    assert "Night 20220101, tag live: 2 exposures, 2 with a verdict; 3 raw files." in text
    assert "NOT RECONCILED: 1 problems." in text
    status, text = run(*where, "--json", "--night", str(NIGHT))
    assert (status, Ledger.model_validate(json.loads(text)).totals["problems"]) == (1, 1)
    raw = copy / "raw"
    shutil.rmtree(raw_path(copy, 105).parent)
    shutil.rmtree(raw_path(copy, 100).parent)
    shutil.rmtree(raw_path(copy, 101).parent)
    status, text = run("--instrument", "desi", "--raw", str(raw), "--out", str(night / "out"))
    assert (status, "Reconciled." in text) == (0, True)
    with pytest.raises(BadConfig, match="has no journal"):
        run("--instrument", "desi", "--raw", str(raw), "--out", str(copy / "nowhere"))
    with pytest.raises(BadConfig, match="mount it"):
        run("--instrument", "desi", "--raw", str(copy / "nowhere"), "--out", str(night / "out"))


def test_a_journal_without_an_exposure(tmp_path):
    journal = Journal(tmp_path / "j.sqlite", time.time_ns)
    with pytest.raises(BadData, match="has no exposure"):
        latest_night(journal, "live")
    journal.close()


def test_of_what_was_not_compared_nothing_is_said_to_be_right(night, copy):
    raw_path(copy, 105).unlink()
    journal = Journal(journal_path(copy / "out"), time.time_ns)
    with journal.transaction() as connection:
        connection.exec_driver_sql("DELETE FROM events WHERE kind = 'product' AND part = 'r0'")  # as retention does after a month
    journal.close()
    made = books(copy, copy / "no_raw_files", verify=True)
    assert (made.reconciled, made.compared) == (True, False)
    assert [line.unknown for line in made.exposures] == [["r0"], ["r0"]]
    said = ledger(copy, NIGHT)
    assert said[0] == 3
    assert "the journal has forgotten what was written for 2 cameras" in said[1]
    assert not said[1].rstrip().endswith("Reconciled.")


def test_a_night_of_which_nothing_is_known_and_what_is_no_night(copy):
    code, said = ledger(copy, 20220102)
    assert (code, "NOTHING TO RECONCILE" in said) == (3, True)
    for number in (5, 20220230, -3):
        with pytest.raises(BadData, match="is no night"):
            books(copy, copy / "raw", number=number)


def ledger(folder: Path, night: int) -> tuple[int, str]:
    """Exit status and output of the command, with a folder of raw files that is empty."""
    (folder / "no_raw_files").mkdir(exist_ok=True)
    words = ["--instrument", "desi", "--raw", str(folder / "no_raw_files"), "--out", str(folder / "out"), "--night", str(night)]
    done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["ledger", *words])
    assert done.exception is None or isinstance(done.exception, SystemExit), done.exception
    return done.exit_code, done.output
