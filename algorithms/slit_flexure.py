"""Flexure of a slit spectrograph: the wavelengths of an exposure are moved onto its sky lines."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from pydantic import Field

from quicklook.ccd.linelist import SkyLines, shipped_lines
from quicklook.ccd.slit import SlitShift
from quicklook.ccd.spectra import Frame
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg
from quicklook.core.quantity import Unit

Array = npt.NDArray[Any]
_ALONE = 1.25
_STEP = 0.25
_SMOOTH = 41
_SUGGEST = 2
"""Lines that must lie near the common shift for it to be told where it is not applied."""
_FAR = 3.5
"""Where no lines are found, they are looked for as many times farther away, to be told of wrong wavelengths."""
_NEIGHBOUR = 0.25
"""Lines of the list whose wavelength is uncertain by more, Angstrom, are there for their light alone."""


class SlitFlexureParams(Params):
    """Parameters of `slit_flexure`."""

    search: Annotated[float, Unit("pixel")] = Field(6.0, gt=0, le=40, description="largest shift that is taken off")
    min_lines: int = Field(3, ge=1, description="lines that must agree, else nothing is moved")
    snr: float = Field(8.0, gt=1, description="a line counts if it stands so many sigma out of the noise")
    max_error: Annotated[float, Unit("pixel")] = Field(0.15, gt=0, description="a shift that is known no better than this is not applied")


class SlitFlexure(PipelineAlg[SlitFlexureParams]):
    """Measure by how much the sky lines of the sky apertures are off, and move the wavelengths of all apertures by it."""

    name = "slit_flexure"

    def run(self, frame: Frame, skylines: SkyLines | None) -> tuple[Frame, SlitShift]:
        """The frame with moved wavelengths, and the shift. One that cannot be measured (few sky lines, a short exposure) is none, with a remark
        and what the lines suggest.

        The sky is the median of the apertures marked SKY, less its running median. All lines of the list together give the shift to a quarter of a
        pixel; then each line that stands out gives its centroid, and their median is the shift.
        """
        rows = np.flatnonzero([t == "SKY" for t in frame.fibermap.objtype])
        lines = skylines or shipped_lines(SkyLines)
        if not rows.size:
            return self._none(frame, np.zeros(0), "no aperture is marked as sky")
        middle = int(rows[rows.size // 2])
        wave, pixel = frame.wave[middle], np.arange(frame.wave.shape[1], dtype=np.float64)
        known = (lines.sigma < _NEIGHBOUR) & (lines.wave > wave[10]) & (lines.wave < wave[-11])
        listed, place = lines.wave[known], np.interp(lines.wave[known], wave, pixel)
        if listed.size < self.params.min_lines:
            return self._none(frame, listed, f"{listed.size} sky lines of the list are in range, {self.params.min_lines} are needed")
        sky, noise = _sky(frame, rows, wave)
        sigma = max(1.5, float(np.median(frame.sigma[middle] / np.gradient(wave))))
        off = self._each(sky, noise, place, sigma, self.params.search)
        if off is None or np.isfinite(off).sum() < self.params.min_lines:
            far = self._each(sky, noise, place, sigma, _FAR * self.params.search)
            if far is not None and np.isfinite(far).sum() >= self.params.min_lines and abs(np.nanmedian(far)) > self.params.search:
                where = f"the sky lines lie at {np.nanmedian(far):+.1f} pixel, farther than is taken off (slit_flexure.search={self.params.search:g})"
                return self._none(frame, listed, where, far)
        if off is None:
            return self._none(frame, listed, "the sky lines of the list are not seen")
        return self._shifted(frame, listed, off)

    def _each(self, sky: Array, noise: float, place: Array, sigma: float, search: float) -> Array | None:
        """Shift of each line about that of all together, NaN where it does not stand out; None where all together do not."""
        coarse = self._together(sky, noise, place, search)
        if coarse is None:
            return None
        off = np.array([_centroid(sky, x + coarse, sigma, self.params.snr * noise) for x in place]) + coarse
        off[np.abs(off - coarse) > 1.5 * sigma] = np.nan
        return off

    def _none(self, frame: Frame, listed: Array, remark: str, off: Array | None = None) -> tuple[Frame, SlitShift]:
        """The frame as it is; `off`: what the lines say one by one."""
        nothing = np.full(listed.size, np.nan) if off is None else off
        seen = np.isfinite(nothing)
        shift = SlitShift(
            camera=frame.camera,
            shift=math.nan,
            error=math.nan,
            line=_some(listed),
            off=_some(nothing),
            used=_some(seen),
            remark=remark,
            suggested=float(np.median(nothing[seen])) if seen.sum() >= _SUGGEST else math.nan,
        )
        return frame, shift

    def _together(self, sky: Array, noise: float, place: Array, search: float) -> float | None:
        """Shift at which the light at all lines together is largest; None where it does not stand out."""
        lags = np.arange(-search, search + _STEP / 2, _STEP)
        pixel = np.arange(sky.size)
        light = np.interp(place[:, None] + lags, pixel, sky)
        height = np.clip(light.max(axis=1, keepdims=True), 3 * noise, None)
        score = np.sum(light / height**0.7, axis=0)  # a line ten times as bright counts twice: one wrong line must not decide
        best = int(np.argmax(score))
        rest = score[np.abs(lags - lags[best]) > 2.0]
        apart = 1.4826 * float(np.median(np.abs(rest - np.median(rest)))) if rest.size > 4 else 0.0
        above = score[best] - (float(np.median(rest)) if rest.size else 0.0)
        # where lines have neighbours that shift by shift fall on one another, the rest scatters by them, and none of it comes near the best
        clear = above > 4 * max(apart, 1e-12) or (rest.size > 4 and above > 0 and score[best] > _ALONE * max(float(rest.max()), 0.0))
        return float(lags[best]) if clear and 0 < best < lags.size - 1 else None

    def _shifted(self, frame: Frame, listed: Array, off: Array) -> tuple[Frame, SlitShift]:
        seen = np.isfinite(off)
        if seen.sum() < self.params.min_lines:
            return self._none(frame, listed, f"{int(seen.sum())} sky lines stand out, {self.params.min_lines} are needed", off)
        shift = float(np.median(off[seen]))
        scatter = max(1.4826 * float(np.median(np.abs(off[seen] - shift))), 0.02)
        used = seen & (np.abs(off - shift) <= 4 * scatter)
        error = 1.25 * scatter / math.sqrt(int(used.sum()))
        if error > self.params.max_error or used.sum() < self.params.min_lines:
            return self._none(frame, listed, f"the sky lines scatter by {scatter:.2f} pixel about a shift of {shift:+.2f}", off)
        moved = frame.wave - shift * np.gradient(frame.wave, axis=1)
        found = SlitShift(camera=frame.camera, shift=shift, error=error, line=listed, off=off, used=used)
        return replace(frame, wave=moved), found


def _some(values: Array) -> Array:
    """At least one value: a product holds no empty array."""
    filler = np.zeros(1, values.dtype) if values.dtype.kind == "b" else np.full(1, np.nan)
    return values if values.size else filler


def _sky(frame: Frame, rows: Array, wave: Array) -> tuple[Array, float]:
    """Lines of the sky [nwave] at wavelengths `wave`, electron/Angstrom, without what is broader than lines; scatter of a sample."""
    good = (frame.ivar[rows] > 0) & (frame.mask[rows] == 0)
    spectra = np.stack([np.interp(wave, frame.wave[r], np.where(g, frame.flux[r], np.nan)) for r, g in zip(rows, good, strict=True)])
    known = np.isfinite(spectra)
    filled = np.where(known, spectra, np.inf)
    ordered = np.sort(filled, axis=0)
    count = known.sum(axis=0)
    middle = np.take_along_axis(ordered, np.clip((count - 1) // 2, 0, None)[None], 0)[0]
    sky = np.where(count > 0, np.where(np.isfinite(middle), middle, 0.0), 0.0)
    half = min(_SMOOTH, sky.size) // 2
    padded = np.pad(sky, half, mode="reflect")
    level = np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1)
    lines = sky - level[: sky.size]
    return lines, max(1.4826 * float(np.median(np.abs(lines))), 1e-12)


def _centroid(sky: Array, x: float, sigma: float, least: float) -> float:
    """Centroid about x, pixel, of a line that rises above `least`, in a Gaussian window that follows it; NaN where there is none."""
    half, centre = math.ceil(4 * sigma), x
    for _ in range(20):
        first = round(centre) - half
        if first < 0 or first + 2 * half + 1 > sky.size:
            return math.nan
        k = np.arange(first, first + 2 * half + 1)
        light = np.clip(sky[k], 0.0, None)
        if not light[half - 1 : half + 2].max() > least:
            return math.nan
        weight = light * np.exp(-0.5 * ((k - centre) / (1.5 * sigma)) ** 2)
        following = float((weight * k).sum() / weight.sum())
        if abs(following - centre) < 1e-4:
            break
        centre = following
    return centre - x
