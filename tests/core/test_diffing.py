"""Two processings compared: what flipped, how large a change is, what only one of them has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pytest

from quicklook.core.calibration import CalibrationUsed
from quicklook.core.diffing import RANGE, SCATTER, Diff, alone_in_words, compare, limit_scale
from quicklook.core.history import Selection
from quicklook.core.results import Failure, LimitUsed, MetricResult, PartResult, Provenance, QAResult, UnitVerdict
from quicklook.core.status import Status

N, W, A, U = Status.NORMAL, Status.WARNING, Status.ALARM, Status.UNKNOWN


def metric(name: str, values: dict[str, float | None], status: Status | None = N, limit: tuple[Any, Any] | None = None) -> MetricResult:
    limits = [LimitUsed(normal=limit[0], warning=limit[1])] if limit else []
    return MetricResult(
        name=name, unit="electron", coords={"amp": list(values)}, values=list(values.values()), status=status, statuses=[status] * len(values),
        limits=limits, limit_of=[0 if limits else None] * len(values), worst=0, reason=f"{name} is {status}",
    )  # fmt: skip


def part(expid: int, camera: str, metrics: Sequence[MetricResult], status: Status = N, tag: str = "one", calib: str = "old.fits") -> PartResult:
    qa = QAResult(name="q", step="read", group="g", status=status, seconds=0.0, metrics=list(metrics))
    used = [CalibrationUsed(kind="bias", source=calib)]
    provenance = Provenance(versions={"quicklook": "1"}, chain="raw", config_sha256="c", limits_sha256="l", calibrations=used)
    return PartResult(
        night=20220101, expid=expid, part=camera, tag=tag, revision=0, tags={"flavor": "zero"}, status=status, reasons=[f"{status}: because"],
        measured=1, expected=1, steps=[], qas=[qa], provenance=provenance,
    )  # fmt: skip


def verdict(expid: int, status: Status, tag: str) -> UnitVerdict:
    return UnitVerdict(night=20220101, expid=expid, tag=tag, revision=0, status=status, reasons=[], parts={})


class Memory:
    """A history of what it is given."""

    skipped: Sequence[str] = ()

    def __init__(self, *found: PartResult | UnitVerdict) -> None:
        self._found = found

    def nights(self, tag: str = "live") -> Sequence[int]:
        return (20220101,)

    def results(self, wanted: Selection) -> Iterator[PartResult]:
        mine = [r for r in self._found if isinstance(r, PartResult) and r.tag == wanted.tag]
        mine.sort(key=lambda r: r.part)
        yield from sorted(mine, key=lambda r: -r.expid if wanted.newest_first else r.expid)

    def verdicts(self, wanted: Selection) -> Iterator[UnitVerdict]:
        mine = [r for r in self._found if isinstance(r, UnitVerdict) and r.tag == wanted.tag]
        yield from sorted(mine, key=lambda r: -r.expid if wanted.newest_first else r.expid)


def diff(*found: PartResult | UnitVerdict, newest_first: bool = True) -> Diff:
    wanted = [Selection(tag=tag, newest_first=newest_first) for tag in ("one", "two")]
    return compare(Memory(*found), wanted[0], wanted[1])


def test_the_same_is_the_same() -> None:
    m = metric("m", {"A": 1.0, "B": None}, limit=((0.0, 2.0), (-1.0, 3.0)))
    found = diff(part(1, "r0", [m]), part(1, "r0", [m], tag="two"), verdict(1, N, "one"), verdict(1, N, "two"))
    assert found.same
    assert (found.compared, found.changes, found.causes) == (1, (), {})


def test_a_change_is_measured_in_units_of_the_limit() -> None:
    limit = ((0.0, 4.0), (-1.0, 5.0))
    one = [metric("m", {"A": 1.0, "B": 1.0, "C": 1.0}, limit=limit)]
    two = [metric("m", {"A": 2.0, "B": -2.0, "C": 1.0}, limit=limit)]
    (change,) = diff(part(1, "r0", one), part(1, "r0", two, tag="two")).changes
    assert (dict(change.at), change.before, change.after, change.elements) == ({"amp": "B"}, 1.0, -2.0, 2)
    assert (change.size, change.scale) == (3.0 / 4.0, RANGE)
    assert not change.flipped


@pytest.mark.parametrize(
    ("normal", "warning", "scale"),
    [((0.0, 4.0), (-1.0, 9.0), 4.0), ((None, 4.0), (None, 5.5), 1.5), ((2.0, None), (0.5, None), 1.5), ((None, 4.0), (None, 4.0), None),
     ((3.0, 3.0), (3.0, 3.0), None)],
)  # fmt: skip
def test_the_scale_of_a_limit(normal: Any, warning: Any, scale: float | None) -> None:
    assert limit_scale(LimitUsed(normal=normal, warning=warning)) == scale


def test_without_a_limit_it_is_the_scatter_over_all_that_was_compared() -> None:
    values = np.random.default_rng(3).normal(10, 2, 40)
    found = [part(e, "r0", [metric("m", {"A": float(v)}, None)]) for e, v in enumerate(values)]
    found += [part(e, "r0", [metric("m", {"A": float(v) + (7.0 if e == 11 else 0.0)}, None)], tag="two") for e, v in enumerate(values)]
    (change,) = diff(*found).changes
    scatter = 1.4826 * np.median(np.abs(values - np.median(values)))
    assert (change.key.unit.expid, change.scale) == (11, SCATTER)
    assert change.size == pytest.approx(7.0 / scatter, rel=1e-12)


def test_few_values_have_no_scatter() -> None:
    (change,) = diff(part(1, "r0", [metric("m", {"A": 1.0}, None)]), part(1, "r0", [metric("m", {"A": 9.0}, None)], tag="two")).changes
    assert (change.size, change.scale, change.before, change.after) == (None, "", 1.0, 9.0)


def test_what_flips_comes_worst_first() -> None:
    one = [part(1, "b0", [metric("m", {"A": 1.0}, N)]), part(1, "r0", [metric("m", {"A": 1.0}, N)]), part(2, "r0", [metric("m", {"A": 1.0}, A)], A)]
    two = [
        part(1, "b0", [metric("m", {"A": None}, U)], U, "two"),
        part(1, "r0", [metric("m", {"A": 8.0}, A)], A, "two", calib="new.fits"),
        part(2, "r0", [metric("m", {"A": 1.0}, W)], W, "two"),
    ]
    found = diff(*one, *two, verdict(1, N, "one"), verdict(1, A, "two"), verdict(2, A, "one"), verdict(2, A, "two"))
    assert not found.same
    assert [(str(p.key.unit.expid), p.key.part, p.before, p.after) for p in found.flipped] == [
        ("1", "", N, A), ("1", "r0", N, A), ("2", "r0", A, W), ("1", "b0", N, U),
    ]  # fmt: skip
    assert [(m.status_before, m.status_after) for m in found.flips] == [(N, A), (A, W), (N, U)]
    assert found.causes == {"calibration bias": 1}


def test_a_metric_may_flip_where_the_verdict_does_not() -> None:
    one, two = [metric("m", {"A": 1.0}, W), metric("n", {"A": 1.0}, W)], [metric("m", {"A": 1.0}, N), metric("n", {"A": 1.0}, W)]
    found = diff(part(1, "r0", one, W), part(1, "r0", two, W, "two"))
    assert not found.same
    assert (found.flipped, [m.name for m in found.flips]) == ((), ["m"])


@pytest.mark.parametrize("newest_first", [True, False])
def test_what_only_one_has(newest_first: bool) -> None:
    m, n = metric("m", {"A": 1.0}), metric("n", {"A": 1.0})
    one = [part(e, c, [m]) for e, c in ((1, "r0"), (2, "b0"), (2, "r0"), (4, "r0"))]
    two = [part(e, c, [m, n], tag="two") for e, c in ((2, "r0"), (3, "r0"), (4, "r0"), (4, "z0"))]
    found = diff(*one, *two, newest_first=newest_first)
    assert found.compared == 2
    assert sorted(map(str, found.only_first)) == ["20220101/00000001/r0", "20220101/00000002/b0"]
    assert sorted(map(str, found.only_second)) == ["20220101/00000003/r0", "20220101/00000004/z0"]
    assert [p.only_second for p in found.parts] == [("n",), ("n",)]
    assert "2 only in one" in alone_in_words(found)[0]


def test_elements_that_only_one_has_are_no_crash_and_count() -> None:
    one, two = [metric("m", {"A": 1.0, "B": 2.0}, None)], [metric("m", {"B": 2.0, "C": 3.0}, None)]
    (change,) = diff(part(1, "r0", one), part(1, "r0", two, tag="two")).changes
    assert change.elements == 2
    assert (change.before, change.after) in ((1.0, None), (None, 3.0))


def of_qas(tag: str, *qas: QAResult) -> PartResult:
    return part(1, "r0", [], W, tag).model_copy(update={"qas": list(qas)})


def a_qa(name: str, status: Status | None, metrics: Sequence[MetricResult] = (), **more: Any) -> QAResult:
    return QAResult(name=name, step="read", group="g", status=status, seconds=0.0, metrics=list(metrics), **more)


def test_what_was_judged_and_was_not_measured_in_the_other_is_a_flip_though_the_verdict_is_the_same() -> None:
    failure = Failure(error="BadData", message="no light", what_next="")
    one = [a_qa("q", N, [metric("m", {"A": 1.0}), metric("free", {"A": 1.0}, None)]), a_qa("p", N, [metric("k", {"A": 1.0})]), a_qa("r", None)]
    two = [a_qa("q", U, failure=failure), a_qa("p", None, not_applicable="no such targets"), a_qa("r", U, failure=failure)]
    found = diff(of_qas("one", *one), of_qas("two", *two))
    assert not found.same
    assert {(m.qa, m.name, m.status_before, m.status_after, m.reason) for m in found.flips} == {
        ("q", "m", N, U, "no light"), ("p", "k", N, None, "no such targets"), ("r", "r", None, U, "no light"),
    }  # fmt: skip
    assert found.changes == ()


def test_a_qa_that_one_chain_has_not_is_a_flip_where_it_was_not_normal() -> None:
    quiet, loud = a_qa("q", N, [metric("m", {"A": 1.0})]), a_qa("p", A, [metric("k", {"A": 1.0}, A)])
    found = diff(of_qas("one", quiet, loud), of_qas("two"))
    assert [(m.name, m.status_before, m.status_after) for m in found.flips] == [("k", A, None)]
    assert diff(of_qas("one", quiet), of_qas("two")).same


def test_exposures_of_other_cameras_are_not_compared_as_a_whole() -> None:
    one = verdict(1, A, "one").model_copy(update={"parts": {"b0": A, "r0": N}})
    two = verdict(1, N, "two").model_copy(update={"parts": {"r0": N}})
    found = diff(one, two, part(1, "r0", []), part(1, "r0", [], tag="two"))
    assert (found.same, [u.expid for u in found.apart]) == (True, [1])
    assert "other cameras" in alone_in_words(found)[-1]
    late = two.model_copy(update={"status": U, "missing": ["b0"]})
    assert [(p.before, p.after) for p in diff(one, late).flipped] == [(A, U)]
