"""Where the report on an incident lies: the page of its exposure, the report of its test."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from monitor.alerts.model import Incident
from quicklook.core.keys import Unit
from quicklook.io.folders import exposure_folder

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*\Z")


def report_of(incident: Incident, out: Path, *, made: Collection[str]) -> str:
    """The path of the report, "" where there is none and none will be. `made`: what is made some seconds after the verdict
    (exposures.html, tests.pdf and so on)."""
    path = _path(incident, out)
    if path is None:
        return ""
    forms = (path, path.with_suffix(".html"))  # a site may want its tests as HTML alone
    of = "exposures" if incident.facts.get("unit") else "tests"
    there = (str(form) for form in forms if form.is_file())
    coming = (f"{form} (being made)" for form in forms if f"{of}{form.suffix}" in made)
    return next(iter((*there, *coming)), "")


def _path(incident: Incident, out: Path) -> Path | None:
    facts = incident.facts
    if facts.get("unit"):
        try:
            return exposure_folder(out, facts.get("tag", ""), Unit.parse(facts["unit"])) / "index.html" if _NAME.match(facts.get("tag", "")) else None
        except ValueError:
            return None
    run, test = facts.get("run", ""), facts.get("test", "")
    return out / "tests" / run / test / f"report-{test}.pdf" if _NAME.match(run) and _NAME.match(test) else None
