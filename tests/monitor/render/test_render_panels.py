"""What a panel says about its data before it is drawn."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from matplotlib.colors import to_rgba

from monitor.render.panel import Prepared, prepare
from monitor.render.renderer import build
from monitor.render.style import ALARM, NORMAL, SERIES, look_for
from quicklook.core.plots import Axis, Band, Bars, FocalPlane, Image, Line, Panel, Plot, Scatter, Table

X, Y = Axis(label="row", unit="pixel"), Axis(label="level", unit="adu")


def ready(*layers: object, x: Axis = X, y: Axis = Y, bands: tuple[Band, ...] = ()) -> Prepared:
    return prepare(Panel(x=x, y=y, layers=layers, bands=bands), look_for(1, 120), 7.0)  # type: ignore[arg-type]


def said(prepared: Prepared) -> str:
    return " ".join(prepared.notes)


def test_gaps_are_counted() -> None:
    y = np.arange(10.0)
    y[[2, 5]] = np.nan, np.inf
    assert said(ready(Line(x=np.arange(10.0), y=y))) == "2 of 10 points not measured (gaps)"
    assert said(ready(Line(x=np.arange(10.0), y=np.arange(10.0)))) == ""


def test_what_is_off_the_scale_is_counted() -> None:
    y = np.array([-1.0, 0.0, 1.0, 10.0])
    x = np.arange(4.0)
    assert said(ready(Scatter(x=x, y=y), y=Axis(label="y", log=True))) == "2 of 4 points not above zero, off the logarithmic scale"
    assert said(ready(Line(x=x, y=y), y=Axis(label="y", range=(-2.0, 5.0)))) == "1 of 4 points outside the range shown"
    bars = Bars(names=("A", "B"), heights=np.array([1.0, 9.0]))
    assert said(ready(bars, y=Axis(label="y", range=(0.0, 5.0)))) == "1 of 2 bars outside the range shown"


def test_counts_are_summed_over_the_layers_that_have_any() -> None:
    x = np.arange(5.0)
    holed = np.array([1.0, np.nan, 1.0, np.nan, 1.0])
    assert said(ready(Line(x=x, y=holed), Line(x=x, y=holed), Line(x=x, y=x))) == "4 of 10 points not measured (gaps)"


@pytest.mark.parametrize(
    ("layers", "message"),
    [
        ((), "no data"),
        ((Line(x=np.empty(0), y=np.empty(0)),), "no data"),
        ((Line(x=np.arange(3.0), y=np.full(3, np.nan)),), "no data\nnone of 3 points has a value"),
        ((Bars(names=(), heights=np.empty(0)),), "no data"),
        ((Image(values=np.empty((0, 4)), extent=(0, 1, 0, 1), c_axis=Y),), "no data"),
        ((Line(x=np.arange(3.0), y=np.arange(4.0)),), "cannot be drawn\nlengths differ: x has 3, y has 4"),
        ((Bars(names=("A",), heights=np.arange(2.0)),), "cannot be drawn\nlengths differ: 1 names, 2 heights"),
        ((FocalPlane(x=np.arange(2.0), y=np.arange(2.0), c=np.arange(3.0), c_axis=Y),), "cannot be drawn\nlengths differ: x has 2, c has 3"),
        ((Image(values=np.zeros(4), extent=(0, 1, 0, 1), c_axis=Y),), "cannot be drawn\nimage has shape (4,), it needs two axes [ny, nx]"),
        ((Line(x=np.array(["a"]), y=np.arange(1.0)),), "cannot be drawn\nx holds <U1, which cannot be drawn as numbers"),
    ],
)
def test_empty_and_wrong_data_become_words(layers: tuple[object, ...], message: str) -> None:
    assert ready(*layers).message == message


def test_a_wrong_layer_does_not_take_the_others_with_it() -> None:
    prepared = ready(Line(x=np.arange(3.0), y=np.arange(4.0)), Line(x=np.arange(3.0), y=np.arange(3.0)))
    assert prepared.message == ""
    assert "a layer cannot be drawn: lengths differ" in said(prepared)


def test_a_mask_of_another_shape_is_refused() -> None:
    prepared = ready(Image(values=np.zeros((4, 4)), extent=(0, 4, 0, 4), c_axis=Y, mask=np.zeros((4, 5))))
    assert "mask has shape (4, 5)" in prepared.message


def test_bars_that_were_not_measured_stay_and_are_counted_where_words_have_no_room() -> None:
    few = ready(Bars(names=("A", "B"), heights=np.array([np.nan, np.nan])))
    assert few.message == ""
    assert few.x.texts == ("A", "B")
    names = tuple(str(i) for i in range(100))
    many = ready(Bars(names=names, heights=np.where(np.arange(100) < 7, np.nan, 1.0)))
    assert [text for _, text in many.entries] == ["not measured (7)"]
    assert len(many.x.texts) <= 48, "names are thinned out where they have no room"


def test_bars_stand_on_zero_unless_a_range_is_given() -> None:
    bars = Bars(names=("A", "B"), heights=np.array([2.6, 2.9]))
    assert ready(bars).y.limits[0] == 0.0
    assert ready(bars, y=Axis(label="y", range=(2.0, 3.0))).y.limits == (2.0, 3.0)
    low, high = ready(bars, y=Axis(label="y", range=(None, -1.0))).y.limits
    assert low < high == -1.0, "a range that shows none of them is still a range"
    low, high = ready(Bars(names=("A", "B"), heights=np.array([-2.0, 1.0]))).y.limits
    assert low < -2.0
    assert high > 1.0


def test_words_of_bars_stand_at_them_and_statuses_are_explained() -> None:
    layer = Bars(names=("A", "B", "C", "D"), heights=np.array([2.6, np.nan, 9.0, np.nan]), words=("", "dead", "", ""), statuses=("NORMAL", "UNKNOWN", "ALARM", ""))
    assert [text for _, text in ready(layer).entries] == ["ALARM"]
    panel = Panel(x=X, y=Y, layers=(layer,))
    figure = build(Plot(name="p", title="p", panels=(panel,)), dpi=100)
    words = [t.get_text() for t in figure.axes[0].texts]
    assert words == ["2.6", "9", "dead", "not measured"]
    colours = [p.get_facecolor() for p in figure.axes[0].patches[:2]]
    assert colours == [to_rgba(SERIES[0]), to_rgba(ALARM)]
    wrong = dataclasses.replace(layer, words=("dead",), statuses=("ALARM",))
    assert ready(wrong).entries == []


def test_a_table_is_as_high_as_its_words_and_has_no_axes() -> None:
    table = Table(header=("check", "found", "details"), rows=(("headers", "good", ""), ("night", "1 d", "long " * 80), ("short row",)))
    prepared = ready(table)
    assert (prepared.message, prepared.x.label, prepared.y.texts) == ("", "", ())
    (plan,) = prepared.plans
    assert plan.height is not None
    assert 0.5 < plan.height < 2.0
    figure = build(Plot(name="p", title="p", panels=(Panel(x=X, y=Y, layers=(table,)),)), dpi=100)
    texts = [t.get_text() for t in figure.axes[0].texts]
    assert {"check", "found", "details", "headers", "good", "night", "1 d", "short row"} <= set(texts)
    assert any(t.endswith("…") for t in texts), "what has no room is cut, and marked"
    assert not figure.axes[0].axison
    assert ready(Table(header=("a",), rows=())).message.startswith("no data")
    many = ready(Table(header=("a",), rows=(("x",),) * 100))
    assert said(many) == "40 more rows are not shown"


def test_points_on_the_end_of_an_axis_are_not_cut() -> None:
    asked = Axis(label="part", range=(0.0, 1.0))
    on_it = Scatter(x=np.arange(5.0), y=np.array([0.5, 1.0, 1.0, 0.6, 0.7]))
    low, high = ready(on_it, y=asked).y.limits
    assert low == 0.0, "no point lies there"
    assert 1.01 < high < 1.1
    assert ready(Line(x=on_it.x, y=on_it.y), y=asked).y.limits[1] > 1.01, "nor is half of a line"
    inside = dataclasses.replace(on_it, y=np.full(5, 0.5))
    assert ready(inside, y=asked).y.limits == (0.0, 1.0)
    assert ready(on_it, x=Axis(label="row", range=(0.0, None))).x.limits[0] < 0.0


def test_counts_have_no_ticks_between_whole_numbers() -> None:
    none = ready(Bars(names=("A", "B"), heights=np.zeros(2)))
    assert none.y.texts == ("0", "1")
    assert ready(Bars(names=("A",), heights=np.zeros(1)), y=Axis(label="y", range=(0.0, None))).y.texts == ("0", "1")
    some = ready(Bars(names=("A", "B"), heights=np.array([3.0, np.nan])))
    assert some.y.texts == ("0", "1", "2", "3")
    assert "2.5" in ready(Bars(names=("A",), heights=np.array([2.7]))).y.texts


def test_bars_of_several_layers_share_their_categories_by_name() -> None:
    prepared = ready(Bars(names=("A", "B"), heights=np.array([1.0, 2.0])), Bars(names=("B", "C"), heights=np.array([3.0, 4.0])))
    assert prepared.x.texts == ("A", "B", "C")
    assert len(prepared.plans) == 1
    assert said(prepared) == "", "a category that a layer does not have is not one that was not measured"


def test_limits_are_named_with_their_ranges_and_unit() -> None:
    pair = (Band(low=1.0, high=5.0, kind="warning", label="warning"), Band(low=2.0, high=4.0, kind="normal", label="normal"))
    texts = [t for _, t in ready(Line(x=np.arange(3.0), y=np.full(3, 3.0)), bands=pair).entries]
    assert texts == ["normal: 2 to 4 adu", "warning: 1 to 5 adu"]


def test_points_of_a_status_have_its_colour_and_shape() -> None:
    layers = [Scatter(x=np.arange(2.0), y=np.arange(2.0), label=label) for label in ("missing", "ALARM", "NORMAL")]
    looks = [(handle.get_color(), handle.get_marker()) for handle, _ in ready(*layers).entries]  # type: ignore[union-attr]
    assert looks == [(SERIES[0], "o"), (ALARM, "X"), (NORMAL, "o")]


def test_layers_with_one_axis_of_colour_share_its_scale() -> None:
    signal = Axis(label="signal", unit="electron")
    left = Image(values=np.zeros((4, 4)), extent=(0, 4, 0, 4), c_axis=signal, percentile=(0, 100))
    right = dataclasses.replace(left, values=np.full((4, 4), 10.0), extent=(4, 8, 0, 4))
    (scale,) = ready(left, right).scales
    assert (scale.norm.vmin, scale.norm.vmax) == (0.0, 10.0)
    other = dataclasses.replace(right, c_axis=Axis(label="time", unit="s"))
    assert len(ready(left, other).scales) == 2


def test_the_focal_plane_has_equal_scales() -> None:
    layer = FocalPlane(x=np.array([-400.0, 400.0]), y=np.array([-200.0, 200.0]), c=np.array([1.0, np.nan]), c_axis=Y)
    prepared = ready(layer)
    (x0, x1), (y0, y1) = prepared.x.limits, prepared.y.limits
    assert prepared.ratio == pytest.approx((y1 - y0) / (x1 - x0))
    assert [t for _, t in prepared.entries] == ["not measured (1 of 2)"]


def test_every_sample_says_its_units(samples: dict[str, Plot]) -> None:
    for plot in samples.values():
        for panel in plot.panels:
            prepared = prepare(panel, look_for(plot.columns, 120), 4.5)
            for axis, ruler in ((panel.x, prepared.x), (panel.y, prepared.y)):
                assert f"[{axis.unit}]" in ruler.label or not axis.unit
