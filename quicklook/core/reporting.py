"""Reports as data: a document of sections and blocks that says the same on paper, as pictures of pages, and in a browser. Pure.

Who makes one (`quicklook.service.reporting`) knows exposures, tests and nights, and nothing of pages; who sets one (the plugin `reports` of the group
`quicklook.monitors`) knows blocks, and nothing of what they are about. All texts are data: none is ever taken for markup.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Literal, Protocol

from pydantic import Field, model_validator

from quicklook.core.errors import BadConfig
from quicklook.core.plots import Plot
from quicklook.core.registry import find
from quicklook.core.results import SCHEMA_VERSION, Record
from quicklook.core.status import Status

FORMATS = ("pdf", "png", "html")


class Sentence(Record):
    """A sentence, with the status that it is about where it is about one."""

    text: str
    status: Status | None = None


class Prose(Record):
    """Paragraphs."""

    block: Literal["prose"] = "prose"
    paragraphs: list[str]


class Absent(Record):
    """What is not there, and why: said in its place, so that nobody takes silence for health."""

    block: Literal["absent"] = "absent"
    text: str


class Listing(Record):
    """Sentences one below the other."""

    block: Literal["listing"] = "listing"
    items: list[Sentence]


class Fact(Record):
    """A name and what it is, with its unit."""

    name: str
    value: str


class Facts(Record):
    """Names and values in two columns."""

    block: Literal["facts"] = "facts"
    rows: list[Fact]


class Column(Record):
    """A column of a table. `share` is its part of the width of the page, beside those of the others; of kind `status` it holds statuses."""

    title: str
    kind: Literal["text", "number", "status"] = "text"
    share: float = Field(1.0, gt=0)


class Grid(Record):
    """A table; it goes on over as many pages as it has rows for. Raises ValueError for rows of other lengths than there are columns."""

    block: Literal["grid"] = "grid"
    title: str = ""
    columns: list[Column]
    rows: list[list[str]]
    note: str = ""

    @model_validator(mode="after")
    def _cells_for_columns(self) -> Grid:
        if any(len(row) != len(self.columns) for row in self.rows):
            raise ValueError(f"rows of {sorted({len(r) for r in self.rows})} cells under {len(self.columns)} columns")
        return self


class Figure(Record):
    """A picture (PNG) in a file; `width` and `height` in pixels. `status` is that of what it shows."""

    path: str
    caption: str
    width: int = Field(gt=0)
    height: int = Field(gt=0)
    status: Status | None = None


class Figures(Record):
    """Pictures, in rows of two where they are not wide."""

    block: Literal["figures"] = "figures"
    items: list[Figure]


class Verbatim(Record):
    """Lines as they stand: commands, a log, a configuration."""

    block: Literal["verbatim"] = "verbatim"
    text: str


Block = Annotated[Prose | Absent | Listing | Facts | Grid | Figures | Verbatim, Field(discriminator="block")]


class Section(Record):
    """A chapter."""

    title: str
    blocks: list[Block]


class ReportDocument(Record):
    """A report. `name` is what its files are called, without an ending. `headline` is what is to be done, in words, `action` more of it.

    `made` is when it was (UTC); `about` stands at the foot of every page.
    """

    schema_version: int = SCHEMA_VERSION
    kind: Literal["exposure", "test", "night"]
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$")
    title: str
    subtitle: str = ""
    status: Status | None
    headline: str
    action: str = ""
    reasons: list[Sentence] = Field(default_factory=list)
    facts: list[Fact] = Field(default_factory=list)
    sections: list[Section] = Field(default_factory=list)
    made: str
    about: str = ""

    def section(self, title: str) -> Section | None:
        """The chapter of that title."""
        return next((s for s in self.sections if s.title == title), None)


class IndexRow(Record):
    """A line of an index: cells beside the status, with links relative to the page of the index ("" for none), the first on the first cell."""

    status: Status | None = None
    cells: list[str]
    links: list[tuple[str, str]] = Field(default_factory=list)


class IndexPage(Record):
    """A page that leads to others: `up` are the pages above it, by title and link."""

    title: str
    up: list[tuple[str, str]] = Field(default_factory=list)
    columns: list[str]
    rows: list[IndexRow]
    made: str
    note: str = ""


class Reporter(Protocol):
    """What is registered as plugin `reports` of the group `quicklook.monitors`."""

    def pdf(self, document: ReportDocument) -> bytes:
        """As PDF, A4."""

    def pages(self, document: ReportDocument, *, ppi: float = 110.0) -> Sequence[bytes]:
        """Every page as a PNG."""

    def html(self, document: ReportDocument, *, base: Path | None = None, links: Mapping[str, str] | None = None) -> str:
        """As one page of HTML that needs no script: with its pictures in it, or (with `base`, its folder) with links to those beside it.

        `links` are further ones at its head, by their text, relative to the page.
        """

    def index(self, page: IndexPage) -> str:
        """A page of an index, as HTML."""

    def picture(self, plot: Plot) -> bytes:
        """A plot as a PNG."""


def reporter() -> Reporter:
    """The one that is installed. Raises BadConfig where there is none."""
    made = find("monitor", "reports").load()
    if not callable(made):
        raise BadConfig("the monitor 'reports' is registered and is no class")
    found: Reporter = made()
    return found
