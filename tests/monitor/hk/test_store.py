"""The store: what goes in comes out, also while it is written, after it was packed, killed, trimmed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hk_tools import batch, config
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.hk.blobs import pack_times, pack_values, unpack_times, unpack_values
from monitor.hk.series import ConfiguredStore
from monitor.hk.store import HkStore
from quicklook.core.errors import BadConfig, BadData, NoSpace


@given(st.lists(st.floats(width=64), max_size=50))
@settings(max_examples=60, deadline=None)
def test_values_come_back_bit_by_bit(values: list[float]) -> None:
    given = np.array(values)
    np.testing.assert_array_equal(unpack_values(pack_values(given), len(given)).view("i8"), given.view("i8"))


@given(st.lists(st.floats(0, 4e9), max_size=50))
@settings(max_examples=60, deadline=None)
def test_times_come_back_to_the_microsecond(times: list[float]) -> None:
    np.testing.assert_allclose(unpack_times(pack_times(np.array(times)), len(times)), times, rtol=0, atol=1.1e-6)


def test_broken_bytes_are_bad_data() -> None:
    for blob in (b"", b"x123", b"s123", pack_values(np.arange(5.0))[:-3]):
        with pytest.raises(BadData):
            unpack_values(blob, 5)


def test_what_is_stored_is_fetched_before_and_after_it_is_packed(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    times = 1000 + np.arange(200.0)
    a, b = rng.normal(size=200), np.round(rng.normal(size=200), 2)
    words = [None if i % 7 == 0 else ("open", "shut")[i % 2] for i in range(200)]
    store = HkStore(tmp_path / "hk.db", writing=True)
    for i in range(0, 200, 20):
        part = slice(i, i + 20)
        store.append("s", [batch(times[part].tolist(), a=a[part], b=b[part], texts={"w": words[part]})], {"p": str(i)})
    reader = ConfiguredStore(config(channels=[{"name": "a", "plausible": [-1, 1], "scale": 2.0, "unit": "V"}]), tmp_path / "hk.db")
    for _ in range(2):
        found = reader.fetch(["a", "b", "w", "nothing"], 1010, 1190)
        assert set(found) == {"a", "b", "w"}
        np.testing.assert_array_equal(found["b"].times, times[10:190])
        np.testing.assert_array_equal(found["b"].values, b[10:190])
        np.testing.assert_array_equal(found["a"].values.mask, np.abs(2 * a[10:190]) > 1)
        assert found["a"].unit == "V"
        assert found["w"].texts == tuple(words[10:190])
        assert not reader.fetch(["a"], 0, 1e9, filter_bad=False)["a"].values.mask.any()
        store.compact(2000, all_of_it=True)
    assert reader.fetch(["*"], 0, 1e9).keys() == {"a", "b", "w"}
    assert store.positions("s") == {"p": "180"}
    assert reader.span() == (1000.0, 1199.0)


def test_fill_values_are_masked_and_kept(tmp_path: Path) -> None:
    store = ConfiguredStore(config(), tmp_path / "hk.db", writing=True)
    store.raw.append("s", [batch([1, 2, 3, 4, 5], t=[1e20, 999999, -273.15, np.nan, 4.5])], {})
    assert store.fetch(["t"], 0, 10)["t"].values.mask.tolist() == [True, True, True, True, False]
    assert store.fetch(["t"], 0, 10, filter_bad=False)["t"].values.mask.tolist() == [False, False, False, True, False]


def test_batches_and_position_are_stored_both_or_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = HkStore(tmp_path / "hk.db", writing=True)
    store.append("s", [batch([1], a=[1.0])], {"p": "1"})
    with monkeypatch.context() as patch:
        patch.setattr("monitor.hk.store.pack_matrix", lambda _v: (_ for _ in ()).throw(sqlite3.OperationalError("database or disk is full")))
        with pytest.raises(NoSpace):
            store.append("s", [batch([2], b=[2.0])], {"p": "2"})
    assert store.positions("s") == {"p": "1"}
    assert "b" not in store.channels()
    store.append("s", [batch([2], b=[2.0])], {"p": "2"})
    assert store.read(["b"], 0, 10)["b"][1].tolist() == [2.0]


def test_a_store_that_is_killed_while_it_writes_has_all_that_it_said(tmp_path: Path) -> None:
    code = """
        import os, sys
        sys.path.insert(0, sys.argv[2])
        from pathlib import Path
        import numpy as np
        from hk_tools import batch
        from monitor.hk.store import HkStore
        store = HkStore(Path(sys.argv[1]), writing=True)
        for i in range(300):
            store.append("s", [batch([float(i)], a=[float(i)])], {"p": str(i)})
            if i % 50 == 49:
                store.compact(0, all_of_it=True)
            if i == 220:
                os.kill(os.getpid(), 9)
    """
    path = tmp_path / "hk.db"
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(code), str(path), os.path.dirname(__file__)], check=False, capture_output=True, timeout=250)
    assert done.returncode == -9, done.stderr
    store = HkStore(path, writing=True)
    last = int(store.positions("s")["p"])
    assert last == 220
    assert store.read(["a"], 0, 1e9)["a"][1].tolist() == [float(i) for i in range(last + 1)]


def test_who_reads_while_it_is_written_sees_each_sample_once(tmp_path: Path) -> None:
    store = HkStore(tmp_path / "hk.db", writing=True)
    store.append("s", [batch([0.0], a=[0.0])], {})
    wrong: list[object] = []
    seen: list[int] = []

    def read() -> None:
        reader = HkStore(tmp_path / "hk.db", writing=False)
        end = time.monotonic() + 120
        try:
            while seen[-1:] != [200] and time.monotonic() < end:
                values = reader.read(["a"], 0, 1e9)["a"][1]
                seen.append(len(values))
                if values.tolist() != list(range(len(values))):
                    wrong.append(values)
        except Exception as error:
            wrong.append(error)
        reader.close()

    thread = threading.Thread(target=read)
    thread.start()
    for i in range(1, 200):
        store.append("s", [batch([float(i)], a=[float(i)])], {})
        if i % 10 == 0:
            store.compact(0, all_of_it=True)
    thread.join()
    assert not wrong
    assert seen[-1] == 200


def test_old_samples_go_by_age_and_by_size(tmp_path: Path) -> None:
    store = HkStore(tmp_path / "hk.db", writing=True)
    rng = np.random.default_rng(1)
    for day in range(10):
        store.append("s", [batch((86400.0 * day + np.arange(5000)).tolist(), a=rng.normal(size=5000), b=rng.normal(size=5000))], {})
        store.compact(0, all_of_it=True)
    store.trim(86400 * 10, keep_days=5.5, max_mb=1000)
    assert store.read(["a"], 0, 1e9)["a"][0][0] == 5 * 86400
    store.trim(86400 * 10, keep_days=100, max_mb=0.2)
    assert store.size_mb() <= 0.2
    assert store.read(["a"], 0, 1e9)["a"][0][-1:].tolist() in ([9 * 86400 + 4999.0], [])


def test_a_thing_that_is_no_store_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.db").write_text("this is no database, but long enough to look at" * 20)
    for writing in (True, False):
        with pytest.raises(BadConfig):
            HkStore(tmp_path / "x.db", writing=writing)
    with pytest.raises(BadConfig, match="no store"):
        HkStore(tmp_path / "none.db", writing=False)


def test_words_do_not_go_where_numbers_are(tmp_path: Path) -> None:
    store = HkStore(tmp_path / "hk.db", writing=True)
    store.append("s", [batch([1], a=[1.0]), batch([2], texts={"a": ["word"]})], {})
    assert store.dropped == 1
    assert store.read(["a"], 0, 10)["a"][1].tolist() == [1.0]


def test_who_reads_a_store_while_it_is_made_meets_it_whole(tmp_path: Path) -> None:
    path = tmp_path / "hk.sqlite"
    made = sqlite3.connect(path, isolation_level=None)
    made.execute("PRAGMA auto_vacuum=INCREMENTAL")
    made.execute("PRAGMA journal_mode=WAL")  # as far as the one who makes it may have come
    made.close()
    maker = threading.Timer(0.1, lambda: HkStore(path, writing=True).close())
    maker.start()
    reader = HkStore(path, writing=False)
    assert reader.channels() == {}
    reader.close()
    maker.join()
