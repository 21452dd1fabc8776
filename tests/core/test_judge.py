"""The judge: every element by its own coordinates; what is no finite number is never NORMAL."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quicklook.core.judge import Judge, add_bands, range_words
from quicklook.core.limits import Limit, LimitSet
from quicklook.core.metrics import Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.plots import Axis, Bars, Panel, Plot
from quicklook.core.results import MetricResult
from quicklook.core.status import Status, worst

Limits = Callable[[str], LimitSet]
N, W, A, U = Status.NORMAL, Status.WARNING, Status.ALARM, Status.UNKNOWN

NOISE = MetricDef("noise", "electron", dims=("amp",), doc="noise")
CROSS = MetricDef("cross", "pixel", dims=("amp", "line"), doc="two axes")
SCALAR = MetricDef("scalar", "", doc="one number")
TAGS = {"flavor": "zero", "arm": "r", "night": "20220101"}


def limit(metric: MetricDef = NOISE, normal: tuple[Any, Any] = (1.0, 4.0), warning: Any = (0.5, 5.0), **when: Any) -> Limit:
    words = {"reason": "as always", "action": "look"}
    return Limit(metric=metric.name, unit=metric.unit, normal=normal, warning=warning, when=when, **words)  # type: ignore[arg-type]


def judge(*limits: Limit) -> Judge:
    return Judge(LimitSet(limits))


def noise(*values: float, **more: Any) -> Measured:
    return measured("noise", values, amp=tuple("ABCDEFGH"[: len(values)]), **more)


def test_every_element_is_judged() -> None:
    got = judge(limit()).metric(NOISE, noise(2.0, 4.5, 9.0, math.nan), TAGS)
    assert got.statuses == [N, W, A, U]
    assert (got.status, got.worst) == (A, 2)
    assert got.values == [2.0, 4.5, 9.0, None]
    assert got.coords == {"amp": ["A", "B", "C", "D"]}


def test_amplifiers_that_swap_their_faults_are_seen() -> None:
    """B is known to be noisy and has a limit of its own: the same values at other amplifiers give another verdict."""
    with_own = judge(limit(), limit(normal=(1.0, 9.0), warning=None, amp="B"))
    assert with_own.metric(NOISE, noise(3.0, 8.0), TAGS).statuses == [N, N]
    swapped = with_own.metric(NOISE, noise(8.0, 3.0), TAGS)
    assert swapped.statuses == [A, N]
    assert swapped.reason.startswith("noise of amp A is 8 electron")
    assert swapped.limit_of == [0, 1]
    assert [one.normal for one in swapped.limits] == [(1.0, 4.0), (1.0, 9.0)]


def test_elements_go_by_coordinate_and_not_by_place() -> None:
    only_b = judge(limit(amp="B"))
    assert only_b.metric(NOISE, measured("noise", [9.0, 3.0], amp=("B", "A")), TAGS).statuses == [A, None]
    assert only_b.metric(NOISE, measured("noise", [9.0, 3.0], amp=("A", "B")), TAGS).statuses == [None, N]


def test_elements_that_are_left_out_have_no_status() -> None:
    got = judge(limit()).metric(NOISE, noise(2.0, 99.0, math.nan, left_out={"B", "C"}), TAGS)
    assert got.statuses == [N, None, None]
    assert (got.status, got.values) == (N, [2.0, 99.0, None])
    none = judge(limit()).metric(NOISE, noise(99.0, left_out={"A"}), TAGS)
    assert (none.status, none.reason) == (None, "")


DEAD = MetricDef("dead", "", dims=("amp",), doc="1 or 0", flag=True)


def test_a_flag_is_told_by_its_remarks() -> None:
    strict = judge(limit(DEAD, normal=(0, 0), warning=None))
    remarks = {"B": "every pixel reads 7", "D": "no finite pixel"}
    two = strict.metric(DEAD, measured("dead", [0, 1, 0, 1], amp="ABCD", remarks=remarks), TAGS)
    assert (two.status, two.reason) == (A, "dead of amp B: every pixel reads 7; amp D: no finite pixel")
    assert strict.metric(DEAD, measured("dead", [0, 1], amp="AB"), TAGS).reason == "dead of amp B is 1, above 0 (normal: 0)"
    lost = strict.metric(DEAD, measured("dead", [0, math.nan], amp="AB", remarks={"B": "no pixel"}), TAGS)
    assert (lost.status, lost.reason) == (U, "dead of amp B was not measured: no pixel")
    scalar = MetricDef("open", "", doc="1 or 0", flag=True)
    shut = judge(limit(scalar, normal=(0, 0), warning=None)).metric(scalar, measured("open", 1.0, remarks={(): "the shutter is open"}), TAGS)
    assert shut.reason == "open: the shutter is open"


def test_bars_of_a_metric_get_its_statuses() -> None:
    result = judge(limit()).metric(NOISE, noise(2.0, 9.0, 9.0, left_out={"C"}), TAGS)
    axis = Axis(label="noise", unit="electron")
    bars, others = Bars(names=("A", "B", "C"), heights=np.ones(3)), Bars(names=("x",), heights=np.ones(1))
    panel = Panel(x=Axis(label="amplifier"), y=axis, layers=(bars, others), metric="noise")
    got = add_bands(Plot(name="p", title="p", panels=(panel, dataclasses.replace(panel, metric=None))), [result])
    assert [layer.statuses for layer in got.panels[0].layers] == [("NORMAL", "ALARM", ""), ()]  # type: ignore[union-attr]
    assert got.panels[1].layers == (bars, others)


def test_two_axes_in_c_order() -> None:
    values = [[1.0, 2.0, 9.0], [1.0, math.nan, 3.0]]
    found = judge(limit(CROSS, warning=None, line="3"), limit(CROSS, amp="B", line="2"))
    got = found.metric(CROSS, measured("cross", values, amp=("A", "B"), line=(1, 2, 3)), TAGS)
    assert got.statuses == [None, None, A, None, U, N]
    assert got.limit_of == [None, None, 0, None, 1, 0]
    assert got.reason == "cross of amp A, line 3 is 9 pixel, above 4 pixel (normal: 1 to 4 pixel) (2 of 3 are not NORMAL)"


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (4.5, "noise of amp A is 4.5 electron, above 4 electron (normal: 1 to 4 electron)"),
        (0.75, "noise of amp A is 0.75 electron, below 1 electron (normal: 1 to 4 electron)"),
        (77.123, "noise of amp A is 77.12 electron, above 5 electron (normal: 1 to 4 electron)"),
        (-3.0, "noise of amp A is -3 electron, below 0.5 electron (normal: 1 to 4 electron)"),
        (math.nan, "noise of amp A was not measured"),
        (math.inf, "noise of amp A was not measured: its QA returned infinity"),
        (-math.inf, "noise of amp A was not measured: its QA returned infinity"),
    ],
)
def test_a_reason_has_value_limit_unit_and_coordinate(value: float, sentence: str) -> None:
    assert judge(limit()).metric(NOISE, noise(value), TAGS).reason == sentence


def test_infinity_is_told_beside_what_the_qa_says() -> None:
    got = judge(limit()).metric(NOISE, noise(math.inf, 2.0, -math.inf, math.nan, remarks={"A": "no overscan"}), TAGS)
    assert [(r.at, r.text) for r in got.remarks] == [(["A"], "no overscan; its QA returned infinity"), (["C"], "its QA returned infinity")]
    assert (got.statuses, got.values) == ([U, N, U, U], [None, 2.0, None, None])


def test_a_value_just_outside_reads_as_outside() -> None:
    reason = judge(limit(warning=None)).metric(NOISE, noise(4.00001), TAGS).reason
    assert "is 4 electron, above 4 electron" not in reason
    assert "4.00001" in reason


def test_open_ends_and_pure_numbers_in_sentences() -> None:
    assert judge(limit(SCALAR, (None, 4.0), None)).metric(SCALAR, measured("scalar", 5.0), TAGS).reason == "scalar is 5, above 4 (normal: at most 4)"
    assert (
        judge(limit(SCALAR, (1.0, None), None)).metric(SCALAR, measured("scalar", 0.5), TAGS).reason == "scalar is 0.5, below 1 (normal: at least 1)"
    )
    assert judge(limit(SCALAR, (0.0, 0.0), None)).metric(SCALAR, measured("scalar", 2.0), TAGS).reason == "scalar is 2, above 0 (normal: 0)"
    assert range_words(None, None) == "anything"


def test_a_remark_is_part_of_the_reason() -> None:
    got = judge(limit()).metric(NOISE, noise(2.0, math.nan, remarks={"B": "every pixel reads 65535"}), TAGS)
    assert got.reason == "noise of amp B was not measured: every pixel reads 65535"
    assert [(r.at, r.text) for r in got.remarks] == [(["B"], "every pixel reads 65535")]


def test_the_farthest_of_the_worst_decides() -> None:
    got = judge(limit()).metric(NOISE, noise(6.0, 60.0, math.nan, 4.5), TAGS)
    assert got.worst == 1
    assert "(4 of 4 are not NORMAL)" in got.reason
    mixed = judge(limit(normal=(0.0, 1.0), warning=None, amp="A"), limit(normal=(0.0, 100.0), warning=None, amp="B"))
    assert mixed.metric(NOISE, noise(3.0, 110.0), TAGS).worst == 0  # by widths of the limit, not by the value


def test_nothing_wrong_needs_no_reason() -> None:
    got = judge(limit()).metric(NOISE, noise(2.0, 3.0), TAGS)
    assert (got.status, got.reason) == (N, "")


def test_without_a_limit_there_is_no_status() -> None:
    got = judge().metric(NOISE, noise(2.0, math.nan), TAGS)
    assert (got.status, got.statuses, got.limits, got.worst) == (None, [None, None], [], None)
    assert got.values == [2.0, None]


def test_the_limit_that_is_shown_is_the_one_that_was_used() -> None:
    got = judge(limit(), limit(normal=(1.0, 3.0), warning=None, flavor="zero")).metric(NOISE, noise(3.5), TAGS)
    assert [one.normal for one in got.limits] == [(1.0, 3.0)]
    assert got.limits[0].when == {"flavor": ["zero"]}
    assert got.status is A


@pytest.mark.parametrize("got", [None, measured("noise", [], amp=())])
def test_what_was_not_returned_or_is_empty_is_unknown_where_a_limit_waits(got: Measured | None) -> None:
    result = judge(limit()).metric(NOISE, got, TAGS)
    assert result.status is U
    assert result.reason
    assert judge().metric(NOISE, got, TAGS).status is None


def test_what_is_absent_is_not_missed_where_no_limit_could_have_held() -> None:
    """A limit for another flavor, or on a tag that this part has not, waits for nothing here."""
    assert judge(limit(flavor="arc")).metric(NOISE, None, TAGS).status is None
    assert judge(limit(test="BIAS01")).metric(NOISE, None, TAGS).status is None
    assert judge(limit(amp="A")).metric(NOISE, None, TAGS).status is U


def test_what_does_not_apply_says_why() -> None:
    got = judge(limit()).metric(NOISE, not_applicable("noise", "no amplifier is lit"), TAGS)
    assert (got.status, got.values, got.not_applicable) == (None, [], "no amplifier is lit")


def test_validity_by_night() -> None:
    old = Limit.model_validate({**limit(normal=(1.0, 3.0), warning=None).model_dump(), "valid": {"to": "2021-12-31"}})
    new = Limit.model_validate({**limit(normal=(1.0, 4.0), warning=None).model_dump(), "valid": {"from": "2022-01-01"}})
    found = judge(old, new)
    assert [found.metric(NOISE, noise(3.5), TAGS | {"night": n}).status for n in ("20211231", "20220101")] == [A, N]


def test_measures_are_checked_against_the_declaration() -> None:
    both = (NOISE, SCALAR)
    fine = judge().measures(both, Measures((noise(1.0), measured("scalar", 1.0))), TAGS)
    assert [m.name for m in fine] == ["noise", "scalar"]
    with pytest.raises(ValueError, match="returned extra, which it does not declare"):
        judge().measures(both, Measures((measured("extra", 1.0),)), TAGS)
    with pytest.raises(ValueError, match="returned twice"):
        judge().measures(both, Measures((noise(1.0), noise(2.0))), TAGS)
    with pytest.raises(ValueError, match=r"returned noise over \('fibre',\), declared over \('amp',\)"):
        judge().measures(both, Measures((measured("noise", [1.0], fibre=(1,)),)), TAGS)
    with pytest.raises(ValueError, match="returned noise over"):
        judge().measures(both, Measures((measured("noise", 1.0),)), TAGS)


def test_what_a_qa_that_failed_should_have_measured() -> None:
    got = judge(limit()).unknown((NOISE, SCALAR), TAGS, "QA x failed: boom")
    assert [(m.status, m.reason) for m in got] == [(U, "noise was not measured: QA x failed: boom"), (None, "")]


def test_bands_are_those_of_the_limit_that_decides() -> None:
    plot = Plot(name="p", title="p", panels=(Panel(x=Axis(label="amp"), y=Axis(label="noise"), layers=(), metric="noise"),) * 2)
    found = judge(limit(), limit(normal=(1.0, 9.0), warning=None, amp="B"))

    def bands(*values: float) -> list[tuple[str, float | None, float | None]]:
        panels = add_bands(plot, [found.metric(NOISE, noise(*values), TAGS)]).panels
        assert panels[0].bands == panels[1].bands
        return [(b.kind, b.low, b.high) for b in panels[0].bands]

    assert bands(9.0, 3.0) == [("warning", 0.5, 5.0), ("normal", 1.0, 4.0)]
    assert bands(3.0, 99.0) == [("normal", 1.0, 9.0)]
    assert add_bands(plot, []) == plot
    assert plot.panels[0].bands == ()


def test_judging_is_pure() -> None:
    found, got = judge(limit(), limit(amp="B", normal=(0.0, 1.0), warning=None)), noise(2.0, 4.5, math.nan)
    before = got.values.tobytes()
    assert found.metric(NOISE, got, TAGS) == found.metric(NOISE, got, TAGS)
    assert got.values.tobytes() == before


# ---- anything at all

numbers = st.floats(allow_nan=True, allow_infinity=True, width=64)
ends = st.none() | st.floats(allow_nan=False, allow_infinity=False)


@st.composite
def some_limits(draw: st.DrawFn) -> list[Limit]:
    out = []
    for _ in range(draw(st.integers(0, 4))):
        cuts = sorted(draw(st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=4)))
        low, high = draw(st.sampled_from([(cuts[1], cuts[2]), (None, cuts[2]), (cuts[1], None)]))
        warning = draw(st.sampled_from([None, (None if low is None else cuts[0], None if high is None else cuts[3])]))
        when = draw(st.sampled_from([{}, {"amp": "A"}, {"amp": ["B", "C"]}, {"flavor": "zero"}, {"flavor": "arc"}, {"flavor": "zero", "amp": "A"}]))
        out.append(limit(normal=(low, high), warning=warning, **when))
    return out


def check(result: MetricResult, values: np.ndarray, limits: list[Limit]) -> None:
    """What must hold whatever was measured."""
    flat = [float(v) for v in values.ravel()]
    assert len(result.statuses) == len(result.values) == len(flat)
    for status, value in zip(result.statuses, flat, strict=True):
        assert math.isfinite(value) or status is not N
        assert math.isfinite(value) or status in (None, U)
    assert result.status is (worst(result.statuses) if flat else (U if any("arc" not in one.when.get("flavor", ()) for one in limits) else None))
    assert bool(result.reason) == (result.status not in (None, N))
    text = result.model_dump_json()
    json.loads(text, parse_constant=lambda c: pytest.fail(f"{c} in the JSON"))
    assert MetricResult.model_validate_json(text) == result


@settings(max_examples=1_000, deadline=None)
@given(values=st.lists(numbers, max_size=6), limits=some_limits())
def test_no_value_crashes_the_judge_and_none_that_is_not_finite_is_normal(values: list[float], limits: list[Limit]) -> None:
    got = measured("noise", values, amp=tuple("ABCDEF"[: len(values)]))
    check(judge(*limits).metric(NOISE, got, TAGS), np.array(values), limits)


@settings(max_examples=5, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), limits=some_limits())
def test_ten_thousand_values_of_any_bit_pattern(seed: int, limits: list[Limit]) -> None:
    """Every kind of float64: normal and subnormal, infinities, NaN with any payload."""
    values = np.random.default_rng(seed).integers(0, 2**64, 10_000, dtype=np.uint64).view(np.float64)
    with np.errstate(invalid="ignore"):
        values[:5_000] %= 7.0  # half of them of the size of a limit
    values[::50] = np.resize([np.nan, np.inf, -np.inf, 0.0, -0.0], 200)
    check(judge(*limits).metric(NOISE, measured("noise", values, amp=np.resize(list("ABCD"), 10_000).tolist()), TAGS), values, limits)


shapes = st.lists(st.integers(0, 3), max_size=3).map(tuple)


@settings(max_examples=300, deadline=None)
@given(shape=shapes, dims=st.sampled_from([("amp",), ("fibre",), (), ("amp", "line"), ("line", "amp")]), data=st.data())
def test_a_wrong_shape_is_an_error_of_the_qa_and_never_a_verdict(shape: tuple[int, ...], dims: tuple[str, ...], data: st.DataObject) -> None:
    size = math.prod(shape)
    values = np.array(data.draw(st.lists(numbers, min_size=size, max_size=size)), dtype=float).reshape(shape)
    coords = {d: tuple(range(n)) for d, n in zip(dims, shape, strict=False)}
    if tuple(len(c) for c in coords.values()) != shape:
        with pytest.raises(ValueError, match="values of shape"):
            measured("noise", values, **coords)
        return
    got = Measures((measured("noise", values, **coords),))
    if tuple(coords) == NOISE.dims:
        (result,) = judge(limit()).measures((NOISE,), got, TAGS)
        check(result, values, [limit()])
    else:
        with pytest.raises(ValueError, match="declared over"):
            judge(limit()).measures((NOISE,), got, TAGS)
