"""What a run of a session leaves beside its tests: a log named by its id and label, a copy of its configuration, the summary."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from pathlib import Path

import yaml
from pydantic import ValidationError

from quicklook.core.errors import BadConfig, Transient, describe
from quicklook.core.keys import Unit
from quicklook.core.provenance import DISTRIBUTION, version_of
from quicklook.core.session import SessionFile
from quicklook.io.atomic import atomic
from quicklook.io.configfiles import read_config
from quicklook.service.rerun.found import read_found, write_found
from quicklook.service.sessions.sessionplan import SessionPlan
from quicklook.service.sessions.testruns import RunRecord
from quicklook.service.site import Site

log = logging.getLogger("quicklook.session")


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
        _keep_session(copy, plan)
        named = {
            "flags": [f.model_dump(mode="json") for f in plan.flags.flags],
            "analyses": {name: a.model_dump(mode="json") for name, a in plan.analyses.items()},
            "todo": plan.todo.model_dump(mode="json"),
        }
        kept = {"versions": {"quicklook": version_of(DISTRIBUTION)}, "site": site.file.model_dump(mode="json"), "session": named}
        with atomic(folder / "site.yaml") as f:
            f.write(yaml.safe_dump(kept, sort_keys=False, allow_unicode=True).encode())
        try:
            handler = logging.FileHandler(path, encoding="utf-8")
        except OSError as error:
            raise Transient(f"the log of the session, {path}, cannot be written: {error.strerror or error}") from error
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


def _keep_session(copy: Path, plan: SessionPlan) -> None:
    """Copy the session. Where the run goes on with one that was changed, the earlier copy stays beside it; the exposures that were found go over."""
    found: dict[str, tuple[Unit, ...]] = {}
    if copy.is_file():
        try:
            found = read_found(copy)
            if SessionFile.model_validate(read_config(copy).data).sha256 == plan.session.sha256:
                return
        except (BadConfig, ValidationError) as error:
            log.warning("the copy of the session, %s, cannot be read, and is made anew: %s", copy, describe(error))
        number = 1
        while (earlier := copy.with_name(f"session-{number}.yaml")).exists():
            number += 1
        copy.rename(earlier)
    with atomic(copy) as f:
        f.write(_text_of(plan).encode())
    if found:
        write_found(copy, found)


def _text_of(plan: SessionPlan) -> str:
    """The session as it is written, where it has a file of its own, else with all defaults."""
    if plan.path is not None and plan.path.is_file():
        return plan.path.read_text(encoding="utf-8-sig")
    return str(yaml.safe_dump(plan.session.model_dump(mode="json"), sort_keys=False, allow_unicode=True))
