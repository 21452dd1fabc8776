from __future__ import annotations

import math
from dataclasses import replace

import pytest
from qa_frames import exposure

from qa.check_file import CheckFile
from quicklook.ccd.exposure import Arrival, Companion
from quicklook.core.metrics import Measures


def check(**changes: object) -> Measures:
    values: dict[str, object] = {
        "file": "desi-00000102.fits.fz",
        "size": 1000,
        "hdus": ("PRIMARY", "r0"),
        "expected_hdus": ("R0",),
        "companions": (Companion(role="fibermap", name="fibermap-00000102.fits", present=True, required=True),),
        "night_of_header": 20220101,
        "night_of_time": 20220101,
        "night_of_path": 20220101,
    }
    return CheckFile().measure(Arrival(**{**values, **changes}))  # type: ignore[arg-type]


def value(measures: Measures, name: str) -> float:
    return float(measures[name].values.ravel()[0])


def test_good_file() -> None:
    got = check()
    for metric in got.metrics:
        assert metric.values.ravel().tolist() == [0.0], metric.name
        assert not metric.remarks
    assert got.facts["night_of_header"] == 20220101
    assert got.facts["companions"] == "fibermap: fibermap-00000102.fits (there)"
    assert len(got.plots) == 1


def test_missing_keywords_are_counted_and_named() -> None:
    got = check(missing_keywords=("GAINA", "EXPTIME"))["missing_keywords"]
    assert float(got.values) == 2
    assert got.remarks[()] == "GAINA, EXPTIME not in the header"


def test_header_problems() -> None:
    got = check(problems={"headers": ("EXPTIME = -3 is no exposure time", "EXPID 103 in the header, 102 in the file name")})
    assert value(got, "header_problems") == 2
    assert "EXPTIME = -3" in got["header_problems"].remarks[()]


@pytest.mark.parametrize(
    ("flavor", "seconds", "problems"), [("science", 0.0, 1), ("dark", 0.0, 1), ("flat", 0.0, 1), ("zero", 0.0, 0), ("science", 1.0, 0)]
)
def test_an_exposure_time_of_nothing_is_that_of_a_zero_alone(flavor: str, seconds: float, problems: int) -> None:
    got = CheckFile().measure(Arrival(file="f", size=1, hdus=(), expected_hdus=()), exposure(flavor, seconds))["header_problems"]
    assert float(got.values) == problems
    assert not problems or got.remarks[()] == f"the exposure time is 0 s, but the flavor {flavor}"


@pytest.mark.parametrize("told", ["ETCTRANS = -1.0 is no transparency", "SEEING = 99 is no seeing in arcsec"])
def test_a_value_that_nothing_needs_is_odd_and_no_problem(told: str) -> None:
    got = check(problems={"headers": (told, "EXPTIME = -3 is no exposure time")})
    assert (value(got, "header_oddities"), value(got, "header_problems")) == (1, 1)
    assert got["header_oddities"].remarks[()] == told


def test_a_transparency_of_zero_is_said() -> None:
    arrival = Arrival(file="f", size=1, hdus=(), expected_hdus=())
    for flavor, transparency, odd in (("science", 0.0, 1), ("science", 0.9, 0), ("science", None, 0), ("flat", 0.0, 0)):
        got = CheckFile().measure(arrival, replace(exposure(flavor, 900.0), transparency=transparency))["header_oddities"]
        assert float(got.values) == odd


def test_missing_extensions_are_counted_once() -> None:
    got = check(hdus=("PRIMARY",), problems={"hdus": ("extension R0 is not there",)})["hdu_missing"]
    assert float(got.values) == 1
    assert got.remarks[()] == "R0 not in the file"
    assert value(check(problems={"hdus": ("B0 is no image",)}), "hdu_missing") == 1


@pytest.mark.parametrize(
    ("header", "time", "path", "expected"),
    [
        (20220102, 20220101, 20220101, 1.0),
        (20211231, 20220101, None, -1.0),
        (20220101, 20220101, 20220104, 3.0),
        (20220301, 20220228, 20220228, 1.0),
        (20220102, None, 20220101, 1.0),
        (None, 20220101, 20220101, 0.0),
        (20221399, 20220101, 20220101, math.nan),
        (20220101, None, None, math.nan),
        (None, None, None, math.nan),
    ],
)
def test_night(header: int | None, time: int | None, path: int | None, expected: float) -> None:
    got = check(night_of_header=header, night_of_time=time, night_of_path=path)["night_error"]
    assert float(got.values) == pytest.approx(expected, nan_ok=True)
    assert bool(got.remarks) == (expected != 0.0)


def test_night_by_the_time_alone_is_nothing_to_compare() -> None:
    got = check(night_of_header=None, night_of_path=None)["night_error"]
    assert got.not_applicable
    told = check(night_of_header=None, night_of_path=None, problems={"night": ("NIGHT = abc is no night",)})["night_error"]
    assert math.isnan(float(told.values))
    assert "abc" in told.remarks[()]


def test_missing_required_companion_is_not_measured() -> None:
    absent = Companion(role="fibermap", name="fibermap-00000102.fits", present=False, required=True)
    got = check(companions=(absent,), problems={"companions": ("fibermap-00000102.fits is not there",)})
    assert math.isnan(value(got, "companion_missing"))
    assert got["companion_missing"].remarks == {("fibermap",): "fibermap-00000102.fits is not there"}
    assert value(got, "companion_problems") == 0  # said once


def test_missing_optional_companion_is_a_fact() -> None:
    got = check(companions=(Companion(role="guide", name="guide-102.fits", present=False, required=False),))
    assert got["companion_missing"].not_applicable
    assert got.facts["companions"] == "guide: guide-102.fits (absent)"


def test_companion_of_another_exposure() -> None:
    got = check(problems={"companions": ("fibermap-00000102.fits is of exposure 101",)})
    assert value(got, "companion_problems") == 1


def test_two_companions_of_one_role_have_names_of_their_own() -> None:
    two = tuple(Companion(role="guide", name=f"guide-{i}.fits", present=True, required=True) for i in (1, 2))
    assert check(companions=two)["companion_missing"].coords["companion"] == ("guide guide-1.fits", "guide guide-2.fits")


def test_without_companions() -> None:
    got = check(companions=())
    assert got["companion_missing"].not_applicable
    assert got["companion_problems"].not_applicable


def test_what_a_reader_says_twice_is_counted_once() -> None:
    got = check(
        missing_keywords=("GAINA", "EXPTIME"),
        night_of_header=20220102,
        problems={"headers": ("not in the header: GAINA, EXPTIME",), "night": ("NIGHT = 20220102, but the path says 20220101",)},
    )
    assert value(got, "missing_keywords") == 2
    assert value(got, "header_problems") == 0
    assert got["night_error"].remarks[()] == "NIGHT = 20220102, but the path says 20220101"
