"""Builders: their files, checked when they are loaded, and the running of a group."""

from __future__ import annotations

import pickle
from collections.abc import Callable, Sequence
from typing import Any

import core_toys
import pytest
from conftest import LIMITS
from core_toys import Level, Offset, Ticks, Total

from quicklook.core.builder import Builder, load_builder
from quicklook.core.chain import with_overrides
from quicklook.core.contract import contract_of
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.group import GroupOutcome, GroupRunner, Member, MemberVerdict
from quicklook.core.judge import Judge
from quicklook.core.keys import PartKey, Unit
from quicklook.core.limits import load_limits
from quicklook.core.metrics import Measures, MetricDef, measured
from quicklook.core.overrides import parse_override
from quicklook.core.params import Params
from quicklook.core.plugin import MonitoringAlg, PipelineAlg
from quicklook.core.reading import Reading
from quicklook.core.status import Status
from quicklook.core.yamlsource import parse_yaml

GOOD = """
builder: offset
flavor: zero
at_least: 2
member:
  - {name: read, qas: [level_qa]}
  - {name: scale}
group:
  - {name: mean_offset, qas: [offset_qa]}
product: offset
"""


class MeanOffset(PipelineAlg[Params]):
    """The mean of the levels of a group, gone through twice, is an offset."""

    name = "mean_offset"

    def run(self, levels: Sequence[Level]) -> Offset:
        """The mean."""
        mean = sum(one.value for one in levels) / len(levels)
        assert mean == sum(one.value for one in levels) / len(levels)
        return Offset(value=mean)


class OfTotals(PipelineAlg[Params]):
    """Asks for what nobody makes."""

    name = "of_totals"

    def run(self, totals: Sequence[Total]) -> Offset:
        """Nothing."""
        return Offset(value=0.0)


class OffsetQa(MonitoringAlg[Params]):
    """Measures an offset and counts the exposures."""

    name = "offset_qa"
    metrics = (MetricDef("offset", "adu", doc="the offset"), MetricDef("used", "", doc="number of exposures"))

    def measure(self, offset: Offset, levels: Sequence[Level]) -> Measures:
        """Offset and number."""
        return Measures((measured("offset", offset.value), measured("used", len(levels))))


@pytest.fixture(autouse=True)
def group_toys(monkeypatch: pytest.MonkeyPatch, toy_registry: None) -> None:
    ours = {plugin.name: core_toys.ref("algorithm", plugin) for plugin in (MeanOffset, OfTotals)}
    registry = {
        "algorithm": {**core_toys.REGISTRY["algorithm"], **ours},
        "qa": {**core_toys.REGISTRY["qa"], "offset_qa": core_toys.ref("qa", OffsetQa)},
    }
    monkeypatch.setattr("quicklook.core.registry.registered", lambda kind: registry.get(kind, {}))


def builder_of(text: str, *overrides: str) -> Builder:
    doc = with_overrides(parse_yaml(text, "toy.yaml"), [parse_override(o) for o in overrides])
    return load_builder(doc, provides=(Level,), tag_names=("camera", "arm", "flavor", "program", "instrument", "telescope", "night"))


def member(value: float, number: int, **tags: str) -> Member:
    return Member(key=PartKey(Unit(20220101, number), "r0"), read=lambda: core_toys.reading(value, **tags), file=f"{number}.fits")


def run(members: Sequence[Member], text: str = GOOD, **more: Any) -> GroupOutcome:
    metrics = {m.name: m for qa in (*core_toys.QAS, OffsetQa) for m in qa.metrics}
    limits = LIMITS + "\n  - {metric: offset, unit: adu, normal: [0, 100], reason: as always, action: look}\n"
    judge = Judge(load_limits([parse_yaml(limits, "limits.yaml")], metrics, ("flavor",)))
    return GroupRunner(builder=builder_of(text), judge=judge, calibrations=core_toys.Index(), clock=Ticks(), **more).run(members)


# ---- files


def test_a_builder_is_loaded_and_written_out_again() -> None:
    builder = builder_of(GOOD, "scale.factor=3")
    assert (builder.name, builder.flavors, builder.at_least, builder.products) == ("offset", ("zero",), 2, (Offset,))
    again = builder_of(str(builder.expand()).replace("'", '"').replace("None", "null"))
    assert again.expand() == builder.expand()
    assert builder.expand()["member"][1]["params"]["factor"] == 3.0
    assert pickle.loads(pickle.dumps(builder)) == builder


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("flavor: zero\n", ""), "flavor"),
        (("product: offset", "product: dark"), "no step of the group makes a calibration of kind dark; they make: offset"),
        (("- {name: read, qas: [level_qa]}\n  - {name: scale}", "- {name: scale}"), "the first step reads"),
        (("name: mean_offset", "name: mean_ofset"), "did you mean 'mean_offset'"),
        (("- {name: scale}", "- {name: average}"), "average works on a group of exposures, not in the chain of one"),
        (("{name: mean_offset, qas: [offset_qa]}", "{name: again, alg: scale}"), r"toy.yaml:9.*scale needs Level \(level\), and nothing gives one"),
        (("at_least: 2", "at_least: 0"), "at_least"),
        (("name: mean_offset,", "name: scale, alg: mean_offset,"), "the name 'scale' is used twice"),
        (("qas: [offset_qa]", "qas: [{qa: level_qa, name: other}]"), r"level_qa needs Level \(level\)"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_with_its_place(change: tuple[str, str], message: str) -> None:
    assert change[0] in GOOD
    with pytest.raises(BadConfig, match=message):
        builder_of(GOOD.replace(*change))


def test_a_group_asks_only_for_what_its_exposures_have() -> None:
    assert contract_of(OfTotals).group
    with pytest.raises(BadConfig, match="of_totals needs Total .totals., and nothing gives one of each exposure; there are: Level"):
        builder_of(GOOD.replace("mean_offset", "of_totals"))


# ---- groups


def test_the_same_exposure_counts_once() -> None:
    copy = Member(key=PartKey(Unit(20220101, 10), "r0"), read=lambda: core_toys.reading(9.0), file="copy.fits")
    group = run([member(1.0, 10), copy, member(2.0, 11)])
    assert group.outcome[Offset] == Offset(value=3.0)
    assert [(m.file, m.reasons) for m in group.left_out] == [("copy.fits", ["it is the same exposure as 10.fits"])]
    alone = run([member(1.0, 10), copy])
    assert "1 of 2 are (10: it is the same exposure as 10.fits)" in alone.outcome.result.reasons[0]


@pytest.mark.parametrize(
    ("tags", "others", "why"),
    [
        ({"serial": "B", "bound_to": "serial"}, {"serial": "A", "bound_to": "serial"}, "its serial is B, that of the others A"),
        ({}, {"serial": "A", "bound_to": "serial"}, "its serial is not stated, that of the others A"),
        ({"raw_shape": "8,8"}, {"raw_shape": "8,9"}, "its size in pixels is 8,8, that of the others 8,9"),
    ],
)
def test_an_exposure_of_another_detector_is_left_out_by_name(tags: dict[str, str], others: dict[str, str], why: str) -> None:
    group = run([member(5.0, 10, **tags), member(1.0, 11, **others), member(2.0, 12, **others)])
    assert group.outcome[Offset] == Offset(value=3.0)
    assert [(m.expid, m.reasons) for m in group.left_out] == [(10, [why])]
    for name, value in others.items():
        assert group.outcome.result.tags[name] == value
    few = run([member(1.0, 10, **tags), member(2.0, 11, **others)])
    assert "1 of 2 are (11: its" in few.outcome.result.reasons[0]


def test_the_exposures_make_the_product() -> None:
    told: list[MemberVerdict] = []
    group = run([member(v, i) for i, v in enumerate((1.0, 2.0, 6.0), start=10)], told=told.append)
    assert group.outcome[Offset] == Offset(value=6.0)
    assert [m.expid for m in group.made_from] == [10, 11, 12] == [m.expid for m in told]
    result = group.outcome.result
    assert (result.status, result.expid, result.part, result.tags["flavor"]) == (Status.NORMAL, 10, "r0", "zero")
    assert {m.name: m.values for q in result.qas for m in q.metrics} == {"offset": [6.0], "used": [3.0]}


def test_an_exposure_that_is_not_in_order_is_left_out_and_named() -> None:
    members = [member(1.0, 10), member(500.0, 11), member(3.0, 12), member(2.0, 13, flavor="dark")]
    group = run(members)
    assert group.outcome[Offset] == Offset(value=4.0)
    assert [m.expid for m in group.made_from] == [10, 12]
    why = {m.expid: (m.status, m.reasons[0]) for m in group.left_out}
    assert why[11][0] is Status.ALARM
    assert "level is 500 adu, above 100" in why[11][1]
    assert why[13] == (Status.NORMAL, "its flavor is dark, not zero")


def test_a_flavor_that_is_known_beforehand_is_not_read() -> None:
    def never() -> Reading:
        raise AssertionError("it was read")

    odd = Member(key=PartKey(Unit(20220101, 9), "r0"), read=never, file="9.fits", flavor="arc")
    group = run([odd, member(1.0, 10), member(3.0, 12)])
    assert [(m.expid, m.status) for m in group.left_out] == [(9, None)]
    assert group.outcome[Offset] == Offset(value=4.0)


def test_too_few_are_no_group() -> None:
    group = run([member(1.0, 10), member(500.0, 11)])
    result = group.outcome.result
    assert Offset not in group.outcome.products
    assert result.status is Status.UNKNOWN
    message = result.steps[0].failure.message if result.steps[0].failure else ""
    assert message.startswith("offset is made from 2 good exposures (zero) at least; 1 of 2 are (11: ALARM: level is 500 adu")
    assert result.qas[0].status is Status.UNKNOWN


def test_a_reader_that_fails_leaves_one_out() -> None:
    def broken() -> Reading:
        raise BadData("it is torn")

    group = run([member(1.0, 10), Member(key=PartKey(Unit(20220101, 11), "r0"), read=broken), member(3.0, 12)])
    assert [m.expid for m in group.made_from] == [10, 12]
    assert group.left_out[0].reasons == ["UNKNOWN: step read failed: it is torn"]


def test_what_differs_between_exposures_is_no_tag_of_the_group() -> None:
    group = run([member(1.0, 10, program="calib", expid="10"), member(3.0, 12, program="calib", arm="b", expid="12")])
    tags = group.outcome.result.tags
    assert (tags["program"], tags["expid"]) == ("calib", "10")
    assert "arm" not in tags


def test_large_products_are_made_again_and_small_ones_are_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    reads: list[int] = []

    def counted(value: float, expid: int) -> Member:
        def read() -> Reading:
            reads.append(expid)
            return core_toys.reading(value)

        return Member(key=PartKey(Unit(20220101, expid), "r0"), read=read)

    members = [counted(1.0, 10), counted(2.0, 11)]
    assert run(members).outcome[Offset] == Offset(value=3.0)
    assert reads == [10, 11]
    reads.clear()
    monkeypatch.setattr("quicklook.core.group.LIGHT_BYTES", -1)
    monkeypatch.setattr("quicklook.core.group.KEPT_BYTES", -1)
    assert run(members).outcome[Offset] == Offset(value=3.0)
    assert reads == [10, 11] * 3


@pytest.mark.parametrize(("room", "reads"), [(80, 2), (79, 6)])
def test_a_group_that_fits_is_kept_as_a_whole(monkeypatch: pytest.MonkeyPatch, room: int, reads: int) -> None:
    """Two exposures of 40 bytes; the algorithm goes through them twice."""
    asked: list[int] = []

    def large(number: int) -> Member:
        def read() -> Reading:
            asked.append(number)
            return core_toys.reading(float(number))

        return Member(key=PartKey(Unit(20220101, number), "r0"), read=read)

    monkeypatch.setattr("quicklook.core.group.nbytes", lambda _product: 40)
    monkeypatch.setattr("quicklook.core.group.LIGHT_BYTES", 0)
    monkeypatch.setattr("quicklook.core.group.KEPT_BYTES", room)
    assert run([large(1), large(2)]).outcome[Offset] == Offset(value=3.0)
    assert len(asked) == reads


def test_what_fails_when_it_is_gone_through_again_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("quicklook.core.group.LIGHT_BYTES", -1)
    monkeypatch.setattr("quicklook.core.group.KEPT_BYTES", -1)
    asked = iter([False, False, True])

    def flaky() -> Reading:
        if next(asked):
            raise BadData("the disk is gone")
        return core_toys.reading(1.0)

    good = member(1.0, 10)
    group = run([good, Member(key=PartKey(Unit(20220101, 11), "r0"), read=flaky)])
    assert group.outcome.result.status is Status.UNKNOWN
    assert "exposure 20220101/00000011: step read failed when it was gone through again: the disk is gone" in group.outcome.result.reasons[0]


def test_every_status_can_be_accepted() -> None:
    text = GOOD.replace("at_least: 2", "at_least: 2\naccept: [NORMAL, WARNING, ALARM]")
    assert run([member(1.0, 10), member(500.0, 11)], text).outcome[Offset] == Offset(value=501.0)


def test_the_checksum_covers_the_steps_of_the_exposures() -> None:
    members = [member(1.0, 10), member(3.0, 12)]
    one = run(members).outcome.result.provenance.config_sha256
    other = run(members, GOOD.replace("{name: scale}", "{name: scale, params: {factor: 3}}")).outcome.result.provenance.config_sha256
    assert one != other


def test_threads_may_be_used_for_both_passes() -> None:
    from quicklook.service.calibrating.building import Prefetched

    def each(function: Callable[[Any], Any], items: Any) -> Any:
        return map(function, items)

    group = run([member(float(i), i) for i in range(1, 8)], stream=Prefetched, each=each)
    assert group.outcome[Offset] == Offset(value=8.0)




@pytest.mark.parametrize("key", ["builder", "flavor", "at_least", "accept", "lookup", "member", "group", "product", "valid_days", "surprise"])
@pytest.mark.parametrize("value", [None, 5, -1.5, "", [], {}, {"a": 1}, [None], [[]], True])
def test_whatever_stands_in_a_file_it_is_loaded_or_refused_in_words(key: str, value: object) -> None:
    doc = parse_yaml(GOOD, "toy.yaml").with_value((key,), value, "the test")
    try:
        told = load_builder(doc, provides=(Level,)).name
    except BadConfig as error:
        told = str(error)
    assert told == "offset" or told.startswith("the test: ") or "toy.yaml" in told
