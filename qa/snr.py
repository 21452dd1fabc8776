"""Signal-to-noise of the targets against their magnitudes, and their flux against what the catalogue says."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.spectra import Frame
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Coord, Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, FocalPlane, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

CLASSES = ("ELG", "LRG", "QSO", "STD", "BGS", "MWS")
_BITS = {"ELG": 1 << 1, "LRG": 1 << 0, "QSO": 1 << 2, "STD": (1 << 33) | (1 << 34) | (1 << 35), "BGS": 1 << 60, "MWS": 1 << 61}
"""DESI_TARGET: bits 33 to 35 are the faint, white-dwarf and bright standard stars (DESI data model, desi_mask)."""
_CALIBRATED = "1e-17"
_AB_FLUX = 3.631e-20 * 2.99792458e18 * 1e17
"""Flux density of magnitude 0 (AB), in 1e-17 erg/(s cm2 Angstrom), times the square of the wavelength in Angstrom."""
_MIN_STARS = 2
_FAR = 2.5
_SAMPLES = 1024

FIDUCIAL = MetricDef(
    "fiducial_snr", "", dims=("target",), doc="Median S/N per sample of a target of the fiducial magnitude, from a fit to the class."
)
DELTA = MetricDef("flux_delta_mag", "mag", dims=("target",), doc="Median difference of the magnitude of the spectra from that of the catalogue.")
SCATTER = MetricDef("snr_scatter", "", doc="Robust scatter of the S/N about the fits, relative to them.")


class SnrParams(Params):
    """Parameters of `snr`."""

    fiducial_mag: float = Field(22.0, gt=10.0, lt=30.0, description="magnitude at which the S/N is stated, in the band of the arm [mag]")
    bands: dict[str, str] = Field({"b": "G", "r": "R", "z": "Z"}, description="band of the catalogue by the first letter of the camera")
    default_band: str = Field("R", description="band of the catalogue for cameras with another letter")
    min_targets: int = Field(3, ge=1, description="with fewer targets a class is left out")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Targets:
    """Row, class, catalogue flux (nanomaggies), S/N and magnitude of the spectrum, of every target with a usable spectrum."""

    row: Raw
    kind: Raw
    flux: Float64
    snr: Float64
    mag: Float64


class Snr(MonitoringAlg[SnrParams]):
    """Measures the S/N of the targets, and states it for one magnitude; compares their flux with the catalogue."""

    name = "snr"
    group = "Spectra"
    metrics = (FIDUCIAL, DELTA, SCATTER)

    def measure(self, frame: Frame) -> Measures:
        """Of sky-subtracted, best of calibrated spectra. Raises NotApplicable where there are no targets with magnitudes."""
        band = self.params.bands.get(frame.camera[:1].lower(), self.params.default_band)
        targets = _targets(frame, band)
        kinds = [k for k in CLASSES if np.count_nonzero(targets.kind == k) >= self.params.min_targets]
        if not kinds:
            raise NotApplicable(f"fewer than {self.params.min_targets} targets of any class have a magnitude ({band}) and a usable spectrum")
        fits = {k: _fit(targets.flux[targets.kind == k], targets.snr[targets.kind == k]) for k in kinds}
        fiducial = self._fiducial(targets, fits)
        calibrated = frame.unit.startswith(_CALIBRATED)
        delta = _deltas(targets, kinds) if calibrated else not_applicable(DELTA.name, "the spectra are not flux-calibrated")
        scatter = _scatter(targets, fits)
        facts: dict[str, str | int | float | bool | None] = {"band": band, "fiducial_mag": self.params.fiducial_mag, "targets": int(targets.row.size)}
        return Measures((fiducial, delta, scatter), plots=(_plot(frame, targets, fits, band),), facts=facts)

    def _fiducial(self, targets: _Targets, fits: dict[str, tuple[float, float]]) -> Measured:
        """S/N at the fiducial magnitude; a class that does not come within a magnitude of it is represented by the fit to all targets."""
        flux, common = 10 ** (-0.4 * (self.params.fiducial_mag - 22.5)), _fit(targets.flux, targets.snr)
        values: dict[str, float] = {}
        remarks: dict[Coord | tuple[Coord, ...], str] = {}
        for kind, fit in fits.items():
            faintest = float(targets.flux[targets.kind == kind].min())
            far = faintest > _FAR * flux
            value = float(_curve(np.array([flux]), common if far else fit)[0])
            values[kind] = value if math.isfinite(value) else math.nan
            if not math.isfinite(value):
                remarks[kind] = "the S/N of the targets does not follow their flux"
            elif far:
                remarks[kind] = f"from targets of all classes: the faintest {kind} has magnitude {22.5 - 2.5 * math.log10(faintest):.1f}"
        return measured(FIDUCIAL.name, list(values.values()), target=list(values), remarks=remarks)


def classes_of(fibermap: FiberMap) -> Raw:
    """Class of each fibre as text, "" where it has none; standard stars before anything else."""
    bits = fibermap.columns.get("DESI_TARGET")
    kind = np.full(len(fibermap.fiber), "", dtype="U3")
    if bits is None:
        return kind
    bits = np.asarray(bits).astype(np.int64)
    for name in reversed(("STD", "QSO", "LRG", "ELG", "BGS", "MWS")):
        kind[(bits & _BITS[name]) != 0] = name
    kind[[t != "TGT" for t in fibermap.objtype]] = ""
    return kind


def _targets(frame: Frame, band: str) -> _Targets:
    catalogue = frame.fibermap.columns.get(f"FLUX_{band}")
    if catalogue is None:
        raise NotApplicable(f"the fibre map has no column FLUX_{band}")
    kind, flux = classes_of(frame.fibermap), np.asarray(catalogue, np.float64)
    rows = np.flatnonzero((kind != "") & np.isfinite(flux) & (flux > 0))
    step = max(1, frame.flux.shape[1] // _SAMPLES)
    f, w = frame.flux[rows, ::step], frame.ivar[rows, ::step]
    good = (w > 0) & (frame.mask[rows, ::step] == 0) & np.isfinite(f) & np.isfinite(w)
    calibrated = frame.unit.startswith(_CALIBRATED)
    snr, mag = np.full(rows.size, np.nan), np.full(rows.size, np.nan)
    for i, row in enumerate(rows):
        use = good[i]
        if np.count_nonzero(use) >= 20:
            snr[i] = np.median(f[i, use] * np.sqrt(w[i, use]))
            mag[i] = _magnitude(f[i, use], frame.wave[row, ::step][use]) if calibrated else math.nan
    seen = np.isfinite(snr)
    return _Targets(row=rows[seen], kind=kind[rows][seen], flux=flux[rows][seen], snr=snr[seen], mag=mag[seen])


def _magnitude(flux: Raw, wave: Float64) -> float:
    """AB magnitude of the median of a spectrum over the flux density of magnitude 0; NaN where that is not positive."""
    ratio = float(np.median(flux * wave * wave)) / _AB_FLUX
    return -2.5 * math.log10(ratio) if ratio > 0 else math.nan


def _curve(flux: Float64, fit: tuple[float, float]) -> Float64:
    """S/N of a target: a f / sqrt(a f b + 1), a its S/N in the noise of sky and read-out, b what its own photons add to it."""
    a, b = fit
    return np.asarray(a * flux / np.sqrt(1.0 + np.maximum(b * flux, 0.0)))


def _fit(flux: Float64, snr: Float64) -> tuple[float, float]:
    """The two numbers of `_curve`: (f/snr)^2 is a straight line in f; robust, by repeated weighted least squares. NaN where there is no fit."""
    good = snr > 0.02 * max(float(np.median(snr)), 1e-9)
    if np.count_nonzero(good) < 2 or not np.median(snr) > 0:
        return math.nan, math.nan
    f, y = flux[good], (flux[good] / snr[good]) ** 2
    weight = np.ones(f.size)
    c0, c1 = float(np.median(y)), 0.0
    for _ in range(8):
        model = np.maximum(c0 + c1 * f, 1e-3 * float(np.median(y)))
        w = weight / model
        if f.size >= 4 and np.ptp(f) > 0.3 * f.mean():
            c1, c0 = np.polyfit(f, y, 1, w=w)
            if c1 < 0:
                c0, c1 = float(np.average(y, weights=w**2)), 0.0
            elif c0 <= 0:
                c0, c1 = 1e-6 * float(np.median(y)), float(np.average(y / f, weights=(w * f) ** 2))
        else:
            c0, c1 = float(np.median(y)), 0.0
        off = np.abs(y / np.maximum(c0 + c1 * f, 1e-9) - 1)
        weight = 1.0 / np.maximum(1.0, off / max(1.5 * float(np.median(off)), 1e-9))
    return 1.0 / math.sqrt(c0), c1 / c0


def _deltas(targets: _Targets, kinds: list[str]) -> Measured:
    values: list[float] = []
    remarks: dict[Coord | tuple[Coord, ...], str] = {}
    for kind in kinds:
        use = (targets.kind == kind) & np.isfinite(targets.mag)
        if np.count_nonzero(use) >= _MIN_STARS:
            values.append(float(np.median(targets.mag[use] - (22.5 - 2.5 * np.log10(targets.flux[use])))))
        else:
            values.append(math.nan)
            remarks[kind] = "fewer than two of these spectra are positive"
    return measured(DELTA.name, values, target=kinds, remarks=remarks)


def _scatter(targets: _Targets, fits: dict[str, tuple[float, float]]) -> Measured:
    off = np.concatenate([targets.snr[targets.kind == k] / _curve(targets.flux[targets.kind == k], fit) - 1 for k, fit in fits.items()])
    off = off[np.isfinite(off)]
    if off.size < 3:
        return measured(SCATTER.name, math.nan, remarks={(): "no fit"})
    return measured(SCATTER.name, float(1.4826 * np.median(np.abs(off - np.median(off)))))


def _plot(frame: Frame, targets: _Targets, fits: dict[str, tuple[float, float]], band: str) -> Plot:
    layers: list[Scatter | Line] = []
    off = np.full(targets.row.size, np.nan)
    for kind, fit in fits.items():
        use = (targets.kind == kind) & (targets.snr > 0)
        mag = 22.5 - 2.5 * np.log10(targets.flux[use])
        layers.append(Scatter(x=mag, y=targets.snr[use], label=kind))
        if use.any() and math.isfinite(fit[0]):
            grid = np.linspace(float(mag.min()), float(mag.max()), 40)
            layers.append(Line(x=grid, y=_curve(10 ** (-0.4 * (grid - 22.5)), fit), label=f"fit {kind}"))
            off[use] = targets.snr[use] / _curve(targets.flux[use], fit) - 1
    axes = Axis(label=f"magnitude {band}", unit="mag"), Axis(label="S/N of a sample", log=True)
    panels = [Panel(x=axes[0], y=axes[1], layers=tuple(layers), title="S/N against magnitude")]
    x, y = frame.fibermap.columns.get("FIBERASSIGN_X"), frame.fibermap.columns.get("FIBERASSIGN_Y")
    seen = np.isfinite(off)
    if x is not None and y is not None and seen.any():
        rows = targets.row[seen]
        places = FocalPlane(x=np.asarray(x, np.float64)[rows], y=np.asarray(y, np.float64)[rows], c=off[seen], c_axis=Axis(label="S/N / fit - 1"))
        panels.append(Panel(x=Axis(label="X", unit="mm"), y=Axis(label="Y", unit="mm"), layers=(places,), title="Residuals on the focal plane"))
    return Plot(name="snr", title=f"S/N, camera {frame.camera}", panels=tuple(panels), columns=2)
