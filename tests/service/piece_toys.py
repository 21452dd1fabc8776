"""A sink whose work is done in pieces: it writes files, and does what its events ask for."""

from __future__ import annotations

import functools
import os
import signal
import time
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from quicklook.core.errors import BadData, Transient
from quicklook.core.events import Draft, Event, PlotsReady, PlotsSkipped, ProductWritten, draft
from quicklook.core.params import Params
from quicklook.core.sink import Piece, PiecedSink, PoolSize, SinkContext


class ToyParams(Params):
    """Parameters of the toy."""

    processes: int = Field(1, description="processes")
    deadline_s: float = Field(30.0, description="deadline")


class ToySink(PiecedSink[ToyParams]):
    """Does each name of an event: `die` ends its process, `die once` the first time, `hang` takes for ever, `bad` fails, `later` waits for a file."""

    name = "toy"
    kinds = (PlotsReady.kind,)

    @property
    def pool(self) -> PoolSize:
        return PoolSize(processes=self.params.processes, deadline_s=self.params.deadline_s)

    def open(self, context: SinkContext) -> None:
        self._out = Path(context.out)

    def pieces(self, event: Event) -> Sequence[Piece]:
        return [Piece(name=n, line=str(event.unit), urgent=n.isupper()) for n in event.payload["names"]]

    def work(self, event: Event, piece: Piece) -> Sequence[Draft]:
        with (self._out / "log").open("a") as log:
            log.write(f"{event.seq} {piece.name}\n")
        first = not (self._out / f"{piece.name}.once").exists()
        (self._out / f"{piece.name}.once").touch()
        if piece.name == "die" or (piece.name == "die once" and first):
            os.kill(os.getpid(), signal.SIGKILL)
        if piece.name == "hang":
            time.sleep(600)
        if piece.name == "bad":
            raise BadData("cannot be drawn")
        if piece.name == "later" and not (self._out / "there").exists():
            raise Transient("the disk is full")
        time.sleep(0.01)
        return [draft(ProductWritten(name=piece.name, path=f"{event.seq}", sha256="", size=os.nice(0)))]

    def skipped(self, event: Event, pieces: Sequence[Piece], by: Event) -> Sequence[Draft]:
        return [draft(PlotsSkipped(names=[p.name for p in pieces], path=str(event.seq), by=by.seq, by_revision=by.revision))]


def maker(**params: object) -> functools.partial[ToySink]:
    """What makes one, in any process."""
    return functools.partial(_make, params)


def _make(params: dict[str, object]) -> ToySink:
    return ToySink(ToyParams.model_validate(params))
