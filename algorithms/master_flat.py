"""Master flat of a detector under even light: each pixel over the smooth light around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from quicklook.ccd.calibs import PixelFlat
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.image import Image
from quicklook.core.errors import BadData
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

Array = npt.NDArray[Any]
_FAR = 6.0
_ROUGH = np.float32(0.02)
"""Relative difference between two flats that is no cosmic ray, whatever their noise: the light of the lamp is not the same twice."""


class MasterFlatParams(Params):
    """Parameters of `master_flat`."""

    zero: str = Field("zero", description="flavor of the exposures without light, which are left out")
    box: int = Field(32, ge=8, description="pixels of the boxes whose medians the smooth light is fitted to")
    degree: int = Field(4, ge=0, le=8, description="degree of the polynomial of the smooth light along each axis of an amplifier")
    least: float = Field(500.0, gt=0, description="pixels with less smooth light than this are not measured, in the unit of the image")
    clip: float = Field(5.0, gt=2, description="a pixel so many sigma above the other flats is a cosmic ray, and left out of this one")


class MasterFlat(PipelineAlg[MasterFlatParams]):
    """Response of single pixels to even light: pixel over smooth light, mean over the flats weighted by inverse variance, cosmic rays left out.

    The smooth light of an amplifier is a polynomial through medians in boxes: vignetting and the light source are no part of the response, the
    shadows of dust are. Flats may have different levels. For fibres and slits there is `pixel_flat`.
    """

    name = "master_flat"

    def run(self, images: Sequence[Image], exposures: Sequence[Exposure]) -> PixelFlat:
        """Around 1 [ny, nx], with its inverse variance; 1 with ivar 0 where no flat has enough light.

        Raises BadData: no flat, images of different shapes, no pixel with enough light.
        """
        flats = [i for i, e in enumerate(exposures) if e.flavor != self.params.zero]
        if not flats:
            raise BadData("a master flat is made from one flat at least; there is none", what_next="Take flats.")
        total, weights = self._sums(images, flats, None)
        if len(flats) > 1:
            total, weights = self._sums(images, flats, (total, weights))
        if not (weights > 0).any():
            raise BadData(f"no pixel of {len(flats)} flats has {self.params.least:g} of smooth light", what_next="Take brighter flats.")
        response = np.where(weights > 0, total / np.where(weights > 0, weights, np.float32(1)), np.float32(1)).astype(np.float32)
        return PixelFlat(pixels=response, ivar=weights)

    def _sums(self, images: Sequence[Image], flats: Sequence[int], before: tuple[Array, Array] | None) -> tuple[Array, Array]:
        """Weighted sum of the responses, and the weights; with the sums of all flats, pixels that only one of them has brighter are left out."""
        total = weights = np.zeros((0, 0), np.float32)
        for i in flats:
            image = images[i]
            ratio, weight = self._response(image)
            if not total.size:
                total, weights = (np.zeros(image.shape, np.float32) for _ in range(2))
            if ratio.shape != total.shape:
                raise BadData(f"the flats of {image.camera} have different shapes: {ratio.shape} and {total.shape} pixels")
            if before is not None:
                weight[self._rays(ratio, weight, *before)] = 0
            total += ratio * weight
            weights += weight
        return total, weights

    def _response(self, image: Image) -> tuple[Array, Array]:
        """Pixels over smooth light, and the inverse variance of that."""
        light = np.zeros(image.shape, np.float32)
        for amp in image.amplifiers:  # gains differ: the light is smooth within an amplifier
            cut = amp.ccd.slices
            if not amp.bad:
                light[cut] = smooth_light(image.pixels[cut], image.ivar[cut], self.params.box, self.params.degree)
        bright = light > self.params.least
        ratio = np.divide(image.pixels, light, out=np.ones(image.shape, np.float32), where=bright & (image.ivar > 0))
        return ratio, np.where(bright, image.ivar * light * light, np.float32(0)).astype(np.float32)

    def _rays(self, ratio: Array, weight: Array, total: Array, weights: Array) -> Array:
        """Pixels brighter than in the other flats together."""
        others = weights - weight
        known = (others > 0) & (weight > 0)
        rest = np.divide(total - ratio * weight, others, out=np.ones_like(ratio), where=known)
        sigma = np.sqrt(np.divide(1, weight, out=np.zeros_like(ratio), where=known) + np.divide(1, others, out=np.zeros_like(ratio), where=known))
        return np.asarray(known & (ratio - rest > self.params.clip * sigma + _ROUGH))


def smooth_light(pixels: Array, ivar: Array, box: int, degree: int) -> npt.NDArray[np.float32]:
    """A polynomial [ny, nx] through the medians of the good pixels (ivar > 0) in boxes, fitted twice: the second time without boxes that are far off.

    Along an axis with few boxes its degree is lower. 0 where there is no box with a good pixel.
    """
    (ny, nx), n = pixels.shape, max(1, min(box, *pixels.shape))
    cut = (slice(0, ny // n * n), slice(0, nx // n * n))
    known: Array = np.where(ivar[cut] > 0, pixels[cut], np.float32(np.nan)).reshape(ny // n, n, nx // n, n)
    known = known.transpose(0, 2, 1, 3).reshape(ny // n, nx // n, -1)
    good = np.isfinite(known).any(axis=2)
    medians = np.zeros(good.shape)
    medians[good] = np.nanmedian(known[good], axis=1)
    if not good.any():
        return np.zeros((ny, nx), np.float32)
    centre_y, centre_x = (np.arange(k) * n + 0.5 * (n - 1) for k in good.shape)
    along_y, along_x = (_legendre(c, size, min(degree, c.size - 1)) for c, size in ((centre_y, ny), (centre_x, nx)))
    design = np.einsum("yi,xj->yxij", along_y, along_x).reshape(*good.shape, -1)
    used = good
    for _ in range(2):
        terms = np.linalg.lstsq(design[used], medians[used], rcond=None)[0]
        off = np.abs(medians - design @ terms)
        used = good & (off <= max(_FAR * float(np.median(off[good])), 1e-6))
    full_y, full_x = _legendre(np.arange(ny), ny, along_y.shape[1] - 1), _legendre(np.arange(nx), nx, along_x.shape[1] - 1)
    return np.asarray(full_y @ terms.reshape(along_y.shape[1], -1) @ full_x.T, np.float32)


def _legendre(at: Array, size: int, degree: int) -> npt.NDArray[np.float64]:
    """Legendre polynomials 0 to `degree` at pixels of an axis of that size."""
    return np.asarray(np.polynomial.legendre.legvander(2.0 * at / max(size - 1, 1) - 1.0, degree))
