"""What a master bias holds beside noise: its level, and structure along rows, along columns, and from pixel to pixel."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from qa.figures import bars, lines
from qa.sections import sample
from qa.values import judged, per_amp
from quicklook.ccd.calibs import Bias
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.image import RawImage
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measured, Measures, MetricDef, not_applicable
from quicklook.core.plots import Axis, Image, Panel, Plot
from quicklook.core.plugin import MonitoringAlg, NoParams

Float64 = npt.NDArray[np.float64]
_PREVIEW = 512
_SAMPLE = 1 << 17

ROWS = MetricDef("bias_row_structure", "electron", dims=("amp",), doc="Rms of the row means of the master bias, less what its noise makes.")
COLUMNS = MetricDef("bias_column_structure", "electron", dims=("amp",), doc="Rms of the column means of the master bias, less what its noise makes.")
RATIO = MetricDef(
    "bias_noise_ratio", "", dims=("amp",), doc="Scatter of the pixels of the master bias, its rows and columns taken off, over its stated error."
)
OFFSET = MetricDef("bias_offset", "electron", dims=("amp",), doc="Median of the pixels of the master bias: what zeros have beyond their overscan.")
MISSING = MetricDef("bias_missing_fraction", "", dims=("amp",), doc="Fraction of the pixels of the amplifier for which the master bias has no value.")


@dataclass(frozen=True, slots=True)
class _Structure:
    """Of one amplifier, in electron: profiles along rows and columns, their rms without noise, scatter over error, fraction without value, median."""

    by_row: Float64
    by_column: Float64
    rows: float
    columns: float
    ratio: float
    missing: float
    offset: float


class BiasStructure(MonitoringAlg[NoParams]):
    """How far the master bias lies above the overscan, how much structure it has, and whether its pixels scatter as their errors say.

    Formula: by the gains of the instrument, electron: bias_row_structure = sqrt(max(var(means of rows) - s^2 / n, 0)), n pixels in a row, s =
    1.4826 MAD of the pixels less the means of their row and column; bias_column_structure likewise; bias_noise_ratio = s / root of the median
    stated variance; bias_offset = median of the pixels; bias_missing_fraction = pixels without a finite value / all. Single pixels are cut at 10
    sigma before.
    Source: own definition: the scatter that noise makes of a mean, s / sqrt(n), is taken off in quadrature.
    """

    name = "bias_structure"
    metrics = (ROWS, COLUMNS, RATIO, MISSING, OFFSET)

    def measure(self, bias: Bias, raws: Sequence[RawImage]) -> Measures:
        """By amplifier; the sections are those of the first exposure."""
        raw = raws[0]
        if bias.pixels.shape != raw.shape:
            raise NotApplicable("the bias has not the shape of the raw image")
        amps = judged(raw.amplifiers)
        found = {a.name: _structure(bias, a) for a in amps}
        metrics = (
            per_amp(ROWS, raw.amplifiers, {k: s.rows for k, s in found.items()}, _why(found)),
            per_amp(COLUMNS, raw.amplifiers, {k: s.columns for k, s in found.items()}, _why(found)),
            per_amp(RATIO, raw.amplifiers, {k: s.ratio for k, s in found.items()}, _why(found, "the bias states no error")),
            per_amp(MISSING, raw.amplifiers, {k: s.missing for k, s in found.items()}),
            _offset(raw.amplifiers, found),
        )
        panels = [
            bars(d, m, title=t, label=t.lower())
            for d, m, t in zip(self.metrics, metrics, ("Structure along rows", "Structure along columns", "Scatter over error"), strict=False)
        ]
        panels += _profiles(found)
        plot = Plot(name="bias_structure", title=f"Master bias, camera {raw.camera}", panels=(*panels, _picture(bias)), columns=2)
        return Measures(metrics, plots=(plot,))


def _offset(amplifiers: Sequence[Amplifier], found: Mapping[str, _Structure]) -> Measured:
    """Of amplifiers with an overscan: without one the bias holds the whole level, and there is nothing that it should be near to."""
    against = {a.name for a in amplifiers if a.overscan or a.prescan}
    known = {k: s for k, s in found.items() if k in against}
    if not known:
        return not_applicable(OFFSET.name, "no amplifier has an overscan")
    return per_amp(OFFSET, amplifiers, {k: s.offset for k, s in known.items()}, _why(known))


def _why(found: dict[str, _Structure], otherwise: str = "") -> dict[str, str]:
    """Why amplifiers have no value: no pixel of theirs has one, or `otherwise` where that is the cause of a ratio."""
    empty = {k: "no pixel has a value" for k, s in found.items() if s.missing == 1.0}
    return {k: otherwise for k, s in found.items() if otherwise and math.isnan(s.ratio)} | empty


def _structure(bias: Bias, amp: Amplifier) -> _Structure:
    values = bias.pixels[amp.data.slices] * np.float32(amp.gain)
    known = np.isfinite(values)
    missing = 1.0 - float(known.mean())
    if not known.any():
        nan = np.full(1, math.nan)
        return _Structure(nan, nan, math.nan, math.nan, math.nan, missing, math.nan)
    some = sample(values, _SAMPLE)
    middle, scale = _robust(some[np.isfinite(some)])
    values[~known] = middle
    np.clip(values, middle - 10 * scale, middle + 10 * scale, out=values)  # single bad pixels are no structure of a row
    by_row, by_column = values.mean(axis=1, dtype=np.float64), values.mean(axis=0, dtype=np.float64)
    rows, columns = (np.broadcast_to(p, values.shape) for p in (by_row[:, None], by_column[None, :]))
    _, sigma = _robust(sample(values, _SAMPLE) - sample(rows, _SAMPLE) - sample(columns, _SAMPLE))
    ny, nx = values.shape
    return _Structure(by_row, by_column, _beyond(by_row, sigma, nx), _beyond(by_column, sigma, ny), _ratio(bias, amp, sigma), missing, middle)


def _robust(values: npt.NDArray[np.floating[Any]]) -> tuple[float, float]:
    """Median and 1.4826 MAD (1 where that is 0)."""
    if values.size == 0:
        return 0.0, 1.0
    middle = float(np.median(values))
    return middle, 1.4826 * float(np.median(np.abs(values - middle))) or 1.0


def _beyond(profile: Float64, sigma: float, n: int) -> float:
    """Rms of a profile of means of n pixels, less what their scatter sigma makes of it (in quadrature)."""
    return math.sqrt(max(float(np.var(profile)) - sigma**2 / n, 0.0))


def _ratio(bias: Bias, amp: Amplifier, sigma: float) -> float:
    if bias.variance is None:
        return math.nan
    variance = sample(bias.variance[amp.data.slices], _SAMPLE)
    stated = variance[variance > 0]
    return sigma / (amp.gain * math.sqrt(float(np.median(stated)))) if stated.size else math.nan


def _profiles(found: dict[str, _Structure]) -> list[Panel]:
    y = Axis(label="mean", unit="electron")
    rows = {k: (np.arange(s.by_row.size, dtype=float), s.by_row) for k, s in found.items() if s.by_row.size > 1}
    columns = {k: (np.arange(s.by_column.size, dtype=float), s.by_column) for k, s in found.items() if s.by_column.size > 1}
    return [
        lines(rows, x=Axis(label="row of the amplifier", unit="pix"), y=y, title="Means of rows"),
        lines(columns, x=Axis(label="column of the amplifier", unit="pix"), y=y, title="Means of columns"),
    ]


def _picture(bias: Bias) -> Panel:
    ny, nx = bias.pixels.shape
    step = max(1, -(-max(ny, nx) // _PREVIEW))
    shown = np.ascontiguousarray(bias.pixels[::step, ::step])
    layer = Image(values=shown, extent=(0.0, float(nx), 0.0, float(ny)), c_axis=Axis(label="bias", unit="adu"))
    return Panel(x=Axis(label="raw column", unit="pix"), y=Axis(label="raw row", unit="pix"), layers=(layer,), title="Master bias")
