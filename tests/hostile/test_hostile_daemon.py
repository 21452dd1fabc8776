"""A daemon whose raw folder holds all hostile files at once: it lives, refuses or judges each, and takes the good one after them."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path

import pytest
from corpus import GOOD_FILE, HostileFile, fits, hostile_files

from quicklook.core.errors import BadConfig
from quicklook.core.events import Event
from quicklook.service.daemon import Daemon, journal_path
from quicklook.service.journal.journal import Journal
from quicklook.service.site import load_site

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")


def daemon(folder: Path) -> Daemon:
    options = {
        "instrument": "desi", "raw": str(folder / "raw"), "out": str(folder / "out"), "plots": False, "sinks": {"files": {}},
        "work": {"executor": "inline"}, "watch": {"settle_s": 0.0, "companion_s": 0, "patience_s": 0.2, "rescan_s": 0.5, "mode": "polling"},
    }  # fmt: skip
    return Daemon(load_site(None, options=options))


def work(running: Daemon, *, least_s: float, most_s: float = 60.0) -> None:
    """Turn until nothing is left to do, for `least_s` seconds at least."""
    start = time.monotonic()
    while time.monotonic() - start < least_s or not running.idle:
        running.step()
        assert time.monotonic() - start < most_s, "the daemon does not come to an end"


def journal(folder: Path) -> list[Event]:
    log = Journal(journal_path(folder / "out"), time.time_ns)
    try:
        return list(log.events(0, limit=100_000))
    finally:
        log.close()


def run(folder: Path) -> list[Event]:
    running = daemon(folder)
    running.start()
    try:
        work(running, least_s=0.5)
    finally:
        running.stop()
    return journal(folder)


@pytest.fixture(scope="module")
def events(tmp_path_factory: pytest.TempPathFactory) -> list[Event]:
    """All events of one life of a daemon."""
    folder = tmp_path_factory.mktemp("daemon")
    for number, file in enumerate(hostile_files()):
        file.write(folder / "raw" / f"{number:03d}")
    odd = os.fsencode(folder / "raw") + b"/\xff/20220101/00000101"
    os.makedirs(odd)
    Path(os.fsdecode(odd + b"/desi-00000101.fits")).write_bytes(fits())
    running = daemon(folder)
    running.start()
    try:
        work(running, least_s=1.5)
        late = HostileFile(name="late", file="desi-00000101.fits", content=lambda: fits(head={"SEQUENCE": "late"}))
        late.write(folder / "raw" / "late")
        work(running, least_s=1.0)
    finally:
        running.stop()
    return journal(folder)


def test_every_file_is_refused_or_judged(events: list[Event]) -> None:
    kinds = Counter(e.kind for e in events)
    assert kinds["refused"] > 30
    assert kinds["seen"] > 80
    assert kinds["verdict"] == kinds["seen"]  # one camera a file, and none of them was forgotten
    assert kinds["failed"] == kinds["sink_gave_up"] == 0


def test_what_is_refused_says_why(events: list[Event]) -> None:
    for event in events:
        if event.kind == "refused":
            failure = event.payload["failure"]
            assert failure["error"] in ("BadData", "NotReadyYet"), failure
            assert len(failure["message"]) > 20
            assert failure["what_next"]


def test_only_what_may_be_good_is_normal(events: list[Event]) -> None:
    may_be = sum(f.good for f in hostile_files()) + 1
    normal = [e for e in events if e.kind == "verdict" and e.payload["status"] == "NORMAL"]
    assert 1 <= len(normal) <= may_be


def test_the_good_file_that_came_last_is_normal(events: list[Event]) -> None:
    last = [e for e in events if e.kind == "verdict"][-1]
    assert last.payload["status"] == "NORMAL", last.payload["reasons"]


def test_the_journal_has_no_gap_and_is_strict_json(events: list[Event]) -> None:
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    for event in events:
        json.loads(event.model_dump_json(), parse_constant=lambda c: pytest.fail(f"{c} in {event.topic}"))
        event.typed()


def test_it_starts_again_on_the_same_folder(tmp_path: Path) -> None:
    """What killed it once would kill it at every start: a number too long for the journal, a name that is no text."""
    names = ("a name of a number beyond 64 bits", "a name that is no UTF-8", "a pipe", "a directory", "NAXIS1 of two thousand million")
    for number, name in enumerate(names):
        next(f for f in hostile_files() if f.name == name).write(tmp_path / "raw" / str(number))
    GOOD_FILE.write(tmp_path / "raw" / "good")
    run(tmp_path)
    verdicts = [e.payload["status"] for e in run(tmp_path) if e.kind == "verdict"]
    assert verdicts == ["NORMAL"]


def test_a_verdict_stands_though_its_files_cannot_be_written(tmp_path: Path) -> None:
    """Somebody has put a file where the folder of products should be."""
    GOOD_FILE.write(tmp_path / "raw")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "live").write_text("in the way")
    events = {e.kind: e.payload for e in run(tmp_path)}
    assert events["verdict"]["status"] == "NORMAL"
    assert events["unit_verdict"]["status"] == "NORMAL", events["unit_verdict"]["reasons"]
    assert "may not be written" in events["failed"]["failure"]["message"]


@pytest.mark.parametrize(
    "what", ["a file in the way", "no place for folders", "a lock that is a folder", "a journal that is none", "a journal that is a folder"]
)
def test_an_output_folder_that_cannot_be_used(tmp_path: Path, what: str) -> None:
    GOOD_FILE.write(tmp_path / "raw")
    out = tmp_path / "out"
    if what == "a file in the way":
        out.write_text("x")
    elif what == "no place for folders":
        out.symlink_to("/proc/nowhere")
    elif what == "a journal that is none":
        out.mkdir()
        (out / "journal.sqlite").write_bytes(b"garbage" * 1000)
    else:
        (out / ("daemon.lock" if "lock" in what else "journal.sqlite")).mkdir(parents=True)
    running = daemon(tmp_path)
    with pytest.raises(BadConfig, match="cannot be used as"):
        running.start()


def test_a_second_daemon_is_refused(tmp_path: Path) -> None:
    GOOD_FILE.write(tmp_path / "raw")
    first = daemon(tmp_path)
    first.start()
    try:
        with pytest.raises(BadConfig, match="another daemon works in"):
            daemon(tmp_path).start()
    finally:
        first.stop()
