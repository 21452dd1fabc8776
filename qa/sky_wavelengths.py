"""Zero of the wavelengths against known lines of the sky, after all corrections."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from qa.skyrows import reach, sky_rows
from qa.traceplaces import brightest, lone_lines
from qa.values import scalar
from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.linelist import SkyLines, shipped_lines
from quicklook.ccd.spectra import Frame, SkyModel
from quicklook.core.metrics import Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_LIGHT_KM_S = 299792.458
_PARTS = 4
_EXACT = 0.02
_CLIP, _FLOOR = 4.0, 0.02
_SURE = 3.0
_EDGE = 8.0

ZERO = MetricDef("sky_wave_zero", "Angstrom", doc="Mean over known lines of the sky of measured minus vacuum wavelength, in sky fibres.")
VELOCITY = MetricDef("sky_velocity_zero", "km/s", doc="The same as a velocity: speed of light times the offset over the wavelength.")
ERROR = MetricDef("sky_wave_zero_error", "Angstrom", doc="Error of that mean, from the noise of the lines, what is known of them, how they agree.")
OFFSETS = MetricDef("sky_line_offset", "Angstrom", dims=("line",), doc="Measured minus vacuum wavelength of each of these lines, over sky fibres.")


class SkyWavelengthsParams(Params):
    """Parameters of `sky_wavelengths`."""

    lines: int = Field(6, ge=1, le=50, description="lines that are measured at most in each quarter of the wavelengths, the brightest")
    alone: float = Field(6.0, gt=0, description="a line counts where its neighbours within this have less than `share` of its light [Angstrom]")
    share: float = Field(0.1, gt=0, lt=1, description="part of the light of a line that its neighbours may have")
    half: int = Field(4, ge=3, le=20, description="half width of the window, samples")
    min_snr: float = Field(10.0, gt=1, description="a line that is fainter than this in all sky fibres together is left out [sigma]")
    known: float = Field(0.012, gt=0, description="a zero that is known no better is left out, unless it stands out of its error [Angstrom]")
    reference: tuple[float, ...] = Field(
        (5578.9, 5891.6, 6302.0, 6365.5, 7342.9, 8401.5, 8432.5, 9378.5),
        description="lines of which it is said whether the camera covers them [Angstrom]",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Lines:
    """Vacuum wavelengths, offsets, their errors (noise, and what is known of the line), Angstrom, and whether it is kept, each [nline]."""

    wave: Float64
    offset: Float64
    error: Float64
    kept: Raw


class SkyWavelengths(MonitoringAlg[SkyWavelengthsParams]):
    """Measures where lone emission lines of the sky lie in the extracted spectra of the sky fibres, against their vacuum wavelengths.

    It is apart from the fit of `flexure`: on spectra, not on the image, on lone lines alone, without a smooth model.
    Formula: sky_line_offset = sum over the fibres of B / sum of A, Angstrom, of a least-squares fit A G + B dG/dc + C dG/dv + level (G: Gaussian of
    the line-spread function); error = hypot(noise of the fit, uncertainty in the list). sky_wave_zero = mean over the lines, weighted with 1 /
    error^2, without those 4 errors from the median; sky_wave_zero_error = 1 / sqrt(sum of the weights) x max(1, root of chi2 a degree of freedom);
    sky_velocity_zero = the same mean of c x offset / wavelength, km/s.
    Source: standard weighted mean. The shipped list is in vacuum, from the atlas of Hanuschik (2003, A&A 407, 1157) and NIST; lists in air are
    converted when they are read (Ciddor 1996, Applied Optics 35, 1566).
    """

    name = "sky_wavelengths"
    group = "Spectra"
    metrics = (ZERO, VELOCITY, ERROR, OFFSETS)

    def measure(self, frame: Frame, sky: SkyModel, skylines: SkyLines | None) -> Measures:
        """Of spectra from which the sky is not yet subtracted. Raises NotApplicable where the sky model rests on no fibre of this exposure."""
        rows = sky_rows(frame, sky)
        low, high = reach(frame, rows)
        facts: dict[str, str | int | float | bool | None] = {"fibers": int(rows.size), "not_covered": self._beyond(low, high)}
        found = self._lines(frame, rows, skylines or shipped_lines(SkyLines), low + _EDGE, high - _EDGE)
        if found is None:
            why = "no lone line of the sky is bright enough in this camera"
            return Measures(tuple(not_applicable(d.name, why) for d in self.metrics), facts=facts)
        zero, error, scale = _mean(found, np.ones(found.wave.size))
        velocity = _mean(found, _LIGHT_KM_S / found.wave)[0]
        n = int(found.kept.sum())
        if error > self.params.known and abs(zero) < _SURE * error:
            why = f"{n} lines tell it to {error:.2g} Angstrom alone"
            metrics: tuple[Measured, ...] = tuple(not_applicable(d.name, why) for d in (ZERO, VELOCITY, ERROR))
        else:
            worst = int(np.argmax(np.where(found.kept, np.abs(found.offset), -1.0)))
            remark = f"from {n} lines, known to {error:.2g} Angstrom; {found.wave[worst]:.1f} lies off by {found.offset[worst]:+.3f} Angstrom"
            metrics = (scalar(ZERO, zero, remark), scalar(VELOCITY, velocity), scalar(ERROR, error))
        each = measured(OFFSETS.name, found.offset, line=[round(float(w), 2) for w in found.wave], left_out=_far(found))
        facts |= {"lines": n, "lines_agree": scale}
        return Measures((*metrics, each), plots=(_plot(frame.camera, found, zero),), facts=facts)

    def _beyond(self, low: float, high: float) -> str:
        """The well-known lines that this camera does not cover, in words."""
        return ", ".join(f"{w:.1f}" for w in self.params.reference if not low + _EDGE < w < high - _EDGE) or "none"

    def _lines(self, frame: Frame, rows: Raw, lines: SkyLines, low: float, high: float) -> _Lines | None:
        from qa.kernels import gaussians

        p = self.params
        lone = lone_lines(lines, low, high, reach=p.alone, share=p.share)
        lone = lone[lines.sigma[lone] < _EXACT]
        chosen = lone[brightest(lines.strength[lone], lines.wave[lone], _PARTS, p.lines)]
        wave = np.ascontiguousarray(lines.wave[chosen])
        out = np.empty((6, wave.size, rows.size))
        gaussians.in_spectra(frame.flux, frame.ivar, frame.mask, frame.wave, frame.sigma, rows, wave, p.half, out)
        light, moved, noise_light, noise_moved = (out[i].sum(axis=1) for i in (0, 1, 3, 4))
        seen = light > p.min_snr * np.sqrt(noise_light)
        if not seen.any():
            return None
        offset, error = moved[seen] / light[seen], np.sqrt(noise_moved[seen]) / light[seen]
        error = np.hypot(error, lines.sigma[chosen][seen])
        middle = np.median(offset)
        kept = np.abs(offset - middle) < np.maximum(_CLIP * error, _FLOOR)
        return _Lines(wave=wave[seen], offset=offset, error=error, kept=kept if kept.any() else np.ones(kept.shape, bool))


def _mean(found: _Lines, factor: Float64) -> tuple[float, float, float]:
    """Weighted mean of factor x offset of the kept lines, its error, and the root of chi2 a degree of freedom, by which the error is enlarged."""
    value, error = (factor * v for v in (found.offset, found.error))
    weight = np.where(found.kept, error**-2, 0.0)
    mean = float((weight * value).sum() / weight.sum())
    n = int(found.kept.sum())
    scale = math.sqrt(float((weight * (value - mean) ** 2).sum()) / (n - 1)) if n > 1 else 1.0
    return mean, max(scale, 1.0) / math.sqrt(float(weight.sum())), scale


def _far(found: _Lines) -> list[float]:
    """Lines that are not judged: their noise alone could carry them far."""
    return [round(float(w), 2) for w, e in zip(found.wave, found.error, strict=True) if e > _FLOOR]


def _plot(camera: str, found: _Lines, zero: float) -> Plot:
    wave = Axis(label="wavelength", unit="Angstrom")
    kept, rest = found.kept, ~found.kept
    level = Line(x=found.wave[[0, -1]], y=np.full(2, zero), label=f"mean {zero:+.4f} Angstrom")
    points = Scatter(x=found.wave[kept], y=found.offset[kept], c=found.error[kept], c_axis=Axis(label="error", unit="Angstrom"))
    layers: tuple[Line | Scatter, ...] = (points, level)
    if rest.any():
        layers = (*layers, Scatter(x=found.wave[rest], y=found.offset[rest], label="left out"))
    y = Axis(label="measured - vacuum", unit="Angstrom")
    panel = Panel(x=wave, y=y, layers=layers, title="Lines of the sky in the sky fibres", metric=ZERO.name)
    return Plot(name="sky_wavelengths", title=f"Zero of the wavelengths, camera {camera}", panels=(panel,), columns=1)
