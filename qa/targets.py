"""What a fibre map says of its targets, and what their spectra give: common to the QAs of targets."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from qa.values import row_medians
from quicklook.ccd.arrays import Float32, Float64, Raw
from quicklook.ccd.exposure import FiberMap
from quicklook.ccd.fiberstatus import known_bad
from quicklook.ccd.photometry import AB_FLUX, NANOMAGGIE_ZERO, PIVOTS, between_bands
from quicklook.ccd.spectra import Frame
from quicklook.core.errors import BadData, NotApplicable
from quicklook.core.plots import Axis, FocalPlane, Panel

CLASSES = ("ELG", "LRG", "QSO", "STD", "BGS", "MWS")
STANDARD = "STD"
_BITS = {"ELG": 1 << 1, "LRG": 1 << 0, "QSO": 1 << 2, "STD": (1 << 33) | (1 << 34) | (1 << 35), "BGS": 1 << 60, "MWS": 1 << 61}
"""DESI_TARGET: bits 33 to 35 are the faint, white-dwarf and bright standard stars (DESI data model, desi_mask)."""
_CALIBRATED = "1e-17"
_BAND_OF_ARM = {"b": "G", "r": "R", "z": "Z"}
_BLOCKS, _SHORTEST = 32, 10
"""Blocks of a spectrum, and samples of a block at least."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Catalogue:
    """The targets of a frame: `kind` [nfibre], class as text ("" for none, or a fibre known to be bad); `flux` [nfibre], nanomaggies in the band
    `band` of the camera's arm, NaN where there is none that is positive."""

    band: str
    kind: Raw
    flux: Float64

    def rows(self, *kinds: str) -> Raw:
        """Rows of the targets of some classes (any, where none is named) that have a magnitude."""
        return np.flatnonzero((np.isin(self.kind, kinds) if kinds else self.kind != "") & np.isfinite(self.flux))

    def marked(self, kind: str) -> int:
        """How many targets of a class there are, with or without a magnitude."""
        return int(np.count_nonzero(self.kind == kind))

    def why(self, kind: str, seen: int) -> str:
        """What keeps targets of a class from being measured, of which `seen` are, in words."""
        marked, with_flux = self.marked(kind), self.rows(kind).size
        if with_flux < marked:
            return f"{with_flux} of {marked} {kind} have a magnitude (FLUX_{self.band}), {seen} of them a usable spectrum"
        return f"{seen} of {marked} {kind} have a usable spectrum"


def band_of(camera: str) -> str:
    """The band of the catalogue (G, R, Z) for a camera, by its arm; R for others."""
    return _BAND_OF_ARM.get(camera[:1].lower(), "R")


def catalogue(frame: Frame) -> Catalogue:
    """What the fibre map says of the targets. Raises NotApplicable where there are none, BadData where it says neither class nor magnitude."""
    fibermap, band = frame.fibermap, band_of(frame.camera)
    targets = np.array(fibermap.objtype) == "TGT"
    if not targets.any():
        raise NotApplicable("the fibre map has no targets (OBJTYPE TGT)")
    absent = [name for name in ("DESI_TARGET", f"FLUX_{band}") if name not in fibermap.columns]
    if absent:
        raise BadData(f"the fibre map ({fibermap.source}) has {int(targets.sum())} targets and no column {', '.join(absent)}; look at its file")
    if not _integers(fibermap.columns["DESI_TARGET"])[targets].any():
        raise BadData(f"the fibre map ({fibermap.source}) has {int(targets.sum())} targets of no class at all (DESI_TARGET); look at its file")
    kind = classes_of(fibermap)
    kind[known_bad(fibermap)] = ""
    flux = np.asarray(fibermap.columns[f"FLUX_{band}"], np.float64)
    return Catalogue(band=band, kind=kind, flux=np.where(np.isfinite(flux) & (flux > 0), flux, np.nan))


def classes_of(fibermap: FiberMap) -> Raw:
    """Class of each fibre as text, "" where it has none; standard stars before anything else."""
    bits = fibermap.columns.get("DESI_TARGET")
    kind = np.full(len(fibermap.fiber), "", dtype="U3")
    if bits is None:
        return kind
    bits = _integers(bits)
    for name in reversed((STANDARD, "QSO", "LRG", "ELG", "BGS", "MWS")):
        kind[(bits & _BITS[name]) != 0] = name
    kind[np.array(fibermap.objtype) != "TGT"] = ""
    return kind


def _integers(column: Raw) -> Raw:
    """As int64; 0 where it is no number."""
    values = np.asarray(column)
    if values.dtype.kind == "f":
        values = np.where(np.isfinite(values), values, 0.0)
    return np.asarray(values.astype(np.int64))


def calibrated(frame: Frame) -> bool:
    """Whether the flux is one above the atmosphere."""
    return frame.unit.startswith(_CALIBRATED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """Of some fibres in blocks of wavelength [n, nblock]: mean S/N per sample, light relative to a reference with its error, whether a block counts.

    `wave` [nblock]: middles of the blocks, Angstrom.
    """

    wave: Float64
    snr: Float32
    light: Float32
    error: Float32
    good: Raw

    def median_snr(self) -> Float64:
        """S/N per sample [n]: the median over the blocks, so that neither lines nor cosmic rays count; NaN where fewer than half of them count."""
        return self._median(self.snr)

    def median_light(self) -> Float64:
        """Light [n], likewise."""
        return self._median(self.light)

    def light_error(self) -> Float64:
        """Error of `median_light` by noise [n]: of a median of m values of errors s it is sqrt(pi m / 2) / sum(1/s)."""
        weight = np.where(self.good & (self.error > 0), 1.0 / np.where(self.error > 0, self.error, 1.0), 0.0).sum(axis=1)
        number = np.sqrt(0.5 * math.pi * self.good.sum(axis=1))
        return np.asarray(np.divide(number, weight, out=np.full(weight.shape, np.nan), where=weight > 0))

    def _median(self, values: Float32) -> Float64:
        enough = self.good.sum(axis=1) * 2 >= self.good.shape[1]
        return np.asarray(np.where(enough, row_medians(values, self.good), np.nan))


def in_blocks(frame: Frame, rows: Raw) -> Blocks:
    """S/N and light per frequency of some fibres, nanomaggies where the flux is calibrated, in blocks of wavelength."""
    from qa.kernels import targets as kernel

    nwave = frame.flux.shape[1]
    nblock = max(1, min(_BLOCKS, nwave // _SHORTEST))
    snr, light, error = (np.empty((rows.size, nblock), np.float32) for _ in range(3))
    count = np.empty((rows.size, nblock), np.int32)
    kernel.blocks(frame.flux, frame.ivar, frame.mask, frame.wave, rows, snr, light, error, count)
    edges = np.arange(nblock + 1) * nwave // nblock
    middles = frame.wave[frame.wave.shape[0] // 2, (edges[:-1] + edges[1:] - 1) // 2]
    unit = np.float32(AB_FLUX / kernel.UNIT**2 * 10 ** (-0.4 * NANOMAGGIE_ZERO))
    light, error = np.asarray(light / unit, np.float32), np.asarray(error / unit, np.float32)
    return Blocks(wave=middles, snr=snr, light=light, error=error, good=count * 2 >= np.diff(edges))


def relative_light(frame: Frame, rows: Raw) -> Blocks:
    """As `in_blocks`, relative to the catalogue: its fluxes in several bands, with straight lines between them."""
    seen = in_blocks(frame, rows)
    columns = {b: np.asarray(frame.fibermap.columns[f"FLUX_{b}"], np.float64)[rows] for b in PIVOTS if f"FLUX_{b}" in frame.fibermap.columns}
    expected = between_bands(columns, seen.wave).astype(np.float32)
    return replace(seen, light=seen.light / expected, error=seen.error / expected)


def on_focal_plane(fibermap: FiberMap, rows: Raw, values: Float64, axis: Axis, title: str) -> tuple[Panel, ...]:
    """A panel of values at the places of some fibres; none where the fibre map has no places."""
    x, y = fibermap.columns.get("FIBERASSIGN_X"), fibermap.columns.get("FIBERASSIGN_Y")
    if x is None or y is None or not rows.size:
        return ()
    places = FocalPlane(x=np.asarray(x, np.float64)[rows], y=np.asarray(y, np.float64)[rows], c=np.asarray(values, np.float64), c_axis=axis)
    return (Panel(x=Axis(label="X", unit="mm"), y=Axis(label="Y", unit="mm"), layers=(places,), title=title),)
