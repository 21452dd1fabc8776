"""Read noise of every amplifier, from its overscan, and of zeros from the image too."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from pydantic import Field

from qa.figures import bars, histogram, lines, missing
from qa.sections import Source, bias_strip, is_integer, strip_scatter
from qa.values import judged, per_amp
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.health import health
from quicklook.ccd.image import RawImage
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measured, Measures, MetricDef, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Plot
from quicklook.core.plugin import MonitoringAlg

_MIN_WIDTH = 4
_LINE_BLOCK = 64
_HISTOGRAM_SIGMA = 5.0
_FLOOR = 1e-5
_SAMPLE = 10_000

NOISE = MetricDef(
    "read_noise", "electron", dims=("amp",),
    doc="Read noise: clipped standard deviation of the overscan about the level of each row and column, without the 1/12 ADU^2 of rounding.",
)  # fmt: skip
NOISE_ADU = MetricDef("read_noise_adu", "adu", dims=("amp",), doc="Read noise as `read_noise`, before the gain.")
NOISE_MAD = MetricDef(
    "read_noise_mad", "electron", dims=("amp",),
    doc="Read noise as many logs quote it, 1.4826 MAD / sqrt(2) of the differences between neighbouring overscan pixels. "
    "Of integers it moves in steps of 1.05 ADU: for comparison with such logs alone, no limit rests on it.",
)  # fmt: skip
NOISE_MAD_ADU = MetricDef(
    "read_noise_mad_adu", "adu", dims=("amp",),
    doc="1.4826 MAD of the overscan pixels about their median, as some logs quote the read noise in ADU. Of integers it moves in steps "
    "of 1.48 ADU; no limit rests on it.",
)  # fmt: skip
NOISE_IMAGE = MetricDef("read_noise_image", "electron", dims=("amp",), doc="Read noise as `read_noise`, from the image area of a zero exposure.")
RATIO = MetricDef("read_noise_ratio", "", dims=("amp",), doc="Read noise over the one that is expected of the amplifier.")


class ReadNoiseParams(Params):
    """Parameters of `read_noise`."""

    source: Source = Field("overscan", description="where the noise is measured: overscan or prescan; the other one where it is not declared")
    trim: int = Field(3, ge=0, description="pixels left out at either side of the overscan, where light of the image leaks in [pixel]")
    rounding: bool = Field(True, description="take the variance of rounding to integers, 1/12 ADU^2, from that of raw values that are integers")
    image_rows: int = Field(64, ge=8, description="rows of an amplifier's image, at even distances, of which its noise is measured in zeros [pixel]")


@dataclass(frozen=True, slots=True)
class _Noise:
    """What was measured of one amplifier: scatter in ADU, residuals about the level (ADU), or why not."""

    adu: float = math.nan
    mad: float = math.nan
    plain_mad: float = math.nan
    image: float = math.nan
    remark: str = ""
    image_remark: str = ""
    residuals: npt.NDArray[np.float32] | None = None
    declared: bool = True


class ReadNoise(MonitoringAlg[ReadNoiseParams]):
    """Measures the read noise of every amplifier on the raw frame. Of an amplifier that is dead it is not zero: it is not measured.

    Formula: read_noise = gain x sqrt(s^2 - 1/12), electron, s = standard deviation (ADU) of the overscan about the level of each row and column,
    cut at 4 sigma and divided by what the cut takes from a Gaussian, with the degrees of freedom of the levels; 1/12 is the variance of rounding,
    of integers alone; read_noise_adu = the same before the gain, ADU. read_noise_image: likewise of the image area of a zero. read_noise_ratio =
    read_noise / expected one. read_noise_mad = gain x 1.4826 x median of |differences of neighbours| / sqrt(2); read_noise_mad_adu = 1.4826 MAD of
    the pixels. The relative error of n pixels is 1 / sqrt(2 n).
    Source: it stands for NOISE_AMP (Get_RMS) of DESI's quick-look, about the levels of rows and columns in place of one level. The cut: Barr &
    Sherrill 1999, Am. Stat. 53, 357; rounding: Sheppard's correction.
    """

    name = "read_noise"
    metrics = (NOISE, NOISE_ADU, NOISE_MAD, NOISE_MAD_ADU, NOISE_IMAGE, RATIO)

    def measure(self, raw: RawImage, exposure: Exposure | None) -> Measures:
        """Per amplifier; NaN with a remark where it could not be. Raises NotApplicable where there are no pixels without light at all."""
        zero = exposure is not None and exposure.flavor == "zero"
        found = {a.name: self._measure_amp(raw, a, zero) for a in judged(raw.amplifiers)}
        if found and not any(n.declared for n in found.values()):
            raise NotApplicable(f"no amplifier of {raw.camera} has an overscan or a prescan, and this is no zero exposure")
        metrics = _metrics(raw, found, zero)
        return Measures(metrics, plots=(_plot(raw, found, metrics),))

    def _measure_amp(self, raw: RawImage, amp: Amplifier, zero: bool) -> _Noise:
        from qa.kernels.noise import scatter

        dead = health(raw.pixels, amp).cause
        if dead:
            return _Noise(remark=dead, image_remark=dead)
        image, image_remark = self._image_noise(raw, amp) if zero else (math.nan, "")
        strip = bias_strip(raw, amp, self.params.source, self.params.trim, dark_image=zero)
        if strip is None:
            return _Noise(image=image, image_remark=image_remark, remark="no overscan or prescan is declared", declared=False)
        pixels = strip.pixels
        narrow = pixels.shape[1] < _MIN_WIDTH  # then the level is taken along the lines
        result = scatter(pixels.T, _LINE_BLOCK) if narrow else strip_scatter(raw, amp, strip, self.params.trim)
        sigma = self._unrounded(result.sigma, raw, pixels)
        remark = _why_no_noise(result.sigma, sigma, strip.source, int(np.isfinite(pixels).sum()))
        kept = sigma if not remark else math.nan
        return _Noise(kept, _mad(pixels), _plain_mad(pixels), image, remark, image_remark, result.residuals)

    def _image_noise(self, raw: RawImage, amp: Amplifier) -> tuple[float, str]:
        from qa.kernels.noise import scatter

        data = raw.pixels[amp.data.slices]
        data = data if amp.serial_axis == 1 else data.T
        data = np.ascontiguousarray(data[:: max(1, data.shape[0] // self.params.image_rows)], dtype=np.float32)
        sigma = scatter(data, _LINE_BLOCK).sigma
        final = self._unrounded(sigma, raw, data)
        remark = _why_no_noise(sigma, final, "image", int(np.isfinite(data).sum()))
        return (math.nan if remark else final), remark

    def _unrounded(self, sigma: float, raw: RawImage, pixels: npt.NDArray[np.float32]) -> float:
        from qa.kernels.noise import without_rounding

        rounded = raw.pixels.dtype.kind in "iu" or is_integer(pixels)
        return without_rounding(sigma) if self.params.rounding and math.isfinite(sigma) and rounded else sigma


def _why_no_noise(raw_sigma: float, sigma: float, where: str, finite: int) -> str:
    """Why a scatter is no read noise; "" if it is one."""
    if math.isnan(raw_sigma):
        return f"{finite} finite pixels in the {where} are too few"
    if math.isinf(raw_sigma):
        return f"the values of the {where} are too large to be those of a detector"
    if raw_sigma == 0.0:
        return f"the {where} is constant"
    return f"the scatter of the {where}, {raw_sigma:.2g} ADU, is below one step of the converter" if sigma == 0.0 else ""


def _mad(pixels: npt.NDArray[np.float32]) -> float:
    axis = 1 if pixels.shape[1] > 1 else 0
    step = max(1, pixels.size // _SAMPLE)
    with np.errstate(invalid="ignore"):  # infinity minus infinity, left out below
        differences = np.abs(np.diff((pixels[::step] if axis == 1 else pixels).astype(np.float64), axis=axis))
    differences = differences[np.isfinite(differences)]
    return 1.4826 * float(np.median(differences)) / math.sqrt(2.0) if differences.size else math.nan


def _plain_mad(pixels: npt.NDArray[np.float32]) -> float:
    sample = pixels.ravel()[:: max(1, pixels.size // _SAMPLE)]
    sample = sample[np.isfinite(sample)].astype(np.float64)
    return 1.4826 * float(np.median(np.abs(sample - np.median(sample)))) if sample.size else math.nan


def _metrics(raw: RawImage, found: dict[str, _Noise], zero: bool) -> tuple[Measured, ...]:
    gain = {a.name: a.gain for a in raw.amplifiers}
    told = {k: n.remark for k, n in found.items()}
    image = not_applicable(NOISE_IMAGE.name, "measured in zero exposures alone")
    if zero:
        of_image = {k: n.image_remark for k, n in found.items()}
        image = per_amp(NOISE_IMAGE, raw.amplifiers, {k: gain[k] * n.image for k, n in found.items()}, of_image)
    return (
        per_amp(NOISE, raw.amplifiers, {k: gain[k] * n.adu for k, n in found.items()}, told),
        per_amp(NOISE_ADU, raw.amplifiers, {k: n.adu for k, n in found.items()}, told),
        per_amp(NOISE_MAD, raw.amplifiers, {k: gain[k] * n.mad for k, n in found.items()}, told),
        per_amp(NOISE_MAD_ADU, raw.amplifiers, {k: n.plain_mad for k, n in found.items()}, told),
        image,
        _ratio(raw.amplifiers, found),
    )


def _ratio(amps: tuple[Amplifier, ...], found: dict[str, _Noise]) -> Measured:
    stated = {a.name: a.gain * found[a.name].adu / a.read_noise for a in judged(amps) if a.read_noise and a.read_noise > 0}
    if not stated:
        return not_applicable(RATIO.name, "no read noise is stated for the amplifiers")
    expected = {a.name: f"{a.read_noise:.3g} electron are expected" for a in amps if a.name in stated}
    return per_amp(RATIO, amps, stated, {k: found[k].remark or expected[k] for k in stated})


def _plot(raw: RawImage, found: dict[str, _Noise], metrics: tuple[Measured, ...]) -> Plot:
    by_name = {m.name: m for m in metrics}
    panels = [
        bars(NOISE, by_name[NOISE.name], title="Read noise", label="read noise"),
        bars(RATIO, by_name[RATIO.name], title="Read noise over the expected one", label="ratio"),
        lines(
            _curves(found),
            x=Axis(label="pixel minus level over read noise"),
            y=Axis(label="fraction of pixels", log=True, range=(_FLOOR, 0.2)),
            title="Pixels without light",
            missing=missing(by_name[NOISE.name]),
        ),
    ]
    if by_name[NOISE_IMAGE.name].not_applicable is None:
        panels.append(bars(NOISE_IMAGE, by_name[NOISE_IMAGE.name], title="Read noise in the image of this zero", label="read noise"))
    return Plot(name="read_noise", title=f"Read noise, camera {raw.camera}", panels=tuple(panels), columns=2)


def _curves(found: dict[str, _Noise]) -> dict[str, tuple[np.ndarray, np.ndarray]]:
    """Histogram of the residuals of each amplifier in units of its read noise, and the Gaussian that they should follow."""
    edges = np.linspace(-_HISTOGRAM_SIGMA, _HISTOGRAM_SIGMA, 51)
    curves = {}
    for name, noise in found.items():
        if noise.residuals is None or not noise.adu > 0:
            continue
        sample = noise.residuals.ravel()[:: max(1, noise.residuals.size // _SAMPLE)]
        x, counts = histogram(sample.astype(np.float64) / noise.adu, edges)
        curves[f"{name}: {noise.adu:.2f} adu"] = (x, np.maximum(counts / max(1, int(np.isfinite(sample).sum())), _FLOOR))
    if curves:
        middle = np.linspace(-4.0, 4.0, 81)
        curves["Gaussian"] = (middle, np.exp(-0.5 * middle**2) / math.sqrt(2.0 * math.pi) * (edges[1] - edges[0]))
    return curves
