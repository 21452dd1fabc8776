"""The verdict of a unit over its parts. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from quicklook.core.results import PartResult, UnitVerdict
from quicklook.core.status import Status, total
from quicklook.io.reader import Peek
from quicklook.service.jobs import DONE, PartState, UnitRow


def unit_verdict(row: UnitRow, parts: Sequence[PartState]) -> UnitVerdict:
    """Worst of the parts; an expected part that is absent, or has no verdict, is UNKNOWN. Absent ones are one reason, not many."""
    statuses = {p.part: p.status or Status.UNKNOWN for p in parts}
    missing = [name for name in row.expected if name not in statuses]
    unjudged = [p.part for p in parts if p.status is None]
    reasons = [f"{p.part}: {reason}" for p in sorted(parts, key=_worst_first) for reason in p.reasons]
    if missing:
        reasons.append(f"UNKNOWN: {len(missing)} of {len(row.expected)} expected parts did not arrive: {', '.join(missing)}")
    if unjudged:
        reasons.append(f"UNKNOWN: no verdict was reached for {', '.join(unjudged)}")
    if not parts and not missing:
        reasons.append("UNKNOWN: it has no part that could be judged")
    status = total([*statuses.values(), *([Status.UNKNOWN] if missing else [])])
    return UnitVerdict(
        night=row.unit.night,
        expid=row.unit.expid,
        tag=row.tag,
        revision=row.revision,
        tags=row.tags,
        status=status,
        reasons=reasons,
        parts=statuses,
        missing=missing,
        extra=[name for name in statuses if row.expected and name not in row.expected],
    )


def verdict_of_run(peek: Peek, results: Sequence[PartResult]) -> UnitVerdict:
    """The verdict over parts that were processed by hand (at least one); no other is expected."""
    parts = [PartState(part=r.part, state=DONE, announced=True, status=r.status, reasons=tuple(r.reasons)) for r in results]
    row = UnitRow(
        unit=peek.unit,
        tag=results[0].tag,
        revision=results[0].revision,
        path=str(peek.path),
        expected=(),
        tags=dict(peek.tags),
        closed_ns=None,
        seen_ns=0,
        deadline_ns=0,
    )
    return unit_verdict(row, parts)


def _worst_first(part: PartState) -> int:
    return -(part.status or Status.UNKNOWN).severity
