"""The same fibre in the arms of its spectrograph."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from qa.cameras import magnitudes, spread
from quicklook.ccd.arrays import Float64
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Coord, Measures, MetricDef, measured
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg
from quicklook.core.unitparts import PartSummary, UnitParts

OFFSET = MetricDef(
    "arm_offset", "mag", dims=("camera",),
    doc="Light of the fibres in a camera less that of the same fibres in the other arms of the spectrograph, median; fainter is positive.",
)  # fmt: skip
APART = MetricDef(
    "arm_fibers_apart", "", dims=("spectrograph",),
    doc="Number of fibres whose light in one arm is unlike that in the others, beyond what all fibres of the arm share.",
)  # fmt: skip
_SHOWN = 12


class ArmAgreementParams(Params):
    """Parameters of `arm_agreement`."""

    measure: str = Field("delta_mag", description="metric per fibre by which the arms are compared: a magnitude, or light over light")
    min_fibers: int = Field(5, ge=3, description="fewer common fibres say nothing")
    apart: float = Field(0.5, gt=0, description="a fibre is unlike itself in another arm from so much on [mag] ...")
    sigma: float = Field(6.0, gt=0, description="... and from so many times the scatter of the fibres of the arm")


@dataclass(frozen=True, slots=True)
class _Arms:
    """Fibres that all arms of a spectrograph have: magnitude less the mean over the arms, [narm, nfibre]."""

    cameras: tuple[str, ...]
    fiber: tuple[str | int | float, ...]
    off: Float64


class ArmAgreement(MonitoringAlg[ArmAgreementParams]):
    """Compares what the arms of a spectrograph see of the same fibres, which look at the same targets through the same air.

    An arm that is off alone is its shutter, its flux calibration or the correction of atmospheric dispersion; a fibre that is off in one arm alone
    is its trace or its place on that detector, not its positioner.
    Formula: arm_offset = median over the common fibres of (m - mean of m over the other arms), m = `delta_mag`, mag. arm_fibers_apart = number of
    fibres with |m - mean of the arms - median of the arm| above `apart` mag and above `sigma` times 1.4826 MAD of the fibres of the arm.
    Source: own definition: differences of magnitudes of one target, so that neither its brightness nor the air counts.
    """

    name = "arm_agreement"
    group = "Exposure"
    metrics = (OFFSET, APART)

    def measure(self, parts: UnitParts) -> Measures:
        """Of all cameras of an exposure. Raises NotApplicable where no spectrograph has two arms with enough common fibres."""
        offsets: dict[str, float] = {}
        apart: dict[str, str] = {}
        numbers: dict[str, int] = {}
        shown: dict[str, _Arms] = {}
        for spectrograph, cameras in parts.by_tag("spectrograph").items():
            if (arms := self._arms(cameras)) is not None:
                offsets |= _offsets(arms)
                shown[spectrograph] = arms
                numbers[spectrograph], apart[spectrograph] = self._unlike(arms)
        if not shown:
            raise NotApplicable(f"no spectrograph has two arms with {self.params.min_fibers} common fibres whose light is known")
        told: dict[Coord | tuple[Coord, ...], str] = {k: v for k, v in apart.items() if v}
        metrics = (
            measured(OFFSET.name, list(offsets.values()), camera=tuple(offsets)),
            measured(APART.name, list(numbers.values()), spectrograph=tuple(numbers), remarks=told),
        )
        return Measures(metrics, plots=(_plot(shown),))

    def _arms(self, cameras: tuple[PartSummary, ...]) -> _Arms | None:
        known = {c.part: magnitudes(c, self.params.measure) for c in cameras}
        known = {camera: values for camera, values in known.items() if len(values) >= self.params.min_fibers}
        common = sorted(set.intersection(*(set(v) for v in known.values())), key=str) if len(known) > 1 else []
        if len(common) < self.params.min_fibers:
            return None
        values = np.array([[v[f] for f in common] for v in known.values()])
        return _Arms(tuple(known), tuple(common), values - values.mean(axis=0))

    def _unlike(self, arms: _Arms) -> tuple[int, str]:
        """How many fibres are unlike themselves, and which, in which camera."""
        rest = arms.off - np.median(arms.off, axis=1, keepdims=True)
        limit = np.maximum(self.params.apart, self.params.sigma * np.array([[spread(row)] for row in rest]))
        rows, columns = np.nonzero(np.abs(rest) > limit)
        worst: dict[int, int] = {}
        for row, column in zip(rows.tolist(), columns.tolist(), strict=True):
            if column not in worst or abs(rest[row, column]) > abs(rest[worst[column], column]):
                worst[column] = row
        words = [f"fibre {arms.fiber[c]} in {arms.cameras[r]} {rest[r, c]:+.2f} mag" for c, r in worst.items()]
        more = f" and {len(words) - _SHOWN} more" if len(words) > _SHOWN else ""
        return len(worst), ", ".join(words[:_SHOWN]) + more


def _offsets(arms: _Arms) -> dict[str, float]:
    n = len(arms.cameras)  # m - mean of the others = (m - mean of all) n / (n - 1)
    return {camera: float(np.median(row)) * n / (n - 1) for camera, row in zip(arms.cameras, arms.off, strict=True)}


def _plot(shown: dict[str, _Arms]) -> Plot:
    by_arm: dict[str, list[tuple[Float64, Float64]]] = {}
    for arms in shown.values():
        numbers = np.array([float(f) if isinstance(f, int | float) else math.nan for f in arms.fiber])
        for camera, row in zip(arms.cameras, arms.off, strict=True):
            by_arm.setdefault(camera[:1], []).append((numbers, row))
    layers = tuple(
        Scatter(x=np.concatenate([x for x, _ in some]), y=np.clip(np.concatenate([y for _, y in some]), -1.0, 1.0), label=f"arm {arm}")
        for arm, some in sorted(by_arm.items())
    )
    y = Axis(label="off the mean of the arms", unit="mag")
    panel = Panel(x=Axis(label="fibre"), y=y, layers=layers, title="The same fibre in the arms", metric=OFFSET.name)
    return Plot(name="arm_agreement", title="Arm against arm", panels=(panel,))
