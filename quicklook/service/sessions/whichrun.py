"""Which run of a session a daemon goes on with when it starts, or that it begins another one."""

from __future__ import annotations

import logging
import time
import uuid

from quicklook.service.journal.journal import Journal
from quicklook.service.sessions.exposures import last_job, last_job_before
from quicklook.service.sessions.sessionplan import SessionPlan
from quicklook.service.sessions.testruns import RunRecord, read_record, tests_folder
from quicklook.service.site import Site

log = logging.getLogger("quicklook.session")


def run_of(site: Site, plan: SessionPlan, tag: str, journal: Journal, now_ns: int, *, reloaded: bool) -> RunRecord:
    """The run to work on, as it stands. `reloaded`: the daemon has another configuration, and was not started. Raises Transient (journal)."""
    with journal.reading() as connection:
        found = _latest(site, plan, tag)
        if found is None or not _goes_on(found, site, reloaded):
            after, settings = last_job(connection), site.file.session
            run = f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now_ns / 1e9))}-{uuid.uuid4().hex[:4]}"
            return RunRecord(
                run=run, label=settings.label, session=plan.session.session, sha256=plan.session.sha256, tag=tag, launched_ns=now_ns,
                last_test_ns=now_ns, start_expid=settings.start_expid, after_job=after,
            )  # fmt: skip
        update: dict[str, object] = {"sha256": plan.session.sha256, "left": False}
        if found.after_job is None:  # of an older program
            update["after_job"] = last_job_before(connection, tag, found.launched_ns)
    if found.over and not all(found.times_over().get(t.name) for t in plan.session.tests):
        update |= {"over": False, "last_test_ns": now_ns}  # the session has got further tests
    # a clock that was set back does not lengthen a time-out
    update = {"launched_ns": min(found.launched_ns, now_ns), "last_test_ns": min(found.last_test_ns, now_ns)} | update
    return found.model_copy(update=update)


def _latest(site: Site, plan: SessionPlan, tag: str) -> RunRecord | None:
    """The run of this session under the tag that was begun last."""
    runs = []
    for path in sorted(tests_folder(site.out).glob("*/run.json")):
        known = read_record(path, RunRecord)
        if known is None:
            log.warning("%s cannot be read, so that the run of a session is not gone on with; its tests are in the folders beside it", path)
        elif (known.session, known.tag) == (plan.session.session, tag):
            runs.append(known)
    # not by the time alone: the clock may have been set
    return max(runs, key=lambda r: (-1 if r.after_job is None else r.after_job, r.launched_ns, r.run), default=None)


def _goes_on(known: RunRecord, site: Site, reloaded: bool) -> bool:
    """One that is not over does; one that is over, after a reload, and after the daemon was killed: nobody has asked for another."""
    settings = site.file.session
    if settings.start_expid not in (None, known.start_expid):
        return False
    return reloaded or not (settings.fresh or (known.over and known.left))
