"""Wait mode: the daemon's attendant that waits for the tests of a session, and has each worked on as soon as its data are complete.

What belongs to which test is worked out from the journal at every look; the state of a run on disk says only which tests are over. So a restart knows
all that there was before.
"""

from __future__ import annotations

import json
import logging
import time
import uuid
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from quicklook.core.errors import BadConfig, Transient
from quicklook.core.events import SessionNow, TestDone, draft
from quicklook.core.keys import Unit
from quicklook.core.sequence import Came, Taking, assign
from quicklook.core.session import SessionTest
from quicklook.service.journal import jobs
from quicklook.service.journal.journal import EVENTS, JOBS, UNITS
from quicklook.service.rerun.found import write_found
from quicklook.service.running.attending import Surroundings
from quicklook.service.sessions.sessionlog import RunLog
from quicklook.service.sessions.sessionnow import session_now
from quicklook.service.sessions.sessionplan import SessionPlan, plan_session
from quicklook.service.sessions.testprocess import Runner
from quicklook.service.sessions.testruns import RunRecord, Taken, TestedRecord, earlier_folders, read_record, summary_text, tests_folder, write_record
from quicklook.service.sessions.testwork import Work
from quicklook.service.verdicts.concluding import Conclusion

log = logging.getLogger("quicklook.session")

_LOOK_NS = 500_000_000
_HOUR_NS = 3600 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposure:
    """An exposure in the journal: its cameras with their files, whether it has its verdict, and whether all of its work is done."""

    came: Came
    revision: int
    files: Mapping[str, str]
    judged: bool
    done: bool


def session_of(around: Surroundings) -> Session | None:
    """The attendant, where the site names a session. Raises BadConfig."""
    return Session(around, plan_session(around.site)) if around.site.file.session.file else None


@dataclass(slots=True)
class Session:
    """One run of a session. `now_ns` gives UTC in nanoseconds."""

    around: Surroundings
    plan: SessionPlan
    now_ns: Callable[[], int] = time.time_ns
    run: RunRecord = field(init=False)
    _log: RunLog = field(init=False)
    _runner: Runner = field(init=False)
    _since_ns: int = 0
    _waiting: list[Work] = field(default_factory=list)
    _next_look: int = 0
    _looked: tuple[int, int] = (-1, -1)
    _exposures: dict[Unit, Exposure] = field(default_factory=dict)
    _takings: list[Taking] = field(default_factory=list)
    _said: SessionNow | None = None
    _to_say: list[TestDone] = field(default_factory=list)

    def __post_init__(self) -> None:
        settings, now = self.around.site.file.session, self.now_ns()
        self._since_ns = now
        self.run = self._begun() or RunRecord(
            run=f"{time.strftime('%Y%m%dT%H%M%S', time.gmtime(now / 1e9))}-{uuid.uuid4().hex[:4]}", label=settings.label,
            session=self.plan.session.session, sha256=self.plan.session.sha256, tag=self.around.recipe.tag, launched_ns=now, last_test_ns=now,
            start_expid=settings.start_expid,
        )  # fmt: skip
        self._log = RunLog.start(self.folder, self.run, self.plan, self.around.site)
        inline = self.around.site.file.work.executor == "inline"
        self._runner = Runner(inline=inline, deadline_s=self.plan.session.deadline_s, log_file=self._log.path)
        self._save()
        self._to_say = self._unsaid()
        log.info("session %s, run %s: %d tests", self.run.session, self.run.run, len(self.plan.session.tests))

    def _begun(self) -> RunRecord | None:
        """The latest run of this session under the tag, where it is not over: a daemon that was stopped, killed or reloaded goes on with it."""
        settings = self.around.site.file.session
        for path in sorted(tests_folder(self.around.site.out).glob("*/run.json"), reverse=True):
            known = read_record(path, RunRecord)
            if known is not None and (known.session, known.tag) == (self.plan.session.session, self.around.recipe.tag):
                goes_on = not (known.over or settings.fresh) and settings.start_expid in (None, known.start_expid)
                return known.model_copy(update={"sha256": self.plan.session.sha256}) if goes_on else None
        return None

    @property
    def folder(self) -> Path:
        """Where everything of the run is written."""
        return tests_folder(self.around.site.out) / self.run.run

    # ---- the attendant

    def turn(self) -> None:
        """Look at what has come, close what is complete or past its time-out, work on it, and say how things stand."""
        if self.run.over:
            return
        self._take_finished()
        if self.now_ns() >= self._next_look:
            self._next_look = self.now_ns() + _LOOK_NS
            self._look()
            self._close_due()
        self._start_next()
        self._say()
        self._end_if_over()

    def closed(self, _connection: sa.Connection, _done: Conclusion) -> None:
        """An exposure has its verdict: look at once."""
        self._next_look = 0

    @property
    def idle(self) -> bool:
        """No test is worked on or waits to be, nor is one complete but for its last files."""
        return self.run.over or not (self._runner.work or self._waiting or any(t.missing == 0 for t in self._takings))

    def close(self) -> None:
        """End the work on a test: the next start does it anew. The summary is written."""
        self._runner.stop()
        self._save()
        self._log.close()

    # ---- what has come

    def _look(self) -> None:
        with self.around.journal.reading() as connection:
            now = self._fingerprint(connection)
            if now != self._looked:
                self._read(connection)
                self._looked = now
        self._assign()

    def _fingerprint(self, connection: sa.Connection) -> tuple[int, int]:
        """What changes whenever an exposure comes or a job of one ends."""
        tag = self.run.tag
        units = connection.execute(sa.select(sa.func.count()).select_from(UNITS).where(UNITS.c.tag == tag)).scalar_one()
        verdicts = connection.execute(sa.select(sa.func.count()).where(UNITS.c.tag == tag, UNITS.c.verdict_ns.is_not(None))).scalar_one()
        ended = connection.execute(sa.select(sa.func.count()).where(JOBS.c.tag == tag, JOBS.c.state.in_((jobs.OPEN, jobs.RUNNING)))).scalar_one()
        return int(units) * 1_000_000 + int(verdicts), int(ended)

    def _read(self, connection: sa.Connection) -> None:
        """The latest revision of every exposure that may be of a test."""
        first = self.run.start_expid if self.run.start_expid is not None else self.plan.session.start_expid
        query = sa.select(UNITS).where(UNITS.c.tag == self.run.tag)
        if first is None:
            query = query.where(UNITS.c.seen_ns >= self.run.launched_ns)
        latest = {Unit.parse(row.unit): row for row in connection.execute(query.order_by(UNITS.c.unit, UNITS.c.revision))}
        for unit, row in latest.items():
            known = self._exposures.get(unit)
            if (first is None or unit.expid >= first) and not (known and known.done and known.revision == row.revision):
                self._exposures[unit] = self._exposure(connection, unit, row)

    def _exposure(self, connection: sa.Connection, unit: Unit, row: Any) -> Exposure:
        of_row = (JOBS.c.unit == row.unit, JOBS.c.revision == row.revision, JOBS.c.tag == self.run.tag)
        parts = connection.execute(sa.select(JOBS.c.part, JOBS.c.path, JOBS.c.state).where(*of_row)).all()
        judged = row.verdict_ns is not None
        return Exposure(
            came=Came(unit=unit, tags=json.loads(row.tags)),
            revision=row.revision,
            files={p.part: p.path for p in parts},
            judged=judged,
            done=judged and all(p.state not in (jobs.OPEN, jobs.RUNNING) for p in parts),
        )

    @property
    def _works(self) -> list[Work]:
        return [*([self._runner.work] if self._runner.work else []), *self._waiting]

    def _assign(self) -> None:
        over = Counter(self.run.times_over())
        over.update(w.test.name for w in self._works)
        gone = [u for t in self.run.tests for u in (*t.exposures, *t.aborted, *t.strays)]
        gone += [u for w in self._works for u in (*(t.unit for t in w.taken), *w.aborted, *w.strays)]
        taken = {Unit.parse(u) for u in gone}
        exposures = [e.came for e in self._exposures.values()]
        self._takings = assign(self.plan.session, exposures, start=self.run.start_expid, over=over, taken=taken)

    # ---- closing

    def _close_due(self) -> None:
        now = self.now_ns()
        due = [t for t in self._takings if self._is_over(t, now)]
        for taking in due:
            work = self._work(taking)
            self._waiting.append(work)
            said = "is complete" if taking.missing == 0 else f"is closed at its time-out, {taking.missing} exposures did not come"
            log.info("test %s %s", taking.name, said)
        if due:
            self._assign()

    def closes_ns(self, test: SessionTest) -> int:
        """When a test is closed at the latest: so long after the launch (of this daemon), or after the end of the last test."""
        hours = test.timeout_h if test.timeout_h is not None else self.plan.session.timeout_h
        return max(self._since_ns, self.run.last_test_ns) + int(hours * _HOUR_NS)

    def _is_over(self, taking: Taking, now: int) -> bool:
        if taking.repetition > 1 and not taking.every:
            return False  # nobody waits for a test that is over
        late = now > self.closes_ns(taking.test)
        return (taking.missing == 0 or late) and all(self._exposures[u].done for u in taking.units)

    def _work(self, taking: Taking) -> Work:
        plan, name = self.plan, taking.name
        kinds = {u: i for i, slot in enumerate(taking.slots) for u in slot}
        taken = [
            Taken(unit=str(u), slot=kinds[u], tags=dict(self._exposures[u].came.tags), files=dict(self._exposures[u].files)) for u in taking.units
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
            self._found(record)
            self._to_say.append(self._done(record))
            self._save()
            self._next_look = 0
            log.info("test %s: %s%s", record.name, record.status, "".join(f"\n    {r}" for r in record.reasons))

    def _done(self, record: TestedRecord) -> TestDone:
        path = str((self.folder / record.name / "test.json").relative_to(self.around.site.out))
        return TestDone(
            run=record.run, name=record.name, status=record.status, reasons=record.reasons, complete=record.complete,
            exposures=record.exposures, flags=[r.name for r in record.flags.raised], path=path,
        )  # fmt: skip

    def _unsaid(self) -> list[TestDone]:
        """Tests of an earlier life of the daemon that were over, and not yet announced when it ended."""
        if not self.run.tests:
            return []
        with self.around.journal.reading() as connection:
            payloads = connection.execute(sa.select(EVENTS.c.payload).where(EVENTS.c.kind == TestDone.kind, EVENTS.c.tag == self.run.tag)).scalars()
            said = {(p["run"], p["name"]) for p in map(json.loads, payloads)}
        return [self._done(t) for t in self.run.tests if (t.run, t.name) not in said]

    def _found(self, record: TestedRecord) -> None:
        """Write the exposure numbers into the copy of the session, and into its file where that is wanted."""
        paths = [self._log.copy, *([self.plan.path] if self.plan.path and self.around.site.file.session.write_found else [])]
        for path in paths:
            try:
                write_found(path, {record.test: [Unit.parse(u) for u in record.exposures]})
            except (BadConfig, Transient, OSError) as error:
                log.warning("exposure numbers of %s are not written into %s: %s", record.test, path, error)

    def _save(self) -> None:
        write_record(self.folder / "run.json", self.run)
        self._log.summary(summary_text(self.run, [t.name for t in self.plan.session.tests]))

    def _say(self) -> None:
        now = session_now(self)
        if now == self._said and not self._to_say:
            return
        said = [*self._to_say, *([now] if now != self._said else [])]
        self.around.journal.append([draft(p, tag=self.run.tag) for p in said])
        self._said, self._to_say = now, []

    def _end_if_over(self) -> None:
        if self._works or any(t.every for t in self._takings) or not all(self.run.times_over().get(t.name) for t in self.plan.session.tests):
            return
        self.run = self.run.model_copy(update={"over": True})
        self._save()
        self._say()
        log.info("session %s is over\n%s", self.run.session, summary_text(self.run, [t.name for t in self.plan.session.tests]))
        if self.around.site.file.session.until_done:
            self.around.stop()

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
    def working(self) -> tuple[str, str]:
        """Name of the test that is worked on, and its sub-task; empty where none is."""
        return self._runner.at

    def judged(self, unit: Unit) -> bool:
        """Whether an exposure has its verdict."""
        return unit in self._exposures and self._exposures[unit].judged

