"""Gain, read noise, linearity and full well as photon transfer gave them, against what the instrument states."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

from qa.figures import bars
from qa.values import per_amp
from quicklook.ccd.arrays import Float64
from quicklook.ccd.calibs import PhotonTransfer
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.image import Image
from quicklook.core.metrics import Measured, Measures, MetricDef, not_applicable
from quicklook.core.plots import Axis, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg, NoParams

GAIN = MetricDef("gain", "electron/adu", dims=("amp",), doc="Gain of the amplifier, from the variance of differences of flats against their level.")
GAIN_RATIO = MetricDef("gain_ratio", "", dims=("amp",), doc="Gain over the one that the instrument states.")
GAIN_ERROR = MetricDef("gain_error", "", dims=("amp",), doc="Relative error of the gain.")
NOISE = MetricDef("ptc_read_noise", "electron", dims=("amp",), doc="Read noise: standard deviation of differences of zeros over sqrt(2).")
NOISE_RATIO = MetricDef("ptc_read_noise_ratio", "", dims=("amp",), doc="That read noise over the one that the instrument states.")
LINEARITY = MetricDef("linearity_error", "", dims=("amp",), doc="Largest relative departure of the level of flats from a straight line against time.")
FULL_WELL = MetricDef("full_well", "electron", dims=("amp",), doc="Highest level at which the variance still follows the line.")
_LEVEL = Axis(label="level", unit="adu")
_OFF = 0.3
"""Part of the variance by which the axis of residuals reaches to either side of the fit."""
_GAP = np.array([np.nan])
_NO_GAIN = "no line of variance against level: there is too little light, or the amplifier is dead"


class PhotonTransferQa(MonitoringAlg[NoParams]):
    """Compares gain and read noise from photon transfer with those that the instrument states, and shows the curves.

    Formula: variance = noise^2 + level / gain (1 + c level), ADU^2 against ADU, fitted by weighted least squares to half of the variance of
    differences of two flats; gain, electron/ADU. gain_error = its error from the fit / gain; gain_ratio = gain / stated gain; ptc_read_noise = gain
    x standard deviation of differences of zeros / sqrt(2), the 1/12 ADU^2 of rounding taken off, electron (without zeros that of the overscan);
    ptc_read_noise_ratio = that / stated one; linearity_error = largest |level / straight line against exposure time - 1|; full_well = gain x level
    from which on the variance stays below 0.8 of the line, electron.
    Source: photon transfer (Janesick 2001, Scientific Charge-Coupled Devices); c is the brighter-fatter effect to first order. What the instrument
    states is the reference.
    """

    name = "photon_transfer_curve"
    metrics = (GAIN, GAIN_RATIO, GAIN_ERROR, NOISE, NOISE_RATIO, LINEARITY, FULL_WELL)

    def measure(self, ptc: PhotonTransfer, images: Sequence[Image]) -> Measures:
        """By amplifier; linearity and full well do not apply where the exposures cannot tell them."""
        amps = images[0].amplifiers
        place = {name: i for i, name in enumerate(ptc.amp)}
        names = [a.name for a in amps]
        of = {w: {k: float(getattr(ptc, w)[place[k]]) if k in place else math.nan for k in names} for w in ("gain", "gain_error", "read_noise")}
        stated = {a.name: a.read_noise or math.nan for a in amps}
        none = {k: _NO_GAIN for k in names if not math.isfinite(of["gain"][k])}
        said = {a.name: f"stated: {a.gain:g} electron/adu" for a in amps} | none
        noise = {k: f"stated: {v:g} electron" for k, v in stated.items() if v > 0}
        unknown = {k: "neither zeros nor overscan give a read noise" for k in names if not math.isfinite(of["read_noise"][k])} | none
        metrics = (
            per_amp(GAIN, amps, of["gain"], said),
            per_amp(GAIN_RATIO, amps, {a.name: of["gain"][a.name] / a.gain for a in amps}, said),
            per_amp(GAIN_ERROR, amps, {k: of["gain_error"][k] / of["gain"][k] for k in names}, none),
            per_amp(NOISE, amps, of["read_noise"], noise | unknown),
            _against(amps, of["read_noise"], stated, unknown),
            _known(LINEARITY, amps, ptc, ptc.linearity, "the flats have one exposure time"),
            _known(FULL_WELL, amps, ptc, ptc.full_well, "no pixel was saturated"),
        )
        top = ptc.level[np.isfinite(ptc.level)]
        panels = (
            _curves(ptc),
            _residuals(ptc),
            _linearity(ptc),
            bars(GAIN, metrics[0], title="Gain", label="gain"),
            bars(NOISE, metrics[3], title="Read noise", label="read noise"),
            bars(FULL_WELL, metrics[6], title="Full well", label="full well"),
        )
        plot = Plot(name="photon_transfer_curve", title=f"Photon transfer, camera {images[0].camera}", panels=panels, columns=2)
        return Measures(metrics, plots=(plot,), facts={"exposures": len(images), "highest_level_adu": float(top.max()) if top.size else math.nan})


def _against(amps: Sequence[Amplifier], found: Mapping[str, float], stated: Mapping[str, float], unknown: Mapping[str, str]) -> Measured:
    if not any(v > 0 for v in stated.values()):
        return not_applicable(NOISE_RATIO.name, "the instrument states no read noise")
    return per_amp(NOISE_RATIO, amps, {k: found[k] / v for k, v in stated.items() if v > 0}, unknown)


def _known(definition: MetricDef, amps: Sequence[Amplifier], ptc: PhotonTransfer, values: Float64, otherwise: str) -> Measured:
    """Where the exposures tell nothing of any amplifier the metric does not apply; of single ones it is not asked."""
    there = {a.name for a in amps}
    known = {k: float(v) for k, v in zip(ptc.amp, values, strict=True) if math.isfinite(v) and k in there}
    return per_amp(definition, amps, known) if known else not_applicable(definition.name, otherwise)


def _line(ptc: PhotonTransfer, i: int, level: Float64) -> Float64:
    """The variance of an amplifier that its gain and read noise make, ADU^2."""
    noise = (ptc.read_noise[i] / ptc.gain[i]) ** 2 if math.isfinite(ptc.read_noise[i]) else 0.0
    return np.asarray(noise + level / ptc.gain[i])


def _seen(ptc: PhotonTransfer, i: int) -> tuple[Float64, Float64]:
    seen = np.isfinite(ptc.level[i]) & np.isfinite(ptc.variance[i])
    return ptc.level[i][seen].copy(), ptc.variance[i][seen].copy()


def _curves(ptc: PhotonTransfer) -> Panel:
    """Variance against level, the fits as one line that is broken between them, and where pixels are full."""
    layers: list[Scatter | Line] = []
    x, y, full_x, full_y = ([np.empty(0)] for _ in range(4))
    for i, name in enumerate(ptc.amp):
        level, variance = _seen(ptc, i)
        layers.append(Scatter(x=level, y=variance, label=name))
        if math.isfinite(ptc.gain[i]) and level.size:
            ends = np.array([0.0, level.max()])
            x, y = [*x, ends, _GAP], [*y, _line(ptc, i, ends), _GAP]
            if math.isfinite(ptc.full_well[i]):
                full = np.array([ptc.full_well[i] / ptc.gain[i]])
                full_x, full_y = [*full_x, full], [*full_y, _line(ptc, i, full)]
    if len(x) > 1:
        layers.append(Line(x=np.concatenate(x), y=np.concatenate(y), label="fits"))
    if len(full_x) > 1:
        layers.append(Scatter(x=np.concatenate(full_x), y=np.concatenate(full_y), label="full well"))
    return Panel(x=_LEVEL, y=Axis(label="variance", unit="adu^2"), layers=tuple(layers), title="Variance of an exposure")


def _residuals(ptc: PhotonTransfer) -> Panel:
    """Variance over the fit, less 1."""
    layers = []
    for i, name in enumerate(ptc.amp):
        level, variance = _seen(ptc, i)
        if math.isfinite(ptc.gain[i]) and level.size:
            layers.append(Scatter(x=level, y=variance / _line(ptc, i, level) - 1.0, label=name))
    y = Axis(label="variance / fit - 1", range=(-_OFF, _OFF))
    return Panel(x=_LEVEL, y=y, layers=tuple(layers), title="What the fits leave", message="no amplifier has a gain")


def _linearity(ptc: PhotonTransfer) -> Panel:
    """Level over that of a straight line against exposure time less 1, in per cent."""
    layers, why = [], "the flats have one exposure time"
    seconds, signal = (ptc.seconds, ptc.signal) if ptc.seconds is not None and ptc.signal is not None else (np.empty(0), np.empty((len(ptc.amp), 0)))
    for i, name in enumerate(ptc.amp):
        known = np.isfinite(signal[i]) & (signal[i] > 0) & (seconds > 0)
        t, v = seconds[known], signal[i][known]
        if t.size > 1 and t.max() > 1.02 * t.min():
            layers.append(Scatter(x=v, y=100.0 * (v / _straight(t, v) - 1.0), label=name))
    y = Axis(label="level / line against time - 1", unit="%")
    title = "Linearity" + (f" (largest: {np.nanmax(ptc.linearity):.2%})" if layers and np.isfinite(ptc.linearity).any() else "")
    return Panel(x=_LEVEL, y=y, layers=tuple(layers), title=title, message=why)


def _straight(t: Float64, v: Float64) -> Float64:
    """A line against time, through zero for two times, else with a delay of the shutter; the relative errors of all points count alike."""
    several = np.unique(np.round(np.log(t) / 0.02)).size > 2
    terms = np.stack([t, np.ones_like(t)], axis=1) if several else t[:, None]
    best, *_ = np.linalg.lstsq(terms / v[:, None], np.ones_like(v), rcond=None)
    return np.asarray(terms @ best)
