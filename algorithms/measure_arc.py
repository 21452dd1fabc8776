"""How bright and how wide the lines of an arc are, in every fibre."""

from __future__ import annotations

import math
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from algorithms.fit_arc import lines_of
from algorithms.tracegeometry import Places, check_traces, on_detector
from quicklook.ccd.arcareas import ArcAreas
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.image import Image
from quicklook.ccd.linelist import ArcLines, shipped_lines
from quicklook.ccd.spectra import TraceSet
from quicklook.core.errors import BadData
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg
from quicklook.core.quantity import Unit

Array = npt.NDArray[Any]
_HALF = 5
_LARGEST_SHIFT = 1.5


class MeasureArcParams(Params):
    """Parameters of `measure_arc`."""

    half_width: Annotated[float, Unit("pixel")] = Field(3.0, gt=1, le=8, description="half width across a trace in which lines are summed")
    elements: str = Field("", description="elements of the lamps, as they begin the names in the line list; empty: all of the list")
    max_chi2: float = Field(8.0, gt=1, description="a line that a Gaussian fits worse than this (chi2 per degree of freedom) is a blend")
    max_error: Annotated[float, Unit("pixel")] = Field(0.2, gt=0, description="a line whose width or place is uncertain by more is too faint")


class MeasureArc(PipelineAlg[MeasureArcParams]):
    """Fit the lines of the list in every fibre on known traces: areas per second, and widths."""

    name = "measure_arc"

    def run(self, image: Image, traces: TraceSet, exposure: Exposure, arclines: ArcLines | None) -> ArcAreas:
        """Areas of a Gaussian with a level, corrected for the light of a Gaussian profile outside of the window.

        Raises BadData where the exposure time is none, no line falls on the detector, or the traces are of another detector.
        """
        if not (math.isfinite(exposure.exptime) and exposure.exptime > 0):
            raise BadData(f"exposure {exposure.unit}: the exposure time is {exposure.exptime} s; areas per second need one")
        check_traces(image, traces)
        lines = lines_of(arclines or shipped_lines(ArcLines), self.params.elements)
        low, high = on_detector(traces)
        t = traces.reduced(lines.wave)
        inside = np.flatnonzero((t > low) & (t < high))
        if not inside.size:
            raise BadData(f"camera {image.camera}: no line of the arc list falls on the detector; check list and traces")
        wave = lines.wave[inside]
        area, sigma = self._fit(image, traces, wave)
        return ArcAreas(
            camera=image.camera,
            wave=wave.copy(),
            name=tuple(lines.name[i] for i in inside),
            fiber=traces.fiber.astype(np.int32),
            area=np.ascontiguousarray(area.T / exposure.exptime),
            sigma=np.ascontiguousarray(sigma.T),
        )

    def _fit(self, image: Image, traces: TraceSet, wave: Array) -> tuple[Array, Array]:
        """Electrons and sigma (Angstrom) of lines, [nline, nfibre], NaN where one is not well measured."""
        from algorithms.kernels import lines as kernel

        p, half_y = Places(traces, wave), _HALF + 1
        per_pixel = 1.0 / np.abs(Places(traces, wave + 0.5).y - Places(traces, wave - 0.5).y)
        flux, var = (np.empty((*p.x.shape, 2 * half_y + 1), np.float32) for _ in range(2))
        kernel.cut_windows(image.pixels, image.ivar, p.x, p.slope, p.y, self.params.half_width, half_y, flux, var)
        out = np.empty((6, *p.x.shape))
        kernel.fit_lines(flux, var, np.floor(p.y + 0.5) - half_y, p.y, p.sigma_y, _HALF, out)
        total, shift, shift_error, sigma, sigma_error, chi2 = out
        sharp = (sigma_error < self.params.max_error) & (shift_error < self.params.max_error) & (np.abs(shift) < _LARGEST_SHIFT)
        good = (total > 0) & sharp & (chi2 < self.params.max_chi2)
        within = np.vectorize(math.erf)(self.params.half_width / math.sqrt(2.0) / p.sigma_x)
        return np.where(good, total / within, np.nan), np.where(good, sigma * per_pixel, np.nan)
