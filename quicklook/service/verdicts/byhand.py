"""What persons have said of an exposure, put into a verdict; and whether it still holds when the exposure is concluded again. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from quicklook.core.findings import said_of_whole
from quicklook.core.results import Override, UnitVerdict
from quicklook.core.status import Status, total, worst

SET_ASIDE = "set aside: "
"""Before the reasons of a verdict that somebody has overridden, and before what somebody has said that holds no longer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ByHand:
    """What persons have said: of parts that were not processed since, and of the whole; oldest first. `seen` is the verdict that was given when
    somebody spoke of the whole last, None where nobody has, or it is gone."""

    overrides: tuple[Override, ...] = ()
    seen: UnitVerdict | None = None


def overridden(before: UnitVerdict, change: Override, revision: int) -> UnitVerdict:
    """The verdict with a change: sums made again, the reasons that are overruled set aside.

    What a person has said of the whole stays until somebody says worse of a part (see `quicklook.core.findings.said_of_whole`).
    """
    parts = {**before.parts, change.part: change.status} if change.part else dict(before.parts)
    overrides = [*before.overrides, change]
    missing = [Status.UNKNOWN] if before.missing or not parts else []
    status = said_of_whole(overrides) or total([*parts.values(), *(q.status for q in before.qas), *missing])
    start = f"{change.part}: " if change.part else ""
    aside = [r for r in before.reasons if r.startswith(start) and not r.startswith(SET_ASIDE)]
    kept = [r for r in before.reasons if r not in aside]
    said = f"{start}{change.sentence}"
    return before.model_copy(
        update={
            "revision": revision, "status": status, "parts": parts, "overrides": overrides,
            "reasons": [said, *kept, *(f"{SET_ASIDE}{r}" for r in aside)],
        }
    )  # fmt: skip


def concluded_by_hand(measured: UnitVerdict, said: ByHand) -> UnitVerdict:
    """A verdict as it was measured, in which the parts have already what was said of them, with what was said of the whole.

    That was said of what was known then: where something has come or was measured since that is worse than what was said, it holds no longer, and
    the reasons tell so. Who says that an exposure is bad is not contradicted by a camera that comes late.
    """
    of_whole = [o for o in said.overrides if not o.part]
    of_parts = [o for o in said.overrides if o.part]
    if not of_whole:
        return measured.model_copy(update={"overrides": of_parts})
    last = of_whole[-1]
    newer = _worse_than_seen(measured, said.seen)
    if newer is not None and newer.severity > last.status.severity:
        reason = f"{SET_ASIDE}{last.sentence} - {newer} came after that"
        return measured.model_copy(update={"overrides": of_parts, "reasons": [*measured.reasons, reason]})
    after = overridden(measured, last, measured.revision)
    status = said_of_whole(said.overrides) or after.status
    return after.model_copy(update={"overrides": list(said.overrides), "status": status})


def _worse_than_seen(now: UnitVerdict, seen: UnitVerdict | None) -> Status | None:
    """The worst of what was not there, or was better, when somebody looked; None where there is no such thing."""
    known: dict[str, Status | None] = {} if seen is None else {**seen.parts, **{f"QA {q.name}": q.status for q in seen.qas}}
    lacked = set() if seen is None else set(seen.missing)
    current: dict[str, Status | None] = {**now.parts, **{f"QA {q.name}": q.status for q in now.qas}}
    current |= {f"absent {name}": Status.UNKNOWN for name in now.missing if name not in lacked}
    return worst(status for name, status in current.items() if _severity(status) > _severity(known.get(name)))


def _severity(status: Status | None) -> int:
    return status.severity if status is not None else -1
