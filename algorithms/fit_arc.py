"""Arc exposures: the wavelength solution and the width of the line-spread function of every fibre."""

from __future__ import annotations

import math
import re
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from algorithms.flexure import Flexure
from algorithms.tracegeometry import SIGMA, Places, added, moved, on_detector, shift_of, slit
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.image import Image
from quicklook.ccd.linelist import ArcLines, shipped_lines
from quicklook.ccd.spectra import TraceSet
from quicklook.ccd.traceshift import ArcFit
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg
from quicklook.core.quantity import Unit

Array = npt.NDArray[Any]

_HALF = 5
_MIN_FIBRES = 0.3
_CLEAR = 5.0
_PRIOR = (math.inf, 0.5, 0.1, 0.05, 0.03)
_FLEXURE = (math.inf, 0.05, 0.01, 0.01, 0.01)
_LEAST = 2


class FitArcParams(Params):
    """Parameters of `fit_arc`."""

    half_width: Annotated[float, Unit("pixel")] = Field(3.0, gt=1, le=8, description="half width across a trace in which lines are summed")
    isolation: Annotated[float, Unit("pixel")] = Field(7.0, ge=0, description="a line with another one closer than this is not used")
    neighbour: float = Field(0.003, ge=0, lt=1, description="a neighbour with less than this part of the light of a line does no harm")
    elements: str = Field("Ar,Cd,Hg,Kr,Ne,Xe", description="elements of the lamps, as they begin the names in the line list; empty: all of the list")
    min_lines: int = Field(4, ge=2, description="lines that are needed for a solution; with fewer, two at least, it is the given one, moved")
    degree_slit: int = Field(3, ge=0, le=6, description="highest power along the slit in the change of the wavelength solution")
    degree_wave: int = Field(4, ge=1, le=6, description="highest degree in wavelength of that change")
    per_fibre: bool = Field(True, description="give single fibres an offset and a slope of their own, as far as they stand out of the noise")


class FitArc(PipelineAlg[FitArcParams]):
    """Fit the lines of an arc in every fibre; move the wavelength solution of the traces onto them and measure the line-spread function."""

    name = "fit_arc"

    def run(self, image: Image, traces: TraceSet, exposure: Exposure, arclines: ArcLines | None) -> tuple[TraceSet, ArcFit]:
        """Traces with a new y and ysig, and the fitted lines. Raises BadData where there are too few lines, or for traces of another detector.

        The change of y against the traces that came in is a polynomial over slit and wavelength, and an offset and a slope of each fibre, shrunk by
        what noise alone would give. ysig is treated alike. Traces may be off by some pixels: shifts of all lines together are found first.
        With fewer than `min_lines` lines the change is a shift and slopes of the size of flexure, the same for neighbouring fibres; the fit says so.
        """
        lines = lines_of(arclines or shipped_lines(ArcLines), self.params.elements)
        traces, _ = Flexure().run(image, traces, replace(exposure, flavor="arc"), None, lines)
        work = _Lines(image, traces, lines, self.params)
        used = work.usable()
        count, wanted = int(used.sum()), self.params.min_lines
        if count < min(_LEAST, wanted):
            found = f"{count} arc lines stand alone and are bright enough"
            raise BadData(f"camera {image.camera}: {found}, {_LEAST} are needed at least, {wanted} for a full solution; check the lamps")
        full = count >= wanted
        dy, kept = work.solve(work.shift, work.shift_error, used, self.params.degree_wave, np.maximum(work.line_error, 0.002), full)
        sigma = traces if traces.ysig is not None else replace(traces, ysig=np.full((traces.nfibre, 1), SIGMA))
        assert sigma.ysig is not None
        change, degree = work.sigma - work.places.sigma_y, min(3, self.params.degree_wave)
        dsigma, _ = work.solve(change, work.sigma_error, used & kept, degree, np.full(len(used), 0.005), full)
        new = moved(traces, np.zeros((traces.nfibre, 1)), dy)
        new = replace(new, ysig=added(sigma.ysig, dsigma))
        few = f"{count} lines alone could be used, {wanted} are needed: the given solution was shifted and tilted, its curvature is not tested"
        return new, work.report(new, used & kept, "" if full else few)


def lines_of(lines: ArcLines, elements: str) -> ArcLines:
    """The lines of some elements (comma-separated). Raises BadConfig where the list has none of them."""
    wanted = {e.strip() for e in elements.split(",") if e.strip()}
    kept = [i for i, name in enumerate(lines.name) if not wanted or re.split(r"[\W_]", name)[0] in wanted]
    if not kept:
        raise BadConfig(f"fit_arc.elements: the arc list has no line of {elements}; its names are like {', '.join(sorted(set(lines.name))[:8])}")
    names = tuple(lines.name[i] for i in kept)
    return replace(lines, wave=lines.wave[kept], sigma=lines.sigma[kept], window=lines.window[kept], strength=lines.strength[kept], name=names)


def _medians(values: Array, good: Array, otherwise: float) -> Array:
    """Median over fibres of every line."""
    return np.array([np.median(v[g]) if g.any() else otherwise for v, g in zip(values, good, strict=True)])


class _Lines:
    """All lines of the list that fall on the detector, fitted in every fibre: arrays [nline, nfibre]."""

    def __init__(self, image: Image, traces: TraceSet, lines: ArcLines, params: FitArcParams) -> None:
        from algorithms.kernels import flexure
        from algorithms.kernels import lines as lk

        low, high = on_detector(traces)
        t = traces.reduced(lines.wave)
        inside = (t > low) & (t < high)
        if not inside.any():
            raise BadData(f"camera {image.camera}: no line of the arc list falls on the detector; check list and traces")
        self.k, self.image, self.traces, self.p, self.wave = flexure, image, traces, params, lines.wave[inside]
        self.u, self.places = slit(traces), Places(traces, self.wave)
        p = self.places
        up, down = Places(traces, self.wave + 0.5), Places(traces, self.wave - 0.5)
        self.line_error = lines.sigma[inside] * np.abs(np.median(up.y - down.y, axis=1))
        half_y = _HALF + 1
        shape = (*p.x.shape, 2 * half_y + 1)
        flux, var = np.empty(shape, np.float32), np.empty(shape, np.float32)
        lk.cut_windows(image.pixels, image.ivar, p.x, p.slope, p.y, params.half_width, half_y, flux, var)
        out = np.empty((6, *p.x.shape))
        lk.fit_lines(flux, var, np.floor(p.y + 0.5) - half_y, p.y, p.sigma_y, _HALF, out)
        self.flux, self.shift, self.shift_error, self.sigma, self.sigma_error, self.chi2 = out
        sharp = (self.sigma_error < 0.2) & (self.shift_error < 0.2)
        self.good = (self.flux > 0) & sharp & (self.chi2 < 8.0) & (np.abs(self.shift) < 1.5)

    def usable(self) -> Array:
        """Lines that are seen in many fibres and stand alone."""
        found = self.flux > 0
        seen = found.any(axis=1)
        flux, shift = _medians(self.flux, found, 0.0), _medians(self.shift, found, math.inf)
        noise = _medians(self.shift_error / np.where(found, self.sigma, 1.0), found, math.inf)
        there = seen & (np.abs(shift) < 0.7) & (noise < 1.0 / _CLEAR)
        fibres = self.good.mean(axis=1) > _MIN_FIBRES
        y = np.median(self.places.y, axis=1)
        near = np.abs(y[:, None] - y[None, :]) < self.p.isolation
        np.fill_diagonal(near, False)
        harm = near & there[None, :] & (flux[None, :] > self.p.neighbour * flux[:, None])
        return np.asarray(there & fibres & ~harm.any(axis=1))

    def solve(self, value: Array, error: Array, used: Array, degree_wave: int, group_error: Array, full: bool) -> tuple[Array, Array]:
        """Series [nfibre, n] of a smooth model and the terms of single fibres, and which lines went into it [nline].

        Not `full`: terms of first order along slit and wavelength, as small as flexure, and none of single fibres.
        """
        rows = np.flatnonzero(used)
        degree = max(0, min(degree_wave, len(rows) - 3)) if full else 1
        along = self.p.degree_slit if full else min(1, self.p.degree_slit)
        terms = self.k.powers(along, degree, max(along, degree))
        sizes = _PRIOR if full else _FLEXURE
        prior = np.array([sizes[min(i + j, len(sizes) - 1)] for i, j in terms])
        good = self.good[rows]
        v = np.where(good, value[rows], math.nan)
        e = np.where(good, np.sqrt(error[rows] ** 2 + 1e-6), math.inf)
        t = self.places.t[rows]
        fit = self.k.fit_smooth(self.u, t, v, e, group_error[rows], terms, prior)
        if fit is None:
            raise BadData(f"camera {self.image.camera}: too few fibres have arc lines; check lamps and shutter")
        model = shift_of(fit.model, self.u, 2)
        kept = np.zeros(len(used), bool)
        kept[rows] = fit.kept > 0.1
        if self.p.per_fibre and full:
            at = np.polynomial.legendre.legvander(t, model.shape[1] - 1) @ model.T
            model[:, :2] += fibre_terms(v - at, e, t, fit.kept)
        return model, kept

    def report(self, traces: TraceSet, used: Array, remark: str) -> ArcFit:
        """Lines that were seen, against the new traces."""
        rest = self.shift + self.places.y - Places(traces, self.wave).y
        seen = np.flatnonzero(self.good.mean(axis=1) > _MIN_FIBRES)
        columns = np.full((5, max(1, len(seen))), math.nan)
        for n, i in enumerate(seen):
            g = self.good[i]
            middle = float(np.median(rest[i][g]))
            columns[:, n] = middle, 1.4826 * np.median(np.abs(rest[i][g] - middle)), np.median(self.sigma[i][g]), np.median(self.flux[i][g]), g.sum()
        wave, flags = self.wave[seen], used[seen].astype(np.float64)
        found = dict(zip(("residual", "scatter", "sigma", "flux", "nfibre"), columns[:, : len(seen)].copy(), strict=True))
        return ArcFit(camera=self.image.camera, wave=wave.copy(), used=flags, remark=remark, **found)


def fibre_terms(residual: Array, error: Array, t: Array, line_weight: Array) -> Array:
    """Offset and slope of every fibre, [nfibre, 2], shrunk towards zero.

    residual, error [nline, nfibre] (NaN, infinite: unknown), t [nline] reduced wavelengths, after the smooth model. What is common to all fibres at
    a line (its wavelength) is taken out first. Empirical Bayes: tau^2 is the variance over fibres beyond that of noise; a term of variance v is
    multiplied by tau^2 / (tau^2 + v). Source: James & Stein (1961) in the form of Efron & Morris (1973).
    """
    nfibre = residual.shape[1]
    known = np.isfinite(residual) & np.isfinite(error)
    r = np.where(known, residual, 0.0)
    w = np.where(known, 1.0 / np.where(known, error, 1.0) ** 2, 0.0) * line_weight[:, None]
    total = w.sum(axis=1, keepdims=True)
    r = r - np.where(total > 0, (w * r).sum(axis=1, keepdims=True) / np.where(total > 0, total, 1.0), 0.0)
    out = np.zeros((nfibre, 2))
    for _ in range(2):
        z = np.abs(r - out[:, 0] - np.outer(t, out[:, 1])) * np.where(known, 1.0 / np.where(known, error, 1.0), 0.0)
        ww = w * np.where(z < 4.0, 1.0, 4.0 / np.maximum(z, 4.0))
        s0, s1, s2 = (np.sum(ww * tt[:, None], axis=0) for tt in (np.ones_like(t), t, t * t))
        det = s0 * s2 - s1 * s1
        ok = (det > 1e-6 * s0 * s2) & (s0 > 0)
        d = np.where(ok, det, 1.0)
        b0, b1 = np.sum(ww * r, axis=0), np.sum(ww * r * t[:, None], axis=0)
        raw = np.stack([(s2 * b0 - s1 * b1) / d, (s0 * b1 - s1 * b0) / d], axis=1)
        variance = np.stack([s2 / d, s0 / d], axis=1)
        raw[~ok], variance[~ok] = 0.0, math.inf
        for j in range(2):
            if ok.any():
                excess = np.median(raw[ok, j] ** 2) / 0.4549 - np.median(variance[ok, j])
                tau2 = max(0.0, float(excess))
                out[:, j] = np.where(ok, raw[:, j] * tau2 / (tau2 + np.where(ok, variance[:, j], 1.0)), 0.0)
    return out
