"""The page on endurance: sections between marks, each written anew by the run that it tells of."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from pathlib import Path


def machine() -> str:
    """A sentence on where and when it was measured, with the load of the machine."""
    load = os.getloadavg()[1]
    cores = len(os.sched_getaffinity(0))
    return f"Measured {datetime.now(UTC):%Y-%m-%d} on {cores} cores ({platform.system()}, Python {platform.python_version()}), load {load:.1f} over 5 minutes."


def write_section(page: Path, name: str, text: str) -> None:
    """Put `text` between the marks of that name, atomically. Raises ValueError where the page has no such marks."""
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    old = page.read_text()
    if old.count(begin) != 1 or old.count(end) != 1:
        raise ValueError(f"{page} has no section {name}")
    head, rest = old.split(begin)
    beside = page.with_name(f".{page.name}.tmp")
    beside.write_text(f"{head}{begin}\n{text.strip()}\n{end}{rest.split(end)[1]}")
    beside.replace(page)
