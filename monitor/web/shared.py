"""One answer for many pages: all of them hear of an event at once, and ask the same."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from anyio import CapacityLimiter
from anyio.to_thread import run_sync

from quicklook.core.hosting import Host

_OLDEST_S = 1.0
_MOST = 64
_REST = 10.0
"""The next answer to the same question waits so many times as long as the last one took: while events come, it costs a tenth of a core at most."""
_LONGEST_REST_S = 1.0
_HANGS_S = 30.0


@dataclass(eq=False, slots=True)
class _Kept:
    """An answer; `version` is that of the journal when its making began, None before: whoever asks till then gets it, for it will be new enough."""

    version: object = None
    began: float = 0.0
    ended: float = 0.0
    answer: asyncio.Task[bytes] | None = None

    def good(self, version: object, now: float) -> bool:
        """Whether it may be given to who asks now."""
        if self.answer is None or (self.answer.done() and _failed(self.answer)):
            return False
        return self.version is None or (self.version == version and now - self.began <= _OLDEST_S)

    async def rest(self) -> None:
        """Until another one may be made."""
        if self.answer is not None and not self.answer.done():
            await asyncio.wait([self.answer], timeout=_HANGS_S)
        await asyncio.sleep(self.ended + min(_REST * (self.ended - self.began), _LONGEST_REST_S) - time.monotonic())


class Shared:
    """Answers by what was asked, each as long as the journal is the same, and no longer than a second."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._kept: OrderedDict[str, _Kept] = OrderedDict()

    async def get(self, asked: str, limiter: CapacityLimiter, make: Callable[[], Awaitable[bytes]]) -> bytes:
        """The answer to what is asked, made now unless it is there, or is being made. Raises what `make` raises, and what a journal raises."""
        version, now = await run_sync(self._host.changed, limiter=limiter), time.monotonic()
        kept = self._kept.get(asked)
        if kept is None or not kept.good(version, now):
            before, kept = kept, _Kept()
            kept.answer = asyncio.ensure_future(self._made(kept, before, limiter, make))
            self._kept[asked] = kept
            self._kept.move_to_end(asked)
            while len(self._kept) > _MOST:
                self._kept.popitem(last=False)
        assert kept.answer is not None
        return await asyncio.shield(kept.answer)  # who asked first may go away meanwhile

    async def _made(self, kept: _Kept, before: _Kept | None, limiter: CapacityLimiter, make: Callable[[], Awaitable[bytes]]) -> bytes:
        if before is not None:
            await before.rest()
        del before  # else each would keep the one before it for ever
        kept.version = await run_sync(self._host.changed, limiter=limiter)
        kept.began = time.monotonic()
        try:
            return await make()
        finally:
            kept.ended = time.monotonic()


def _failed(task: asyncio.Task[bytes]) -> bool:
    return task.cancelled() or task.exception() is not None
