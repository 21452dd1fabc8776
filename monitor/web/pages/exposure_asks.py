"""What the routes of page Exposure are asked and answer."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from monitor.web.api import Expid, ExposureAsk, Night, PartAsk, Revision, Tag
from quicklook.core.metrics import METRIC_NAME
from quicklook.core.results import Coord, Record
from quicklook.core.status import Status

Name = Annotated[str, Field(max_length=200)]
Metric = Annotated[str, Field(max_length=100, pattern=METRIC_NAME)]
Level = Annotated[float | None, Field(allow_inf_nan=False)]
Panel = dict[str, Any]
"""A panel of `monitor.web.figures`: data and layout for plotly, and words beside it."""


class FigureAsk(PartAsk):
    """A plot of a camera, by its name."""

    name: Name


class FigureAnswer(Record):
    """A plot as panels for plotly."""

    name: str
    title: str
    caption: str
    columns: int
    panels: list[Panel]


class ImageAsk(PartAsk):
    """The image of a camera; `source`: preproc or raw, "" for the better one that is there."""

    source: Literal["", "preproc", "raw"] = ""
    stretch: Literal["linear", "asinh", "log"] = "asinh"
    low: Level = None
    high: Level = None
    colours: Literal["grey", "viridis"] = "grey"


class TileAsk(ImageAsk):
    """A tile of it, binned by 2**level; column and row count tiles from lower left."""

    level: int = Field(ge=0, le=12)
    column: int = Field(ge=0, le=1000)
    row: int = Field(ge=0, le=1000)
    bits: int = Field(0xFFFF, ge=0, le=0xFFFF, description="bits of the mask that are shown")


class PixelAsk(ImageAsk):
    """A pixel of it, from lower left, 0 first."""

    x: int = Field(ge=0, le=100_000)
    y: int = Field(ge=0, le=100_000)


class AmpPlace(Record):
    """The pixels that an amplifier has read: x0 <= x < x1."""

    name: str
    x0: int
    x1: int
    y0: int
    y1: int


class ImageAnswer(Record):
    """An image: its sources, size, the levels of binning, the values of the darkest and the brightest colour, the bits of its mask."""

    source: str
    sources: list[str]
    unit: str
    width: int
    height: int
    tile: int
    levels: int
    low: float
    high: float
    amplifiers: list[AmpPlace]
    masked: dict[str, float]
    bits: dict[str, int]
    version: str


class PixelAnswer(Record):
    """A pixel: its value (null: none), the bits of its mask, who has read it."""

    x: int
    y: int
    value: float | None
    unit: str
    mask: list[str]
    amplifier: str


class SpectraAsk(PartAsk):
    """Spectra of a camera; `product`: frame, cframe or sky, "" for the furthest that is there."""

    product: Literal["", "frame", "cframe", "sky"] = ""


class FiberLine(Record):
    """A fibre: number, what it looks at, places (mm), and what it is worth: median S/N and part of its samples that are masked."""

    fiber: int
    objtype: str
    target: str
    x: float | None
    y: float | None
    snr: float | None
    masked: float


class SpectraAnswer(Record):
    """Spectra that are stored, and their fibres. `worst`: for each metric that ranks fibres, their numbers, the worst first."""

    product: str
    products: list[str]
    unit: str
    fibers: list[FiberLine]
    worst: dict[str, list[int]]


class SpectrumAsk(SpectraAsk):
    """One of them."""

    fiber: int = Field(ge=-1, le=10**9)


class SpectrumAnswer(Record):
    """A spectrum as a panel, with what is known of its fibre."""

    fiber: int
    product: str
    panel: Panel
    facts: dict[str, str]
    masks: dict[str, int]


class FocalAsk(ExposureAsk):
    """A metric of fibres over the focal plane; `at`: further coordinates as NAME=VALUE, with commas between them; `arm`: first letter of cameras."""

    metric: Metric
    arm: str = Field("", max_length=20)
    at: str = Field("", max_length=200)


class FocalMetric(Record):
    """A metric that has values of fibres; `dims`: the coordinates of its further dimensions; `score`: a column of SCORES, which no QA has judged."""

    name: str
    unit: str
    doc: str
    dims: dict[str, list[Coord]]
    arms: list[str]
    score: bool = False


class FocalMetrics(Record):
    """Metrics that can be shown on the focal plane, and which cameras know the places of their fibres."""

    metrics: list[FocalMetric]
    placed: list[str]


class FocalAnswer(Record):
    """The map as a panel; `fibers` [n] numbers and cameras in the order of the points."""

    metric: str
    panel: Panel
    fibers: list[int]
    cameras: list[str]


class CompareAsk(ExposureAsk):
    """Two exposures, or one under two tags: `night`, `expid`, `tag` is compared with the other."""

    other_night: Night
    other_expid: Expid
    other_tag: Tag = ""
    other_revision: Revision = None
    part: str = Field("", max_length=100)


class MetricChange(Record):
    """A metric that differs: the element that changed most, what it was (in the other) and is, by how many normal ranges."""

    part: str
    qa: str
    group: str
    metric: str
    unit: str
    at: dict[str, Coord]
    before: float | None
    after: float | None
    status_before: Status | None
    status_after: Status | None
    size: float | None
    elements: int
    reason: str


class PartChange(Record):
    """A camera in both: its verdicts, and in what the processings differ."""

    part: str
    before: Status
    after: Status
    causes: list[str]
    only_before: list[str]
    only_after: list[str]


class CompareAnswer(Record):
    """What differs, verdicts that flipped first, then by the size of the change. `missing`: cameras that only one of the two has."""

    parts: list[PartChange]
    changes: list[MetricChange]
    compared: int
    missing: list[str]
