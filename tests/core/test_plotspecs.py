"""Plots by configuration: what a file may say, and what is made of a finished result."""

from __future__ import annotations

import numpy as np
import pytest

from quicklook.core.document import Document
from quicklook.core.errors import BadConfig
from quicklook.core.figures import PREFIX, Figure, figures_of
from quicklook.core.judge import Judge
from quicklook.core.limits import Limit, LimitSet
from quicklook.core.metrics import Measures, MetricDef, measured, not_applicable
from quicklook.core.plots import Bars, FocalPlane, Image, Line, Panel, Scatter
from quicklook.core.plotspecs import FigureSpec, load_plot_specs
from quicklook.core.results import PartResult, Provenance, QAResult
from quicklook.core.status import Status
from quicklook.core.yamlsource import parse_yaml

NOISE = MetricDef("noise", "electron", dims=("amp",), doc="Noise.")
X, Y = (MetricDef(n, "mm", dims=("fiber",), doc="Place.") for n in ("place_x", "place_y"))
LIGHT = MetricDef("light", "mag", dims=("fiber",), doc="Light of targets.")
SKY = MetricDef("sky", "", dims=("window", "fiber"), doc="Sky.")
TOTAL = MetricDef("total", "", doc="One number.")
LATER = MetricDef("later", "s", dims=("amp",), doc="Does not apply.")
METRICS = {m.name: m for m in (NOISE, X, Y, LIGHT, SKY, TOTAL, LATER)}


def result(flavor: str = "science") -> PartResult:
    measures = Measures(
        (
            measured("noise", [2.5, np.nan, 9.0, 3.0], amp="ABCD"),
            measured("place_x", [0.0, 1.0, 2.0, 3.0], fiber=range(4)),
            measured("place_y", [5.0, 6.0, 7.0, 8.0], fiber=range(4)),
            measured("light", [0.1, 0.3], fiber=(1, 3)),
            measured("sky", [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]], window=("red", "blue"), fiber=(10, 11, 13)),
            measured("total", 1.0),
            not_applicable("later", "it is early"),
        )
    )
    limit = Limit(metric="noise", unit="electron", normal=(1.0, 4.0), warning=(0.5, 5.0), reason="r", action="a")
    metrics = Judge(LimitSet((limit,))).measures(tuple(METRICS.values()), measures, {})
    qa = QAResult(name="q", step="s", group="g", status=Status.ALARM, seconds=0.0, metrics=metrics)
    about = {"night": 20220101, "expid": 7, "part": "r0", "tag": "t", "revision": 0, "tags": {"flavor": flavor, "camera": "r0"}}
    provenance = Provenance(versions={}, chain="c", config_sha256="", limits_sha256="")
    return PartResult(**about, status=Status.ALARM, reasons=[], measured=1, expected=1, steps=[], qas=[qa], provenance=provenance)


def doc(panel: str, figure: str = "") -> Document:
    return parse_yaml(f"plots: mine\nfigures:\n  - name: one\n{figure}    panels:\n      - {panel}\n", "mine.yaml")


def specs(panel: str, figure: str = "") -> tuple[FigureSpec, ...]:
    return load_plot_specs([doc(panel, figure)], METRICS, ("flavor", "camera"))


def drawn(panel: str, figure: str = "", flavor: str = "science") -> list[Figure]:
    return figures_of(specs(panel, figure), result(flavor))


def panel_of(panel: str) -> Panel:
    (figure,) = drawn(panel)
    assert figure.plot.name == f"{PREFIX}one"
    return figure.plot.panels[0]


def test_bars_have_bands_statuses_and_units() -> None:
    got = panel_of("{kind: 2d, x: amp, y: noise}")
    (bars,) = got.layers
    assert isinstance(bars, Bars)
    assert bars.names == tuple("ABCD")
    np.testing.assert_array_equal(bars.heights, [2.5, np.nan, 9.0, 3.0])
    assert bars.statuses == ("NORMAL", "UNKNOWN", "ALARM", "NORMAL")
    assert (got.y.label, got.y.unit, got.x.label) == ("noise", "electron", "amplifier")
    assert [(b.kind, b.low, b.high) for b in got.bands] == [("warning", 0.5, 5.0), ("normal", 1.0, 4.0)]


def test_metrics_are_paired_by_their_coordinates() -> None:
    (points,) = panel_of("{kind: 3d, x: place_x, y: place_y, z: {name: light, range: [-1, 1]}, equal: true}").layers
    assert isinstance(points, FocalPlane)
    np.testing.assert_array_equal(points.x, [1.0, 3.0])
    np.testing.assert_array_equal(points.y, [6.0, 8.0])
    np.testing.assert_array_equal(points.c, [0.1, 0.3])
    assert (points.c_axis.unit, points.c_axis.range) == ("mag", (-1.0, 1.0))
    (two,) = panel_of("{kind: 2d, x: place_x, y: light, style: line}").layers
    assert isinstance(two, Line)
    np.testing.assert_array_equal(two.x, [1.0, 3.0])


def test_an_element_is_chosen_with_at() -> None:
    (points,) = panel_of("{kind: 2d, x: fiber, y: {name: sky, at: {window: blue}}}").layers
    assert isinstance(points, Scatter)
    np.testing.assert_array_equal(points.x, [10, 11, 13])
    np.testing.assert_array_equal(points.y, [4, 5, 6])
    green = "{kind: 2d, x: fiber, y: {name: sky, at: {window: green}}}"
    assert drawn(green) == []
    (asked,) = figures_of(specs(green), result(), names=["one"])
    assert asked.plot.panels[0].message == "sky of window green was not measured"


def test_a_patch_is_laid_out_by_names_from_above() -> None:
    got = panel_of("{kind: patch, z: noise, layout: [[C, D], [A, B]]}")
    (image,) = got.layers
    assert isinstance(image, Image)
    np.testing.assert_array_equal(image.values, [[2.5, np.nan], [9.0, 3.0]])
    assert image.words == (("A\n2.5", "B\nnot\nmeasured"), ("C\n9\nALARM", "D\n3"))
    assert "normal: 1 to 4 electron" in got.title


def test_a_patch_by_bundle_leaves_gaps() -> None:
    (image,) = panel_of("{kind: patch, z: light, bundle: 2}").layers
    assert isinstance(image, Image)
    np.testing.assert_array_equal(image.values, [[np.nan, np.nan], [0.1, 0.3]])
    assert image.extent == (-0.5, 1.5, -0.5, 1.5)


@pytest.mark.parametrize(("x", "shape"), [("", (2, 3)), ("x: fiber, ", (2, 3)), ("x: window, ", (3, 2))])
def test_a_patch_of_two_dimensions(x: str, shape: tuple[int, int]) -> None:
    got = panel_of(f"{{kind: patch, {x}z: sky}}")
    (image,) = got.layers
    assert isinstance(image, Image)
    assert image.values.shape == shape
    whole = np.array([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]])
    np.testing.assert_array_equal(image.values, whole if shape == (2, 3) else whole.T)
    assert ("red", "blue") in (got.x.names, got.y.names)


def test_what_was_not_measured_says_so() -> None:
    got = panel_of("{kind: 2d, x: amp, y: noise}\n      - {kind: 2d, x: amp, y: later}")
    assert got.layers
    (figure,) = drawn("{kind: 2d, x: amp, y: noise}\n      - {kind: 2d, x: amp, y: later}")
    assert figure.plot.panels[1].message == "later was not measured: it is early"
    assert figure.status is Status.ALARM
    assert drawn("{kind: 2d, x: amp, y: later}") == [], "a figure of nothing is not drawn"
    (asked,) = figures_of(specs("{kind: 2d, x: amp, y: later}"), result(), names=["one"])
    assert not asked.plot.panels[0].layers


def test_conditions_and_titles() -> None:
    panel, figure = "{kind: 2d, x: amp, y: noise}", '    title: "{camera} of {expid}, {flavor}"\n    when: {flavor: [sci*], camera: r0}\n'
    assert [f.plot.title for f in drawn(panel, figure)] == ["r0 of 00000007, science"]
    assert drawn(panel, figure, flavor="arc") == []


def test_a_later_file_goes_before() -> None:
    first, second = doc("{kind: 2d, x: amp, y: noise}"), doc("{kind: 2d, x: fiber, y: light}")
    (only,) = load_plot_specs([first, second], METRICS)
    assert only.panels[0].kind == "2d"
    assert figures_of([only], result())[0].plot.panels[0].y.unit == "mag"


@pytest.mark.parametrize(
    ("panel", "figure", "says"),
    [
        ("{kind: 2d, x: amp, y: noises}", "", "mine.yaml:5.*no QA measures 'noises'; did you mean 'noise'"),
        ("{kind: 2d, x: fiber, y: noise}", "", "'fiber' is neither a metric nor a dimension of noise"),
        ("{kind: 2d, x: place_x, y: noise}", "", "place_x is over fiber, noise over amp; they cannot be paired"),
        ("{kind: 2d, x: amp, y: total}", "", "total is over none"),
        ("{kind: 2d, x: fiber, y: sky}", "", "sky is over window, fiber; 1 dimension must be left"),
        ("{kind: 2d, x: fiber, y: {name: sky, at: {line: 1}}}", "", "sky has no dimension 'line'"),
        ("{kind: 2d, x: fiber, y: [light, place_y]}", "", "metrics of one axis must have one unit"),
        ("{kind: patch, z: noise}", "", "a patch of one dimension needs `layout` or `bundle`"),
        ("{kind: patch, z: noise, bundle: 2, layout: [[A]]}", "", "not two"),
        ("{kind: patch, z: noise, layout: [[A, B], [A]]}", "", "differ in length"),
        ("{kind: patch, z: sky, x: amp}", "", "'amp' is not a dimension of sky"),
        ("{kind: 4d, x: amp, y: noise}", "", "kind"),
        ("{kind: 2d, x: amp, y: noise, colour: red}", "", "unknown key 'colour'"),
        ("{kind: 2d, x: amp, y: noise}", "    when: {flavour: science}\n", "there is no tag 'flavour'; did you mean 'flavor'"),
        ("{kind: 2d, x: amp, y: noise}", '    title: "{night} {object}"\n', "the title names {object}"),
    ],
)
def test_what_cannot_be_drawn_is_refused_with_its_line(panel: str, figure: str, says: str) -> None:
    with pytest.raises(BadConfig, match=says) as refused:
        specs(panel, figure)
    assert "mine.yaml:" in str(refused.value)


def test_of_many_metrics_the_nearest_are_named() -> None:
    many = {f"metric_{i:03d}": next(iter(METRICS.values())) for i in range(300)} | METRICS
    text = "plots: p\nfigures:\n  - {name: one, panels: [{kind: 2d, x: amp, y: metric_212x}]}\n"
    with pytest.raises(BadConfig) as refused:
        load_plot_specs([parse_yaml(text, "mine.yaml")], many)
    said = str(refused.value)
    assert "did you mean 'metric_212'" in said
    assert f"there are {len(many)} valid metrics, `quicklook list metrics` shows them" in said
    assert len(said) < 300


def test_a_list_is_not_called_too_short_for_what_is_wrong_in_it() -> None:
    text = "plots: p\nfigures:\n  - {name: one, panels: [{kind: 2d, x: amp, y: noise, colour: red}]}\n  - {name: two, panels: []}\n"
    with pytest.raises(BadConfig) as refused:
        load_plot_specs([parse_yaml(text, "mine.yaml")], METRICS)
    lines = str(refused.value).splitlines()
    assert len(lines) == 2, lines
    assert "unknown key 'colour'" in lines[0]
    assert "(figures[1].panels): must not be empty; given []" in lines[1]


def test_a_name_is_used_once_in_a_file() -> None:
    text = "plots: p\nfigures:\n" + 2 * "  - {name: one, panels: [{kind: 2d, x: amp, y: noise}]}\n"
    with pytest.raises(BadConfig, match=r"twice\.yaml:4.*used twice"):
        load_plot_specs([parse_yaml(text, "twice.yaml")], METRICS)
