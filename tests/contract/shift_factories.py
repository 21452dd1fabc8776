"""Line lists, shifts of traces and fits of arcs for the contract suite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from quicklook.ccd.linelist import ArcLines, SkyLines, shipped_lines
from quicklook.ccd.traceshift import ArcFit, AxisShift, ShiftSamples, TraceShift
from quicklook.core.product import Product


def _axis(shift: float, seed: int) -> AxisShift:
    rng = np.random.default_rng(seed)
    fibre, wave = np.repeat(np.arange(5.0), 6), np.tile(np.linspace(5800.0, 7500.0, 6), 5)
    error = np.full(30, 0.01)
    samples = ShiftSamples(fibre=fibre, wave=wave, shift=shift + 0.01 * rng.normal(size=30), error=error)
    return AxisShift(model=np.array([[shift, 0.01], [0.02, 0.0]]), mean=shift, low=shift - 0.03, high=shift + 0.03, rms=0.01, error=0.002, samples=samples)


def _lost() -> AxisShift:
    one = np.full(1, np.nan)
    samples = ShiftSamples(fibre=one, wave=one.copy(), shift=one.copy(), error=one.copy())
    nan = float("nan")
    return AxisShift(model=np.zeros((1, 1)), mean=nan, low=nan, high=nan, rms=nan, error=nan, samples=samples, remark="no light on the traces")


def trace_shift(case: Any, number: int) -> TraceShift:
    lit = case.flavor != "zero" or not case.faults
    return TraceShift(camera="r0", x=_axis(0.1, 1 + number) if lit else _lost(), y=_axis(-0.16, 7) if case.flavor != "arc" else _lost(), y_expected=True)


def arc_fit(case: Any, number: int) -> ArcFit:
    rng = np.random.default_rng(number)
    columns = {name: rng.uniform(0.001, 0.01, 6) for name in ("residual", "scatter", "sigma", "flux", "nfibre", "used")}
    return ArcFit(camera="r0", wave=np.linspace(5800.0, 7500.0, 6), **columns)


FACTORIES: dict[type[Product], Callable[[Any, int], Product]] = {
    SkyLines: lambda case, n: shipped_lines(SkyLines),
    ArcLines: lambda case, n: shipped_lines(ArcLines),
    TraceShift: trace_shift,
    ArcFit: arc_fit,
}
