"""QAs of traces and wavelength solutions made here."""

from __future__ import annotations

import math

import numpy as np
import pytest

from qa.trace_quality import TraceQuality
from qa.wavelength_solution import WavelengthSolution
from quicklook.ccd.lineid import LineIdentification
from quicklook.ccd.pixeltraces import TraceFit


def fit(dark: tuple[int, ...] = (), slit: bool = False, expected: int = 10) -> TraceFit:
    n = 10
    value = np.where(np.isin(np.arange(n), dark), np.nan, 1.0)
    return TraceFit(
        camera="r0", fiber=np.arange(n, dtype=np.int32), rms=0.01 * value * np.linspace(1, 2, n), sigma=1.1 * value, flux=500 * value,
        coverage=value * np.linspace(0.8, 1.0, n), centre=np.arange(float(n)) * value, expected=expected, pitch=7.3, dark=dark, slit=slit,
    )  # fmt: skip


def value(measures: object, name: str) -> float:
    return float(measures[name].values)  # type: ignore[index]


def test_traces_of_a_good_flat() -> None:
    got = TraceQuality().measure(fit())
    assert value(got, "trace_scatter") == pytest.approx(0.015)
    assert value(got, "trace_scatter_max") == pytest.approx(0.02)
    assert got["trace_scatter_max"].remarks[()] == "fibre 9"
    assert value(got, "dark_fiber_fraction") == 0
    assert value(got, "trace_coverage") == pytest.approx(0.8)
    assert value(got, "trace_sigma") == pytest.approx(1.1)


def test_dark_fibres_are_named() -> None:
    got = TraceQuality().measure(fit(dark=(3, 7)))
    assert value(got, "dark_fiber_fraction") == pytest.approx(0.2)
    assert got["dark_fiber_fraction"].remarks[()] == "dark: 3, 7"
    nothing = TraceQuality().measure(fit(dark=tuple(range(10))))
    assert math.isnan(value(nothing, "trace_scatter"))
    assert nothing["trace_scatter"].remarks[()] == "no fibre is lit"


def test_what_does_not_apply() -> None:
    assert TraceQuality().measure(fit(slit=True))["trace_sigma"].not_applicable
    assert TraceQuality().measure(fit(expected=0))["dark_fiber_fraction"].not_applicable


def lines(**changes: object) -> LineIdentification:
    n = 6
    plain: dict[str, object] = {
        "camera": "r0", "fiber": np.arange(n, dtype=np.int32), "nlines": np.full(n, 12.0), "rms": 0.006 * np.linspace(1, 2, n),
        "row": np.arange(4.0), "height": np.full(4, 100.0), "wave": np.array([5000.0, np.nan, 5100.0, 5200.0]),
        "residual": np.array([0.01, np.nan, 0.0, -0.01]), "scatter": np.array([0.01, np.nan, 0.02, 0.01]), "sigma": np.array([1.1, np.nan, 1.2, 1.0]),
        "name": ("Ne_I", "", "Ne_I", "Hg_I"), "by_lamp": {"Ar": 0, "Hg": 1, "Ne": 2}, "bright_matched": 0.75, "chance": -9.0, "rival": -2.0,
        "degree": 3, "dispersion": 0.6,
    }  # fmt: skip
    return LineIdentification(**(plain | changes))  # type: ignore[arg-type]


def test_a_wavelength_solution() -> None:
    got = WavelengthSolution().measure(lines())
    assert value(got, "wave_lines") == 12
    assert value(got, "wave_rms") == pytest.approx(0.015)  # 0.009 Angstrom at 0.6 a pixel
    assert value(got, "wave_rms_max") == pytest.approx(0.02)
    assert value(got, "wave_certainty") == pytest.approx(7.0)  # the rival is nearer than chance
    assert got["lamp_lines"].values.tolist() == [0, 1, 2]
    assert got["lamp_lines"].remarks[("Ar",)] == "none of its lines was found: is it on?"
    assert value(got, "line_sigma") == pytest.approx(1.1)
    assert got.facts["rms_angstrom"] == pytest.approx(0.009)


def test_lamps_that_cannot_be_seen_and_those_that_nobody_wrote_down_are_told() -> None:
    got = WavelengthSolution().measure(lines(faint_lamps=("Kr", "Xe"), other_lamps=("Hg",)))
    assert got["lamp_lines"].remarks[()] == (
        "Kr, Xe: no bright line in the range of this camera, none was found; Hg: lit, and not among the lamps of the description; "
        "add them (spectra.lamps)"
    )
    assert (got.facts["lamps_without_bright_lines"], got.facts["lamps_not_described"]) == ("Kr, Xe", "Hg")
    assert () not in WavelengthSolution().measure(lines())["lamp_lines"].remarks
    none = WavelengthSolution().measure(lines(by_lamp={}, faint_lamps=("Kr",)))
    assert none["lamp_lines"].not_applicable == "no lamp has bright lines in the range of this camera"


def test_fibres_without_lines() -> None:
    n = 6
    got = WavelengthSolution().measure(lines(nlines=np.array([0.0, 12, 12, 12, 12, 12]), rms=np.array([np.nan, 1, 1, 1, 1, 1]) * 0.006))
    assert value(got, "wave_fibers_without") == pytest.approx(1 / 6)
    assert value(got, "wave_rms") == pytest.approx(0.01)
    nothing = WavelengthSolution().measure(lines(nlines=np.zeros(n), rms=np.full(n, np.nan)))
    assert math.isnan(value(nothing, "wave_rms"))
    assert nothing["wave_rms"].remarks[()] == "no fibre has a line"
