"""The log of exposures: kept by a sink, read again, held against the log of a bench."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.stores.explog import ExposureLog
from quicklook.cli.main import app
from quicklook.core.decision import Decision
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.events import Decided, Event, Payload, Seen, UnitDone, draft
from quicklook.core.keys import Unit
from quicklook.core.sink import SinkContext
from quicklook.core.status import Status
from quicklook.io.explog import bench_exposures, explog_path, read_log

NIGHT = 20161125
HEAD = "ObsID\tFile_name\tCCD\tROE\tDATE\tTEST\tExptime\n"


def log_of(folder: Path, expids: list[int], cameras: str = "ROE1_CCD1,ROE1_CCD2", **tags: str) -> ExposureLog:
    sink, seq = ExposureLog(), 0
    sink.open(SinkContext(out=str(folder)))
    for expid in expids:
        same = {"night": NIGHT, "expid": expid, "tag": "live", "revision": 0, "status": Status.NORMAL}
        parts = dict.fromkeys(cameras.split(","), Status.NORMAL)
        told: list[Payload] = [
            Seen(file="f.fits", path=f"/raw/{expid}.fits", size=1, parts=list(parts)),
            UnitDone(**same, tags={"flavor": "zero", "exptime": "0", "start": "2016-11-25T12:00:00", **tags}, reasons=[], parts=parts),
            Decided(
                **same,
                decision=Decision.GO_ON,
                rule="good",
                why="all is\twell\n",
                action="Go on.",
                measured=9,
                expected=9,
                cameras=2,
                cameras_expected=2,
            ),
        ]
        for payload in told:
            seq += 1
            made = draft(payload, unit=Unit(NIGHT, expid))
            for _ in range(2):  # whatever comes again is there once
                assert sink.accept(Event(**made.model_dump(), epoch="e", seq=seq, time=seq)) == []
    return sink


def test_each_verdict_is_a_line(tmp_path: Path) -> None:
    log_of(tmp_path, [100, 101], test="BIAS01")
    rows = read_log(explog_path(tmp_path, "live", NIGHT)).rows
    assert [(r["expid"], r["test"], r["cameras"], r["decision"], r["measured"]) for r in rows] == [
        ("100", "BIAS01", "ROE1_CCD1,ROE1_CCD2", "go_on", "9/9"), ("101", "BIAS01", "ROE1_CCD1,ROE1_CCD2", "go_on", "9/9"),
    ]  # fmt: skip
    assert rows[0]["why"] == "all is well"
    assert rows[0]["file"] == "/raw/100.fits"


def test_a_line_after_one_that_was_cut_off_is_whole(tmp_path: Path) -> None:
    log_of(tmp_path, [100])
    path = explog_path(tmp_path, "live", NIGHT)
    path.write_text(path.read_text() + "20161125\t999\t0")
    log_of(tmp_path, [101])
    found = read_log(path)
    assert [r["expid"] for r in found.rows] == ["100", "101"]
    assert found.wrong == (f"{path.name}:3 has 3 columns, its names are 15",)


def test_the_log_of_a_bench_that_grows(tmp_path: Path) -> None:
    path = tmp_path / "EXP_LOG_251116.txt"
    path.write_text(HEAD + "100\ta\tCCD1\tROE1\td\tB\t0\n100\tb\tCCD2\tROE1\td\tB\t0\n101\tc\tCCD1\tRO")
    assert bench_exposures(read_log(path)) == {100: ("ROE1_CCD1", "ROE1_CCD2")}
    for text in ("", "no tabs here\n", "a\tb\n1\t2\n"):
        path.write_text(text)
        with pytest.raises(BadData, match="column"):
            bench_exposures(read_log(path))
    path.write_bytes(b"ObsID\tCCD\n\xff\xfe\t\x00\n12\tx\ty\n")
    assert len(read_log(path).wrong) == 1
    with pytest.raises(BadData, match="cannot be read"):
        read_log(tmp_path)


def test_what_the_bench_has_and_the_daemon_has_not(tmp_path: Path) -> None:
    log_of(tmp_path / "out", [100, 101], "ROE1_CCD1")
    bench = tmp_path / "EXP_LOG_251116.txt"
    bench.write_text(HEAD + "".join(f"{n}\tf\tCCD{c}\tROE1\td\tB\t0\n" for n in (100, 102) for c in (1, 2)))
    out = ["--out", str(tmp_path / "out")]
    shown = CliRunner().invoke(app, ["explog", *out, "--bench", str(bench)])
    assert shown.exit_code == 1
    assert "100: ROE1_CCD2 of EXP_LOG_251116.txt have no verdict here" in shown.output
    assert "102: is in EXP_LOG_251116.txt and has no verdict here" in shown.output
    log_of(tmp_path / "out", [99], "ROE1_CCD1")  # it was judged last
    shown = CliRunner(env={"COLUMNS": "40"}).invoke(app, ["explog", *out])
    assert shown.exit_code == 0
    assert [line.split()[0] for line in shown.output.splitlines()] == ["expid", "99", "100", "101"], "a line for each, in the order of the night"
    with pytest.raises(BadConfig, match="no log of exposures"):
        CliRunner().invoke(app, ["explog", "--out", str(tmp_path / "none")], catch_exceptions=False)


def test_a_decision_after_a_restart_keeps_what_is_known_of_the_exposure(tmp_path: Path) -> None:
    log_of(tmp_path, [100], test="BIAS01")
    sink = ExposureLog()
    sink.open(SinkContext(out=str(tmp_path)))
    card = Decided(
        night=NIGHT, expid=100, tag="live", revision=1, status=Status.ALARM, decision=Decision.STOP, rule="bad", why="bad", action="Stop.",
        measured=8, expected=9, cameras=2, cameras_expected=2,
    )  # fmt: skip
    made = draft(card, unit=Unit(NIGHT, 100), revision=1)
    sink.accept(Event(**made.model_dump(), epoch="e", seq=9, time=9))
    first, second = read_log(explog_path(tmp_path, "live", NIGHT)).rows
    assert (second["cameras"], second["test"], second["file"]) == (first["cameras"], "BIAS01", "/raw/100.fits")
    assert (second["revision"], second["status"], second["measured"], second["why"]) == ("1", "ALARM", "8/9", "bad")


def test_a_number_of_thousands_of_digits_is_no_exposure(tmp_path: Path) -> None:
    path = tmp_path / "EXP_LOG_251116.txt"
    path.write_text(HEAD + "9" * 5000 + "\tf\t1\t1\td\tt\t0\n7\tf\t1\t1\td\tt\t0\n")
    assert list(bench_exposures(read_log(path))) == [7]
