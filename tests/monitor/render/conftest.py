"""Plots of every kind, well-behaved and not, for the tests of the renderer."""

from __future__ import annotations

import numpy as np
import pytest

from quicklook.core.plots import Axis, Band, Bars, FocalPlane, Image, Line, Panel, Plot, Scatter

AMPS = ("A", "B", "C", "D")


def bands(low: float | None = 1.5, high: float | None = 4.0, wide: float = 0.5) -> tuple[Band, Band]:
    warning = Band(low=None if low is None else low - wide, high=None if high is None else high + wide, kind="warning", label="warning")
    return warning, Band(low=low, high=high, kind="normal", label="normal")


def lines() -> Plot:
    rng = np.random.default_rng(1)
    x = np.arange(512.0)
    panels = []
    for i, amp in enumerate(AMPS):
        y = 1000 + 0.6 * i + 0.3 * np.sin(x / 60) + rng.normal(0, 0.12, x.size)
        if amp == "B":
            y[100:140] = np.nan
            y[120] = y[99]
        if amp == "D":
            y[300:] += 3
        panel = Panel(
            x=Axis(label="row", unit="pixel"),
            y=Axis(label="overscan level", unit="adu"),
            layers=(Line(x=x, y=y, label="row mean"), Line(x=x, y=np.full(512, np.nanmedian(y)), label="median")),
            title=f"r0 amplifier {amp}",
            bands=bands(999.0, 1002.0, 1.0),
        )
        panels.append(panel)
    title = "r0: overscan level along the rows"
    return Plot(name="bias_level", title=title, panels=tuple(panels), columns=2, caption="Dashed edges: warning.")


def bars() -> Plot:
    noise = Bars(names=AMPS, heights=np.array([2.61, 2.97, np.nan, 4.31]), label="overscan")
    image = Bars(names=AMPS, heights=np.array([2.7, 3.1, 2.2, 4.5]), label="image area")
    y = Axis(label="read noise", unit="electron")
    many = Bars(names=tuple(f"{a}{s}{q}" for a in "brz" for s in range(10) for q in AMPS), heights=np.where(np.arange(120) % 17, 2.5, np.nan))
    first = Panel(x=Axis(label="amplifier"), y=y, layers=(noise,), title="r0: read noise", bands=bands())
    second = Panel(x=Axis(label="amplifier"), y=y, layers=(noise, image), title="r0: from overscan and from the image area", bands=bands(None, 4.0))
    third = Panel(x=Axis(label="camera and amplifier"), y=y, layers=(many,), title="all cameras", bands=bands())
    return Plot(name="read_noise", title="Read noise of the amplifiers", panels=(first, second, third))


def scene(ny: int = 264, nx: int = 256) -> np.ndarray:
    rng = np.random.default_rng(2)
    y, x = np.mgrid[:ny, :nx]
    traces = np.exp(-0.5 * (((x - 8 * np.sin(y / 150)) % 9 - 4) / 1.1) ** 2)
    sky = 5 + 900 * np.isin(np.arange(ny), (40, 41, 42, 130, 200, 201))[:, None]
    return (traces * sky + rng.normal(0, 2.6, (ny, nx))).astype(np.float32)


def image_panel(values: np.ndarray, mask: np.ndarray | None = None, *, stretch: str = "asinh", title: str = "r0: preproc image") -> Panel:
    ny, nx = values.shape
    layer = Image(
        values=values, extent=(0.5, 16 * nx + 0.5, 0.5, 16 * ny + 0.5), c_axis=Axis(label="signal", unit="electron"), mask=mask, stretch=stretch
    )
    return Panel(x=Axis(label="column", unit="pixel"), y=Axis(label="row", unit="pixel"), layers=(layer,), title=title)


def images() -> Plot:
    values = scene()
    mask = np.zeros(values.shape, np.uint16)
    mask[150:200, 60:120] = 1
    mask[:, 200] = 2
    mask[np.random.default_rng(3).integers(0, 256, 60), np.random.default_rng(4).integers(0, 256, 60)] = 16
    holes = values.copy()
    holes[:132, :128] = np.nan
    panels = (
        image_panel(values, mask),
        image_panel(holes, stretch="log", title="r0: logarithmic, an amplifier without values"),
        image_panel(np.full((264, 256), 65535, np.uint16), np.ones((264, 256), np.uint8), stretch="linear", title="constant, all masked"),
        image_panel(np.full((264, 256), np.nan), title="not one pixel has a value"),
    )
    return Plot(name="image_preview", title="r0 00051060: image previews", panels=panels, columns=2)


def heat() -> Plot:
    rng = np.random.default_rng(5)
    layer = Image(values=rng.normal(0, 1, (50, 300)), extent=(5600, 7800, -0.5, 499.5), c_axis=Axis(label="residual", unit="sigma"))
    panel = Panel(x=Axis(label="wavelength", unit="Angstrom"), y=Axis(label="fibre"), layers=(layer,), title="sky residuals")
    return Plot(name="sky", title="r0: residuals after sky subtraction", panels=(panel,))


def scatters() -> Plot:
    rng = np.random.default_rng(6)
    mag = rng.uniform(17, 24, 500)
    snr = 10 ** (-0.4 * (mag - 22)) * rng.lognormal(0, 0.2, 500)
    colour = rng.normal(0, 1, 500)
    colour[:20] = np.nan
    snr[30:33] = np.nan
    snr[40:42] = -1
    x, y = Axis(label="magnitude r"), Axis(label="S/N", log=True)
    many = tuple(Scatter(x=mag[i::4], y=snr[i::4], label=t) for i, t in enumerate(("ELG", "LRG", "QSO", "STD")))
    fit = Line(x=np.array([17, 24.0]), y=10 ** (-0.4 * np.array([-5.0, 2])), label="fit")
    coloured = Scatter(x=mag, y=snr, c=colour, c_axis=Axis(label="residual", unit="dex"))
    panels = (
        Panel(x=x, y=y, layers=(*many, fit), title="by class"),
        Panel(x=x, y=y, layers=(coloured,), title="by residual", bands=bands(0.5, None, 0.2)),
    )
    return Plot(name="snr", title="r0: signal to noise against magnitude", panels=panels, columns=2)


def focal(n: int = 5000) -> Plot:
    rng = np.random.default_rng(7)
    r, t = 400 * np.sqrt(rng.uniform(0, 1, n)), rng.uniform(0, 2 * np.pi, n)
    c = rng.normal(0, 0.2, n) + r / 2000
    c[::50] = np.nan
    layer = FocalPlane(x=r * np.cos(t), y=r * np.sin(t), c=c, c_axis=Axis(label="throughput difference", unit="mag"), label="fibre")
    panel = Panel(x=Axis(label="focal plane x", unit="mm"), y=Axis(label="focal plane y", unit="mm"), layers=(layer,), title="all petals")
    return Plot(name="focal_plane", title="Throughput on the focal plane", panels=(panel,))


def empty() -> Plot:
    x, y = Axis(label="row", unit="pixel"), Axis(label="level", unit="adu")
    nothing = np.empty(0)
    gone = np.full(512, np.nan)
    wrong = Line(x=np.arange(3.0), y=np.arange(4.0))
    panels = (
        Panel(x=x, y=y, layers=(), title="no layer"),
        Panel(x=x, y=y, layers=(Line(x=nothing, y=nothing),), title="an empty line"),
        Panel(x=x, y=y, layers=(Line(x=np.arange(512.0), y=gone),), title="nothing measured", bands=bands()),
        Panel(x=x, y=y, layers=(wrong,), title="lengths differ"),
        Panel(x=x, y=y, layers=(Bars(names=(), heights=nothing),), title="no bars"),
        image_panel(np.empty((0, 5)), title="an empty image"),
    )
    return Plot(name="empty", title="What there is to see of nothing", panels=panels, columns=2)


def long_names() -> Plot:
    word = "extremely_long_metric_name_without_any_blank_" * 6
    names = tuple(f"quadrant_{i}_of_{word}" for i in range(6))
    panel = Panel(
        x=Axis(label=f"place, {word}"),
        y=Axis(label=f"{word} $5 and 20 %", unit="erg / (s cm2 Angstrom)"),
        layers=(
            Bars(names=names, heights=np.arange(6.0) * 1e-17, label=f"_hidden? {word}"),
            Bars(names=names, heights=np.arange(6.0) * 2e-17, label="$x^2"),
        ),
        title=f"{word} $\\frac{{1}}",
        bands=(Band(low=1e-17, high=None, kind="normal", label=word),),
    )
    return Plot(name="long", title=f"Plot of {word}", panels=(panel, panel), columns=2, caption=f"{word} " * 4)


SAMPLES = {p.name: p for p in (lines(), bars(), images(), heat(), scatters(), focal(), empty(), long_names())}


@pytest.fixture(scope="session")
def samples() -> dict[str, Plot]:
    """One plot of each kind, by name."""
    return SAMPLES
