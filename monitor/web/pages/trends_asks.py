"""What the routes of page Trends are asked and answer."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field

from monitor.web.api import TagAsk
from quicklook.core.results import Record

Where = Annotated[str, Field(max_length=500, description="condition, as in: camera = r0 and amp = A")]
Series = Annotated[str, Field(max_length=200, pattern=r"^((metric|hk):.+)?$", description="metric:NAME or hk:CHANNEL")]
Moment = Annotated[str, Field(max_length=40, description="a night YYYYMMDD; empty: open")]
Cell = str | int | float | None


class MetricName(Record):
    """A metric with its unit, its dimensions, what it means."""

    name: str
    unit: str
    dims: list[str]
    doc: str


class TrendNames(Record):
    """What there is to be shown. `source`: where the history comes from (store, or files of results)."""

    metrics: list[MetricName]
    channels: list[str]
    source: str


class HistoryAsk(TagAsk):
    """The newest `limit` values of a metric, each element a row."""

    metric: str = Field(max_length=100)
    where: Where = ""
    since: Moment = ""
    until: Moment = ""
    limit: int = Field(2000, ge=1, le=50_000)


class HistoryAnswer(Record):
    """Rows in the order of time, column by column; numbers that are not known are null. `more`: there are older ones."""

    metric: str
    unit: str
    columns: dict[str, list[Cell]]
    more: bool


class TrendAsk(TagAsk):
    """One series, or two with an axis each, over time."""

    first: Series
    second: Series = ""
    first_where: Where = ""
    second_where: Where = ""
    since: Moment = ""
    until: Moment = ""
    limit: int = Field(5000, ge=1, le=50_000)


class Marked(Record):
    """An event that is marked on the axis of time (UTC, ns)."""

    time: int
    kind: str
    text: str


class TrendAnswer(Record):
    """The panel for plotly, how many values it has, and remarks."""

    panel: dict[str, Any]
    rows: list[int]
    notes: list[str]
    events: list[Marked]
