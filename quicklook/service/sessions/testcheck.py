"""Sub-task `check`: a test against what its session expects, and what the QAs of its exposures have said."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from quicklook.core.errors import QuicklookError
from quicklook.core.flags import Found
from quicklook.core.session import meets, words_of
from quicklook.core.status import Status, total
from quicklook.io.reader import open_reader
from quicklook.service.rerun.choosing import facts_of
from quicklook.service.sessions.testhk import hk_facts
from quicklook.service.sessions.testlight import level_metrics, light_facts
from quicklook.service.sessions.testruns import Taken
from quicklook.service.sessions.testwords import exposures_words, missing_words
from quicklook.service.sessions.testwork import Digest, Testing, Work

_DEAD = "dead_amp"


def check(test: Testing) -> dict[str, Any]:
    """Against the session: counts, cameras, metadata; and what the QAs of the exposures have said."""
    work, taken = test.work, test.taken
    by_unit = test.results(work.recipe.tag, {_DEAD, *level_metrics(work)})
    statuses = {t.unit: status_of(by_unit.get(t.unit, ()), t.files) for t in taken}
    cameras = _expected(work, taken)
    numbers = {
        "expected": work.test.expected, "found": len(taken), "missing": work.test.expected - len(taken), "extra": len(work.extra),
        "strays": len(work.strays), "aborted": len(work.aborted), "timed_out": int(work.timed_out),
        "missing_cameras": sum(len(cameras - set(t.files)) for t in taken),
        **{f"exposures_{s.lower()}": sum(v is s for v in statuses.values()) for s in (Status.WARNING, Status.ALARM, Status.UNKNOWN)},
    }  # fmt: skip
    results = [r for rows in by_unit.values() for r in rows]
    if results:
        numbers |= _dead(results)
    mismatches, checked = _metadata(work, taken, by_unit)
    light, hk = light_facts(work, taken, by_unit), hk_facts(work.recipe.housekeeping, taken)
    plainly = light.plain()
    return {
        **plainly,
        "told": {**light.told, **missing_words(work, taken, cameras), **hk.told},
        "unknown": {**plainly.get("unknown", {}), **hk.unknown},
        "numbers": {**numbers, **light.numbers, **hk.numbers},
        "statuses": {u: str(s) for u, s in statuses.items()},
        "mismatches": mismatches,
        "checked": sorted(checked),
        "metrics": [plain(f) for r in results for f in r.found],
    }


def status_of(results: Sequence[Digest], cameras: Collection[str]) -> Status:
    """Of an exposure: the worst of its cameras; one without a result is UNKNOWN."""
    lacking = set(cameras) - {r.part for r in results}
    return total([*(r.status for r in results), *([Status.UNKNOWN] if lacking else [])])


def _expected(work: Work, taken: Sequence[Taken]) -> set[str]:
    """The cameras that an exposure is to have; where the site does not say it, those that any exposure of the test has."""
    return set(work.cameras) or {c for t in taken for c in t.files}


def _dead(results: Sequence[Digest]) -> dict[str, int]:
    """How many amplifiers are dead in any exposure, and how many cameras altogether."""
    dead: set[tuple[str, str]] = set()
    whole: set[str] = set()
    for result in results:
        for metric in (m for m in result.metrics.values() if m.name == _DEAD and m.values):
            bad = [str(a) for a, v in zip(metric.coords["amp"], metric.values, strict=True) if v == 1.0]
            dead |= {(result.part, a) for a in bad}
            if len(bad) == len(metric.values):
                whole.add(result.part)
    return {"dead_amplifiers": len(dead), "dead_cameras": len(whole)}


def _metadata(work: Work, taken: Sequence[Taken], by_unit: Mapping[str, Sequence[Digest]]) -> tuple[dict[str, list[str]], set[str]]:
    """What cameras say otherwise than the session, in sentences by tag, and the tags that were compared."""
    reader = open_reader(work.recipe.instrument)
    wrong: dict[tuple[str, str, str, str], list[str]] = {}
    checked: set[str] = set()
    for one in taken:
        tags, peeked = {r.part: r.tags for r in by_unit.get(one.unit, ())}, dict[str, dict[str, str]]()
        for camera, path in one.files.items():
            wanted = work.test.wanted_of(camera, work.session)
            if not wanted:
                continue
            try:
                if path not in peeked:
                    peeked[path] = facts_of(reader.peek(path))
                facts = {**peeked[path], **tags.get(camera, {}), "camera": camera}
            except QuicklookError:
                if camera not in tags:
                    continue  # what the exposure says may be of another camera
                facts = {**tags[camera], "camera": camera}
            for tag, value in wanted.items():
                checked.add(tag)
                if not meets(value, facts.get(tag, "")):
                    wrong.setdefault((tag, camera, facts.get(tag, ""), words_of(value)), []).append(one.unit)
    told: dict[str, list[str]] = {}
    for (tag, camera, has, wanted_words), units in wrong.items():
        said = f"{camera}: {tag} is {has or 'not stated'}, the session says {wanted_words} ({exposures_words(units)})"
        told.setdefault(tag, []).append(said)
    return told, checked


def plain(found: Found) -> dict[str, Any]:
    """As it is stored."""
    return {"metric": found.metric, "where": found.where, "status": found.status, "reason": found.reason}
