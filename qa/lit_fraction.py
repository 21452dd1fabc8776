"""How much of every amplifier sees light."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from qa.figures import bars, lines
from qa.values import per_amp
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.image import Image
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Plot
from quicklook.core.plugin import MonitoringAlg

_TALL = 1024
_POINTS = 128

LIT = MetricDef("lit_fraction", "", dims=("amp",), doc="Fraction of the good pixels that hold more than n sigma of the read noise (LITFRAC_AMP).")


class LitFractionParams(Params):
    """Parameters of `lit_fraction`."""

    nsigma: float = Field(5.0, gt=0.0, description="a pixel above this many times the read noise of its amplifier is lit")
    row_step: int = Field(8, ge=1, description="every how manieth row is looked at in amplifiers of 1024 rows and more [pixel]")


class LitFraction(MonitoringAlg[LitFractionParams]):
    """Measures which fraction of every amplifier is lit: none in zeros and darks, much in science exposures and flats."""

    name = "lit_fraction"
    metrics = (LIT,)

    def measure(self, image: Image) -> Measures:
        """Per amplifier; NaN where its read noise is unknown or all of its pixels are masked."""
        found = {a.name: self._measure_amp(image, a) for a in image.amplifiers}
        lit = per_amp(LIT, {k: f for k, (f, _, _) in found.items()}, {k: why for k, (_, why, _) in found.items()})
        curves = {k: curve for k, (_, _, curve) in found.items() if curve is not None}
        panels = (
            bars(LIT, lit, title=f"Pixels above {self.params.nsigma:g} sigma of the read noise", label="lit fraction", range_=(0.0, 1.0)),
            lines(curves, x=Axis(label="CCD row", unit="pix"), y=Axis(label="lit fraction", range=(0.0, 1.0)), title="Along the dispersion"),
        )
        plot = Plot(name="lit_fraction", title=f"Lit fraction, camera {image.camera}", panels=panels, columns=2)
        return Measures((lit,), plots=(plot,))

    def _measure_amp(self, image: Image, amp: Amplifier) -> tuple[float, str, tuple[np.ndarray, np.ndarray] | None]:
        noise = image.read_noise.get(amp.name, math.nan)
        if not (math.isfinite(noise) and noise > 0):
            return math.nan, "its read noise is unknown", None
        step = self.params.row_step if amp.ccd.shape[0] >= _TALL else 1
        rows, columns = slice(amp.ccd.y0, amp.ccd.y1, step), slice(amp.ccd.x0, amp.ccd.x1)
        good = image.mask[rows, columns] == 0
        above = image.pixels[rows, columns] > np.float32(self.params.nsigma * noise)
        above &= good
        n_good, n_lit = np.count_nonzero(good, axis=1), np.count_nonzero(above, axis=1)
        if n_good.sum() == 0:
            return math.nan, "all of its pixels are masked", None
        return float(n_lit.sum() / n_good.sum()), "", _profile(n_lit, n_good, amp.ccd.y0, step)


def _profile(lit: np.ndarray, good: np.ndarray, first: int, step: int) -> tuple[np.ndarray, np.ndarray]:
    """Lit fraction along the rows, in at most 128 stretches; NaN where a stretch has no good pixel."""
    size = -(-lit.size // _POINTS)
    starts = np.arange(0, lit.size, size)
    n_lit, n_good = np.add.reduceat(lit, starts), np.add.reduceat(good, starts)
    fraction = np.divide(n_lit, n_good, out=np.full(starts.size, np.nan), where=n_good > 0)
    return first + step * (starts + 0.5 * size), fraction
