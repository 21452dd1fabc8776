"""Patterns of light over the focal plane."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from qa.cameras import magnitudes, spread
from quicklook.ccd.arrays import Float64
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measures, MetricDef, measured
from quicklook.core.params import Params
from quicklook.core.plots import Axis, FocalPlane, Panel, Plot
from quicklook.core.plugin import MonitoringAlg
from quicklook.core.unitparts import PartSummary, UnitParts

TILT = MetricDef(
    "focal_half_field", "mag", dims=("arm",), doc="Light that falls off from one side of the field to the other: edge less centre, the fainter side."
)
RADIAL = MetricDef("focal_radial", "mag", dims=("arm",), doc="Light at the edge of the field less that at its centre; fainter edges are positive.")
QUADRUPOLE = MetricDef("focal_quadrupole", "mag", dims=("arm",), doc="Light that falls off along one axis of the field and rises along the other.")
ERROR = MetricDef("focal_error", "mag", dims=("arm",), doc="Largest error of these amplitudes, by the scatter of the fibres about the pattern.")
_ROUNDS, _CUT = 20, 4.685
"""Rounds of reweighting, and the width of Tukey's weights in sigma (Huber & Ronchetti 2009, Robust Statistics, section 4.8)."""
_SHOWN = 0.5


class FocalPlanePatternsParams(Params):
    """Parameters of `focal_plane_patterns`."""

    measure: str = Field("delta_mag", description="metric per fibre: a magnitude, or light over light")
    min_fibers: int = Field(40, ge=10, description="fewer fibres of an arm say nothing")
    max_error: float = Field(0.04, gt=0, description="an arm whose amplitudes are known no better is left out [mag]")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """Fibres of an arm: x, y in units of the largest radius, magnitudes, all [n]; that radius in mm."""

    x: Float64
    y: Float64
    mag: Float64
    radius: float


@dataclass(frozen=True, slots=True, kw_only=True)
class _Pattern:
    tilt: float
    radial: float
    quadrupole: float
    error: float


class FocalPlanePatterns(MonitoringAlg[FocalPlanePatternsParams]):
    """Looks for patterns over the focal plane in the light of the targets, all spectrographs of an arm together.

    focal_half_field: the field is off centre or half covered (dome), or some spectrographs of one side are dim (`spectrograph_agreement` says
    which); focal_radial: plate scale, focus, rotation of the field; focal_quadrupole: the atmosphere at high airmass, or a dispersion corrector
    that does not follow. Places: `fiber_x` and `fiber_y`.
    Formula: m = a0 + a1 x + a2 y + a3 (x^2 + y^2) + a4 (x^2 - y^2) + a5 2 x y, m = `delta_mag` (mag), x and y in units of the largest radius, by
    least squares with Tukey's weights, so that single targets do not count. focal_half_field = hypot(a1, a2), focal_radial = a3, focal_quadrupole =
    hypot(a4, a5), mag; focal_error = largest root of the diagonal of the inverse normal matrix x 1.4826 MAD of the residuals.
    Source: weights: Huber & Ronchetti 2009, Robust Statistics, section 4.8. The terms are own definition: all of first and second order in the
    field.
    """

    name = "focal_plane_patterns"
    group = "Exposure"
    metrics = (TILT, RADIAL, QUADRUPOLE, ERROR)

    def measure(self, parts: UnitParts) -> Measures:
        """Of all cameras of an exposure. Raises NotApplicable where too few fibres are known, or lie so that no pattern can be told."""
        fields, found, why = dict[str, _Field](), dict[str, _Pattern](), list[str]()
        for arm, cameras in parts.by_tag("arm").items():
            field = _field(cameras, self.params.measure)
            if field is None or field.mag.size < self.params.min_fibers:
                why.append(f"arm {arm} has {0 if field is None else field.mag.size} fibres whose place and light are known")
                continue
            pattern = _fit(field)
            if not pattern.error <= self.params.max_error:
                why.append(f"the fibres of arm {arm} lie so, or scatter so, that patterns are known to {pattern.error:.2f} mag only")
                continue
            fields[arm], found[arm] = field, pattern
        if not found:
            raise NotApplicable("; ".join(why) or "no camera has an arm")
        arms = tuple(found)
        metrics = (
            measured(TILT.name, [p.tilt for p in found.values()], arm=arms),
            measured(RADIAL.name, [p.radial for p in found.values()], arm=arms),
            measured(QUADRUPOLE.name, [p.quadrupole for p in found.values()], arm=arms),
            measured(ERROR.name, [p.error for p in found.values()], arm=arms),
        )
        return Measures(metrics, plots=(_plot(fields),), facts={"left_out": "; ".join(why) or None})


def _field(cameras: tuple[PartSummary, ...], measure: str) -> _Field | None:
    rows: list[tuple[float, float, float]] = []
    for camera in cameras:
        x, y = ({at[0]: v for at, v in camera.values(name).items()} for name in ("fiber_x", "fiber_y"))
        mag = magnitudes(camera, measure)
        rows += [(x[f], y[f], m) for f, m in mag.items() if f in x and f in y]
    if not rows:
        return None
    array = np.array(rows)
    radius = float(np.hypot(array[:, 0], array[:, 1]).max())
    return _Field(x=array[:, 0] / radius, y=array[:, 1] / radius, mag=array[:, 2], radius=radius) if radius > 0 else None


def _fit(field: _Field) -> _Pattern:
    x, y = field.x, field.y
    terms = np.stack([np.ones_like(x), x, y, x**2 + y**2, x**2 - y**2, 2 * x * y], axis=1)
    weight = np.ones(x.size)
    a = np.zeros(terms.shape[1])
    a[0] = float(np.median(field.mag))
    for _ in range(_ROUNDS):
        off = (field.mag - terms @ a) / (_CUT * max(spread(field.mag - terms @ a), 1e-6))
        weight = np.where(np.abs(off) < 1, (1 - np.minimum(off**2, 1)) ** 2, 0.0)
        matrix = terms.T @ (weight[:, np.newaxis] * terms)
        if np.linalg.cond(matrix) > 1e8:
            return _Pattern(tilt=math.nan, radial=math.nan, quadrupole=math.nan, error=math.inf)
        new = np.linalg.solve(matrix, terms.T @ (weight * field.mag))
        done, a = bool(np.abs(new - a).max() < 1e-5), new
        if done:
            break
    sigma = spread((field.mag - terms @ a)[weight > 0])
    error = sigma * np.sqrt(np.diag(np.linalg.inv(matrix))[1:])
    return _Pattern(tilt=math.hypot(a[1], a[2]), radial=float(a[3]), quadrupole=math.hypot(a[4], a[5]), error=float(error.max()))


def _plot(fields: dict[str, _Field]) -> Plot:
    panels = []
    for arm, field in fields.items():
        shown = np.clip(field.mag - np.median(field.mag), -_SHOWN, _SHOWN)
        layer = FocalPlane(x=field.x * field.radius, y=field.y * field.radius, c=shown, c_axis=Axis(label="fainter than most", unit="mag"))
        panels.append(Panel(x=Axis(label="X", unit="mm"), y=Axis(label="Y", unit="mm"), layers=(layer,), title=f"Arm {arm}"))
    return Plot(name="focal_plane_patterns", title="Light over the focal plane", panels=tuple(panels), columns=min(3, len(panels)))
