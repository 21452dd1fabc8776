"""QA of trace shifts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from qa.trace_shifts import TraceShifts
from quicklook.ccd.tags import TAGS
from quicklook.ccd.traceshift import AxisShift, ShiftSamples, TraceShift
from quicklook.core.judge import Judge
from quicklook.core.limits import load_limits
from quicklook.core.status import Status
from quicklook.io.configfiles import find_config
from quicklook.service.site import declared_metrics

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
    np.testing.assert_allclose(got["trace_shift_error"].values, [0.003, 0.003])
    assert got.facts["error_x"] == pytest.approx(0.003)
    assert len(got.plots[0].panels) == 4


def test_what_was_not_measured_says_why() -> None:
    got = TraceShifts().measure(TraceShift(camera="r0", x=axis(0.1), y=lost()))
    for name in ("trace_shift", "trace_shift_range", "trace_shift_scatter", "trace_shift_error"):
        assert np.isnan(got[name].values[1])
        assert got[name].remarks[("y",)] == "no line was found"
    assert got.facts["error_y"] is None


def test_a_flat_has_no_y() -> None:
    shift = TraceShift(camera="r0", x=axis(0.1), y=lost(), y_expected=False)
    assert TraceShifts().measure(shift)["trace_shift"].coords == {"axis": ("x",)}
    assert len(TraceShifts().measure(replace(shift, x=lost())).plots[0].panels) == 2


def test_the_part_of_the_lines_that_was_found() -> None:
    shift = TraceShift(camera="r0", x=axis(0.1), y=axis(0.1), lines_found=0.9)
    assert float(TraceShifts().measure(shift)["lines_found"].values) == 0.9
    missing = TraceShifts().measure(replace(shift, y=lost(), lines_found=0.24))["lines_found"]
    assert (float(missing.values), missing.remarks[()]) == (0.24, "no line was found")
    assert np.isnan(TraceShifts().measure(replace(shift, y=lost(), lines_found=NAN))["lines_found"].values)


def test_flats_and_arcs_have_no_lines_of_the_sky() -> None:
    arc = TraceShift(camera="r0", x=axis(0.1), y=axis(0.1))
    flat = replace(arc, y=lost(), y_expected=False, lines_found=0.9)
    for shift in (arc, flat):
        assert TraceShifts().measure(shift)["lines_found"].not_applicable


@pytest.mark.parametrize(("error", "status"), [(0.006, Status.NORMAL), (0.046, Status.WARNING), (NAN, Status.UNKNOWN)])
def test_a_shift_that_is_hardly_known_is_not_normal(error: float, status: Status) -> None:
    """0.006 pixel: a full frame with few lines of the sky; 0.046: 50 fibres with one line. (The blue arm has a limit of its own.)"""
    y = replace(axis(0.0), error=error)
    limits = load_limits([find_config("limits", n) for n in ("default", "desi")], declared_metrics(), TAGS)
    measures = TraceShifts().measure(TraceShift(camera="r0", x=axis(0.0), y=y, lines_found=1.0))
    got = {r.name: r for r in Judge(limits).measures(TraceShifts.metrics, measures, {"flavor": "science", "arm": "r"})}
    assert got["trace_shift_error"].statuses == [Status.NORMAL, status]
    assert got["lines_found"].status is Status.NORMAL
