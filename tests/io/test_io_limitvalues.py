"""Conditions that no frame of an instrument can meet, and tables of metrics."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from quicklook.core.errors import BadConfig, BadData
from quicklook.core.limits import Limit
from quicklook.core.metrics import MetricDef
from quicklook.io.configfiles import list_configs
from quicklook.io.instrument import load_instrument
from quicklook.io.limitvalues import doubtful_values, group_pattern, shadowed
from quicklook.io.metrictable import parse_columns, read_table
from quicklook.service.site import load_site

NOISE = {"read_noise": MetricDef("read_noise", "electron", dims=("amp",), doc="noise"), "level": MetricDef("level", "adu", doc="level")}


def limit(**when: str) -> Limit:
    return Limit(metric="m", unit="", normal=(0, 1), when=when, reason="r", action="a", source="f.yaml:3")


@pytest.mark.parametrize(
    ("when", "said"),
    [
        ({"flavor": "scince"}, "f.yaml:3: the limit of m holds for flavor 'scince', which desi has not (did you mean 'science'?); there it never applies"),
        ({"flavor": "science"}, ""),
        ({"camera": "x0"}, "but cameras of desi are named as"),
        ({"camera": "r0"}, ""),
        ({"arm": "x"}, "which no camera of desi has"),
        ({"arm": "z"}, ""),
        ({"spectrograph": "10"}, "which no camera of desi has"),
        ({"night": "2022-01-01"}, "which is no night (YYYYMMDD)"),
        ({"night": "20220231"}, "which is no night (YYYYMMDD)"),
        ({"amp": "Z"}, "holds for amp 'Z', which desi has not (it has A, B, C, D)"),
        ({"program": "anything", "amp": "D", "test": "BIAS01"}, ""),
        ({"exptime": "=300"}, "for exptime '=300', which is neither a number nor a comparison (write 300); there it never applies"),
        ({"exptime": "!=300"}, "(write two limits, one without the condition and one for 300)"),
        ({"exptime": "\u226560"}, "(write '>=60')"),
        ({"exptime": "60-300"}, "(write '>=60 <=300')"),
        ({"exptime": "long"}, "(write 300, '<300', or '>=60 <300')"),
        ({"exptime": "900.0"}, "which is compared as text (write 900)"),
        ({"exptime": "900"}, ""),
        ({"exptime": "0.5"}, ""),
        ({"exptime": "<0"}, "which no exptime can be"),
        ({"exptime": "-5"}, "which no exptime can be"),
        ({"exptime": ">=60 <300"}, ""),
        ({"night": ">20260101"}, ""),
        ({"night": "<300"}, "which no night can be"),
        ({"expid": ">3 <4"}, "which no expid can be"),
        ({"fiber": "3-20"}, "(write '>=3 <=20')"),
        ({"axis": "<1"}, "which compares numbers, and axis is a name"),
        ({"axis": "z"}, "for axis 'z', which is none (it has x, y)"),
        ({"axis": "y"}, ""),
        ({"program": ">3"}, "which compares numbers, and program is a name"),
        ({"arm": "<5"}, "which no camera of desi has"),
        ({"spectrograph": ">9"}, "which no camera of desi has"),
        ({"spectrograph": ">=5"}, ""),
    ],
)
def test_values_that_the_instrument_has_not(when: dict[str, str], said: str) -> None:
    found = list(doubtful_values([limit(**when)], load_instrument("desi")))
    assert len(found) == bool(said)
    assert said in "".join(found)


@pytest.mark.parametrize(("name", "values", "said"), [("exptime", (60, 300), True), ("exptime", (300, 60), False), ("fiber", (3, 20), False)])
def test_two_numbers_that_read_as_a_range(name: str, values: tuple[int, int], said: bool) -> None:
    one = Limit.model_validate(limit().model_dump() | {"when": {name: list(values)}})
    found = list(doubtful_values([one], load_instrument("desi")))
    exactly = "f.yaml:3: the limit of m holds for exptime 60 and 300 exactly, not between; if a range is meant, write '>=60 <=300'"
    assert found == ([exactly] if said else [])


def test_the_same_conditions_twice_in_a_file() -> None:
    twice = [limit(flavor="zero"), limit(flavor="dark"), limit(flavor="zero"), limit(flavor="zero").model_copy(update={"source": "other.yaml:1"})]
    found = [one.model_copy(update={"source": f"f.yaml:{i}"}) if i < 4 else one for i, one in enumerate(twice, start=1)]
    assert list(shadowed(found)) == ["f.yaml:1: the limit of m never applies: that at f.yaml:3 has the same conditions and comes later"]


@pytest.mark.parametrize("name", list_configs("instruments"))
def test_the_limits_that_are_shipped_can_all_apply(name: str) -> None:
    site = load_site(None, options={"instrument": name})
    limits = site.limits().limits
    assert list(doubtful_values(limits, site.instrument)) == []
    assert list(shadowed(limits)) == []


@pytest.mark.parametrize(
    ("pattern", "inner"),
    [("(?P<arm>[brz])(?P<n>[0-9])", "[brz]"), ("x(?P<arm>(a|b[)])\\)?)y", "(a|b[)])\\)?"), ("(?P<other>x)", ""), ("", ""), (r"(?P<arm>\[\(a)", r"\[\(a")],
)
def test_what_stands_in_a_named_group(pattern: str, inner: str) -> None:
    assert group_pattern(pattern, "arm") == inner


TABLE = "Night,EXPID,camera,AMP,RN,Flavor\n20220101,7,r0,A,2.5,zero\n20220101,7,r0,B,,zero\n20220102,8,xx,A,nan,dark\n"


def test_a_table_of_values(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("\ufeff" + TABLE)
    got = read_table(path, parse_columns(["read_noise=rn", "level=RN"], NOISE), NOISE, "(?P<arm>[brz])(?P<spectrograph>[0-9])")
    noise = [s for s in got if s.metric == "read_noise"]
    assert [(str(s.key), s.unit, dict(s.coords)) for s in noise] == [
        ("20220101/00000007/r0", "electron", {"amp": "A"}),
        ("20220101/00000007/r0", "electron", {"amp": "B"}),
        ("20220102/00000008/xx", "electron", {"amp": "A"}),
    ]
    assert noise[0].value == 2.5
    assert all(math.isnan(s.value) for s in noise[1:])
    assert noise[0].tags == {"camera": "r0", "night": "20220101", "flavor": "zero", "arm": "r", "spectrograph": "0"}
    assert "arm" not in noise[2].tags
    assert [dict(s.coords) for s in got if s.metric == "level"] == [{}, {}, {}]


def test_a_table_that_cannot_be_used(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    with pytest.raises(BadData, match=r"t.csv:2: RN is .* which is no number"):
        path.write_text(TABLE.replace("2.5", "2;5"))
        read_table(path, {"read_noise": "RN"}, NOISE)
    for night in ("", "nan", "inf", "2022.5", "-3", "x"):
        path.write_text(TABLE.replace("20220102", night))
        with pytest.raises(BadData, match=r"t.csv:4: Night is|name no exposure"):
            read_table(path, {"read_noise": "RN"}, NOISE)
    for rows, said in (("20220101,7\n", "too few"), ("20220101,7,r0,A,2.5,zero,9\n", "too many"), ("99999999,7,r0,A,2.5,zero\n", "no night")):
        path.write_text(TABLE + rows)
        with pytest.raises(BadData, match=rf"t.csv:5: .*{said}") as caught:
            read_table(path, {"read_noise": "RN"}, NOISE)
        assert caught.value.what_next == "Correct the table."
    path.write_text(TABLE)
    with pytest.raises(BadConfig, match=r"has no column rnn; did you mean 'rn'\?"):
        read_table(path, {"read_noise": "RNN"}, NOISE)
    with pytest.raises(BadConfig, match="cannot be read: No such file"):
        read_table(tmp_path / "no.csv", {"read_noise": "RN"}, NOISE)
    with pytest.raises(BadConfig, match=r"no QA measures 'reed_noise'; did you mean 'read_noise'"):
        parse_columns(["reed_noise"], NOISE)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(BadData, match="is no table of comma-separated values"):
        read_table(path, {"read_noise": "RN"}, NOISE)
