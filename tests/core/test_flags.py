"""Flags: raised, clear, or not known."""

from __future__ import annotations

import pytest

from quicklook.core.errors import BadConfig
from quicklook.core.flags import Facts, Flags, Found, load_flags
from quicklook.core.metrics import MetricDef
from quicklook.core.status import Status
from quicklook.core.yamlsource import parse_yaml
from quicklook.io.configfiles import find_config
from quicklook.service.site import declared_metrics

METRICS = {"read_noise": MetricDef("read_noise", "electron", dims=("amp",), doc="Noise.")}
TEXT = """\
flags:
  - {name: MISSDATA, doc: gone, condition: missing > 0 or timed_out = 1, status: ALARM}
  - {name: RON_OOL, doc: noise, metric: "read_*", at: [WARNING, ALARM]}
  - {name: CCDTEMP_OOL, doc: warm, fact: temperature_c}
  - {name: WRONGTEST, doc: other, condition: mismatches > 0}
"""
OF_THE_TEST_BENCH = [
    "MISSDATA", "POORQUALDATA", "BADDATA", "WRONGTEST", "HK_OOL", "CCDTEMP_OOL", "RON_OOL", "FLUENCE_OOL", "FLUENCEGRAD_OOL", "FOCUS_OOL", "BGD_OOL",
    "FLUX_OOL", "CCDSATUR", "STARS_MISSING", "DEADCCD", "DEADQUAD", "LOWMEMORY", "TOOSLOW", "SUBTASKCRASH", "REQNOTMET",
]  # fmt: skip


def flags(text: str = TEXT) -> Flags:
    return load_flags([parse_yaml(text, "f.yaml")], METRICS)


def test_nothing_that_was_not_measured_is_clear() -> None:
    said = flags().say(Facts())
    assert (said.raised, said.clear) == ([], [])
    assert said.not_known == ["MISSDATA", "RON_OOL", "CCDTEMP_OOL", "WRONGTEST"]


def test_what_was_measured_and_is_in_order_is_clear() -> None:
    noise = Found(metric="read_noise", where="1 a", status=Status.NORMAL)
    said = flags().say(Facts(numbers={"found": 3, "missing": 0, "timed_out": 0}, metrics=[noise], checked=["temperature_c"]))
    assert (said.raised, said.not_known) == ([], [])


def test_what_raises_them() -> None:
    noise = [Found(metric="read_noise", where=f"{n} a", status=Status.WARNING, reason="read_noise is 7") for n in range(5)]
    odd = {"temperature_c": ["a: temperature_c is -100"], "serial": ["a: serial is B"]}
    said = flags().say(Facts(numbers={"found": 3, "missing": 1, "timed_out": 1}, metrics=noise, mismatches=odd, checked=["temperature_c", "serial"]))
    why = {r.name: r.why for r in said.raised}
    assert list(why) == ["MISSDATA", "RON_OOL", "CCDTEMP_OOL", "WRONGTEST"]
    assert why["MISSDATA"] == "missing 1, timed_out 1"
    assert why["RON_OOL"].endswith("; and 2 more")
    assert why["CCDTEMP_OOL"] == "a: temperature_c is -100"
    assert why["WRONGTEST"] == "mismatches 1; a: serial is B"  # the temperature has a flag of its own
    assert {r.name: r.status for r in said.raised}["MISSDATA"] is Status.ALARM


def test_a_metric_that_was_not_measured_leaves_its_flag_open() -> None:
    said = flags().say(Facts(metrics=[Found(metric="read_noise", where="1 a", status=Status.UNKNOWN)]))
    assert "RON_OOL" in said.not_known


@pytest.mark.parametrize(
    ("old", "new", "why"),
    [
        ('"read_*"', "no_such", r"f.yaml:3 \(flags\[1\].metric\): no QA measures 'no_such'"),
        ("missing > 0 or", "mising > 0 or", r"f.yaml:2 .*there is no fact 'mising'; did you mean missing"),
        ("fact: temperature_c", "doc: x", "doc"),
        ("fact: temperature_c", "fact: temperature_c, condition: missing > 0", "say one of metric, fact, condition"),
        ("name: RON_OOL", "name: ron", "name"),
    ],
)
def test_what_is_wrong_is_shown_with_its_place(old: str, new: str, why: str) -> None:
    with pytest.raises(BadConfig, match=why):
        flags(TEXT.replace(old, new))


def test_those_of_the_test_bench_ship() -> None:
    shipped = load_flags([find_config("flags", "default")], declared_metrics())
    assert [f.name for f in shipped.flags] == OF_THE_TEST_BENCH


def test_what_does_not_apply_is_told_apart_from_what_is_not_known() -> None:
    text = "flags:\n  - {name: STARS, doc: gone, condition: stars_missing > 0}\n  - {name: HK, doc: warm, condition: hk_out > 0}\n"
    facts = Facts(not_applicable={"stars_missing": "no QA looks for them"}, unknown={"hk_out": "nobody checks"})
    said = flags(text).say(facts)
    assert (said.not_applicable, said.not_known) == (["STARS"], ["HK"])
    assert said.with_why([*said.not_applicable, *said.not_known, "X"]) == ["STARS (no QA looks for them)", "HK (nobody checks)", "X"]


def test_what_was_found_stands_behind_the_number_that_raises_a_flag() -> None:
    text = "flags:\n  - {name: FLUX, doc: dim, condition: flux_out > 0}\n"
    said = flags(text).say(Facts(numbers={"flux_out": 1}, told={"flux_out": ["20220101/00000001 a: image_level is 5, the session says 9 to 11"]}))
    assert said.raised[0].why == "flux_out 1; 20220101/00000001 a: image_level is 5, the session says 9 to 11"
