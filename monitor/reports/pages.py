"""Documents on paper: typst sets them, from a template and from data. Only what typst brings with it is used, without a network."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import cache

from monitor.reports.text import far, for_page
from quicklook.core.errors import BadConfig, BadData, Transient
from quicklook.core.reporting import ReportDocument
from quicklook.io.configfiles import config_folders

TEMPLATE = "report.typ"
_LONGEST_S = 90.0
_SETTER = ("-P", "-m", "monitor.reports.setter")  # -P: nothing of the present folder is imported


@cache
def template() -> str:
    """The template of reports. Raises BadConfig where it is not there."""
    for folder in config_folders():
        path = folder / "reports" / TEMPLATE
        if path.is_file():
            return path.read_text(encoding="utf-8")
    raise BadConfig(f"the template of reports, {TEMPLATE}, is not installed", what_next="Install the program anew.")


def set_pdf(document: ReportDocument) -> bytes:
    """As PDF. Raises BadData where a picture of it cannot be read, Transient where the process that sets it is ended."""
    return _set(document, "pdf", None)[0]


def set_pages(document: ReportDocument, ppi: float) -> Sequence[bytes]:
    """Every page as a PNG. Raises as `set_pdf`."""
    return _set(document, "png", ppi)


def _set(document: ReportDocument, form: str, ppi: float | None) -> list[bytes]:
    data = json.dumps(for_page(document.model_dump(mode="json")), ensure_ascii=False)
    wish = json.dumps({"template": template(), "document": data, "format": form, "ppi": ppi, "fonts": far(data)})
    try:
        done = subprocess.run((sys.executable, *_SETTER), input=wish.encode(), capture_output=True, timeout=_LONGEST_S, check=False)
    except subprocess.TimeoutExpired as error:
        raise BadData(f"the report {document.name} took longer than {_LONGEST_S:g} s to be set", what_next="Ask for fewer plots.") from error
    said = " ".join(done.stderr.decode(errors="replace").split())[-600:]
    if done.returncode < 0:
        raise Transient(f"the process that sets the report {document.name} was ended by signal {-done.returncode}")
    pages = list(_pages(done.stdout))
    if done.returncode or not pages:
        raise BadData(f"the report {document.name} cannot be set: {said}", what_next="Look whether its pictures are whole.")
    return pages


def _pages(data: bytes) -> Iterator[bytes]:
    at = 0
    while at + 8 <= len(data):
        size = int.from_bytes(data[at : at + 8], "big")
        yield data[at + 8 : at + 8 + size]
        at += 8 + size
