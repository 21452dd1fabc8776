"""The light of the exposures of a test: against the session, else against limits; unknown and not applicable told apart."""

from __future__ import annotations

import dataclasses
from types import SimpleNamespace
from typing import Any

import pytest

from quicklook.core.flags import Found
from quicklook.core.results import MetricResult
from quicklook.core.session import Expect
from quicklook.core.status import Status
from quicklook.service.sessions.testlight import light_facts
from quicklook.service.sessions.testruns import Taken
from quicklook.service.sessions.testwork import Digest

LEVEL = MetricResult(name="image_level", unit="electron", values=[100.0, 120.0], coords={"amp": ["A", "B"]}, statuses=[None, None], status=None)


def work(*expect: Expect, metrics: tuple[str, ...] = ()) -> Any:
    return SimpleNamespace(test=SimpleNamespace(expect=expect), metrics=dict.fromkeys(metrics))


def taken(flavor: str = "flat") -> Taken:
    return Taken(unit="20220101/00000001", slot=0, tags={"flavor": flavor}, files={"a": "f"})


def digest(*metrics: MetricResult, found: tuple[Found, ...] = ()) -> dict[str, list[Digest]]:
    of = {m.name: m for m in metrics}
    return {"20220101/00000001": [Digest(part="a", status=Status.NORMAL, tags={}, found=found, metrics=of)]}


@pytest.mark.parametrize(("span", "off"), [((90, 130), 0), ((90, 110), 1), ((130, 200), 1)])
def test_levels_are_compared_value_by_value(span: tuple[float, float], off: int) -> None:
    facts = light_facts(work(Expect(count=1, levels={"image_level": span})), [taken()], digest(LEVEL))
    assert facts.numbers["flux_out"] == off
    assert len(facts.told["flux_out"]) == off


def test_the_sentence_names_exposure_camera_value_and_range() -> None:
    facts = light_facts(work(Expect(count=1, levels={"image_level": (90, 110)})), [taken()], digest(LEVEL))
    assert facts.told["flux_out"] == ["20220101/00000001 a: image_level is 120, the session says 90 to 110"]


def test_a_level_that_was_not_measured_is_not_known() -> None:
    lost = LEVEL.model_copy(update={"values": [None, None]})
    for given in ((), (lost,)):
        facts = light_facts(work(Expect(count=1, levels={"image_level": (0, 1e9)})), [taken()], digest(*given))
        assert "flux_out" not in facts.numbers
        assert "flux_out" in facts.unknown


def test_without_levels_the_limits_of_fluences_tell_and_without_flats_it_does_not_apply() -> None:
    low = Found(metric="flat_level", where="1 a", status=Status.ALARM, reason="flat_level is 0.2")
    assert light_facts(work(Expect(count=1)), [taken()], digest(found=(low,))).numbers["flux_out"] == 1
    assert light_facts(work(Expect(count=1)), [taken()], digest(found=(dataclasses.replace(low, status=Status.NORMAL),))).numbers["flux_out"] == 0
    assert "flux_out" in light_facts(work(Expect(count=1)), [taken()], digest()).unknown
    assert "flux_out" in light_facts(work(Expect(count=1)), [taken("zero")], digest()).not_applicable


def test_point_sources_are_counted_where_a_qa_looks_for_them() -> None:
    missing = MetricResult(name="stars_missing", unit="", values=[3.0], coords={}, statuses=[None], status=None)
    expect = Expect(count=1)
    assert light_facts(work(expect), [taken()], digest()).not_applicable["stars_missing"] == "no QA looks for point sources"
    assert light_facts(work(expect, metrics=("stars_missing",)), [taken()], digest(missing)).numbers["stars_missing"] == 3
    assert "stars_missing" in light_facts(work(expect, metrics=("stars_missing",)), [taken()], digest()).unknown
