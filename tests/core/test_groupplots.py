"""Plots of metrics over the exposures of a test: what they are drawn against, what is shown, and the lines through it."""

from __future__ import annotations

import math

import numpy as np
import pytest
from pydantic import ValidationError

from quicklook.core.groupplots import PlotDef, Point, group_plot
from quicklook.core.judge import Judge
from quicklook.core.limits import LimitSet
from quicklook.core.metrics import MetricDef, measured
from quicklook.core.plots import Line, Plot, Scatter

RATE = MetricDef("dark_rate", "electron/h", dims=("amp",), doc="Rate.")
SNR = MetricDef("snr", "", dims=("fiber",), doc="S/N.")


def points(values: list[list[float]], times: list[float] | None = None, of: MetricDef = RATE) -> list[Point]:
    """An exposure a row, half an hour apart; in any order."""
    exptimes = times or [900.0] * len(values)
    coords = {of.dims[0]: tuple("ABCDEFGHIJKL"[: len(values[0])])}
    made = [
        Point(hours=0.5 * i, exptime=t, metric=Judge(LimitSet()).metric(of, measured(of.name, row, **coords), {}))
        for i, (row, t) in enumerate(zip(values, exptimes, strict=True))
    ]
    return made[::-1]


def plot(spec: dict[str, str], given: list[Point], of: MetricDef = RATE) -> Plot:
    made = group_plot(PlotDef(name="p", metric=of.name, **spec), of, given, "r0")  # type: ignore[arg-type]
    assert made is not None
    return made


def test_the_signal_of_darks_against_their_times_with_a_line_through_the_origin() -> None:
    made = plot({"against": "exptime", "shown": "total", "fit": "origin"}, points([[2.0], [2.0], [2.0]], [900.0, 1800.0, 3600.0]))
    panel = made.panels[0]
    assert (panel.x.unit, panel.y.unit) == ("s", "electron")
    seen, line = panel.layers
    assert isinstance(seen, Scatter)
    assert isinstance(line, Line)
    np.testing.assert_allclose(seen.y, [0.5, 1.0, 2.0])
    np.testing.assert_allclose([line.x[:2], line.y[:2]], [[0, 3600], [0, 2]])


def test_change_is_counted_from_the_first_exposure_in_time() -> None:
    made = plot({"shown": "change", "fit": "line"}, points([[5.0, 1.0], [5.5, math.nan], [6.0, 3.0]]))
    a, b, line = made.panels[0].layers
    np.testing.assert_allclose(a.y, [0, 0.5, 1.0])  # type: ignore[union-attr]
    np.testing.assert_allclose(b.y, [0, math.nan, 2.0])  # type: ignore[union-attr]
    np.testing.assert_allclose(line.y, [0, 1.0, math.nan, 0, 2.0, math.nan])  # type: ignore[union-attr]


def test_what_adds_up() -> None:
    values = points([[3.0], [4.0], [12.0]])
    np.testing.assert_allclose(plot({"against": "number", "shown": "quadrature"}, values).panels[0].layers[0].y, [3, 5, 13])  # type: ignore[union-attr]
    np.testing.assert_allclose(plot({"against": "number", "shown": "sum"}, values).panels[0].layers[0].y, [3, 7, 19])  # type: ignore[union-attr]


def test_a_root_of_the_number_goes_through_the_first() -> None:
    line = plot({"against": "number", "fit": "root"}, points([[2.0], [3.0], [3.0], [4.0]])).panels[0].layers[-1]
    assert line.y[0] == pytest.approx(2.0)  # type: ignore[union-attr]
    assert line.y[-2] == pytest.approx(4.0)  # type: ignore[union-attr]


def test_of_many_elements_the_median_is_drawn_within_their_range() -> None:
    rows = [[float(k + i) for k in range(12)] for i in range(3)]
    made = plot({}, points(rows, of=SNR), SNR)
    (line,) = made.panels[0].layers
    assert isinstance(line, Line)
    assert line.error is not None
    np.testing.assert_allclose(line.y, [5.5, 6.5, 7.5])
    np.testing.assert_allclose(line.error, 0.5 * np.diff(np.percentile(rows[0], (16, 84)))[0])
    assert "12 elements" in made.caption


def test_one_exposure_makes_no_plot_and_a_total_needs_a_rate() -> None:
    assert group_plot(PlotDef(name="p", metric="dark_rate"), RATE, points([[1.0]]), "r0") is None
    with pytest.raises(ValueError, match="needs a rate"):
        PlotDef(name="p", metric="snr", shown="total").unit(SNR)  # type: ignore[arg-type]
    with pytest.raises(ValidationError):
        PlotDef(name="p", metric="snr", against="moon")  # type: ignore[arg-type]
