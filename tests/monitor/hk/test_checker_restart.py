"""A checker that begins anew from what the one before it has stored: nothing is told that would not have been told, nothing is left out."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hk_tools import WHY, batch
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.hk.checker import Checker
from monitor.hk.loading import load_hk
from monitor.hk.memory import remember, remembered
from monitor.hk.watch import Watch
from quicklook.core.document import Document
from quicklook.core.errors import BadData, NoSpace
from quicklook.core.housekeeping import HkChange, HkSource, SourceContext, Taken
from quicklook.core.plugin import NoParams

Row = tuple[float, dict[str, Any]]
LIMITS = [
    {"name": "level", "channels": "a", "performance": [-1, 1], "survival": [-3, 3], "hysteresis": 0.4, "persistence": {"count": 2, "of": 3, "clear": 2}},
    {"name": "rate", "channels": "a", "kind": "rate", "over_s": 3, "performance": [-1, 1]},
    {"name": "beside", "channels": "b", "kind": "relative", "reference": "a", "performance": [-1.5, 1.5]},
    {"name": "cover", "channels": "w", "kind": "identity", "equals": ["open", "closed"], "persistence": {"count": 2, "of": 2}},
    {"name": "cold", "channels": "b", "states": "cold", "performance": [-2, 2]},
]
DATA = {
    "defaults": {"stale_after_s": 6, "invalid_rows": 3},
    "sources": {"s": {"plugin": "text", "silent_after_s": 9}},
    "channels": [{"name": "b", "frozen_after_s": 5}],
    "states": [{"name": "cold", "when": {"w": "open"}, "after_s": 2}],
    "limits": [{**WHY, **limit} for limit in LIMITS],
}


class Script(HkSource[NoParams]):
    """Rows with times; it gives those that have come, and knows how far it was."""

    name = "script"

    def __init__(self, rows: Sequence[Row]) -> None:
        super().__init__()
        self.rows = rows

    def open(self, context: SourceContext) -> None:
        self.at = int(context.positions.get("at", "0"))

    def poll(self, now: float) -> Taken:
        new = list(itertools.takewhile(lambda r: r[0] <= now, self.rows[self.at :]))
        self.at += len(new)
        batches = []
        for time, cells in new:
            numbers = {k: [v] for k, v in cells.items() if k != "w"}
            batches.append(batch([time], texts={"w": [cells["w"]]} if "w" in cells else {}, **numbers))
        return Taken(batches=tuple(batches), positions={"at": str(self.at)} if new else {})


def watch_of(path: Path, rows: Sequence[Row], now: float, data: dict[str, Any] | None = None) -> Watch:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("monitor.hk.watch.make_source", lambda _c, _name: Script(rows))
        return Watch(load_hk(Document.from_data(data or DATA, "x")), path / "hk.db", now)


def told(path: Path, rows: Sequence[Row], end: int, restarts: Sequence[int] = (), lost: Sequence[int] = ()) -> list[HkChange]:
    """All that is told with a turn each second; killed after the turns `restarts`, and in `lost` before anybody has kept what it gave."""
    watch, out = watch_of(path, rows, 0.0), list[HkChange]()
    for now in range(1, end):
        changes = watch.turn(float(now))
        if now in lost:
            watch.store.close()  # as killed: nothing is written any more
            watch = watch_of(path, rows, float(now))
            continue
        out += changes
        watch.kept(watch._n_given)
        if now in restarts:
            watch.turn(float(now))  # says that what was given is kept
            watch.store.close()
            watch = watch_of(path, rows, float(now))
    watch.close()
    return out


def same(a: HkChange, b: HkChange) -> bool:
    return repr(a) == repr(b)  # NaN is NaN


VALUES = st.one_of(st.sampled_from([0.0, 0.8, 1.2, 3.5, -4.0, 1e20, math.nan]), st.integers(-3, 3).map(float))
ROW = st.fixed_dictionaries({}, optional={"a": VALUES, "b": VALUES, "w": st.sampled_from(["open", "closed", "ajar", None])})


@settings(max_examples=25, deadline=None)
@given(
    steps=st.lists(st.tuples(st.integers(0, 1), ROW), min_size=5, max_size=40),
    restarts=st.sets(st.integers(1, 45), max_size=6),
    lost=st.sets(st.integers(1, 45), max_size=3),
)
def test_a_restart_at_any_point_changes_nothing_in_what_is_told(
    tmp_path_factory: pytest.TempPathFactory, steps: list[tuple[int, dict[str, Any]]], restarts: set[int], lost: set[int]
) -> None:
    times = itertools.accumulate(step for step, _ in steps)
    rows = [(t + 1 + i / 100, cells) for i, (t, (_, cells)) in enumerate(zip(times, steps, strict=True)) if cells]
    whole = told(tmp_path_factory.mktemp("a"), rows, 60)
    cut = told(tmp_path_factory.mktemp("b"), rows, 60, sorted(restarts - lost), sorted(lost))
    assert len(cut) == len(whole), (whole, cut)
    assert all(same(a, b) for a, b in zip(whole, cut, strict=True))


def test_the_property_is_one_that_fails_without_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [(t + 1.0, {"a": v}) for t, v in enumerate([0, 2, 2, 0.8, 0.8, 0.8, 0.8])]
    whole = told(tmp_path / "a", rows, 12)
    assert [str(c.state) for c in whole if c.subject == "a/level"] == ["NORMAL", "PENDING", "VIOLATING"], "0.8 is within the hysteresis"
    with monkeypatch.context() as patch:
        patch.setattr("monitor.hk.watch.remember", lambda *_: [])
        cut = told(tmp_path / "b", rows, 12, [4])
    assert [str(c.state) for c in cut if c.subject == "a/level"][-1] == "NORMAL", "nobody remembers that it was violated"


@pytest.mark.parametrize("ends_well", [True, False])
def test_what_was_judged_while_the_store_could_not_be_written_is_not_forgotten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ends_well: bool) -> None:
    """Samples that are stored a turn later are stored with what the checker made of them: nobody judges them again."""
    rows = [(1.0, {"a": 0.0}), (2.0, {"a": 9.0})]
    watch = watch_of(tmp_path, rows, 0.0)
    watch.turn(1.0)
    with monkeypatch.context() as patch:
        patch.setattr(watch.store, "put", lambda *_: (_ for _ in ()).throw(NoSpace("the disk is full")))
        watch.turn(2.0)
    if ends_well:
        watch.close()
    else:
        watch.turn(2.5)
        watch.store.close()  # as killed
    watch = watch_of(tmp_path, [*rows, (3.0, {"a": 9.0})], 2.6)
    watch.turn(3.0)
    assert {c.subject: str(c.state) for c in watch.states(3.0)}["a/level"] == "VIOLATING", "two of three, the first of which is known"
    watch.close()


def test_a_watch_that_ends_before_its_first_turn_leaves_what_was_to_be_told(tmp_path: Path) -> None:
    rows = [(t, {"a": 9.0}) for t in (1.0, 2.0)]
    watch = watch_of(tmp_path, rows, 0.0)
    given = watch.turn(2.0)
    assert any(c.state == "VIOLATING" for c in given)
    watch.close()
    fewer = {**DATA, "limits": [limit for limit in DATA["limits"] if limit["name"] != "level"]}
    watch_of(tmp_path, rows, 2.1, fewer).close()
    watch = watch_of(tmp_path, rows, 2.2, fewer)
    found = watch.turn(2.3)
    assert [repr(c) for c in found[: len(given)]] == [repr(c) for c in given], "nobody has kept them"
    assert [(c.subject, str(c.state)) for c in found[len(given) :]] == [("a/level", "OFF")], "once"
    watch.close()


def test_what_is_not_watched_any_more_is_over(tmp_path: Path) -> None:
    rows = [(t + 1.0, {"a": 9.0, "b": 0.0}) for t in range(5)]
    watch = watch_of(tmp_path, rows, 0.0)
    found = [c for now in range(1, 6) for c in watch.turn(float(now))]
    assert {c.subject for c in found if c.told} >= {"a/level", "b/beside"}
    watch.kept(len(found))
    watch.turn(6.0)
    watch.close()
    fewer = {**DATA, "limits": [limit for limit in DATA["limits"] if limit["name"] not in ("level",)]}
    watch = watch_of(tmp_path, rows, 6.0, fewer)
    assert [(c.subject, str(c.state), str(c.before)) for c in watch.turn(7.0)] == [("a/level", "OFF", "VIOLATING")]
    watch.close()


def test_the_time_in_which_nobody_watched_makes_nothing_stale(tmp_path: Path) -> None:
    rows = [(1.0, {"a": 0.0}), (2.0, {"a": 0.0}), (1e6 + 3, {"a": 0.0})]
    watch = watch_of(tmp_path, rows, 0.0)
    watch.turn(2.0)
    watch.close()
    watch = watch_of(tmp_path, rows, 1e6)
    assert not [c for now in range(6) for c in watch.turn(1e6 + now) if c.subject == "a/data"]
    assert [str(c.state) for now in range(6, 20) for c in watch.turn(1e6 + now) if c.subject == "a/data"] == ["STALE"]
    watch.close()


@pytest.mark.parametrize("junk", [b"", b"junk", b"x\x9c\x03\x00\x00\x00\x00\x01", "checker"])
def test_a_memory_that_cannot_be_read_begins_anew(tmp_path: Path, junk: bytes | str) -> None:
    rows = [(1.0, {"a": 0.0}), (2.0, {"a": 9.0}), (3.0, {"a": 9.0})]
    watch = watch_of(tmp_path, rows, 0.0)
    watch.turn(2.0)
    watch.store.put([], {"checker": junk})
    watch.close()
    watch = watch_of(tmp_path, rows, 2.5)
    assert "VIOLATING" not in watch.channels().values()
    watch.turn(3.0)
    assert {c.subject: str(c.state) for c in watch.states(3.0)}["a/level"] == "PENDING", "it began anew, and judges"
    watch.close()


@settings(max_examples=40, deadline=None)
@given(at=st.integers(0, 10_000), junk=st.binary(min_size=1, max_size=20))
def test_a_damaged_memory_is_bad_data_and_never_half_believed(at: int, junk: bytes) -> None:
    config = load_hk(Document.from_data(DATA, "x"))
    whole = remembered(Checker(config, 0.0))
    at %= len(whole)
    checker = Checker(config, 5.0)
    try:
        remember(checker, whole[:at] + junk + whole[at + len(junk) :])
    except BadData:
        return
    assert remembered(checker) == whole, "what was damaged did not matter"


def test_a_clock_that_is_set_back_blinds_nobody() -> None:
    checker = Checker(load_hk(Document.from_data(DATA, "x")), 10_000.0)
    for t in range(10_000, 10_005):
        checker.feed(batch([t], a=[0.0]))
        checker.tick(float(t))
    back = 10_005.0 - 3600
    found = []
    for t in range(4):
        found += checker.tick(back + t)
        found += checker.feed(batch([back + t], a=[9.0]))
    assert [str(c.state) for c in found if c.subject == "a/level"] == ["PENDING", "VIOLATING"]
    assert [str(c.state) for t in range(4, 12) for c in checker.tick(back + t) if c.subject == "a/data"] == ["STALE"]


def test_a_word_where_numbers_are_is_no_value() -> None:
    checker = Checker(load_hk(Document.from_data(DATA, "x")), 0.0)
    checker.feed(batch([1.0], b=[0.0], texts={"a": ["broken"]}))
    checker.tick(1.0)
    assert checker.counts()["a"] == "UNKNOWN"
