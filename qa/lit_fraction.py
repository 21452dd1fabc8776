"""How much of every amplifier sees light."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from pydantic import Field

from qa.figures import bars, lines, missing
from qa.values import judged, per_amp, scalar
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.health import cause
from quicklook.ccd.image import Image
from quicklook.core.metrics import Measured, Measures, MetricDef, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Plot
from quicklook.core.plugin import MonitoringAlg

_TALL = 1024
_POINTS = 128

LIT = MetricDef("lit_fraction", "", dims=("amp",), doc="Fraction of the good pixels that hold more than n sigma of the read noise (LITFRAC_AMP).")

LIT_LONG = MetricDef(
    "lit_fraction_long", "", dims=("amp",),
    doc="As `lit_fraction`, of science exposures so long that the sky between the targets lights its fibres above that threshold.",
)  # fmt: skip

LIT_CAMERA = MetricDef("lit_fraction_camera", "", doc="As `lit_fraction`, over all amplifiers of the camera together.")


class LitFractionParams(Params):
    """Parameters of `lit_fraction`."""

    nsigma: float = Field(5.0, gt=0.0, description="a pixel above this many times the read noise of its amplifier is lit")
    row_step: int = Field(8, ge=1, description="every how manieth row is looked at in amplifiers of 1024 rows and more [pixel]")
    long_s: float = Field(800.0, gt=0.0, description="science exposures of this time and more are long: less sky does not reach the threshold [s]")


@dataclass(frozen=True, slots=True)
class _Lit:
    """Of one amplifier: lit and good pixels of every `step`-th row, the lit fraction along the rows; or why not."""

    lit: int = 0
    good: int = 0
    step: int = 1
    why: str = ""
    curve: tuple[np.ndarray, np.ndarray] | None = None

    @property
    def fraction(self) -> float:
        return self.lit / self.good if self.good else math.nan


class LitFraction(MonitoringAlg[LitFractionParams]):
    """Measures which fraction of every amplifier is lit: none in zeros and darks, much in science exposures and flats.

    Formula: lit_fraction = good pixels above `nsigma` x read noise of the amplifier / good pixels, of every `row_step`-th row; lit_fraction_long:
    the same of science exposures of `long_s` and more; lit_fraction_camera: of all amplifiers together. The error of a fraction f of n pixels is
    sqrt(f (1 - f) / n).
    Source: it stands for LITFRAC_AMP (Count_Pixels) of DESI's quick-look, with its 5 sigma.
    """

    name = "lit_fraction"
    metrics = (LIT, LIT_LONG, LIT_CAMERA)

    def measure(self, image: Image, exposure: Exposure | None = None) -> Measures:
        """Per amplifier, and of all; NaN where its read noise is unknown or all of its pixels are masked."""
        found = {a.name: self._measure_amp(image, a) for a in judged(image.amplifiers)}
        lit = per_amp(LIT, image.amplifiers, {k: f.fraction for k, f in found.items()}, {k: f.why for k, f in found.items()})
        curves = {k: f.curve for k, f in found.items() if f.curve is not None}
        panels = (
            bars(LIT, lit, title=f"Pixels above {self.params.nsigma:g} sigma of the read noise", label="lit fraction", range_=(0.0, 1.0)),
            lines(
                curves,
                x=Axis(label="CCD row", unit="pix"),
                y=Axis(label="lit fraction", range=(0.0, 1.0)),
                title="Along the dispersion",
                missing=missing(lit),
            ),
        )
        plot = Plot(name="lit_fraction", title=f"Lit fraction, camera {image.camera}", panels=panels, columns=2)
        return Measures((lit, self._if_long(lit, exposure), _of_camera(image, found)), plots=(plot,))

    def _if_long(self, lit: Measured, exposure: Exposure | None) -> Measured:
        """The same again, where the sky had the time to light the fibres."""
        if exposure is None or exposure.flavor != "science":
            return not_applicable(LIT_LONG.name, "it is of science exposures")
        if not exposure.exptime >= self.params.long_s:
            return not_applicable(
                LIT_LONG.name, f"in {exposure.exptime:g} s the sky alone does not light a pixel; it is of {self.params.long_s:g} s and more"
            )
        return replace(lit, name=LIT_LONG.name)

    def _measure_amp(self, image: Image, amp: Amplifier) -> _Lit:
        from qa.kernels.counts import count_above

        if amp.name in image.dead:
            return _Lit(why=cause(image.dead[amp.name]))
        noise = image.read_noise.get(amp.name, math.nan)
        if not (math.isfinite(noise) and noise > 0):
            return _Lit(why="its read noise is unknown")
        step = self.params.row_step if amp.ccd.shape[0] >= _TALL else 1
        rows, columns = slice(amp.ccd.y0, amp.ccd.y1, step), slice(amp.ccd.x0, amp.ccd.x1)
        n_good, n_lit = count_above(image.pixels[rows, columns], image.mask[rows, columns], self.params.nsigma * noise)
        if n_good.sum() == 0:
            return _Lit(why="all of its pixels are masked")
        return _Lit(int(n_lit.sum()), int(n_good.sum()), step, curve=_profile(n_lit, n_good, amp.ccd.y0, step))


def _of_camera(image: Image, found: dict[str, _Lit]) -> Measured:
    """Over the amplifiers that live; rows are weighted by how many of them each amplifier was sampled by."""
    if all(a.bad or a.name in image.dead for a in image.amplifiers):
        return not_applicable(LIT_CAMERA.name, "no amplifier is alive")
    known = [f for f in found.values() if f.good]
    good = sum(f.good * f.step for f in known)
    why = next((f"amplifier {k}: {f.why}" for k, f in found.items() if f.why), "")
    return scalar(LIT_CAMERA, sum(f.lit * f.step for f in known) / good if good else math.nan, "" if good else why)


def _profile(lit: np.ndarray, good: np.ndarray, first: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Lit fraction along the rows, in at most 128 stretches; NaN where a stretch has no good pixel."""
    size = -(-lit.size // _POINTS)
    starts = np.arange(0, lit.size, size)
    n_lit, n_good = np.add.reduceat(lit, starts), np.add.reduceat(good, starts)
    fraction = np.divide(n_lit, n_good, out=np.full(starts.size, np.nan), where=n_good > 0)
    return first + step * (starts + 0.5 * size), fraction
