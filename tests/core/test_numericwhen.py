"""Conditions that compare numbers."""

from __future__ import annotations

import pytest

from quicklook.core.numericwhen import is_comparison, meets, parse_comparison


@pytest.mark.parametrize(
    ("condition", "holding", "not_holding"),
    [
        ("<300", ("299.9", "-5", "1e2", "0"), ("300", "3e2", "301", "", "r0", "nan", "inf", "-inf")),
        ("<= 300", ("300", "299"), ("300.1",)),
        (">60", ("60.5", "1000"), ("60", "-60")),
        (">=60", ("60", "60.0"), ("59.999",)),
        (">=60 <300", ("60", "299"), ("59", "300", "900")),
        (">-1.5e1 <=.5", ("-14", "0.5"), ("-15", "0.6")),
        (">=3 <=3", ("3",), ("2.9", "3.1")),
    ],
)
def test_which_labels_meet_a_comparison(condition: str, holding: tuple[str, ...], not_holding: tuple[str, ...]) -> None:
    assert [label for label in holding if not meets(label, (condition,))] == []
    assert [label for label in not_holding if meets(label, (condition,))] == []


@pytest.mark.parametrize("text", ["300<", "<", "<r0", "<3oo", "=>60", "><60", "60..<300", "<300 s", ">60 and <300", ">1 <2 <3", "<nan", ">inf", "<<3"])
def test_what_is_no_comparison_is_refused(text: str) -> None:
    assert is_comparison(text)
    with pytest.raises(ValueError, match="is no comparison with a number; write such as '<300'"):
        parse_comparison(text)


@pytest.mark.parametrize("text", ["<60 >=300", ">300 <60", ">3 <3", ">=3 <3", "<1 <2", ">1 >2"])
def test_what_no_number_can_meet_or_says_an_end_twice_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="no number is"):
        parse_comparison(text)


def test_plain_text_is_compared_as_it_is() -> None:
    assert parse_comparison("science") is None
    assert meets("r0", ("b0", "r0"))
    assert not meets("r1", ("b0", "r0"))
    assert meets("120", ("science", "<300"))


@pytest.mark.parametrize(
    ("text", "low", "high", "whole", "possible"),
    [
        ("<300", 0, 1e6, False, True), ("<0", 0, 1e6, False, False), ("<=0", 0, 1e6, False, True), (">3 <4", 0, 9, True, False), (">3 <4", 0, 9, False, True),
        (">3 <4.5", 0, 9, True, True), (">1e6", 0, 1e6, False, False), (">=2.5", 0, 2, True, False), (">1.5", 0, 2, True, True),
    ],
)  # fmt: skip
def test_whether_any_number_of_a_range_meets_it(text: str, low: float, high: float, whole: bool, possible: bool) -> None:
    test = parse_comparison(text)
    assert test is not None
    assert test.possible(low, high, whole=whole) is possible
