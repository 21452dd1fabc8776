"""Limits: refused when they are wrong, and the most specific one wins."""

from __future__ import annotations

import math
import pickle
from collections.abc import Callable

import pytest
from core_toys import AMPS

from quicklook.ccd.tags import TAGS
from quicklook.core.errors import BadConfig
from quicklook.core.judge import Judge
from quicklook.core.limits import Limit, LimitSet, load_limits
from quicklook.core.metrics import measured
from quicklook.core.status import Status
from quicklook.core.yamlsource import parse_yaml

Limits = Callable[[str], LimitSet]
N, W, A, U = Status.NORMAL, Status.WARNING, Status.ALARM, Status.UNKNOWN


def entry(**change: str) -> str:
    fields = {"metric": "amps", "unit": "electron", "normal": "[1, 4]", "warning": "[0, 5]", "reason": "as always", "action": "look"} | change
    return "{" + ", ".join(f"{k}: {v}" for k, v in fields.items() if v) + "}"


def file(*entries: str) -> str:
    return "limits:\n" + "".join(f"  - {e}\n" for e in entries)


@pytest.mark.parametrize(
    ("value", "status"),
    [
        (1.0, N),
        (4.0, N),
        (2.0, N),
        (0.99, W),
        (4.01, W),
        (0.0, W),
        (5.0, W),
        (-0.01, A),
        (5.01, A),
        (math.nan, U),
        (math.inf, U),
        (-math.inf, U),
        (1e308, A),
    ],
)
def test_normal_warning_alarm_and_not_a_number(limits: Limits, value: float, status: Status) -> None:
    assert limits(file(entry())).limits[0].judge(value) is status


def test_without_a_warning_range_outside_of_normal_is_an_alarm(limits: Limits) -> None:
    limit = limits(file(entry(warning=""))).limits[0]
    assert [limit.judge(v) for v in (4.0, 4.1)] == [N, A]


def test_open_ends(limits: Limits) -> None:
    limit = limits(file(entry(normal="[null, 4]", warning="[null, 5]"))).limits[0]
    assert [limit.judge(v) for v in (-1e300, 4.0, 4.5, 6.0)] == [N, N, W, A]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"normal": "[4, 1]"}, r"limits.yaml:2 \(limits\[0\]\).*normal range \[4.0, 1.0\] is inside out"),
        ({"warning": "[9, -9]"}, r"warning range \[9.0, -9.0\] is inside out"),
        ({"warning": "[2, 5]"}, r"warning range \[2.0, 5.0\] must contain the normal range \[1.0, 4.0\]"),
        ({"normal": "[null, 4]"}, r"warning range \[0.0, 5.0\] must contain the normal range"),
        ({"normal": "[null, null]", "warning": ""}, "open at both ends: such a limit can never fire"),
        ({"normal": "[1]"}, r"limits.yaml:2 \(limits\[0\].normal"),
        ({"normal": "[1, 2, 3]"}, r"limits.yaml:2 \(limits\[0\].normal"),
        ({"normal": "[1, .nan]"}, r"limits.yaml:2 \(limits\[0\].normal.*finite"),
        ({"normal": "[1, .inf]"}, r"limits.yaml:2 \(limits\[0\].normal.*finite"),
        ({"normal": "[1, four]"}, r"limits.yaml:2 \(limits\[0\].normal.*must be a number"),
        ({"unit": "adu"}, r"limits.yaml:2 \(limits\[0\]\): limit of amps is in 'adu', the metric in 'electron'; write it in that unit"),
        ({"metric": "ampz"}, r"limits.yaml:2 \(limits\[0\]\): no QA measures 'ampz'"),
        ({"when": "{arn: r}"}, r"limits.yaml:2 \(limits\[0\]\): condition on arn, which is neither a tag nor a dimension of amps; known: amp, arm"),
        ({"when": "{fibre: 3}"}, "condition on fibre"),
        ({"reason": "''"}, r"limits.yaml:2 \(limits\[0\].reason"),
        ({"action": ""}, r"limits.yaml:2 \(limits\[0\].action\): is required"),
        ({"valid": "{from: 2020-13-01}"}, r"limits.yaml:2 \(limits\[0\].valid.from"),
        ({"valid": "{form: 2020-01-01}"}, r"unknown key 'form'; did you mean 'from'"),
        ({"normall": "[1, 2]"}, r"unknown key 'normall'; did you mean 'normal'"),
    ],
)
def test_a_wrong_limit_is_refused_with_its_line(limits: Limits, change: dict[str, str], message: str) -> None:
    with pytest.raises(BadConfig, match=message):
        limits(file(entry(**change)))


def test_the_line_is_that_of_the_wrong_one(limits: Limits) -> None:
    with pytest.raises(BadConfig, match=r"limits.yaml:3 \(limits\[1\]\): no QA measures 'x'"):
        limits(file(entry(), entry(metric="x"), entry()))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"valid": "{from: 2022-06-10, to: 2022-06-01}"}, "the nights are inside out: from 2022-06-10 to 2022-06-01"),
        ({"when": "{amp: []}"}, "a condition without a value never holds"),
        ({"when": "{amp: null}"}, "a condition without a value never holds"),
        ({"when": "{amp: ['']}"}, "a condition without a value never holds"),
        ({"when": "{exptime: '<abc'}"}, "'<abc' is no comparison with a number"),
        ({"when": "{exptime: ['30', '300>']}"}, "'300>' is no comparison with a number"),
        ({"when": "{exptime: '<60 >300'}"}, "no number is '<60 >300'"),
        ({"reason": "' '"}, "reason"),
        ({"action": "' '"}, "action"),
    ],
)
def test_what_can_never_hold_or_says_nothing_is_refused(limits: Limits, change: dict[str, str], said: str) -> None:
    with pytest.raises(BadConfig, match=said):
        limits(file(entry(**change)))
    assert len(limits(file(entry(valid="{from: 2022-06-01, to: 2022-06-01}"))).limits) == 1


def test_the_checksum_does_not_depend_on_the_folder_of_the_call(limits: Limits) -> None:
    here = limits(file(entry()))
    there = LimitSet(tuple(one.model_copy(update={"source": "../" + one.source}) for one in here.limits))
    assert here.limits != there.limits
    assert here.sha256 == there.sha256


def test_a_condition_on_a_number_holds_for_that_number(limits: Limits) -> None:
    for written in ("3", "3.0", "[3, 5]", "'3'"):
        limit = limits(file(entry(when=f"{{amp: {written}}}"))).limits[0]
        assert [limit.applies_at({}, {"amp": at}) for at in (3, 3.0, "3", 3.5, 4)] == [True, True, True, False, False]


def test_a_condition_on_the_exposure_time_holds_for_a_range_of_it(limits: Limits) -> None:
    short = entry(when="{flavor: science, exptime: '>=60 <300'}", normal="[1, 2]", warning="")
    found = limits(file(entry(normal="[1, 9]", warning="", when="{flavor: science}"), short))
    at = {t: chosen(found, flavor="science", exptime=t) for t in ("59.9", "60", "120.5", "300", "900")}
    assert at == {"59.9": 9, "60": 2, "120.5": 2, "300": 9, "900": 9}
    assert chosen(found, flavor="science") == 9, "the time is not known: the special limit does not hold"
    assert chosen(found, flavor="arc", exptime="120") is None


def test_a_comparison_holds_at_coordinates_too(limits: Limits) -> None:
    limit = limits(file(entry(when="{amp: '>=3'}"))).limits[0]
    assert [limit.applies_at({}, {"amp": at}) for at in (2, 3, 3.0, "4", "A")] == [False, True, True, True, False]


def chosen(found: LimitSet, amp: str = "A", **tags: str) -> float | None:
    """Upper end of the normal range of the limit that is applied."""
    at = {"amp": amp}
    limit = next((c for c in found.candidates("amps", tags) if c.applies_at(tags, at)), None)
    return None if limit is None else limit.normal[1]


def test_the_most_specific_limit_wins(limits: Limits) -> None:
    found = limits(
        file(
            entry(normal="[1, 9]", warning="", when="{flavor: zero, arm: r, amp: A}"),
            entry(normal="[1, 2]", warning=""),
            entry(normal="[1, 3]", warning="", when="{flavor: zero}"),
            entry(normal="[1, 4]", warning="", when="{amp: [A, B]}"),
            entry(normal="[1, 5]", warning="", when="{flavor: [zero, dark], arm: r}"),
        )
    )
    assert chosen(found, flavor="arc", amp="C") == 2
    assert chosen(found, flavor="zero", amp="C") == 3
    assert chosen(found, flavor="zero", amp="A") == 4  # both have one condition: the later one
    assert chosen(found, flavor="zero", arm="r", amp="B") == 5
    assert chosen(found, flavor="dark", arm="r", amp="A") == 5
    assert chosen(found, flavor="zero", arm="r", amp="A") == 9


def test_a_condition_on_a_tag_that_is_not_known_does_not_hold(limits: Limits) -> None:
    found = limits(file(entry(when="{program: dark}")))
    assert chosen(found, program="dark") == 4
    assert chosen(found, program="bright") is None
    assert chosen(found) is None


def test_conditions_are_compared_as_text(limits: Limits) -> None:
    found = limits(file(entry(when="{night: 20220101}")))
    assert chosen(found, night="20220101") == 4
    assert found.candidates("amps", {"night": "20220101"})[0].applies_at({"night": "20220101"}, {"amp": 1})


@pytest.mark.parametrize(
    ("valid", "night", "holds"),
    [
        ("{from: 2022-01-01}", "20220101", True),
        ("{from: 2022-01-02}", "20220101", False),
        ("{to: 2022-01-01}", "20220101", True),
        ("{to: 2021-12-31}", "20220101", False),
        ("{from: 2021-01-01, to: 2023-01-01}", "20220101", True),
        ("{from: 2021-01-01}", "", False),
        ("{from: 2021-01-01}", "tonight", False),
        ("{from: 2021-01-01}", "20221301", False),
        ("{}", "", True),
    ],
)
def test_a_limit_holds_in_its_nights(limits: Limits, valid: str, night: str, holds: bool) -> None:
    assert (chosen(limits(file(entry(valid=valid))), night=night) == 4) is holds


def test_a_new_range_from_a_night_on(limits: Limits) -> None:
    found = limits(file(entry(normal="[1, 3]", warning="", valid="{to: 2021-12-31}"), entry(normal="[1, 4]", warning="", valid="{from: 2022-01-01}")))
    assert [chosen(found, night=n) for n in ("20211231", "20220101")] == [3, 4]


def test_a_limit_says_where_it_is_written(limits: Limits) -> None:
    found = limits(file(entry(), entry(when="{amp: A}")))
    assert [one.source for one in found.limits] == ["limits.yaml:2", "limits.yaml:3"]
    assert found.limits[1].used().model_dump() == {
        "normal": (1.0, 4.0),
        "warning": (0.0, 5.0),
        "when": {"amp": ["A"]},
        "valid_from": "",
        "valid_to": "",
        "others": [],
        "reason": "as always",
        "action": "look",
        "source": "limits.yaml:3",
    }


def test_the_checksum_tells_sets_apart(limits: Limits) -> None:
    assert limits(file(entry())).sha256 == limits(file(entry())).sha256
    assert limits(file(entry())).sha256 != limits(file(entry(normal="[1, 3.9]"))).sha256


def test_limits_are_frozen() -> None:
    limit = Limit(metric="a", unit="", normal=(0, 1), reason="r", action="a")
    with pytest.raises(ValueError, match="frozen"):
        limit.metric = "b"  # type: ignore[misc]


def test_nights_are_a_condition_as_any_other(limits: Limits) -> None:
    """A limit for some nights goes before the one for all, wherever it is written."""
    found = limits(file(entry(normal="[1, 3]", warning="", valid="{from: 2022-01-01, to: 2022-01-31}"), entry(normal="[1, 4]", warning="")))
    assert [chosen(found, night=n) for n in ("20211231", "20220110", "20220201")] == [4, 3, 4]
    with_flavor = limits(file(entry(normal="[1, 5]", warning="", when="{flavor: zero, arm: r}"), *[entry(normal="[1, 3]", valid="{from: 2022-01-01}")]))
    assert chosen(with_flavor, night="20220110", flavor="zero", arm="r") == 5


@pytest.mark.parametrize("name", ["flavor", "program", "arm", "camera", "test", "night"])
def test_each_tag_is_a_condition(name: str) -> None:
    documents = [parse_yaml(file(entry(normal="[1, 3]", warning="", when=f"{{{name}: [one, two]}}"), entry(normal="[1, 4]", warning="")), "limits.yaml")]
    found = load_limits(documents, {"amps": AMPS}, TAGS)
    assert [chosen(found, **{name: value}) for value in ("one", "two", "three")] == [3, 3, 4]
    assert chosen(found) == 4


def test_the_winner_names_the_others(limits: Limits) -> None:
    text = file(entry(), entry(when="{flavor: zero}"), entry(when="{flavor: dark}"), entry(when="{flavor: zero, amp: B}"), entry(when="{amp: A}"))
    result = Judge(limits(text)).metric(AMPS, measured("amps", [1.0, 2.0, 3.0], amp=("A", "B", "C")), {"flavor": "zero"})
    shown = [(used.source, used.others) for used in result.limits]
    assert shown == [
        ("limits.yaml:6", ["limits.yaml:3", "limits.yaml:2"]),
        ("limits.yaml:5", ["limits.yaml:3", "limits.yaml:2"]),
        ("limits.yaml:3", ["limits.yaml:2"]),
    ]
    absent = Judge(limits(text)).metric(AMPS, None, {"flavor": "zero"})
    assert absent.deciding is not None
    assert (absent.deciding.source, absent.deciding.others) == ("limits.yaml:5", ["limits.yaml:6", "limits.yaml:3", "limits.yaml:2"])


def test_limits_laid_over_others(limits: Limits) -> None:
    both = limits(file(entry(normal="[1, 3]", warning=""))).with_more(limits(file(entry(normal="[1, 4]", warning=""))))
    assert chosen(both) == 4
    assert both.of("nothing") == ()
    assert both.sha256 not in {limits(file(entry())).sha256, LimitSet().sha256}
    assert pickle.loads(pickle.dumps(both)) == both
