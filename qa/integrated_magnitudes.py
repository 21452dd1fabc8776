"""Magnitudes of the calibrated spectra against those of the imaging."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from qa.targets import CLASSES, Catalogue, calibrated, catalogue, on_focal_plane, relative_light
from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.photometry import ab_magnitude
from quicklook.ccd.spectra import Frame
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Coord, Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_FAINTEST = 0.01
"""A spectrum with less than this part of the light of the catalogue is said to be 5 mag too faint."""
_SHOWN = 1.5
_PER_E = 2.5 / math.log(10)

FIBRE = MetricDef(
    "delta_mag", "mag", dims=("fiber",),
    doc="Magnitude of the spectrum of a fibre less that of the imaging; fibres without a magnitude, or too faint to tell, are left out.",
)  # fmt: skip
CLASS = MetricDef("flux_delta_mag", "mag", dims=("target",), doc="Median of delta_mag over the targets of a class.")
ERROR = MetricDef("flux_delta_mag_error", "mag", dims=("target",), doc="Error of flux_delta_mag by the scatter of its targets, and by their noise.")
SCATTER = MetricDef("delta_mag_scatter", "mag", doc="Robust scatter of delta_mag about the medians of the classes.")


class IntegratedMagnitudesParams(Params):
    """Parameters of `integrated_magnitudes`."""

    min_targets: int = Field(2, ge=1, description="with fewer targets a class is left out")
    min_snr: float = Field(5.0, gt=0.0, description="a target is left out if the light of the catalogue would stand out of the noise by less [sigma]")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """Of every target that tells: row, class, catalogue magnitude, delta_mag with its error by noise. `usable` [n]: rows with a usable spectrum."""

    row: Raw
    kind: Raw
    mag: Float64
    delta: Float64
    error: Float64
    usable: Raw


class IntegratedMagnitudes(MonitoringAlg[IntegratedMagnitudesParams]):
    """Compares the light of the calibrated spectra with the imaging.

    A median, not a sum through a filter: emission lines, cosmic rays and the noisy ends of an arm do not move it. Light that the fibre does not
    catch (extended targets) counts as missing.
    Formula: delta_mag = -2.5 lg(median over 32 blocks of wavelength of (mean flux per frequency / that of the catalogue)), mag; the catalogue's is
    that of FLUX_G, FLUX_R, FLUX_Z (AB nanomaggies) with straight lines between the bands in the logarithms of flux and wavelength, so that the
    colour of a target does not count. flux_delta_mag = median over a class of n targets, flux_delta_mag_error = max(1.4826 MAD, median noise)
    sqrt(pi / (2 n)); delta_mag_scatter = 1.4826 x median of |delta_mag - median of its class|.
    Source: it stands for DELTAMAG_TGT (Integrate_Spec) of DESI's quick-look. AB magnitudes: Oke & Gunn 1983, ApJ 266, 713; bands: Flaugher et al.
    2015, AJ 150, 150.
    """

    name = "integrated_magnitudes"
    group = "Spectra"
    metrics = (FIBRE, CLASS, ERROR, SCATTER)

    def measure(self, frame: Frame) -> Measures:
        """Of calibrated spectra. Raises NotApplicable for others and where there are no targets, BadData where the fibre map does not tell."""
        if not calibrated(frame):
            raise NotApplicable("the spectra are not flux-calibrated")
        known = catalogue(frame)
        kinds = [k for k in CLASSES if known.marked(k) >= self.params.min_targets]
        if not kinds:
            raise NotApplicable(f"the fibre map has fewer than {self.params.min_targets} targets of any class")
        seen = self._seen(frame, known)
        centre, error = self._classes(known, seen, kinds)
        off = np.concatenate([seen.delta[seen.kind == k] - middle for k, middle in zip(kinds, centre.values, strict=True)])
        off = off[np.isfinite(off)]
        few = not_applicable(SCATTER.name, "too few targets tell")
        scatter = measured(SCATTER.name, 1.4826 * float(np.median(np.abs(off)))) if off.size > 2 else few
        fibres = tuple(int(f) for f in np.asarray(frame.fibermap.fiber)[seen.row])
        each = measured(FIBRE.name, seen.delta, fiber=fibres) if fibres else not_applicable(FIBRE.name, "no target is bright enough to tell")
        facts: dict[str, str | int | float | bool | None] = {"band": known.band, "targets": int(seen.row.size)}
        return Measures((each, centre, error, scatter), plots=(_plot(frame, known.band, seen, kinds),), facts=facts)

    def _seen(self, frame: Frame, known: Catalogue) -> _Seen:
        """What is too faint is told by the catalogue, not by what is measured, which would favour what is too bright."""
        rows = known.rows()
        light = relative_light(frame, rows)
        ratio, error = light.median_light(), light.light_error()
        usable = np.isfinite(ratio) & np.isfinite(error)
        tells = usable & (error * self.params.min_snr < 1.0)
        ratio = np.maximum(ratio[tells], _FAINTEST)
        delta = -2.5 * np.log10(ratio)
        own = rows[tells]
        return _Seen(
            row=own, kind=known.kind[own], mag=ab_magnitude(known.flux[own]), delta=delta, error=_PER_E * error[tells] / ratio, usable=rows[usable]
        )

    def _classes(self, known: Catalogue, seen: _Seen, kinds: Sequence[str]) -> tuple[Measured, Measured]:
        """Median and its error by class; NaN for a class whose spectra cannot be used, or that is too faint, which is not judged."""
        values, errors = [], []
        remarks: dict[Coord | tuple[Coord, ...], str] = {}
        faint = []
        for kind in kinds:
            own = seen.kind == kind
            n = int(np.count_nonzero(own))
            if n >= self.params.min_targets:
                delta = seen.delta[own]
                spread = max(1.4826 * float(np.median(np.abs(delta - np.median(delta)))), float(np.median(seen.error[own])))
                values.append(float(np.median(delta)))
                errors.append(spread * math.sqrt(0.5 * math.pi / n))
                continue
            usable = int(np.count_nonzero(known.kind[seen.usable] == kind))
            values.append(math.nan)
            errors.append(math.nan)
            remarks[kind] = known.why(kind, usable)
            if usable >= self.params.min_targets:
                faint.append(kind)
                remarks[kind] = f"{n} of {usable} {kind} are bright enough to tell"
        return (
            measured(CLASS.name, values, target=kinds, remarks=remarks, left_out=faint),
            measured(ERROR.name, errors, target=kinds, remarks=remarks, left_out=faint),
        )


def _plot(frame: Frame, band: str, seen: _Seen, kinds: Sequence[str]) -> Plot:
    shown = np.clip(seen.delta, -_SHOWN, _SHOWN)
    layers = tuple(Scatter(x=seen.mag[seen.kind == k], y=shown[seen.kind == k], label=k) for k in kinds if (seen.kind == k).any())
    label = "spectrum - imaging"
    axes = Axis(label=f"magnitude {band}", unit="mag"), Axis(label=label, unit="mag")
    panels = [Panel(x=axes[0], y=axes[1], layers=layers, title="Magnitudes against the imaging", metric=CLASS.name)]
    panels += on_focal_plane(frame.fibermap, seen.row, shown, Axis(label=label, unit="mag"), "On the focal plane")
    return Plot(name="integrated_magnitudes", title=f"Magnitudes, camera {frame.camera}", panels=tuple(panels), columns=len(panels))
