"""Noise that is not white: noisy rows, pick-up of a sine, and what amplifiers have in common."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import numpy.typing as npt
from pydantic import Field

from qa.figures import bars, lines, missing
from qa.sections import Source, Strip, bias_strip, strip_scatter
from qa.values import judged, per_amp
from quicklook.ccd.arrays import Float64
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.health import health
from quicklook.ccd.image import RawImage
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Coord, Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Bars, Panel, Plot
from quicklook.core.plugin import MonitoringAlg

if TYPE_CHECKING:
    from qa.kernels.overscan import Block, Sine

Floats = TypeVar("Floats", np.float32, np.float64)
_MIN_LINES = 32
_HUGE = 1e6  # ADU: no noise of a detector
_MIN_PIXELS = 8
_BLOCKS = 16  # stretches of lines whose noise is compared
_LINES_OF_BLOCK = 16  # at least
_NOISY = 6.0  # a line is noisy when it lies so many of its errors above the others
_LINE_ERROR = 0.84  # relative error of the noise of a line, times the root of its pixels
_NOTED = 1.2  # from which ratio on it is said where
_SURE = 15.0  # power of a sine that noise does not make: one in 1e5 amplifiers

ROWS = MetricDef(
    "row_noise_ratio", "", dims=("amp",),
    doc="Largest over median noise of sixteen stretches of rows of the overscan, each the median of the noise of its rows.",
)  # fmt: skip
NOISY = MetricDef("noisy_row_fraction", "", dims=("amp",), doc="Fraction of the rows whose overscan has more noise than the others, by 6 sigma.")
PICKUP = MetricDef(
    "pickup_amplitude", "electron", dims=("amp",), doc="Amplitude of the strongest sine in the overscan; white noise has one of 0.05 read noises."
)  # fmt: skip
PICKUP_RATIO = MetricDef(
    "pickup_ratio", "", dims=("amp",),
    doc="Amplitude of the strongest sine in the overscan over the read noise of this exposure, or over more where rows have noise of their own.",
)  # fmt: skip
FREQUENCY = MetricDef(
    "pickup_frequency", "1/pix", dims=("amp",),
    doc="Frequency of that sine, cycles per pixel as they are read out, up to 0.5; the remark has that from row to row too. None where it is noise.",
)  # fmt: skip
SHARED = MetricDef(
    "noise_correlation", "", dims=("pair",),
    doc="Coefficient of correlation of the noise of two amplifiers that are read together, pixel by pixel in the order of read-out.",
)  # fmt: skip


class NoiseStructureParams(Params):
    """Parameters of `noise_structure`."""

    source: Source = Field("overscan", description="where the noise is looked at: overscan or prescan; the other one where it is not declared")
    trim: int = Field(3, ge=0, description="pixels left out at either side of the overscan, where light of the image leaks in [pixel]")
    lines: int = Field(256, ge=32, description="consecutive rows in which sines are looked for, twice where there are as many [pixel]")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Noise:
    """Of one amplifier: noise by line and by stretch of lines (ADU) in the order of the raw image, sine, blocks of lines; or why not."""

    why: str = ""
    declared: bool = True
    strip: Strip | None = None
    by_line: Float64 | None = None
    stretches: Float64 | None = None
    ratio: float = math.nan
    noisy: float = math.nan
    first_noisy: str = ""
    sine: Sine | None = None
    blocks: tuple[Block, ...] = ()

    @property
    def sigma(self) -> float:
        """Noise of a pixel, ADU."""
        return self.blocks[0].sigma if self.blocks else math.nan

    @property
    def pickup(self) -> float:
        """Amplitude of the strongest sine over the noise at its frequency: that of the pixels, or more where rows have noise of their own."""
        return self.sine.amplitude / (self.sigma * math.sqrt(self.sine.floor)) if self.sine else math.nan


class NoiseStructure(MonitoringAlg[NoiseStructureParams]):
    """Looks in the overscan for noise that changes from row to row, for pick-up, and for noise that amplifiers share.

    Pick-up is looked for in two dimensions, so that a sine in time is found whatever its frequency. Pixels of two amplifiers are matched by their
    place in the read-out, from the corner on.
    Formula: noise of a row = sqrt(pi)/2 x mean absolute difference of neighbouring pixels, relative error 0.84 / sqrt(pixels); row_noise_ratio =
    largest / median over sixteen stretches of rows of the median noise of their rows; noisy_row_fraction = part of the rows beyond the median by 6
    errors. pickup_amplitude = gain x 2 |F| / (n sum w), electron, of the highest peak F of the Fourier transform under a Hann window w along the
    rows, n pixels in a row; pickup_ratio = that over the read noise; pickup_frequency = its frequency, 1/pixel. noise_correlation = sum(x y) /
    sqrt(sum(x^2) sum(y^2)) of what is left of the pixels when the levels of rows and columns are taken off; its error is 1 / sqrt(pixels).
    Source: standard formulas: mean difference of Gaussian values, 2 sigma / sqrt(pi); periodogram with a Hann window; Pearson's coefficient of
    correlation. The division into stretches is own definition.
    """

    name = "noise_structure"
    metrics = (ROWS, NOISY, PICKUP, PICKUP_RATIO, FREQUENCY, SHARED)

    def measure(self, raw: RawImage, exposure: Exposure | None) -> Measures:
        """Per amplifier, and per pair of amplifiers. Raises NotApplicable where there are no pixels without light, or only a few of them."""
        zero = exposure is not None and exposure.flavor == "zero"
        found = {a.name: self._of_amp(raw, a, zero) for a in judged(raw.amplifiers)}
        if found and not any(n.declared for n in found.values()):
            raise NotApplicable(f"no amplifier of {raw.camera} has an overscan or a prescan of some pixels, and this is no zero exposure")
        amps, gain = raw.amplifiers, {a.name: a.gain for a in raw.amplifiers}
        why = {k: n.why for k, n in found.items()}
        amplitude = {k: n.sine.amplitude if n.sine else math.nan for k, n in found.items()}
        metrics = (
            per_amp(ROWS, amps, {k: n.ratio for k, n in found.items()}, {k: n.why or _where(n) for k, n in found.items()}),
            per_amp(NOISY, amps, {k: n.noisy for k, n in found.items()}, {k: n.why or n.first_noisy for k, n in found.items()}),
            per_amp(PICKUP, amps, {k: gain[k] * v for k, v in amplitude.items()}, why),
            per_amp(PICKUP_RATIO, amps, {k: n.pickup for k, n in found.items()}, {k: w or _words(found[k]) for k, w in why.items()}),
            _frequency(amps, found),
            _shared(raw, found),
        )
        return Measures(metrics, plots=(_plot(raw, found, metrics),))

    def _of_amp(self, raw: RawImage, amp: Amplifier, zero: bool) -> _Noise:
        from qa.kernels.overscan import block_noise, block_of, line_noise, strongest_sine

        if dead := health(raw.pixels, amp).cause:
            return _Noise(why=dead)
        strip = bias_strip(raw, amp, self.params.source, self.params.trim, dark_image=zero)
        if strip is None or strip.pixels.shape[1] < _MIN_PIXELS or strip.pixels.shape[0] < _MIN_LINES:
            return _Noise(why="no overscan or prescan of some pixels is declared", declared=False)
        by_line = line_noise(strip.pixels)
        known = np.isfinite(by_line)
        result = strip_scatter(raw, amp, strip, self.params.trim)
        if known.sum() < _MIN_LINES or not np.median(by_line[known]) > 0 or not 0 < result.sigma < _HUGE:
            return _Noise(why=f"the {strip.source} has no noise, few finite pixels, or values that are none of a detector", strip=strip)
        stretches = block_noise(by_line, max(_LINES_OF_BLOCK, by_line.size // _BLOCKS))
        middle = float(np.median(by_line[known]))
        limit = middle * (1.0 + _NOISY * _LINE_ERROR / math.sqrt(strip.pixels.shape[1]))
        residuals, levels = _as_read(result.residuals, amp), _as_read(result.levels, amp)[:, 0]
        number = min(self.params.lines, len(levels))
        starts = (0, len(levels) // 2) if len(levels) >= 2 * number else (0,)
        blocks = tuple(block_of(residuals[s : s + number], levels[s : s + number], result.sigma) for s in starts)
        return _Noise(
            strip=strip,
            by_line=by_line,
            stretches=stretches,
            ratio=float(np.nanmax(stretches) / np.nanmedian(stretches)),
            noisy=float((by_line[known] > limit).mean()),
            first_noisy=f"the first is {strip.lines} {strip.first + int(np.argmax(by_line > limit))}" if (by_line[known] > limit).any() else "",
            sine=strongest_sine(list(blocks)),
            blocks=blocks,
        )


def _as_read(pixels: npt.NDArray[Floats], amp: Amplifier) -> npt.NDArray[Floats]:
    """Lines and pixels of a strip in the order of the read-out, from the corner of the amplifier on."""
    upper, right = amp.corner[0] == "u", amp.corner[1] == "r"
    last_line_first, last_pixel_first = (upper, right) if amp.serial_axis == 1 else (right, upper)
    pixels = pixels[::-1] if last_line_first else pixels
    return pixels[:, ::-1] if last_pixel_first else pixels


def _where(noise: _Noise) -> str:
    """Between which rows of the raw image the noisiest stretch lies."""
    if noise.strip is None or noise.stretches is None or noise.by_line is None or not noise.ratio > _NOTED:
        return ""
    each, at = noise.by_line.size // noise.stretches.size, int(np.nanargmax(noise.stretches))
    first = noise.strip.first + at * each
    return f"{noise.strip.lines}s {first} to {first + each}"


def _frequency(amps: Sequence[Amplifier], found: Mapping[str, _Noise]) -> Measured:
    sure = {k: n.sine.per_pixel if n.sine and n.sine.power > _SURE else math.nan for k, n in found.items()}
    told = {k: found[k].why or ("no sine stands out of the noise" if math.isnan(v) else "") for k, v in sure.items()}
    return per_amp(FREQUENCY, amps, sure, told)


def _words(noise: _Noise) -> str:
    """What a sine that is no noise is like."""
    sine = noise.sine
    if sine is None or sine.power <= _SURE:
        return ""
    return f"a sine of {sine.amplitude:.2g} ADU, {sine.per_pixel:.3g} cycles per pixel and {sine.per_line:.3g} per row, less its whole cycles"


def _shared(raw: RawImage, found: Mapping[str, _Noise]) -> Measured:
    """Of pairs of amplifiers of one size, which are read together."""
    from qa.kernels.overscan import correlation

    shape = {a.name: a.data.shape for a in raw.amplifiers}
    pairs = [(a, b) for a, b in itertools.combinations(found, 2) if shape[a] == shape[b]]
    if not pairs:
        return not_applicable(SHARED.name, "no two amplifiers of one size are judged")
    values: list[float] = []
    told: dict[Coord | tuple[Coord, ...], str] = {}
    for a, b in pairs:
        both = list(zip(found[a].blocks, found[b].blocks, strict=False))
        each = [correlation(p.residuals, q.residuals) for p, q in both]
        values.append(float(np.mean(each)) if each else math.nan)
        if why := next((f"amplifier {n}: {found[n].why}" for n in (a, b) if found[n].why), ""):
            told[f"{a}-{b}"] = why
    return measured(SHARED.name, values, pair=[f"{a}-{b}" for a, b in pairs], remarks=told)


def _plot(raw: RawImage, found: Mapping[str, _Noise], metrics: tuple[Measured, ...]) -> Plot:
    by_name = {m.name: m for m in metrics}
    gain = {a.name: a.gain for a in raw.amplifiers}
    curves = {k: (_middles(n), gain[k] * n.stretches) for k, n in found.items() if n.stretches is not None}
    panels = (
        lines(
            curves,
            x=Axis(label="row of the raw image", unit="pix"),
            y=Axis(label="noise of its rows", unit="electron"),
            title="Noise along the rows",
            missing=missing(by_name[ROWS.name]),
        ),
        bars(ROWS, by_name[ROWS.name], title="Noisiest stretch of rows over the median", label="ratio"),
        bars(PICKUP_RATIO, by_name[PICKUP_RATIO.name], title="Strongest sine over the read noise", label="amplitude / noise"),
        _pairs(by_name[SHARED.name]),
    )
    told = [f"{k}: {_words(n)}" for k, n in found.items() if _words(n)]
    return Plot(name="noise_structure", title=f"Structure of the noise, camera {raw.camera}", panels=panels, columns=2, caption="; ".join(told))


def _middles(noise: _Noise) -> Float64:
    """Rows of the raw image at the middle of the stretches."""
    if noise.stretches is None or noise.by_line is None or noise.strip is None:
        return np.empty(0)
    each = noise.by_line.size // noise.stretches.size
    return np.asarray(noise.strip.first + each * (np.arange(noise.stretches.size) + 0.5), np.float64)


def _pairs(got: Measured) -> Panel:
    names = tuple(str(c) for c in got.coords.get("pair", ()))
    layers = (Bars(names=names, heights=np.array(got.values)),) if names else ()
    title = "Noise that amplifiers share" if got.not_applicable is None else f"Noise that amplifiers share: {got.not_applicable}"
    y = Axis(label="correlation", range=(None, None))
    return Panel(x=Axis(label="amplifiers"), y=y, layers=layers, title=title, metric=SHARED.name)
