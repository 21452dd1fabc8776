"""A sink: a line of text for every event that it wants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from pydantic import Field

from quicklook.core.events import Draft, Event
from quicklook.core.params import Params
from quicklook.core.sink import Sink, SinkContext


class LineSinkParams(Params):
    """Parameters of `lines`."""

    file: str = Field("events.txt", description="file that lines are added to, in the output folder of the site")


class LineSink(Sink[LineSinkParams]):
    """Adds a line to a file for every QA and every verdict."""

    name = "lines"
    kinds = ("qa", "verdict", "unit_verdict")

    def open(self, context: SinkContext) -> None:
        """Remember the file."""
        self._path = Path(context.out) / self.params.file

    def accept(self, event: Event) -> Sequence[Draft]:
        """One line: number, topic, unit, status."""
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"{event.seq} {event.topic} {event.unit} {event.payload['status']}\n")
        return []
