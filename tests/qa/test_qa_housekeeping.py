"""QA `housekeeping`: statistics by unit, what is not known, flags, and how limits judge them."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

from qa.housekeeping import Housekeeping
from quicklook.core.declared import declared_metrics
from quicklook.core.document import Document
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.hkframes import STATISTICS, ChannelDuring, Excursion, ExposureHousekeeping
from quicklook.core.judge import Judge
from quicklook.core.limits import LimitSet, load_limits
from quicklook.core.metrics import Measures
from quicklook.core.results import MetricResult
from quicklook.core.severity import Severity
from quicklook.io.configfiles import find_config


def channel(name: str, unit: str = "degC", mean: float = -120.0, **more: Any) -> ChannelDuring:
    numbers = dict(zip(STATISTICS, (mean, mean, 0.1, 0.5), strict=True))
    return ChannelDuring(**{"channel": name, "unit": unit, "samples": 10, "numbers": numbers, "away_s": 0.0, "judged": True, **more})


def out(severity: Severity) -> Excursion:
    return Excursion(limit="cold", severity=severity, text=f"it is {severity}", since=0.0, overlap=1.0)


def measure(*channels: ChannelDuring, problem: str = "") -> Measures:
    return Housekeeping().measure(ExposureHousekeeping(start=None, exptime_s=60.0, channels=channels, problem=problem))


def judged(measures: Measures, limits: LimitSet) -> dict[str, MetricResult]:
    return {m.name: m for m in Judge(limits).measures(Housekeeping.metrics, measures, {"flavor": "zero"})}


@pytest.fixture(scope="module")
def default() -> LimitSet:
    return load_limits([find_config("limits", "default")], declared_metrics(), {"flavor", "camera", "program", "arm", "instrument", "exptime"})


def test_statistics_stand_under_the_quantity_of_their_unit() -> None:
    found = measure(
        channel("t"), channel("od", "mV", 26000.0), channel("p", "mbar", 1000.0), channel("x", "furlong", 3.0), channel("h", "percent", 40.0)
    )
    assert found["hk_temperature"].values.tolist() == [[-120.0, -120.0, 0.1, 0.5]]
    assert found["hk_temperature"].coords == {"channel": ("t",), "statistic": STATISTICS}
    assert found["hk_voltage"].values[0, 0] == pytest.approx(26.0)
    assert found["hk_pressure"].values[0, 0] == pytest.approx(1e5)
    assert found["hk_percent"].values[0, 0] == 40.0
    assert found["hk_value"].values[0, 0] == 3.0
    assert found["hk_value"].remarks["x", "mean"] == "in furlong"
    assert found["hk_current"].not_applicable


def test_a_channel_without_samples_is_unknown_and_never_normal(default: LimitSet) -> None:
    gone = ChannelDuring(channel="gone", unit="degC", judged=False, note="it has no sample")
    found = judged(measure(channel("t"), gone), default)
    for name in ("hk_out_of_range", "hk_severe", "hk_invalid_fraction"):
        assert [str(s) for s in found[name].statuses] == ["NORMAL", "UNKNOWN"]
        assert found[name].reason == f"{name} of channel gone was not measured: it has no sample"
    assert found["hk_temperature"].values[4:] == [None] * 4


def test_a_limit_of_a_limits_file_on_one_statistic_of_one_channel() -> None:
    limit = {
        "metric": "hk_temperature",
        "unit": "deg_C",
        "normal": [0, 0.2],
        "when": {"channel": "t", "statistic": "rms"},
        "reason": "r",
        "action": "a",
    }
    limits = load_limits([Document.from_data({"limits": [limit]}, "x")], declared_metrics(), set())
    wobbling = channel("t", numbers=dict(zip(STATISTICS, (-120.0, -120.0, 0.9, 2.0), strict=True)))
    found = judged(measure(wobbling, channel("u")), limits)["hk_temperature"]
    assert [s and str(s) for s in found.statuses] == [None, None, "ALARM", None, None, None, None, None]
    assert "hk_temperature of channel t, statistic rms is 0.9 deg_C, above 0.2 deg_C" in found.reason


@pytest.mark.parametrize(
    ("severity", "statuses"),
    [(Severity.NOTICE, ("NORMAL", "NORMAL")), (Severity.WARNING, ("WARNING", "NORMAL")), (Severity.CRITICAL, ("WARNING", "ALARM"))],
)
def test_what_was_out_of_range(default: LimitSet, severity: Severity, statuses: tuple[str, str]) -> None:
    found = judged(measure(channel("t", out=(out(severity),)), channel("u", judged=None)), default)
    assert (found["hk_out_of_range"].status, found["hk_severe"].status) == statuses
    assert found["hk_out_of_range"].statuses[1] is None  # it has no limit that applies
    if severity is Severity.CRITICAL:
        assert found["hk_severe"].reason == "hk_severe of channel t: it is CRITICAL"


def test_whether_it_was_severe_is_not_known_where_it_is_not_known_of_all_its_time(default: LimitSet) -> None:
    found = judged(measure(channel("t", out=(out(Severity.WARNING),), judged=False)), default)
    assert (found["hk_out_of_range"].status, found["hk_severe"].status) == ("WARNING", "UNKNOWN")


def test_more_than_half_of_the_samples_invalid_is_a_warning(default: LimitSet) -> None:
    assert judged(measure(channel("t", invalid=6)), default)["hk_invalid_fraction"].status == "WARNING"
    assert judged(measure(channel("t", invalid=5)), default)["hk_invalid_fraction"].status == "NORMAL"


def test_words_have_no_statistics() -> None:
    found = measure(channel("cover", "", math.nan, text=True))
    assert found["hk_value"].not_applicable
    assert found["hk_invalid_fraction"].values.tolist() == [0.0]


def test_nothing_to_join_and_nothing_that_could_be_read() -> None:
    with pytest.raises(NotApplicable, match="no housekeeping is joined"):
        Housekeeping().measure(None)
    with pytest.raises(NotApplicable, match="joins no channel"):
        measure()
    with pytest.raises(BadData, match="no disk"):
        measure(problem="no disk")


def test_the_plot_shows_first_what_was_out_of_range() -> None:
    times = np.arange(10.0)
    curves = [channel(f"c{i}", times=times, values=times * i, out=(out(Severity.ALARM),) if i == 8 else ()) for i in range(10)]
    (plot,) = measure(*curves).plots
    assert [p.title for p in plot.panels] == ["c8: OUT OF RANGE", "c0", "c1", "c2", "c3", "c4"]
    assert {p.y.unit for p in plot.panels} == {"deg_C"}
