"""QA of trace shifts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qa.trace_shifts import TraceShifts
from quicklook.ccd.traceshift import AxisShift, ShiftSamples, TraceShift

NAN = float("nan")


def axis(mean: float) -> AxisShift:
    fibre, wave = np.repeat(np.arange(4.0), 3), np.tile([5800.0, 6500.0, 7500.0], 4)
    samples = ShiftSamples(fibre=fibre, wave=wave, shift=np.full(12, mean), error=np.full(12, 0.01))
    return AxisShift(model=np.array([[mean]]), mean=mean, low=mean - 0.05, high=mean + 0.07, rms=0.02, error=0.003, samples=samples)


def lost() -> AxisShift:
    one = [np.full(1, NAN) for _ in range(4)]
    samples = ShiftSamples(fibre=one[0], wave=one[1], shift=one[2], error=one[3])
    return AxisShift(model=np.zeros((1, 1)), mean=NAN, low=NAN, high=NAN, rms=NAN, error=NAN, samples=samples, remark="no line was found")


def test_both_axes() -> None:
    got = TraceShifts().measure(TraceShift(camera="r0", x=axis(0.22), y=axis(-0.16)))
    assert got["trace_shift"].coords == {"axis": ("x", "y")}
    np.testing.assert_allclose(got["trace_shift"].values, [0.22, -0.16])
    np.testing.assert_allclose(got["trace_shift_range"].values, [0.12, 0.12])
    np.testing.assert_allclose(got["trace_shift_scatter"].values, [0.02, 0.02])
    assert got["trace_shift"].remarks[("x",)] == "+0.170 to +0.290 pixel over the detector, known to 0.003"
    assert got.facts["error_x"] == pytest.approx(0.003)
    assert len(got.plots[0].panels) == 4


def test_what_was_not_measured_says_why() -> None:
    got = TraceShifts().measure(TraceShift(camera="r0", x=axis(0.1), y=lost()))
    for name in ("trace_shift", "trace_shift_range", "trace_shift_scatter"):
        assert np.isnan(got[name].values[1])
        assert got[name].remarks[("y",)] == "no line was found"
    assert got.facts["error_y"] is None


def test_a_flat_has_no_y() -> None:
    shift = TraceShift(camera="r0", x=axis(0.1), y=lost(), y_expected=False)
    assert TraceShifts().measure(shift)["trace_shift"].coords == {"axis": ("x",)}
    assert len(TraceShifts().measure(replace(shift, x=lost())).plots[0].panels) == 2
