"""Calls into a file system that may never come back, made in a thread of their own.

A stat(2) on a network file system whose server is gone does not return until the server does, be it for hours. Who cannot wait for that asks here,
and goes on with other work where the answer does not come.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, TypeVar

T = TypeVar("T")

MOMENT_S = 0.3
"""So long who has other work waits for an answer."""
_KEPT = 200
"""So many answers that nobody has come back for are kept."""


class NoAnswer(Exception):
    """The call is not back yet; ask for the same again later."""


@dataclass(slots=True)
class _Call:
    key: Hashable
    do: Callable[[], Any]
    since: float
    answer: Any = None
    error: BaseException | None = None
    back: threading.Event = field(default_factory=threading.Event)
    left: bool = False


class Aside:
    """Makes calls in a thread of its own, one at a time. All else is for one other thread: the one that asks.

    `late` is called, in the thread of the calls, when one has come back for which nobody waits any more.
    """

    def __init__(self, name: str, late: Callable[[], None] = lambda: None) -> None:
        self._late = late
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._out: _Call | None = None
        self._answers: dict[Hashable, _Call] = {}
        # a daemon thread: one that hangs must not keep the program from ending
        threading.Thread(target=self._run, name=name, daemon=True).start()

    @property
    def busy(self) -> bool:
        """Whether a call is out."""
        return self._out is not None and not self._out.back.is_set()

    @property
    def out_s(self) -> float:
        """So many seconds a call has been out; 0 where none is."""
        return time.monotonic() - self._out.since if self.busy and self._out is not None else 0.0

    def ask(self, key: Hashable, do: Callable[[], T], within_s: float = MOMENT_S) -> T:
        """What `do` gives or raises; it is made once for a key until its answer is fetched.

        Raises NoAnswer where it is not back within the time, or another one is out: then ask again with the same key, the answer is kept.
        """
        if not self.busy:
            self._keep()
            if key not in self._answers:
                self._out = _Call(key, do, time.monotonic())
                self._calls.put(self._out)
        if self._out is not None and self._out.key == key and self._is_back(self._out, 0.0 if self._out.left else within_s):
            self._keep()
        if (call := self._answers.pop(key, None)) is None:
            raise NoAnswer
        if call.error is not None:
            raise call.error
        return call.answer  # type: ignore[no-any-return]

    def close(self) -> None:
        """Make no more calls. One that is out is not waited for."""
        self._calls.put(None)

    @staticmethod
    def _is_back(call: _Call, within_s: float) -> bool:
        if not call.back.wait(within_s):
            call.left = True  # from now on it is told when it comes back, unless it just has
        return call.back.is_set()

    def _keep(self) -> None:
        if self._out is not None:
            self._answers[self._out.key] = self._out
            self._out = None
        while len(self._answers) > _KEPT:
            del self._answers[next(iter(self._answers))]

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            try:
                call.answer = call.do()
            except BaseException as error:  # raised where it is asked for
                call.error = error
            call.back.set()
            if call.left:
                self._late()
