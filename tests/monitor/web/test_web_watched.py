"""That no alarm stands is said only where somebody watches."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from web_browser import Opened
from web_host import Writer, serving, web_site


@pytest.mark.parametrize("path", ["/", "/alarms"])
def test_a_daemon_without_the_sink_says_so_and_the_page_follows(browser: Any, tmp_path: Path, path: str) -> None:
    writer = Writer(web_site(tmp_path, ("r0",)))
    writer.expose(7)
    writer.beat(sinks={"files": 0})
    with serving(writer.site) as served:
        opened = Opened(browser, served)
        page = opened.go(path)
        page.get_by_text("none is raised, whatever happens").wait_for()
        page.locator("#alarm-count", has_text="nobody watches").wait_for()
        opened.checked("nobody watches")
        writer.beat(sinks={"files": 0, "alarms": 0})
        page.locator("#alarm-count", has_text="nobody watches").wait_for(state="hidden")
        page.get_by_text("No alarm stands.").wait_for()
        assert page.get_by_text("none is raised").count() == 0
        opened.checked("watched")
        opened.context.close()
