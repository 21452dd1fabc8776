"""Series over the exposures of a test: the number that is made of them, and its verdict."""

from __future__ import annotations

import math

import numpy as np
import pytest

from quicklook.core.errors import BadConfig
from quicklook.core.judge import Judge
from quicklook.core.limits import LimitSet
from quicklook.core.metrics import MetricDef, measured, not_applicable
from quicklook.core.results import MetricResult
from quicklook.core.series import AnalysisFile, How, SeriesDef, judge_series, load_analysis, reduce, series_plot
from quicklook.core.status import Status
from quicklook.core.yamlsource import parse_yaml
from quicklook.io.configfiles import find_config, list_configs
from quicklook.service.site import declared_metrics

LEVEL = MetricDef("level", "adu", dims=("amp",), doc="Level.")
PAIRS = [(0.0, 10.0), (0.5, 11.0), (2.0, 15.0)]
RANGE = SeriesDef(metric="level", how=How.RANGE, normal=(0, 2), warning=(0, 5), reason="it stands still", action="look")


def level(a: float, b: float) -> MetricResult:
    return Judge(LimitSet()).metric(LEVEL, measured("level", [a, b], amp=("A", "B")), {})


@pytest.mark.parametrize(
    ("how", "value"),
    [
        (How.RANGE, 5.0), (How.RMS, np.std([10, 11, 15], ddof=1)), (How.SLOPE, np.polyfit([0, 0.5, 2], [10, 11, 15], 1)[0]), (How.MEAN, 12.0),
        (How.SUM, 36.0), (How.QUADRATURE, math.sqrt(446)), (How.MIN, 10.0), (How.MAX, 15.0),
    ],
)  # fmt: skip
def test_one_number_of_many(how: How, value: float) -> None:
    assert reduce(how, PAIRS) == pytest.approx(value, rel=1e-12)


def test_two_are_needed_for_a_difference() -> None:
    assert math.isnan(reduce(How.RANGE, PAIRS[:1]))
    assert math.isnan(reduce(How.SLOPE, [(1.0, 1.0), (1.0, 2.0)]))  # at one time
    assert reduce(How.MAX, PAIRS[:1]) == 10.0


def test_it_is_judged_by_element() -> None:
    result = judge_series(RANGE, LEVEL, [(0.0, level(100, 200)), (1.0, level(101, 204))], {}, "zeros.yaml")
    assert (result.name, result.unit, result.values) == ("level_range", "adu", [1.0, 4.0])
    assert result.statuses == [Status.NORMAL, Status.WARNING]
    assert "level_range of amp B is 4 adu, above 2 adu" in result.reason


def test_what_was_measured_too_rarely_is_not_known() -> None:
    result = judge_series(RANGE, LEVEL, [(0.0, level(100, 200)), (1.0, level(101, math.nan))], {}, "")
    assert result.statuses == [Status.NORMAL, Status.UNKNOWN]
    assert "measured in 1 of 2 exposures" in result.reason
    assert judge_series(RANGE, LEVEL, [], {}, "").status is Status.UNKNOWN


def test_what_applies_to_no_exposure_does_not_apply() -> None:
    empty = Judge(LimitSet()).metric(LEVEL, not_applicable("level", "no light"), {})
    result = judge_series(RANGE, LEVEL, [(0.0, empty), (1.0, empty)], {}, "")
    assert (result.status, result.not_applicable) == (None, "no light")


def test_a_plot_has_a_line_for_each_element() -> None:
    plot = series_plot([RANGE], LEVEL, [(0.0, level(100, 200)), (1.0, level(101, 204))], "Levels")
    assert plot is not None
    assert [layer.label for layer in plot.panels[0].layers] == ["A", "B"]  # type: ignore[union-attr]
    assert [layer.y.tolist() for layer in plot.panels[0].layers] == [[0.0, 1.0], [0.0, 4.0]]  # type: ignore[union-attr]
    assert series_plot([RANGE], LEVEL, [(0.0, level(100, 200))], "Levels") is None


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("analysis: a\nseries: [{metric: no_such, how: range}]", r"a.yaml:2 \(series\[0\]\): no QA measures 'no_such'"),
        ("analysis: a\nseries: [{metric: level, how: range, normal: [0, 1]}]", "a limit has a reason and an action"),
        ("analysis: a\nseries: [{metric: level, how: much}]", "how"),
        ("analysis: a", "neither builder nor coadd nor series"),
    ],
)
def test_what_is_wrong_is_shown(text: str, why: str) -> None:
    with pytest.raises(BadConfig, match=why):
        load_analysis(parse_yaml(text, "a.yaml"), {"level": LEVEL})


@pytest.mark.parametrize("name", list_configs("analyses"))
def test_shipped_analyses_are_good(name: str) -> None:
    loaded: AnalysisFile = load_analysis(find_config("analyses", name), declared_metrics())
    assert loaded.analysis == name
