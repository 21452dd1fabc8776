"""PNG and PDF: whole, alike each time, quick to make, and never an exception."""

from __future__ import annotations

import dataclasses
import gc
import io
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import to_rgb
from matplotlib.image import imread

from monitor.render.contact import render_contact_sheet
from monitor.render.layout import Cell, arrange, cell_width
from monitor.render.panel import prepare
from monitor.render.renderer import MOST_PANELS, build, render_pdf, render_png
from monitor.render.style import ALARM, MASK, NORMAL, look_for, styled
from quicklook.core.plots import Axis, Band, Bars, FocalPlane, Image, Line, Panel, Plot, Scatter
from quicklook.core.status import Status

NAMES = ("bias_level", "read_noise", "image_preview", "sky", "snr", "focal_plane", "empty", "long")


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(imread(io.BytesIO(data), format="png"))[..., :3]


def share(data: bytes, colour: str) -> float:
    """Share of pixels that are, to a level or two, of that colour."""
    return float(np.mean(np.all(np.abs(pixels(data) - np.array(to_rgb(colour))) < 0.02, axis=-1)))


def chunks(data: bytes) -> set[bytes]:
    found, at = set(), 8
    while at < len(data):
        (length,) = struct.unpack(">I", data[at : at + 4])
        found.add(data[at + 4 : at + 8])
        at += length + 12
    return found


@pytest.mark.parametrize("name", NAMES)
def test_every_sample_is_drawn_as_png_and_pdf(samples: dict[str, Plot], name: str) -> None:
    data = render_png(samples[name], dpi=60, status=Status.NORMAL, footer="20200219/00051060 r0")
    height, width, _ = pixels(data).shape
    assert width in (round(7.2 * 60), round(9.6 * 60))
    assert 100 < height < 1500
    assert np.mean(np.all(pixels(data) == 1.0, axis=-1)) > 0.1, "the ground is white"
    pdf = render_pdf(samples[name])
    assert pdf.startswith(b"%PDF")
    assert pdf.rstrip().endswith(b"%%EOF")


@pytest.mark.parametrize("name", ["image_preview", "read_noise"])
def test_the_same_plot_gives_the_same_bytes_whatever_the_user_has_set(samples: dict[str, Plot], name: str) -> None:
    png, pdf = render_png(samples[name], dpi=50), render_pdf(samples[name])
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black", "lines.linewidth": 9, "image.cmap": "jet", "savefig.dpi": 10}):
        mine = dict(matplotlib.rcParams)
        assert render_png(samples[name], dpi=50) == png
        assert render_pdf(samples[name]) == pdf
        assert dict(matplotlib.rcParams) == mine, "settings are given back"
    assert chunks(png) <= {b"IHDR", b"IDAT", b"IEND", b"pHYs"}, "no text, no date"
    assert b"Date" not in pdf


def test_the_status_is_shown_in_words_shape_and_colour(samples: dict[str, Plot]) -> None:
    plot = samples["focal_plane"]
    plain = render_png(plot, dpi=60)
    drawn = {s: render_png(plot, dpi=60, status=s) for s in Status}
    assert len({plain, *drawn.values()}) == len(Status) + 1
    assert share(drawn[Status.ALARM], ALARM) > share(plain, ALARM)
    assert share(drawn[Status.NORMAL], NORMAL) > share(plain, NORMAL)
    with styled():
        words = [t.get_text() for t in build(plot, dpi=60, status=Status.UNKNOWN).texts]
    assert "UNKNOWN" in words


def test_the_mask_is_seen(samples: dict[str, Plot]) -> None:
    panel = samples["image_preview"].panels[0]
    (layer,) = panel.layers
    assert isinstance(layer, Image)
    bare = dataclasses.replace(panel, layers=(dataclasses.replace(layer, mask=None),))
    with_mask, without = (render_png(Plot(name="p", title="", panels=(p,)), dpi=80) for p in (panel, bare))
    assert share(with_mask, MASK) > 0.01
    assert share(without, MASK) == 0.0


def test_bands_lie_where_the_limits_say(samples: dict[str, Plot]) -> None:
    with styled():
        figure = build(samples["bias_level"], dpi=60)
        spans = sorted({(round(p.get_y(), 6), round(p.get_y() + p.get_height(), 6)) for p in figure.axes[0].patches})  # type: ignore[attr-defined]
        assert spans == [(998.0, 999.0), (999.0, 1002.0), (1002.0, 1003.0)]
        low, high = figure.axes[0].get_ylim()
        assert low < 998.0
        assert high > 1003.0


def _cells(plot: Plot) -> tuple[Cell, ...]:
    with styled():
        look = look_for(min(plot.columns, len(plot.panels)), 120)
        return arrange([prepare(p, look, cell_width(look)) for p in plot.panels], look, 0.5, 0.5).cells


@pytest.mark.parametrize("name", NAMES)
def test_axes_lie_within_their_cells_and_cells_apart(samples: dict[str, Plot], name: str) -> None:
    cells = _cells(samples[name])
    for cell in cells:
        box, axes = cell.box, cell.axes
        assert box.left < axes.left < axes.left + axes.width <= box.left + box.width + 1e-9
        assert box.bottom < axes.bottom < axes.top < box.top
        assert axes.width > 1.0
    for i, a in enumerate(cells):
        for b in cells[i + 1 :]:
            apart = a.box.left + a.box.width <= b.box.left or a.box.bottom >= b.box.top
            assert apart, "no two panels overlap"


@pytest.mark.parametrize("name", NAMES)
def test_no_text_leaves_the_figure_or_runs_into_another(samples: dict[str, Plot], name: str) -> None:
    with styled():
        figure = build(samples[name], dpi=100, status=Status.WARNING, footer="a line below")
        FigureCanvasAgg(figure).draw()
        whole = figure.bbox
        boxes = []
        for text in [*figure.texts, *(a.xaxis.label for a in figure.axes), *(a.yaxis.label for a in figure.axes)]:
            if text.get_text():
                box = text.get_window_extent()
                # 3 pixels of 100 an inch: letters may hang over by less than a millimetre
                assert box.x0 >= whole.x0 - 3, text.get_text()
                assert box.y0 >= whole.y0 - 3, text.get_text()
                assert box.x1 <= whole.x1 + 3, text.get_text()
                assert box.y1 <= whole.y1 + 3, text.get_text()
                boxes.append((box.shrunk(0.9, 0.7), text.get_text()))
        legends = [(legend.get_window_extent().shrunk(0.95, 0.85), "legend") for legend in figure.legends]
        everything = [*boxes, *legends]
        for i, (a, first) in enumerate(everything):
            for b, second in everything[i + 1 :]:
                assert not a.overlaps(b), f"{first!r} over {second!r}"


def test_a_figure_of_too_many_panels_is_cut_and_says_so() -> None:
    panel = Panel(x=Axis(label="x"), y=Axis(label="y"), layers=())
    with styled():
        figure = build(Plot(name="p", title="t", panels=(panel,) * (MOST_PANELS + 5), columns=6), dpi=50)
    assert len(figure.axes) == MOST_PANELS
    assert any("5 more panels are not drawn" in t.get_text() for t in figure.texts)


@pytest.mark.parametrize("columns", [-1, 0, 1, 3, 99])
def test_any_number_of_columns(columns: int) -> None:
    panel = Panel(x=Axis(label="x"), y=Axis(label="y"), layers=(Line(x=np.arange(3.0), y=np.arange(3.0)),))
    assert render_png(Plot(name="p", title="", panels=(panel,) * 2, columns=columns), dpi=40)
    assert render_png(Plot(name="p", title="", panels=(), columns=columns), dpi=40)


def test_a_resolution_that_no_picture_can_have_is_refused(samples: dict[str, Plot]) -> None:
    for dpi in (0.0, -3.0, np.nan, np.inf):
        with pytest.raises(ValueError, match="dpi"):
            render_png(samples["sky"], dpi=dpi)


def test_a_huge_resolution_is_lowered_to_what_a_png_can_hold() -> None:
    panel = Panel(x=Axis(label="x"), y=Axis(label="y"), layers=())
    plot = Plot(name="p", title="", panels=(panel,) * 60, columns=1)
    width, height = struct.unpack(">II", render_png(plot, dpi=200)[16:24])
    assert height <= 30_001
    assert height > 20 * width


def test_inputs_are_left_as_they_are() -> None:
    values = np.array([[1.0, np.nan], [np.inf, -1.0]])
    mask = np.array([[0, 1], [0, 0]])
    line = np.array([1.0, np.inf])
    for array in (values, mask, line):
        array.flags.writeable = False
    image = Image(values=values, extent=(0, 2, 0, 2), c_axis=Axis(label="v", log=True), mask=mask, stretch="log")
    panels = tuple(Panel(x=Axis(label="x"), y=Axis(label="y"), layers=(layer,)) for layer in (image, Line(x=line, y=line)))
    assert render_png(Plot(name="p", title="", panels=panels), dpi=40)
    assert np.isinf(values[1, 0])


_UNSHRUNK = (Phase.explicit, Phase.reuse, Phase.generate)
anything = st.floats(width=32) | st.sampled_from([0.0, 1e300, -1e300, 5e-324, 1e-300, np.inf, np.nan])
words = st.text(max_size=40)
ends = st.none() | st.floats()


def arrays(shape: int | tuple[int, int]) -> st.SearchStrategy[np.ndarray]:
    floats = hnp.arrays(np.float64, shape, elements=anything)
    return floats | hnp.arrays(np.float32, shape) | hnp.arrays(np.uint16, shape) | hnp.arrays(np.int64, shape) | hnp.arrays(bool, shape)


@st.composite
def layers(draw: st.DrawFn) -> Any:
    n = draw(st.integers(0, 6))
    c_axis = draw(axes())
    kind = draw(st.sampled_from(["line", "scatter", "bars", "image", "focal"]))
    if kind == "line":
        return Line(x=draw(arrays(n)), y=draw(arrays(n)), label=draw(words))
    if kind == "scatter":
        colours = draw(st.none() | arrays(n))
        return Scatter(x=draw(arrays(n)), y=draw(arrays(n)), c=colours, c_axis=draw(st.none() | st.just(c_axis)), label=draw(words))
    if kind == "bars":
        return Bars(names=tuple(draw(st.lists(words, min_size=n, max_size=n))), heights=draw(arrays(n)), label=draw(words))
    if kind == "focal":
        return FocalPlane(x=draw(arrays(n)), y=draw(arrays(n)), c=draw(arrays(n)), c_axis=c_axis, label=draw(words))
    shape = draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))
    extent = draw(st.tuples(*[st.floats()] * 4))
    stretch = draw(st.sampled_from(["linear", "asinh", "log"]))
    percentile = draw(st.tuples(st.floats(), st.floats()) | st.just((1.0, 99.0)))
    mask = draw(st.none() | hnp.arrays(np.uint8, shape))
    return Image(values=draw(arrays(shape)), extent=extent, c_axis=c_axis, mask=mask, stretch=stretch, percentile=percentile)


@st.composite
def axes(draw: st.DrawFn) -> Axis:
    return Axis(label=draw(words), unit=draw(words), log=draw(st.booleans()), range=draw(st.tuples(ends, ends) | st.just((None, None))))


@st.composite
def panels(draw: st.DrawFn) -> Panel:
    band = st.builds(Band, low=ends, high=ends, kind=st.sampled_from(["normal", "warning"]), label=words)
    return Panel(
        x=draw(axes()),
        y=draw(axes()),
        layers=tuple(draw(st.lists(layers(), max_size=3))),
        title=draw(words),
        bands=tuple(draw(st.lists(band, max_size=3))),
    )


@given(st.builds(Plot, name=words, title=words, panels=st.lists(panels(), max_size=2).map(tuple), columns=st.integers(1, 2), caption=words))
@settings(max_examples=60, deadline=None, phases=_UNSHRUNK, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
def test_no_plot_raises(plot: Plot) -> None:
    assert render_png(plot, dpi=30, status=Status.UNKNOWN).startswith(b"\x89PNG")


def test_a_contact_sheet_has_a_cell_for_every_camera(samples: dict[str, Plot]) -> None:
    plots: list[tuple[str, Plot | None]] = [(f"r{i}", samples["image_preview"]) for i in range(7)]
    plots += [("z1", None), ("z2", samples["bias_level"])]
    statuses = {"r0": Status.ALARM, "z1": Status.UNKNOWN}
    data = render_contact_sheet(plots, statuses=statuses, title="all cameras", dpi=50)
    assert data == render_contact_sheet(plots, statuses=statuses, title="all cameras", dpi=50)
    assert share(data, ALARM) > share(render_contact_sheet(plots, title="all cameras", dpi=50), ALARM)
    wide = pixels(render_contact_sheet(plots, columns=9, dpi=50))
    assert wide.shape[1] > 3 * wide.shape[0]
    assert render_contact_sheet([], dpi=50).startswith(b"\x89PNG")


def test_no_pyplot_is_imported() -> None:
    code = "import sys; import monitor.render.renderer, monitor.render.contact; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=Path(__file__).parents[3]).returncode == 0


def test_memory_stays_flat_over_300_figures(samples: dict[str, Plot]) -> None:
    """The process grows by less than 30 MB, where 300 figures that linger would take about 300 MB; other tests have used the process before."""
    panels = (samples["image_preview"].panels[0], samples["bias_level"].panels[0])
    plots = [Plot(name="p", title="one panel", panels=(panel,)) for panel in panels]

    def resident_mb() -> float:
        gc.collect()
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(row.split()[1]) for row in lines if row.startswith("VmRSS")) / 1024

    if not Path("/proc/self/status").exists():
        pytest.skip("the memory of the process is read from /proc")
    for number in range(60):
        render_png(plots[number % 2], dpi=40, status=Status.NORMAL)
    before = resident_mb()
    for number in range(300):
        render_png(plots[number % 2], dpi=40, status=Status.NORMAL)
    assert resident_mb() - before < 30.0


def test_speed_of_a_figure_of_four_panels(samples: dict[str, Plot], benchmark: Any) -> None:
    assert benchmark(lambda: render_png(samples["image_preview"], status=Status.NORMAL)).startswith(b"\x89PNG")


def test_speed_of_a_figure_of_bars_with_limits(samples: dict[str, Plot], benchmark: Any) -> None:
    assert benchmark(lambda: render_png(samples["bias_level"], status=Status.NORMAL)).startswith(b"\x89PNG")
