"""Level of the bias of every amplifier, its step and its drift along the rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from pydantic import Field

from qa.figures import DEAD, around, bars, lines
from qa.sections import Source, Strip, bias_strip, strip_scatter
from qa.values import judged, per_amp
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.health import health
from quicklook.ccd.image import RawImage
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measured, Measures, MetricDef
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Panel, Plot
from quicklook.core.plugin import MonitoringAlg

_POINTS = 512
_STRETCHES = 32
_SURE = 6.0  # steps of more than this many times their noise are described in words

LEVEL = MetricDef("bias_level", "adu", dims=("amp",), doc="Robust mean of the overscan: clipped means of its rows, averaged over the rows.")
STEP = MetricDef(
    "bias_step", "adu", dims=("amp",),
    doc="Largest step of the bias along the rows (OSTEP): greatest difference between the mean overscan of N rows and that of the N rows before.",
)  # fmt: skip
STEP_RATIO = MetricDef("bias_step_ratio", "", dims=("amp",), doc="Largest step of the bias along the rows over the read noise of this exposure.")
DRIFT = MetricDef("bias_drift", "adu", dims=("amp",), doc="Range of the overscan along the rows: highest minus lowest mean of N rows.")
SLOPE = MetricDef("bias_slope", "adu", dims=("amp",), doc="Rise of the overscan from the first to the last row of a straight line through its rows.")
ROWS = MetricDef(
    "bias_row_pattern", "electron", dims=("amp",),
    doc="Rms of the overscan from row to row about its running mean of N rows, less what the read noise makes (in quadrature).",
)  # fmt: skip
COLUMNS = MetricDef(
    "bias_column_pattern", "electron", dims=("amp",),
    doc="Rms of the means of the columns of the overscan, less what the read noise makes (in quadrature).",
)  # fmt: skip


class BiasLevelParams(Params):
    """Parameters of `bias_level`."""

    source: Source = Field("overscan", description="where the bias is measured: overscan or prescan; the other one where it is not declared")
    trim: int = Field(3, ge=0, description="pixels left out at either side of the overscan, where light of the image leaks in [pixel]")
    window: int = Field(64, ge=4, description="rows on either side of a step; an eighth of the rows where there are fewer than 512 [pixel]")


@dataclass(frozen=True, slots=True)
class _Bias:
    """What was measured of one amplifier, ADU. NaN, with a remark, where it could not be."""

    level: float = math.nan
    step: float = math.nan
    drift: float = math.nan
    noise: float = math.nan
    slope: float = math.nan
    rows: float = math.nan
    columns: float = math.nan
    remark: str = ""
    strip: Strip | None = None
    levels: npt.NDArray[np.float64] | None = None


class BiasLevel(MonitoringAlg[BiasLevelParams]):
    """Measures the bias level of every amplifier in its overscan, and looks for steps, drift and patterns of it along rows and columns.

    Formula: of the clipped means m(y) of the overscan rows, ADU: bias_level = mean of m within 5 sigma of their median; bias_step = largest |mean
    of m over N rows - that over the N rows before| (N = `window`), after a running median of five rows; bias_step_ratio = bias_step / read noise of
    this exposure; bias_drift = highest - lowest mean over N rows; bias_slope = slope of a straight line through m x (rows - 1). bias_row_pattern,
    bias_column_pattern = gain x sqrt(max(var(means) - s^2 / n, 0)), electron, of the means of rows, of columns, of n pixels that scatter by s,
    those of rows about their running mean, so that drift is none. Noise makes a step of s_m sqrt(2 / N), s_m the scatter of m.
    Source: bias_level stands for BIAS_AMP (Bias_From_Overscan) of DESI's quick-look, bias_step for what OSTEP says in the headers of DESI's
    preprocessed images; the rest is own definition: expected noise taken off in quadrature.
    """

    name = "bias_level"
    metrics = (LEVEL, STEP, STEP_RATIO, DRIFT, SLOPE, ROWS, COLUMNS)

    def measure(self, raw: RawImage, exposure: Exposure | None) -> Measures:
        """Per amplifier; NaN for one that is dead. Raises NotApplicable where there is neither overscan nor prescan, nor a zero."""
        zero = exposure is not None and exposure.flavor == "zero"
        found = {a.name: self._measure_amp(raw, a, zero) for a in judged(raw.amplifiers)}
        if found and all(b.strip is None and not b.remark for b in found.values()):
            raise NotApplicable(f"no amplifier of {raw.camera} has an overscan or a prescan, and this is no zero exposure")
        metrics = self._metrics(raw.amplifiers, found)
        return Measures(metrics, plots=(_plot(raw, found, metrics),))

    def _measure_amp(self, raw: RawImage, amp: Amplifier, zero: bool) -> _Bias:
        from qa.kernels.steps import beyond_noise, largest_step, rise, robust_mean, without_drift

        dead = health(raw.pixels, amp).cause
        if dead:
            return _Bias(remark=dead)
        strip = bias_strip(raw, amp, self.params.source, self.params.trim, dark_image=zero)
        if strip is None:
            return _Bias()
        result = strip_scatter(raw, amp, strip, self.params.trim)
        single = strip.pixels.shape[1] == 1
        levels = strip.pixels[:, 0].astype(np.float64) if single else result.levels[:, 0]
        level, step = robust_mean(levels), largest_step(levels, self.params.window)
        if math.isnan(level):
            return _Bias(remark=f"no finite pixel in the {strip.source}", strip=strip, levels=levels)
        if step is None:
            few = f"{np.isfinite(levels).sum()} {strip.lines}s of {strip.source} are too few to see a step or a pattern"
            return _Bias(level, remark=few, strip=strip, levels=levels)
        sure = abs(step.height) > _SURE * step.noise
        remark = f"step of {step.height:+.3g} ADU at {strip.lines} {strip.first + step.line} ({abs(step.height) / (step.noise or 1.0):.0f} sigma)"
        noise = math.nan if single else result.sigma
        ny, nx = strip.pixels.shape
        rows = beyond_noise(without_drift(levels, self.params.window), result.sigma, nx) if not single else math.nan
        columns = beyond_noise(result.columns, result.sigma, ny)
        return _Bias(level, abs(step.height), step.drift, noise, rise(levels), rows, columns, remark if sure else "", strip, levels)

    @staticmethod
    def _metrics(amps: tuple[Amplifier, ...], found: dict[str, _Bias]) -> tuple[Measured, ...]:
        # An amplifier without overscan among others that have one was not measured: NaN, hence UNKNOWN.
        told = {k: b.remark or ("" if b.strip else "no overscan or prescan is declared") for k, b in found.items()}
        ratio = {k: b.step / b.noise if b.noise > 0 else math.nan for k, b in found.items()}
        too_narrow = "the overscan has too few columns"
        no_noise = "the scatter of the overscan is zero or unknown"
        return (
            per_amp(LEVEL, amps, {k: b.level for k, b in found.items()}, {k: r for k, r in told.items() if math.isnan(found[k].level)}),
            per_amp(STEP, amps, {k: b.step for k, b in found.items()}, told),
            per_amp(STEP_RATIO, amps, ratio, {k: r or (no_noise if math.isnan(ratio[k]) else "") for k, r in told.items()}),
            *(per_amp(d, amps, v, {k: told[k] or too_narrow for k, x in v.items() if math.isnan(x)}) for d, v in _of_lines(amps, found)),
        )


def _of_lines(amps: tuple[Amplifier, ...], found: dict[str, _Bias]) -> tuple[tuple[MetricDef, dict[str, float]], ...]:
    """What was measured of rows and columns, by metric and amplifier."""
    gain = {a.name: a.gain for a in amps}
    return (
        (DRIFT, {k: b.drift for k, b in found.items()}),
        (SLOPE, {k: b.slope for k, b in found.items()}),
        (ROWS, {k: gain[k] * b.rows for k, b in found.items()}),
        (COLUMNS, {k: gain[k] * b.columns for k, b in found.items()}),
    )


def _plot(raw: RawImage, found: dict[str, _Bias], metrics: tuple[Measured, ...]) -> Plot:
    panels = [
        bars(LEVEL, metrics[0], title="Bias level", label="bias level", range_=around(metrics[0])),
        bars(STEP, metrics[1], title="Largest step along the rows", label="bias step"),
        bars(ROWS, metrics[5], title="Pattern from row to row, without the noise", label="rms of the rows"),
        bars(COLUMNS, metrics[6], title="Pattern of the columns, without the noise", label="rms of the columns"),
    ]
    panels += [_profile(name, bias) for name, bias in found.items() if bias.levels is not None or bias.remark]
    return Plot(name="bias_level", title=f"Bias level and its course along the rows, camera {raw.camera}", panels=tuple(panels), columns=2)


def _profile(name: str, bias: _Bias) -> Panel:
    from qa.kernels.steps import thin_out

    x, y = Axis(label="raw row", unit="pix"), Axis(label="minus its mean", unit="adu")
    if bias.levels is None:
        return lines({}, x=x, y=y, title=f"Amplifier {name} is dead: {bias.remark.removeprefix(DEAD)}")
    strip = bias.strip
    line, source, first = (strip.lines, strip.source, strip.first) if strip else ("row", "overscan", 0)
    levels = bias.levels - bias.level
    thin, coarse = thin_out(levels, _POINTS), thin_out(levels, _STRETCHES)
    return lines(
        {f"{line}s": (thin[0] + first, thin[1]), f"means of {-(-levels.size // _STRETCHES)} {line}s": (coarse[0] + first, coarse[1])},
        x=replace(x, label=f"raw {line}"),
        y=y,
        title=f"Amplifier {name}: {source} level, {bias.level:.1f} adu" if math.isfinite(bias.level) else f"Amplifier {name}: not measured",
    )
