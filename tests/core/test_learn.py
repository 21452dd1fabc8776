"""Limits from history: robust, from enough exposures, and a file that loads again."""

from __future__ import annotations

import math
import statistics
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from quicklook.core.errors import BadConfig, BadData
from quicklook.core.history import Sample
from quicklook.core.keys import PartKey, Unit
from quicklook.core.learn import Learned, LearnSettings, Lesson, learn, refused_words, spreads
from quicklook.core.limits import LimitSet
from quicklook.core.limitstext import limits_text, to_limit
from quicklook.core.outliers import try_each
from quicklook.core.status import Status

FIVE = LearnSettings(by=("camera", "amp"), at_least=5)


def table(values: dict[str, list[float]], camera: str = "r0", metric: str = "amps", **more: Any) -> list[Sample]:
    """A value of each amplifier in each of some exposures, numbered from 1."""
    return [
        Sample(
            metric=metric,
            unit="electron",
            key=PartKey(Unit(20220100 + i, i), camera),
            value=v,
            coords={"amp": amp},
            tags={"camera": camera, "arm": camera[0]},
            **more,
        )
        for amp, each in values.items()
        for i, v in enumerate(each, start=1)
    ]


def only(lesson: Lesson) -> Learned:
    assert len(lesson.learned) == 1, lesson
    return lesson.learned[0]


def test_five_values_by_hand() -> None:
    """Median 13.0; median absolute deviation 0.1; x 1.4826 x 1.206 (five values) x sqrt(1 + pi/10) for the next value x 5.75, for there is no other group."""
    got = only(learn(table({"A": [12.9, 13.0, 13.1, 12.8, 27.0]}), FIVE))
    spread = 1.4826 * 1.206 * 0.1 * math.sqrt(1 + math.pi / 10) * 5.75
    assert got.centre == 13.0
    assert got.low == pytest.approx(spread)
    # the ends are rounded outward, by no more than a tenth of the spread
    assert 13.0 - 4 * spread - 0.1 * spread < got.normal[0] <= 13.0 - 4 * spread
    assert 13.0 + 6 * spread <= got.warning[1] < 13.0 + 6 * spread + 0.1 * spread
    assert (got.exposures, got.values, got.outside, got.nights) == (5, 5, 1, (20220101, 20220105))
    assert math.isnan(got.pool)


def test_many_values_have_two_sides() -> None:
    """A skewed distribution: the range reaches farther on its long side. Independent: order statistics of the sorted list."""
    values = sorted((np.random.default_rng(1).exponential(1.0, 1000) + 5.0).tolist())
    centre, low, high = spreads(np.array(values))
    cuts = statistics.quantiles(values, n=100_000, method="inclusive")
    assert centre == pytest.approx(statistics.median(values))
    p2, p16, p84, p98 = (cuts[n - 1] for n in (2275, 15865, 84135, 97725))
    assert low == pytest.approx(max(centre - p16, (centre - p2) / 2), rel=1e-3)
    assert high == pytest.approx(max(p84 - centre, (p98 - centre) / 2), rel=1e-3)
    assert high > 1.5 * low


def test_a_few_bad_exposures_move_nothing() -> None:
    rng = np.random.default_rng(2)
    good = rng.normal(3.0, 0.02, 100)
    clean = only(learn(table({"A": good.tolist()}), FIVE))
    spoilt = only(learn(table({"A": [*good[:95].tolist(), *(50.0,) * 5]}), FIVE))
    assert spoilt.normal == pytest.approx(clean.normal, abs=0.02)
    assert spoilt.outside >= 5


@pytest.mark.parametrize("n", [5, 6, 20, 300])
def test_healthy_values_seldom_lie_outside(n: int) -> None:
    """Limits from n values of 30 amplifiers, held against 60,000 fresh values: out of the normal range are 1 in 450 with five, of whose spread little is
    known, 1 in 800 with twenty, 1 in 14,000 with 300 (measured with 300,000); the bounds leave the scatter of this count and of so few groups."""
    rng = np.random.default_rng(n)
    out = judged = 0
    rounds = 10 if n < 100 else 2
    for _ in range(rounds):
        lesson = learn(table({f"{a}": rng.normal(3.0, 0.02, n).tolist() for a in range(30)}), FIVE)
        for one in lesson.learned:
            fresh = rng.normal(3.0, 0.02, 2000 // rounds)
            out += int(((fresh < one.normal[0]) | (fresh > one.normal[1])).sum())
            judged += fresh.size
    assert judged == 60_000
    assert out / judged < (0.005 if n < 20 else 0.0025 if n < 100 else 0.0003)


@pytest.mark.parametrize(("n", "groups"), [(5, 1), (8, 1), (20, 1), (5, 3), (8, 12)])
def test_few_values_of_few_groups_keep_the_promise_too(n: int, groups: int) -> None:
    """1 in 450 of Gaussian values outside of the normal range on average: computed with the error function for each learned range, not counted. The average
    of 1200 groups is uncertain by a third, for a spread that came out small by chance costs most; without the factor it is 1 in 17, 57, 300, 43 and 60."""
    rng = np.random.default_rng(n + groups)
    out = []
    for _ in range(1200 // groups):
        for one in learn(table({f"{a}": rng.normal(100.0, 1.0, n).tolist() for a in range(groups)}), FIVE).learned:
            low, high = one.normal
            out.append(0.5 * (math.erfc((100.0 - low) / math.sqrt(2)) + math.erfc((high - 100.0) / math.sqrt(2))))
    assert 0.0005 < float(np.mean(out)) < 1 / 250


@pytest.mark.parametrize("n", [60, 100, 190, 200, 250, 1000])
@pytest.mark.parametrize("far", [0.7, 6.0, 1e6])
def test_five_bad_in_a_hundred_move_nothing(n: int, far: float) -> None:
    """Values 35 and more spreads off, at any number of exposures: by the percentile 97.7 alone, 2.3 % of them are enough."""
    rng = np.random.default_rng(6)
    good = rng.normal(3.0, 0.02, n)
    bad = good.copy()
    bad[: n // 20] = 3.0 + far
    clean, spoilt = only(learn(table({"A": good.tolist()}), FIVE)), only(learn(table({"A": bad.tolist()}), FIVE))
    assert spoilt.normal == pytest.approx(clean.normal, abs=0.02)
    assert spoilt.outside >= n // 20
    trial = try_each(table({"A": bad.tolist()}), FIVE) if n == 250 else None
    assert trial is None or len(trial.findings[0].outliers) >= n // 20


def test_a_near_tail_doubles_a_range_at_most() -> None:
    rng = np.random.default_rng(7)
    good = rng.normal(3.0, 0.02, 1000)
    tail = np.concatenate([good[:950], rng.uniform(3.14, 3.18, 50)])
    core = only(learn(table({"A": good.tolist()}), FIVE)).high
    assert 1.5 * core < only(learn(table({"A": tail.tolist()}), FIVE)).high < 2.4 * core


def test_an_end_that_is_open_stays_open(limits: Callable[[str], LimitSet]) -> None:
    """More light than usual is no alarm, with an action for too little."""
    lesson = learn(table({"A": np.random.default_rng(8).normal(1.0, 0.02, 40).tolist()}), FIVE)
    known = limits("limits: [{metric: amps, unit: electron, normal: [0.8, null], warning: [0.6, null], reason: r, action: Wait for better weather.}]")
    loaded = limits(limits_text(lesson, FIVE, known=known)).limits[0]
    assert (loaded.normal[1], loaded.warning_range[1]) == (None, None)
    assert (loaded.normal[0], loaded.warning_range[0]) == (only(lesson).normal[0], only(lesson).warning[0])
    assert [loaded.judge(v) for v in (9.0, 1.0, 0.5)] == [Status.NORMAL, Status.NORMAL, Status.ALARM]


def test_a_widened_spread_is_told() -> None:
    few, many = (only(learn(table({"A": np.random.default_rng(9).normal(3.0, 0.02, n).tolist()}), FIVE)) for n in (5, 50))
    assert "(widened 5.8 times, for so few values tell it badly), in 5 exposures" in to_limit(few).reason
    assert "widened" not in to_limit(many).reason


@pytest.mark.parametrize("huge", [1e307, 1e200])
def test_values_that_are_no_measure_are_refused(huge: float) -> None:
    lesson = learn(table({"A": [huge, -huge, 1.0, 2.0, 3.0], "B": [1.0, 2.0, 3.0, 2.0, 1.0]}), FIVE)
    assert [one.when["amp"] for one in lesson.learned] == ["B"]
    assert f"its values reach {huge:g}" in lesson.refused[0].why
    assert try_each(table({"A": [huge, -huge, 1.0, 2.0, 3.0, 4.0]}), FIVE).judged == 0


@pytest.mark.parametrize("widths", [{"normal": math.inf, "warning": math.inf}, {"narrowest": math.inf}, {"narrowest": math.nan}, {"narrowest": -0.05}, {"warning": math.nan}])
def test_widths_are_finite(widths: dict[str, float]) -> None:
    with pytest.raises(BadConfig, match="must be finite"):
        LearnSettings(**widths)  # type: ignore[arg-type]


def test_the_spread_of_few_values_is_drawn_to_that_of_the_others() -> None:
    rng = np.random.default_rng(3)
    others = {f"{a}": rng.normal(3.0, 0.02, 6).tolist() for a in range(20)}
    alone = only(learn(table({"X": [3.0, 3.001, 3.0, 3.001, 3.0, 3.001]}), FIVE))
    lesson = learn(table({**others, "X": [3.0, 3.001, 3.0, 3.001, 3.0, 3.001]}), FIVE)
    among = next(one for one in lesson.learned if one.when["amp"] == "X")
    assert alone.high < 0.003 < 0.008 < among.high < 0.03
    apart = learn(table(others) + table({"X": [3.0, 3.001, 3.0, 3.001, 3.0, 3.001]}, camera="b0"), FIVE)
    assert next(one for one in apart.learned if one.when["amp"] == "X").high == alone.high  # another arm says nothing of it


def test_what_is_refused_and_why() -> None:
    lesson = learn(table({"A": [1.0] * 4, "B": [2.0] * 9, "C": [1.0, 1.1, math.nan, 1.2, math.inf, 1.0], "D": [1, 2, 3, 2, 1, 2, 3]}), FIVE)
    assert [one.when["amp"] for one in lesson.learned] == ["D"]
    assert [(r.when["amp"], r.constant, r.exposures) for r in lesson.refused] == [("A", False, 4), ("B", True, 9), ("C", False, 4)]
    assert lesson.refused[0].why == "it was measured in 4 exposures, at least 5 are needed"
    assert "no spread to learn from; write its limit by hand" in lesson.refused[1].why
    assert refused_words(lesson.refused, FIVE) == [
        "amps: 2 groups were measured in 4 exposures each, at least 5 are needed",
        "amps of camera r0, amp B: most of its 9 values are 2: there is no spread to learn from; write its limit by hand",
    ]
    assert learn([], FIVE) == Lesson(learned=(), refused=())


def test_a_constant_may_be_given_a_width() -> None:
    settings = LearnSettings(by=("amp",), at_least=5, narrowest=0.1)
    got = only(learn(table({"A": [2.0] * 9}), settings))
    assert got.normal == pytest.approx((1.8, 2.2), abs=0.01)
    assert got.warning == pytest.approx((1.7, 2.3), abs=0.01)


def test_alarms_of_other_metrics_are_left_out_and_own_ones_are_not() -> None:
    values = [1.0, 1.1, 0.9, 1.05, 0.95, 1.0]
    own = table({"A": [5.0, 5.1]}, alarms=frozenset({"amps"}))
    other = table({"A": [7.0, 7.1, 7.2]}, alarms=frozenset({"amps", "dead_amp"}))
    moved = [Sample(metric=s.metric, unit=s.unit, key=PartKey(Unit(20220200, 50 + i), "r0"), value=s.value, coords=s.coords, tags=s.tags, alarms=s.alarms) for i, s in enumerate([*own, *other])]
    got = only(learn(table({"A": values}) + moved, FIVE))
    assert (got.values, got.left_out, got.exposures) == (8, 3, 8)
    refused = learn(moved, FIVE).refused[0].why
    assert refused == "it was measured in 2 exposures (3 more were ALARM for another metric: dead_amp), at least 5 are needed"
    assert "; left out, ALARM for another metric: 3" in limits_text(learn(table({"A": values}) + moved, FIVE), FIVE)


def test_labels_by_default_are_flavor_camera_and_small_dimensions() -> None:
    def sample(i: int, fibre: int, amp: str) -> Sample:
        tags = {"camera": "r0", "flavor": "zero", "program": "dark"}
        return Sample(metric="m", unit="", key=PartKey(Unit(20220101, i), "r0"), value=float(i), coords={"fibre": fibre, "amp": amp}, tags=tags)

    lesson = learn([sample(i, fibre, amp) for i in range(5) for fibre in range(20) for amp in "AB"], LearnSettings(at_least=5))
    assert [dict(one.when) for one in lesson.learned] == [{"flavor": "zero", "camera": "r0", "amp": a} for a in "AB"]
    assert {(one.exposures, one.values) for one in lesson.learned} == {(5, 100)}


def test_what_cannot_be_learned_from() -> None:
    with pytest.raises(BadConfig, match="no value has a label 'ampp' to learn by; known: amp, arm, camera"):
        learn(table({"A": [1.0]}), LearnSettings(by=("ampp",)))
    with pytest.raises(BadConfig, match="not learned from fewer than 5"):
        LearnSettings(at_least=4)
    with pytest.raises(BadConfig, match="no wider than the warning range"):
        LearnSettings(normal=7.0)
    mixed = [*table({"A": [1.0]}), Sample(metric="amps", unit="adu", key=PartKey(Unit(1, 1), "r0"), value=1.0, coords={"amp": "A"}, tags={"camera": "r0"})]
    with pytest.raises(BadData, match="amps is in 'adu' and 'electron'"):
        learn(mixed, FIVE)


def test_the_text_loads_again_as_what_was_learned(limits: Callable[[str], LimitSet]) -> None:
    rng = np.random.default_rng(4)
    lesson = learn(table({a: rng.normal(3.0, 0.02, 30).tolist() for a in ("A", 'q"uo', "y", "1")}), FIVE)
    known = limits('limits: [{metric: amps, unit: electron, normal: [0, 9], when: {camera: [r0, "r1"]}, reason: r, action: "Do: this & that."}]')
    loaded = limits(limits_text(lesson, FIVE, known=known, about="a test"))
    expected = [to_limit(one, known) for one in lesson.learned]
    assert [one.model_copy(update={"source": ""}) for one in loaded.limits] == expected
    assert {one.action for one in loaded.limits} == {"Do: this & that."}
    assert [one.when["amp"] for one in loaded.limits] == [("A",), ('q"uo',), ("y",), ("1",)]
    assert "rests on 30 exposures, 30 values" in limits_text(lesson, FIVE)
    assert "in 30 exposures" in loaded.limits[0].reason


def test_what_was_never_negative_stays_so() -> None:
    got = only(learn(table({"A": [0.0, 0.01, 0.02, 0.0, 0.03, 0.01]}), FIVE))
    assert got.normal[0] == 0.0
    assert only(learn(table({"A": [-0.01, 0.01, 0.02, 0.0, 0.03, 0.01]}), FIVE)).normal[0] < -0.01


NEIGHBOURS = {f"{a}": [2.0 + 0.01 * ((i * (a + 3)) % 5 - 2) for i in range(1, 7)] for a in range(9)}


def finding(**values: list[float]) -> Any:
    return next((f for f in try_each(table({**NEIGHBOURS, **values}), FIVE).findings if f.when["amp"] in values), None)


@pytest.mark.parametrize(
    ("values", "out", "why"),
    [
        ([3.0, 3.01, 2.99, 3.0, 3.5, 3.01], [5], "it is out in 1 of 6 exposures; the others scatter by"),
        ([2.5, 3.01, 2.99, 3.0, 3.0, 3.01], [1], "only the first exposure differs, from the second on it is steady: levels 2.5 (1 of 6 exposures) and 3 (5)"),
        ([3.0, 3.5, 3.0, 3.51, 3.01, 3.01], [2, 4], "it jumps between two levels, 3.005 (4 of 6 exposures) and 3.505 (2)"),
        ([3.0, 3.01, 3.0, 3.01, 3.5, 3.51], [5, 6], "it has changed once and stayed: levels 3.005 (4 of 6 exposures) and 3.505 (2)"),
    ],
)
def test_an_outlier_is_explained(values: list[float], out: list[int], why: str) -> None:
    got = finding(X=values)
    assert got.status is Status.ALARM
    assert sorted(o.sample.key.unit.expid for o in got.outliers) == out
    assert why in got.why[0]
    assert all((o.sigmas > 0) == (o.sample.value > o.limit.centre) for o in got.outliers)


def test_sound_values_are_no_finding() -> None:
    assert finding(X=[3.0, 3.01, 2.99, 3.0, 3.02, 3.01]) is None


def test_amplifiers_that_move_together_are_told() -> None:
    values = [3.0, 3.01, 2.99, 3.0, 3.5, 3.01]
    got = next(f for f in try_each(table({**NEIGHBOURS, "X": values, "Y": values}), FIVE).findings if f.when["amp"] == "X")
    assert "in exposure 5 it has moved together with amp Y (" in got.why[1]
    assert "points to a cause common to r0" in got.why[1]


def test_an_unstable_amplifier_is_told_though_nothing_is_out() -> None:
    got = finding(X=[2.6, 3.4, 2.9, 3.2, 2.7, 3.3])
    assert (got.status, got.outliers) == (Status.NORMAL, ())
    assert "it is unstable: it scatters by" in got.why[0]


def test_each_exposure_is_judged_by_the_others_alone() -> None:
    """The limit of the exposure that is out rests on the five others, and would not be another if its value were."""
    ranges = [finding(X=[3.0, 3.01, 2.99, 3.0, far, 3.01]).outliers[0].limit for far in (3.5, 300.0)]
    assert ranges[0] == ranges[1]
    assert ranges[0].exposures == 5


def test_many_exposures_are_left_out_in_blocks() -> None:
    rng = np.random.default_rng(5)
    values = rng.normal(3.0, 0.02, 250)
    values[77] = 4.0
    trial = try_each(table({"X": values.tolist()}), FIVE)
    assert (trial.judged, trial.exposures) == (250, 250)
    assert [o.sample.key.unit.expid for o in trial.findings[0].outliers] == [78]
