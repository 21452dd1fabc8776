"""Reports as files: a document in one format or several, each whole or not at all."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from quicklook.core.errors import BadConfig, BadData, describe
from quicklook.core.events import ReportMade
from quicklook.core.reporting import FORMATS, Absent, Figures, ReportDocument, Reporter
from quicklook.core.validation import suggest
from quicklook.io.atomic import atomic
from quicklook.service.reporting.secrets import clean_record

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class MadeFile:
    """A file of a report: its format, where it is, its checksum and size, and in how many seconds it was made."""

    format: str
    path: Path
    sha256: str
    size: int
    seconds: float

    def told(self, out: Path, of: str, name: str) -> ReportMade:
        """As an event; its path is relative to the output folder where it lies in it."""
        shown = str(self.path.relative_to(out)) if self.path.is_relative_to(out) else str(self.path)
        return ReportMade(of=of, name=name, format=self.format, path=shown, sha256=self.sha256, size=self.size, seconds=round(self.seconds, 3))


def check_formats(formats: Sequence[str]) -> tuple[str, ...]:
    """The formats, each once. Raises BadConfig for one that there is not."""
    for one in formats:
        if one not in FORMATS:
            raise BadConfig(f"there is no format {one!r} of reports{suggest(one, FORMATS, noun='formats')}")
    return tuple(dict.fromkeys(formats))


def write_report(reporter: Reporter, document: ReportDocument, folder: Path, formats: Sequence[str], name: str = "") -> list[MadeFile]:
    """Write a document into a folder as ``<name>.pdf``, ``<name>.html``, ``<name>-p01.png`` ...; its own name where none is given.

    Raises BadData (a picture of it is broken), Transient, NoSpace, BadConfig (where it is to be written).
    """
    found, document = [], clean_record(document)
    for form in formats:
        began = time.perf_counter()
        for path, content in _contents(reporter, document, folder, form, name or document.name):
            with atomic(path, sync=False) as file:
                file.write(content)
            digest = hashlib.sha256(content).hexdigest()
            found.append(MadeFile(format=form, path=path, sha256=digest, size=len(content), seconds=time.perf_counter() - began))
            began = time.perf_counter()
    return found


def _set(how: Callable[[ReportDocument], T], document: ReportDocument) -> T:
    """Set a document; where a picture of it is broken, without its pictures, and saying so. Raises BadData where that cannot be set either."""
    try:
        return how(document)
    except BadData as error:
        if not any(isinstance(b, Figures) for s in document.sections for b in s.blocks):
            raise
        said = Absent(text=f"The pictures are left out: {describe(error)}.")
        sections = [s.model_copy(update={"blocks": [said if isinstance(b, Figures) else b for b in s.blocks]}) for s in document.sections]
        return how(document.model_copy(update={"sections": sections}))


def _contents(reporter: Reporter, document: ReportDocument, folder: Path, form: str, name: str) -> Iterator[tuple[Path, bytes]]:
    if form == "html":
        yield folder / f"{name}.html", reporter.html(document).encode("utf-8", "replace")
    elif form == "pdf":
        yield folder / f"{name}.pdf", _set(reporter.pdf, document)
    else:
        pages = _set(reporter.pages, document)
        for i, page in enumerate(pages, 1):
            yield folder / f"{name}-p{i:0{len(str(max(len(pages), 10)))}d}.png", page
