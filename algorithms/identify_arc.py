"""Wavelengths from scratch: arc lines found along traces, identified with the elements of the lamps, and a wavelength solution of every fibre."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from typing import Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from algorithms import wavesolution as ws
from algorithms.fewlines import MOST, TERMS, identify_few
from algorithms.fit_arc import fibre_terms
from algorithms.flexure import Flexure, FlexureParams
from algorithms.lineident import Limits, Scale, identify, resolved
from algorithms.linetracks import Tracks, follow_lines
from algorithms.traceseries import spread_out
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.image import Image
from quicklook.ccd.lineid import LineIdentification
from quicklook.ccd.linelist import ArcLines, LampLines, shipped_lines
from quicklook.ccd.pixeltraces import PixelTraces, Spectrograph
from quicklook.ccd.spectra import TraceSet
from quicklook.core.errors import BadConfig, BadData
from quicklook.core.keys import Unit
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

Array = npt.NDArray[Any]
_List = tuple[LampLines, Array]
"""A list of lines as it is seen, and the places of the strongest members of its lines."""

_BRIGHTEST = 12
_COUNTS = 0.3
"""A line whose weight is smaller lies off the solution in all fibres: a blend, or not what it was taken for. It is not counted among the lines."""
_EXPECTED, _EXPECTED_LINES = 0.1, 3
"""A lamp should be seen where so many of its lines have this part of the strength of its strongest one."""
_MAIN = {"Ne": (5400.0, 9000.0), "Ar": (6650.0, 12000.0), "Kr": (5550.0, 12000.0), "Xe": (7850.0, 12000.0)}
"""Angstrom: where the noble gases have their bright lines, between their lowest excited configurations (2p to 1s in Paschen's notation, as the NIST
Atomic Spectra Database classifies them). What they have elsewhere is some hundred times fainter in a lamp, whatever intensities the list gives it."""
_LIST_ERROR = 0.004
_SLIT_DEGREE = 4
_BROAD = 1.3
"""A line that is broader than this, in units of what is usual at its row, is a blend."""
_CHANGES = (3e-4, 1e-5)
"""Expected change along the slit of the second and third term of the solution, of half its length; it counts where the lines are few."""
_ENOUGH = 0.4
"""A fibre with fewer lines than this part of what is usual has no wavelength solution of its own."""


class IdentifyArcParams(Params):
    """Parameters of `identify_arc`. What is left at its default comes from the description of the instrument."""

    lamps: str = Field("", description="elements of the lamps, comma-separated, as in Hg,Cd,He; empty: those of the instrument, or all of the list")
    dispersion: float | None = Field(None, gt=0, description="Angstrom per row, roughly; null: that of the instrument")
    dispersion_error: float | None = Field(None, gt=0, le=0.5, description="its relative error; null: that of the instrument")
    centre: float | None = Field(None, gt=0, description="vacuum Angstrom at the middle row, roughly; null: that of the instrument, or any")
    centre_error: float | None = Field(None, gt=0, description="its error, Angstrom; null: that of the instrument")
    detect: float = Field(6.0, gt=3, description="a line is found if it stands so many sigma out of the noise")
    degree: int = Field(5, ge=1, le=9, description="highest degree of the wavelength solution along the dispersion")
    degree_slit: int = Field(_SLIT_DEGREE, ge=0, le=8, description="highest degree along the slit")
    per_fibre: bool = Field(True, description="give single fibres an offset and a slope of their own, as far as they stand out of the noise")


class IdentifyArc(PipelineAlg[IdentifyArcParams]):
    """Identify the lines of arcs from scratch and give every trace its wavelengths (vacuum) and the width of its lines."""

    name = "identify_arc"

    def run(
        self, images: Sequence[Image], traces: PixelTraces, spectrographs: Sequence[Spectrograph] | None, lamplines: LampLines | None
    ) -> tuple[TraceSet, LineIdentification]:
        """The trace set, and what it rests on. Several arcs are added up, so each may show lamps of its own.

        Raises BadConfig where no dispersion or no line of the lamps is known; BadData where the arc cannot be identified for certain.
        """
        image = _summed(images)
        if (traces.npix_y, traces.npix_x) != image.shape:
            ny, nx = image.shape
            size = f"traces of {traces.npix_x} x {traces.npix_y} pixels, the arc has {nx} x {ny}"
            raise BadData(f"camera {image.camera}: {size}; make traces of this read-out")
        known = spectrographs[0] if spectrographs else Spectrograph(camera=image.camera)
        every, lamps = lamplines or shipped_lines(LampLines), self._lamps(known)
        own = lamp_lines(every, lamps)
        tracks = follow_lines(image, traces, self.params.detect)
        place, _, sound = _at_reference(tracks)
        limits = self._limits(known)
        seen = place, tracks.height[sound], image.shape[0]
        lists = [resolved(one, 2.355 * _typical(tracks.sigma[tracks.good]) * limits.dispersion) for one in ((own, every) if lamps else (own,))]
        scale, (lines, strongest) = self._identified(seen, lists, limits)
        made, report = _Solution(image, traces, tracks, sound, scale, lines, strongest, lamps, self.params).run()
        return (made if traces.slit else _onto_lines(image, made, scale, lines)), report

    def _identified(self, seen: tuple[Array, Array, int], lists: Sequence[_List], limits: Limits) -> tuple[Scale, _List]:
        """The scale, and the list that it rests on: the lamps that are described, else all of them, for a lamp that nobody wrote down."""
        y, height, ny = seen
        refused: list[BadData] = []
        for chosen in lists:
            try:
                return identify(y, height, ny, chosen[0], limits, degree=self.params.degree), chosen
            except BadData as error:
                refused.append(error)
            with suppress(BadData):
                return identify_few(y, height, ny, chosen[0], limits), chosen
        try:
            identify(ny - 1.0 - y[::-1], height[::-1], ny, lists[0][0], limits, degree=self.params.degree)
        except BadData:
            raise refused[0] from None
        raise BadData("the wavelengths of this camera fall with the row; turn it in the description of the instrument (orientation: flip_y)")

    def _lamps(self, known: Spectrograph) -> tuple[str, ...]:
        return tuple(e for e in re.split(r"[\s,]+", self.params.lamps) if e) or known.lamps

    def _limits(self, known: Spectrograph) -> Limits:
        p = self.params
        dispersion = p.dispersion or known.dispersion
        if dispersion is None:
            raise BadConfig(f"camera {known.camera}: the dispersion is not known; write it into the instrument's description (spectra.dispersion)")
        return Limits(
            dispersion=dispersion, dispersion_error=p.dispersion_error or known.dispersion_error,
            centre=p.centre or known.centre, centre_error=p.centre_error or known.centre_error,
        )  # fmt: skip


def _onto_lines(image: Image, made: TraceSet, scale: Scale, lines: LampLines) -> TraceSet:
    """The traces moved across the dispersion to where they lie in the arc: it may have been taken after some flexure."""
    entry = np.sort(scale.entry)
    names = tuple(lines.name[i] for i in entry)
    used = ArcLines(wave=lines.wave[entry], sigma=lines.sigma[entry], window=lines.window[entry], strength=lines.strength[entry], name=names)
    exposure = Exposure(unit=Unit(0, 0), instrument="", flavor="arc", exptime=math.nan)
    moved, _ = Flexure(FlexureParams(use_y=False)).run(image, made, exposure, None, used)
    return moved


def lamp_lines(lines: LampLines, elements: Sequence[str]) -> LampLines:
    """The lines of some elements; all of them where none is named. Raises BadConfig where the list has none of an element."""
    own = [re.split(r"[\W_]", name)[0] for name in lines.name]
    absent = [e for e in elements if e not in own]
    if absent:
        raise BadConfig(f"the line list has no line of {', '.join(absent)}; it has {', '.join(sorted(set(own)))}")
    kept = [i for i, e in enumerate(own) if not elements or e in elements]
    names = tuple(lines.name[i] for i in kept)
    return replace(lines, wave=lines.wave[kept], sigma=lines.sigma[kept], window=lines.window[kept], strength=lines.strength[kept], name=names)


def _typical(values: Array) -> float:
    """Median of those that are known; NaN where none is."""
    known = values[np.isfinite(values)]
    return float(np.median(known)) if known.size else math.nan


def _summed(images: Sequence[Image]) -> Image:
    """Mean of the images, with the inverse variance of the mean; a pixel that is unusable in one of them is unusable."""
    first: Image | None = None
    total, variance, n = np.zeros(0), np.zeros(0), 0
    for image in images:
        with np.errstate(divide="ignore"):
            var = np.where(image.ivar > 0, np.float32(1.0) / image.ivar, np.float32(np.inf))
        if first is None:
            first, total, variance = image, image.pixels.astype(np.float32), var
        elif image.shape != first.shape:
            raise BadData(f"camera {image.camera}: arcs of different size in one group; take those of one read-out")
        else:
            total, variance = total + image.pixels, variance + var
        n += 1
    if first is None:
        raise BadData("there is no arc in the group")
    if n == 1:
        return first
    ivar = np.where(np.isfinite(variance), np.float32(n * n) / variance, np.float32(0.0)).astype(np.float32)
    return replace(first, pixels=(total / np.float32(n)).astype(np.float32), ivar=ivar)


def _at_reference(tracks: Tracks) -> tuple[Array, Array, Array]:
    """Rows of the lines in the reference fibre, from a parabola through the fibres around it, their errors, and which lines these are."""
    r, n = tracks.reference, tracks.y.shape[1]
    near = np.arange(max(0, r - 12), min(n, r + 13))
    place, error, sound = [], [], []
    width = np.array([np.median(s[g]) if g.any() else np.nan for s, g in zip(tracks.sigma[:, near], tracks.good[:, near], strict=True)])
    typical = _typical_width(tracks.y[:, r], width)
    for i in range(len(tracks.y)):
        good = tracks.good[i, near]
        if good.sum() < max(1, 0.3 * len(near)) or not 0.6 * typical[i] < width[i] < _BROAD * typical[i]:
            continue
        if good.sum() >= 6:
            w = 1.0 / np.maximum(tracks.error[i, near][good], 0.003)
            fit = np.polynomial.polynomial.polyfit(near[good] - r, tracks.y[i, near][good], 2, w=w)
            place.append(float(fit[0]))
            error.append(1.5 / math.sqrt(float(np.sum(w**2))))  # a parabola's value at its middle
        else:
            nearest = near[good][np.argmin(np.abs(near[good] - r))]
            place.append(float(tracks.y[i, nearest]))
            error.append(float(tracks.error[i, nearest]))
        sound.append(i)
    return np.array(place), np.array(error), np.array(sound, np.int64)


def _typical_width(y: Array, width: Array) -> Array:
    """The width of single lines at rows y: a parabola through the widths, drawn to the narrow ones, since blends are broad."""
    known = np.isfinite(width)
    if known.sum() < 6:
        return np.full(len(y), float(np.median(width[known])) if known.any() else np.nan)
    use = known.copy()
    fit: Array = np.zeros(1)
    t = y / max(float(y.max()), 1.0)
    for _ in range(5):
        fit = np.polynomial.polynomial.polyfit(t[use], width[use], 2 if use.sum() > 8 else 1)
        rest = width - np.polynomial.polynomial.polyval(t, fit)
        scale = max(1.4826 * float(np.median(np.abs(rest[use]))), 0.02)
        new = known & (rest < 2.0 * scale) & (rest > -4.0 * scale)
        if new.sum() < 5:
            break
        use = new
    return np.asarray(np.polynomial.polynomial.polyval(t, fit))


class _Solution:
    """Identified lines, [nline, nfibre], and the trace set through them."""

    def __init__(
        self,
        image: Image,
        traces: PixelTraces,
        tracks: Tracks,
        sound: Array,
        scale: Scale,
        lines: LampLines,
        strongest: Array,
        lamps: Sequence[str],
        params: IdentifyArcParams,
    ) -> None:
        self.lamps = lamps
        self.image, self.traces, self.tracks, self.scale, self.lines, self.p = image, traces, tracks, scale, lines, params
        self.settled = self.wave = lines.wave[scale.entry]
        self.strongest = strongest[scale.entry]
        self.sound, self.row = sound, sound[scale.line]
        self.dispersion = float(np.polynomial.legendre.legder(scale.series)[0] * 2.0 / (image.shape[0] - 1))
        middle = traces.at_rows(traces.x, np.array([0.5 * (image.shape[0] - 1)]))[:, 0]
        low, high = float(middle.min()), float(middle.max())
        self.u = 2.0 * (middle - low) / (high - low) - 1.0 if high > low else np.zeros(len(middle))

    def run(self) -> tuple[TraceSet, LineIdentification]:
        """See IdentifyArc.run."""
        low, high = self._domain()
        y, error = self.tracks.y[self.row], np.where(self.tracks.good[self.row], self.tracks.error[self.row], math.inf)
        floor = np.maximum(self.lines.sigma[self.scale.entry], _LIST_ERROR) / abs(self.dispersion)
        slit = self.p.degree_slit if self.traces.nfibre > 2 * self.p.degree_slit else max(0, (self.traces.nfibre - 1) // 2)
        self.settled = wave = self._settled(low, high, floor)
        alone = (wave == self.strongest) & (wave != self.wave)  # the lamp does not show the other members of the blend
        floor = np.where(alone, np.minimum(floor, np.hypot(_LIST_ERROR, 0.1 * (self.wave - wave)) / abs(self.dispersion)), floor)
        t = 2.0 * (wave - low) / (high - low) - 1.0
        rows, random = self._reference_rows()
        degree = self._degree(t, rows, np.hypot(floor, random))
        smooth = ws.fit_smooth(self.u, t, y, error, floor, slit, degree, self._stiffness(degree))
        series = smooth.series(self.u)
        rest = y - (np.polynomial.legendre.legvander(t, degree) @ series.T)
        if self.p.per_fibre and self.traces.nfibre > 8 and degree > 0:
            series[:, :2] += self._own_terms(smooth, rest, error, t)
            rest = y - (np.polynomial.legendre.legvander(t, degree) @ series.T)
        made = ws.trace_set(self.traces, series, self._widths(t, slit), low, high)
        return made, self._report(smooth, np.where(np.isfinite(error), rest, np.nan), degree)

    def _few(self) -> bool:
        """Whether the lines are too few to tell the degree of the solution by themselves."""
        return len(self.wave) <= MOST

    def _degree(self, t: Array, rows: Array, error: Array) -> int:
        """The degree in wavelength: of few lines a cubic, which is held by what spectrographs have."""
        if self._few():
            return min(self.p.degree, len(TERMS) + 1, len(t) - 1)
        return ws.best_degree(t, rows, error, self.p.degree)

    def _stiffness(self, degree: int) -> Array | None:
        """Expected size [2, degree + 1] of the terms in wavelength, and of their change along the slit, rows; None: not needed."""
        if not self._few():
            return None
        free = (math.inf, math.inf)
        return 0.5 * self.image.shape[0] * np.array([[*free, *TERMS], [*free, *_CHANGES]])[:, : degree + 1]

    def _settled(self, low: float, high: float, floor: Array) -> Array:
        """Wavelengths of the lines: where one has members that cannot be told apart, the mean, or the strongest if the lines around say so."""
        (rows, random), wave = self._reference_rows(), self.wave.copy()
        apart = np.abs(self.wave - self.strongest) / abs(self.dispersion)
        for _ in range(2):
            t = 2.0 * (wave - low) / (high - low) - 1.0
            unsure = np.sqrt(floor**2 + apart**2 + random**2)
            degree = self._degree(t, rows, unsure)
            at = np.polynomial.legendre.legval(t, ws.robust_series(t, rows, np.maximum(unsure, 0.01), degree))
            off = (rows - at) * self.dispersion  # how far the line lies above the wavelength that it was given
            wave = np.where(np.abs(off + wave - self.strongest) < np.abs(off + wave - self.wave), self.strongest, self.wave)
        return wave

    def _own_terms(self, smooth: ws.Smooth, rest: Array, error: Array, t: Array) -> Array:
        """Offset and slope of every fibre beyond the smooth model; a fibre with few lines has those of the fibres beside it."""
        lines = smooth.used.sum(axis=0)
        enough = lines >= max(3.0, _ENOUGH * float(np.median(lines[lines > 0])) if lines.any() else 3.0)
        if enough.sum() < 2:
            return np.zeros((self.traces.nfibre, 2))
        used = smooth.used & enough
        terms = fibre_terms(np.where(used, rest, math.nan), np.where(used, np.maximum(error, 0.003), math.inf), t, smooth.line)
        return spread_out(np.flatnonzero(enough), terms[enough], self.traces.nfibre)

    def _domain(self) -> tuple[float, float]:
        """Wavelengths that any fibre sees: those of the reference, moved by how far the lines lie elsewhere."""
        low, high = ws.domain(self.scale.series, self.dispersion)
        good = self.tracks.good[self.row]
        moved = (self.tracks.y[self.row] - self._reference_rows()[0][:, None])[good]
        return low - self.dispersion * max(0.0, float(moved.max())), high - self.dispersion * min(0.0, float(moved.min()))

    def _reference_rows(self) -> tuple[Array, Array]:
        """Rows of the identified lines in the reference fibre, and their errors."""
        place, error, _ = _at_reference(self.tracks)
        return place[self.scale.line], error[self.scale.line]

    def _widths(self, t: Array, slit: int) -> Array:
        """Series of the Gaussian sigma of the line-spread function, pixel."""
        sigma, error = self.tracks.sigma[self.row], np.where(self.tracks.good[self.row], self.tracks.error[self.row], math.inf)
        degree = 0 if len(t) < 5 else min(3, (len(t) - 1) // 3)
        smooth = ws.fit_smooth(self.u, t, sigma, np.maximum(error, 0.002), np.full(len(t), 0.01), min(slit, 3), degree)
        return smooth.series(self.u)

    def _report(self, smooth: ws.Smooth, rest: Array, degree: int) -> LineIdentification:
        scale, angstrom = self.scale, abs(self.dispersion)
        weight = smooth.line > _COUNTS
        used = smooth.used & weight[:, None]
        off = np.where(used, rest, np.nan) * angstrom
        count = used.sum(axis=0).astype(np.float64)
        with np.errstate(invalid="ignore", divide="ignore"):
            rms = np.sqrt(np.where(used, off**2, 0.0).sum(axis=0) / np.where(count > 0, count, np.nan))
        n = len(self.sound)
        order = np.argsort(self.tracks.y[self.sound, self.tracks.reference])
        columns = {k: np.full(n, np.nan) for k in ("wave", "residual", "scatter", "sigma")}
        names = [""] * n
        for k, (line, entry) in enumerate(zip(scale.line, scale.entry, strict=True)):
            good = np.isfinite(rest[k])
            columns["wave"][line], names[line] = self.settled[k], self.lines.name[entry]
            columns["residual"][line] = -np.median(rest[k][good]) * angstrom if good.any() else np.nan
            columns["scatter"][line] = 1.4826 * np.median(np.abs(rest[k][good] - np.median(rest[k][good]))) * angstrom if good.any() else np.nan
            columns["sigma"][line] = np.median(self.tracks.sigma[self.row[k]][good]) if good.any() else np.nan
        height = self.tracks.height[self.sound]
        bright = np.argsort(-height)[:_BRIGHTEST]
        by_lamp = self._by_lamp(scale.entry[weight])
        return LineIdentification(
            camera=self.image.camera, fiber=self.traces.fiber.copy(), nlines=count, rms=rms,
            row=self.tracks.y[self.sound, self.tracks.reference][order], height=height[order],
            **{k: v[order] for k, v in columns.items()}, name=tuple(names[i] for i in order),
            by_lamp=by_lamp, faint_lamps=tuple(e for e in sorted(self._described()) if e not in by_lamp),
            other_lamps=tuple(e for e in by_lamp if e not in self._described()),
            bright_matched=float(np.isin(bright, scale.line).mean()), chance=scale.chance, rival=scale.rival,
            degree=degree, dispersion=self.dispersion,
        )  # fmt: skip

    def _by_lamp(self, entries: Array) -> dict[str, int]:
        """Identified lines of every lamp that has any, or that should have."""
        found = Counter(self._element()[entries].tolist())
        for one in self._bright_lamps():
            found.setdefault(one, 0)
        return dict(sorted(found.items()))

    def _described(self) -> list[str]:
        """The lamps that there should be."""
        return list(self.lamps) or np.unique(self._element()).tolist()

    def _element(self) -> Array:
        return np.array([re.split(r"[\W_]", name)[0] for name in self.lines.name])

    def _bright_lamps(self) -> list[str]:
        """Lamps that should be seen: some of their lines that are among their brightest of all lie in this range."""
        element, strength, wave = self._element(), self.lines.strength, self.lines.wave
        low, high = sorted(ws.domain(self.scale.series, self.dispersion))
        bright = []
        for one in self._described():
            own, (first, last) = element == one, _MAIN.get(one, (0.0, math.inf))
            inside = own & (wave > max(low, first)) & (wave < min(high, last))
            if (strength[inside] >= _EXPECTED * strength[own].max()).sum() >= _EXPECTED_LINES:
                bright.append(one)
        return bright
