"""The verdict of a unit over its parts and over what was measured of it as a whole. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from quicklook.core.results import PartResult, UnitVerdict
from quicklook.core.status import Status, total
from quicklook.core.unitqa import UnitMeasured
from quicklook.io.reader import Peek
from quicklook.service.journal.jobs import DONE, PartState, UnitRow


def unit_verdict(row: UnitRow, parts: Sequence[PartState], whole: UnitMeasured | None = None) -> UnitVerdict:
    """Worst of the parts and of the QAs of the unit; an expected part that is absent, or has no verdict, is UNKNOWN.

    Absent ones are one reason, not many, and none where a QA of the unit names them all.
    """
    whole = whole or UnitMeasured()
    statuses = {p.part: p.status or Status.UNKNOWN for p in parts}
    missing = [name for name in row.expected if name not in statuses]
    unjudged = [p.part for p in parts if p.status is None]
    reasons = _in_order(parts, whole.reasons)
    if missing and not any(all(name in reason for name in missing) for reason in whole.reasons):
        reasons.append(f"UNKNOWN: {len(missing)} of {len(row.expected)} expected parts did not arrive: {', '.join(missing)}")
    if unjudged:
        reasons.append(f"UNKNOWN: no verdict was reached for {', '.join(unjudged)}")
    if not parts and not missing:
        reasons.append("UNKNOWN: it has no part that could be judged")
    status = total([*statuses.values(), *(q.status for q in whole.qas), *([Status.UNKNOWN] if missing or not parts else [])])
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
        qas=list(whole.qas),
    )


def _in_order(parts: Sequence[PartState], of_unit: Sequence[str]) -> list[str]:
    """Reasons of the unit as a whole and of its parts, the worst first; each is told with its part."""
    graded = [(_severity(reason), reason) for reason in of_unit]
    graded += [((p.status or Status.UNKNOWN).severity, f"{p.part}: {reason}") for p in parts for reason in p.reasons]
    return [text for _, text in sorted(graded, key=lambda g: -g[0])]


def _severity(reason: str) -> int:
    word = reason.partition(":")[0]
    return Status(word).severity if word in Status.__members__ else Status.UNKNOWN.severity


def row_of_run(peek: Peek, results: Sequence[PartResult], expected: Sequence[str] = ()) -> tuple[UnitRow, list[PartState]]:
    """Parts that were processed by hand (at least one), as the journal would have them."""
    states = [PartState(part=r.part, state=DONE, announced=True, status=r.status, reasons=tuple(r.reasons)) for r in results]
    row = UnitRow(
        unit=peek.unit,
        tag=results[0].tag,
        revision=results[0].revision,
        path=str(peek.path),
        expected=tuple(expected),
        tags=dict(peek.tags),
        closed_ns=None,
        seen_ns=0,
        deadline_ns=0,
    )
    return row, states
