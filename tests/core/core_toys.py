"""A world without detectors for the tests of the core: numbers as products, algorithms of one line, QAs that misbehave on order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from quicklook.core.calibration import Absence, CalibrationUsed
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.keys import PartKey, Unit
from quicklook.core.metrics import Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Bars, Panel, Plot
from quicklook.core.plugin import MonitoringAlg, PipelineAlg
from quicklook.core.product import Before, Calibration, Product
from quicklook.core.quantity import Unit as InUnit
from quicklook.core.reading import Reading
from quicklook.core.registry import PluginRef

KEY = PartKey(Unit(20220101, 7), "r0")


@dataclass(frozen=True, slots=True, kw_only=True)
class Level(Product):
    kind = "level"
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class FineLevel(Level):
    kind = "fine_level"


@dataclass(frozen=True, slots=True, kw_only=True)
class Total(Product):
    kind = "total"
    value: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Offset(Calibration):
    kind = "offset"
    value: float


class ScaleParams(Params):
    factor: float = Field(2.0, gt=0, description="what the level is multiplied with")
    wait: Annotated[float, InUnit("s")] = Field(1.0, description="a time that nobody waits")
    fail: str = Field("", description="what goes wrong: data, code, type, count")


class Scale(PipelineAlg[ScaleParams]):
    """Multiplies the level."""

    name = "scale"

    def run(self, level: Level) -> Level:
        """A new level."""
        if self.params.fail == "data":
            raise BadData("the level is rotten")
        if self.params.fail == "code":
            raise ZeroDivisionError("division by zero")
        if self.params.fail == "type":
            return Total(value=1.0)  # type: ignore[return-value]
        if self.params.fail == "count":
            return (level, level)  # type: ignore[return-value]
        return Level(value=level.value * self.params.factor)


class Sum(PipelineAlg[ScaleParams]):
    """Adds an offset, where there is one, and makes two products."""

    name = "sum"

    def run(self, level: Level, offset: Offset | None) -> tuple[Total, FineLevel]:
        """Total and a finer level."""
        return Total(value=level.value + (offset.value if offset else 0.0)), FineLevel(value=level.value)


class NeedsOffset(PipelineAlg[ScaleParams]):
    """Cannot do without an offset."""

    name = "needs_offset"

    def run(self, level: Level, offset: Offset) -> Total:
        """Level plus offset."""
        return Total(value=level.value + offset.value)


class MakesOffset(PipelineAlg[ScaleParams]):
    """Makes an offset of its own, which goes before the one of the index."""

    name = "makes_offset"

    def run(self, level: Level) -> Offset:
        """A hundred."""
        return Offset(value=100.0)


class Average(PipelineAlg[ScaleParams]):
    """Mean of the levels of a group."""

    name = "average"

    def run(self, levels: Sequence[Level], offset: Offset | None) -> Total:
        """The mean plus the offset."""
        total = sum(one.value for one in levels) / len(levels)
        return Total(value=total + (offset.value if offset else 0.0))


LEVEL = MetricDef("level", "adu", doc="the level")
AMPS = MetricDef("amps", "electron", dims=("amp",), doc="a value per amplifier")
STEP = MetricDef("step", "adu", doc="how far the step has moved the level")


class LevelQaParams(Params):
    trouble: str = Field("", description="what goes wrong")
    values: tuple[float, ...] = Field((1.0, 2.0), description="what it says of the amplifiers A, B, ...")


class LevelQa(MonitoringAlg[LevelQaParams]):
    """Measures the level, and misbehaves on order."""

    name = "level_qa"
    metrics = (LEVEL, AMPS)

    def measure(self, level: Level) -> Measures:
        """The level and a list of values."""
        trouble = self.params.trouble
        if trouble == "raise":
            raise RuntimeError("no idea")
        if trouble == "not_applicable":
            raise NotApplicable("there are no sky fibres")
        if trouble == "none":
            return None  # type: ignore[return-value]
        values = self.params.values
        names = tuple("ABCDEFGH"[: len(values)])
        panel = Panel(
            x=Axis(label="amplifier"), y=Axis(label="value", unit="electron"), layers=(Bars(names=names, heights=np.array(values)),), metric="amps"
        )
        plots: Any = (Plot(name="amps", title="amplifiers", panels=(panel,)),)
        facts: Mapping[str, Any] = {"file": "x.fits"}
        metrics = [measured("level", level.value), measured("amps", values, amp=names)]
        if trouble == "undeclared":
            metrics.append(measured("surprise", 1.0))
        elif trouble == "twice":
            metrics.append(metrics[0])
        elif trouble == "dims":
            metrics[1] = measured("amps", values, fibre=names)
        elif trouble == "forgets":
            metrics.pop()
        elif trouble == "metric_not_applicable":
            metrics[1] = not_applicable("amps", "no amplifier is lit")
        elif trouble == "nan_fact":
            facts = {"sigma": float("nan"), "n": np.int64(3), "rms": np.float32(2.5), "good": np.True_}
        elif trouble == "odd_fact":
            facts = {"sigma": np.arange(3)}
        elif trouble == "odd_plot":
            plots = ("picture.png",)
        return Measures(tuple(metrics), plots=plots, facts=facts)


class StepQa(MonitoringAlg[Params]):
    """How far the step it is paired with has moved the level."""

    name = "step_qa"
    metrics = (STEP,)

    def measure(self, level: Level, before: Before[Level]) -> Measures:
        """After minus before."""
        return Measures((measured("step", level.value - before.value),))


class TotalQa(MonitoringAlg[Params]):
    """Needs a total."""

    name = "total_qa"
    metrics = (MetricDef("total", "adu", doc="the total"),)

    def measure(self, total: Total) -> Measures:
        """The total."""
        return Measures((measured("total", total.value),))


def ref(kind: str, plugin: type, name: str = "") -> PluginRef:
    return PluginRef(kind=kind, name=name or plugin.name, target=f"{plugin.__module__}:{plugin.__qualname__}", distribution="toys", version="1.0")


ALGORITHMS = (Scale, Sum, NeedsOffset, MakesOffset, Average)
QAS = (LevelQa, StepQa, TotalQa)
REGISTRY: dict[str, dict[str, PluginRef]] = {
    "algorithm": {p.name: ref("algorithm", p) for p in ALGORITHMS},
    "qa": {p.name: ref("qa", p) for p in QAS},
}


def registered(kind: str) -> Mapping[str, PluginRef]:
    return REGISTRY.get(kind, {})


TAGS = {"camera": "r0", "arm": "r", "flavor": "zero", "night": "20220101"}


def reading(value: float = 10.0, **tags: str) -> Reading:
    return Reading(products=(Level(value=value),), tags={**TAGS, **tags})


@dataclass
class Index:
    """A calibration source of given products that counts how often it is asked."""

    offset: Offset | None = None
    asked: int = 0

    def find(self, wanted: type[Calibration], part: PartKey, tags: Mapping[str, str]) -> tuple[Calibration, CalibrationUsed] | None:
        self.asked += 1
        if self.offset is None or wanted is not Offset:
            return None
        return self.offset, CalibrationUsed(kind="offset", source="calib/offset.fits", age_days=3.0)

    def absence(self, wanted: type[Calibration], part: PartKey, tags: Mapping[str, str]) -> Absence:
        return Absence(why="the index is empty", what_next="`make offset` makes one")


@dataclass
class Ticks:
    """A clock that goes on by a second whenever it is read."""

    now: float = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now
