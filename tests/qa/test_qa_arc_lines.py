"""The lines of an arc that the wavelength solution rests on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from qa.arc_lines import ArcLinesUsed
from quicklook.ccd.spectra import TraceSet
from quicklook.ccd.traceshift import ArcFit

NFIBRE = 10
TRACES = TraceSet(
    x=np.ones((NFIBRE, 2)), y=np.ones((NFIBRE, 2)), wavemin=5000.0, wavemax=6000.0, npix_x=9, npix_y=9, fiber=np.arange(NFIBRE, dtype=np.int32)
)


def arc(used: list[float], residual: list[float]) -> ArcFit:
    n = len(used)
    return ArcFit(
        camera="r0",
        wave=np.linspace(5000.0, 4900.0 + 100.0 * n, n),
        residual=np.array(residual, np.float64),
        scatter=np.linspace(0.01, 0.01 * n, n),
        sigma=np.full(n, 1.1),
        flux=np.full(n, 1e4),
        nfibre=np.full(n, 9.0),
        used=np.array(used, np.float64),
    )


def test_lines_that_were_used_are_counted_and_measured() -> None:
    got = ArcLinesUsed().measure(arc([1, 0, 1, 1], [0.003, 1.3, -0.004, 0.0]), TRACES)
    assert got["arc_lines"].values == 3
    assert got["arc_lines"].remarks[()] == "3 of 4 lines that were seen"
    np.testing.assert_allclose(got["arc_residual"].values, 0.005 / np.sqrt(3))
    assert "5200.0 Angstrom lies off by -0.004" in got["arc_residual"].remarks[()]
    np.testing.assert_allclose([got["arc_scatter"].values, got["arc_sigma"].values, got["arc_fibers_fitted"].values], [0.03, 1.1, 0.9])


def test_without_a_line_nothing_is_measured() -> None:
    got = ArcLinesUsed().measure(arc([0, 0], [0.1, 0.2]), TRACES)
    assert got["arc_lines"].values == 0
    for name in ("arc_residual", "arc_scatter", "arc_fibers_fitted", "arc_sigma"):
        assert np.isnan(got[name].values)
        assert got[name].remarks[()] == "no line was used"


def test_what_the_solution_could_not_be_given_is_said() -> None:
    fit = replace(arc([1, 1, 1], [0.0, 0.0, 0.0]), remark="a shift and a slope alone")
    got = ArcLinesUsed().measure(fit, TRACES)
    assert got["arc_lines"].remarks[()] == "3 of 3 lines that were seen; a shift and a slope alone"
    assert got.facts["remark"] == "a shift and a slope alone"
