"""Numbers, durations and names as a report writes them."""

from __future__ import annotations

import math

import pytest

from quicklook.core.judge import number, range_words
from quicklook.service.reporting.latency import latency_s, latency_section, latency_words
from quicklook.service.reporting.words import duration_words, ranged, row_words

NONE = (None, None)


@pytest.mark.parametrize(
    ("values", "normal", "said"),
    [
        ([-0.007148, 0.0003751, 0.006132], (-0.15, 0.15), ["-0.0071", "0.0004", "0.0061"]),
        ([985.0, 1009.0, 1035.0], (500.0, 3000.0), ["985", "1009", "1035"]),
        ([0.9972, 1.002, 1.008], (0.8, 1.2), ["0.997", "1.002", "1.008"]),
        ([20.87, 20.874, 20.88], (19.5, 22.2), ["20.87", "20.87", "20.88"]),
        ([7.6e-6, 2.1e-5, 4.2e-5], (0.0, 0.02), ["7.6e-06", "2.1e-05", "4.2e-05"]),
        ([-1.005, -0.0007635, 0.9572], NONE, ["-1.00", "-0.00076", "0.96"]),
        ([0.4049, 77.92, 2255.0], NONE, ["0.4", "78", "2255"]),
        ([-0.0, 0.0, 0.0], (-0.01, 0.01), ["0", "0", "0"]),
        ([14.4, 15000.5, 123456.7], NONE, ["14", "15000", "123457"]),
        ([1.0, math.inf, math.nan], NONE, ["1", "not measured", "not measured"]),
    ],
)
def test_a_row_has_as_many_digits_as_say_something(values: list[float], normal: tuple[float | None, float | None], said: list[str]) -> None:
    assert row_words(values, normal) == said


@pytest.mark.parametrize(("value", "normal"), [(0.15001, (-0.15, 0.15)), (0.99899, (0.999, 1.0)), (3000.0004, (500.0, 3000.0)), (-1e-9, (0.0, 1.0))])
def test_what_is_outside_of_a_limit_does_not_read_as_the_limit(value: float, normal: tuple[float, float]) -> None:
    told = row_words([value], normal)[0]
    assert float(told) not in normal
    assert not normal[0] <= float(told) <= normal[1]


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0.5664, "0.57 s"), (12.34, "12.3 s"), (60, "1 min 00 s"), (245.4, "4 min 05 s"), (3599.6, "1 h 00 min"), (10862.7, "3 h 01 min"), (1e6, "11 d 13 h"),
        (-100, "-1 min 40 s"), (math.nan, "not known"),
    ],
)  # fmt: skip
def test_durations(seconds: float, said: str) -> None:
    assert duration_words(seconds) == said


def test_names_that_count_up_are_a_range() -> None:
    assert ranged(f"{arm}{n}" for arm in "brz" for n in range(10)) == "b0-b9, r0-r9, z0-z9"
    assert ranged(["b0", "b10", "b9", "b8"]) == "b0, b8-b10"
    assert ranged(["r1", "r0", "exposure", "a01", "a02", "a03"], 3) == "a01, a02, a03 and 3 more"
    assert ranged(["z0", "z1", "z2", "b0", "b1", "b3"], 1) == "b0 and 5 more"


def test_numbers_of_limits_are_written_as_people_do() -> None:
    assert [number(v) for v in (1e4, 15000.0, 123456.7, -20000.0, 1e9, 0.0001, -0.0)] == ["10000", "15000", "123500", "-20000", "1e+09", "0.0001", "0"]
    assert range_words(100.0, 1e4) == "100 to 10000"


def receipt(seen: float, verdict: float) -> dict[str, object]:
    return {"seconds": {"closed": 0.0, "seen": seen, "r0/verdict": verdict - 1, "verdict": verdict}, "seconds_to_verdict": verdict}


def test_of_a_file_that_had_lain_there_the_time_counts_from_when_it_was_seen() -> None:
    old, new = receipt(10818.3, 10862.7), receipt(0.3, 12.0)
    assert latency_words(new) == "12.0 s"
    assert latency_words(old) == "44.4 s after the file was seen; it was 3 h 00 min old then"
    assert latency_s(old) == pytest.approx(44.4)
    grid = latency_section(old).blocks[0]
    assert grid.block == "grid"
    assert [row[0] for row in grid.rows] == ["seen", "verdict"]
    assert grid.rows[1][2:] == ["43.40", "44.40"]
    assert "old when it was seen" in grid.note
    assert latency_words({}) == "not known"
    for broken in (math.nan, math.inf, 10**400, "x", None, [1]):
        assert latency_words({"seconds_to_verdict": broken, "seconds": {"seen": broken}}) == "not known"
        assert latency_section({"seconds": {"seen": broken, "verdict": 1.0}}).blocks[0].block == "grid"
