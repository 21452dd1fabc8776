"""Subtract the model of the sky."""

from __future__ import annotations

from dataclasses import replace
from typing import Literal

import numpy as np
from pydantic import Field

from quicklook.ccd.arrays import Float32
from quicklook.ccd.spectra import Frame, SkyModel, SpecMask
from quicklook.core.errors import BadData
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg


class SubtractSkyParams(Params):
    """Parameters of `subtract_sky`."""

    throughput: Literal["none", "lines", "all"] = Field(
        "none", description="scale the sky: none; lines: of every fibre by its emission lines; all: of sky fibres by their whole spectrum"
    )
    throughput_prior: float = Field(0.02, gt=0.0, description="scatter of that scale among fibres: one that is not better known stays near 1")


class SubtractSky(PipelineAlg[SubtractSkyParams]):
    """Subtract the sky from every fibre; the variance of the model is added."""

    name = "subtract_sky"

    def run(self, frame: Frame, sky: SkyModel) -> Frame:
        """The frame without sky (stage sframe). `sky` comes from `compute_sky`, or from the calibration index where a chain has no such step.

        Rows are matched by the numbers of their fibres, where the model knows them; one of a single row serves all fibres. A model on other
        wavelengths is interpolated. Raises BadData where it fits in no way.
        """
        from algorithms.kernels import resample, skyterms

        flux, ivar, mask = _on_wavelengths_of(frame, _rows_of(frame, sky))
        scale = np.ones(frame.flux.shape[0], np.float32)
        if self.params.throughput != "none":
            by_lines = self.params.throughput == "lines"
            # the whole spectrum of a target is not that of the sky
            rows = np.flatnonzero([by_lines or t == "SKY" for t in frame.fibermap.objtype])
            settings = (sky.line_error, self.params.throughput_prior, by_lines)
            skyterms.scales(frame.flux, frame.ivar, frame.mask, flux, ivar, *settings, rows, scale)
        out = resample.empty_like(frame.flux)
        arrays = (frame.flux, frame.ivar, frame.mask, flux, ivar, mask, scale)
        resample.by_blocks(len(scale), lambda a, b: resample.subtract(*(x[a:b] for x in arrays), np.uint32(SpecMask.BADSKY), *(x[a:b] for x in out)))
        return replace(frame, flux=out[0], ivar=out[1], mask=out[2], stage="sframe")


def _rows_of(frame: Frame, sky: SkyModel) -> SkyModel:
    """The model of the fibres of the frame, in their order."""
    wanted = frame.fibermap.fiber
    if sky.fiber is None or len(sky.fiber) == 1 or np.array_equal(sky.fiber, wanted):
        return sky
    order = np.argsort(sky.fiber)
    at = order[np.clip(np.searchsorted(sky.fiber, wanted, sorter=order), 0, len(order) - 1)]
    missing = sky.fiber[at] != wanted
    if missing.any():
        first = int(wanted[missing][0])
        raise BadData(f"camera {frame.camera}: the sky model has no row for {int(missing.sum())} fibres, first {first}; give one of these fibres")
    return replace(sky, flux=sky.flux[at], ivar=sky.ivar[at], mask=sky.mask[at], wave=sky.wave[at], fiber=sky.fiber[at])


def _on_wavelengths_of(frame: Frame, sky: SkyModel) -> tuple[Float32, Float32, np.ndarray]:
    """Flux, ivar, mask of the model at the wavelengths of the frame."""
    if sky.wave is frame.wave or (sky.wave.shape == frame.wave.shape and np.array_equal(sky.wave, frame.wave)):
        return sky.flux, sky.ivar, sky.mask
    n = frame.flux.shape[0]
    if sky.flux.shape[0] not in (1, n):
        raise BadData(f"camera {frame.camera}: the sky model has {sky.flux.shape[0]} rows, the frame {n}; give one row, or a row for each fibre")
    from algorithms.kernels.skyterms import cubic_rows

    flux, ivar, mask = np.zeros_like(frame.flux), np.zeros_like(frame.ivar), np.zeros_like(frame.mask)
    cubic_rows(sky.wave, sky.flux, sky.ivar, sky.mask, frame.wave, flux, ivar, mask)
    return flux, ivar, mask
