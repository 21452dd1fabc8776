"""Where on a long slit the objects are: apertures on an object become TGT, those on the sky SKY."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.slit import SlitObject, SlitObjects
from quicklook.ccd.spectra import Frame
from quicklook.core.errors import BadData
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

Array = npt.NDArray[Any]
OBJECT_ID = "SLIT_OBJECT"
"""Column of the fibre map: number of the object (from 1, brightest first) that an aperture is part of; 0: none."""
OFF = "NON"
"""OBJTYPE of apertures that serve neither object nor sky (DESI data model)."""
_ROUNDS = 8


class LocateObjectParams(Params):
    """Parameters of `locate_object`."""

    detect: float = Field(6.0, gt=1.0, description="an object stands out by this many sigma in its brightest aperture")
    contrast: float = Field(0.02, ge=0.0, description="and by this part of the sky")
    extent: float = Field(0.005, gt=0.0, lt=0.5, description="its apertures reach to where its light falls to this part of its peak")
    margin: int = Field(2, ge=0, description="apertures on each side of an object that are left out of the sky")
    halo: float = Field(3e-4, ge=0.0, description="apertures around it with more of the light of the brightest object are left out of the sky too")
    least_sky: float = Field(0.25, ge=0.0, le=1.0, description="but this part of the apertures stays sky")
    edge: int = Field(1, ge=0, description="apertures at each end of the slit that are not used")
    order: int = Field(1, ge=0, le=3, description="order of the sky along the slit")
    max_objects: int = Field(5, ge=1, description="the brightest objects that are kept; light of others is left out of the sky")
    min_sky: int = Field(3, ge=1, description="fewer apertures on the sky are too few")


class LocateObject(PipelineAlg[LocateObjectParams]):
    """Find objects along the slit and mark their apertures TGT, those on the sky SKY, those between and at the ends NON."""

    name = "locate_object"

    def run(self, frame: Frame) -> tuple[Frame, SlitObjects]:
        """The frame with its fibre map marked (OBJTYPE, SLIT_OBJECT), and the objects. Apertures are in the order of the slit.

        The light of each aperture is the mean over all wavelengths of blocks of rows, so that a line or a cosmic ray decides nothing. Where
        nothing is found all apertures are sky, and the product says so. Raises BadData where too few apertures have light, or are left as sky.
        """
        light, error = slit_profile(frame)
        usable = np.isfinite(light) & _fit_for_use(frame, self.params.edge)
        if usable.sum() < self.params.min_sky + 1:
            raise BadData(f"camera {frame.camera}: {int(usable.sum())} of {len(light)} apertures have light; look at the traces and the shutter")
        sky, sigma = _sky_along(light, error, usable, self.params.order)
        number, objects = self._objects(light, sky, sigma, usable)
        away = self._away(light - sky, error, objects, usable)
        if away.sum() < self.params.min_sky:
            wanted, left = self.params.min_sky, int(away.sum())
            raise BadData(f"camera {frame.camera}: objects leave {left} apertures for the sky, {wanted} are needed; is the slit filled?")
        marked = _marked(frame.fibermap, number, away)
        remark = "" if objects else "nothing stands out along the slit: all apertures are taken for sky"
        found = SlitObjects(camera=frame.camera, objects=objects, profile=light, sky=sky, error=sigma, remark=remark)
        return replace(frame, fibermap=marked, assumed=(*frame.assumed, remark) if remark else frame.assumed), found

    def _objects(self, light: Array, sky: Array, sigma: Array, usable: Array) -> tuple[Array, tuple[SlitObject, ...]]:
        """Number of the object of each aperture (0: none), and the objects, brightest first."""
        p = self.params
        excess = np.where(usable, light - sky, 0.0)
        left, number, objects = excess.copy(), np.zeros(len(light), np.int32), list[SlitObject]()
        while len(objects) < p.max_objects:
            top = int(np.argmax(left))
            if not (left[top] > p.detect * sigma[top] and left[top] > p.contrast * abs(sky[top])):
                break
            first, last = _reach(excess, top, max(p.extent * excess[top], 2.0 * sigma[top]), usable)
            while number[first : last + 1].any():  # the apertures of a brighter one are its own
                first, last = (first + 1, last) if number[first] else (first, last - 1)
            number[first : last + 1] = len(objects) + 1
            left[max(first - p.margin, 0) : last + p.margin + 1] = 0.0
            objects.append(_described(excess, sky, sigma, first, last, top))
        return number, tuple(objects)

    def _away(self, excess: Array, sigma: Array, objects: tuple[SlitObject, ...], usable: Array) -> Array:
        """Apertures on the sky: usable, and away from all objects and from the halo of the brightest, as long as enough are left."""
        away = usable.copy()
        for o in objects:
            away[max(o.first - self.params.margin, 0) : o.last + self.params.margin + 1] = False
        if not objects:
            return np.asarray(away)
        smooth = np.convolve(np.pad(np.where(usable, excess, 0.0), 2, mode="edge"), np.full(5, 0.2), mode="valid")
        halo = smooth > np.maximum(self.params.halo * float(excess[objects[0].brightest]), 2.0 * sigma / math.sqrt(5.0))
        least = max(2 * self.params.min_sky, math.ceil(self.params.least_sky * int(usable.sum())))
        for side, start in ((-1, objects[0].first), (1, objects[0].last)):
            k = start + side * (self.params.margin + 1)
            while 0 <= k < len(away) and halo[k] and away.sum() > least:  # a halo is connected to its object
                away[k], k = False, k + side
            if abs(k - start) > 2 * self.params.margin and away.sum() > least:  # a real one; it does not end where it is no longer seen
                ends = sorted((k, k + side * self.params.margin))
                away[max(ends[0], 0) : ends[1] + 1] = False
        return np.asarray(away)


def slit_profile(frame: Frame, blocks: int = 32) -> tuple[Array, Array]:
    """Light of each aperture [naperture], electron/Angstrom, and its error: the mean of the medians of `blocks` blocks of rows.

    NaN where fewer than half of the blocks have usable samples.
    """
    n, nrow = frame.flux.shape
    edges = np.linspace(0, nrow, min(blocks, nrow) + 1).astype(int)
    good = (frame.ivar > 0) & (frame.mask == 0)
    medians, variance = np.full((n, len(edges) - 1), np.nan), np.full((n, len(edges) - 1), np.nan)
    for b, (start, stop) in enumerate(pairwise(edges)):
        for f in range(n):
            use = good[f, start:stop]
            if use.sum() * 2 >= stop - start:
                medians[f, b] = np.median(frame.flux[f, start:stop][use])
                # the median of a Gaussian has pi/2 times the variance of the mean
                variance[f, b] = 0.5 * math.pi / frame.ivar[f, start:stop][use].sum(dtype=np.float64)
    common = np.isfinite(medians)
    shared = common.sum(axis=0) * 2 >= max(int(common.any(axis=1).sum()), 1)
    count = (common & shared).sum(axis=1)
    enough = count * 2 >= max(int(shared.sum()), 1)
    total = np.where(common & shared, medians, 0.0).sum(axis=1)
    squares = np.where(common & shared, variance, 0.0).sum(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.where(enough, total / count, np.nan), np.where(enough, np.sqrt(squares) / count, np.nan)


def _fit_for_use(frame: Frame, edge: int) -> Array:
    usable = np.array([t != "BAD" for t in frame.fibermap.objtype])
    if edge and len(usable) > 4 * edge:
        usable[:edge] = usable[-edge:] = False
    return usable


def _sky_along(light: Array, error: Array, usable: Array, order: int) -> tuple[Array, Array]:
    """The sky as a low-order polynomial along the slit, and the error of each aperture about it, the scatter of the sky included.

    Objects are above the sky: a first level is the median of the fainter half, then apertures above by 2.5 sigma (below by 4) are left out.
    """
    place = np.linspace(-1.0, 1.0, len(light))
    middle = float(np.median(light[usable]))
    below = middle - light[usable & (light <= middle)]
    scatter = max(1.4826 * float(np.median(below)), float(np.median(error[usable])))
    use, sky = usable & (light < middle + 3.0 * scatter), np.full(len(light), middle)
    for _ in range(_ROUNDS):
        degree = min(order, max(int(use.sum()) // 4 - 1, 0))
        sky = np.polynomial.legendre.legval(place, np.polynomial.legendre.legfit(place[use], light[use], degree))
        residual = light - sky
        # by what lies below: halos of objects are above
        scatter = max(1.4826 * float(np.median(-residual[use & (residual <= 0)])) if (use & (residual <= 0)).any() else 0.0, 1e-30)
        sigma = np.hypot(np.where(usable, error, np.inf), scatter)
        kept = usable & (residual < 2.5 * sigma) & (residual > -4.0 * sigma)
        if kept.sum() < 4 or (kept == use).all():
            break
        use = kept
    return sky, np.where(usable, np.hypot(np.where(usable, error, 0.0), scatter), np.nan)


def _reach(excess: Array, top: int, level: float, usable: Array) -> tuple[int, int]:
    """First and last aperture around `top` that lie above `level` without a gap, and on the way down from it."""
    first = last = top
    while first > 0 and usable[first - 1] and excess[first - 1] > level:
        first -= 1
    while last + 1 < len(excess) and usable[last + 1] and excess[last + 1] > level:
        last += 1
    return first, last


def _described(excess: Array, sky: Array, sigma: Array, first: int, last: int, top: int) -> SlitObject:
    own = np.clip(excess[first : last + 1], 0.0, None)
    number = np.arange(first, last + 1)
    total = float(own.sum())
    place = float((own * number).sum() / total)
    under = float(np.abs(sky[first : last + 1]).sum())
    return SlitObject(
        first=first,
        last=last,
        brightest=top,
        place=place,
        fwhm=_fwhm(excess, top),
        snr=total / float(np.sqrt(np.square(sigma[first : last + 1]).sum())),
        fraction=total / under if under > 0 else math.inf,
    )


def _fwhm(excess: Array, top: int) -> float:
    """Full width at half maximum, apertures, by straight lines between them; NaN where the light does not fall to half on both sides."""
    half, ends = 0.5 * excess[top], []
    for side in (-1, 1):
        k = top
        while 0 <= k + side < len(excess) and excess[k + side] > half:
            k += side
        if not 0 <= k + side < len(excess):
            return math.nan
        ends.append(abs(k - top) + float((excess[k] - half) / (excess[k] - excess[k + side])))
    return ends[0] + ends[1]


def _marked(fibermap: FiberMap, number: Array, away: Array) -> FiberMap:
    types = tuple(
        given if given == "BAD" else "TGT" if k > 0 else "SKY" if sky else OFF for given, k, sky in zip(fibermap.objtype, number, away, strict=True)
    )
    return replace(fibermap, objtype=types, columns={**fibermap.columns, OBJECT_ID: number})
