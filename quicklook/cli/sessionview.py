"""How a session looks in a terminal."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rich.console import RenderableType

    from quicklook.core.events import SessionNow, SessionTestNow

_OVER = ("done", "closed", "failed")


def session_line(session: SessionNow) -> str:
    """How far the session is, and what is left of it."""
    over = sum(t.state in _OVER for t in session.tests)
    seen, expected = sum(t.seen for t in session.tests), sum(t.expected for t in session.tests)
    line = f"Session {session.name}, run {session.run}: {over} of {len(session.tests)} tests over{_failed(session)}"
    line += f", {seen} of {expected} exposures seen"
    if expected:
        line += f" ({100 * seen / expected:.0f} %)"
    if session.trouble:
        line += f"; IT CANNOT GO ON, and tries again: {session.trouble}"
    if session.over:
        return f"{line}; the session is over."
    if session.exposure_s:
        line += f"; exposures that are still expected take {span(session.exposure_s)}"
    closes = [t.closes for t in session.tests if t.closes is not None]
    return f"{line}; the next test is closed in {span(max(0.0, (min(closes) - time.time_ns()) / 1e9))} at the latest." if closes else f"{line}."


def _failed(session: SessionNow) -> str:
    number = sum(t.state == "failed" for t in session.tests)
    return f" ({number} failed)" if number else ""


def session_table(session: SessionNow) -> RenderableType:
    """A row a test: what is expected, seen, judged, what is done with it, its verdict and flags."""
    from rich.table import Table

    from quicklook.cli.view import status_text

    table = Table("test", "state", "exposures", "numbers", "verdict", "flags", "minutes")
    for test in session.tests:
        minutes = sum(test.minutes.values())
        verdict = status_text(test.status) if test.status else "not yet"
        table.add_row(
            test.name, _state(test), f"{test.seen} of {test.expected}, {test.judged} judged", test.exposures, verdict, " ".join(test.flags),
            f"{minutes:.2f}" if test.minutes else "",
        )  # fmt: skip
    return table


def _state(test: SessionTestNow) -> str:
    word = {"closed": "closed at its time-out", "running": f"running: {test.subtask}" if test.subtask else "running"}.get(test.state, test.state)
    return f"{word}; aborted: {test.aborted}" if test.aborted else word


def span(seconds: float) -> str:
    """``45 s``, ``12 min``, ``3.5 h``."""
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
