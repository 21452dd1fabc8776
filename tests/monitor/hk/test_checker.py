"""The checker: what it says of values, of data that are not there, and of the state of the instrument."""

from __future__ import annotations

import numpy as np
import pytest
from hk_tools import batch, config, fed, story
from hypothesis import given, settings
from hypothesis import strategies as st

from monitor.hk.checker import Checker
from quicklook.core.housekeeping import HkState
from quicklook.core.severity import Severity

TEMP = {"name": "temp", "channels": "t", "unit": "degC", "performance": [-121, -119], "survival": [-133, 35]}


def test_both_sets_and_the_direction() -> None:
    limit = {**TEMP, "survival": {"range": [-133, 35], "low": "ALARM", "high": "CRITICAL"}}
    changes = fed(Checker(config([limit]), 0.0), [1, 2, 3, 4, 5], t=[-120, -118, 40, -140, -120])
    said = [(c.state, c.severity, c.direction, c.level, c.bound) for c in changes if c.subject == "t/temp"]
    assert said == [
        (HkState.NORMAL, Severity.NONE, "", "", None),
        (HkState.VIOLATING, Severity.WARNING, "high", "performance", -119),
        (HkState.VIOLATING, Severity.CRITICAL, "high", "survival", 35),
        (HkState.VIOLATING, Severity.ALARM, "low", "survival", -133),
        (HkState.NORMAL, Severity.NONE, "", "", None),
    ]
    assert changes[1].value == -118
    assert changes[1].reason == "It matters."


@pytest.mark.parametrize("fill", [1e20, float(np.float32(1e20)), 999999.0, -273.15, np.nan, np.inf, -np.inf])
def test_a_fill_value_is_no_temperature(fill: float) -> None:
    checker = Checker(config([TEMP]), 0.0)
    changes = fed(checker, [1, 2, 3], t=[-120, fill, fill])
    assert story(changes, "t/temp") == ["NORMAL"]
    changes = [c for n in range(4, 400, 10) for c in fed(checker, [n], t=[fill])]
    assert story(changes, "t/data") == ["STALE"]
    assert story(changes, "t/temp") == ["STALE"]
    assert checker.counts()["t"] == "STALE"


def test_what_is_not_plausible_is_stale_and_no_violation() -> None:
    channels = [{"name": "t", "plausible": [-200, 100], "invalid_rows": 3}]
    changes = fed(Checker(config([TEMP], channels=channels), 0.0), [1, 2, 3, 4, 5], t=[-120, -246, -246, -246, -120])
    assert story(changes, "t/data") == ["STALE", "NORMAL"]
    assert "VIOLATING" not in story(changes, "t/temp")
    assert "-246 is not plausible" in next(c.text for c in changes if c.subject == "t/data")


def test_a_channel_that_never_comes_is_stale_and_never_normal() -> None:
    checker = Checker(config([TEMP]), 0.0)
    assert checker.counts()["t"] == "UNKNOWN"
    changes = [*checker.feed(batch([1], x=[0])), *checker.tick(100)]
    assert not changes
    for t in range(100, 400, 50):
        changes += [*checker.feed(batch([t], x=[0])), *checker.tick(t)]
    stale = next(c for c in changes if c.subject == "t/data")
    assert stale.told
    assert stale.since == 1.0  # since its source spoke first
    assert checker.counts()["t"] == "STALE"


def test_a_silent_source_is_one_message() -> None:
    limits = [{**TEMP, "channels": f"t{i}", "name": f"l{i}"} for i in range(30)]
    checker = Checker(config(limits), 0.0)
    names = {f"t{i}": [-120] for i in range(30)}
    checker.feed(batch([1], **names))
    changes = [c for t in range(10, 1000, 10) for c in checker.tick(t)]
    assert [c.subject for c in changes if c.told] == ["source:s"]
    assert {c.cause for c in changes if c.subject.endswith("/data")} == {"source:s"}
    assert set(checker.counts().values()) == {"STALE"}
    back = [*checker.feed(batch([1000], t0=[-120])), *checker.tick(1000)]
    assert not [c for c in back if c.told]
    late = [c for t in range(1001, 1400, 20) for c in [*checker.feed(batch([t], t0=[-120])), *checker.tick(t)]]
    # the source speaks again for longer than a channel may take: now each that is missing is told by itself
    assert len([c for c in late if c.told]) == 29


def test_a_frozen_sensor_is_stale() -> None:
    checker = Checker(config([TEMP], channels=[{"name": "t", "frozen_after_s": 100}]), 0.0)
    times = list(range(1, 300, 10))
    changes = fed(checker, times, t=[-120.0] * len(times))
    assert story(changes, "t/data") == ["STALE"]
    assert "does not change" in next(c.text for c in changes if c.subject == "t/data")
    assert story(fed(checker, [301], t=[-120.01]), "t/data") == ["NORMAL"]


def test_a_gap_is_no_frozen_sensor() -> None:
    checker = Checker(config([TEMP], channels=[{"name": "t", "frozen_after_s": 5000, "stale_after_s": 100}]), 0.0)
    assert "does not change" not in " ".join(c.text for c in fed(checker, [1, 2, 50000], t=[-120, -120, -120]))


def test_relative_to_a_channel_and_to_a_number() -> None:
    limits = [
        {"name": "od", "channels": "od_*", "kind": "relative", "reference": "cmd_{name}", "performance": [-0.2, 0.2]},
        {"name": "set", "channels": "f", "kind": "relative", "reference": -10, "performance": [-1, 1]},
    ]
    checker = Checker(config(limits), 0.0)
    changes = fed(checker, [1, 2, 3], od_1=[26.1, 26.3, 20.1], cmd_1=[26, 26, 20], f=[-10, -12, -10.5])
    assert story(changes, "od_1/od") == ["NORMAL", "VIOLATING", "NORMAL"]
    assert story(changes, "f/set") == ["NORMAL", "VIOLATING", "NORMAL"]
    high = next(c for c in changes if c.subject == "od_1/od" and c.state == "VIOLATING")
    assert (high.reference, high.bound, high.direction) == (26, 26.2, "high")


def test_relative_without_its_reference_is_unknown() -> None:
    checker = Checker(config([{"name": "od", "channels": "a", "kind": "relative", "reference": "b", "performance": [-1, 1]}]), 0.0)
    assert story(fed(checker, [1, 2], a=[26, 26]), "a/od") == []
    assert checker.counts()["a"] == "UNKNOWN"
    fed(checker, [3], a=[26.0], b=[26.0])
    assert checker.counts()["a"] == "NORMAL"
    changes = fed(checker, [300, 340, 380], a=[26, 26, 26])
    assert story(changes, "a/od") == ["UNKNOWN"]


def test_identity_flag_word_and_set_of_states() -> None:
    limits = [
        {"name": "flag", "channels": "f", "kind": "identity", "equals": 1},
        {"name": "word", "channels": "w", "kind": "identity", "equals": 0x0A, "mask": 0x0F, "severity": "CRITICAL"},
        {"name": "cover", "channels": "c", "kind": "identity", "equals": ["open", "opening"]},
    ]
    checker = Checker(config(limits), 0.0)
    out = []
    for t, (f, w, c) in enumerate([(1, 0xFA, "Open"), (0, 0x3B, "opening"), (1, 0x0A, "jammed")]):
        out += checker.feed(batch([t + 1], f=[f], w=[w], texts={"c": [c]}))
    assert story(out, "f/flag") == ["NORMAL", "VIOLATING", "NORMAL"]
    assert story(out, "w/word") == ["NORMAL", "VIOLATING", "NORMAL"]
    assert story(out, "c/cover") == ["NORMAL", "VIOLATING"]
    assert out[-1].text == "it is 'jammed', to be 'open' or 'opening'"
    assert next(c.severity for c in out if c.subject == "w/word" and c.state == "VIOLATING") is Severity.CRITICAL


def test_rate_over_its_time_and_not_over_a_gap() -> None:
    limit = {"name": "rate", "channels": "t", "kind": "rate", "over_s": 60, "gap_s": 200, "per_s": 3600, "performance": [-5, 5]}
    times = list(range(0, 600, 10))
    slow = fed(Checker(config([limit]), -1.0), times, t=[4 * t / 3600 for t in times])
    fast = fed(Checker(config([limit]), -1.0), times, t=[-6 * t / 3600 for t in times])
    assert story(slow, "t/rate") == ["NORMAL"]
    assert story(fast, "t/rate") == ["VIOLATING"]
    assert fast[0].value == pytest.approx(-6)
    assert fast[0].direction == "low"
    assert story(fed(Checker(config([limit]), -1.0), [0, 250], t=[0, 100]), "t/rate") == []


def test_limits_follow_the_state_of_the_instrument() -> None:
    states = [{"name": "cold", "when": {"t": "<-100"}}, {"name": "warm", "when": {"t": ">=-100"}}]
    limits = [{**TEMP, "states": "cold", "survival": None}, {**TEMP, "name": "always", "performance": None}]
    checker = Checker(config(limits, states=states), 0.0)
    assert checker.instrument.now == "unknown"
    changes = fed(checker, [1, 2, 3, 4], t=[-120, -110, 20, -120])
    assert story(changes, "t/temp") == ["NORMAL", "VIOLATING", "OFF", "UNKNOWN", "NORMAL"]
    assert story(changes, "t/always") == ["NORMAL"]


def test_a_state_holds_only_after_its_time() -> None:
    states = [{"name": "on", "when": {"p": ">1"}, "after_s": 30}, {"name": "off", "when": {"p": "<=1"}}]
    checker = Checker(config([], states=states), 0.0)
    seen = []
    for t in range(0, 100, 10):
        fed(checker, [t + 1], p=[5.0 if t >= 40 else 0.0])
        seen.append(checker.instrument.now)
    assert seen == ["off"] * 7 + ["on"] * 3


def test_without_the_channels_that_tell_it_the_state_is_unknown_and_so_are_its_limits() -> None:
    states = [{"name": "cold", "when": {"c": "<-100"}}]
    checker = Checker(config([{**TEMP, "states": "cold"}], states=states), 0.0)
    fed(checker, [1, 2], t=[50, 50])
    assert checker.counts()["t"] == "UNKNOWN"


def test_a_violation_outlasts_a_gap_in_its_data() -> None:
    checker = Checker(config([{**TEMP, "persistence": {"count": 2, "of": 3, "clear": 3}}]), 0.0)
    fed(checker, [1, 2, 3], t=[50, 50, 50])
    gap = [c for t in range(10, 2000, 50) for c in [*checker.feed(batch([t], other=[1])), *checker.tick(t)]]
    assert story(gap, "t/temp") == []
    assert story(gap, "t/data") == ["STALE"]
    assert story(fed(checker, [2000, 2001], t=[-120, -120]), "t/temp") == []
    assert story(fed(checker, [2002], t=[-120]), "t/temp") == ["NORMAL"]


def test_late_samples_are_passed_over() -> None:
    checker = Checker(config([TEMP]), 0.0)
    found = [c for time, value in ((10, -120), (5, 50), (10, 50)) for c in (*checker.feed(batch([time], t=[value])), *checker.tick(10.0))]
    assert story(found, "t/temp") == ["NORMAL"]


def test_aliases_patterns_and_columns_that_come_and_go() -> None:
    channels = [{"name": "t", "aliases": ["Temp A"]}]
    checker = Checker(config([{**TEMP, "channels": ["t", "u*"], "but": "ux"}], channels=channels), 0.0)
    out = [*checker.feed(batch([1], **{" Temp A  ": [50]})), *checker.feed(batch([2], u1=[50], ux=[50], t=[-120]))]
    assert [c.subject for c in out if c.state == "VIOLATING"] == ["t/temp", "u1/temp"]
    assert story(out, "t/temp") == ["VIOLATING", "NORMAL"]


@given(
    values=st.lists(st.sampled_from([-120.0, -118.0, 50.0, 1e20, np.nan, -273.15]), min_size=1, max_size=40),
    steps=st.lists(st.sampled_from([1.0, 10.0, 400.0]), min_size=40, max_size=40),
)
@settings(max_examples=60, deadline=None)
def test_nothing_is_lost_doubled_or_normal_without_data(values: list[float], steps: list[float]) -> None:
    limit = {**TEMP, "persistence": {"count": 2, "of": 3, "clear": 2}}
    checker, batched = Checker(config([limit]), 0.0), Checker(config([limit]), 0.0)
    times = np.cumsum(steps)[: len(values)].tolist()
    changes = fed(checker, times, t=values)
    told: dict[str, HkState] = {}
    for c in changes:
        # each change is one: what was told before is what it says was before (or another level of a violation)
        assert c.state != told.get(c.subject) or c.state in (HkState.VIOLATING, HkState.STALE)
        told[c.subject] = c.state
        if c.subject == "t/temp" and c.state is HkState.NORMAL:
            valid_at = max((t for t, v in zip(times, values, strict=True) if v in (-120.0, -118.0, 50.0) and t <= c.time), default=-np.inf)
            assert c.time - valid_at <= 300
    if checker.counts()["t"] == "NORMAL":
        assert any(v in (-120.0, -118.0, 50.0) and times[-1] - t <= 300 for t, v in zip(times, values, strict=True))
    # the same samples in one batch lead to the same violations, as long as nothing is stale between
    if max(steps[: len(values)]) < 300:
        batched.feed(batch(times, t=values))
        np.testing.assert_array_equal(batched.limits.edges.violated, checker.limits.edges.violated)


def test_words_and_channels_without_end_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("monitor.hk.checker.MOST_CHANNELS", 50)
    monkeypatch.setattr("monitor.hk.checker.MOST_WORDS", 20)
    checker = Checker(config([TEMP]), 0.0)
    for i in range(200):
        checker.feed(batch([i + 1.0], **{f"n{i}": [1.0]}, texts={"w": [f"word {i}"]}))
    assert len(checker.names) <= 50
    assert len(checker.words) <= 21
