"""The outcome of a test: flags, status and reasons from what its sub-tasks have found."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from quicklook.core.flags import Facts, Found
from quicklook.core.results import Failure, MetricResult
from quicklook.core.session import SubTask
from quicklook.core.status import Status, total, worst
from quicklook.service.sessions.testruns import SubTaskDone, TestedRecord, read_record, write_record
from quicklook.service.sessions.testwords import verdict_words
from quicklook.service.sessions.testwork import Work


def outcome(work: Work, states: Mapping[SubTask, SubTaskDone], memory_mb: float, *, lost: int = 0) -> TestedRecord:
    """Flags, status and reasons from what the sub-tasks have found."""
    check, prep = states[SubTask.CHECK].data, states[SubTask.PREP].data
    analyses, found, sentences = _analysed(states[SubTask.BASIC].data, states[SubTask.META].data)
    each = [s for by_camera in analyses.values() for s in by_camera.values()]
    exposures = _exposures(check, prep)
    numbers = {
        **check.get("numbers", {}),
        **_counts("exposures", exposures.values(), (Status.WARNING, Status.ALARM, Status.UNKNOWN) if exposures or check else ()),
        **_counts("analyses", each, (Status.WARNING, Status.ALARM) if each else ()),
        "failed_subtasks": sum(s.state == "failed" for s in states.values()),
        "crashed_subtasks": lost,
        "slow_subtasks": sum(s.seconds > work.session.slow_s for s in states.values()),
    }
    if memory_mb < float("inf"):
        numbers["memory_free_mb"] = memory_mb
    stated = [_found(f) for f in (*check.get("metrics", []), *prep.get("metrics", []))]
    silent = {k: check.get(k, {}) for k in ("told", "not_applicable", "unknown")}
    silent["told"] = {**silent["told"], **verdict_words(exposures, stated)}
    flags = work.flags.say(
        Facts(numbers=numbers, metrics=[*stated, *found], mismatches=check.get("mismatches", {}), checked=check.get("checked", ()), **silent)
    )
    lacking = [f"UNKNOWN: {why}" for why in _lacking(work, states, analyses)]
    status = total([*(r.status for r in flags.raised), *each, worst(exposures.values()), *([Status.UNKNOWN] if lacking else [])])
    reasons = [f"{r.status}: {r.name}: {r.why}" for r in flags.raised] + lacking + sentences
    return TestedRecord(
        run=work.run, name=work.name, test=work.test.name, repetition=work.repetition, status=status, reasons=reasons,
        complete=len(work.taken) == work.test.expected, timed_out=work.timed_out, expected=work.test.expected,
        exposures=work.units, aborted=list(work.aborted), strays=dict(work.strays), extra=list(work.extra), flags=flags,
        states={s: states[s].state for s in SubTask}, seconds={s: states[s].seconds for s in SubTask}, analyses=analyses, ended_ns=time.time_ns(),
        plots=[p for s in (SubTask.BASIC, SubTask.META) if states[s].state == "done" for p in states[s].data.get("to_draw", [])],
    )  # fmt: skip


def _exposures(check: Mapping[str, Any], prep: Mapping[str, Any]) -> dict[str, Status]:
    """Status of each exposure: the worse of what the daemon has said of it, and what the chains of the test have."""
    said, own = ({u: Status(s) for u, s in data.get("statuses", {}).items()} for data in (check, prep))
    return {u: total((said.get(u), own.get(u))) for u in (*said, *own)}


def _counts(of: str, found: Iterable[Status | None], wanted: Iterable[Status]) -> dict[str, int]:
    every = list(found)
    return {f"{of}_{s.lower()}": every.count(s) for s in wanted}


def _lacking(work: Work, states: Mapping[SubTask, SubTaskDone], analyses: Collection[str]) -> list[str]:
    """What should have been found out and was not, in words."""
    out = [f"sub-task {s.name} failed: {s.failure.message}" for s in states.values() if s.failure is not None]
    if states[SubTask.CHECK].state == "skipped":
        out.append("sub-task check was not done, and of these exposures it has not been done before")
    if gone := states[SubTask.INIT].data.get("gone"):
        more = f" and {len(gone) - 1} more are" if len(gone) > 1 else " is"
        out.append(f"raw file {gone[0]}{more} not there any more; what works on raw files has gone without")
    done = [states[s].state in ("done", "reused") for s in (SubTask.BASIC, SubTask.META)]
    for name in work.test.analyses if all(done) else ():
        if name not in analyses:
            of = " or ".join(work.analyses[name].flavor)
            out.append(f"{name} has found nothing: there is no exposure with results that it could work on{f' ({of})' if of else ''}")
    return out


def _found(plain: Mapping[str, Any]) -> Found:
    status = plain["status"]
    return Found(metric=plain["metric"], where=plain["where"], status=Status(status) if status else None, reason=plain["reason"])


def _analysed(basic: Mapping[str, Any], meta: Mapping[str, Any]) -> tuple[dict[str, dict[str, Status | None]], list[Found], list[str]]:
    """Status of each analysis by camera, its judged metrics, and the reasons."""
    statuses: dict[str, dict[str, list[Status | None]]] = {}
    found: list[Found] = []
    sentences: list[str] = []
    for analysis, cameras in basic.get("analyses", {}).items():
        for camera, built in cameras.items():
            statuses.setdefault(analysis, {}).setdefault(camera, []).append(Status(built["status"]))
            found += [_found(f) for f in built["metrics"]]
            sentences += [f"{analysis} of {camera}: {reason}" for reason in built["reasons"]]
    for analysis, cameras in meta.get("series", {}).items():
        for camera, rows in cameras.items():
            for row in rows:
                one = MetricResult.model_validate(row)
                statuses.setdefault(analysis, {}).setdefault(camera, []).append(one.status)
                found.append(Found(metric=one.name, where=camera, status=one.status, reason=one.reason))
                sentences += [f"{one.status}: {analysis} of {camera}: {one.reason}"] if one.reason else []
    return {a: {c: worst(s) for c, s in by.items()} for a, by in statuses.items()}, found, sentences


def crashed(work: Work, why: str) -> TestedRecord:
    """The outcome of a test whose process ended before its work did: what it has left counts, the sub-task that ran has failed."""
    states: dict[SubTask, SubTaskDone] = {}
    for sub in SubTask:
        known = read_record(work.folder / f"{sub}.json", SubTaskDone)
        if known is None:
            failure = Failure(error="WorkerLost", message=why, what_next="Look at the log; run the test again.")
            states[sub] = SubTaskDone(name=sub, state="failed", failure=failure)
            break
        states[sub] = known
    states |= {s: SubTaskDone(name=s, state="skipped") for s in SubTask if s not in states}
    record = outcome(work, states, free_memory_mb(), lost=1)
    write_record(work.folder / "test.json", record)
    return record


def free_memory_mb() -> float:
    """Memory that a new program could have, 1e6 bytes; inf where the system does not say."""
    try:
        with open("/proc/meminfo", encoding="ascii") as file:
            for line in file:
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) * 1024 / 1e6
    except (OSError, ValueError, IndexError):
        pass
    return float("inf")
