"""Ranges, ticks and their texts."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.render.numeric import axis_limits, interval, numbers, short, tick_texts, ticks, vectors
from quicklook.core.errors import BadData
from quicklook.core.plots import Axis

finite = st.floats(-1e12, 1e12, allow_nan=False)


@given(finite, st.floats(1e-6, 1e12))
@settings(max_examples=200, deadline=None)
def test_ticks_lie_within_limits_and_their_texts_differ_and_are_right(low: float, width: float) -> None:
    high = low + width
    if high - low < 1e-9 * max(abs(low), abs(high)):
        return
    places = ticks((low, high))
    texts = tick_texts(places)
    assert 2 <= len(places) <= 8
    assert all(low - 1e-6 * width <= v <= high + 1e-6 * width for v in places)
    assert len(set(texts)) == len(texts)
    step = places[1] - places[0]
    # a text is at most a thousandth of a step from the place that it names
    assert all(abs(float(t.replace("\N{MINUS SIGN}", "-")) - v) <= 2e-3 * step for t, v in zip(texts, places, strict=True))


@pytest.mark.parametrize(
    ("values", "texts"),
    [
        ([0.0, 0.5, 1.0], ["0.0", "0.5", "1.0"]),
        ([-1000.0, 0.0, 1000.0], ["\N{MINUS SIGN}1000", "0", "1000"]),
        ([0.0, 2e-17, 4e-17], ["0", "2e\N{MINUS SIGN}17", "4e\N{MINUS SIGN}17"]),
        ([1004.998, 1005.0, 1005.002], ["1004.998", "1005.000", "1005.002"]),
        ([0.0, 2.5e6], ["0", "2.5e6"]),
        ([], []),
    ],
)
def test_tick_texts(values: list[float], texts: list[str]) -> None:
    assert tick_texts(values) == texts


def test_logarithmic_ticks_are_powers_of_ten_or_one_two_five() -> None:
    assert ticks((0.5, 2e4), log=True) == pytest.approx([1, 10, 100, 1000, 1e4])
    assert ticks((1.5, 60), log=True) == pytest.approx([2, 5, 10, 20, 50])
    assert len(ticks((3.0, 3.5), log=True)) >= 2, "a range within one decade still has ticks"


def test_short_numbers() -> None:
    assert [short(v) for v in (2.97, -0.0, 65535.0, 1.0e-17, 1e6)] == ["2.97", "0", "65535", "1e\N{MINUS SIGN}17", "1e6"]


def test_limits_have_a_margin_unless_they_are_given() -> None:
    assert axis_limits(Axis(label="y"), (0.0, 10.0), 0.1) == pytest.approx((-1.0, 11.0))
    assert axis_limits(Axis(label="y", range=(2.0, 3.0)), (0.0, 10.0), 0.1) == (2.0, 3.0)
    assert axis_limits(Axis(label="y", range=(24.0, 16.0)), (0.0, 10.0)) == (24.0, 16.0), "given in reverse: the axis is turned round"
    low, high = axis_limits(Axis(label="y", range=(20.0, None)), (0.0, 10.0))
    assert low == 20.0
    assert high > low, "a range that lies off the data is still a range"


@pytest.mark.parametrize("log", [False, True])
@pytest.mark.parametrize("data", [None, (5.0, 5.0), (1e-100, 1e-100), (9e99, 9e99), (1.0, 1.0 + 1e-14)])
@pytest.mark.parametrize("given_", [(None, None), (math.nan, math.inf), (0.0, 0.0), (7.0, 7.0), (-math.inf, None)])
def test_limits_are_finite_and_apart_whatever_comes(log: bool, data: tuple[float, float] | None, given_: tuple[float | None, float | None]) -> None:
    low, high = axis_limits(Axis(label="y", log=log, range=given_), data)
    assert math.isfinite(low)
    assert math.isfinite(high)
    assert high > low
    assert not log or low > 0
    assert len(ticks((low, high), log=log)) >= 1


def test_numbers_makes_nan_of_what_cannot_be_drawn_and_refuses_words() -> None:
    out = numbers(np.array([1, np.inf, -np.inf, np.nan, 1e200]), "y")
    np.testing.assert_array_equal(out, [1, np.nan, np.nan, np.nan, np.nan])
    assert numbers(np.array([True, False]), "mask").tolist() == [1.0, 0.0]
    with pytest.raises(BadData, match="y holds <U1"):
        numbers(np.array(["a"]), "y")
    with pytest.raises(BadData, match="x has 2, y has 3"):
        vectors(x=np.zeros(2), y=np.zeros(3))


def test_interval() -> None:
    values = np.array([np.nan, -3.0, 0.0, 2.0])
    assert interval(values) == (-3.0, 2.0)
    assert interval(values, log=True) == (2.0, 2.0)
    assert interval(np.array([np.nan])) is None
