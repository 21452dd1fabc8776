"""A QA may ask which calibrations a part was processed with, and which it went without."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from core_toys import REGISTRY, Index, Offset, ref

from quicklook.core.calibration import CalibrationsUsed
from quicklook.core.metrics import Measures, MetricDef, measured
from quicklook.core.plugin import MonitoringAlg, NoParams
from quicklook.core.runner import Outcome

Run = Callable[..., Outcome]


class Seen(MonitoringAlg[NoParams]):
    """Counts calibrations."""

    name = "seen"
    metrics = (MetricDef("seen_used", "", doc="used"), MetricDef("seen_absent", "", doc="absent"))

    def measure(self, calibrations: CalibrationsUsed) -> Measures:
        """The numbers."""
        facts = {kind: absence.what_next for kind, absence in calibrations.absent.items()}
        counts = (measured("seen_used", len(calibrations.used)), measured("seen_absent", len(calibrations.absent)))
        return Measures(counts, facts={**facts, **{u.kind: u.source for u in calibrations.used}})


@pytest.fixture(autouse=True)
def seen_is_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(REGISTRY["qa"], "seen", ref("qa", Seen))


def facts(outcome: Outcome) -> dict[str, Any]:
    found = next(q for q in outcome.result.qas if q.name == "seen")
    assert found.failure is None, found.failure
    return {**found.facts, **{m.name: m.values for m in found.metrics}}


def test_what_was_used_and_what_was_not_there(run: Run) -> None:
    text = "chain: a\nsteps: [{name: read, qas: [{qa: seen, name: seen}]}, {name: sum}]\n"
    assert facts(run(text)) == {"seen_used": [0.0], "seen_absent": [0.0]}, "before anything was asked for"
    text = "chain: a\nsteps: [{name: read}, {name: sum, qas: [seen]}]\n"
    assert facts(run(text)) == {"seen_used": [0.0], "seen_absent": [1.0], "offset": "`make offset` makes one"}
    there = run(text, calibrations=Index(offset=Offset(value=1.0)))
    assert facts(there) == {"seen_used": [1.0], "seen_absent": [0.0], "offset": "calib/offset.fits"}


def test_one_that_a_step_has_made_is_none_of_the_index(run: Run) -> None:
    text = "chain: a\nsteps: [{name: read}, {name: makes_offset}, {name: sum, qas: [seen]}]\n"
    assert facts(run(text)) == {"seen_used": [0.0], "seen_absent": [0.0]}
