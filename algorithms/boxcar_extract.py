"""From an image to spectra: the light of each fibre in a window centred on its trace, row by row."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field

from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.fiberstatus import BROKEN, fiber_status
from quicklook.ccd.image import Image
from quicklook.ccd.mask import PixelMask
from quicklook.ccd.spectra import Frame, SpecMask, TraceSet
from quicklook.core.errors import BadConfig, BadData, MissingCalibration
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

if TYPE_CHECKING:
    from algorithms.kernels.extraction import PixelNoise, Spectra
    from algorithms.kernels.profile import Profile
    from algorithms.kernels.tracegrid import Knots


_BLOCKS = 16
"""Blocks along the detector for each of which the amplifier of a fibre is looked up."""
_CLEAR = 2.0
"""Sigma between the edge of a window and the next trace, at least."""


class BoxcarExtractParams(Params):
    """How the light of a fibre is summed."""

    method: Literal["boxcar", "profile"] = Field(
        "boxcar", description="boxcar: sum over the window; profile: weighted by the profile, with the overlap of neighbours solved for"
    )
    width: float = Field(
        7.0, ge=2, le=40, description="full width of the window, pixel; its edges cut pixels in parts and keep 2 sigma away from the next traces"
    )
    wings: bool = Field(True, description="measure the wings of the profile: light that the window loses, and gets from its neighbours")
    least_light: float = Field(0.2, gt=0, le=1, description="a sample is repaired if so much of its light lies on usable pixels, else it is masked")
    profile_error: float = Field(0.02, ge=0, le=1, description="relative error of the profile, for the variance of repaired samples")
    profile_sigma: float = Field(1.1, gt=0.3, le=20, description="Gaussian sigma across the trace where the trace set does not say, pixel")
    lsf_sigma: float = Field(1.1, gt=0.3, le=20, description="Gaussian sigma of the line-spread function where the trace set does not say, pixel")
    bad_fiberstatus: int = Field(BROKEN, ge=0, description="bits of FIBERSTATUS that mask a fibre: BROKENFIBER, BADFIBER, BADTRACE")


class BoxcarExtract(PipelineAlg[BoxcarExtractParams]):
    """Sum the light of each fibre in a window centred on its trace; electrons of the whole profile per Angstrom, with inverse variance."""

    name = "boxcar_extract"

    def run(self, image: Image, traces: TraceSet, fibermap: FiberMap | None) -> Frame:
        """The spectra, one sample for every row of the detector. Raises MissingCalibration (traces of another detector), BadData (fibre map),
        BadConfig (a window that reaches into the next fibres)."""
        from algorithms.kernels.extract import boxcar
        from algorithms.kernels.extraction import Bits, Settings
        from algorithms.kernels.profile import NO_WINGS
        from algorithms.kernels.weighted import weighted

        p = self.params
        knots = self._knots(image, traces)
        self._check_width(knots)
        fibres = matched(fibermap, traces)
        m, s = PixelMask, SpecMask
        bits = Bits(m.COSMIC, m.SATURATED, s.SOMEBADPIX, s.ALLBADPIX, s.COSMIC, s.BADFIBER, s.SATURATED)
        common: dict[str, Any] = {
            "alive": ~self._broken(fibres),
            "wings": self._wings(image, knots) if p.wings else NO_WINGS,
            "settings": Settings(p.width, p.least_light, p.profile_error),
            "bits": bits,
        }
        arrays = (image.pixels, image.ivar, image.mask, knots)
        found: Spectra = boxcar(*arrays, noise=_noise(image), **common) if p.method == "boxcar" else weighted(*arrays, **common)
        return Frame(
            camera=image.camera,
            flux=found.flux,
            ivar=found.ivar,
            mask=found.mask,
            wave=found.wave,
            sigma=found.sigma,
            fibermap=fibres,
            assumed=() if fibermap else ("no fibre map: what the fibres look at is not known",),
            stated_noise=_stated_noise(image, knots),
            amplifiers={a.name: a.ccd for a in image.amplifiers if not a.bad},
        )

    def _knots(self, image: Image, traces: TraceSet) -> Knots:
        from algorithms.kernels.tracegrid import trace_knots

        ny, nx = image.shape
        if (traces.npix_y, traces.npix_x) != (ny, nx):
            has = f"{traces.npix_x} x {traces.npix_y}"
            raise MissingCalibration(f"camera {image.camera}: traces for {has} pixels, the image has {nx} x {ny}; certify others")
        xsig = _constant(traces, self.params.profile_sigma) if traces.xsig is None else traces.xsig
        ysig = _constant(traces, self.params.lsf_sigma) if traces.ysig is None else traces.ysig
        try:
            return trace_knots(traces.x, traces.y, xsig, ysig, traces.wavemin, traces.wavemax, ny)
        except ValueError as error:
            raise MissingCalibration(f"camera {image.camera}: {error}; certify another trace set") from error

    def _check_width(self, knots: Knots) -> None:
        """The light of the next fibres is taken off to first order: right for a few percent of it, wrong where their cores lie in the window."""
        middle = knots.x.shape[1] // 2
        apart = np.abs(np.diff(knots.x[:, middle]))
        if not apart.size:
            return
        most = 2.0 * (float(np.median(apart)) - _CLEAR * float(np.median(knots.xsig[:, middle])))
        if self.params.width > most:
            raise BadConfig(
                f"boxcar_extract.width is {self.params.width:g} pixel: windows reach into the next fibres, {np.median(apart):.2f} pixel away;"
                f" these traces allow {math.floor(10 * most) / 10:g}"
            )

    def _broken(self, fibres: FiberMap) -> npt.NDArray[np.bool_]:
        return np.asarray((fiber_status(fibres) & self.params.bad_fiberstatus) != 0)

    def _wings(self, image: Image, knots: Knots) -> Profile:
        """Wings as measured on every 32nd or 64th row; none where there is no light to see them in."""
        from algorithms.kernels.wings import measure_wings

        found = measure_wings(image.pixels, image.ivar, knots, self.params.width)
        if found.weight.size:
            parts = ", ".join(f"{100 * w:.2f} % in {s:.1f} pixel" for w, s in zip(found.weight, found.sigma, strict=True))
            self.log.info("camera %s: wings of the profile hold %s", image.camera, parts)
        return found


def _constant(traces: TraceSet, value: float) -> npt.NDArray[np.float64]:
    return np.full((traces.nfibre, 1), value)


def _noise(image: Image) -> PixelNoise:
    from algorithms.kernels.extraction import NOISE_UNKNOWN, PixelNoise

    known = [a for a in image.amplifiers if a.name in image.noise_variance]
    if not known:
        return NOISE_UNKNOWN
    boxes = [(a.ccd.y0, a.ccd.y1, a.ccd.x0, a.ccd.x1) for a in known]
    return PixelNoise(np.array(boxes, np.int64), np.array([image.noise_variance[a.name] for a in known]))


def _stated_noise(image: Image, knots: Knots) -> npt.NDArray[np.float32]:
    """See `Frame.stated_noise`: of the amplifier that lies under the middle of each block."""
    from algorithms.kernels.tracegrid import STEP

    row = (np.arange(_BLOCKS) + 0.5) * image.shape[0] / _BLOCKS
    x = knots.x[:, np.minimum(np.rint(row / STEP).astype(int), knots.x.shape[1] - 1)]
    out = np.full(x.shape, np.nan, np.float32)
    for amp in image.amplifiers:
        box = amp.ccd
        out[(x >= box.x0) & (x < box.x1) & (row >= box.y0) & (row < box.y1)] = image.stated_noise(amp)
    return out


def matched(fibermap: FiberMap | None, traces: TraceSet) -> FiberMap:
    """The rows of the fibre map in the order of the traces, matched by fibre number alone, never by row: the readers number the fibres of trace
    sets as in the whole instrument. Without a fibre map one that says nothing of what the fibres look at. Raises BadData where fibres have no row."""
    wanted = np.asarray(traces.fiber).astype(np.int64)
    if fibermap is None:
        return FiberMap(fiber=wanted.astype(np.int32), objtype=("TGT",) * len(wanted), source="none", stated=False)
    has = np.asarray(fibermap.fiber).astype(np.int64)
    order = np.argsort(has)
    at = order[np.clip(np.searchsorted(has, wanted, sorter=order), 0, len(has) - 1)]
    missing = has[at] != wanted
    if missing.any():
        first = int(wanted[missing][0])
        raise BadData(
            f"the fibre map ({fibermap.source}) has no row for {int(missing.sum())} of {len(wanted)} fibres, first {first}: it is of fibres"
            f" {has.min()} to {has.max()}, the traces of {wanted.min()} to {wanted.max()}; look at its file and at the FIBER numbers of the traces"
        )
    if np.array_equal(at, np.arange(len(has))):
        return fibermap
    columns = {name: np.asarray(column)[at] for name, column in fibermap.columns.items()}
    return replace(fibermap, fiber=has[at].astype(np.int32), objtype=tuple(fibermap.objtype[i] for i in at), columns=columns)
