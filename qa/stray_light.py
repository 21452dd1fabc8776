"""Light where there should be none: between the bundles of fibres."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from qa.figures import bars
from qa.values import judged, per_amp
from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.health import cause
from quicklook.ccd.image import Image
from quicklook.ccd.spectra import TraceSet
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.metrics import Measured, Measures, MetricDef
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot
from quicklook.core.plugin import MonitoringAlg

_WAVES = 65
_FIBRES = 32
_FEW = 50

STRAY = MetricDef("stray_light", "electron", dims=("amp",), doc="Median of the pixels midway between two bundles of fibres.")
RATIO = MetricDef(
    "stray_light_ratio", "", dims=("amp",),
    doc="That over the median of the pixels on the traces: light that leaks in, wings of the profile, or traces that lie beside their fibres.",
)  # fmt: skip


class StrayLightParams(Params):
    """Parameters of `stray_light`."""

    gap: float = Field(1.6, gt=1.0, description="bundles are apart where two traces are farther from each other than this, in pitches of the fibres")
    row_step: int = Field(4, ge=1, description="every how manieth row is looked at [pixel]")
    min_snr: float = Field(3.0, gt=0.0, description="light on the traces over its scatter below which no ratio is stated")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Column of every gap [ngap, nrow] and of some traces [ntrace, nrow] at `rows`; NaN where a trace does not reach."""

    rows: Raw
    gaps: Float64
    traces: Float64


class StrayLight(MonitoringAlg[StrayLightParams]):
    """Measures the light between bundles of fibres, and compares it with the light on the traces."""

    name = "stray_light"
    metrics = (STRAY, RATIO)

    def measure(self, image: Image, traces: TraceSet) -> Measures:
        """Per amplifier that usable gaps lie on.

        Raises NotApplicable where no gaps are between the traces (or next to none), BadData for traces of another detector.

        The ratio is NaN where the median pixel on the traces holds no light, as in arcs.
        """
        if (traces.npix_y, traces.npix_x) != image.shape:
            (ny, nx), of = image.shape, f"{traces.npix_x} x {traces.npix_y}"
            raise BadData(f"camera {image.camera}: traces for {of} pixels, the image has {nx} x {ny}; certify others")
        places = self._places(image, traces)
        if all(_at(amp, places.gaps, places.rows)[0].size < _FEW for amp in image.amplifiers):
            raise NotApplicable(f"fewer than {_FEW} of the pixels looked at lie between bundles of fibres")
        dead = {a.name: cause(image.dead[a.name]) for a in judged(image.amplifiers) if a.name in image.dead}
        stray: dict[str, float] = {}
        ratio: dict[str, float] = {}
        told_ratio: dict[str, str] = {}
        for amp in judged(image.amplifiers):
            dark, light = (math.nan, math.nan) if amp.name in dead else self._levels(image, amp, places)
            if amp.name in dead or math.isfinite(dark):
                stray[amp.name], ratio[amp.name] = dark, dark / light if light > 0 else math.nan
                told_ratio[amp.name] = dead.get(amp.name, "there is no light on the traces to compare with")
        got, relative = _metric(STRAY, image, stray, dead), _metric(RATIO, image, ratio, told_ratio)
        panels = (bars(RATIO, relative, title="Between bundles over on traces", label="ratio", range_=(None, None)), _along(image, places))
        return Measures((got, relative), plots=(Plot(name="stray_light", title=f"Stray light, camera {image.camera}", panels=panels, columns=2),))

    def _places(self, image: Image, traces: TraceSet) -> _Places:
        wave = np.linspace(traces.wavemin, traces.wavemax, _WAVES)
        x, y = traces.evaluate(traces.x, wave), traces.evaluate(traces.y, wave)
        order = np.argsort(x[:, _WAVES // 2])
        middle = x[order, _WAVES // 2]
        apart = np.flatnonzero(np.diff(middle) > self.params.gap * float(np.median(np.diff(middle)))) if len(order) > 2 else np.zeros(0, int)
        if not apart.size:
            raise NotApplicable("the fibres are not in bundles: there is no place between them without light")
        rows = np.arange(0, image.shape[0], self.params.row_step)
        left, right = _columns(x, y, order[apart], rows), _columns(x, y, order[apart + 1], rows)
        some = order[:: max(1, len(order) // _FIBRES)]
        return _Places(rows=rows, gaps=0.5 * (left + right), traces=_columns(x, y, some, rows))

    def _levels(self, image: Image, amp: Amplifier, places: _Places) -> tuple[float, float]:
        """Median between bundles and on traces, electron; NaN where too few pixels tell, or there is no light."""
        dark, light = _pixels(image, amp, places.gaps, places.rows), _pixels(image, amp, places.traces, places.rows)
        stray = float(np.median(dark)) if dark.size >= _FEW else math.nan
        level = float(np.median(light)) if light.size >= _FEW else math.nan
        return stray, level if level > self.params.min_snr * image.read_noise.get(amp.name, math.nan) else math.nan


def _metric(definition: MetricDef, image: Image, values: Mapping[str, float], told: Mapping[str, str]) -> Measured:
    """Of the amplifiers that usable pixels between bundles lie on; where there are none at all, NaN for each."""
    if not values and not all(a.bad for a in image.amplifiers):
        names = [a.name for a in judged(image.amplifiers)]
        return per_amp(definition, image.amplifiers, dict.fromkeys(names, math.nan), dict.fromkeys(names, "no pixel between bundles is usable"))
    return per_amp(definition, image.amplifiers, values, {k: v for k, v in told.items() if not math.isfinite(values[k])})


def _columns(x: Float64, y: Float64, which: Raw, rows: Raw) -> Float64:
    """Column of some traces at the rows, [ntrace, nrow]; NaN beyond their ends."""
    return np.stack([_column(x[i], y[i], rows) for i in which])


def _column(x: Float64, y: Float64, rows: Raw) -> Float64:
    rising = y[-1] > y[0]
    along, across = (y, x) if rising else (y[::-1], x[::-1])
    return np.asarray(np.interp(rows, along, across, left=np.nan, right=np.nan))


def _at(amp: Amplifier, columns: Float64, rows: Raw) -> tuple[Raw, Raw]:
    """Rows and columns of the pixels of an amplifier at these columns and rows."""
    at = np.broadcast_to(rows, columns.shape)
    inside = np.isfinite(columns) & (at >= amp.ccd.y0) & (at < amp.ccd.y1)
    column, row = np.rint(columns[inside]).astype(np.int64), at[inside]
    inside_x = (column >= amp.ccd.x0) & (column < amp.ccd.x1)
    return row[inside_x], column[inside_x]


def _pixels(image: Image, amp: Amplifier, columns: Float64, rows: Raw) -> Raw:
    """The good pixels of an amplifier at these columns and rows."""
    row, column = _at(amp, columns, rows)
    good = image.mask[row, column] == 0
    return np.asarray(image.pixels[row[good], column[good]])


def _along(image: Image, places: _Places) -> Panel:
    """Median of each gap over its rows."""
    middle: list[float] = []
    level: list[float] = []
    for columns in places.gaps:
        known = np.isfinite(columns)
        column = np.rint(columns[known]).astype(np.int64).clip(0, image.shape[1] - 1)
        row = places.rows[known]
        good = image.mask[row, column] == 0
        if good.any():
            middle.append(float(np.median(column[good])))
            level.append(float(np.median(image.pixels[row[good], column[good]])))
    axes = Axis(label="CCD column", unit="pix"), Axis(label="between bundles", unit="electron")
    return Panel(x=axes[0], y=axes[1], layers=(Line(x=np.array(middle), y=np.array(level)),), title="Of each gap", metric=STRAY.name)
