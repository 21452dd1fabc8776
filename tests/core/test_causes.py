"""Likely causes: what was out of range together, is declared to belong together, and in which order."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from quicklook.core.causes import MOST, likely_causes
from quicklook.core.hkframes import ChannelDuring, Concern, Excursion, ExposureHousekeeping
from quicklook.core.keys import Unit
from quicklook.core.results import Cause, LimitUsed, MetricResult, QAResult, UnitVerdict
from quicklook.core.severity import Severity
from quicklook.core.status import Status
from quicklook.core.unitparts import PartSummary, UnitParts

START = datetime(2022, 1, 2, 3, tzinfo=UTC)
N, W, A, U = Status.NORMAL, Status.WARNING, Status.ALARM, Status.UNKNOWN
WARM = "Warm CCDs are noisy."


def out(value: float = -115.0, **more: Any) -> Excursion:
    given = {"limit": "cold", "severity": Severity.WARNING, "level": "performance", "direction": "high", "value": value, "bound": -119.0,
             "unit": "degC", "since": START.timestamp() - 5, "overlap": 1.0, "usual": -120.0, "scatter": 0.1, "history_h": 6.0}  # fmt: skip
    return Excursion(**{**given, **more})


def channel(name: str, *excursions: Excursion, parts: Sequence[str] = ("r0",), spoils: Sequence[str] = ("read_noise",)) -> ChannelDuring:
    concern = Concern(parts=tuple(parts), spoils=tuple(spoils), why=WARM)
    return ChannelDuring(channel=name, unit="degC", judged=True, out=excursions, concerns=(concern,) if spoils else ())


def qa(name: str, status: Status, metric: str = "") -> QAResult:
    result = MetricResult(name=metric or name, unit="electron", values=[9.0], status=status, statuses=[status], reason="is high", worst=0)
    return QAResult(name=name, step="read", group="CCDs", status=status, seconds=0.0, metrics=[result])


def causes(channels: Sequence[ChannelDuring], own: Sequence[QAResult] = (), **found: Sequence[QAResult]) -> list[Cause]:
    """Of cameras with these QAs; `own` are those of the exposure as a whole."""
    parts = UnitParts(unit=Unit(20220101, 1), parts=tuple(PartSummary(part=p, status=A, qas=tuple(q)) for p, q in found.items()))
    verdict = UnitVerdict(night=20220101, expid=1, tag="t", revision=0, status=A, reasons=[], parts=dict.fromkeys(found, A), qas=list(own))
    return likely_causes(ExposureHousekeeping(start=START, exptime_s=60.0, channels=tuple(channels)), parts, verdict)


def test_a_warm_ccd_is_the_likely_cause_of_its_noise() -> None:
    (cause,) = causes([channel("CCD_TEMP_R0", out()), channel("CCD_TEMP_B0", parts=["b0"])], r0=[qa("read_noise", A)], b0=[qa("read_noise", N)])
    assert (cause.channel, cause.limit, cause.excess, cause.overlap) == ("CCD_TEMP_R0", "cold", 4.0, 1.0)
    assert cause.sigma == pytest.approx(50)
    assert cause.sentence == (
        "likely: CCD_TEMP_R0 was 4 degC above its range (-115, limit cold -119 degC) all through the exposure, 50 times its scatter from the -120 degC "
        "of the 6 h before; at the same time read_noise of r0 (ALARM). Warm CCDs are noisy."
    )
    assert [(s.part, s.qa, s.metric, s.status) for s in cause.spoiled] == [("r0", "read_noise", "read_noise", A)]


@pytest.mark.parametrize(
    ("channels", "found"),
    [
        ([channel("t")], {"r0": [qa("read_noise", A)]}),  # it was in its range
        ([channel("t", out(), parts=["b0"])], {"r0": [qa("read_noise", A)]}),  # another camera
        ([channel("t", out(), spoils=["dark_level"])], {"r0": [qa("read_noise", A)]}),  # another QA
        ([channel("t", out(), spoils=[])], {"r0": [qa("read_noise", A)]}),  # nobody has said that it matters
        ([channel("t", out())], {"r0": [qa("read_noise", N)]}),  # nothing was found
        ([channel("t", out())], {"r0": [qa("read_noise", U)]}),  # nothing was measured
    ],
)
def test_where_there_is_no_evidence_nothing_is_said(channels: list[ChannelDuring], found: dict[str, list[QAResult]]) -> None:
    assert causes(channels, **found) == []


def test_what_belongs_to_the_camera_goes_first_then_what_is_farther_from_usual() -> None:
    channels = [
        channel("room", out(usual=-118.0, scatter=0.01), parts=["*"]),
        channel("a_little", out(scatter=3.0)),
        channel("a_moment", out(scatter=0.001, overlap=0.1)),
        channel("a_lot", out(scatter=0.01)),
        channel("unheard", out(usual=math.nan, scatter=math.nan)),
    ]
    found = causes(channels, r0=[qa("read_noise", A)])
    assert [c.channel for c in found] == ["a_lot", "a_little", "unheard", "a_moment", "room"]
    assert found[2].sigma is None
    assert "h before" not in found[2].sentence
    assert "10 % of the exposure" in found[3].sentence


def test_an_alarm_goes_before_a_warning() -> None:
    channels = [channel("w", out(scatter=0.001), parts=["b0"]), channel("a", out(scatter=5.0))]
    assert [c.channel for c in causes(channels, b0=[qa("read_noise", W)], r0=[qa("read_noise", A)])] == ["a", "w"]


def test_metrics_and_the_exposure_as_a_whole_count_too() -> None:
    whole = channel("wind", out(), parts=["*"], spoils=["zero_*"])
    (cause,) = causes([whole], own=[qa("agreement", W, "zero_point_range")], r0=[qa("zero", A, "zero_point")])
    assert {(s.part, s.metric) for s in cause.spoiled} == {("r0", "zero_point"), ("", "zero_point_range")}


def test_a_sensor_that_never_moved_and_a_word_have_sentences_too() -> None:
    word = out(None, bound=None, scatter=math.nan, text="it is 'FAILED', to be 'SUCCESS'")  # type: ignore[arg-type]
    still, failed = causes([channel("still", out(scatter=0.0)), channel("word", word)], r0=[qa("read_noise", A)])
    assert still.sigma == 999.0
    assert "far more than it ever moved" in still.sentence
    assert "it is 'FAILED'" in failed.sentence
    assert (failed.excess, failed.sigma) == (None, None)


def test_a_statistic_outside_of_a_limits_file_is_evidence_too() -> None:
    limit = LimitUsed(normal=(0.0, 0.1), warning=(0.0, 0.5), reason="It swings.", action="Look.")
    metric = MetricResult(
        name="hk_temperature", unit="deg_C", coords={"channel": ["t", "u"], "statistic": ["mean", "rms"]}, values=[-120.0, 0.3, -120.0, 0.01],
        status=W, statuses=[None, W, None, N], limits=[limit], limit_of=[None, 0, None, 0], worst=1,
    )  # fmt: skip
    own = QAResult(name="housekeeping", step="unit", group="Exposure", status=W, seconds=0.0, metrics=[metric])
    (cause,) = causes([channel("t"), channel("u")], own=[own], r0=[qa("read_noise", A)])
    assert (cause.channel, cause.limit, cause.unit) == ("t", "hk_temperature rms", "deg_C")
    assert cause.excess == pytest.approx(0.2)


def test_of_many_the_first_are_told() -> None:
    assert len(causes([channel(f"t{i}", out()) for i in range(50)], r0=[qa("read_noise", A)])) == MOST


def test_a_channel_within_its_hysteresis_is_not_said_to_be_above_its_range() -> None:
    (cause,) = causes([channel("t", out(-119.2, text="it rose above -119 degC before"))], r0=[qa("read_noise", A)])
    assert cause.excess is None
    assert "was out of its limit cold (it rose above -119 degC before) all through" in cause.sentence
