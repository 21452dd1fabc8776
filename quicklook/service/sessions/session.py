"""Wait mode: the daemon's attendant that waits for the tests of a session, and has each worked on as soon as its data are complete.

What belongs to which test is worked out from the journal at every look; the state of a run on disk says only which tests are over. So a restart knows
all that there was before.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import sqlalchemy as sa

from quicklook.core.errors import BadConfig, QuicklookError, Transient, describe
from quicklook.core.events import SessionNow, TestDone, draft
from quicklook.core.keys import Unit
from quicklook.core.sequence import Taking, assign
from quicklook.core.session import SessionTest
from quicklook.service.journal.journal import EVENTS
from quicklook.service.rerun.found import write_found
from quicklook.service.running.attending import Surroundings
from quicklook.service.sessions.exposures import Exposures
from quicklook.service.sessions.sessionlog import RunLog
from quicklook.service.sessions.sessionnow import session_now
from quicklook.service.sessions.sessionplan import SessionPlan, plan_session
from quicklook.service.sessions.steadytime import SteadyTime
from quicklook.service.sessions.testprocess import Runner
from quicklook.service.sessions.testruns import RunRecord, Taken, TestedRecord, earlier_folders, summary_text, tests_folder, write_record
from quicklook.service.sessions.testwork import Work
from quicklook.service.sessions.whichrun import run_of
from quicklook.service.verdicts.concluding import Conclusion

log = logging.getLogger("quicklook.session")

_LOOK_NS = 500_000_000
_HOUR_NS = 3600 * 10**9
_REST = 20
"""It rests so many times as long as a look took, at least: exposures go first."""
_PAUSE_NS = 10 * 10**9
_SETTLE_NS = 600 * 10**9
"""So long a daemon that has started waits at most for the raw files that came while it was away, before it closes tests at their time-outs."""


def session_of(around: Surroundings) -> Session | None:
    """The attendant, where the site names a session. Raises BadConfig."""
    return Session(around, plan_session(around.site)) if around.site.file.session.file else None


@dataclass(slots=True)
class Session:
    """One run of a session. `now_ns` gives UTC in nanoseconds, whatever becomes of the clock."""

    around: Surroundings
    plan: SessionPlan
    now_ns: SteadyTime = field(default_factory=SteadyTime)
    run: RunRecord = field(init=False)
    _log: RunLog = field(init=False)
    _runner: Runner = field(init=False)
    _exposures: Exposures = field(init=False)
    _began_ns: int = 0
    _settled: bool = False
    _waiting: list[Work] = field(default_factory=list)
    _next_look: int = 0
    _rested: int = 0
    _changed: bool = True
    _takings: list[Taking] = field(default_factory=list)
    _said: SessionNow | None = None
    _said_of: object = None
    _assigned: int = 0
    _kept: RunRecord | None = None
    _trouble: str = ""

    def __post_init__(self) -> None:
        settings, around = self.around.site.file.session, self.around
        self._began_ns = self.now_ns()
        self.run = run_of(around.site, self.plan, around.recipe.tag, around.journal, self._began_ns, reloaded=around.reloaded)
        first = self.run.start_expid if self.run.start_expid is not None else self.plan.session.start_expid
        self._exposures = Exposures(tag=self.run.tag, after=self.run.after_job or 0, first=first)
        self._log = RunLog.start(self.folder, self.run, self.plan, around.site)
        inline = around.site.file.work.executor == "inline"
        self._runner = Runner(inline=inline, deadline_s=self.plan.session.deadline_s, log_file=self._log.path)
        try:
            self._save()
            self.run = self.run.model_copy(update={"said": sorted({*self.run.said, *self._announced()})})
        except QuicklookError:
            self._log.close()
            raise
        begun = "is over; --fresh begins it once more" if self.run.over else f"{len(self.plan.session.tests)} tests"
        log.info("session %s, run %s%s: %s", self.run.session, self.run.run, f" ({settings.label})" if settings.label else "", begun)

    @property
    def folder(self) -> Path:
        """Where everything of the run is written."""
        return tests_folder(self.around.site.out) / self.run.run

    # ---- the attendant

    def turn(self) -> None:
        """Look at what has come, close what is complete or past its time-out, work on it, and say how things stand.

        What goes wrong with that is told and tried again: exposures are to be processed all the same.
        """
        if self._trouble and self.now_ns() < self._next_look:
            return
        try:
            self._turn()
        except Exception as error:
            self._stumble(error)
        else:
            if self._trouble:
                log.warning("session %s: it goes on", self.run.session)
            self._trouble = ""

    def _stumble(self, error: Exception) -> None:
        """Tell what keeps it from going on, once, and leave it to a later turn."""
        self._changed, self._next_look = True, self.now_ns() + _PAUSE_NS  # a test that was not worked on is found again
        if (why := describe(error)) == self._trouble:
            return
        self._trouble = why
        fault = not isinstance(error, QuicklookError | OSError)
        log.error("session %s: %s; it is tried again every %d s", self.run.session, why, _PAUSE_NS // 10**9, exc_info=fault)
        try:
            self._say()
        except Exception:
            log.debug("session %s: how it stands cannot be told either", self.run.session, exc_info=True)

    def _turn(self) -> None:
        self._save()
        if not self.run.over:
            self._take_finished()
            if self.now_ns() >= self._next_look:
                begun = self.now_ns()
                self._look()
                self._close_due()
                self._rested = self.now_ns() + _REST * (self.now_ns() - begun)
                self._next_look = max(begun + _LOOK_NS, self._rested)
            self._start_next()
            self._end_if_over()
        self._say()
        if self.run.over and self.around.site.file.session.until_done:
            self.around.stop()

    def closed(self, _connection: sa.Connection, _done: Conclusion) -> None:
        """An exposure has its verdict: look at once."""
        if not self._trouble:
            self._next_look = min(self._next_look, self._rested)

    @property
    def idle(self) -> bool:
        """No test is worked on or waits to be, nor is one complete but for its last files."""
        return self.run.over or not (self._runner.work or self._waiting or any(t.missing == 0 for t in self._takings))

    def close(self) -> None:
        """End the work on a test: the next start does it anew. The summary is written."""
        self._runner.stop()
        self.run = self.run.model_copy(update={"left": True})
        try:
            self._save()
        except QuicklookError as error:
            log.warning("the state of the session is not written: %s", error)
        self._log.close()

    # ---- what has come

    def _look(self) -> None:
        # before the journal is read: what has arrived until now is in it
        self._settled = self._settled or not self.around.arriving() or self.now_ns() - self._began_ns > _SETTLE_NS
        with self.around.journal.reading() as connection:
            self._changed |= self._exposures.look(connection)
        if self._changed:
            self._assign()
            self._changed = False

    @property
    def _works(self) -> list[Work]:
        return [*([self._runner.work] if self._runner.work else []), *self._waiting]

    def _assign(self) -> None:
        over = Counter(self.run.times_over())
        over.update(w.test.name for w in self._works)
        gone = [u for t in self.run.tests for u in (*t.exposures, *t.aborted, *t.strays, *t.extra)]
        gone += [u for w in self._works for u in (*(t.unit for t in w.taken), *w.aborted, *w.strays, *w.extra)]
        taken = {Unit.parse(u) for u in gone}
        exposures = [e.came for e in self._exposures.by_unit.values()]
        self._takings = assign(self.plan.session, exposures, start=self.run.start_expid, over=over, taken=taken)
        self._assigned += 1

    # ---- closing

    def _close_due(self) -> None:
        now, held = self.now_ns(), set[str]()
        for taking in list(self._takings):
            # a repetition is not closed before what it repeats
            if taking.test.name in held or not self._is_over(taking, now):
                held.add(taking.test.name)
                continue
            self._waiting.append(self._work(taking))
            self._changed = True
            said = "is complete" if taking.missing == 0 else f"is closed at its time-out, {taking.missing} exposures did not come"
            log.info("test %s %s", taking.name, said)
        if self._changed:
            self._look()

    def closes_ns(self, test: SessionTest) -> int:
        """When a test is closed at the latest: so long after the launch of the run, or after the end of the last test."""
        hours = test.timeout_h if test.timeout_h is not None else self.plan.session.timeout_h
        return max(self.run.launched_ns, self.run.last_test_ns) + int(hours * _HOUR_NS)

    def _is_over(self, taking: Taking, now: int) -> bool:
        if taking.repetition > 1 and not taking.every:
            return False  # nobody waits for a test that is over
        # of a daemon that was away, the raw files that came meanwhile are waited for
        late = self._settled and now > self.closes_ns(taking.test)
        return (taking.missing == 0 or late) and all(self._exposures.by_unit[u].done for u in taking.units)

    def _work(self, taking: Taking) -> Work:
        plan, name, known = self.plan, taking.name, self._exposures.by_unit
        kinds = {u: i for i, slot in enumerate(taking.slots) for u in slot}
        taken = [
            Taken(unit=str(u), slot=kinds[u], tags=dict(known[u].came.tags), files=dict(known[u].files)) for u in taking.units
        ]
        return Work(
            run=self.run.run, name=name, repetition=taking.repetition, session=plan.session, test=taking.test, taken=tuple(taken),
            aborted=tuple(map(str, taking.aborted)), strays={str(u): why for u, why in taking.strays.items()}, extra=tuple(map(str, taking.extra)),
            timed_out=taking.missing > 0, todo=plan.todo.of(plan.session, taking.test),
            recipe=replace(self.around.recipe, builders={n: plan.builders[n] for n in taking.test.analyses if n in plan.builders}, adoption=None),
            chains=plan.chains[taking.test.name], analyses={n: plan.analyses[n] for n in taking.test.analyses}, metrics=plan.metrics,
            flags=plan.flags, cameras=self.around.site.instrument.cameras.expected, folder=self.folder / name,
            earlier=earlier_folders(self.around.site.out, self.run.run, name),
        )  # fmt: skip

    # ---- the work

    def _start_next(self) -> None:
        if self._runner.work is None and self._waiting:
            self._runner.start(self._waiting.pop(0))
            self._take_finished()

    def _take_finished(self) -> None:
        for record in self._runner.finished():
            self.run = self.run.model_copy(update={"tests": [*self.run.tests, record], "last_test_ns": self.now_ns()})
            self._changed, self._next_look = True, self._rested
            log.info("test %s: %s%s", record.name, record.status, "".join(f"\n    {r}" for r in record.reasons))
            self._found(record)
        self._save()
        if self._runner.unwritten:
            why, self._runner.unwritten = self._runner.unwritten, ""
            raise Transient(why)

    def _done(self, record: TestedRecord) -> TestDone:
        path = str((self.folder / record.name / "test.json").relative_to(self.around.site.out))
        return TestDone(
            run=record.run, name=record.name, status=record.status, reasons=record.reasons, complete=record.complete,
            exposures=record.exposures, flags=[r.name for r in record.flags.raised], path=path,
        )  # fmt: skip

    def _announced(self) -> set[str]:
        """Tests of the run that were announced, whether its state says so or not: the daemon may have been killed just then."""
        if not self.run.tests:
            return set()
        with self.around.journal.reading() as connection:
            payloads = connection.execute(sa.select(EVENTS.c.payload).where(EVENTS.c.kind == TestDone.kind, EVENTS.c.tag == self.run.tag)).scalars()
            return {p["name"] for p in map(json.loads, payloads) if p["run"] == self.run.run}

    def _found(self, record: TestedRecord) -> None:
        """Write the exposure numbers into the copy of the session, and into its file where that is wanted; not those of a repetition that lacks
        some."""
        if not record.exposures or (record.repetition > 1 and not record.complete):
            return
        paths = [self._log.copy, *([self.plan.path] if self.plan.path and self.around.site.file.session.write_found else [])]
        for path in paths:
            try:
                write_found(path, {record.test: [Unit.parse(u) for u in record.exposures]})
            except (BadConfig, Transient, OSError) as error:
                log.warning("exposure numbers of %s are not written into %s: %s", record.test, path, error)

    def _save(self) -> None:
        """Write the state of the run and its summary, where they have changed."""
        if self.run != self._kept:
            write_record(self.folder / "run.json", self.run)
            self._log.summary(summary_text(self.run, [t.name for t in self.plan.session.tests]))
            self._kept = self.run

    def _say(self) -> None:
        tests = [t for t in self.run.tests if t.name not in self.run.said]
        of = (len(self.run.tests), self.run.over, self.working, len(self._waiting), self._assigned, self._trouble)
        if of == self._said_of and not tests:
            return
        now = session_now(self)
        plots = [draft(p.ready, part=p.part, tag=self.run.tag) for t in tests for p in t.plots]
        self.around.journal.append([*plots, *(draft(p, tag=self.run.tag) for p in [*map(self._done, tests), *([now] if now != self._said else [])])])
        self._said, self._said_of = now, of
        if tests:
            self.run = self.run.model_copy(update={"said": [*self.run.said, *(t.name for t in tests)]})

    def _end_if_over(self) -> None:
        if self._works or any(t.every for t in self._takings) or not all(self.run.times_over().get(t.name) for t in self.plan.session.tests):
            return
        self.run = self.run.model_copy(update={"over": True})
        self._save()
        log.info("session %s is over\n%s", self.run.session, summary_text(self.run, [t.name for t in self.plan.session.tests]))

    # ---- for those who look at it

    @property
    def takings(self) -> Sequence[Taking]:
        """The tests that are waited for, as far as they have come."""
        return self._takings

    @property
    def works(self) -> Sequence[Work]:
        """The test that is worked on, and those that wait to be."""
        return self._works

    @property
    def trouble(self) -> str:
        """What keeps it from going on; empty where nothing does."""
        return self._trouble

    @property
    def working(self) -> tuple[str, str]:
        """Name of the test that is worked on, and its sub-task; empty where none is."""
        return self._runner.at

    def judged(self, unit: Unit) -> bool:
        """Whether an exposure has its verdict."""
        return unit in self._exposures.by_unit and self._exposures.by_unit[unit].judged

