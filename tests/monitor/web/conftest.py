"""A night of three exposures, and its page."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from chromium import chromium
from web_host import Served, Writer, serving, web_site

from quicklook.core.status import Status


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Writer:
    """A journal with three exposures, one of them an ALARM."""
    folder: Path = tmp_path_factory.mktemp("web")
    (folder / "out").mkdir()
    writer = Writer(web_site(folder))
    writer.beat()
    writer.expose(101)
    writer.expose(102, Status.ALARM, tags={"object": "<script>alert(1)</script>", "program": "<img src=x onerror=alert(2)>"}, value=9.9)
    writer.expose(103)
    return writer


@pytest.fixture(scope="module")
def page(night: Writer) -> Iterator[Served]:
    """The page of that night."""
    with serving(night.site) as served:
        yield served


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Debian's chromium."""
    with chromium() as made:
        yield made
