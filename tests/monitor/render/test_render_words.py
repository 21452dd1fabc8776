"""How labels, long names and limits are written."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.render import bands
from monitor.render.images import percent
from monitor.render.style import axis_label, clean, counted, shortened, wrapped
from quicklook.core.plots import Axis, Band


@given(st.text(max_size=300), st.integers(8, 80), st.integers(1, 4))
def test_wrapped_text_keeps_to_its_width_and_lines(text: str, letters: int, lines: int) -> None:
    out = wrapped(text, letters, lines)
    assert len(out) <= lines
    assert all(len(line) <= letters for line in out)
    assert all(c.isprintable() for line in out for c in line)


@given(st.text(max_size=100), st.integers(3, 40))
def test_shortened_text_keeps_to_its_length_and_its_ends(text: str, letters: int) -> None:
    out = shortened(text, letters)
    assert len(out) <= letters
    assert out == clean(text) or (out[0] == clean(text)[0] and "…" in out)


def test_axis_label_never_loses_its_unit() -> None:
    assert axis_label(Axis(label="row", unit="pixel")) == "row [pixel]"
    assert axis_label(Axis(label="amplifier")) == "amplifier"
    assert axis_label(Axis(label="")) == ""
    assert axis_label(Axis(label="flux " * 20, unit="erg / s"), 20).splitlines()[-1] == "[erg / s]"


def test_wrapping_marks_what_is_cut() -> None:
    assert wrapped("a" * 30, 10, 2) == ["a" * 10, "a" * 9 + "…"]
    assert wrapped("costs $5\x00\nor more", 40) == ["costs $5  or more"]


@pytest.mark.parametrize(
    ("low", "high", "text"),
    [
        (1.5, 4.0, "normal: 1.5 to 4 electron"),
        (None, 4.0, "normal: ≤ 4 electron"),
        (1.5, None, "normal: ≥ 1.5 electron"),
        (0.0, 0.0, "normal: 0 electron"),
        (None, None, "normal: anything"),
        (math.nan, 4.0, "normal: ≤ 4 electron"),
    ],
)
def test_words_of_a_band(low: float | None, high: float | None, text: str) -> None:
    assert bands.words(Band(low=low, high=high, kind="normal"), "electron") == text


def test_a_band_off_the_scale_says_so() -> None:
    (_, text), *_ = bands.entries([Band(low=10, high=20, kind="normal", label="normal")], "", (0.0, 5.0))
    assert text == "normal: 10 to 20 (not on this scale)"


@pytest.mark.parametrize(
    ("holes", "left"),
    [
        ([(2.0, 3.0)], [(1.0, 2.0), (3.0, 4.0)]),
        ([(-math.inf, 3.0)], [(3.0, 4.0)]),
        ([(0.0, 9.0)], []),
        ([(5.0, 6.0)], [(1.0, 4.0)]),
        ([(1.5, 2.0), (2.5, 3.0)], [(1.0, 1.5), (2.0, 2.5), (3.0, 4.0)]),
    ],
)
def test_a_warning_band_is_left_out_where_it_is_normal(holes: list[tuple[float, float]], left: list[tuple[float, float]]) -> None:
    assert bands.without((1.0, 4.0), holes) == left


def test_the_axis_grows_to_limits_that_are_near_and_not_to_those_that_are_far() -> None:
    near = Band(low=1.5, high=4.0, kind="normal")
    far = Band(low=None, high=1e6, kind="warning")
    assert bands.include((2.5, 3.0), [near, far]) == (1.5, 4.0)
    assert bands.include((-0.007, 0.006), [Band(low=-0.15, high=0.15, kind="normal")]) == (-0.15, 0.15)
    assert bands.include(None, [near]) == (1.5, 4.0)
    assert bands.include((2.5, 3.0), []) == (2.5, 3.0)
    assert bands.include((0.0, 0.0), [Band(low=0.0, high=0.0, kind="normal")]) == (0.0, 0.0)


def test_a_share_is_never_rounded_to_nothing_or_to_all() -> None:
    said = {0.0: "0 %", 1e-7: "< 0.01 %", 0.0039: "0.39 %", 0.25: "25 %", 0.9995: "99.95 %", 0.99999: "> 99.99 %", 1.0: "100 %"}
    assert {share: percent(share) for share in said} == said


def test_counted() -> None:
    assert counted(3, 512, "points") == "3 of 512 points"
    assert counted(4, 4, "points") == "all 4 points"
