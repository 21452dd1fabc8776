"""The verdict of a unit over its parts."""

from __future__ import annotations

from typing import Any

import pytest

from quicklook.core.keys import Unit
from quicklook.core.status import Status
from quicklook.service.journal.jobs import PartState, UnitRow
from quicklook.service.verdicts.verdicts import unit_verdict

N, W, A, U = Status.NORMAL, Status.WARNING, Status.ALARM, Status.UNKNOWN


def row(*expected: str) -> UnitRow:
    return UnitRow(
        unit=Unit(20220101, 7),
        tag="live",
        revision=2,
        path="x.fits",
        expected=expected,
        tags={"flavor": "zero"},
        closed_ns=1,
        seen_ns=2,
        deadline_ns=3,
    )


def part(name: str, status: Status | None = N, *reasons: str) -> PartState:
    return PartState(part=name, state="done", announced=status is not None, status=status, reasons=reasons)


def test_all_parts_normal() -> None:
    verdict = unit_verdict(row("b0", "r0"), [part("b0"), part("r0")])
    assert (verdict.status, verdict.reasons, verdict.missing, verdict.extra) == (N, [], [], [])
    assert verdict.parts == {"b0": N, "r0": N}
    assert (verdict.night, verdict.expid, verdict.tag, verdict.revision, verdict.tags) == (20220101, 7, "live", 2, {"flavor": "zero"})


@pytest.mark.parametrize(("statuses", "expected"), [((N, W), W), ((U, W), W), ((W, A), A), ((N, U), U), ((None, N), U), ((None, A), A)])
def test_worst_of_the_parts(statuses: tuple[Any, Any], expected: Status) -> None:
    assert unit_verdict(row("b0", "r0"), [part("b0", statuses[0]), part("r0", statuses[1])]).status is expected


def test_a_camera_that_did_not_arrive_is_unknown() -> None:
    verdict = unit_verdict(row("b0", "r0"), [part("b0")])
    assert (verdict.status, verdict.missing) == (U, ["r0"])
    assert verdict.reasons == ["UNKNOWN: 1 of 2 expected parts did not arrive: r0"]


def test_many_cameras_that_did_not_arrive_are_one_reason() -> None:
    names = [f"{arm}{i}" for arm in "brz" for i in range(10)]
    verdict = unit_verdict(row(*names), [part("b0", A, "ALARM: x")])
    assert verdict.status is A
    assert len(verdict.reasons) == 2
    assert verdict.reasons[0] == "b0: ALARM: x"
    assert verdict.reasons[1].startswith("UNKNOWN: 29 of 30 expected parts did not arrive: b1, b2")


def test_a_part_without_a_verdict_is_named() -> None:
    verdict = unit_verdict(row("b0", "r0"), [part("b0"), part("r0", None)])
    assert verdict.parts == {"b0": N, "r0": U}
    assert verdict.reasons == ["UNKNOWN: no verdict was reached for r0"]


def test_the_reasons_of_the_worst_part_come_first() -> None:
    parts = [part("b0", W, "WARNING: b"), part("r0", A, "ALARM: r", "WARNING: rr"), part("z0", U, "UNKNOWN: z")]
    assert unit_verdict(row(), parts).reasons == ["r0: ALARM: r", "r0: WARNING: rr", "b0: WARNING: b", "z0: UNKNOWN: z"]


def test_a_part_that_nobody_expected_is_judged_too() -> None:
    verdict = unit_verdict(row("b0"), [part("b0"), part("x9", A)])
    assert (verdict.status, verdict.extra) == (A, ["x9"])
    assert unit_verdict(row(), [part("x9")]).extra == []  # where nothing is expected, nothing is extra


def test_nothing_at_all_is_never_green_and_says_why() -> None:
    verdict = unit_verdict(row(), [])
    assert verdict.status is U
    assert verdict.reasons
