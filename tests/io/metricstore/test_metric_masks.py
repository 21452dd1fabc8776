"""Conditions over columns mean what they mean for one row; elements come back bit by bit."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quicklook.core.errors import BadData
from quicklook.core.metrics import label_of
from quicklook.core.where import parse_where
from quicklook.io.metricstore.elements import column_of
from quicklook.io.metricstore.masks import mask
from quicklook.io.metricstore.packing import pack, unpack

NAMES = ("night", "camera", "value")
WORDS = ["r0", "b0", "1", "1.0", "01", "-3", "2e0", "nan", "x y", "20220101"]
OPERATORS = ["=", "!=", "<", "<=", ">", ">=", "==", "in", "not in"]


@st.composite
def conditions(draw: st.DrawFn, depth: int = 3) -> str:
    if depth == 0 or draw(st.booleans()):
        name, op, words = draw(st.sampled_from(NAMES)), draw(st.sampled_from(OPERATORS)), [f"'{draw(st.sampled_from(WORDS))}'" for _ in range(2)]
        return f"{name} {op} ({', '.join(words)})" if op.endswith("in") else f"{name} {op} {words[0]}"
    kind = draw(st.sampled_from(["not", "and", "or"]))
    first = draw(conditions(depth - 1))
    return f"not ({first})" if kind == "not" else f"({first}) {kind} ({draw(conditions(depth - 1))})"


ROWS = st.lists(
    st.tuples(
        st.sampled_from([20220101, 1, -3, 2, 20220101203000123]), st.sampled_from(["", "r0", "1", "01", "x y"]), st.sampled_from([1.0, -3.0, 2.5, float("nan")])
    ),
    max_size=8,
)


@settings(deadline=None, max_examples=150)
@given(text=conditions(), rows=ROWS)
def test_a_mask_is_the_condition_row_by_row(text: str, rows: list[tuple[Any, ...]]) -> None:
    where = parse_where(text, NAMES)
    columns = {
        "night": np.array([r[0] for r in rows], np.int64),
        "camera": np.array([*(r[1] for r in rows), None], object)[:-1],
        "value": np.array([r[2] for r in rows], np.float64),
    }
    expected = [where({"night": str(r[0]), "camera": r[1], "value": "" if r[2] != r[2] else label_of(r[2])}) for r in rows]
    assert mask(where, columns.__getitem__).tolist() == expected


@pytest.mark.parametrize(("text", "wanted"), [
    ("night = 20220101203000124", [False, True]), ("night > 20220101203000123", [False, True]), ("night in (20220101203000123, x)", [True, False]),
    ("night not in (20220101203000124)", [True, False]), (f"night < {'9' * 400}", [True, True]), ("night < 2.5e17", [True, True]),
])  # fmt: skip
def test_numbers_of_more_digits_than_a_double_has_are_told_apart(text: str, wanted: list[bool]) -> None:
    column = np.array([20220101203000123, 20220101203000124], np.int64)
    assert mask(parse_where(text, NAMES), lambda _: column).tolist() == wanted


DECIMALS = st.integers(0, 8).flatmap(lambda places: st.integers(-(2**33), 2**33).map(lambda whole: whole / 10**places))


@settings(deadline=None)
@given(st.lists(st.floats(), min_size=1, max_size=600) | st.lists(DECIMALS, min_size=1, max_size=600) | st.lists(st.just(-0.0) | DECIMALS | st.floats(), min_size=1))
def test_elements_come_back_bit_by_bit(values: list[float]) -> None:
    array = np.array(values, np.float64)
    assert unpack(pack(array), len(values), np.float64).tobytes() == array.tobytes()


def test_decimals_are_small() -> None:
    assert len(pack(np.array([7.0, 0.0, -3.0, 12.0]))) == 8
    assert len(pack(np.round(np.linspace(-400.0, 400.0, 500), 2))) < 1100
    assert len(pack(np.linspace(0.0, 1.0, 4) / 3)) == 33


@pytest.mark.parametrize("blob", [b"", b"\2", b"\2\1\3\0xxx", b"\2\1\1\0xx", b"\2\1\2\0xxx", b"\2\1\4", b"\1xxxx", b"\0" + b"x" * 7, b"\0" + b"x" * 16, pack(np.zeros(500))[:-4]])
def test_other_bytes_are_told(blob: bytes) -> None:
    with pytest.raises(BadData):
        unpack(blob, 1 if len(blob) < 20 else 500, np.float64)


def test_columns_have_the_type_of_what_is_in_them() -> None:
    assert column_of([1, 2]).dtype == np.int64
    assert column_of([1, 2.5]).dtype == np.float64
    assert column_of([1, "a"]).tolist() == ["1", "a"]
    assert column_of([2**70]).tolist() == [float(2**70)]
    assert column_of([]).tolist() == []
