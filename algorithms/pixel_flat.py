"""Pixel flat: the response of single pixels, from flats whose light is smooth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from quicklook.ccd.arrays import Float32
from quicklook.ccd.calibs import PixelFlat
from quicklook.ccd.geometry import Amplifier
from quicklook.ccd.image import Image
from quicklook.ccd.pixeltraces import PixelTraces
from quicklook.core.errors import BadData
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

Array = npt.NDArray[Any]
_SLIT_DEGREE = 3
_SLIT_MARGIN = 3.0
"""Pixels at the ends of a slit that are left alone: its edges run across the columns."""
_CLEAR = 5.0


class PixelFlatParams(Params):
    """Parameters of `pixel_flat`."""

    rows: int = Field(128, ge=32, description="rows of a stretch in which the profile of a fibre is one function")
    reach: float = Field(4.0, gt=1, le=12, description="pixels from its trace up to which the light of a fibre is modelled")
    least: float = Field(100.0, gt=0, description="pixels with less smooth light than this in an exposure are not measured there, electron")
    worst: float = Field(0.02, gt=0, description="a pixel whose response is uncertain by more is not measured: 1, with ivar 0")
    shrink: bool = Field(True, description="draw responses towards 1 by what noise alone would scatter them; significant ones (dust) stay")


class MakePixelFlat(PipelineAlg[PixelFlatParams]):
    """Response of single pixels: each over the smooth light of its fibre (or its column of a long slit), mean over flats weighted by ivar.

    Only where light falls. Flats may have different levels and be shifted against each other: each has a model of its own light. The scatter of the
    responses among the pixels of an amplifier, beyond that of noise, tells how far a response is believed (James & Stein 1961, as empirical Bayes).
    """

    name = "pixel_flat"

    def run(self, images: Sequence[Image], traces: PixelTraces) -> PixelFlat:
        """Around 1 [ny, nx], with its inverse variance; 1 with ivar 0 where there is too little light.

        Raises BadData: traces of another detector, images that were divided by a pixel flat, no pixel with enough light.
        """
        from algorithms.kernels import pixelresponse as kernel

        total = weights = np.zeros((0, 0), np.float32)
        amplifiers: tuple[Amplifier, ...] = ()
        layout: tuple[Array, Array, Array] | None = None
        for image in images:
            if layout is None:
                layout, amplifiers = self._layout(image, traces), image.amplifiers
                total, weights = (np.zeros(image.shape, np.float32) for _ in range(2))
            self._check(image, traces)
            light = kernel.smooth_light(image.pixels, image.ivar, *layout, **self._model(traces))
            kernel.add_ratio(image.pixels, image.ivar, light, np.float32(self.params.least), total, weights)
        return self._product(total, weights, amplifiers)

    def _model(self, traces: PixelTraces) -> dict[str, Any]:
        slit = traces.slit
        return {"length": self.params.rows, "reach": self.params.reach, "degree": _SLIT_DEGREE if slit else 1, "profile": not slit}

    def _check(self, image: Image, traces: PixelTraces) -> None:
        if image.shape != (traces.npix_y, traces.npix_x):
            has = f"{image.shape[1]} x {image.shape[0]}"
            raise BadData(f"camera {image.camera}: traces of {traces.npix_x} x {traces.npix_y} pixels, the image has {has}")
        if "pixflat" in image.applied:
            raise BadData(f"the flats of {image.camera} were divided by a pixel flat already", what_next="Set preproc.use_pixflat=no.")

    def _layout(self, image: Image, traces: PixelTraces) -> tuple[Array, Array, Array]:
        """Traces on the rows, and the pixels that belong to each: from low to before high."""
        self._check(image, traces)
        ny, nx = image.shape
        x = np.ascontiguousarray(traces.at_rows(traces.x, np.arange(ny)))
        if traces.slit:
            return _columns(x, traces, nx)
        x = x[traces.lit]
        if not len(x):
            raise BadData(f"camera {image.camera}: no fibre is lit in the traces")
        between = 0.5 * (x[1:] + x[:-1])
        low = np.maximum(np.concatenate([x[:1] - self.params.reach, between]), x - self.params.reach)
        high = np.minimum(np.concatenate([between, x[-1:] + self.params.reach]), x + self.params.reach)
        return x, *(np.clip(np.ceil(edge), 0, nx).astype(np.int64) for edge in (low, high))

    def _product(self, total: Float32, weights: Float32, amplifiers: tuple[Amplifier, ...]) -> PixelFlat:
        known = weights >= 1.0 / self.params.worst**2
        if not known.any():
            raise BadData(f"no pixel's response is known to {100 * self.params.worst:g} %", what_next="Take more flats, or brighter ones.")
        response = np.divide(total, weights, out=np.ones_like(total), where=known)
        ivar = np.where(known, weights, np.float32(0))
        for amp in amplifiers if self.params.shrink else ():
            cut = amp.ccd.slices
            _shrink(response[cut], ivar[cut], known[cut])
        return PixelFlat(pixels=response, ivar=ivar)


def _columns(x: Array, traces: PixelTraces, nx: int) -> tuple[Array, Array, Array]:
    """Every column of a slit as a trace of its own, where it lies within the slit."""
    half = 0.5 * traces.at_rows(traces.xsig, np.arange(x.shape[1])) * math.sqrt(12.0)
    left, right = x[0] - half[0] + _SLIT_MARGIN, x[-1] + half[-1] - _SLIT_MARGIN
    column = np.arange(nx)[:, None]
    inside = (column >= left) & (column <= right)
    low = np.broadcast_to(column, inside.shape)
    centre = np.ascontiguousarray(np.broadcast_to(column, inside.shape), dtype=np.float64)
    return centre, np.ascontiguousarray(low, dtype=np.int64), (low + inside).astype(np.int64)


def _shrink(response: Float32, ivar: Float32, known: Array) -> None:
    """Draw responses towards 1 in place; what stands clear of noise and of the scatter of the others stays."""
    if known.sum() < 100:
        return
    variance = 1.0 / ivar[known]
    off = response[known] - np.float32(1)
    spread = (1.4826 * float(np.median(np.abs(off - np.median(off))))) ** 2 - float(np.median(variance))
    spread = max(spread, 1e-10)
    clear = np.abs(off) > _CLEAR * np.sqrt(variance + spread)
    part = np.where(clear, 1.0, spread / (spread + variance))
    response[known] = 1.0 + part * off
    ivar[known] = np.where(clear, ivar[known], ivar[known] + 1.0 / spread)
