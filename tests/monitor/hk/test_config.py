"""Configurations: what is refused, with its line, and those that are shipped."""

from __future__ import annotations

import pytest
from hk_tools import WHY, config

from monitor.hk.loading import load_hk
from monitor.hk.monitor import HkMonitor
from monitor.hk.names import matched, select
from quicklook.core.errors import BadConfig
from quicklook.core.housekeeping_watch import hk_monitor
from quicklook.core.yamlsource import parse_yaml
from quicklook.io.configfiles import find_config, list_configs

HEAD = "sources:\n  s: {plugin: text}\nlimits:\n  - name: a\n    channels: t\n    reason: r\n    action: d\n"


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ("    performance: [3, 1]", r"x.yaml:8 .*inside out"),
        ("    performance: [null, null]", "open at both ends"),
        ("    survival: [0, 1]\n    performance: [-1, 2]", "must contain the performance range"),
        ("    performance: [0, 1]\n    hysteresis: 0.5", "leaves nothing"),
        ("    performance: [0, 1]\n    persistence: {count: 4, of: 3}", "4 of 3 samples can never be"),
        ("    performance: [0, 1]\n    states: cold", r"no state is called 'cold'"),
        ("    performance: [0, 1]\n    perfomance: [0, 1]", "unknown key 'perfomance'"),
        ("    kind: identity", "`equals` belongs"),
        ("    kind: relative\n    performance: [0, 1]", "`reference` belongs"),
        ("    unit: V", "it can never fire"),
        ("    kind: identity\n    equals: [on]\n    mask: 3", "a mask compares bits"),
        ("    performance: [0, 1]\n  - {name: a, channels: u, performance: [0, 1], reason: r, action: d}", "'a' is there twice"),
        ("    performance: [0, 1]\n    unit: V\nchannels:\n  - {name: t, unit: degC}", "the limit is in 'V', channel t in 'degC'"),
        ("    performance: [0, 1]\nchannels:\n  - {name: u, aliases: [x]}\n  - {name: v, aliases: [x]}", "'x' is an alias of 'u' and of 'v'"),
        ("    performance: [0, 1]\nchannels:\n  - {name: 'u*', aliases: [x]}", "aliases belong to one channel"),
        ("    performance: [0, 1]\nstates:\n  - {name: cold, when: {t: '<a'}}", "is no comparison"),
    ],
)
def test_what_can_never_work_is_refused(lines: str, said: str) -> None:
    with pytest.raises(BadConfig, match=said):
        load_hk(parse_yaml(HEAD + lines + "\n", "x.yaml"))


@pytest.mark.parametrize("name", list_configs("hk"))
def test_the_shipped_configurations_are_in_order(name: str) -> None:
    assert hk_monitor().check(find_config("hk", name)) == ()


def test_a_later_channel_is_laid_over_an_earlier_one() -> None:
    made = config(channels=[{"name": "t*", "unit": "K", "plausible": [0, 9]}, {"name": "t1", "plausible": [0, 5]}])
    assert (made.facts("t1").unit, made.facts("t1").high, made.facts("t2").high) == ("K", 5, 9)


def test_remarks() -> None:
    limit = {"name": "a", "channels": "t", "kind": "relative", "reference": "nobody", "performance": [0, 1], **WHY}
    assert "nobody" in HkMonitor().check(config([limit]).document)[0]


def test_patterns() -> None:
    assert matched("OD_*_x", "OD_12_x") == "12"
    assert matched("a?", "ab") == "b"
    assert matched("a+b", "a+b") == "a+b"
    assert matched("a*", "ba") is None
    assert select(["b", "a*"], ["a1", "b", "a2"]) == ["b", "a1", "a2"]
