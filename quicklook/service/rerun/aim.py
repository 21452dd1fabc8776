"""Aim mode: data that are there, done again under a tag of their own, on all cores. Raw files and results under other tags stay as they are.

The journal of a daemon has no part in it. What is done is noted beside the results, so that a run that was killed goes on.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Protocol

from quicklook.core.chain import Chain
from quicklook.core.deciding import check_goals
from quicklook.core.declared import declared_metrics
from quicklook.core.errors import BadConfig, NoSpace, Transient
from quicklook.core.events import Event, Payload, PlotsReady, Receipt, UnitDone, draft
from quicklook.core.history import Selection, find_verdict
from quicklook.core.keys import PartKey, Unit
from quicklook.core.results import Failure, PartResult, UnitVerdict
from quicklook.core.sink import SinkContext
from quicklook.core.status import Status
from quicklook.core.unitparts import PartSummary
from quicklook.io.history import FileHistory
from quicklook.io.reader import open_reader
from quicklook.service.journal.jobs import DONE, FAILED, RUNNING, Job, PartState, UnitRow
from quicklook.service.publishing.sinks import make_sink
from quicklook.service.rerun.aimplan import Mode, Plan, PlanFile, PlannedUnit
from quicklook.service.rerun.fromstored import FromStep, OnlyQas, Stored, step_of
from quicklook.service.rerun.onlyqa import select
from quicklook.service.running.hkplace import joined_now
from quicklook.service.settings import WorkSettings
from quicklook.service.site import Site
from quicklook.service.verdicts.concluding import conclude, save_unit_plots
from quicklook.service.workers.executors import Executor, InlineExecutor, executor_of
from quicklook.service.workers.processing import Recipe
from quicklook.service.workers.worker import Broken, Judged, Message, Written

log = logging.getLogger("quicklook.aim")

RETRY_S = 1.0
"""What failed for a reason that may pass is tried again after so long."""


class Teller(Protocol):
    """Is told how a run goes."""

    def part(self, key: PartKey, status: Status | None, failure: Failure | None) -> None:
        """A camera is done, with its verdict; or it could not be processed, or its files not be written."""

    def unit(self, verdict: UnitVerdict) -> None:
        """An exposure has its verdict."""


@dataclass(slots=True, kw_only=True)
class Summary:
    """What a run has done: verdicts of cameras and exposures, failures by camera, seconds; `stopped` says why it ended early.

    `earlier`: cameras and exposures of the plan that were done before it was gone on with, as in `judged`.
    """

    parts: dict[PartKey, Status] = field(default_factory=dict)
    units: dict[Unit, Status] = field(default_factory=dict)
    failures: dict[PartKey, Failure] = field(default_factory=dict)
    seconds: float = 0.0
    stopped: str = ""
    earlier: list[tuple[Status, bool]] = field(default_factory=list)

    @property
    def judged(self) -> list[tuple[Status, bool]]:
        """Each camera and exposure with its status, and whether it failed: for the exit status."""
        failed = [(Status.UNKNOWN, True) for key in self.failures if key not in self.parts]
        parts = [(status, key in self.failures) for key, status in self.parts.items()]
        units = [(status, False) for status in self.units.values()]
        return [*self.earlier, *parts, *failed, *units, *([(Status.UNKNOWN, True)] if self.stopped else [])]


def chains_of(site: Site, flavors: Collection[str]) -> dict[str, Chain]:
    """The chains of these flavors. What is set with `-c` is laid over those that have such a step or QA. Raises BadConfig where none has."""
    names = {flavor: site.chain_name(flavor) for flavor in flavors}
    plain = {name: replace(site, overrides=()).chain(name) for name in set(names.values())}
    known = {name: {*(s.name for s in c.steps), *(q.name for q in (*c.qas, *c.unit_qas))} for name, c in plain.items()}
    for name in plain if any(all(o.target not in k for k in known.values()) for o in site.overrides) else ():
        site.chain(name)  # it says what is wrong
    fitting = {name: replace(site, overrides=tuple(o for o in site.overrides if o.target in known[name])).chain(name) for name in plain}
    return {flavor: fitting[name] for flavor, name in names.items()}


def recipe_for(recipe: Recipe, mode: Mode) -> Recipe:
    """The recipe of a site (whose tag is that of the new results) for a mode; its chains are those that the mode applies to (see `not_for`)."""
    source = Stored(out=recipe.out, tag=mode.source)
    provides = open_reader(recipe.instrument).provides if mode.from_step or mode.only_qa else ()
    if mode.from_step:
        return replace(recipe, runner=FromStep(source=source, step=mode.from_step, provides=provides, definitions=declared_metrics()))
    if mode.only_qa:
        chains = {flavor: replace(chain, products=()) for flavor, chain in recipe.chains.items()}
        chains_by_name = {c.name: c for c in recipe.chains.values()}
        runner = OnlyQas(source=source, names=tuple(mode.only_qa), chains=chains_by_name, provides=provides)
        return replace(recipe, chains=chains, products=(), runner=runner)
    return recipe


def not_for(chain: Chain, mode: Mode) -> str:
    """Why a mode does not apply to a chain, in words; empty where it does."""
    if mode.from_step and step_of(chain, mode.from_step) is None:
        return f"chain {chain.name} has no step {mode.from_step}; it has: {', '.join(s.name for s in chain.steps[1:])}"
    try:
        select(chain, mode.only_qa)
    except BadConfig as error:
        return f"{error}. {error.what_next}"
    return ""


def lacking(recipe: Recipe, plan: Plan) -> dict[str, list[PartKey]]:
    """Why cameras of a plan cannot be started from stored products, and which. Empty where the whole chain is run."""
    out: dict[str, list[PartKey]] = {}
    if isinstance(recipe.runner, FromStep | OnlyQas):
        for unit in plan.units:
            chain = recipe.chain_for(unit.flavor)
            for camera in unit.cameras:
                key = PartKey(unit.key, camera)
                for why in recipe.runner.lacking(chain, key):
                    out.setdefault(why, []).append(key)
    return out


@dataclass(slots=True, kw_only=True)
class AimRun:
    """One run over a plan. `attempts` for what may go well later; with `fail_fast` the first camera that fails ends it; `draw`: pictures too."""

    recipe: Recipe
    plan: Plan
    file: PlanFile
    teller: Teller
    attempts: int = 3
    fail_fast: bool = False
    draw: bool = False
    goals: Mapping[str, float] = field(default_factory=dict)
    summary: Summary = field(default_factory=Summary)
    _jobs: dict[int, Job] = field(default_factory=dict)
    _times: dict[Unit, dict[str, int]] = field(default_factory=dict)
    _open: dict[Unit, set[str]] = field(default_factory=dict)
    _units: dict[Unit, PlannedUnit] = field(default_factory=dict)

    def run(self, executor: Executor) -> Summary:
        """Do what is not done yet, until all is, or something ends it. Raises Transient where the disk is full; what is done stays."""
        begun = time.monotonic()
        if self.recipe.decisions is not None:
            check_goals(self.recipe.decisions, self.goals, "--goal")
        waiting, later = self._waiting(), list[tuple[float, Job]]()
        try:
            while (waiting or later or self._jobs) and not self.summary.stopped:
                waiting.extend(job for due, job in later if due <= time.monotonic())
                later = [(due, job) for due, job in later if due > time.monotonic()]
                if waiting and executor.free() > 0:
                    job = waiting.popleft()
                    self._jobs[job.id] = job
                    self._times.setdefault(job.unit, {"seen": time.time_ns()})
                    executor.submit(job)
                for message in executor.wait(0.0 if waiting and executor.free() > 0 else 0.2):
                    if not self.summary.stopped and (again := self._take(message)) is not None:
                        later.append((time.monotonic() + RETRY_S, again))
            if not self.summary.stopped:
                self.file.end(self.plan)
        finally:
            self.summary.seconds = time.monotonic() - begun
        return self.summary

    def _waiting(self) -> deque[Job]:
        jobs: deque[Job] = deque()
        for unit in self.plan.units:
            self._recall(unit)
            if self.file.is_done(unit.key):
                continue
            self._units[unit.key] = unit
            todo = {c: p for c, p in unit.cameras.items() if not self.file.is_done(PartKey(unit.key, c))}
            self._open[unit.key] = set(todo)
            for camera, path in todo.items():
                jobs.append(
                    Job(
                        id=len(jobs) + 1,
                        unit=unit.key,
                        part=camera,
                        tag=self.plan.tag,
                        revision=unit.revision,
                        path=path,
                        flavor=unit.flavor,
                        attempts=1,
                        announced=False,
                        state=RUNNING,
                    )
                )
            if not todo:
                self._conclude(unit.key)
        return jobs

    def _recall(self, unit: PlannedUnit) -> None:
        """What was done of an exposure before counts for the exit status of this run, too."""
        over = self.file.is_done(unit.key)
        done = [c for c in unit.cameras if over or self.file.is_done(PartKey(unit.key, c))]
        results = self._results(unit.key, done) if done else {}
        for camera in done:
            result = results.get(camera)
            known = result is not None and result.revision == unit.revision
            self.summary.earlier.append((result.status, _failed_step(result) is not None) if known and result else (Status.UNKNOWN, True))
        if over and (verdict := find_verdict(FileHistory(self.recipe.out), unit.key, tag=self.plan.tag)) is not None:
            self.summary.earlier.append((verdict.status, False))

    def _take(self, message: Message) -> Job | None:
        """Note what a worker says; returns a job that is to be tried again."""
        if not isinstance(message, Judged | Written | Broken) or not isinstance(message.job, Job):
            return None
        job, key = message.job, PartKey(message.job.unit, message.job.part)
        if isinstance(message, Judged):
            self.summary.parts[key] = message.status
            self._times.setdefault(job.unit, {})[f"{job.part}/verdict"] = time.time_ns()
            return None
        self._jobs.pop(job.id, None)
        if isinstance(message, Broken):
            return self._broken(key, job, message)
        self._draw(message)
        self.file.note(key)
        failed = _failed_step(self._result(key))
        self._ended(key, failed)
        return None

    def _broken(self, key: PartKey, job: Job, message: Broken) -> Job | None:
        if message.failure.error == NoSpace.__name__:
            raise NoSpace(f"{key}: {message.failure.message}", what_next="Make room, then go on with --resume.")
        if message.retry and job.attempts < self.attempts:
            log.warning("%s: attempt %d: %s", key, job.attempts, message.failure.message)
            return replace(job, attempts=job.attempts + 1, announced=key in self.summary.parts)
        self._ended(key, message.failure)
        return None

    def _ended(self, key: PartKey, failure: Failure | None) -> None:
        if failure is not None:
            self.summary.failures[key] = failure
        self.teller.part(key, self.summary.parts.get(key), failure)
        self._open[key.unit].discard(key.part)
        if failure is not None and self.fail_fast:
            self.summary.stopped = f"{key} failed: {failure.message}"
        elif not self._open[key.unit]:
            self._conclude(key.unit)

    def _result(self, key: PartKey) -> PartResult | None:
        return next(iter(self._results(key.unit, [key.part]).values()), None)

    def _results(self, unit: Unit, parts: Sequence[str]) -> dict[str, PartResult]:
        """The merged QAs of cameras that are stored under the tag."""
        wanted = Selection(tag=self.plan.tag, units=frozenset({unit}), parts=frozenset(parts))
        return {r.part: r for r in FileHistory(self.recipe.out).results(wanted)}

    # ---- the exposure as a whole

    def _conclude(self, key: Unit) -> None:
        """Its verdict over the cameras of the plan and those that are taken over; decision, receipt and plots as of any exposure."""
        planned = self._units[key]
        names = [*planned.kept, *planned.cameras]
        failed = [c for c in planned.cameras if PartKey(key, c) in self.summary.failures and PartKey(key, c) not in self.summary.parts]
        results = self._results(key, [n for n in names if n not in failed])
        states = [self._state(key, name, results.get(name)) for name in names]
        summaries = [PartSummary.of(results[n]) if n in results else PartSummary(part=n, status=Status.UNKNOWN, tags=planned.tags) for n in names]
        row = UnitRow(
            unit=key, tag=self.plan.tag, revision=planned.revision, path=next(iter(planned.cameras.values()), ""),
            expected=self.recipe.instrument.cameras.expected if planned.whole else (), tags=dict(planned.tags), closed_ns=None,
            seen_ns=0, deadline_ns=0,
        )  # fmt: skip
        housekeeping = joined_now(self.recipe.housekeeping, row.tags)
        done = conclude(self.recipe, row, states, summaries, goals=self.goals, housekeeping=housekeeping)
        now = time.time_ns()
        times = {"seen": now, **self._times.pop(key, {}), "verdict": now}
        plots = save_unit_plots(self.recipe, done)
        self._to_files(row, [*done.facts, Receipt(times=times, seconds_to_verdict=(now - times["seen"]) / 1e9), *plots])
        self.file.note(key)
        self.summary.units[key] = done.verdict.status
        self.teller.unit(done.verdict)

    def _state(self, key: Unit, name: str, result: PartResult | None) -> PartState:
        if result is not None:
            return PartState(part=name, state=DONE, announced=True, status=result.status, reasons=tuple(result.reasons))
        failure = self.summary.failures.get(PartKey(key, name))
        why = f"UNKNOWN: processing failed: {failure.message}" if failure else "UNKNOWN: its result cannot be read"
        return PartState(part=name, state=FAILED, announced=True, status=Status.UNKNOWN, reasons=(why,))

    def _to_files(self, row: UnitRow, payloads: Sequence[Payload]) -> None:
        drafts = [draft(p, unit=row.unit, tag=row.tag, revision=row.revision) for p in payloads]
        events = [Event(**d.model_dump(), epoch="", seq=n, time=time.time_ns()) for n, d in enumerate(drafts, start=1)]
        for name, kinds in (("files", None), ("render", (PlotsReady.kind, UnitDone.kind))):
            if name == "files" or self.draw:
                sink = make_sink(name, {})
                sink.open(SinkContext(out=str(self.recipe.out)))
                for event in events:
                    if kinds is None or event.kind in kinds:
                        sink.accept(event)
                sink.close()

    def _draw(self, message: Written) -> None:
        """Draw the plots of a camera, where pictures are wanted. One that cannot be drawn is told and costs nothing else."""
        ready = [e for e in message.events if e.kind == PlotsReady.kind]
        if not (self.draw and ready):
            return
        with suppress(Transient):
            sink = make_sink("render", {})
            sink.open(SinkContext(out=str(self.recipe.out)))
            for number, fact in enumerate(ready, start=1):
                sink.accept(Event(**fact.model_dump(), epoch="", seq=number, time=0))
            sink.close()


def _failed_step(result: PartResult | None) -> Failure | None:
    return next((s.failure for s in result.steps if s.failure is not None), None) if result is not None else None


def executor_for(recipe: Recipe, work: WorkSettings, workers: int, *, inline: bool, most: int) -> Executor:
    """Worker processes on all cores (or so many as are asked for, the site says, or there are jobs), or this process alone."""
    if inline:
        return InlineExecutor(recipe)
    return executor_of(recipe, work, workers=workers, most=most)
