"""Garbage in every source: a fault is told, nothing is raised, what comes after it is read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import fitsio
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.hk.sources.clock import Clock
from monitor.hk.sources.fits_table import FitsTableParams, FitsTableSource
from monitor.hk.sources.headers import HeaderParams, HeaderSource
from monitor.hk.sources.records import Inbox, parse_line
from monitor.hk.sources.rows import FaultCount
from monitor.hk.sources.text import TextParams, TextSource
from quicklook.core.errors import BadData
from quicklook.core.housekeeping import SourceContext, Taken

CONTEXT = SourceContext(source="s", missing=frozenset(["", "n/a"]))
LINES = st.one_of(
    st.binary(max_size=60),
    st.sampled_from([b"time,a,b", b"2020-01-01T00:00:00,1,2", b"2020-01-01T00:00:00,1", b"time,a,a,time", b",,,", b"\0\0\0", b"# x", b'"', b"a\tb\tc", b"time,b"]),
)
JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=8), lambda c: st.lists(c, max_size=3) | st.dictionaries(st.text(max_size=8), c, max_size=3), max_leaves=12
)


@pytest.fixture(autouse=True, scope="module")
def _search_every_time() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("monitor.hk.sources.files._SHARE", 0)
        yield


def check(taken: Taken) -> None:
    """A source may fail as a whole only for what is outside; what it gives can be used."""
    assert not taken.failed
    for batch in taken.batches:
        assert (np.diff(batch.times) >= 0).all()
        assert all(batch.channels)


@given(lines=st.lists(LINES, max_size=20))
@settings(max_examples=80, deadline=None)
def test_any_text_then_a_good_log(tmp_path_factory: pytest.TempPathFactory, lines: list[bytes]) -> None:
    folder = tmp_path_factory.mktemp("text")
    (folder / "a_1.csv").write_bytes(b"\n".join(lines))
    (folder / "a_2.csv").write_text("time,good\n2020-01-01T00:00:00,7\n")
    source = TextSource(TextParams(path=str(folder / "*.csv"), scan_s=1e-6))
    source.open(CONTEXT)
    taken = source.take("s", 0)
    check(taken)
    assert any("good" in b.channels and b.values[0, b.channels.index("good")] == 7 for b in taken.batches)
    check(source.take("s", 0, last=True))


def test_a_gigantic_line_and_a_binary_file(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"x" * (3 << 20))
    (tmp_path / "b.csv").write_bytes(bytes(np.random.default_rng(1).integers(0, 256, 200_000, dtype=np.uint8)))
    (tmp_path / "c.csv").write_bytes(b"time," + b",".join(b"c%d" % i for i in range(30_000)) + b"\n")
    source = TextSource(TextParams(path=str(tmp_path / "*.csv"), scan_s=1e-6))
    source.open(CONTEXT)
    taken = [source.take("s", 0) for _ in range(5)]
    for each in taken:
        check(each)
    assert any("without the end of a line" in f.message for each in taken for f in each.faults)


def test_columns_without_end_are_bounded(tmp_path: Path) -> None:
    for i in range(30):
        (tmp_path / f"a_{i}.csv").write_text("time," + ",".join(f"x{i}_{j}" for j in range(300)) + "\n2020-01-01T00:00:00" + ",1" * 300 + "\n")
    source = TextSource(TextParams(path=str(tmp_path / "*.csv"), scan_s=1e-6))
    source.open(SourceContext(source="s", max_channels=1000))
    assert len({c for b in source.take("s", 0).batches for c in b.channels}) <= 1000


@given(line=st.one_of(st.binary(max_size=80), JSON.map(lambda v: __import__("json").dumps(v).encode())))
@settings(max_examples=200, deadline=None)
def test_any_json_is_a_record_or_bad_data(line: bytes) -> None:
    try:
        record = parse_line(line, Clock(), 1e9)
    except BadData:
        return
    assert record.cells
    assert record.time <= 1e9 + 300


def test_an_inbox_is_bounded() -> None:
    inbox = Inbox(100, "UTC")
    for _ in range(1000):
        inbox.put(b'{"a": 1, "b": 2}\n{', "x", 1e9)
    faults = FaultCount("s", 0)
    assert len(inbox.empty(faults)) == 50
    assert sum(f.count for f in faults.faults) >= 1900
    assert not inbox.full


@given(at=st.integers(0, 8000), junk=st.binary(min_size=1, max_size=80))
@settings(max_examples=40, deadline=None)
def test_fits_files_that_are_damaged_anywhere(tmp_path_factory: pytest.TempPathFactory, at: int, junk: bytes) -> None:
    folder = tmp_path_factory.mktemp("fits")
    good = folder / "b.fits"
    fitsio.write(str(good), {"time": 58849.0 + np.arange(3.0), "t": np.arange(3.0)}, header={"DATE-OBS": "2020-01-01", "TEMP": 1.0})
    raw = bytearray(good.read_bytes())
    raw[at : at + len(junk)] = junk
    (folder / "a.fits").write_bytes(raw)
    for source in (FitsTableSource(FitsTableParams(path=str(folder / "*.fits"), scan_s=1e-6)), HeaderSource(HeaderParams(path=str(folder / "*.fits"), keywords=("TEMP",), scan_s=1e-6))):
        source.open(CONTEXT)
        taken = [source.take("s", 0) for _ in range(4)]
        for each in taken:
            check(each)
        names = {c for each in taken for b in each.batches for c in b.channels}
        assert names & {"t", "TEMP"} or any(c.endswith(".TEMP") for c in names)


def test_a_channel_of_numbers_that_begins_with_words_is_one_of_numbers(tmp_path: Path) -> None:
    (tmp_path / "HK.csv").write_text("time,t,w\n2020-01-01T00:00:00,broken,on\n2020-01-01T00:00:01,also,off\n2020-01-01T00:00:02,3.5,on\n")
    source = TextSource(TextParams(path=str(tmp_path / "HK.csv")))
    source.open(SourceContext(source="s", number_channels=frozenset({"t*"})))
    taken = source.take("s", 0.0)
    (found,) = taken.batches
    assert (found.channels, list(found.texts)) == (("t",), ["w"])
    assert found.values[-1, 0] == 3.5
    assert sum(f.count for f in taken.faults) == 2


def test_rows_in_another_order_keep_the_columns_that_have_times_of_their_own(tmp_path: Path) -> None:
    for name, hour in (("HK_1.csv", 12), ("HK_2.csv", 6)):  # the later file first
        rows = "".join(f"2020-01-01T{hour:02d}:00:0{i},2020-01-01T{hour:02d}:00:0{i - i % 2},{i}\n" for i in range(4))
        (tmp_path / name).write_text(f"time,tower,t\n{rows}")
    source = TextSource(TextParams(path=str(tmp_path / "HK_*.csv"), own_times={"tower": ("t",)}))
    source.open(SourceContext(source="s"))
    samples = [v for b in source.take("s", 0.0).batches if "t" in b.channels for v in b.values[:, b.channels.index("t")].tolist()]
    assert samples == [0, 2, 0, 2], "each once, of both files"
