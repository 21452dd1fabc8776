"""Page Now."""

from __future__ import annotations

from monitor.web.routing import Page

PAGE = Page(name="now", title="Now", path="/", key="n", template="now.html")
