"""Subtract light scattered over the detector, as it is seen in the gaps between bundles of fibres. Optional: in no chain by default."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from pydantic import Field

from quicklook.ccd.arrays import Float64
from quicklook.ccd.image import Image
from quicklook.ccd.spectra import TraceSet
from quicklook.core.errors import MissingCalibration
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg


class ScatteredLightParams(Params):
    """Where scattered light is measured."""

    gap: float = Field(14.0, gt=4, description="traces so far apart or farther have a gap between them, pixel")
    half_width: int = Field(2, ge=0, le=50, description="columns on either side of the middle of a gap that are used")
    rows: int = Field(128, ge=8, description="rows that make one median")


class ScatteredLight(PipelineAlg[ScatteredLightParams]):
    """Subtract the light in the gaps between bundles, interpolated linearly under the spectra."""

    name = "scattered_light"

    def run(self, image: Image, traces: TraceSet) -> Image:
        """The image without scattered light; as it is, and saying so, where there is no gap. Raises MissingCalibration (other detector)."""
        from algorithms.kernels.background import scattered_light

        ny, nx = image.shape
        if (traces.npix_y, traces.npix_x) != (ny, nx):
            has = f"{traces.npix_x} x {traces.npix_y}"
            raise MissingCalibration(f"camera {image.camera}: traces for {has} pixels, the image has {nx} x {ny}; certify others")
        p = self.params
        light = scattered_light(image.pixels, image.ivar, self._gaps(traces, ny), p.half_width, p.rows)
        if light is None:
            why = f"no gap of {p.gap:g} pixels between traces has a usable pixel"
            return replace(image, skipped={**image.skipped, "scattered light": why})
        return replace(image, pixels=image.pixels - light, applied=(*image.applied, "scattered light"))

    def _gaps(self, traces: TraceSet, ny: int) -> list[Float64]:
        """x of the middle of every gap, [ny] each; wavelength is followed along y by interpolation."""
        wave = np.linspace(traces.wavemin, traces.wavemax, 200)
        x, y, rows = traces.evaluate(traces.x, wave), traces.evaluate(traces.y, wave), np.arange(ny)
        place = np.stack([np.interp(rows, y[f], x[f]) for f in range(traces.nfibre)])
        wide = np.flatnonzero(np.diff(place, axis=0).min(axis=1) >= self.params.gap)
        return [0.5 * (place[f] + place[f + 1]) for f in wide]
