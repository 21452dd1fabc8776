"""The sink that brings metrics, verdicts, latencies, heartbeats and changes of housekeeping into InfluxDB, or what takes its lines."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, StringConstraints

from monitor.stores.influxpoints import KINDS, Maker, Shape, start_ns
from monitor.stores.labels import Bounds, KnownUnits
from quicklook.core.errors import BadConfig
from quicklook.core.events import Draft, Event, Seen, SinkGaveUp, draft
from quicklook.core.results import Failure
from quicklook.core.sink import Sink, SinkContext
from quicklook.io.influxdb import InfluxPlace, InfluxWriter, RefusedLine
from quicklook.io.lineprotocol import Point

log = logging.getLogger("quicklook.influxdb")

_SHOWN = 200
Name = Annotated[str, StringConstraints(pattern=r"^[A-Za-z][A-Za-z0-9_]*$", max_length=64)]


class InfluxParams(InfluxPlace):
    """Parameters of `influxdb`. Secrets: env:NAME or file:/path says where they are written."""

    database: str = Field("quicklook", description="1.x: database; it must be there")
    prefix: Name = Field("quicklook", description="names of measurements begin so")
    tags: dict[Name, str] = Field({}, description="tags at every point, as in {site: kpno}")
    elements: int = Field(64, ge=0, le=10_000, description="a metric of at most so many values is written value by value; every one as a summary")
    always: tuple[str, ...] = Field(("channel",), description="... and so is one that has one of these dimensions, however many values it has")
    most_values: int = Field(1000, ge=10, le=100_000, description="of every tag at most so many different values")
    time: Literal["event", "exposure"] = Field("event", description="when points are: when it was found, or when the exposure began")


class InfluxSink(Sink[InfluxParams]):
    """Writes time series into InfluxDB 1.x or 2.x, or VictoriaMetrics: what it could not bring there stays in the journal until it can."""

    name = "influxdb"
    kinds = (Seen.kind, *KINDS)
    isolated = True

    def check(self) -> None:
        """Look at address and secrets. Raises BadConfig."""
        for name in ("password", "token"):
            if (given := getattr(self.params, name)) and not given.startswith(("env:", "file:")):
                raise BadConfig(f"{name} stands in the configuration itself", what_next="Write it into a file, and file:/path in its place.")
        self.params.target.check()

    def open(self, context: SinkContext) -> None:
        """Make ready; the server is asked when there is something to write. Raises BadConfig."""
        self._writer = InfluxWriter(self.params.target)
        given = self.params
        shape = Shape(prefix=given.prefix, elements=given.elements, always=given.always, tags=given.tags)
        self._maker = Maker(shape, Bounds(given.most_values))
        self._units = KnownUnits(Path(context.out) / "influxdb-units.json")
        self._gathered: list[Point] = []
        self._last: Event | None = None

    def accept(self, event: Event) -> Sequence[Draft]:
        """Gather the points of an event."""
        if event.kind == Seen.kind:
            self._units.learn(event, Seen.model_validate(event.payload).tags)
            return []
        if event.kind == SinkGaveUp.kind and event.payload.get("name") == self.name:
            return []  # what is said of it may be refused as well, without end
        facts = self._units.of(event)
        begun = start_ns(facts) if self.params.time == "exposure" and event.unit else None
        self._gathered += self._maker.points(event, facts, begun or event.time)
        self._last = event
        return []

    def flush(self) -> Sequence[Draft]:
        """Write what was gathered. Raises Transient where the server is away, or does not let us in: it is kept, and the journal waits."""
        if not self._gathered:
            return []
        refused = self._writer.write(self._gathered)
        self._gathered = []
        return [self._told(refused)] if refused else []

    def close(self) -> None:
        """Close the connection."""
        self._writer.close()

    def _told(self, refused: Sequence[RefusedLine]) -> Draft:
        first = refused[0]
        said = f"InfluxDB refuses {len(refused)} lines for good, all others are written. It says: {first.why}. The first: {first.line[:_SHOWN]}"
        log.warning("%s", said)
        last = self._last
        failure = Failure(error="BadData", message=said, what_next="Compare the types of fields there, and how far back its retention goes.")
        return draft(SinkGaveUp(name=self.name, seq=last.seq if last else 1, failure=failure), tag=last.tag if last else "live")
