"""Processes that do pieces of the work of a sink: each can crash or hang, costs its own piece alone, and is replaced."""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess
from typing import Any

from quicklook.core.errors import Transient, describe
from quicklook.core.events import Draft, Event
from quicklook.core.results import Failure
from quicklook.core.sink import PiecedSink, PoolSize, SinkContext
from quicklook.service.publishing.pieces import Task
from quicklook.service.running import runlog

log = logging.getLogger("quicklook.sinks")

_OPEN_S = 120.0
"""So long a process may take to get ready."""
_DEATHS = 3
_REST_S = 10.0
"""After so many processes in a row that ended before they had done anything, a new one is started no sooner than after this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """What has become of a piece: `drafts` where it was done, else a failure; `again`: it may be tried again (`lost`: its process ended, or was)."""

    task: Task
    drafts: Sequence[Draft] = ()
    failure: Failure | None = None
    again: bool = False
    lost: bool = False


@dataclass(slots=True, eq=False)
class _Hand:
    process: BaseProcess
    pipe: Connection
    task: Task | None = None
    begun: float = field(default_factory=time.monotonic)
    ready: bool = False
    done: int = 0


class PiecePool:
    """So many processes with a sink each, which `make` (can be pickled) makes. They are started as they are needed; ended ones are replaced."""

    def __init__(self, name: str, make: Callable[[], PiecedSink[Any]], context: SinkContext, size: PoolSize) -> None:
        self._name, self._made_of, self._size = name, (make, context, size.nice), size
        self._spawning = multiprocessing.get_context("spawn")
        self._hands: list[_Hand] = []
        self._deaths, self._not_before = 0, 0.0
        self._spawn()  # one is made ready before there is anything to do

    def _spawn(self) -> None:
        ours, theirs = self._spawning.Pipe()
        process = self._spawning.Process(target=_hand_main, args=(*self._made_of, theirs), daemon=True, name=f"quicklook-{self._name}")
        process.start()
        theirs.close()
        self._hands.append(_Hand(process=process, pipe=ours))

    @property
    def pids(self) -> list[int]:
        """Numbers of its processes."""
        return [h.process.pid for h in self._hands if h.process.pid is not None]

    @property
    def room(self) -> bool:
        """Whether a piece can be taken now."""
        return any(h.task is None for h in self._hands) or (len(self._hands) < self._size.processes and time.monotonic() >= self._not_before)

    def send(self, task: Task) -> bool:
        """Have a piece done, where there is `room`. False where the process has just ended."""
        if all(h.task is not None for h in self._hands):
            self._spawn()
        hand = next(h for h in self._hands if h.task is None)
        try:
            hand.pipe.send((task.event.model_dump(), task.piece))
        except OSError:
            self._lose(hand)
            return False
        hand.task = task
        if hand.ready:
            hand.begun = time.monotonic()
        return True

    def wait(self, seconds: float) -> list[Ended]:
        """What has ended, after so long at the latest."""
        if not self._hands:
            time.sleep(seconds)
            return []
        ready = set(wait([h.pipe for h in self._hands], seconds))
        out = []
        for hand in list(self._hands):
            if hand.pipe in ready:
                out += self._heard(hand)
            elif (limit := self._late(hand)) is not None:
                hand.process.kill()
                out += self._lose(hand, f"it took longer than {limit:g} s and was stopped")
        return out

    def _late(self, hand: _Hand) -> float | None:
        """The time that a process had, where it has taken longer."""
        limit = self._size.deadline_s if hand.ready else _OPEN_S
        return limit if (hand.task is not None or not hand.ready) and time.monotonic() - hand.begun > limit else None

    def _heard(self, hand: _Hand) -> list[Ended]:
        try:
            said = hand.pipe.recv()
        except (EOFError, OSError):
            return self._lose(hand)
        if said is None:
            hand.ready, hand.begun = True, time.monotonic()
            return []
        drafts, failure, again = said
        task, hand.task, self._deaths = hand.task, None, 0
        hand.done += 1
        return [Ended(task=task, drafts=[Draft.model_validate(d) for d in drafts], failure=failure, again=again)] if task is not None else []

    def _lose(self, hand: _Hand, late: str = "") -> list[Ended]:
        hand.process.join(2)
        status = hand.process.exitcode
        self._hands.remove(hand)
        hand.pipe.close()
        self._deaths += 0 if hand.done else 1
        if self._deaths >= _DEATHS:
            self._not_before = time.monotonic() + _REST_S
        why = late or f"its process ended with status {status}"
        log.error("%s%s: %s", self._name, f", {hand.task.piece.name} of {hand.task.event.unit}" if hand.task else "", why)
        if hand.task is None:
            return []
        failure = Failure(error="WorkerLost", message=why, what_next="Look at the log of the daemon.")
        # what hangs once hangs again; a process that ended may have done so for another reason
        return [Ended(task=hand.task, failure=failure, again=not (late and hand.ready), lost=True)]

    def stop(self, seconds: float) -> list[Ended]:
        """End all processes once they have done what they have, after so long at the latest; returns what they still did."""
        out, end = list[Ended](), time.monotonic() + seconds
        while any(h.task is not None for h in self._hands) and (left := end - time.monotonic()) > 0:
            out += self.wait(min(left, 0.05))
        for hand in self._hands:
            hand.pipe.close()
            if hand.task is not None:
                hand.process.kill()
        for hand in self._hands:
            hand.process.join(max(0.2, end - time.monotonic()))
            if hand.process.is_alive():
                hand.process.kill()
                hand.process.join(2)
        self._hands = []
        return out


def _hand_main(make: Callable[[], PiecedSink[Any]], context: SinkContext, nice: int, pipe: Connection) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    runlog.inherit()
    os.nice(nice)
    sink = make()
    sink.open(context)
    try:
        pipe.send(None)
        while True:
            event, piece = pipe.recv()
            pipe.send(_done(sink, Event.model_validate(event), piece))
    except (EOFError, OSError):
        pass  # the daemon has ended, or wants us to
    finally:
        sink.close()


def _done(sink: PiecedSink[Any], event: Event, piece: Any) -> tuple[list[dict[str, Any]], Failure | None, bool]:
    try:
        return [d.model_dump() for d in sink.work(event, piece)], None, False
    except Transient as error:
        return [], Failure.of(error), True
    except Exception as error:
        log.exception("sink %s gave up %s of event %d (%s): %s", sink.name, piece.name, event.seq, event.topic, describe(error))
        return [], Failure.of(error), False
