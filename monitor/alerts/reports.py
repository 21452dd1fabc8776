"""Where the report on an incident lies: the page of its exposure, the report of its test."""

from __future__ import annotations

import re
from pathlib import Path

from monitor.alerts.model import Incident
from quicklook.core.keys import Unit
from quicklook.io.folders import exposure_folder

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")
REPORTS = "reports"
"""The sink that makes them."""


def report_of(incident: Incident, out: Path, *, made: bool) -> str:
    """The path of the report, "" where there is none and none will be. `made`: there is a sink that makes them, some seconds after the verdict."""
    path = _path(incident, out)
    if path is None:
        return ""
    for there in (path, path.with_suffix(".html")):  # a site may want its tests as HTML alone
        if there.is_file():
            return str(there)
    return f"{path} (being made)" if made else ""


def _path(incident: Incident, out: Path) -> Path | None:
    facts = incident.facts
    if facts.get("unit"):
        try:
            return exposure_folder(out, facts.get("tag", ""), Unit.parse(facts["unit"])) / "index.html" if _NAME.match(facts.get("tag", "")) else None
        except ValueError:
            return None
    run, test = facts.get("run", ""), facts.get("test", "")
    return out / "tests" / run / test / f"report-{test}.pdf" if _NAME.match(run) and _NAME.match(test) else None
