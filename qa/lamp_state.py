"""Which kind of lamp an exposure has seen: a continuum lights all samples, lines light few."""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from pydantic import Field

from qa.fiberlight import usable
from qa.values import scalar
from quicklook.ccd.arrays import Float64
from quicklook.ccd.spectra import Frame
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_FIBRES = 40
_BRIGHT = 99.0
_MEANS, _LEAST = (1, 8, 64), 8
"""Samples that are taken together until the light stands out, and how many such means there must be."""

LIT = MetricDef(
    "lamp_continuum", "",
    doc="Part of the samples of a spectrum with more than a tenth of its brightest light (99th percentile), median over the fibres: most of them "
    "under a continuum lamp, few under a lamp of lines.",
)  # fmt: skip


class LampStateParams(Params):
    """Parameters of `lamp_state`."""

    part: float = Field(0.1, gt=0.0, lt=1.0, description="samples with more than this part of the brightest light count")
    min_snr: float = Field(10.0, gt=0.0, description="S/N of the brightest samples, or of the brightest means of many, below which no lamp is on")


class LampState(MonitoringAlg[LampStateParams]):
    """Says from the light whether the lamp is one of lines or a continuum, as the flavor of the header (arc, flat) wants it.

    Formula: lamp_continuum = median over some forty fibres of the part of the usable samples with flux above `part` of the 99th percentile of the
    fibre: near 1 for a flat spectrum, for an arc about the part of the spectrum that lines cover. Not measured where that percentile is below
    `min_snr` of its noise in half of the fibres.
    Source: own definition: the part of a spectrum that is lit tells lines from a continuum whatever the lamp.
    """

    name = "lamp_state"
    group = "Spectra"
    metrics = (LIT,)

    def measure(self, frame: Frame) -> Measures:
        """Of extracted spectra, from forty of the fibres. NaN where the brightest samples are noise: no lamp is on."""
        step = max(1, len(frame.flux) // _FIBRES)
        parts, fibres, clear = [], [], 0
        for fibre, flux, ivar, mask in zip(frame.fibermap.fiber[::step], frame.flux[::step], frame.ivar[::step], frame.mask[::step], strict=True):
            good = usable(flux, ivar, mask)
            if good.mean() < 0.5:
                continue
            part, seen = self._part(flux[good].astype(np.float64), 1.0 / ivar[good].astype(np.float64))
            clear += seen
            parts.append(part)
            fibres.append(fibre)
        plots = (_plot(np.array(fibres, np.int64), np.array(parts, np.float64)),)
        if 2 * clear < max(len(parts), 1):
            why = "no lamp is on: the spectra hold noise alone" if parts else "no spectrum can be used"
            return Measures((scalar(LIT, math.nan, why),), plots=plots)
        return Measures((scalar(LIT, float(np.median(parts))),), plots=plots)

    def _part(self, flux: Float64, variance: Float64) -> tuple[float, bool]:
        """The lit part of a spectrum, and whether its brightest samples are more than noise."""
        part, seen = math.nan, False
        for n in _MEANS:
            if flux.size < _LEAST * n and n > 1:
                break
            light, noise = (v[: v.size // n * n].reshape(-1, n).sum(axis=1) for v in (flux, variance))
            bright = float(np.percentile(light, _BRIGHT))
            part, seen = float((light > self.params.part * bright).mean()), bright > self.params.min_snr * math.sqrt(float(np.median(noise)))
            if seen:
                break
        return part, seen


def _plot(fibre: npt.NDArray[np.int64], part: Float64) -> Plot:
    y = Axis(label="lit part of the samples", range=(0.0, 1.0))
    message = "" if part.size else "no spectrum can be used"
    panel = Panel(x=Axis(label="fibre"), y=y, layers=(Scatter(x=fibre, y=part),), metric=LIT.name, message=message)
    return Plot(name="lamp_state", title="Lamp: a continuum lights all samples, lines light few", panels=(panel,))
