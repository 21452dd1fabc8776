"""Documents as one page of HTML, and pages of an index: no script, nothing from elsewhere, every text escaped."""

from __future__ import annotations

import base64
import os
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from urllib.parse import quote

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from monitor.reports.text import printable
from quicklook.core.errors import BadConfig
from quicklook.core.reporting import Figure, IndexPage, ReportDocument
from quicklook.io.configfiles import config_folders

_REPORT, _INDEX = "report.html.jinja", "index.html.jinja"
LARGEST = 24 << 20
"""Bytes of a picture that is put into a page."""


@cache
def _environment() -> jinja2.Environment:
    folders = [str(folder / "reports") for folder in config_folders()]
    made = ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(folders), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    made.filters |= {"plain": printable, "lines": lambda text: printable(text, lines=True)}
    return made


def _filled(template: str, **facts: object) -> str:
    try:
        return _environment().get_template(template).render(**facts)
    except jinja2.TemplateNotFound as error:
        raise BadConfig(f"the template of reports, {template}, is not installed", what_next="Install the program anew.") from error


def page_of(document: ReportDocument, base: Path | None, links: Mapping[str, str]) -> str:
    """A document as a page. Raises BadConfig where its template is not installed."""
    return _filled(_REPORT, doc=document, source=lambda figure: _source(figure, base), links=dict(links))


def index_of(page: IndexPage) -> str:
    """A page of an index. Raises BadConfig where its template is not installed."""
    return _filled(_INDEX, page=page)


def _source(figure: Figure, base: Path | None) -> str:
    """Address of a picture: itself, or where it lies as seen from the folder of the page; "" for one that cannot be read."""
    if base is not None:
        return quote(os.path.relpath(figure.path, base))
    try:
        if os.path.getsize(figure.path) > LARGEST:
            return ""
        return f"data:image/png;base64,{base64.b64encode(Path(figure.path).read_bytes()).decode()}"
    except OSError:
        return ""
