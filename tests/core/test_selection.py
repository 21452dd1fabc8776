"""Numbers, nights and cameras as they are written on the command line."""

from __future__ import annotations

import pytest

from quicklook.core.errors import BadConfig
from quicklook.core.selection import Numbers, Parts, parse_nights

CAMERAS = {f"{arm}{n}": {"arm": arm, "spectrograph": str(n)} for arm in "brz" for n in range(10)}


def taken(text: str) -> str:
    parts = Parts.parse(text)
    assert not parts.idle(CAMERAS)
    return " ".join(sorted(c for c, tags in CAMERAS.items() if parts.takes(c, tags)))


@pytest.mark.parametrize(
    ("text", "cameras"),
    [
        ("r0", "r0"),
        ("R0,z1", "r0 z1"),
        ("a01b4", "b0 b1 b4 r0 r1 z0 z1"),
        ("br0", "b0 r0"),
        ("z", " ".join(f"z{n}" for n in range(10))),
        ("*9", "b9 r9 z9"),
        ("b*", " ".join(f"b{n}" for n in range(10))),
        ("?7", "b7 r7 z7"),
        ("b0*12", "b0 b1 b2 r1 r2 z1 z2"),
        ("[bz]3", "b3 z3"),
        ("b01r2", "b0 b1 r2"),
    ],
)
def test_a_specification_of_cameras(text: str, cameras: str) -> None:
    assert taken(text) == cameras


def test_the_issues_own_example() -> None:
    assert taken("a0123b4") == " ".join(sorted([f"{arm}{n}" for arm in "brz" for n in range(4)] + ["b4"]))


def test_names_without_arms_go_by_name_and_pattern() -> None:
    bench: dict[str, dict[str, str]] = {"ccd1": {}, "ccd2": {}, "a": {}, "b": {}}
    parts = Parts.parse("ccd*,a")
    assert [c for c in bench if parts.takes(c, {})] == ["ccd1", "ccd2", "a"]
    assert Parts.parse("ccd3").idle(bench) == ("ccd3",)
    assert Parts().takes("anything", {})


def test_an_item_that_takes_nothing_is_named() -> None:
    assert Parts.parse("r0,x3,r-5").idle(CAMERAS) == ("x3", "r-5")
    assert Parts.parse("b0r0x0,q*").idle(CAMERAS) == ("x0", "q*")
    with pytest.raises(BadConfig, match="empty"):
        Parts.parse("r0,,b1")


def test_numbers_and_ranges() -> None:
    numbers = Numbers.parse("100-104, 110,200-200", "--expid")
    assert [n for n in range(90, 210) if n in numbers] == [100, 101, 102, 103, 104, 110, 200]
    assert "100" not in numbers
    for wrong, why in (("104-100", "backwards"), ("a", "no number"), ("1-", "no number"), ("", "no number"), ("-5", "no number")):
        with pytest.raises(BadConfig, match=why):
            Numbers.parse(wrong, "--expid")


def test_a_night_has_eight_digits() -> None:
    assert 20220101 in parse_nights("20211231-20220102")
    with pytest.raises(BadConfig, match="no night"):
        parse_nights("101")
