"""Text that grows: half lines, new columns, day folders, midnight, restarts, replaced files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.hk.sources.text import TextParams, TextSource
from quicklook.core.errors import BadConfig
from quicklook.core.housekeeping import SourceContext, Taken

MISSING = frozenset(["", "n/a", "nan"])


@pytest.fixture(autouse=True, scope="module")
def _search_every_time() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("monitor.hk.sources.files._SHARE", 0)
        yield


def opened(path: str | Path, positions: dict[str, str] | None = None, **params: object) -> TextSource:
    source = TextSource(TextParams.model_validate({"path": str(path), "scan_s": 1e-6, **params}))
    source.open(SourceContext(source="s", positions=positions or {}, missing=MISSING))
    return source


def column(taken: Taken, name: str) -> list[float]:
    return [v for b in taken.batches if name in b.channels for v in b.values[:, b.channels.index(name)].tolist()]


def clock(taken: Taken) -> list[str]:
    return [datetime.fromtimestamp(t, UTC).isoformat() for b in taken.batches for t in b.times.tolist()]


def add(path: Path, text: str | bytes) -> None:
    with open(path, "ab") as f:
        f.write(text.encode() if isinstance(text, str) else text)


def test_a_line_is_taken_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time,t\n2020-01-01T00:00:00,-121.")
    source = opened(path)
    assert not source.poll(0).batches
    add(path, "5\n2020-01-01T00:00:01,")
    assert column(source.poll(0), "t") == [-121.5]
    add(path, "-120\n")
    assert column(source.poll(0), "t") == [-120.0]
    assert not source.poll(0).batches


@given(cuts=st.lists(st.integers(0, 200), max_size=8), restart=st.booleans())
@settings(max_examples=40, deadline=None)
def test_however_it_is_cut_and_restarted_each_row_comes_once(tmp_path_factory: pytest.TempPathFactory, cuts: list[int], restart: bool) -> None:
    path = tmp_path_factory.mktemp("cut") / "HK_050800D.txt"
    text = "HK_timestamp\ta \tb\r\n" + "".join(f"23:59:{50 + i:02d}\t{i}.25\t{i}\r\n" if i < 10 else f"00:00:{i:02d}\t{i}.25\t{i}\r\n" for i in range(14))
    positions: dict[str, str] = {}
    got: list[float] = []
    times: list[float] = []
    source = opened(path, date_pattern=r"_(\d{6})D")
    at = 0
    for cut in [*sorted(c for c in cuts if c < len(text)), len(text)]:
        add(path, text[at:cut])
        at = cut
        if restart:
            source = opened(path, positions, date_pattern=r"_(\d{6})D")
        taken = source.poll(0)
        positions |= taken.positions
        got += column(taken, "a")
        times += [t for b in taken.batches for t in b.times.tolist()]
    assert got == [i + 0.25 for i in range(14)]
    start = datetime(2000, 8, 5, 23, 59, 50, tzinfo=UTC).timestamp()
    assert [t - start for t in times] == [*map(float, range(10)), *(float(10 + i) for i in range(10, 14))]


def test_columns_that_come_and_go(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_text("time;a;b\n2020-01-01 00:00:00;1;2\ntime;b;c\n2020-01-01 00:00:01;3;4\n")
    taken = opened(path).poll(0)
    assert [b.channels for b in taken.batches] == [("a", "b"), ("b", "c")]
    again = opened(path, dict(taken.positions))
    add(path, "2020-01-01 00:00:02;5;6\n")
    assert again.poll(0).batches[0].channels == ("b", "c")


def test_day_folders(tmp_path: Path) -> None:
    for day in ("040800", "050800"):
        (tmp_path / day).mkdir()
        (tmp_path / day / f"HK_1_{day}D000000T.txt").write_text("t\tx\n12:00:00\t1\n")
    source = opened(tmp_path / "*" / "HK_*.txt", date_pattern=r"_(\d{6})D")
    assert clock(source.poll(0)) == ["2000-08-04T12:00:00+00:00", "2000-08-05T12:00:00+00:00"]
    (tmp_path / "060800").mkdir()
    (tmp_path / "060800" / "HK_2_060800D000000T.txt").write_text("t\tx\n00:00:01\t1\n")
    assert clock(source.poll(0)) == ["2000-08-06T00:00:01+00:00"]


def test_a_clock_without_any_date_takes_that_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "log.txt"
    path.write_text("t x\n12:00:00 1\n")
    os.utime(path, (0, datetime(2021, 5, 6, 13, tzinfo=UTC).timestamp()))
    assert clock(opened(path).poll(0)) == ["2021-05-06T12:00:00+00:00"]


def test_local_time_through_the_hour_that_comes_twice(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("t,x\n2020-10-25 02:30:00,1\n2020-10-25 02:59:59,2\n2020-10-25 02:00:00,3\n2020-10-25 03:00:00,4\n")
    assert clock(opened(path, zone="Europe/Berlin").poll(0)) == [f"2020-10-25T{h}+00:00" for h in ("00:30:00", "00:59:59", "01:00:00", "02:00:00")]


def test_a_file_that_is_replaced_is_read_anew_and_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time,t\n2020-01-01,1\n2020-01-02,2\n")
    source = opened(path)
    source.poll(0)
    path.unlink()
    path.write_text("time,u\n2020-01-03,3\n")
    taken = source.poll(0)
    assert column(taken, "u") == [3.0]
    assert "replaced" in taken.faults[0].message


def test_what_cannot_be_used_is_a_fault_with_its_place_and_the_rest_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes(b"time,a,w\n2020-01-01T00:00:00,1,open\nnonsense\n2020-01-01T00:00:02,2\nlater,3,shut\n\n# remark\n2020-01-01T00:00:03,broken,shut\n" + b"\0" * 50 + b"\n2020-01-01T00:00:04,4,N/A\n")
    taken = opened(path).poll(0)
    assert column(taken, "a")[:1] == [1.0]
    assert column(taken, "a")[-1] == 4.0
    assert taken.batches[0].texts["w"] == ["open", "shut", None]
    said = {f.message: (f.where, f.count) for f in taken.faults}
    assert said[next(m for m in said if "number of cells" in m)] == (f"{path}:3", 2)
    assert said[next(m for m in said if "time" in m)] == (f"{path}:5", 1)
    assert said[next(m for m in said if "'broken'" in m)] == (f"{path}:8", 1)


def test_a_folder_that_is_not_there_is_a_fault_and_comes_back(tmp_path: Path) -> None:
    source = opened(tmp_path / "bench" / "*.csv")
    assert "is not there" in source.take("s", 0).failed
    (tmp_path / "bench").mkdir()
    (tmp_path / "bench" / "a.csv").write_text("time,t\n2020-01-01,1\n")
    assert column(source.take("s", 0), "t") == [1.0]


def test_a_last_line_without_its_end_is_left_out_and_told(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time,t\n2020-01-01,1\n2020-01-02,12")
    source = opened(path)
    assert column(source.poll(0), "t") == [1.0]
    assert "no end" in source.take("s", 0, last=True).faults[0].message


def test_hexadecimal_words_are_numbers(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("time,flags\n2020-01-01,0x2A\n")
    assert column(opened(path).poll(0), "flags") == [42.0]


@pytest.mark.parametrize(("params", "said"), [({"path": ""}, "path"), ({"delimiter": "pipe"}, "delimiter"), ({"zone": "Mars/Base"}, "time zone")])
def test_wrong_parameters_are_refused(tmp_path: Path, params: dict[str, Any], said: str) -> None:
    with pytest.raises(BadConfig, match=said):
        opened(params.pop("path", str(tmp_path)), **params)


def test_columns_with_a_time_of_their_own_are_no_new_samples_when_repeated(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    rows = ["time,a,wind,wind_time", *(f"2020-01-01T00:00:{i:02d},{i},{i // 3},2020-01-01T00:00:{i // 3:02d}" for i in range(9))]
    path.write_text("\n".join(rows) + "\n2020-01-01T00:00:10,10,7,N/A\n")
    taken = opened(path, own_times={"wind_time": ["wind"]}).poll(0)
    assert column(taken, "a") == [*map(float, range(9)), 10.0]
    assert column(taken, "wind") == [0.0, 1.0, 2.0]
    assert [b.source for b in taken.batches] == ["s", "s:wind_time"]
    add(path, "2020-01-01T00:00:11,11,2,2020-01-01T00:00:02\n")
    assert column(opened(path, dict(taken.positions), own_times={"wind_time": ["wind"]}).poll(0), "wind") == []


def test_years_of_files_are_not_held(tmp_path: Path) -> None:
    for i in range(120):
        (tmp_path / f"HK_{i}.csv").write_text(f"time,t\n2020-01-01T00:{i // 60:02d}:{i % 60:02d},{i}\n")
    source = opened(tmp_path / "HK_*.csv")
    taken = source.poll(0)
    assert column(taken, "t") == list(map(float, range(120)))
    assert len(source._open) <= 50
    assert not source.poll(0).batches
    (tmp_path / "HK_3.csv").unlink()
    assert source.poll(0).positions == {str(tmp_path / "HK_3.csv"): ""}
    assert source.poll(0).positions == {}
