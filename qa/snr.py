"""Signal-to-noise of the targets against their magnitudes, and their flux against what the catalogue says."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from qa.values import row_medians
from quicklook.ccd.arrays import Float32, Float64, Raw
from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.fiberstatus import known_bad
from quicklook.ccd.photometry import AB_FLUX
from quicklook.ccd.spectra import Frame
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.metrics import Coord, Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, FocalPlane, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

CLASSES = ("ELG", "LRG", "QSO", "STD", "BGS", "MWS")
_BITS = {"ELG": 1 << 1, "LRG": 1 << 0, "QSO": 1 << 2, "STD": (1 << 33) | (1 << 34) | (1 << 35), "BGS": 1 << 60, "MWS": 1 << 61}
"""DESI_TARGET: bits 33 to 35 are the faint, white-dwarf and bright standard stars (DESI data model, desi_mask)."""
_CALIBRATED = "1e-17"
_MIN_STARS = 2
_FAR = 2.5
_SAMPLES, _ENOUGH = 1024, 20

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
    """Row, class, catalogue flux (nanomaggies), S/N and magnitude of the spectrum, of every target with a usable spectrum.

    `marked`: how many targets the fibre map has of each class; `why`, by class, what keeps the others from being measured.
    """

    row: Raw
    kind: Raw
    flux: Float64
    snr: Float64
    mag: Float64
    marked: Mapping[str, int]
    why: Mapping[str, str]

    def enough(self, kind: str, least: int) -> bool:
        return int(np.count_nonzero(self.kind == kind)) >= least


class Snr(MonitoringAlg[SnrParams]):
    """Measures the S/N of the targets, and states it for one magnitude; compares their flux with the catalogue."""

    name = "snr"
    group = "Spectra"
    metrics = (FIDUCIAL, DELTA, SCATTER)

    def measure(self, frame: Frame) -> Measures:
        """Of sky-subtracted, best of calibrated spectra.

        A class of which the fibre map has targets, but too few with a magnitude and a usable spectrum, is NaN and says so. Raises NotApplicable
        where there are no targets of a known class, BadData where the fibre map does not say which classes or magnitudes its targets have.
        """
        band = self.params.bands.get(frame.camera[:1].lower(), self.params.default_band)
        targets = _targets(frame, band)
        kinds = [k for k in CLASSES if targets.marked.get(k, 0) >= self.params.min_targets]
        if not kinds:
            raise NotApplicable(f"the fibre map has fewer than {self.params.min_targets} targets of any class")
        seen = [k for k in kinds if targets.enough(k, self.params.min_targets)]
        fits = {k: _fit(targets.flux[targets.kind == k], targets.snr[targets.kind == k]) for k in seen}
        fiducial = self._fiducial(targets, fits, kinds)
        calibrated = frame.unit.startswith(_CALIBRATED)
        delta = _deltas(targets, kinds) if calibrated else not_applicable(DELTA.name, "the spectra are not flux-calibrated")
        scatter = _scatter(targets, fits)
        facts: dict[str, str | int | float | bool | None] = {"band": band, "fiducial_mag": self.params.fiducial_mag, "targets": int(targets.row.size)}
        return Measures((fiducial, delta, scatter), plots=(_plot(frame, targets, fits, band),), facts=facts)

    def _fiducial(self, targets: _Targets, fits: dict[str, tuple[float, float]], kinds: list[str]) -> Measured:
        """S/N at the fiducial magnitude; a class that does not come within a magnitude of it is represented by the fit to all targets."""
        flux, common = 10 ** (-0.4 * (self.params.fiducial_mag - 22.5)), _fit(targets.flux, targets.snr)
        values: dict[str, float] = dict.fromkeys(kinds, math.nan)
        remarks: dict[Coord | tuple[Coord, ...], str] = {k: targets.why[k] for k in kinds if k not in fits}
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
    bits = _bits(bits)
    for name in reversed(("STD", "QSO", "LRG", "ELG", "BGS", "MWS")):
        kind[(bits & _BITS[name]) != 0] = name
    kind[[t != "TGT" for t in fibermap.objtype]] = ""
    return kind


def _bits(column: Raw) -> Raw:
    """As int64; 0 where it is no number."""
    values = np.asarray(column)
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, 0.0)
    return np.asarray(values.astype(np.int64))


def _catalogue(frame: Frame, band: str) -> Float64:
    """Flux of the catalogue, nanomaggies [nfibre]. Raises NotApplicable where there are no targets, BadData where the fibre map does not tell."""
    fibermap = frame.fibermap
    targets = np.array([t == "TGT" for t in fibermap.objtype])
    if not targets.any():
        raise NotApplicable("the fibre map has no targets (OBJTYPE TGT)")
    absent = [name for name in ("DESI_TARGET", f"FLUX_{band}") if name not in fibermap.columns]
    if absent:
        raise BadData(f"the fibre map ({fibermap.source}) has {int(targets.sum())} targets and no column {', '.join(absent)}; look at its file")
    if not _bits(fibermap.columns["DESI_TARGET"])[targets].any():
        raise BadData(f"the fibre map ({fibermap.source}) has {int(targets.sum())} targets of no class at all (DESI_TARGET); look at its file")
    return np.asarray(fibermap.columns[f"FLUX_{band}"], np.float64)


def _targets(frame: Frame, band: str) -> _Targets:
    flux, kind = _catalogue(frame, band), classes_of(frame.fibermap)
    kind[known_bad(frame.fibermap)] = ""
    bright = np.isfinite(flux) & (flux > 0)
    rows = np.flatnonzero((kind != "") & bright)
    step = max(1, frame.flux.shape[1] // _SAMPLES)
    f, w = frame.flux[rows, ::step], frame.ivar[rows, ::step]
    good = (w > 0) & (frame.mask[rows, ::step] == 0) & np.isfinite(f) & np.isfinite(w)
    f, w = np.where(good, f, np.float32(0)), np.where(good, w, np.float32(0))
    snr = np.where(np.count_nonzero(good, axis=1) >= _ENOUGH, row_medians(f * np.sqrt(w), good), np.nan)
    calibrated = frame.unit.startswith(_CALIBRATED)
    mag = _magnitudes(f, frame.wave[rows, ::step], good) if calibrated else np.full(rows.size, np.nan)
    seen = np.isfinite(snr)
    marked = {k: int(np.count_nonzero(kind == k)) for k in CLASSES}
    with_flux = {k: int(np.count_nonzero(bright & (kind == k))) for k in CLASSES}
    why = {k: _why(k, marked[k], with_flux[k], int(np.count_nonzero(kind[rows][seen] == k)), band) for k in CLASSES}
    return _Targets(row=rows[seen], kind=kind[rows][seen], flux=flux[rows][seen], snr=snr[seen], mag=mag[seen], marked=marked, why=why)


def _why(kind: str, marked: int, with_flux: int, seen: int, band: str) -> str:
    """What keeps targets of a class from being measured, in words."""
    if with_flux < marked:
        return f"{with_flux} of {marked} {kind} have a magnitude (FLUX_{band}), {seen} of them a usable spectrum"
    return f"{seen} of {marked} {kind} have a usable spectrum"


def _magnitudes(flux: Float32, wave: Float64, good: Raw) -> Float64:
    """AB magnitude of the median of each spectrum over the flux density of magnitude 0; NaN where that is not positive."""
    ratio = row_medians(flux * np.square(wave.astype(np.float32)), good) / AB_FLUX
    return np.asarray(-2.5 * np.log10(ratio, out=np.full(ratio.shape, np.nan), where=ratio > 0))


def _curve(flux: Float64, fit: tuple[float, float]) -> Float64:
    """S/N of a target: a f / sqrt(a f b + 1), a its S/N in the noise of sky and read-out, b what its own photons add to it."""
    a, b = fit
    return np.asarray(a * flux / np.sqrt(1.0 + np.maximum(b * flux, 0.0)))


def _fit(flux: Float64, snr: Float64) -> tuple[float, float]:
    """The two numbers of `_curve`: (f/snr)^2 is a straight line in f; robust, by repeated weighted least squares. NaN where there is no fit."""
    if snr.size < 2:
        return math.nan, math.nan
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
            few = np.count_nonzero(targets.kind == kind) < _MIN_STARS
            remarks[kind] = targets.why[kind] if few else "fewer than two of these spectra are positive"
    return measured(DELTA.name, values, target=kinds, remarks=remarks)


def _scatter(targets: _Targets, fits: dict[str, tuple[float, float]]) -> Measured:
    off = np.concatenate(
        [np.zeros(0), *(targets.snr[targets.kind == k] / _curve(targets.flux[targets.kind == k], fit) - 1 for k, fit in fits.items())]
    )
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
