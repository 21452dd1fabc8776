"""Read noise from differences of pairs of zeros: what both have in common, structure of the bias, is gone."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
import numpy.typing as npt
from pydantic import Field

from qa.figures import bars, lines
from qa.sections import is_integer, sample
from qa.values import judged, per_amp
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.image import RawImage
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Plot
from quicklook.core.plugin import MonitoringAlg

_SAMPLE = 1 << 16
_ROUNDS = 4

NOISE = MetricDef(
    "pair_noise", "electron", dims=("amp",), doc="Read noise from differences of pairs of zeros: standard deviation over sqrt(2), median over pairs."
)
RATIO = MetricDef("pair_noise_ratio", "", dims=("amp",), doc="Read noise from pairs of zeros over the one that is expected of the amplifier.")
CHANGE = MetricDef("pair_noise_change", "", dims=("amp",), doc="Largest minus smallest read noise of the pairs, over their median.")


class ZeroPairsParams(Params):
    """Parameters of `zero_pairs`."""

    clip: float = Field(4.0, gt=2, description="differences farther off than this are left out (cosmic rays), sigma")


class ZeroPairs(MonitoringAlg[ZeroPairsParams]):
    """Read noise of the image area from the differences of zeros that follow each other.

    Formula: of each pair d = a - b over a sample of the pixels, less the median of d in each row (a level that drifts is no noise); s = clipped
    standard deviation of d, pixels beyond `clip` sigma left out; noise = gain x sqrt(s^2 / 2 - 1/12 ADU^2 of rounding), electron. pair_noise = median
    over the pairs, pair_noise_ratio = over the expected read noise, pair_noise_change = (largest - smallest) / median.
    Source: Janesick 2001, Scientific Charge-Coupled Devices, chapter 2 (read noise from the difference of two frames).
    """

    name = "zero_pairs"
    metrics = (NOISE, RATIO, CHANGE)

    def measure(self, raws: Sequence[RawImage]) -> Measures:
        """By amplifier. Raises NotApplicable where there are fewer than two zeros."""
        if len(raws) < 2:
            raise NotApplicable("a difference needs two zeros")
        stream = iter(raws)
        first = before = next(stream)
        amplifiers, found = first.amplifiers, dict[str, list[float]]()
        for now in stream:
            for amp in judged(amplifiers):
                found.setdefault(amp.name, []).append(self._noise(before, now, amp))
            before = now
        noise = {k: _median(v) for k, v in found.items()}
        still = {k: "there is no noise at all" for k, v in noise.items() if v == 0}
        expected = {a.name: a.read_noise for a in judged(amplifiers)}
        metrics = (
            per_amp(NOISE, amplifiers, noise, _why(noise)),
            per_amp(RATIO, amplifiers, {k: noise[k] / e for k, e in expected.items() if e and k in noise}, _why(noise)),
            per_amp(CHANGE, amplifiers, {k: _change(v) for k, v in found.items()}, _why(noise) | still),
        )
        x, y = Axis(label="pair"), Axis(label="read noise", unit="electron")
        curves = {k: (np.arange(1.0, len(v) + 1), np.array(v)) for k, v in found.items()}
        panels = (bars(NOISE, metrics[0], title="Read noise from pairs", label="read noise"), lines(curves, x=x, y=y, title="Pair by pair"))
        return Measures(metrics, plots=(Plot(name="zero_pairs", title=f"Pairs of zeros, camera {first.camera}", panels=panels, columns=2),))

    def _noise(self, a: RawImage, b: RawImage, amp: Amplifier) -> float:
        """Of one pair, electron; NaN where they differ in shape or nothing is finite."""
        if a.shape != b.shape:
            return math.nan
        cut = amp.data.slices
        one, other = (sample(r.pixels[cut], _SAMPLE).astype(np.float64) for r in (a, b))
        with np.errstate(invalid="ignore"):  # of two infinities
            difference = one - other
        known = np.isfinite(difference).all(axis=1)
        if not known.any():
            return math.nan
        difference = difference[known]
        difference -= np.median(difference, axis=1, keepdims=True)
        s = _clipped_std(difference.ravel(), self.params.clip)
        rounding = 1 / 12 if is_integer(a.pixels) else 0.0
        return amp.gain * math.sqrt(max(s * s / 2 - rounding, 0.0))


def _clipped_std(values: npt.NDArray[np.float64], clip: float) -> float:
    spread = 1.4826 * float(np.median(np.abs(values))) or float(values.std())
    for _ in range(_ROUNDS):
        inside = values[np.abs(values) <= clip * spread]
        if inside.size < 2 or spread == 0:
            return spread
        spread = float(inside.std())
    return spread


def _median(values: Sequence[float]) -> float:
    known = [v for v in values if math.isfinite(v)]
    return float(np.median(known)) if known else math.nan


def _change(values: Sequence[float]) -> float:
    known = [v for v in values if math.isfinite(v)]
    middle = _median(known)
    return (max(known) - min(known)) / middle if known and middle > 0 else math.nan


def _why(noise: Mapping[str, float]) -> dict[str, str]:
    return {k: "no pair of zeros has finite pixels here" for k, v in noise.items() if math.isnan(v)}
