"""A daemon that runs for months: nothing in it grows with the number of exposures, and what was given back stays so."""

from __future__ import annotations

import gc
import logging
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from bench_site import ByHand, bench_site, by_hand, turn, write_frame

from monitor.stores import files
from quicklook.core.results import Failure
from quicklook.service.arrival import known
from quicklook.service.daemon import Daemon
from quicklook.service.running.memory import Thrift, sparing_heap, thrift

WARM_UP, COUNTED = 15, 25
BLOCKS = 2.0
"""So many of Python's blocks more for an exposure are allowed: noise of some ten in a hundred; one name that is kept is two or three."""


def expose(daemon: Daemon, hand: ByHand, folder: Path, expid: int) -> None:
    """An exposure of two cameras, from its files to its verdict; the files are archived then."""
    paths = [write_frame(folder, camera, expid) for camera in "ab"]
    turn(daemon, lambda: len(hand.jobs) == 2)
    for job in list(hand.jobs):
        hand.judge(job)
        hand.written(job)
    turn(daemon, lambda: daemon.idle)
    for path in paths:
        path.unlink()


def blocks(daemon: Daemon | None = None) -> int:
    """Blocks that Python's own allocator has given out, once sinks have taken everything, and all that can be collected is."""
    assert daemon is None or daemon.drain(60.0)
    gc.collect()
    return sys.getallocatedblocks()


def test_an_exposure_that_is_over_leaves_nothing_in_the_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(known, "_AT_ONCE", 8)
    monkeypatch.setattr(files, "_KEEP", 8)
    logging.disable(logging.CRITICAL)  # the records would be kept for the report of the test
    daemon, hand = by_hand(bench_site(tmp_path))
    try:
        for expid in range(WARM_UP):
            expose(daemon, hand, tmp_path, expid)
        before = blocks(daemon)
        for expid in range(WARM_UP, WARM_UP + COUNTED):
            expose(daemon, hand, tmp_path, expid)
        grown = (blocks(daemon) - before) / COUNTED
    finally:
        daemon.stop(0.5)
        logging.disable(logging.NOTSET)
    assert grown < BLOCKS


def test_texts_that_are_read_are_not_kept() -> None:
    read = Failure(error="E", message="m", what_next="w").model_dump_json()
    Failure.model_validate_json(read)
    before = blocks()
    for n in range(4000):
        Failure.model_validate_json(read.replace('"m"', f'"the {n}-th exposure"'))
    assert blocks() - before < 400  # a tenth of them; a cache of texts has thousands


@dataclass
class Library:
    """A C library that notes what it is asked."""

    asked: list[tuple[str, tuple[int, ...]]] = field(default_factory=list)

    def mallopt(self, *values: int) -> int:
        self.asked.append(("mallopt", values))
        return 1

    def malloc_trim(self, *values: int) -> int:
        self.asked.append(("malloc_trim", values))
        return 1


def test_what_is_free_is_given_back_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [1000.0]
    monkeypatch.setattr("quicklook.service.running.memory.time.monotonic", lambda: now[0])
    library = Library()
    keeper = Thrift(library)
    for seconds in (0.0, 59.0, 2.0, 1.0, 60.0):
        now[0] += seconds
        keeper.turn()
    assert library.asked == [("malloc_trim", (0,)), ("malloc_trim", (0,))]
    assert keeper.idle


def test_the_heap_is_told_to_map_large_blocks_and_to_be_shared() -> None:
    library = Library()
    sparing_heap(library)
    assert library.asked == [("mallopt", (-3, 1 << 18)), ("mallopt", (-8, 2))]


def test_it_works_with_the_library_of_this_machine_or_does_nothing() -> None:
    keeper = Thrift()
    keeper._next = 0.0
    keeper.turn()
    keeper.close()
    assert (keeper._next > 0.0) == (keeper._library is not None)


@pytest.mark.parametrize(("executor", "wanted"), [("inline", False), ("processes", True)])
def test_a_process_that_works_on_images_itself_is_left_alone(tmp_path: Path, executor: str, wanted: bool) -> None:
    class Around:
        site: Any = bench_site(tmp_path, work={"executor": executor})

    assert isinstance(thrift(Around()), Thrift) == wanted  # type: ignore[arg-type]
