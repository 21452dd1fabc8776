"""QAs of a whole unit: run once, on the metrics of all of its parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from quicklook.core.calibration import Absence, CalibrationUsed
from quicklook.core.chain import Chain, QaUse, Step
from quicklook.core.conditional import ConditionalParams
from quicklook.core.document import Document
from quicklook.core.judge import Judge
from quicklook.core.keys import PartKey
from quicklook.core.plots import Plot
from quicklook.core.plugin import MonitoringAlg
from quicklook.core.product import Calibration, Product
from quicklook.core.reading import Reading
from quicklook.core.registry import find
from quicklook.core.results import QAResult
from quicklook.core.runner import ChainRunner, reasons_of
from quicklook.core.unitparts import UnitParts

STEP = "unit"
"""The step that the results of these QAs name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class UnitMeasured:
    """What the QAs of a unit have given: their judged results, sentences worst first, plots with limits as bands."""

    qas: tuple[QAResult, ...] = ()
    reasons: tuple[str, ...] = ()
    plots: tuple[Plot, ...] = ()


class _NoCalibrations:
    """A unit as a whole has none."""

    def find(self, wanted: type[Calibration], part: PartKey, tags: Mapping[str, str]) -> tuple[Calibration, CalibrationUsed] | None:
        """None."""
        del wanted, part, tags
        return None

    def absence(self, wanted: type[Calibration], part: PartKey, tags: Mapping[str, str]) -> Absence:
        """Said of any."""
        del wanted, part, tags
        return Absence(why="a unit as a whole has no calibration", what_next="take it in a step of the chain")


def with_unit_qa(chain: Chain, name: str) -> Chain:
    """The chain with a QA of the unit that the site wants of every exposure, whether the chain names it or not. Raises BadConfig where it is not
    installed."""
    if any(use.ref.name == name for use in chain.unit_qas):
        return chain
    ref = find("qa", name)
    plugin: type[MonitoringAlg[Any]] = ref.load()
    params = ConditionalParams.parse(plugin.params_type, Document.from_data({}, "site"), ("params",), ())
    return replace(chain, unit_qas=(*chain.unit_qas, QaUse(name=name, plugin=plugin, params=params, ref=ref)))


def measure_unit(
    chain: Chain, parts: UnitParts, judge: Judge, clock: Callable[[], float], more: Sequence[Product] = ()
) -> UnitMeasured:
    """Run the QAs of the unit. Never raises for what a QA does: one that fails is UNKNOWN, as in a step. `clock` gives seconds for durations,
    `more` are products beside the parts.
    """
    if not chain.unit_qas:
        return UnitMeasured()
    only = Step(name=STEP, algorithm="read", plugin=None, params=chain.steps[0].params, qas=chain.unit_qas, ref=None)
    whole = Chain(name=chain.name, doc="", source=chain.source, lookup=chain.lookup, products=(), steps=(only,))
    runner = ChainRunner(chain=whole, judge=judge, calibrations=_NoCalibrations(), clock=clock)
    outcome = runner.run(PartKey(parts.unit, ""), lambda: Reading(products=(parts, *more), tags=parts.tags))
    qas = outcome.result.qas
    return UnitMeasured(qas=tuple(qas), reasons=tuple(reasons_of([], qas)), plots=outcome.plots)
