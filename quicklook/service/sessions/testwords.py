"""Sentences on the numbers that raise flags: which exposures did not come, and which are not as they should be."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

from quicklook.core.flags import Found
from quicklook.core.session import words_of
from quicklook.core.status import Status
from quicklook.service.sessions.testruns import Taken, numbers_text, ranges
from quicklook.service.sessions.testwork import Work

_REASONS = 2


def missing_words(work: Work, taken: Sequence[Taken], cameras: Collection[str]) -> dict[str, list[str]]:
    """By fact: which exposures and cameras a test lacks, and why some are none of its own."""
    kinds = []
    for i, expect in enumerate(work.test.expect):
        got = sum(t.slot == i for t in taken)
        if got < expect.count:
            what = ", ".join(f"{tag} {words_of(wanted)}" for tag, wanted in expect.wanted.items())
            kinds.append(f"{got} of {expect.count} came{f' ({what})' if what else ''}")
    lacking = {camera: [t.unit for t in taken if camera not in t.files] for camera in sorted(cameras)}
    return {
        "missing": [*_positions(work, taken), *kinds],
        "missing_cameras": [f"nothing came of {camera} in {exposures_words(units)}" for camera, units in lacking.items() if units],
        "strays": [f"{exposures_words([unit])}: {why}" for unit, why in work.strays.items()],
    }


def _positions(work: Work, taken: Sequence[Taken]) -> list[str]:
    """Which of the sequence are lacking, where exposures say their position in it."""
    told = [t.tags.get(work.session.position, "") for t in taken] if work.session.position else []
    there = {int(p) for p in told if p.isascii() and p.isdigit()}
    every = set(range(1, work.test.expected + 1))
    if not there or len(there) < len(taken) or not there <= every:
        return []
    return [f"position {ranges(sorted(every - there))} of the sequence"] if every - there else []


def verdict_words(exposures: Mapping[str, Status], found: Iterable[Found]) -> dict[str, list[str]]:
    """By fact: which exposures have a verdict that is not NORMAL, and the first reasons."""
    out, metrics = dict[str, list[str]](), list(found)
    for status in (Status.WARNING, Status.ALARM, Status.UNKNOWN):
        if units := [u for u, s in exposures.items() if s is status]:
            reasons = [f"{f.where}: {f.reason or f.metric}" for f in metrics if f.status is status]
            out[f"exposures_{status.lower()}"] = [exposures_words(units), *list(dict.fromkeys(reasons))[:_REASONS]]
    return out


def exposures_words(units: Sequence[str]) -> str:
    """``exposures 101-104``."""
    return f"exposure{'' if len(units) == 1 else 's'} {numbers_text(units)}"
