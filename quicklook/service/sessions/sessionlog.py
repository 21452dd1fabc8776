"""What a run of a session leaves beside its tests: a log named by its id and label, a copy of its configuration, the summary."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import yaml

from quicklook.core.provenance import DISTRIBUTION, version_of
from quicklook.io.atomic import atomic
from quicklook.service.sessions.sessionplan import SessionPlan
from quicklook.service.sessions.testruns import RunRecord
from quicklook.service.site import Site


@dataclass(frozen=True, slots=True, kw_only=True)
class RunLog:
    """Log, copies and summary of a run, in its folder. `path` is the log, `copy` the session with the exposures that were found."""

    path: Path
    copy: Path
    handler: logging.Handler

    @classmethod
    def start(cls, folder: Path, run: RunRecord, plan: SessionPlan, site: Site) -> RunLog:
        """Begin the log (an earlier one of the run goes on), and copy the configuration. Raises BadConfig, Transient."""
        path = folder / f"{run.run}{f'-{run.label}' if run.label else ''}.log"
        copy = folder / "session.yaml"
        if not copy.is_file():
            with atomic(copy) as f:
                f.write(_text_of(plan).encode())
        versions = {"quicklook": version_of(DISTRIBUTION)}
        with atomic(folder / "site.yaml") as f:
            f.write(yaml.safe_dump({"versions": versions, "site": site.file.model_dump(mode="json")}, sort_keys=False, allow_unicode=True).encode())
        handler = logging.FileHandler(path, encoding="utf-8")
        handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
        logging.getLogger("quicklook").addHandler(handler)
        return cls(path=path, copy=copy, handler=handler)

    def summary(self, text: str) -> None:
        """Write the summary anew."""
        with atomic(self.path.parent / "summary.txt") as f:
            f.write(text.encode())

    def close(self) -> None:
        """End the log."""
        logging.getLogger("quicklook").removeHandler(self.handler)
        self.handler.close()


def _text_of(plan: SessionPlan) -> str:
    """The session as it is written, where it has a file of its own, else with all defaults."""
    if plan.path is not None and plan.path.is_file():
        return plan.path.read_text(encoding="utf-8-sig")
    return str(yaml.safe_dump(plan.session.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
