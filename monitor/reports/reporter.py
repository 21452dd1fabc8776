"""What others reach of reports: registered as `reports` under `quicklook.monitors`; see `quicklook.core.reporting.Reporter`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from quicklook.core.plots import Plot
from quicklook.core.reporting import IndexPage, ReportDocument


class DocumentReporter:
    """Documents as PDF, as pictures of pages, as HTML; pages of an index; plots as pictures. What is heavy is imported when it is asked for."""

    def pdf(self, document: ReportDocument) -> bytes:
        """As PDF, A4. Raises BadData where a picture of it cannot be read."""
        from monitor.reports.pages import set_pdf

        return set_pdf(document)

    def pages(self, document: ReportDocument, *, ppi: float = 110.0) -> Sequence[bytes]:
        """Every page as a PNG. Raises BadData."""
        from monitor.reports.pages import set_pages

        return set_pages(document, ppi)

    def html(self, document: ReportDocument, *, base: Path | None = None, links: Mapping[str, str] | None = None) -> str:
        """As one page of HTML with its pictures in it, or with links to them as seen from `base`."""
        from monitor.reports.web import page_of

        return page_of(document, base, links or {})

    def index(self, page: IndexPage) -> str:
        """A page of an index, as HTML."""
        from monitor.reports.web import index_of

        return index_of(page)

    def picture(self, plot: Plot) -> bytes:
        """A plot as a PNG."""
        from monitor.render.renderer import render_png

        return render_png(plot)
