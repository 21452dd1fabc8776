"""Names of units and parts."""

from __future__ import annotations

import pytest

from quicklook.core.errors import BadData
from quicklook.core.keys import PartKey, Unit


@pytest.mark.parametrize(("text", "key"), [("20220101/102", (20220101, 102)), (" 20220101/00000102 ", (20220101, 102))])
def test_units_are_read_and_written(text: str, key: tuple[int, int]) -> None:
    assert Unit.parse(text) == Unit(*key)
    assert Unit.parse("102", night=20220101) == Unit(20220101, 102)
    assert str(PartKey(Unit(*key), "r0")) == "20220101/00000102/r0"


@pytest.mark.parametrize(
    "text", ["", "102", "x", "20220101/", "/102", "20220101/1/2", "2022/1", "-1", "20220101/-1", "1e3", "20220101/" + "9" * 19, "１"]
)
def test_what_names_no_unit(text: str) -> None:
    with pytest.raises(ValueError, match="names no unit; write NIGHT/EXPID"):
        Unit.parse(text)


@pytest.mark.parametrize(("night", "expid"), [(20220101, 10**18), (10**8, 1), (-1, 1), (20220101, -1)])
def test_a_unit_that_could_not_be_read_back_cannot_be_made(night: int, expid: int) -> None:
    """The journal holds its text: one that `parse` refuses would stop the daemon at every start."""
    with pytest.raises(BadData, match="name no exposure"):
        Unit(night, expid)


@pytest.mark.parametrize(("night", "expid"), [(0, 0), (99999999, 10**18 - 1), (20220101, 7)])
def test_every_unit_that_can_be_made_is_read_back(night: int, expid: int) -> None:
    unit = Unit(night, expid)
    assert Unit.parse(str(unit)) == unit
    assert sorted([Unit(2, 1), Unit(1, 9), unit])[-1] == max(unit, Unit(2, 1))
