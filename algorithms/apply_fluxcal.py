"""From electrons to flux."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from pydantic import Field

from algorithms.apply_fiberflat import match
from quicklook.ccd.arrays import Raw
from quicklook.ccd.exposure import STATED_AIRMASS, STATED_SEEING, Exposure
from quicklook.ccd.spectra import FluxCalib, Frame, SpecMask
from quicklook.core.errors import BadData, MissingCalibration
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

FLUX_UNIT = "1e-17 erg/(s cm2 Angstrom)"


class ApplyFluxcalParams(Params):
    """Parameters of `apply_fluxcal`."""

    airmass_term: bool = Field(True, description="correct for extinction at the airmass of the exposure")
    seeing_term: bool = Field(True, description="correct for the loss of light at the fibre in the seeing of the exposure")


class ApplyFluxcal(PipelineAlg[ApplyFluxcalParams]):
    """Divide by the flux calibration and the exposure time."""

    name = "apply_fluxcal"

    def run(self, frame: Frame, fluxcal: FluxCalib, exposure: Exposure) -> Frame:
        """The calibrated frame (stage cframe), 1e-17 erg/(s cm2 Angstrom).

        flux = electrons / (calibration x 10^(-0.4 (sterm (SEEING - pseeing) + aterm (AIRMASS - pairmass))) x exposure time); airmass and seeing
        that nobody stated count as those of the calibration, and the frame says so (`assumed`). Where the calibration does not reach, or is
        not positive: BADFLUXCALIB and ivar 0. Raises BadData where the exposure time is no time, MissingCalibration where no fibre is calibrated.
        """
        from algorithms.kernels import resample

        vectors, assumed = self._vectors(frame, fluxcal, exposure)
        n = frame.flux.shape[0]
        rows = np.zeros(n, np.int64)
        if fluxcal.calib.ndim == 2:
            rows = _rows_of(frame, fluxcal)
        table = resample.tabulate(fluxcal.wave, vectors)
        out = resample.empty_like(frame.flux)
        arrays = (frame.flux, frame.ivar, frame.mask, frame.wave, rows)
        constants = (table.first, table.step, table.values, np.uint32(SpecMask.BADFLUXCALIB))

        def divide(a: int, b: int) -> None:
            resample.divide_calibration(*(x[a:b] for x in arrays), *constants, resample.new_room(frame.flux.shape[1]), *(x[a:b] for x in out))

        resample.by_blocks(n, divide)
        return replace(frame, flux=out[0], ivar=out[1], mask=out[2], unit=FLUX_UNIT, stage="cframe", assumed=(*frame.assumed, *assumed))

    def _vectors(self, frame: Frame, fluxcal: FluxCalib, exposure: Exposure) -> tuple[Raw, tuple[str, ...]]:
        """Electrons per unit of flux of this exposure [n, nwave], and what was assumed."""
        magnitude, assumed = np.zeros(fluxcal.wave.shape), []
        terms = (
            ("airmass", self.params.airmass_term, fluxcal.aterm, exposure.airmass, fluxcal.pairmass, STATED_AIRMASS),
            ("seeing", self.params.seeing_term, fluxcal.sterm, exposure.seeing, fluxcal.pseeing, STATED_SEEING),
        )
        for name, wanted, term, value, nominal, (low, high) in terms:
            if not wanted or term is None:
                continue
            if value is None or not low <= value <= high:
                assumed.append(f"{name} {nominal:g}, that of the flux calibration: the exposure states {'none' if value is None else value}")
                continue
            magnitude += np.asarray(term, np.float64) * (value - nominal)
        for text in assumed:
            self.log.warning("camera %s: assumed %s", frame.camera, text)
        seconds = _seconds(frame, fluxcal, exposure)
        return np.atleast_2d(fluxcal.calib.astype(np.float64) * 10 ** (-0.4 * magnitude) * seconds), tuple(assumed)


def _seconds(frame: Frame, fluxcal: FluxCalib, exposure: Exposure) -> float:
    if fluxcal.times_exptime:
        return 1.0
    if not (math.isfinite(exposure.exptime) and exposure.exptime > 0):
        raise BadData(f"camera {frame.camera}: the exposure time is {exposure.exptime} s, so there is no flux; look at the header")
    return exposure.exptime


def _rows_of(frame: Frame, fluxcal: FluxCalib) -> Raw:
    if fluxcal.fiber is not None:
        rows = match(frame.fibermap.fiber, fluxcal.fiber)
    elif len(fluxcal.calib) == frame.flux.shape[0]:
        rows = np.arange(frame.flux.shape[0])
    else:
        rows = np.full(frame.flux.shape[0], -1)
    if (rows < 0).all():
        has = len(fluxcal.calib)
        raise MissingCalibration(f"camera {frame.camera}: the flux calibration holds {has} fibres, none of them in the frame; certify another")
    return rows
