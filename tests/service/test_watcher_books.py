"""Books: a unit that is a folder has arrived when its index and the files that it names are there; and indexes that nobody should believe."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from quicklook.core.errors import BadConfig
from quicklook.core.events import Event
from quicklook.core.keys import Unit
from quicklook.io.instrument import load_instrument
from quicklook.io.reader import open_reader
from quicklook.service.daemon import Daemon
from quicklook.service.site import load_site

CTIME = 1660900000
STREAMS = ("ufm_mv9", "ufm_mv6")


def index_of(name: str, n_files: int = 2) -> dict[str, Any]:
    return {
        "book_id": name, "type": "obs", "subtype": "cmb", "telescope": "satp1", "tube_slot": "st1", "start_time": CTIME + 0.5, "stop_time": CTIME + 9.5,
        "n_samples": 100 * n_files, "stream_ids": list(STREAMS), "detsets": ["mv9", "mv6"], "tags": [], "wafer_slots": ["ws0", "ws1"],
        "sample_ranges": [[100 * i, 100 * (i + 1)] for i in range(n_files)],
    }  # fmt: skip


class Books:
    """A site that waits for books."""

    def __init__(self, folder: Path, **watch: Any) -> None:
        self.raw = folder / "raw"
        self.raw.mkdir(exist_ok=True)
        options = {
            "instrument": "so_book", "raw": str(self.raw), "out": str(folder / "out"), "plots": False, "sinks": {"files": {}}, "work": {"executor": "inline"},
            "watch": {"settle_s": 0.05, "patience_s": 0.3, "companion_s": 0.3, "rescan_s": 0.3, "mode": "inotify", **watch},
        }  # fmt: skip
        self.daemon = Daemon(load_site(None, options=options))
        self.daemon.start()

    def folder(self, n: int = 0) -> Path:
        name = f"obs_{CTIME + n}_satp1_0000011"
        folder = self.raw / "obs" / name[4:9] / name
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def files(self, n: int = 0) -> list[Path]:
        """The data of a book, without its index."""
        folder = self.folder(n)
        paths = [folder / f"{stream}_{i:03d}.g3" for stream in ("D_ufm_mv9", "D_ufm_mv6", "A_ancil") for i in range(2)] + [folder / "M_book.yaml"]
        for path in paths:
            path.write_bytes(b"frames")
        return paths

    def index(self, n: int = 0, content: bytes | None = None) -> None:
        """The index, which is written last."""
        path = self.folder(n) / "M_index.yaml"
        path.write_bytes(yaml.safe_dump(index_of(path.parent.name)).encode() if content is None else content)

    def events(self, kind: str) -> list[Event]:
        return self.daemon.journal.events(limit=10_000, kinds=(kind,))

    def turn(self, until, seconds: float = 60.0) -> None:
        end = time.monotonic() + seconds
        while not until():
            assert time.monotonic() < end, [(e.kind, e.payload) for e in self.daemon.journal.events(limit=200) if e.kind in ("refused", "unit_verdict")]
            self.daemon.step()

    def verdicts(self) -> list[tuple[int, int, str]]:
        return [(Unit.parse(e.unit).expid - CTIME, e.revision, e.payload["status"]) for e in self.events("unit_verdict")]


@pytest.fixture
def books(tmp_path):
    made: list[Books] = []

    def make(**watch: Any) -> Books:
        made.append(Books(tmp_path, **watch))
        return made[-1]

    yield make
    for site in made:
        site.daemon.stop(2)


def test_a_book_is_taken_when_its_index_comes(books):
    site = books()
    site.files()
    scans = site.daemon.watcher._scans.number + 3
    site.turn(lambda: site.daemon.watcher._scans.number >= scans)
    assert not site.events("seen")
    site.index()
    site.turn(site.verdicts)
    assert site.verdicts() == [(0, 0, "NORMAL")]
    (seen,) = site.events("seen")
    assert (seen.payload["parts"], seen.payload["tags"]["flavor"], seen.payload["tags"]["telescope"]) == (["book"], "obs", "satp1")
    assert seen.unit == f"20220819/{CTIME}"  # 1660900000 s is 2022-08-19 09:06:40 UTC, half past four in the morning there


def test_an_index_that_comes_before_its_files_waits_for_them(books):
    site = books(companion_s=60)
    site.index()
    site.turn(lambda: site.daemon._arrivals.waiting)
    assert not site.events("seen")
    site.files()
    site.turn(site.verdicts)
    assert site.verdicts() == [(0, 0, "NORMAL")]


def test_a_file_that_does_not_come_is_an_alarm_until_it_does(books):
    site = books()
    late = next(p for p in site.files() if p.name == "D_ufm_mv6_001.g3")
    late.unlink()
    site.index()
    site.turn(site.verdicts)
    assert site.verdicts() == [(0, 0, "ALARM")]
    reasons = " ".join(site.events("unit_verdict")[0].payload["reasons"])
    assert "D_ufm_mv6_001.g3" in reasons
    late.write_bytes(b"frames")
    site.turn(lambda: len(site.verdicts()) == 2)
    assert site.verdicts()[1] == (0, 1, "NORMAL")


def test_a_stray_file_is_an_alarm(books):
    site = books()
    site.files()
    (site.folder() / "core.1234").write_bytes(b"?")
    site.index()
    site.turn(site.verdicts)
    assert site.verdicts() == [(0, 0, "ALARM")]
    assert "core.1234" in " ".join(site.events("unit_verdict")[0].payload["reasons"])


def test_books_of_two_telescopes_that_begin_in_the_same_second_are_both_judged(books):
    """One site for both is not as it should be (see the how-to), but no book may be lost for that, and it is told."""
    site = books()
    site.files()
    site.index()
    other = site.folder().with_name(site.folder().name.replace("satp1", "satp2"))
    other.mkdir()
    for path in site.folder().iterdir():
        (other / path.name).write_bytes(path.read_bytes().replace(b"satp1", b"satp2"))
    (other / "D_ufm_mv6_001.g3").unlink()
    site.turn(lambda: len(site.verdicts()) == 2)
    assert sorted(status for _, _, status in site.verdicts()) == ["ALARM", "NORMAL"]
    assert sorted(revision for _, revision, _ in site.verdicts()) == [0, 1]
    assert [bool(e.payload["earlier"]) for e in site.events("seen")] == [False, True]


def hostile_indexes() -> dict[str, bytes]:
    """Indexes that are none, or lie."""
    name = f"obs_{CTIME}_satp1_0000011"
    text = yaml.safe_dump(index_of(name))
    laughs = "a0: &a0 [ha, ha]\n" + "".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}, *a{i - 1}]\n" for i in range(1, 20))
    return {
        "binary": os.urandom(5000), "zeros": bytes(5000), "empty": b"", "list": b"- 1\n- 2\n", "number": b"7\n", "null": b"null\n",
        "cut": text.encode()[: len(text) // 2].rsplit(b"\n", 1)[0] + b"\n  - [", "latin": b"book_id: caf\xe9\n", "twice": (text + "type: oper\n").encode(),
        "laughs": laughs.encode(), "deep": b"a: " + b"[" * 100_000, "long": b"a: " + b"x" * 5_000_000, "python": b"a: !!python/object/apply:os.system [exit]\n",
        "no keys": b"book_id: x\n", "streams of folders": text.replace("ufm_mv9", "../../../etc/passwd").encode(), "self": b"a: &a [*a]\n",
        "many ranges": text.replace("n_samples", "x").encode() + b"n_samples: 1\n" + b"more: [" + b"[0, 1]," * 5_000 + b"]\n",
        "huge numbers": text.replace(str(CTIME + 0.5), "1.0e+308").replace("200", "9" * 400).encode(), "not a number": text.replace(str(CTIME + 9.5), ".nan").encode(),
        "streams without end": text.replace("- ufm_mv9\n", "- ufm_mv9\n" + "".join(f"- s{i}\n" for i in range(3_000))).encode(),
    }  # fmt: skip


def test_hostile_indexes_are_refused_or_alarms_and_the_good_book_after_them_is_taken(books):
    site, hostile = books(), hostile_indexes()
    for n, content in enumerate(hostile.values()):
        site.files(n)
        site.index(n, content)
    (site.folder(len(hostile)) / "M_index.yaml").mkdir()
    good = len(hostile) + 1
    site.files(good)
    site.index(good)
    site.turn(lambda: (good, 0, "NORMAL") in site.verdicts() and site.daemon.idle, 120)
    said = {list(hostile)[n]: status for n, _, status in site.verdicts() if n < len(hostile)}
    assert set(said.values()) <= {"ALARM", "UNKNOWN"}, said
    refused = len(site.events("refused"))
    assert refused + len(said) == len(hostile), (refused, said)
    assert refused >= 12
    assert {"no keys", "streams of folders"} <= set(said)
    assert max(len(e.model_dump_json()) for e in site.daemon.journal.events(limit=10_000)) < 100_000


def test_options_of_the_reader_are_checked():
    good = load_instrument("so_book")
    for options, words in (
        ({"stream_file_pattern": "D_{index:03d}.g3"}, "stream_id"), ({"ancil_file_pattern": "../{index:03d}"}, "no slash"), ({"nonsense": 1}, "nonsense"),
    ):  # fmt: skip
        with pytest.raises(BadConfig, match=words):
            open_reader(good.model_copy(update={"reader_options": options}))
