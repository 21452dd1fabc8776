"""What the exposures of a night come to together: S/N of the sum, how well they agree, and the sky over the night."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress

import numpy as np
from pydantic import Field

from qa.snr import FIDUCIAL, Snr, SnrParams
from qa.values import scalar
from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.coadd import Coadd
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.metrics import Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_LEAST_SNR = 0.3
"""Fibres of a lower S/N in the sum say nothing of how S/N adds up."""

SNR = MetricDef("coadd_snr", "", dims=("target",), doc="S/N per sample of a target of the fiducial magnitude in the sum of the exposures, by class.")
GAIN = MetricDef("coadd_gain", "", doc="S/N of the sum over the root of the sum of squares of the S/N of its exposures, median over the fibres.")
CHI2 = MetricDef("coadd_chi2", "", doc="Squared deviation of the exposures from their mean over what their errors say, median over the fibres.")
REJECTED = MetricDef("coadd_rejected", "", doc="Part of the samples that were left out of the sum, as they are far from those of other exposures.")
NUMBER = MetricDef("coadd_exposures", "", doc="Number of the exposures in the sum, median over the fibres.")
SKY = MetricDef("sky_night_range", "", doc="Brightest less faintest light of the sky over the exposures, over the median; median over wavelengths.")


class CoaddSnrParams(Params):
    """Parameters of `coadd_snr`."""

    fiducial_mag: float = Field(22.0, gt=10.0, lt=30.0, description="magnitude at which the S/N is stated, in the band of the arm [mag]")
    min_targets: int = Field(3, ge=1, description="with fewer targets a class is left out")


class CoaddSnr(MonitoringAlg[CoaddSnrParams]):
    """Measures the S/N on the sum itself, and whether it is what the exposures promise.

    Formula: coadd_snr as fiducial_snr (see `snr`), of the sum; coadd_gain = S/N of a fibre in the sum / sqrt(sum of S/N^2 of its exposures), where
    the S/N of a spectrum is the median over 32 blocks of the mean of flux / error per sample, median over fibres with S/N > 0.3: 1 where noises are
    independent and calibrations agree; coadd_chi2 = sum over samples and exposures of (flux - mean)^2 ivar / degrees of freedom, of a fibre, median
    over fibres; coadd_rejected = samples left out / samples; coadd_exposures = exposures of a fibre, median over fibres; sky_night_range = (largest -
    smallest rate of the sky) / median over the exposures, median over the windows of wavelength.
    Source: weighted mean and its error (Bevington & Robinson 2003, Data Reduction and Error Analysis, chapter 4); the S/N of a target as in `snr`.
    """

    name = "coadd_snr"
    group = "Spectra"
    metrics = (SNR, GAIN, CHI2, REJECTED, NUMBER, SKY)

    def measure(self, coadd: Coadd) -> Measures:
        """Without targets of a known class there is no S/N at a magnitude; all else is measured."""
        inner = Snr(SnrParams(fiducial_mag=self.params.fiducial_mag, min_targets=self.params.min_targets))
        panels: list[Panel] = []
        snr: Measured = not_applicable(SNR.name, "the fibre map has no targets of a known class")
        with suppress(NotApplicable, BadData):
            of_sum = inner.measure(coadd.frame)
            fiducial = of_sum[FIDUCIAL.name]
            snr = measured(SNR.name, fiducial.values, target=fiducial.coords["target"], remarks={k: fiducial.remarks[k] for k in fiducial.remarks})
            panels = [p for plot in of_sum.plots for p in plot.panels][:1]
        ratio, both = _gain(coadd)
        metrics = (
            snr,
            scalar(GAIN, ratio, "" if both else "no fibre has a signal in the sum"),
            _known(CHI2, _median(coadd.chi2), "no fibre has two exposures"),
            scalar(REJECTED, coadd.rejected),
            _known(NUMBER, _median(coadd.used[coadd.used > 0].astype(np.float64)), "no fibre has a spectrum"),
            _night(coadd),
        )
        plot = Plot(name="coadd_snr", title=f"Exposures added up, camera {coadd.camera}", panels=(*_growth(coadd), *panels, _sky(coadd)), columns=2)
        facts = {"exposures": len(coadd.expid), "seconds": float(np.nansum(coadd.exptime)), "fibres": int((coadd.used > 0).sum())}
        return Measures(metrics, plots=(plot,), facts=facts)


def _known(definition: MetricDef, value: float, otherwise: str) -> Measured:
    return scalar(definition, value, "" if math.isfinite(value) else otherwise)


def _median(values: Raw) -> float:
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else math.nan


def _promised(coadd: Coadd) -> Float64:
    """Root of the sum of squares of the S/N so far, [nexp, nfibre]; NaN before the first that is known."""
    single = coadd.snr_single.astype(np.float64)
    total = np.sqrt(np.cumsum(np.where(np.isfinite(single), np.maximum(single, 0.0), 0.0) ** 2, axis=0))
    return np.where(total > 0, total, np.nan)


def _bright(coadd: Coadd) -> Raw:
    """Fibres whose S/N in the sum says something."""
    last = coadd.snr_after[-1]
    return np.asarray(np.isfinite(last) & (last > _LEAST_SNR) & np.isfinite(_promised(coadd)[-1]) & (coadd.used > 1))


def _gain(coadd: Coadd) -> tuple[float, bool]:
    use = _bright(coadd)
    if not use.any():
        return math.nan, False
    return float(np.median(coadd.snr_after[-1][use] / _promised(coadd)[-1][use])), True


def _night(coadd: Coadd) -> Measured:
    """Change of the sky over the exposures; it does not apply to one of them, or where nothing is known of the sky."""
    known = np.isfinite(coadd.sky).sum(axis=0) > 1
    level = np.array([_median(column) for column in coadd.sky.T])
    known &= level > 0
    if not known.any():
        return not_applicable(SKY.name, "the light of the sky is known in fewer than two exposures")
    span = np.nanmax(coadd.sky[:, known], axis=0) - np.nanmin(coadd.sky[:, known], axis=0)
    return scalar(SKY, float(np.median(span / level[known])))


def _growth(coadd: Coadd) -> Sequence[Panel]:
    """S/N against the number of exposures, measured and promised; how the exposures agree, by fibre."""
    use, number = _bright(coadd), np.arange(1.0, len(coadd.expid) + 1)
    x = Axis(label="exposures so far", range=(0.5, len(number) + 0.5))
    y = Axis(label="S/N of a sample, median", range=(0.0, None))
    promised = [_median(row[use]) for row in _promised(coadd)]
    measured_ = [_median(row[use]) for row in coadd.snr_after]
    line = Line(x=number, y=np.array(promised), label="root of the sum of squares")
    growth = (line, Scatter(x=number, y=np.array(measured_), label="sum, measured"))
    fibres = Scatter(x=np.asarray(coadd.fibermap.fiber, np.float64), y=coadd.chi2.astype(np.float64))
    known = bool(use.any())
    return (
        Panel(x=x, y=y, layers=growth if known else (), title=f"S/N of {int(use.sum())} fibres", message="no fibre has a signal in the sum"),
        Panel(x=Axis(label="fibre"), y=Axis(label="chi2 of the exposures", log=True), layers=(fibres,), title="Exposures about their mean"),
    )


def _sky(coadd: Coadd) -> Panel:
    """The light of the sky in windows of wavelength, over the night."""
    there = np.isfinite(coadd.hours).all()
    x = coadd.hours if there else np.arange(1.0, len(coadd.expid) + 1)
    axis = Axis(label="time since the first exposure", unit="h") if there else Axis(label="exposure")
    order = np.argsort(x)
    layers = tuple(Line(x=x[order], y=rate[order], label=f"{w:.0f} Angstrom") for w, rate in zip(coadd.sky_wave, coadd.sky.T, strict=True))
    return Panel(x=axis, y=Axis(label="sky", unit="electron/(s Angstrom)", range=(0.0, None)), layers=layers, title="Sky over the night")
