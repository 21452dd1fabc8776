"""Figures that are drawn straight into pixels are those that matplotlib draws."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from matplotlib.transforms import Bbox
from PIL import Image as Picture

from monitor.render.agg import pixels
from monitor.render.direct import Page
from monitor.render.renderer import build, render_png
from monitor.render.resample import page_picture
from monitor.render.style import styled
from quicklook.core.plots import Axis, Band, Bars, Image, Line, Panel, Plot, Scatter
from quicklook.core.status import Status

DPI = 120.0
X, Y = Axis(label="wavelength", unit="Angstrom"), Axis(label="level", unit="adu")
RNG = np.random.default_rng(4)
ODD: dict[str, Panel] = {
    "logarithmic": Panel(x=Axis(label="x", log=True), y=Axis(label="y", log=True), layers=(
        Line(x=np.geomspace(1, 1e4, 50), y=np.geomspace(0.1, 1e3, 50)), Scatter(x=np.geomspace(1, 1e4, 20), y=np.geomspace(1e3, 0.1, 20)))),
    "gaps and an error": Panel(x=X, y=Y, layers=(
        Line(x=np.arange(60.0), y=np.where(np.arange(60) % 13 == 0, np.nan, np.sin(np.arange(60.0))), error=np.full(60, 0.2)),)),
    "bands and lines beyond the axes": Panel(x=X, y=Axis(label="y", range=(-1.0, 1.0)), bands=(
        Band(low=-0.3, high=0.3, kind="normal"), Band(low=-0.6, high=0.6, kind="warning")),
        layers=(Line(x=np.arange(200.0), y=np.linspace(-3, 3, 200)), Scatter(x=np.arange(200.0), y=RNG.normal(size=200)))),
    "bars missing and bad": Panel(x=X, y=Y, layers=(
        Bars(names=("A", "B", "C", "D"), heights=np.array([1.0, np.nan, -2.0, 3.0]), words=("", "dead", "", "bad"), statuses=("", "", "ALARM", "WARNING")),
        Bars(names=("A", "B", "C", "D"), heights=np.array([2.0, 1.0, 1.0, np.nan]), label="second"))),
    "a large picture with a mask": Panel(x=X, y=X, layers=(Image(
        values=np.add.outer(np.arange(900.0), np.arange(700.0)), extent=(0, 700, 0, 900), c_axis=Axis(label="c", unit="electron"),
        mask=np.add.outer(np.arange(900), np.arange(700)) % 400 < 40),)),
    "a small picture, turned round, with gaps": Panel(x=Axis(label="x", range=(9.0, -1.0)), y=X, layers=(Image(
        values=np.where(np.eye(6, 8) > 0, np.nan, np.arange(48.0).reshape(6, 8)), extent=(-0.5, 7.5, -0.5, 5.5), c_axis=Axis(label="c")),)),
    "coloured points, some without a value": Panel(x=X, y=Y, layers=(Scatter(
        x=np.arange(80.0), y=RNG.normal(size=80), c=np.where(np.arange(80) % 7 == 0, np.nan, np.arange(80.0)), c_axis=Axis(label="c")),)),
    "nothing": Panel(x=X, y=Y, layers=(), message="the lamp was off"),
}  # fmt: skip


def dark(colours: np.ndarray) -> np.ndarray:
    return 1.0 - colours[..., :3].mean(axis=2) / 255


def compare(plot: Plot, status: Status | None = Status.WARNING) -> tuple[float, float]:
    """Mean difference, and the largest over squares of 8 pixels."""
    with styled():
        theirs = dark(np.array(pixels(build(plot, dpi=DPI, status=status, footer="below"), DPI)))
    with Picture.open(io.BytesIO(render_png(plot, dpi=DPI, status=status, footer="below"))) as picture:
        ours = dark(np.asarray(picture.convert("RGB")))
    assert ours.shape == theirs.shape
    rows, columns = (a // 8 * 8 for a in ours.shape)
    coarse = [a[:rows, :columns].reshape(rows // 8, 8, -1, 8).mean(axis=(1, 3)) for a in (ours, theirs)]
    return float(np.abs(ours - theirs).mean()), float(np.abs(coarse[0] - coarse[1]).max())


@pytest.mark.parametrize("name", list(ODD))
def test_a_panel_looks_as_matplotlib_draws_it(name: str) -> None:
    mean, worst = compare(Plot(name="p", title="A title", panels=(ODD[name], ODD[name]), columns=2, caption="Words below."))
    assert mean < 0.006, "pictures are averaged otherwise; all else is the same"
    assert worst < 0.2, "nothing is missing, and nothing is elsewhere"


def test_the_samples_look_as_matplotlib_draws_them(samples: dict[str, Plot]) -> None:
    found = {name: compare(plot) for name, plot in samples.items()}
    assert all(mean < 0.05 and worst < 0.2 for mean, worst in found.values()), found


@pytest.mark.parametrize("angle", [0, 90])
@pytest.mark.parametrize(
    ("ha", "va"), [("left", "baseline"), ("center", "top"), ("right", "center_baseline"), ("center", "center"), ("left", "bottom")]
)
@pytest.mark.parametrize("text", ["Typographic gap [electron]", "two\nlines, one longer"])
def test_words_lie_where_matplotlib_lays_them(text: str, ha: str, va: str, angle: int) -> None:
    with styled():
        figure, page = Figure(figsize=(4, 4), dpi=DPI), Page((4, 4), DPI)
        for one in (figure, page):
            one.text(0.5123, 0.4877, text, ha=ha, va=va, rotation=angle, fontsize=9.0)
        theirs, ours = dark(np.array(pixels(figure, DPI))), dark(np.array(page.pixels(DPI)))
    centres = [[(d.sum(axis=1 - axis) * np.arange(480)).sum() / d.sum() for axis in (0, 1)] for d in (theirs, ours)]
    np.testing.assert_allclose(centres[1], centres[0], atol=0.8)  # words begin at whole pixels


def test_a_picture_on_the_page_is_the_mean_of_what_falls_on_each_pixel() -> None:
    values = np.arange(64.0).reshape(8, 8)
    got = page_picture(values, (10.0, 14.0, 20.0, 24.0), Bbox.from_extents(0, 0, 100, 100), lambda v, bytes: v[..., None] * np.ones(4), lambda v: v)
    assert got is not None
    assert (got.left, got.bottom) == (10, 20)
    np.testing.assert_array_equal(got.colours[..., 0], values.reshape(4, 2, 4, 2).mean(axis=(1, 3)).astype(np.uint8))


def test_of_a_picture_the_part_within_the_axes_is_drawn() -> None:
    box = Bbox.from_extents(12, 0, 16, 4)
    got = page_picture(np.arange(8.0)[None, :].repeat(8, 0), (10.0, 18.0, -2.0, 6.0), box, lambda v, bytes: v[..., None] * np.ones(4), lambda v: v)
    assert got is not None
    assert (got.left, got.bottom, got.colours.shape) == (12, 0, (4, 4, 4))
    np.testing.assert_array_equal(got.colours[0, :, 0], [2, 3, 4, 5])
    assert page_picture(np.ones((2, 2)), (50.0, 60.0, 0.0, 1.0), box, None, None) is None
