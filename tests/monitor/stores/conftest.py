"""One Prometheus for all: it takes five seconds to look at its targets for the first time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tsdb_servers import Prometheus


@pytest.fixture(scope="session")
def scraper(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Prometheus]:
    """A real Prometheus that scrapes the ports of its jobs `dashboard` and `sink`."""
    with Prometheus(tmp_path_factory.mktemp("prometheus"), "dashboard", "sink") as server:
        yield server
