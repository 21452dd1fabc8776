"""Conditions on facts: what they mean, and where they are wrong."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quicklook.core.errors import BadConfig
from quicklook.core.where import parse_where

FACTS = {"number": "20220101203000123", "flavor": "science", "exptime": "900", "program": "bright moon", "start": "2022-01-01T04:00:00", "seeing": ""}


def holds(text: str) -> bool:
    return parse_where(text, FACTS)(FACTS)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("flavor=science", True),
        ("flavor == 'science' and exptime > 300", True),
        ("flavor=science and exptime>900", False),
        ("exptime >= 9e2", True),
        ("exptime = 900.0", True),
        ("exptime < 1000", True),  # as texts it would not be
        ("flavor != science or exptime <= 900", True),
        ("not flavor = arc", True),
        ("NOT (flavor = science AND exptime > 300)", False),
        ("flavor in (arc, science)", True),
        ("flavor not in (arc, science)", False),
        ("exptime in (300, 900.00)", True),
        ('program = "bright moon"', True),
        ("start < 2022-01-01T05", True),
        ("flavor = arc or flavor = science and exptime < 300", False),
        ("(flavor = arc or flavor = science) and exptime > 300", True),
        # more digits than a double has
        ("number = 20220101203000123", True),
        ("number = 20220101203000124", False),
        ("number < 20220101203000124", True),
        # what is not known: neither true nor false
        ("seeing < 1", False),
        ("not seeing < 1", False),
        ("seeing not in (1, 2)", False),
        ("seeing < 1 or flavor = science", True),
        ("not (seeing < 1 and flavor = arc)", True),
    ],
)
def test_what_a_condition_means(text: str, expected: bool) -> None:
    assert holds(text) is expected


@pytest.mark.parametrize(
    ("text", "at", "why"),
    [
        ("flaver = science", 1, "did you mean flavor"),
        ("flavor science", 8, "comparison"),
        ("flavor = ", 10, "a value is expected"),
        ("flavor = science exptime > 3", 18, "'and' or 'or'"),
        ("(flavor = science", 18, "the text ends"),
        ("flavor in science", 11, "'\\(' is expected"),
        ("flavor = 'science", 10, "not closed"),
        ("flavor ! science", 8, "cannot be read"),
        ("", 1, "the name of a fact"),
        ("and", 1, "the name of a fact"),
        ("not " * 60 + "flavor = x", 201, "more than 50"),
    ],
)
def test_what_is_wrong_is_shown_where_it_stands(text: str, at: int, why: str) -> None:
    with pytest.raises(BadConfig, match=why) as error:
        parse_where(text, FACTS)
    assert f"character {at}:" in str(error.value)
    assert str(error.value).splitlines()[-1] == "  " + " " * (at - 1) + "^"


@settings(max_examples=200, deadline=None)
@given(st.text(alphabet="flavor exptime=<>!()'\",andornot in39_.é", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        where = parse_where(text, FACTS)
    except BadConfig:
        return
    assert where(FACTS) in (True, False)
    assert where.names <= set(FACTS)
