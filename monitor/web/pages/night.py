"""Page Night."""

from __future__ import annotations

from monitor.web.routing import Page

PAGE = Page(name="night", title="Night", path="/night", key="t", template="night.html")
