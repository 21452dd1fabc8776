"""One answer for many pages: it is never older than the question, and is not made more often than it is cheap to."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import anyio
import pytest

from monitor.web.shared import Shared
from quicklook.core.hosting import Host

MAKING_S = 0.02


class Journal:
    """Counts events; an answer takes 20 ms, and is the number of the last event when its making began."""

    def __init__(self) -> None:
        self.last, self.made = 0, 0

    def changed(self) -> object:
        return self.last

    async def make(self) -> bytes:
        self.made += 1
        seen = self.last
        await asyncio.sleep(MAKING_S)
        return b"%d" % seen


async def _busy(journal: Journal, pages: int, seconds: float) -> tuple[list[float], float]:
    """So many pages ask at odd times while events come; how long each waited, and for how long the machine had no time for us."""
    shared, limiter, waits = Shared(cast(Host, journal)), anyio.CapacityLimiter(8), list[float]()

    async def page(number: int) -> None:
        await asyncio.sleep(0.013 * number)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            asked, began = journal.last, time.monotonic()
            answer = int(await shared.get("night", limiter, journal.make))
            assert answer >= asked, "an answer is older than its question"
            waits.append(time.monotonic() - began)
            await asyncio.sleep(0.05)

    late = 0.0

    async def events() -> None:
        nonlocal late
        while True:
            journal.last += 1
            began = time.monotonic()
            await asyncio.sleep(0.01)
            late += time.monotonic() - began - 0.01

    coming = asyncio.ensure_future(events())
    await asyncio.gather(*(page(n) for n in range(pages)))
    coming.cancel()
    return waits, late


def test_many_pages_that_ask_while_events_come_cost_a_tenth_of_the_time_and_get_no_old_answer() -> None:
    journal = Journal()
    waits, late = asyncio.run(_busy(journal, 10, 1.2))
    assert 2 <= journal.made <= 8, "at 20 ms each, in 1.2 s, with ten times that between them"
    assert max(waits) < 0.8 + 10 * late, "a rest is ten times as long as it took"


def test_who_asks_after_a_quiet_time_waits_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    rests, sleep, quiet_s = list[float](), asyncio.sleep, 1.1  # longer than the longest rest

    async def noted(seconds: float) -> None:
        rests.append(seconds)
        await sleep(seconds)

    async def ask() -> None:
        journal, limiter = Journal(), anyio.CapacityLimiter(8)
        shared = Shared(cast(Host, journal))
        for _ in range(3):
            journal.last += 1
            assert await shared.get("state", limiter, journal.make) == b"%d" % journal.last
            await sleep(quiet_s)

    monkeypatch.setattr(asyncio, "sleep", noted)
    asyncio.run(ask())
    assert len([s for s in rests if s == MAKING_S]) == 3
    assert max(s for s in rests if s != MAKING_S) <= 0


def test_a_failure_is_told_and_not_kept() -> None:
    async def ask() -> bytes:
        journal, limiter = Journal(), anyio.CapacityLimiter(8)
        shared = Shared(cast(Host, journal))

        async def fails() -> Any:
            raise OSError("gone")

        with pytest.raises(OSError, match="gone"):
            await shared.get("state", limiter, fails)
        return await shared.get("state", limiter, journal.make)

    assert asyncio.run(ask()) == b"0"
