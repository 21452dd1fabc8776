"""Figures drawn our way are those that matplotlib draws, and their PNG holds them pixel by pixel."""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from PIL import Image as Picture

from monitor.render.agg import encoded, pixels, width_of
from monitor.render.bare import bare_axes
from monitor.render.legend import draw_legend
from monitor.render.renderer import build
from monitor.render.style import look_for, styled
from quicklook.core.plots import Plot

DPI = 120.0


def both(make: Callable[[], Figure]) -> tuple[np.ndarray, np.ndarray]:
    """Darkness of the figure by matplotlib and by us: 0 white, 1 black."""
    with styled():
        theirs = FigureCanvasAgg(make())
        theirs.draw()
        found = np.asarray(theirs.buffer_rgba()).copy(), np.array(pixels(make(), DPI))
    first, second = (1.0 - a[..., :3].mean(axis=2) / 255 for a in found)
    return first, second


def centre(dark: np.ndarray) -> np.ndarray:
    """Mean place of the ink, pixel."""
    return np.array([(dark.sum(axis=1 - axis) * np.arange(dark.shape[axis])).sum() / dark.sum() for axis in (0, 1)])


@pytest.mark.parametrize("angle", [0, 90, 30])
@pytest.mark.parametrize(("ha", "va"), [("left", "baseline"), ("center", "top"), ("right", "center_baseline"), ("center", "center")])
@pytest.mark.parametrize("text", ["Typographic gap [electron]", "0.25"])
def test_words_lie_where_matplotlib_lays_them(text: str, ha: str, va: str, angle: int) -> None:
    def make() -> Figure:
        figure = Figure(figsize=(4, 4), dpi=DPI)
        figure.text(0.5123, 0.4877, text, ha=ha, va=va, rotation=angle, fontsize=9.0)
        return figure

    theirs, ours = both(make)
    assert ours.sum() == pytest.approx(theirs.sum(), rel=0.05)
    assert np.abs(centre(ours) - centre(theirs)).max() < 0.8, "words begin at whole pixels: half a pixel, and what hinting moves of it"


@pytest.mark.parametrize("name", ["bias_level", "image_preview", "focal_plane"])
def test_a_whole_figure_is_as_matplotlib_draws_it(samples: dict[str, Plot], name: str) -> None:
    theirs, ours = both(lambda: build(samples[name], dpi=DPI))
    assert ours.shape == theirs.shape
    assert np.abs(ours - theirs).mean() < 0.015, "edges of letters alone"
    rows, columns = (a // 8 * 8 for a in ours.shape)
    coarse = [a[:rows, :columns].reshape(rows // 8, 8, -1, 8).mean(axis=(1, 3)) for a in (ours, theirs)]
    assert np.abs(coarse[0] - coarse[1]).max() < 0.25, "nothing is missing, and nothing is elsewhere"


def test_words_of_one_figure_do_no_harm_to_those_of_the_next() -> None:
    def words(text: str) -> np.ndarray:
        with styled():
            figure = Figure(figsize=(2, 1), dpi=DPI)
            figure.text(0.1, 0.5, text, fontsize=9.0)
            return np.array(pixels(figure, DPI))

    first = words("abc")
    assert not np.array_equal(words("abd"), first)
    assert np.array_equal(words("abc"), first)


def test_a_png_holds_every_pixel_and_its_resolution() -> None:
    rng = np.random.default_rng(3)
    opaque = rng.integers(0, 256, (37, 53, 4), np.uint8)
    opaque[..., 3] = 255
    with Picture.open(io.BytesIO(encoded(opaque, DPI))) as picture:
        assert picture.mode == "RGB"
        assert picture.info["dpi"] == pytest.approx((DPI, DPI), rel=1e-3)  # the form has whole pixels a metre
        np.testing.assert_array_equal(np.asarray(picture), opaque[..., :3])


def test_bare_axes_have_their_frame_and_no_tick() -> None:
    with styled():
        figure = Figure(figsize=(4, 3), dpi=100)
        ax = bare_axes(figure, 0.25, 0.2, 0.5, 0.6)
        ax.set_xlim(-5, 5)
        ax.set_ylim(1, 2)
        dark = 1.0 - pixels(figure, 100)[..., :3].mean(axis=2) / 255
    inked = dark > 0.3
    lines = [np.flatnonzero(inked.mean(axis=1 - axis) > 0.4) for axis in (0, 1)]
    assert [(a.min(), a.max()) for a in lines] == [
        (pytest.approx(60, abs=1), pytest.approx(240, abs=1)),
        (pytest.approx(100, abs=1), pytest.approx(300, abs=1)),
    ]
    assert not inked[:58].any()
    assert not inked[243:].any(), "no ticks, no texts"


def test_a_legend_shows_each_handle_beside_its_text() -> None:
    with styled():
        look = look_for(1, DPI)
        figure = Figure(figsize=(look.width, 2), dpi=DPI)
        entries = [
            (Line2D([], [], color="red", linewidth=3), "a line"),
            (Line2D([], [], color="blue", linestyle="", marker="o"), "points"),
            (Line2D([], []), "x"),
        ]
        draw_legend(figure, entries, 1.0, 1.5, 2, look)
        texts = {t.get_text(): t.get_window_extent() for t in figure.texts}
        picture = pixels(figure, DPI).astype(int)
    height = picture.shape[0]
    for text, colour in (("a line", 0), ("points", 2)):
        box = texts[text]
        left = max(int(box.x0 - 0.35 * DPI), 0)
        beside = picture[int(height - box.y1) : int(height - box.y0), left : int(box.x0)]
        assert ((beside[..., colour] > 200) & (beside.sum(axis=2) < 255 + 300)).any(), f"the handle of {text}"
    assert texts["points"].x0 == texts["a line"].x0, "the first column has two"
    assert texts["x"].x0 > texts["points"].x1
    assert texts["points"].width / DPI == pytest.approx(width_of("points", look.small, DPI), rel=0.05)
