"""How a session stands: what is expected, seen, running, done, failed, as one event."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from quicklook.core.events import SessionNow, SessionTestNow
from quicklook.core.sequence import Taking
from quicklook.core.session import SubTask
from quicklook.service.sessions.testruns import TestedRecord, numbers_text
from quicklook.service.sessions.testwork import Work

if TYPE_CHECKING:
    from quicklook.service.sessions.session import Session


def session_now(of: Session) -> SessionNow:
    """The state of a run, its tests in the order of the session."""
    rows = [*map(_over, of.run.tests), *(_working(w, of.working) for w in of.works), *_waiting(of)]
    order = {t.name: i for i, t in enumerate(of.plan.session.tests)}
    rows.sort(key=lambda r: (order.get(r.name.partition(".")[0], len(order)), r.name))
    return SessionNow(
        run=of.run.run, label=of.run.label, name=of.run.session, over=of.run.over, tests=rows, exposure_s=_exposure_s(of.takings),
        trouble=of.trouble,
    )  # fmt: skip


def _over(record: TestedRecord) -> SessionTestNow:
    state = "failed" if "failed" in record.states.values() else "closed" if record.timed_out else "done"
    return SessionTestNow(
        name=record.name, state=state, expected=record.expected, seen=len(record.exposures),
        judged=len(record.exposures), exposures=numbers_text(record.exposures), aborted=numbers_text(record.aborted), status=record.status,
        flags=[r.name for r in record.flags.raised], minutes={str(s): record.seconds.get(s, 0.0) / 60 for s in SubTask},
    )  # fmt: skip


def _working(work: Work, at: tuple[str, str]) -> SessionTestNow:
    runs = at[0] == work.name
    units = [t.unit for t in work.taken]
    return SessionTestNow(
        name=work.name, state="running" if runs else "complete", subtask=at[1] if runs else "", expected=work.test.expected, seen=len(units),
        judged=len(units), exposures=numbers_text(units), aborted=numbers_text(work.aborted),
    )  # fmt: skip


def _waiting(of: Session) -> Iterable[SessionTestNow]:
    for taking in of.takings:
        if taking.repetition > 1 and not taking.every:
            continue
        units = [str(u) for u in taking.units]
        yield SessionTestNow(
            name=taking.name, state="complete" if taking.missing == 0 else "receiving" if units else "waiting", expected=taking.test.expected,
            seen=len(units), judged=sum(of.judged(u) for u in taking.units), exposures=numbers_text(units),
            aborted=numbers_text([str(u) for u in taking.aborted]), closes=of.now_ns.shown(of.closes_ns(taking.test)),
        )  # fmt: skip


def _exposure_s(takings: Iterable[Taking]) -> float | None:
    """Exposure time of all that is still expected; None where the session does not say it of some."""
    total = 0.0
    for taking in takings:
        if taking.repetition > 1 and not taking.every:
            continue
        for slot, expect in zip(taking.slots, taking.test.expect, strict=True):
            left = expect.count - len(slot)
            if left and expect.exptime is None:
                return None
            total += left * (expect.exptime or 0.0)
    return total
