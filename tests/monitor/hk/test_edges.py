"""Persistence and hysteresis against a slow reference that is written from their definition."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.hk.edges import Edges, popcount

VALUES = st.lists(st.integers(-12, 12).map(float), min_size=1, max_size=60)


def edges(low: float, high: float, hysteresis: float, count: int, of: int, clear: int, n: int = 1) -> Edges:
    bounds = np.tile([-np.inf, np.inf, low, high], (n, 1))
    whole = [np.full(n, k, dtype=np.int64) for k in (count, of, clear)]
    return Edges(bounds, np.full(n, hysteresis), *whole)


def reference(values: list[float], high: float, hysteresis: float, count: int, of: int, clear: int) -> list[bool]:
    """Whether the upper edge is violated after each value."""
    seen: list[bool] = []
    violated, out = False, []
    for x in values:
        bad = x > high - hysteresis if violated else x > high
        seen.append(bad)
        if violated and len(seen) >= clear and not any(seen[-clear:]) and seen:
            violated, seen = False, []
        elif not violated and sum(seen[-of:]) >= count:
            violated = True
        out.append(violated)
    return out


def run(e: Edges, values: list[float]) -> list[bool]:
    out = []
    for t, x in enumerate(values):
        e.judge(np.array([0]), np.array([x]), np.array([float(t)]))
        out.append(bool(e.violated[0, 3]))
    return out


@given(values=VALUES, hysteresis=st.integers(0, 4), count=st.integers(1, 5), extra=st.integers(0, 5), clear=st.integers(1, 5))
@settings(max_examples=150, deadline=None)
def test_the_upper_edge_does_what_its_definition_says(values: list[float], hysteresis: int, count: int, extra: int, clear: int) -> None:
    got = run(edges(-6, 6, hysteresis, count, count + extra, clear), values)
    # while violated, `clear` judgements are counted from the last bad one: the one that made it violated is bad itself
    assert got == reference(values, 6, hysteresis, count, count + extra, clear)


@given(values=VALUES, hysteresis=st.integers(0, 4), count=st.integers(1, 4), clear=st.integers(1, 4))
@settings(max_examples=50, deadline=None)
def test_low_and_high_are_mirror_images(values: list[float], hysteresis: int, count: int, clear: int) -> None:
    one, other = edges(-5, 6, hysteresis, count, 6, clear), edges(-6, 5, hysteresis, count, 6, clear)
    for t, x in enumerate(values):
        for e, v in ((one, x), (other, -x)):
            e.judge(np.array([0]), np.array([v]), np.array([float(t)]))
        assert one.violated[0, [2, 3]].tolist() == other.violated[0, [3, 2]].tolist()


@given(values=VALUES, count=st.integers(1, 6), clear=st.integers(1, 6))
@settings(max_examples=60, deadline=None)
def test_it_never_begins_before_enough_bad_ones_and_never_ends_before_enough_good_ones(values: list[float], count: int, clear: int) -> None:
    states = [False, *run(edges(-6, 6, 2.0, count, 10, clear), values)]
    for i, (before, now) in enumerate(pairwise(states)):
        if now and not before:
            assert sum(v > 6 for v in values[max(0, i - 9) : i + 1]) >= count
        if before and not now:
            assert i + 1 >= clear
            assert all(v <= 4 for v in values[i + 1 - clear : i + 1])


@given(columns=st.lists(st.lists(st.integers(-12, 12).map(float), min_size=20, max_size=20), min_size=2, max_size=6))
@settings(max_examples=20, deadline=None)
def test_many_limits_at_once_are_as_each_alone(columns: list[list[float]]) -> None:
    n = len(columns)
    together = edges(-6, 6, 1.0, 2, 4, 3, n)
    for t in range(20):
        together.judge(np.arange(n), np.array([c[t] for c in columns]), np.full(n, float(t)))
    for i, column in enumerate(columns):
        alone = edges(-6, 6, 1.0, 2, 4, 3)
        run(alone, column)
        assert together.violated[i].tolist() == alone.violated[0].tolist()
        np.testing.assert_array_equal(together.since[i], alone.since[0])


def test_hysteresis_holds_a_value_that_hovers_and_persistence_does_not_see_it() -> None:
    hovering = [6.1, 5.9] * 20
    assert sum(np.diff(run(edges(-6, 6, 0.5, 1, 1, 1), hovering)) != 0) == 0
    assert sum(np.diff(run(edges(-6, 6, 0.0, 1, 1, 1), hovering)) != 0) == 39


def test_persistence_passes_over_a_single_spike_however_large() -> None:
    assert not any(run(edges(-6, 6, 0.0, 2, 5, 1), [0, 0, 1e6, 0, 0, 0, 0, 0, -1e6, 0]))


def test_since_is_the_first_bad_one() -> None:
    e = edges(-6, 6, 0.0, 3, 3, 1)
    run(e, [0, 9, 9, 9, 9])
    assert e.since[0, 3] == 1.0


def test_popcount() -> None:
    words = np.array([[0, 1, 0xFF, 2**64 - 1, 0x8000000000000001]], dtype=np.uint64)
    assert popcount(words).tolist() == [[0, 1, 8, 64, 2]]
