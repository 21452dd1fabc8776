"""Times as logs write them: ISO, Unix, MJD, any strptime format, and clocks without a date. All become Unix seconds, UTC."""

from __future__ import annotations

import math
import re
from datetime import UTC, date, datetime, timedelta
from datetime import time as daytime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from quicklook.core.errors import BadConfig

_MJD_OF_1970 = 40587.0
_DAY = 86400.0
_CLOCK = re.compile(r"(\d{1,2}):(\d{2})(?::(\d{2})(?:[.,](\d{1,9}))?)?\Z")
_NUMBERS = ("unix", "unix_ms", "unix_ns", "mjd", "jd")
FIRST, LAST = datetime(1970, 1, 2, tzinfo=UTC).timestamp(), datetime(2200, 1, 1, tzinfo=UTC).timestamp()
"""Times beyond are taken for what they are: no times."""


def zone_of(name: str) -> ZoneInfo:
    """The time zone of that name. Raises BadConfig."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise BadConfig(f"there is no time zone {name!r}; write such as UTC or America/Phoenix") from error


class Clock:
    """Reads times in one format (`auto`, `iso`, `unix`, `unix_ms`, `unix_ns`, `mjd`, `jd`, or a strptime format) of one time zone.

    A time of day needs a date: `day` is that of the first one; each time that it goes back by more than half a day, a day has passed.
    """

    def __init__(self, form: str = "auto", zone: str = "UTC", day: date | None = None) -> None:
        self.form, self.zone, self.day = form, zone_of(zone), day
        self._last_of_day = -1.0
        self._last = -math.inf

    def read(self, text: str) -> float | None:
        """Unix seconds, or None for what is no time."""
        text = text.strip()
        try:
            found = self._number(text) if self.form in _NUMBERS else self._text(text)
        except (ValueError, OverflowError):
            return None
        return found if found is not None and FIRST <= found <= LAST else None

    def _number(self, text: str) -> float:
        return from_number(float(text), self.form)

    def _text(self, text: str) -> float | None:
        if self.form not in ("auto", "iso"):
            parsed = datetime.strptime(text, self.form)
            dated = any(code in self.form for code in ("%d", "%j", "%D", "%x", "%c", "%s"))
            return self._utc(parsed) if dated else self._of_day(parsed.time())
        if found := _CLOCK.match(text):
            h, m, s, fraction = found.groups()
            return self._of_day(daytime(int(h), int(m), int(s or 0), int(f"{fraction or 0:0<6}"[:6])))
        try:
            return self._utc(datetime.fromisoformat(text))
        except ValueError:
            if self.form == "iso":
                raise
            return guess_number(float(text))

    def _of_day(self, time: daytime) -> float | None:
        if self.day is None:
            return None
        seconds = time.hour * 3600 + time.minute * 60 + time.second + time.microsecond / 1e6
        if seconds < self._last_of_day - _DAY / 2:
            self.day += timedelta(days=1)
        self._last_of_day = seconds
        return self._utc(datetime.combine(self.day, time))

    def _utc(self, parsed: datetime) -> float:
        if parsed.tzinfo is not None:
            return parsed.timestamp()
        found = parsed.replace(tzinfo=self.zone).timestamp()
        if found < self._last - 1:  # the hour that comes twice when summer time ends
            again = parsed.replace(tzinfo=self.zone, fold=1).timestamp()
            found = again if again - self._last < _DAY / 2 else found
        self._last = found
        return found

    @property
    def state(self) -> str:
        """What is to be remembered over a restart; for `resume`."""
        return f"{self.day.isoformat() if self.day else ''}|{self._last_of_day!r}|{self._last!r}"

    def resume(self, state: str) -> None:
        """Go on as the clock that gave this state; what is no state is passed over."""
        day, _, rest = state.partition("|")
        of_day, _, last = rest.partition("|")
        try:
            self.day = date.fromisoformat(day) if day else self.day
            self._last_of_day, self._last = float(of_day), float(last)
        except ValueError:
            return


def from_number(value: float, form: str) -> float:
    """Unix seconds of a number in a format of numbers. Raises ValueError for another format."""
    if form == "mjd":
        return (value - _MJD_OF_1970) * _DAY
    if form == "jd":
        return (value - 2400000.5 - _MJD_OF_1970) * _DAY
    return value / {"unix": 1.0, "unix_ms": 1e3, "unix_ns": 1e9}[form]


def guess_number(value: float) -> float:
    """Unix seconds of a number in some format: MJD, JD, Unix seconds, milliseconds or nanoseconds have ranges of their own in these centuries."""
    for form, low, high in (("mjd", 40000, 120000), ("jd", 2.44e6, 2.53e6), ("unix", 1e8, 1e10), ("unix_ms", 1e11, 1e13), ("unix_ns", 1e17, 1e19)):
        if low <= value <= high:
            return from_number(value, form)
    raise ValueError(f"{value} is no time")


def day_of(text: str, pattern: str, form: str) -> date | None:
    """The date that a name has: `pattern` is a regular expression with one group, `form` the strptime format of it. None where there is none."""
    found = re.search(pattern, text) if pattern else None
    if found is None:
        return None
    try:
        return datetime.strptime(found.group(1), form).date()
    except ValueError:
        return None
