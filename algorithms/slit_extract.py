"""From the image of a long slit to spectra: the light of each aperture, row by row."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from algorithms.boxcar_extract import matched
from quicklook.ccd.arrays import Float64
from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.image import Image
from quicklook.ccd.spectra import Frame, SpecMask, TraceSet
from quicklook.core.errors import MissingCalibration
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

if TYPE_CHECKING:
    from algorithms.kernels.tracegrid import Knots

WIDTH = "APERTURE_WIDTH"
"""Column of the fibre map: width of the aperture, pixel, at the middle of the detector."""


class SlitExtractParams(Params):
    """How the light of an aperture is summed."""

    width: float | None = Field(None, gt=0.5, le=500, description="full width of an aperture, pixel; null: halfway to its neighbours on each side")
    rows: int = Field(12, ge=2, le=100, description="rows on each side whose profile stands in for unusable pixels")
    least_light: float = Field(0.3, gt=0, le=1, description="a sample is repaired if so much of its light lies on usable pixels, else it is masked")
    profile_error: float = Field(0.05, ge=0, le=1, description="relative error of that profile, for the variance of repaired samples")
    lsf_sigma: float = Field(1.5, gt=0.3, le=20, description="Gaussian sigma of the line-spread function where the trace set does not say, pixel")


class SlitExtract(PipelineAlg[SlitExtractParams]):
    """Sum the light of each aperture of a slit between its edges; electrons per Angstrom, with inverse variance."""

    name = "slit_extract"

    def run(self, image: Image, traces: TraceSet, fibermap: FiberMap | None) -> Frame:
        """The spectra of the apertures, one sample for every row of the detector, each at its own wavelengths (a slit's image is curved).

        Raises MissingCalibration (traces of another detector, one aperture without a width), BadData (fibre map).
        """
        from algorithms.kernels import slit

        p = self.params
        knots = self._knots(image, traces)
        rows = np.arange(image.shape[0], dtype=np.float64)
        low, high = self._edges(image, traces, along(knots.x, knots.dx, rows)[0])
        wave, step = along(knots.wave, knots.dwave, rows)
        total, variance, lost = np.empty(low.shape), np.empty(low.shape), np.empty(low.shape, np.uint8)
        slit.sum_apertures(image.pixels, image.ivar, low, high, p.rows, p.least_light, p.profile_error, total, variance, lost)
        lost[(rows < knots.first[:, None]) | (rows > knots.last[:, None])] = 1
        with np.errstate(divide="ignore"):
            ivar = np.where(lost, 0.0, step**2 / variance)
        sigma = self.params.lsf_sigma if traces.ysig is None else along(knots.ysig, None, rows)[0]
        fibres = matched(fibermap, traces)
        width = np.array(np.median(high - low, axis=1))
        return Frame(
            camera=image.camera,
            flux=(total / step).astype(np.float32),
            ivar=ivar.astype(np.float32),
            mask=np.where(lost, int(SpecMask.ALLBADPIX), 0).astype(np.uint32),
            wave=wave,
            sigma=(sigma * step).astype(np.float32),
            fibermap=replace(fibres, columns={**fibres.columns, WIDTH: width}),
            assumed=() if fibermap else ("no description of the slit: what the apertures look at is not known",),
            amplifiers={a.name: a.ccd for a in image.amplifiers if not a.bad},
        )

    def _knots(self, image: Image, traces: TraceSet) -> Knots:
        from algorithms.kernels.tracegrid import trace_knots

        ny, nx = image.shape
        if (traces.npix_y, traces.npix_x) != (ny, nx):
            has = f"{traces.npix_x} x {traces.npix_y}"
            raise MissingCalibration(f"camera {image.camera}: traces for {has} pixels, the image has {nx} x {ny}; make others from a flat")
        one = np.ones((traces.nfibre, 1))
        try:
            return trace_knots(traces.x, traces.y, one, one if traces.ysig is None else traces.ysig, traces.wavemin, traces.wavemax, ny)
        except ValueError as error:
            raise MissingCalibration(f"camera {image.camera}: {error}; make another trace set") from error

    def _edges(self, image: Image, traces: TraceSet, centres: Float64) -> tuple[Float64, Float64]:
        """Edges [n, ny]; a single aperture is as wide as its trace says: sigma of a uniform profile is width / sqrt(12)."""
        from algorithms.kernels import slit

        width = self.params.width
        if width is None and len(centres) == 1 and traces.xsig is not None:
            width = float(traces.xsig[0, 0]) * math.sqrt(12.0)
        try:
            return slit.edges_between(centres, width)
        except ValueError as error:
            raise MissingCalibration(f"camera {image.camera}: {error} (slit_extract.width)") from error


def along(values: Float64, slopes: Float64 | None, rows: Float64) -> tuple[Float64, Float64]:
    """Values and slopes at `rows` [ny] of what is known at every 32nd row [n, nknot]: cubic with slopes (Hermite), straight without; [n, ny] each."""
    from algorithms.kernels.tracegrid import STEP

    at = np.minimum((rows // STEP).astype(np.int64), values.shape[1] - 2)
    s = rows / STEP - at
    v0, v1 = values[:, at], values[:, at + 1]
    if slopes is None:
        return (1 - s) * v0 + s * v1, (v1 - v0) / STEP
    a, b = slopes[:, at] * STEP, slopes[:, at + 1] * STEP
    c, d = 3 * (v1 - v0) - 2 * a - b, 2 * (v0 - v1) + a + b
    return v0 + s * (a + s * (c + s * d)), (a + s * (2 * c + 3 * s * d)) / STEP
