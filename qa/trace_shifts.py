"""Shift of the traces against the calibration: flexure, or something that has moved."""

from __future__ import annotations

import math

import numpy as np

from quicklook.ccd.traceshift import AxisShift, TraceShift
from quicklook.core.metrics import Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

SHIFT = MetricDef(
    "trace_shift", "pixel", dims=("axis",),
    doc="Mean shift of the traces against those of the calibration, over all fibres and wavelengths: x across the dispersion, y along it. "
    "It is absolute: a shift that all fibres share is seen.",
)  # fmt: skip
RANGE = MetricDef(
    "trace_shift_range", "pixel", dims=("axis",), doc="Largest minus smallest shift over the detector: rotation or change of scale."
)  # fmt: skip
SCATTER = MetricDef(
    "trace_shift_scatter", "pixel", dims=("axis",),
    doc="Weighted rms of the measurements (groups of fibres, single lines) about the smooth model of the shift.",
)  # fmt: skip
ERROR = MetricDef(
    "trace_shift_error", "pixel", dims=("axis",),
    doc="Error of the mean shift, from the noise of the profiles, and for y from the number and the uncertainty of the lines that were found.",
)  # fmt: skip
FOUND = MetricDef(
    "lines_found", "",
    doc="Part of the lines of the sky that must be bright which is found where the traces have it, each with the root of its strength as weight.",
)  # fmt: skip

_FIBRE = Axis(label="fibre")
_WAVE = Axis(label="wavelength", unit="Angstrom")
_WHAT = {"x": "across the dispersion", "y": "along the dispersion"}


class TraceShiftsParams(Params):
    """Nothing to set."""


class TraceShifts(MonitoringAlg[TraceShiftsParams]):
    """Reports how far the traces lie from those of the calibration, across and along the dispersion, as `flexure` has measured it.

    Formula: shift(u, t) = sum of a_ij u^i P_j(t), pixel, fitted by weighted least squares to the shifts of groups of fibres (x) and of single lines
    (y); u = -1 ... 1 across the fibres, P_j Legendre polynomials of the reduced wavelength t. trace_shift = its mean over the detector,
    trace_shift_range = largest - smallest, trace_shift_scatter = weighted rms of the measurements about it, trace_shift_error = error of the mean
    from the fit. lines_found = sum of sqrt(strength) of the bright sky lines that were found / that of all that must be bright.
    Source: it stands for XYSHIFTS (Trace_Shifts) of DESI's quick-look; the smooth model is own definition: the lowest orders of a shift, a rotation
    and a change of scale.
    """

    name = "trace_shifts"
    group = "Fibres"
    metrics = (SHIFT, RANGE, SCATTER, ERROR, FOUND)

    def measure(self, shift: TraceShift) -> Measures:
        """x and y; y is left out for flavors without lines. NaN with a remark where it could not be measured.

        `lines_found` does not apply where no lines of the sky are looked for: flats, and arcs, whose lamps differ in what is bright.
        """
        axes = {"x": shift.x, "y": shift.y} if shift.y_expected else {"x": shift.x}
        metrics = (
            _metric(SHIFT, axes, {k: a.mean for k, a in axes.items()}, {k: _words(a) for k, a in axes.items()}),
            _metric(RANGE, axes, {k: a.high - a.low for k, a in axes.items()}, {}),
            _metric(SCATTER, axes, {k: a.rms for k, a in axes.items()}, {}),
            _metric(ERROR, axes, {k: a.error for k, a in axes.items()}, {}),
            _found(shift),
        )
        facts = {f"error_{k}": a.error if math.isfinite(a.error) else None for k, a in axes.items()}
        return Measures(metrics, plots=(_plot(shift, axes),), facts=facts)


def _found(shift: TraceShift) -> Measured:
    if not shift.y_expected or shift.lines_found is None:
        return not_applicable(FOUND.name, "no lines of the sky are looked for in this exposure")
    return measured(FOUND.name, shift.lines_found, remarks={(): shift.y.remark} if shift.y.remark else None)


def _words(axis: AxisShift) -> str:
    return f"{axis.low:+.3f} to {axis.high:+.3f} pixel over the detector, known to {axis.error:.3f}" if axis.measured else ""


def _metric(definition: MetricDef, axes: dict[str, AxisShift], values: dict[str, float], told: dict[str, str]) -> Measured:
    remarks = {k: (told.get(k) or "") if a.measured else (a.remark or "it could not be measured") for k, a in axes.items()}
    return measured(definition.name, list(values.values()), axis=tuple(values), remarks={k: r for k, r in remarks.items() if r})


def _plot(shift: TraceShift, axes: dict[str, AxisShift]) -> Plot:
    panels = []
    for name, axis in axes.items():
        s = axis.samples
        y = Axis(label=f"shift in {name}", unit="pixel")
        along, across = Scatter(x=s.wave, y=s.shift, c=s.fibre, c_axis=_FIBRE), Scatter(x=s.fibre, y=s.shift, c=s.wave, c_axis=_WAVE)
        title = f"Shift {_WHAT[name]}" + ("" if axis.measured else f": {axis.remark}")
        panels.append(Panel(x=_WAVE, y=y, layers=(along, *_mean_line(s.wave, axis)), title=f"{title}, by wavelength", metric=SHIFT.name))
        panels.append(Panel(x=_FIBRE, y=y, layers=(across, *_mean_line(s.fibre, axis)), title=f"{title}, by fibre", metric=SHIFT.name))
    return Plot(name="trace_shifts", title=f"Shift of the traces, camera {shift.camera}", panels=tuple(panels), columns=2)


def _mean_line(x: np.ndarray, axis: AxisShift) -> tuple[Line, ...]:
    if not axis.measured or not np.isfinite(x).any():
        return ()
    return (Line(x=np.array([np.nanmin(x), np.nanmax(x)]), y=np.full(2, axis.mean), label=f"mean {axis.mean:+.3f} pixel"),)
