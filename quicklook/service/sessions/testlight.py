"""The light of the exposures of a test against what the session expects, and point sources: the facts of FLUX_OOL and STARS_MISSING."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from quicklook.core.results import MetricResult
from quicklook.core.session import words_of
from quicklook.core.status import Status
from quicklook.service.sessions.testruns import Taken
from quicklook.service.sessions.testwork import Digest, Work

STARS = "stars_missing"
"""Metric of a QA that looks for point sources: how many of those that should be in the exposure are not."""
_FLUX = "flux_out"
_LIT = ("flat",)
"""Flavors whose light is known beforehand."""
_FLUENCE = ("flat_level", "flat_light", "image_level", "lamp_continuum")
"""Metrics of that light."""
_MOST = 3


@dataclass(slots=True, kw_only=True)
class LightFacts:
    """By name of a fact: its number, sentences on it, why it does not apply, why it is not known."""

    numbers: dict[str, float] = field(default_factory=dict)
    told: dict[str, list[str]] = field(default_factory=dict)
    not_applicable: dict[str, str] = field(default_factory=dict)
    unknown: dict[str, str] = field(default_factory=dict)

    def plain(self) -> dict[str, Any]:
        """As it is stored with a sub-task."""
        return asdict(self)


def level_metrics(work: Work) -> set[str]:
    """Metrics that are asked for here."""
    return {STARS, *(name for e in work.test.expect for name in e.levels)}


def light_facts(work: Work, taken: Sequence[Taken], by_unit: Mapping[str, Sequence[Digest]]) -> LightFacts:
    """Of the exposures of a test, with the digests of their cameras."""
    facts = LightFacts()
    if any(e.levels for e in work.test.expect):
        _expected(work, taken, by_unit, facts)
    else:
        _by_limits(taken, by_unit, facts)
    _stars(work, taken, by_unit, facts)
    return facts


def _expected(work: Work, taken: Sequence[Taken], by_unit: Mapping[str, Sequence[Digest]], facts: LightFacts) -> None:
    """Against the levels of the session: an exposure of which one was not measured is not counted, and leaves the rest to tell."""
    seen, wrong = False, list[str]()
    for one in taken:
        for name, wanted in work.test.expect[one.slot].levels.items():
            for digest in by_unit.get(one.unit, ()):
                values = _values(digest.metrics.get(name))
                seen |= bool(values)
                if off := [v for v in values if not (isinstance(wanted, tuple) and wanted[0] <= v <= wanted[1])]:
                    far = max(off, key=lambda v: abs(v - _middle(wanted)))
                    wrong.append(f"{one.unit} {digest.part}: {name} is {far:.6g}, the session says {words_of(wanted)}")
    if seen:
        facts.numbers[_FLUX] = len(wrong)
        facts.told[_FLUX] = [*wrong[:_MOST], *([f"and {len(wrong) - _MOST} more"] if len(wrong) > _MOST else [])]
    else:
        facts.unknown[_FLUX] = "none of the levels that the session expects was measured"


def _by_limits(taken: Sequence[Taken], by_unit: Mapping[str, Sequence[Digest]], facts: LightFacts) -> None:
    """By the limits of the fluences of its flats."""
    lit = [t for t in taken if t.tags.get("flavor", "") in _LIT]
    if not lit:
        facts.not_applicable[_FLUX] = "the session expects no levels (`levels`), and the test has no flats"
        return
    found = [f for t in lit for d in by_unit.get(t.unit, ()) for f in d.found if f.metric in _FLUENCE and f.status is not None]
    if any(f.status is not Status.UNKNOWN for f in found):
        bad = {f.where: f.reason for f in found if f.status in (Status.WARNING, Status.ALARM)}
        facts.numbers[_FLUX] = len(bad)
        facts.told[_FLUX] = [f"{where}: {why}" for where, why in list(bad.items())[:_MOST]]
    else:
        facts.unknown[_FLUX] = "the session expects no levels (`levels`), and no limit stands for the light of its flats"


def _stars(work: Work, taken: Sequence[Taken], by_unit: Mapping[str, Sequence[Digest]], facts: LightFacts) -> None:
    """By a QA that looks for them; this instrument has none where no such metric is declared."""
    if STARS not in work.metrics:
        facts.not_applicable[STARS] = "no QA looks for point sources"
        return
    found = [m for t in taken for d in by_unit.get(t.unit, ()) if (m := d.metrics.get(STARS))]
    values = [v for m in found for v in _values(m)]
    if values:
        facts.numbers[STARS] = sum(values)
    elif found and all(m.not_applicable for m in found):
        facts.not_applicable[STARS] = found[0].not_applicable or ""
    else:
        facts.unknown[STARS] = "point sources were not looked for"


def _values(metric: MetricResult | None) -> list[float]:
    if metric is None:
        return []
    return [v for i, v in enumerate(metric.values) if v is not None and i not in metric.left_out]


def _middle(wanted: str | tuple[float, float]) -> float:
    return 0.5 * (wanted[0] + wanted[1]) if isinstance(wanted, tuple) else 0.0
