"""The model of the sky from the sky fibres of the exposure itself."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from typing import TYPE_CHECKING, Literal

import numpy as np
from pydantic import Field

from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.fiberstatus import UNUSABLE, fiber_status
from quicklook.ccd.spectra import Frame, SkyModel, SpecMask
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

if TYPE_CHECKING:
    from algorithms.skylevels import Settings
    from algorithms.skymodel import Fit

_LARGEST = np.float32(1e30)
_SHORTEST = 32


class SkyParams(Params):
    """Parameters of `compute_sky`."""

    knots: float = Field(0.8, ge=0.4, le=5.0, description="distance of the knots of the spline, in median pixels")
    clip: float = Field(5.0, gt=2.0, description="a sample that lies off by more is left out [sigma]")
    model_error: float = Field(0.03, ge=0.0, le=0.5, description="relative error of emission lines that is allowed for when samples are left out")
    mode_fraction: float = Field(0.4, gt=0.1, le=1.0, description="the level of the sky is that of the closest-lying this fraction of the sky fibres")
    reject_sigma: float = Field(5.0, gt=1.0, description="a sky fibre whose level is off by more is rejected [sigma of that fraction]")
    reject_floor: float = Field(0.04, ge=0.0, le=1.0, description="no fibre is rejected whose level is off by less than this part of it")
    reject_shape: float = Field(2.5, gt=1.0, description="a sky fibre whose chi2 is more than this times the median is rejected")
    free_levels: bool | Literal["auto"] = Field(
        "auto",
        description="sky fibres may differ in level, as without a good fibre flat: each is scaled to the others; auto: if their levels scatter by "
        "more than `level_scatter`, and no places on the focal plane could explain that",
    )
    level_scatter: float = Field(0.03, gt=0.0, le=1.0, description="scatter of the levels that a good fibre flat does not leave, relative")
    min_fibers: int = Field(1, ge=1, description="with fewer sky fibres than this there is no model")
    leave_one_out: bool = Field(True, description="the model of each sky fibre rests on the others alone, so that residuals are honest")
    line_error: bool = Field(
        True, description="add the errors of emission lines and of wavelengths that the sky fibres show to the variance of the model"
    )
    spatial_order: int = Field(1, ge=0, le=2, description="order of a variation of the sky over the focal plane (FIBERASSIGN_X, _Y); 0: none")
    spatial_sigma: float = Field(5.0, gt=0.0, description="the variation is used only if it is as significant as that [sigma]")


class ComputeSky(PipelineAlg[SkyParams]):
    """Model the sky from the sky fibres, at each fibre's own wavelengths and resolution."""

    name = "compute_sky"

    def run(self, frame: Frame) -> SkyModel:
        """The sky in every fibre of a flat-fielded frame.

        Raises NotApplicable where the fibre map has no sky fibres, BadData where none of them can be used, or nobody says which fibres see the sky.
        """
        from algorithms import skymodel

        rows = sky_rows(frame)
        if len(rows) < self.params.min_fibers:
            raise _too_few(frame, len(rows), self.params.min_fibers)
        if frame.flux.shape[1] < _SHORTEST:
            raise BadData(f"camera {frame.camera}: spectra of {frame.flux.shape[1]} samples are too short for a model of the sky")
        flux, ivar = frame.flux[rows], frame.ivar[rows]
        good = (frame.mask[rows] == 0) & (ivar > 0) & (ivar < _LARGEST) & (np.abs(flux) < _LARGEST)
        flux, ivar = np.where(good, flux, np.float32(0)), np.where(good, ivar, np.float32(0))
        reach = (float(frame.wave.min()), float(frame.wave.max()))
        spectra = (frame.wave[rows], frame.sigma[rows], flux, ivar)
        fitted = skymodel.fit(*spectra, rows, reach, _places(frame.fibermap), self._settings())
        if fitted is None or fitted.used.size < self.params.min_fibers:
            raise BadData(f"camera {frame.camera}: none of its {len(rows)} sky fibres can be used; look at their spectra")
        return self._model(frame, rows, fitted)

    def _settings(self) -> Settings:
        from algorithms.skylevels import Settings

        p = self.params
        scatter = {True: 0.0, False: math.inf, "auto": p.level_scatter}[p.free_levels]
        return Settings(free_above=scatter, **{f.name: getattr(p, f.name) for f in fields(Settings) if f.name != "free_above"})

    def _model(self, frame: Frame, rows: Raw, fitted: Fit) -> SkyModel:
        from algorithms import skymodel
        from algorithms.kernels.resample import empty_like

        level = np.ones(frame.flux.shape[0])
        level[: fitted.level.size] = fitted.level
        if not self.params.line_error:
            fitted = replace(fitted, line_error=0.0, wave_error=0.0)
        extra = skymodel.extra_variance(fitted)
        made = empty_like(frame.flux)
        alone = {int(rows[i]): spline for i, spline in zip(fitted.used, fitted.without, strict=False)}
        others = np.array([i for i in range(frame.flux.shape[0]) if i not in alone], np.int64)
        for chosen, spline in ((others, fitted.spline), *((np.array([row], np.int64), own) for row, own in alone.items())):
            skymodel.evaluate(frame.wave, frame.sigma, chosen, fitted.knots, spline, extra, level, int(SpecMask.BADSKY), made)
        number = frame.fibermap.fiber
        return SkyModel(
            flux=made[0],
            ivar=made[1],
            mask=made[2],
            wave=frame.wave,
            fiber=np.asarray(number, np.int32),
            fibers=tuple(int(number[rows[i]]) for i in fitted.used),
            rejected=tuple(int(number[rows[i]]) for i in fitted.rejected),
            leave_one_out=bool(alone),
            line_error=fitted.line_error,
            wave_error=fitted.wave_error * fitted.knots.step,
            wave_noise=fitted.wave_noise * fitted.knots.step,
        )


def _places(fibermap: FiberMap) -> tuple[Float64, Float64] | None:
    x, y = fibermap.columns.get("FIBERASSIGN_X"), fibermap.columns.get("FIBERASSIGN_Y")
    return None if x is None or y is None else (np.asarray(x, np.float64), np.asarray(y, np.float64))


def sky_rows(frame: Frame) -> Raw:
    """Rows of the fibres that are meant to look at the sky and are not known to be unusable."""
    sky = np.array([t == "SKY" for t in frame.fibermap.objtype])
    return np.flatnonzero(sky & ((fiber_status(frame.fibermap) & UNUSABLE) == 0))


def _too_few(frame: Frame, found: int, wanted: int) -> BadData | NotApplicable:
    """That a camera was given no sky fibres is no fault; that nobody knows what its fibres look at, or that all of them are broken, is."""
    marked, camera = sum(t == "SKY" for t in frame.fibermap.objtype), f"camera {frame.camera}"
    if marked:
        return BadData(f"{camera}: {found} of {marked} sky fibres are usable by their FIBERSTATUS, {wanted} are needed; look at the fibre map")
    if not frame.fibermap.stated:
        return BadData(f"{camera}: nobody says which fibres see the sky ({frame.fibermap.source}); give a fibre map, or a sky from a file")
    return NotApplicable(f"{camera}: no sky fibre in the fibre map ({frame.fibermap.source}), so the spectra keep their sky")
