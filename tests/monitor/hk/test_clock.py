"""Times as logs write them."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.hk.sources.clock import Clock, day_of

THEN = datetime(2020, 2, 19, 9, 28, 46, 831887, tzinfo=UTC).timestamp()


@pytest.mark.parametrize(
    ("form", "text"),
    [
        ("auto", "2020-02-19 09:28:46.831887+00:00"),
        ("auto", "2020-02-19T02:28:46.831887-07:00"),
        ("auto", f"{THEN:.6f}"),
        ("unix_ms", f"{THEN * 1e3:.3f}"),
        ("auto", f"{THEN / 86400 + 40587:.12f}"),
        ("jd", f"{THEN / 86400 + 2440587.5:.10f}"),
        ("%d%m%yD%H%M%S.%fT", "190220D092846.831887T"),
    ],
)
def test_formats(form: str, text: str) -> None:
    found = Clock(form).read(text)
    # a Julian date has 40 us in a double
    assert found == pytest.approx(THEN, abs=1e-4)


@pytest.mark.parametrize("text", ["", "N/A", "25:00:00", "12:61", "1e400", "nan", "0001-01-01", "9999-12-31", "5", "\x00", "12:00:00"])
def test_what_is_no_time(text: str) -> None:
    assert Clock().read(text) is None


def test_midnight_and_a_restart() -> None:
    clock = Clock(day=date(2000, 8, 5))
    assert clock.read("23:59:59.5") == datetime(2000, 8, 5, 23, 59, 59, 500000, tzinfo=UTC).timestamp()
    later = Clock(day=date(2000, 8, 5))
    later.resume(clock.state)
    assert later.read("00:00:01") == datetime(2000, 8, 6, 0, 0, 1, tzinfo=UTC).timestamp()
    # a row that is a second late does not make a day of it
    assert later.read("00:00:00") == datetime(2000, 8, 6, tzinfo=UTC).timestamp()


@given(st.text(max_size=30))
@settings(max_examples=100, deadline=None)
def test_any_text_is_a_time_or_none(text: str) -> None:
    for form in ("auto", "iso", "unix", "mjd", "%H:%M:%S"):
        clock = Clock(form, day=date(2020, 1, 1))
        found = clock.read(text)
        assert found is None or 86400 <= found < 7.3e9
    clock.resume(text)


def test_days_of_names() -> None:
    assert day_of("x/HK_191_050800D000000T.txt", r"_(\d{6})D", "%d%m%y") == date(2000, 8, 5)
    assert day_of("x/HK_191_999999D.txt", r"_(\d{6})D", "%d%m%y") is None
    assert day_of("x", "", "%d") is None
