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
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.health import cause
from quicklook.ccd.image import Image
from quicklook.ccd.spectra import TraceSet
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.metrics import Measured, Measures, MetricDef, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot
from quicklook.core.plugin import MonitoringAlg

_WAVES = 65
_FIBRES = 32
_FEW = 50
_MANY = 16384  # places between bundles, beyond which fewer rows are looked at
_LIT_ROWS = 256  # on which the light of the fibres is measured
_BESIDE = 1  # columns on either side of the middle of a gap that are as dark
_SURE = 3.0  # errors that are taken off what is judged
_LIT = 10.0  # errors that the light of the fibres must have
_COUNTS = ("bias", "dark")  # corrections without which a pixel between the bundles is not dark
_NO_LIGHT = "there is no light on the traces to compare with"

STRAY = MetricDef("stray_light", "electron", dims=("amp",), doc="Median of the pixels midway between two bundles of fibres.")
RATIO = MetricDef(
    "stray_light_ratio", "", dims=("amp",),
    doc="That over the median of the pixels on the traces: light that leaks in, wings of the profile, or traces that lie beside their fibres.",
)  # fmt: skip

EXCESS = MetricDef(
    "stray_light_excess", "", dims=("amp",),
    doc="Light of a pixel between two bundles over the mean light of a pixel of the fibres, three of its errors taken off: what noise does not make.",
)  # fmt: skip


class StrayLightParams(Params):
    """Parameters of `stray_light`."""

    gap: float = Field(1.6, gt=1.0, description="bundles are apart where two traces are farther from each other than this, in pitches of the fibres")
    row_step: int = Field(4, ge=1, description="every how manieth row is looked at, of large frames; of small ones every row [pixel]")
    min_snr: float = Field(3.0, gt=0.0, description="light on the traces over its scatter below which no ratio is stated")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Places:
    """Column of every gap [ngap, nrow] and of some traces [ntrace, nrow] at `rows`; NaN where a trace does not reach. `half`: a fibre is so wide."""

    rows: Raw
    gaps: Float64
    traces: Float64
    half: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Levels:
    """Of one amplifier, electron: medians of the pixels between bundles and on traces; means, with errors, between bundles and of the fibres."""

    dark: float = math.nan
    light: float = math.nan
    stray: tuple[float, float] = (math.nan, math.nan)
    fibres: tuple[float, float] = (math.nan, math.nan)

    @property
    def ratio(self) -> float:
        return self.dark / self.light if self.light > 0 else math.nan

    @property
    def share(self) -> tuple[float, float]:
        """Stray light of a pixel over the light of the fibres in a pixel, and its error; NaN where the fibres have no light."""
        (stray, error), (fibres, of_fibres) = self.stray, self.fibres
        level = fibres - stray
        if not level > _LIT * math.hypot(error, of_fibres):
            return math.nan, math.nan
        return stray / level, math.hypot(error, stray / level * of_fibres) / level

    @property
    def excess(self) -> float:
        share, error = self.share
        return math.copysign(max(abs(share) - _SURE * error, 0.0), share) if math.isfinite(share) else math.nan

    @property
    def words(self) -> str:
        share, error = self.share
        told = f"{100 * share:.2g} +- {100 * error:.2g} % of the light of the fibres, {self.stray[0]:.2g} electron in every pixel"
        return told if math.isfinite(share) else _NO_LIGHT


class StrayLight(MonitoringAlg[StrayLightParams]):
    """Measures the light between bundles of fibres, and compares it with the light on the traces.

    In science exposures the light of most fibres is the sky, so stray_light_excess is the part of the sky that a leak adds to the spectra, in all
    fibres alike.
    Formula: stray_light = median of the pixels in the middle of the gaps between bundles, electron; stray_light_ratio = that / median of the pixels
    on the traces. stray_light_excess = s / (f - s), less three of its errors (toward 0), of the means s of the pixels within one column of the
    middle of a gap and f of those within half a pitch of the traces, both without what lies beyond four times their scatter; error = hypot(error of
    s, s / (f - s) x error of f) / (f - s), each a scatter / sqrt(pixels).
    Source: own definition: a difference of means in one image; errors by standard propagation.
    """

    name = "stray_light"
    metrics = (STRAY, RATIO, EXCESS)

    def measure(self, image: Image, traces: TraceSet, exposure: Exposure | None = None) -> Measures:
        """Per amplifier that usable gaps lie on.

        Raises NotApplicable where no gaps are between the traces (or next to none), BadData for traces of another detector.

        Ratio and excess do not apply to amplifiers on which the traces hold no light; in flats, which should have some, they are NaN there.
        The excess does not apply where no bias or no dark was subtracted either.
        """
        if (traces.npix_y, traces.npix_x) != image.shape:
            (ny, nx), of = image.shape, f"{traces.npix_x} x {traces.npix_y}"
            raise BadData(f"camera {image.camera}: traces for {of} pixels, the image has {nx} x {ny}; certify others")
        places = self._places(image, traces)
        if all(_at(amp, places.gaps, places.rows)[0].size < _FEW for amp in image.amplifiers):
            raise NotApplicable(f"fewer than {_FEW} of the pixels looked at lie between bundles of fibres")
        dead = {a.name: cause(image.dead[a.name]) for a in judged(image.amplifiers) if a.name in image.dead}
        found = {a.name: _Levels() if a.name in dead else self._levels(image, a, places) for a in judged(image.amplifiers)}
        found = {k: v for k, v in found.items() if k in dead or math.isfinite(v.dark)}
        must_be_lit = bool(dead) or exposure is None or exposure.flavor == "flat"
        got = _metric(STRAY, image, {k: v.dark for k, v in found.items()}, dead)
        relative, excess = (
            _relative(d, image, values, told, must_be_lit)
            for d, values, told in (
                (RATIO, {k: v.ratio for k, v in found.items()}, {k: dead.get(k, _NO_LIGHT) for k, v in found.items() if math.isnan(v.ratio)}),
                (EXCESS, {k: v.excess for k, v in found.items()}, {k: dead.get(k, v.words) for k, v in found.items()}),
            )
        )
        if left := [what for what in _COUNTS if what in image.skipped]:
            excess = not_applicable(EXCESS.name, f"no {' and no '.join(left)} was subtracted, and what it leaves cannot be told from light")
        over = bars(EXCESS, excess, title="Light between bundles, of that of fibres", label="part, less 3 errors", range_=(None, None))
        panels = (_along(image, places),) if excess.not_applicable else (over, _along(image, places))
        plot = Plot(name="stray_light", title=f"Stray light, camera {image.camera}", panels=panels, columns=2)
        return Measures((got, relative, excess), plots=(plot,))

    def _places(self, image: Image, traces: TraceSet) -> _Places:
        wave = np.linspace(traces.wavemin, traces.wavemax, _WAVES)
        x, y = traces.evaluate(traces.x, wave), traces.evaluate(traces.y, wave)
        order = np.argsort(x[:, _WAVES // 2])
        middle = x[order, _WAVES // 2]
        apart = np.flatnonzero(np.diff(middle) > self.params.gap * float(np.median(np.diff(middle)))) if len(order) > 2 else np.zeros(0, int)
        if not apart.size:
            raise NotApplicable("the fibres are not in bundles: there is no place between them without light")
        step = max(1, min(self.params.row_step, image.shape[0] * apart.size // _MANY))
        rows = np.arange(0, image.shape[0], step)
        left, right = _columns(x, y, order[apart], rows), _columns(x, y, order[apart + 1], rows)
        some = order[:: max(1, len(order) // _FIBRES)]
        half = max(1, int(0.5 * float(np.median(np.diff(middle))) - 0.5))
        return _Places(rows=rows, gaps=0.5 * (left + right), traces=_columns(x, y, some, rows), half=half)

    def _levels(self, image: Image, amp: Amplifier, places: _Places) -> _Levels:
        """NaN where too few pixels tell, or there is no light."""
        dark, good = _pixels(image, amp, _at(amp, places.gaps, places.rows), _BESIDE)
        middle = dark[good[:, _BESIDE], _BESIDE]
        if middle.size < _FEW:
            return _Levels()
        few = max(1, places.rows.size // _LIT_ROWS)
        fibres, whole = _pixels(image, amp, _at(amp, places.traces[:, ::few], places.rows[::few]), places.half)
        light = fibres[whole[:, places.half], places.half]
        level = float(np.median(light)) if light.size >= _FEW else math.nan
        return _Levels(
            dark=float(np.median(middle)),
            light=level if level > self.params.min_snr * image.read_noise.get(amp.name, math.nan) else math.nan,
            stray=_mean(dark[good]),
            fibres=_mean(fibres[whole.all(axis=1)].mean(axis=1)),
        )


def _mean(values: Raw) -> tuple[float, float]:
    """Mean of what lies within four times the scatter of the median, and its error; NaN of few values.

    Not the median: where a detector is read in whole ADU and its bias is one number, that moves in steps of an ADU.
    """
    if values.size < _FEW:
        return math.nan, math.nan
    middle = np.median(values)
    spread = max(1.4826 * float(np.median(np.abs(values - middle))), 1e-6)
    kept = values[np.abs(values - middle) <= 4.0 * spread].astype(np.float64)
    return float(kept.mean()), float(kept.std()) / math.sqrt(kept.size)


def _relative(definition: MetricDef, image: Image, values: Mapping[str, float], told: Mapping[str, str], must_be_lit: bool) -> Measured:
    """Of what is compared with the light of the fibres: it does not apply to amplifiers without, unless there should be light."""
    lit = values if must_be_lit else {k: v for k, v in values.items() if math.isfinite(v)}
    return not_applicable(definition.name, _NO_LIGHT) if values and not lit else _metric(definition, image, lit, told)


def _metric(definition: MetricDef, image: Image, values: Mapping[str, float], told: Mapping[str, str]) -> Measured:
    """Of the amplifiers that usable pixels between bundles lie on; where there are none at all, NaN for each."""
    if not values and not all(a.bad for a in image.amplifiers):
        names = [a.name for a in judged(image.amplifiers)]
        return per_amp(definition, image.amplifiers, dict.fromkeys(names, math.nan), dict.fromkeys(names, "no pixel between bundles is usable"))
    return per_amp(definition, image.amplifiers, values, told)


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


def _pixels(image: Image, amp: Amplifier, at: tuple[Raw, Raw], beside: int) -> tuple[Raw, Raw]:
    """Pixels at these rows and columns and up to so many columns beside them [n, 1 + 2 beside], and which are good and of the amplifier."""
    row, column = at[0][:, None], at[1][:, None] + np.arange(-beside, beside + 1)
    inside = (column >= amp.ccd.x0) & (column < amp.ccd.x1)
    column = np.clip(column, amp.ccd.x0, amp.ccd.x1 - 1)
    return np.asarray(image.pixels[row, column]), np.asarray(inside & (image.mask[row, column] == 0))


def _along(image: Image, places: _Places) -> Panel:
    """Median of each gap over some of its rows."""
    middle: list[float] = []
    level: list[float] = []
    some = slice(None, None, max(1, places.rows.size // _LIT_ROWS))
    for columns in places.gaps[:, some]:
        known = np.isfinite(columns)
        column = np.rint(columns[known]).astype(np.int64).clip(0, image.shape[1] - 1)
        row = places.rows[some][known]
        good = np.flatnonzero(image.mask[row, column] == 0)
        if good.size:
            middle.append(float(column[good[good.size // 2]]))
            level.append(float(np.median(image.pixels[row[good], column[good]])))
    axes = Axis(label="CCD column", unit="pix"), Axis(label="between bundles", unit="electron")
    return Panel(x=axes[0], y=axes[1], layers=(Line(x=np.array(middle), y=np.array(level)),), title="Of each gap", metric=STRAY.name)
