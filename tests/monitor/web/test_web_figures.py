"""Plots as interactive figures: the same limits, words and numbers as the picture, small, and harmless whatever the names in them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.render.panel import prepare
from monitor.render.style import BADGES, look_for
from monitor.web.figures import figure, panel_figure
from monitor.web.figures_encode import fewer_of_line, fewer_of_points, plain, typed, untyped
from monitor.web.figures_layers import MOST_LINE, MOST_PIXELS, MOST_POINTS
from quicklook.core.plots import Axis, Band, Bars, FocalPlane, Image, Line, Panel, Plot, Scatter, Table
from quicklook.core.status import Status

X, Y = Axis(label="row", unit="pix"), Axis(label="level", unit="electron")
BANDS = (Band(low=0.5, high=4.5, kind="warning", label="warning"), Band(low=1.0, high=4.0, kind="normal", label="normal"))
HOSTILE = '<script>alert(1)</script><a href="javascript:x">%{x}</a> $a$\n\x00'


def panel(*layers: Any, **given: Any) -> Panel:
    return Panel(**{"x": X, "y": Y, "layers": layers, **given})


def strict(item: Any) -> Any:
    """As it goes over the wire; raises where it is not strict JSON."""
    return json.loads(json.dumps(item, allow_nan=False))


@pytest.mark.parametrize("values", [[1.0, np.nan, -3.5], [], [1.6e18, 1.6e18 + 1e6], [np.inf, 0.0], [[1.0, 2.0], [np.nan, 4.0], [5.0, 6.0]]])
def test_arrays_come_back(values: list[float]) -> None:
    array = np.array(values, np.float64)
    back = untyped(strict(typed(array)))
    assert back.shape == array.shape
    span = np.ptp(array[np.isfinite(array)]) if np.isfinite(array).any() else 0.0
    np.testing.assert_allclose(back, array, atol=2e-6 * span, rtol=1e-7)


def test_times_keep_their_seconds() -> None:
    times = 1.64e12 + np.arange(5) * 1000.0
    assert typed(times)["dtype"] == "f8"
    assert np.array_equal(untyped(typed(times)), times)


@given(st.integers(1, 5000), st.integers(10, 300), st.randoms())
def test_no_peak_and_no_gap_of_a_line_is_lost(n: int, most: int, random: Any) -> None:
    y = np.array([random.gauss(0, 1) for _ in range(n)])
    y[random.randrange(n)] = 99.0
    y[random.randrange(n)] = np.nan
    kept, size = fewer_of_line(np.arange(n, dtype=float), y, most)
    chosen = y if kept is None else y[kept]
    assert kept is None or (len(kept) <= most + 10 and size > 1 and kept[0] == 0 and kept[-1] == n - 1)
    assert np.isnan(chosen).any()
    assert np.nanmax(chosen) == np.nanmax(y) if np.isfinite(y).any() else True
    assert np.nanmin(chosen) == np.nanmin(y) if np.isfinite(y).any() else True


def test_the_outermost_of_a_cloud_are_all_drawn() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(2, 40_000))
    y[777], x[3] = 50.0, -60.0
    kept = fewer_of_points([x, y], 2000)
    assert kept is not None
    assert len(kept) <= 2100
    assert {777, 3} <= set(kept.tolist())


def test_limits_and_words_are_those_of_the_picture() -> None:
    one = panel(Line(x=np.arange(10.0), y=np.linspace(0, 5, 10), label="rows"), title="Level", bands=BANDS)
    made, drawn = panel_figure(one), prepare(one, look_for(1, 100), 9.0)
    assert tuple(made["layout"]["yaxis"]["range"]) == drawn.y.limits
    assert made["layout"]["xaxis"]["title"]["text"] == "row [pix]"
    assert made["title"] == "Level"
    edges = {(s["y0"], s["line"]["dash"]) for s in made["layout"]["shapes"] if s["type"] == "line"}
    assert edges == {(0.5, "dash"), (4.5, "dash"), (1.0, "solid"), (4.0, "solid")}
    assert [e["text"] for e in made["legend"]] == ["rows", "normal: 1 to 4 electron", "warning: 0.5 to 4.5 electron"]


def test_hover_says_name_value_unit_and_place_by_the_limits() -> None:
    made = panel_figure(panel(Scatter(x=np.arange(4.0), y=np.array([2.0, 4.2, 9.0, np.nan]), label="seen"), bands=BANDS))
    trace = made["data"][0]
    assert "<b>seen</b>" in trace["hovertemplate"]
    assert "level: %{y} electron" in trace["hovertemplate"]
    assert [t.split()[1] for t in trace["text"][:1]] == ["the"]
    assert "warning" in trace["text"][1]
    assert trace["text"][2].startswith("✖ outside")
    assert trace["text"][3] == "not measured"


def test_bars_have_status_by_pattern_and_word_not_colour_alone() -> None:
    heights, statuses = np.array([2.0, 3.0, np.nan, 9.0]), ("NORMAL", "WARNING", "UNKNOWN", "ALARM")
    bars = Bars(names=("A", "B", "C", "D"), heights=heights, statuses=statuses, words=("", "", "dead", ""))
    made = panel_figure(panel(bars, bands=BANDS))
    looks = [(t["customdata"][0][2], t["marker"]["color"], t["marker"].get("pattern", {}).get("shape")) for t in made["data"]]
    assert looks[1:] == [("WARNING", BADGES[Status.WARNING].colour, "/"), ("ALARM", BADGES[Status.ALARM].colour, "x")]
    assert looks[0][0::2] == ("NORMAL", None)
    assert [untyped(t["y"]).tolist() for t in made["data"]] == [[2.0], [3.0], [9.0]]
    assert {"WARNING", "ALARM"} <= {e["text"] for e in made["legend"]}
    assert made["layout"]["annotations"][0]["text"] == "dead"
    assert made["layout"]["xaxis"]["ticktext"] == ["A", "B", "C", "D"]


@pytest.mark.parametrize("stretch", ["linear", "asinh", "log"])
def test_a_picture_keeps_its_values_whatever_the_stretch(stretch: Any) -> None:
    rng = np.random.default_rng(2)
    values = rng.gamma(2.0, 10.0, (40, 30))
    values[0, 0] = np.nan
    mask = np.zeros((40, 30), bool)
    mask[3, 4] = True
    made = panel_figure(panel(Image(values=values, extent=(-0.5, 29.5, -0.5, 39.5), c_axis=Axis(label="signal", unit="adu"), mask=mask, stretch=stretch)))
    trace, stripes = made["data"]
    np.testing.assert_allclose(untyped(trace["z" if stretch == "linear" else "customdata"]), values, rtol=1e-5)
    z = untyped(trace["z"])
    if stretch != "linear":
        assert np.nanmin(z) >= 0
        assert np.nanmax(z) <= 1
    assert np.all(np.diff(z[1][np.argsort(values[1])]) >= 0)
    assert trace["zmin"] < trace["zmax"]
    assert np.nansum(untyped(stripes["z"])) == 1
    assert {"masked", "no value"} <= {e["text"].partition(" (")[0] for e in made["legend"]}


def test_large_things_are_made_fewer_and_the_figure_says_so() -> None:
    rng = np.random.default_rng(3)
    long = Line(x=np.arange(200_000.0), y=rng.normal(size=200_000))
    cloud = Scatter(x=rng.normal(size=50_000), y=rng.normal(size=50_000))
    picture = Image(values=rng.normal(size=(2100, 2000)), extent=(0, 2000, 0, 2100), c_axis=Axis(label="c"))
    made = [panel_figure(panel(layer)) for layer in (long, cloud, picture)]
    assert len(untyped(made[0]["data"][0]["x"])) <= MOST_LINE + 10
    assert len(untyped(made[1]["data"][0]["x"])) <= MOST_POINTS + 100
    assert max(untyped(made[2]["data"][0]["z"]).shape) <= MOST_PIXELS
    for one, word in zip(made, ("the least and the greatest", "points are drawn", "mean of"), strict=True):
        assert any(word in note for note in one["notes"]), one["notes"]
    assert len(json.dumps(made[2])) < 5_000_000


def test_names_out_of_headers_are_words_and_nothing_else() -> None:
    axis = Axis(label=HOSTILE, unit=HOSTILE)
    layers = (
        Line(x=np.arange(3.0), y=np.arange(3.0), label=HOSTILE),
        Scatter(x=np.arange(3.0), y=np.arange(3.0), c=np.arange(3.0), c_axis=axis, label=HOSTILE),
        Image(values=np.ones((1, 1)), extent=(0, 1, 0, 1), c_axis=axis, words=((HOSTILE,),)),
    )
    panels = [Panel(x=axis, y=axis, layers=(layer,), title=HOSTILE, message=HOSTILE) for layer in layers]
    panels.append(Panel(x=axis, y=axis, layers=(Bars(names=(HOSTILE,), heights=np.ones(1), words=(HOSTILE,), statuses=(HOSTILE,), label=HOSTILE),)))
    made = strict(figure(Plot(name="p", title=HOSTILE, panels=tuple(panels), caption=HOSTILE)))
    for one in made["panels"]:
        for text in _texts({"data": one["data"], "layout": one["layout"]}):
            assert "<script" not in text
            assert "<a " not in text
            assert "%{x}</a>" not in text
    assert plain("a<b & 5 % $x$") == "a&lt;b &amp; 5 &#37; &#36;x&#36;"


def _texts(item: Any) -> Any:
    if isinstance(item, str):
        yield item
    elif isinstance(item, dict):
        for value in item.values():
            yield from _texts(value)
    elif isinstance(item, list):
        for value in item:
            yield from _texts(value)


@pytest.mark.parametrize(
    "layer",
    [
        Line(x=np.arange(3.0), y=np.arange(4.0)), Line(x=np.empty(0), y=np.empty(0)), Line(x=np.array(["a"]), y=np.array(["b"])),
        Scatter(x=np.arange(3.0), y=np.full(3, np.nan)), Scatter(x=np.arange(3.0), y=np.arange(3.0), c=np.arange(2.0)),
        Scatter(x=np.arange(3.0), y=np.arange(3.0), c=np.full(3, np.nan), c_axis=Axis(label="c")),
        Image(values=np.empty((0, 3)), extent=(0, 1, 0, 1), c_axis=Axis(label="c")), Image(values=np.ones(3), extent=(0, 1, 0, 1), c_axis=Axis(label="c")),
        Image(values=np.full((3, 3), np.nan), extent=(0, 1, 0, 1), c_axis=Axis(label="c")), Bars(names=(), heights=np.empty(0)),
        Bars(names=("a", "b"), heights=np.ones(1)), Bars(names=("a", "a"), heights=np.array([np.inf, -np.inf])), Table(header=(), rows=()),
        FocalPlane(x=np.array([1e300, 0.0]), y=np.array([0.0, -1e300]), c=np.zeros(2), c_axis=Axis(label="c")),
    ],
)  # fmt: skip
@pytest.mark.parametrize("log", [False, True])
def test_what_cannot_be_drawn_becomes_words(layer: Any, log: bool) -> None:
    axis = Axis(label="y", log=log)
    made = strict(panel_figure(Panel(x=X, y=axis, layers=(layer,), bands=BANDS)))
    assert made["data"] or made["message"] or made["tables"]


def test_a_table_is_a_table() -> None:
    made = panel_figure(panel(Table(header=("check", "found"), rows=(("night", "good"), ("<b>", "x")))))
    assert made["tables"] == [{"header": ["check", "found"], "rows": [["night", "good"], ["<b>", "x"]]}]
    assert made["data"] is None


@pytest.mark.long
def test_every_example_plot_of_the_qas_becomes_a_figure(tmp_path: Path) -> None:
    """All that chains and builders make of a simulated night; the same plots that are the pictures of the reference."""
    from quicklook.cli.exampleplots import _measured

    seen: dict[str, int] = {}
    for qa, plot in _measured(tmp_path, 5):
        text = json.dumps(figure(plot), allow_nan=False)
        seen[qa.name] = max(seen.get(qa.name, 0), len(text))
        assert len(text) < 3_000_000, (qa.name, len(text))
        for one in json.loads(text)["panels"]:
            assert one["data"] or one["message"] or one["tables"], (qa.name, plot.name)
    pictures = {p.stem for p in Path("docs/reference/qas").glob("*.png")}
    assert pictures <= set(seen), sorted(pictures - set(seen))
