"""The calibrations that a frame was processed with: how old they are, and which ones are stale, provisional or lacking."""

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import PurePath

import numpy as np
from pydantic import Field

from quicklook.core.calibration import Absence, CalibrationsUsed, CalibrationUsed
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Coord, Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Bars, Layer, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

AGE = MetricDef(
    "calibration_age", "d", dims=("kind",),
    doc="Days from the night in which a calibration was made (else from which it is valid) to the frame; negative for one of a later night.",
)  # fmt: skip
STALE = MetricDef(
    "calibration_stale", "", dims=("kind",), flag=True,
    doc="1 for a calibration that is older than its index allows (stale_days), or whose age is not known though it does; else 0.",
)  # fmt: skip
PROVISIONAL = MetricDef(
    "calibration_provisional", "", dims=("kind",), flag=True,
    doc="1 for a calibration that was made with a warning, or added as provisional, and is used for want of a better one; else 0.",
)  # fmt: skip
LACKING = MetricDef(
    "calibration_lacking", "", dims=("kind",), flag=True,
    doc="1 where a calibration was asked for and none can be used on this night, though the index has some for this camera; else 0.",
)  # fmt: skip
NONE = "no calibration was used"


class CalibrationsParams(Params):
    """Parameters of calibrations."""

    ignore: tuple[str, ...] = Field((), description="kinds that steps ask for and do not apply, as in [dark]: they are not measured")


class Calibrations(MonitoringAlg[CalibrationsParams]):
    """Age of the calibrations that were used, by kind, and those that are stale, provisional or lacking. Belongs to the last step of a chain.

    Formula: calibration_age = night of the frame - night of the exposures that the calibration was made from (else the first night on which it is
    valid), days. calibration_stale = 1 where the age is above `stale_days` of the index, or not known though the index has such a bound;
    calibration_provisional = 1 where the index calls it so; calibration_lacking = 1 where none of the index can be used though there are some for
    the camera. Exact, without an error.
    Source: own definition: the rules of the project's calibration index.
    """

    name = "calibrations"
    metrics = (AGE, STALE, PROVISIONAL, LACKING)

    def measure(self, calibrations: CalibrationsUsed) -> Measures:
        """Ages in days; a kind whose calibration says no night has none. Raises NotApplicable where none was asked for."""
        used = tuple(u for u in calibrations.used if u.kind not in self.params.ignore)
        absent = {k: a for k, a in calibrations.absent.items() if k not in self.params.ignore}
        if not used and not absent:
            raise NotApplicable("no calibration was asked for")
        age = _ages(used)
        ages = Panel(x=Axis(label="calibration"), y=Axis(label="age", unit="d"), layers=_bars(age, used), title="Ages", metric=AGE.name)
        plot = Plot(name="calibrations", title="Calibrations", panels=(ages,))
        return Measures((age, _stale(used), _provisional(used), _lacking(used, absent)), plots=(plot,))


def _ages(used: tuple[CalibrationUsed, ...]) -> Measured:
    if not used:
        return not_applicable(AGE.name, NONE)
    values = {u.kind: math.nan if u.age_days is None else u.age_days for u in used}
    told = {k: "its index says no night for it" for k, v in values.items() if math.isnan(v)}
    return measured(AGE.name, list(values.values()), kind=list(values), remarks=_keyed(told))


def _stale(used: tuple[CalibrationUsed, ...]) -> Measured:
    """Nobody knows whether one without an age is stale: it may be, so it counts."""
    if not used:
        return not_applicable(STALE.name, NONE)
    bounded = {u.kind: u for u in used if u.stale_days is not None}
    told = {k: _stale_words(u) for k, u in bounded.items() if u.stale or u.age_days is None}
    return measured(STALE.name, [float(u.kind in told) for u in used], kind=[u.kind for u in used], remarks=_keyed(told))


def _stale_words(used: CalibrationUsed) -> str:
    age = "of an unknown night" if used.age_days is None else f"{used.age_days:.4g} days old"
    what = f"{PurePath(used.source).name} is {age}, it may be {used.stale_days:g} days old"
    return f"{what}; {used.renewal}" if used.renewal else what


def _provisional(used: tuple[CalibrationUsed, ...]) -> Measured:
    """What was doubtful when it was made is doubtful in every frame that it is used for."""
    if not used:
        return not_applicable(PROVISIONAL.name, NONE)
    told = {u.kind: f"{PurePath(u.source).name} is provisional" + (f"; {u.renewal}" if u.renewal else "") for u in used if u.quality == "provisional"}
    return measured(PROVISIONAL.name, [float(u.kind in told) for u in used], kind=[u.kind for u in used], remarks=_keyed(told))


def _lacking(used: tuple[CalibrationUsed, ...], absent: Mapping[str, Absence]) -> Measured:
    kinds = [*(u.kind for u in used), *absent]
    told = {k: f"{a.why}; {a.what_next}" for k, a in absent.items() if a.expected}
    return measured(LACKING.name, [float(k in told) for k in kinds], kind=kinds, remarks=_keyed(told))


def _keyed(told: Mapping[str, str]) -> dict[Coord | tuple[Coord, ...], str]:
    return {(kind,): words for kind, words in told.items()}


def _bars(age: Measured, used: tuple[CalibrationUsed, ...]) -> tuple[Layer, ...]:
    """Ages, and to what age each may be used, where its index says so."""
    kinds = tuple(str(k) for k in age.coords.get("kind", ()))
    if not kinds:
        return ()
    words = tuple(f"{u.age_days:.4g}, stale" if u.stale and u.age_days is not None else "" for u in used)
    bars = Bars(names=kinds, heights=np.array(age.values), words=words)
    bound = np.array([math.nan if u.stale_days is None else u.stale_days for u in used])
    known = np.flatnonzero(np.isfinite(bound))
    return (bars, Scatter(x=known.astype(np.float64), y=bound[known], label="stale beyond")) if known.size else (bars,)
