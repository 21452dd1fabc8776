"""Channels during an exposure: statistics, fill values, gaps, frozen sensors, what was out of range, what is late."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import hk_tools as tools
import numpy as np
import pytest

from monitor.hk.during import ExposureReader
from monitor.hk.loading import check_config
from monitor.hk.store import HkStore
from quicklook.core.errors import BadConfig
from quicklook.core.hkframes import ChannelDuring, ExposureHousekeeping
from quicklook.core.severity import Severity

START = datetime(2022, 1, 2, 3, 0, 0, tzinfo=UTC)
T0 = START.timestamp()
COLD = {"name": "cold", "channels": "ccd", "unit": "degC", "performance": [-121, -119], "survival": [-133, 35],
        "persistence": {"count": 2, "of": 3, "clear": 2}}  # fmt: skip
CHANNELS = [{"name": "ccd", "unit": "degC", "plausible": [-200, 100], "stale_after_s": 120}]
JOINED = [{"channels": ["ccd"], "parts": ["r0"], "spoils": ["read_noise"], "why": "It is warm."}]


class Log:
    """A store, a configuration, and what they give for an exposure."""

    def __init__(self, folder: Path, *, limits: Any = (COLD,), channels: Any = CHANNELS, joined: Any = JOINED, exposures: Any = None, **more: Any):
        self.config = tools.config(limits, channels=channels, exposures={"margin_s": 0, "channels": joined, **(exposures or {})}, **more)
        self.path = folder / "hk.sqlite"
        self.store = HkStore(self.path, writing=True)

    def add(self, times: Sequence[float], texts: Any = None, **columns: Sequence[float]) -> None:
        """Samples, seconds from the start of the exposure."""
        self.store.append("s", [tools.batch(np.asarray(times) + T0, texts=texts, **columns)], {}, self.config.aliases)

    def steady(self, first: float, last: float, level: float = -120.0, every: float = 1.0) -> None:
        times = np.arange(first, last, every)
        self.add(times, ccd=level + 0.01 * np.sin(times))

    def during(self, exptime: float = 60.0, start: datetime | None = START) -> ExposureHousekeeping:
        reader = ExposureReader(self.config, self.path)
        try:
            return reader.during(start, exptime)
        finally:
            reader.close()

    def ccd(self, exptime: float = 60.0) -> ChannelDuring:
        return next(c for c in self.during(exptime).channels if c.channel == "ccd")


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path)


@pytest.mark.parametrize("columns", [False, True])
def test_the_numbers_are_those_of_the_samples_within_the_exposure(log: Log, columns: bool) -> None:
    times = np.arange(-300.0, 300.0)
    values = -120 + 0.3 * np.sin(times / 7) + np.where(times > 60, 0.4, 0)
    log.add(times, ccd=values)
    if columns:
        assert log.store.compact(T0, all_of_it=True)
    found, inside = log.ccd(), values[(times >= 0) & (times <= 60)]
    assert (found.samples, found.invalid, found.away_s, found.note, found.late) == (61, 0, 0.0, "", False)
    expected = {"mean": inside.mean(), "median": np.median(inside), "rms": inside.std(), "peak_to_peak": np.ptp(inside)}
    assert found.numbers == pytest.approx(expected)
    assert (found.judged, found.out) == (True, ())
    assert (len(found.times), found.times[0]) == (61, 0.0)


def test_a_fill_value_is_no_value_and_counts_as_invalid(log: Log) -> None:
    log.steady(-100, 0)
    log.add(np.arange(0.0, 60.0), ccd=[-273.15 if i % 4 == 0 else 1e20 if i % 4 == 1 else -120.0 for i in range(60)])
    found = log.ccd(59.5)
    assert (found.samples, found.invalid, found.invalid_fraction) == (60, 30, 0.5)
    assert (found.numbers["mean"], found.numbers["peak_to_peak"]) == (-120.0, 0.0)
    assert found.out == ()


def test_fill_values_alone_are_not_known_and_never_normal(log: Log) -> None:
    log.steady(-100, 0)
    log.add(np.arange(0.0, 61.0), ccd=[999999.0] * 61)
    found = log.ccd()
    assert found.invalid_fraction == 1.0
    assert math.isnan(found.numbers["mean"])
    assert found.judged is False
    assert "none of its samples" in found.note


@pytest.mark.parametrize(("at", "away", "words"), [(-50.0, 50.0, "before it began"), (30.0, 20.0, "after it ended")])
def test_of_a_slow_channel_the_nearest_sample_is_taken_and_it_is_said(log: Log, at: float, away: float, words: str) -> None:
    log.add([at], ccd=[-120.5])
    found = log.ccd(10.0)
    assert (found.samples, found.away_s, found.numbers["mean"], found.invalid_fraction) == (0, away, -120.5, 0.0)
    assert words in found.note
    assert found.judged is True
    assert not found.late


def test_a_nearest_sample_that_is_out_of_range_is_out_of_range(tmp_path: Path) -> None:
    log = Log(tmp_path, limits=[COLD | {"persistence": {"count": 1, "of": 1, "clear": 1}}])
    log.add([-50.0], ccd=[-110.0])
    (out,) = log.ccd(10.0).out
    assert (out.value, out.bound, out.direction, out.level, out.overlap) == (-110.0, -119.0, "high", "performance", 1.0)


def test_what_is_farther_than_it_may_be_is_not_known(log: Log) -> None:
    log.add([-500.0, -400.0, -121.0], ccd=[-120.0] * 3)
    found = log.ccd(10.0)
    assert math.isnan(found.numbers["mean"])
    assert math.isnan(found.invalid_fraction)
    assert found.judged is False
    assert "nor near it" in found.note


def test_a_gap_within_the_exposure_leaves_the_rest(log: Log) -> None:
    log.steady(-100, 10)
    log.steady(50, 100)
    found = log.ccd()
    assert (found.samples, found.late) == (21, False)
    assert found.numbers["mean"] == pytest.approx(-120, abs=0.01)


@pytest.mark.parametrize(
    ("until", "again", "blind", "judged"),
    [(100, 900, 800, False), (100, 500, 400, False), (100, 215, 115, True), (790, 900, 110, True), (-50, 900, 900, False)],
    ids=["it stops", "a long gap", "a short gap", "just before its end", "it stopped before"],
)
def test_what_was_stale_for_a_part_of_the_exposure_is_not_called_normal(log: Log, until: int, again: int, blind: float, judged: bool) -> None:
    """Its data are stale after 120 s: in that time nobody knows whether it was within its limits, though all samples that there are were."""
    log.steady(-200, until)
    log.steady(again, 1000)
    found = log.ccd(900.0)
    assert found.blind_s == pytest.approx(blind, abs=2)
    assert (found.judged, found.out) == (judged, ())
    assert ("no valid sample for" in found.note) is (not judged)


def test_what_was_out_before_it_was_stale_is_told(log: Log) -> None:
    log.steady(-200, 50)
    log.steady(50, 100, level=-110.0)
    found = log.ccd(900.0)
    assert found.judged is False
    assert [e.severity for e in found.out] == [Severity.WARNING]


def test_a_frozen_sensor_is_not_measured(tmp_path: Path) -> None:
    log = Log(tmp_path, channels=[CHANNELS[0] | {"frozen_after_s": 1800}])
    log.add(np.arange(-3600.0, 100.0, 10), ccd=np.full(370, -120.0))
    found = log.ccd()
    assert "frozen" in found.note
    assert (found.invalid_fraction, found.judged) == (1.0, False)
    assert math.isnan(found.numbers["mean"])
    log.steady(100, 200)  # after the exposure: that changes nothing of it
    assert "frozen" in log.ccd().note


def test_one_that_changes_slowly_is_not_frozen(tmp_path: Path) -> None:
    log = Log(tmp_path, channels=[CHANNELS[0] | {"frozen_after_s": 1800}])
    times = np.arange(-3600.0, 100.0, 10)
    log.add(times, ccd=np.round(-120 + times / 36000, 2))
    assert log.ccd().note == ""


def test_an_excursion_is_told_with_its_value_how_long_and_what_is_usual(log: Log) -> None:
    log.steady(-6 * 3600, 20, every=10)
    log.steady(20, 40, level=-115.0)
    log.steady(40, 100)
    (out,) = log.ccd().out
    assert (out.limit, out.severity, out.direction, out.bound) == ("cold", Severity.WARNING, "high", -119.0)
    assert out.value == pytest.approx(-115, abs=0.02)
    assert out.overlap == pytest.approx(21 / 60, abs=0.03)  # it is over with the second good one
    assert out.since == pytest.approx(T0 + 20, abs=1)
    assert out.usual == pytest.approx(-120, abs=0.01)
    assert 0 < out.scatter < 0.02
    assert "above -119" in out.text


def test_what_began_before_and_lasts_overlaps_all_of_it(log: Log) -> None:
    log.steady(-100, -20)
    log.steady(-20, 100, level=-40.0)
    (out,) = log.ccd().out
    assert out.overlap == 1.0


def test_what_was_over_before_is_none(log: Log) -> None:
    log.steady(-100, -60)
    log.steady(-60, -30, level=-110.0)
    log.steady(-30, 100)
    assert log.ccd().out == ()


def test_a_single_spike_is_stopped_by_persistence(log: Log) -> None:
    log.steady(-100, 20)
    log.add([20.0], ccd=[-50.0])
    log.steady(21, 100)
    found = log.ccd()
    assert found.out == ()
    assert found.numbers["peak_to_peak"] > 60


def test_a_limit_relative_to_a_slow_channel_and_one_that_is_off(tmp_path: Path) -> None:
    near = {"name": "drain", "channels": "od", "unit": "V", "kind": "relative", "reference": "wanted", "performance": [-0.2, 0.2], "states": "on"}
    channels = [{"name": "od", "unit": "V"}, {"name": "wanted", "unit": "V", "stale_after_s": 86400}, {"name": "power", "stale_after_s": 86400}]
    states = [{"name": "off", "when": {"power": "<20"}}, {"name": "on", "when": {"power": ">=20"}}]
    joined = [{"channels": ["od"]}]
    log = Log(tmp_path, limits=[near], channels=channels, states=states, joined=joined)
    log.add([-40000.0], wanted=[26.0])
    log.add([-30000.0], power=[28.0])
    log.add(np.arange(-100.0, 70.0), od=np.full(170, 26.5))
    (found,) = log.during().channels
    assert [(e.limit, e.value, e.bound) for e in found.out] == [("drain", 26.5, pytest.approx(26.2))]
    log.add([-5.0], power=[0.0])
    (found,) = log.during().channels
    assert (found.judged, found.out) == (None, ())


def test_words(tmp_path: Path) -> None:
    status = {"name": "status", "channels": "hex", "kind": "identity", "equals": "SUCCESS", "severity": "WARNING"}
    log = Log(tmp_path, limits=[status], channels=[{"name": "hex", "kind": "text", "stale_after_s": 600}], joined=[{"channels": ["hex"]}])
    log.add([-50.0, 10.0, 20.0], texts={"hex": ["SUCCESS", None, "FAILED"]})
    (found,) = log.during(30.0).channels
    assert (found.text, found.samples, found.invalid, found.judged) == (True, 2, 1, True)
    assert [e.limit for e in found.out] == ["status"]
    assert "FAILED" in found.out[0].text.upper()


def test_the_clock_of_the_telemetry_may_go_before(tmp_path: Path) -> None:
    log = Log(tmp_path, exposures={"offset_s": 3600, "margin_s": 2})
    log.steady(-100, 100)
    log.add(np.arange(3590.0, 3680.0), ccd=np.full(90, -119.5))
    found = log.ccd()
    assert (found.numbers["mean"], found.samples) == (-119.5, 65)


def test_an_exposure_of_no_time(tmp_path: Path) -> None:
    log = Log(tmp_path, exposures={"margin_s": 1})
    log.steady(-100, 100)
    assert log.ccd(0.0).samples == 3


@pytest.mark.parametrize(("start", "exptime", "words"), [(None, 10.0, "when it began"), (START, math.nan, "how long it took")])
def test_an_exposure_that_does_not_say_its_time(log: Log, start: datetime | None, exptime: float, words: str) -> None:
    log.steady(-100, 100)
    found = log.during(exptime, start)
    assert words in found.problem
    assert [(c.channel, c.judged, c.late) for c in found.channels] == [("ccd", False, False)]


def test_no_store_and_one_that_is_broken(log: Log) -> None:
    log.store.close()
    log.path.write_bytes(b"no database at all, " * 300)
    found = log.during()
    assert "cannot be read" in found.problem
    assert [c.judged for c in found.channels] == [False]
    log.path.unlink()
    assert "there is no store" in log.during().problem


def test_a_pattern_and_a_name_that_fit_nothing_are_there_without_a_value(tmp_path: Path) -> None:
    log = Log(tmp_path, joined=[{"channels": ["ccd", "gone", "nothing_*"]}])
    log.steady(-100, 100)
    found = {c.channel: c for c in log.during().channels}
    assert set(found) == {"ccd", "gone", "nothing_*"}
    assert math.isnan(found["gone"].invalid_fraction)
    assert "ever had" in found["nothing_*"].note


def test_the_name_that_a_pattern_stands_for_is_put_into_cameras(tmp_path: Path) -> None:
    log = Log(tmp_path, limits=(), joined=[{"channels": "temp_CCD*", "parts": "ROE1_CCD{name}", "spoils": "read_noise", "why": "warm"}])
    log.add([0.0], temp_CCD1=[1.0], temp_CCD2=[2.0])
    assert [c.concerns[0].parts for c in log.during().channels] == [("ROE1_CCD1",), ("ROE1_CCD2",)]


def test_samples_that_are_still_to_come_are_late(log: Log) -> None:
    log.steady(-100, 30)
    found = log.ccd()
    assert found.late
    assert "alone have come" in found.note
    log.steady(30, 62)
    assert not log.ccd().late


def test_a_channel_with_a_sample_a_minute_is_not_waited_for(log: Log) -> None:
    log.steady(-600, 10, every=60)
    assert not log.ccd(40.0).late


def test_ten_samples_a_second_of_a_thousand_channels_take_no_time_to_speak_of(tmp_path: Path) -> None:
    """A tenth of a second or so for thirty joined channels; a hundred times that would be told here."""
    import time

    names = [f"c{i:03d}" for i in range(300)]
    limits = [COLD | {"channels": "c*", "name": "cold"}]
    log = Log(tmp_path, limits=limits, channels=[CHANNELS[0] | {"name": "c*"}], joined=[{"channels": ["c00?", "c01?", "c02?"]}])
    times = np.arange(-60, 61, 0.1)
    for cut in np.array_split(times, 120):
        log.add(cut.tolist(), **{n: np.full(len(cut), -120.0) for n in names})
    began = time.process_time()
    assert len(log.during().channels) == 30
    assert time.process_time() - began < 5.0


def test_a_change_of_start_by_hours_reads_other_samples(log: Log) -> None:
    log.steady(-100, 100)
    found = log.during(60.0, START + timedelta(hours=5))
    assert math.isnan(found.channels[0].numbers["mean"])


def test_values_that_nothing_can_be_summed_of(tmp_path: Path) -> None:
    log = Log(tmp_path, limits=(), channels=[{"name": "ccd"}])
    log.add([1.0, 2.0, 3.0, 4.0], ccd=[1e308, -1e308, 1e308, 1e300])
    numbers = log.ccd().numbers
    assert math.isnan(numbers["rms"])
    assert numbers["median"] == pytest.approx(5e307)


def test_so_many_channels_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.hk.during.MOST_CHANNELS", 1)
    log = Log(tmp_path, joined=[{"channels": "c*"}])
    log.add([0.0], c1=[1.0], c2=[2.0])
    found = log.during()
    assert found.channels == ()
    assert "2 channels are joined" in found.problem


@pytest.mark.parametrize(
    ("exposures", "words"),
    [
        ({"channels": [{"channels": ["ccd"], "spoils": ["read_noise"]}]}, "say in `why`"),
        ({"channels": [{"channels": []}]}, "must not be empty"),
        ({"margin_s": -1}, "margin_s"),
        ({"offset_s": float("nan")}, "offset_s"),
        ({"chanels": []}, "chanels"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(exposures: Any, words: str) -> None:
    with pytest.raises(BadConfig, match=words):
        tools.config((COLD,), exposures=exposures)


def test_what_nobody_measures_is_remarked() -> None:
    spoils = {"channels": [{"channels": "ccd", "spoils": ["read_nois", "dark*"], "why": "It is warm."}]}
    (remark,) = check_config(tools.config((COLD,), exposures=spoils))
    assert "'read_nois'" in remark
    assert "read_noise" in remark


def test_a_source_with_a_row_an_exposure_is_not_waited_for(tmp_path: Path) -> None:
    log = Log(tmp_path, channels=[CHANNELS[0] | {"stale_after_s": 7200}])
    log.add([-3000.0, -2000.0, -1000.0, 1.0], ccd=[-120.0] * 4)
    found = log.ccd(900.0)
    assert (found.samples, found.late, found.note) == (1, False, "")


@pytest.mark.parametrize("channels", [1, 40])
def test_a_short_excursion_is_found_among_any_number_of_samples(tmp_path: Path, channels: int) -> None:
    """Of very many samples not all are judged: those near a limit are."""
    relative = {"name": "near", "channels": "y", "kind": "relative", "reference": "base", "performance": [-1, 1]}
    flag = {"name": "flag", "channels": "z", "kind": "identity", "equals": [1]}
    quick = {"name": "quick", "channels": "w", "kind": "rate", "per_s": 60, "over_s": 20, "performance": [-1, 1]}
    joined = [*JOINED, {"channels": ["x*", "y", "z", "w"]}]
    log = Log(tmp_path, limits=[COLD, relative, flag, quick, COLD | {"channels": "x*", "name": "x"}], joined=joined)
    times, spell = np.arange(-130.0, 1801.0), slice(1130, 1136)
    ccd, flags = -120 + 0.01 * np.sin(times), np.ones(times.size)
    base, y = np.sin(times), np.sin(times)
    ccd[spell], flags[spell], y[spell] = -115.0, 0.0, 5.0
    log.add(times, ccd=ccd)
    log.add(times + 0.1, z=flags)
    log.add(times + 0.2, y=y)
    log.add(times + 0.15, base=base)
    log.add(times + 0.3, w=np.where((times > 1000) & (times < 1030), 0.1 * (times - 1000), 0))
    for i in range(channels):
        log.add(times + 0.31 + 0.001 * i, **{f"x{i}": -120 + 0.01 * np.sin(times)})
    found = {c.channel: c for c in log.during(1800.0).channels}
    assert {n: [e.limit for e in c.out] for n, c in found.items() if c.out} == {"ccd": ["cold"], "y": ["near"], "z": ["flag"], "w": ["quick"]}
    assert found["ccd"].out[0].value == -115.0
    assert found["ccd"].out[0].overlap == pytest.approx(7 / 1800, rel=0.4)
    assert "less than 1 %" in found["ccd"].out[0].text
    assert all(c.judged is True for c in found.values())


def test_what_cannot_all_be_judged_is_not_called_normal(log: Log, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.hk.thinning.MOST_ROWS", 100)
    monkeypatch.setattr("monitor.hk.thinning.MOST_NEAR", 10)
    times = np.arange(-130.0, 601.0)
    log.add(times, ccd=np.where(times % 37 < 2, -118.0, -120.0))
    assert (log.ccd(600.0).judged, log.ccd(600.0).out) == (False, ())


def test_the_value_farthest_out_is_told_and_drawn_of_very_many_samples(log: Log) -> None:
    times = np.arange(-130.0, 3601.0)
    values = np.where(times >= 0, -118.5, -120.0)
    values[1005 + 130] = -115.0
    log.add(times, ccd=values)
    found = log.ccd(3600.0)
    assert (found.out[0].value, np.nanmax(found.values)) == (-115.0, -115.0)
    assert len(found.times) < 400


def test_an_excursion_among_fill_values_has_a_value(log: Log) -> None:
    times = np.arange(-130.0, 3601.0)
    values = np.where(times < 0, -120.0, -273.15)
    values[1000 + 130 : 1008 + 130] = -115.0
    log.add(times, ccd=values)
    assert [e.value for e in log.ccd(3600.0).out] == [-115.0]


def test_what_is_within_its_hysteresis_is_not_said_to_be_beyond_its_limit(tmp_path: Path) -> None:
    log = Log(tmp_path, limits=[COLD | {"hysteresis": 0.5}])
    times = np.arange(-100.0, 61.0)
    log.add(times, ccd=np.where(times < -80, -120.0, np.where(times < -20, -115.0, -119.2)))
    (out,) = log.ccd().out
    assert "not yet back for good (-119.2 degC), all through the exposure" in out.text
    assert "above -119 degC," not in out.text


def test_a_rate_is_not_held_against_the_usual_value(tmp_path: Path) -> None:
    log = Log(tmp_path, limits=[{"name": "quick", "channels": "ccd", "kind": "rate", "per_s": 60, "over_s": 5, "performance": [-1, 1]}])
    log.steady(-3600 * 3, -1)
    log.add(np.arange(0.0, 61.0), ccd=-120 + 0.5 * np.arange(61.0))
    (out,) = log.ccd().out
    assert out.value == pytest.approx(30.0)
    assert math.isnan(out.usual)
