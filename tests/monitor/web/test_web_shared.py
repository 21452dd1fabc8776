"""One answer for many pages: it is never older than the question, and is not made more often than it is cheap to."""

from __future__ import annotations

import asyncio
import time
from typing import Any, cast

import anyio
import pytest

from monitor.web.shared import Shared
from quicklook.core.hosting import Host


class Journal:
    """Counts events; an answer takes 20 ms, and is the number of the last event when its making began."""

    def __init__(self) -> None:
        self.last, self.made = 0, 0

    def changed(self) -> object:
        return self.last

    async def make(self) -> bytes:
        self.made += 1
        seen = self.last
        await asyncio.sleep(0.02)
        return b"%d" % seen


async def _busy(journal: Journal, pages: int, seconds: float) -> list[float]:
    """So many pages ask at odd times while events come; how long each waited."""
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

    async def events() -> None:
        while True:
            journal.last += 1
            await asyncio.sleep(0.01)

    coming = asyncio.ensure_future(events())
    await asyncio.gather(*(page(n) for n in range(pages)))
    coming.cancel()
    return waits


def test_many_pages_that_ask_while_events_come_cost_a_tenth_of_the_time_and_get_no_old_answer() -> None:
    journal = Journal()
    waits = asyncio.run(_busy(journal, 10, 1.2))
    assert 2 <= journal.made <= 8, "at 20 ms each, in 1.2 s, with ten times that between them"
    assert max(waits) < 0.8


def test_who_asks_after_a_quiet_time_waits_for_nobody() -> None:
    async def ask() -> list[float]:
        journal, limiter, took = Journal(), anyio.CapacityLimiter(8), list[float]()
        shared = Shared(cast(Host, journal))
        for _ in range(3):
            journal.last += 1
            began = time.monotonic()
            assert await shared.get("state", limiter, journal.make) == b"%d" % journal.last
            took.append(time.monotonic() - began)
            await asyncio.sleep(0.35)
        return took

    assert max(asyncio.run(ask())) < 0.15


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
