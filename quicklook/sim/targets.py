"""What the fibres of a spectrograph look at, and their spectra above the atmosphere."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quicklook.sim.geometry import Layout, layout_of
from quicklook.sim.instrument import SimInstrument
from quicklook.sim.streams import Purpose, stream
from quicklook.sim.traces import Floats

AB_ZERO = 3.631e-20
"""f_nu of magnitude 0, erg/(s cm2 Hz) (Oke & Gunn 1983)."""
LIGHT_SPEED = 2.99792458e18
"""Angstrom per second."""
TARGET_BITS = {"LRG": 1 << 0, "ELG": 1 << 1, "QSO": 1 << 2, "SKY": 1 << 32, "STD": 1 << 33, "BAD": 0}
"""DESI_TARGET bits (desitarget's main survey)."""
BROKEN_FIBER = 1 << 2
"""Bit of FIBERSTATUS (desispec's fibermask)."""
FOCAL_RADIUS_MM = 400.0
_MAGNITUDES = {"STD": (16.5, 18.5), "LRG": (19.5, 21.7), "QSO": (19.5, 22.7), "ELG": (21.5, 23.3)}
_REDSHIFTS = {"LRG": (0.3, 1.0), "QSO": (0.8, 3.2), "ELG": (0.6, 1.6)}
# vacuum Angstrom at rest, equivalent width (Angstrom), Gaussian sigma (Angstrom)
_ELG_LINES = ((3727.09, 20.0), (3729.88, 27.0), (4862.68, 12.0), (4960.30, 8.0), (5008.24, 25.0), (6564.61, 60.0))
_QSO_LINES = ((1215.67, 70.0, 22.0), (1549.1, 25.0, 20.0), (1908.7, 20.0, 22.0), (2799.0, 30.0, 22.0), (4862.7, 40.0, 30.0))
_BALMER = (3971.2, 4102.9, 4341.7, 4862.7, 6564.6)
_ELG_SIGMA = 70.0 / 299792.458
"""Intrinsic width of emission lines, sigma over wavelength (70 km/s)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Targets:
    """Targets of one spectrograph, [nfibre]: the same for its three arms and for all exposures of a tile.

    `kind`: SKY, STD, ELG, LRG, QSO, or BAD for the dead fibre; `mag`: AB magnitude in all bands (99 where there is none);
    `z`: redshift; `temperature`: of standard stars, K.
    """

    fiber: NDArray[np.int32]
    kind: NDArray[np.str_]
    mag: Floats
    z: Floats
    temperature: Floats


def targets_of(instrument: SimInstrument, tileid: int) -> Targets:
    """Draw the targets of a tile for the spectrograph of this camera."""
    layout = instrument.layout
    rng = stream(instrument.seed, Purpose.TARGETS, instrument.spectrograph, tileid)
    nfibre = layout.nfibre
    kind = np.full(nfibre, "ELG", dtype="U3")
    order = rng.permutation(np.delete(np.arange(nfibre), layout.dead_fibre))
    start = 0
    for name, count in layout.kinds:
        kind[order[start : start + count]] = name
        start += count
    kind[layout.dead_fibre] = "BAD"
    mag, z = np.full(nfibre, 99.0), np.zeros(nfibre)
    for name in np.unique(kind):
        chosen, shot = kind == name, rng.uniform(size=(2, nfibre))
        if name in _MAGNITUDES:
            low, high = _MAGNITUDES[name]
            mag[chosen] = (low + (high - low) * shot[0])[chosen]
        if name in _REDSHIFTS:
            low, high = _REDSHIFTS[name]
            z[chosen] = (low + (high - low) * shot[1])[chosen]
    fiber = np.arange(500 * instrument.spectrograph, 500 * instrument.spectrograph + nfibre, dtype=np.int32)
    return Targets(fiber=fiber, kind=kind, mag=mag, z=z, temperature=rng.uniform(5800.0, 7500.0, nfibre))


def target_continuum(targets: Targets, wave: Floats) -> Floats:
    """f_lambda of the smooth part at `wave` [nfibre, n], 1e-17 erg/(s cm2 Angstrom), scaled to the AB magnitude."""
    out = np.zeros(wave.shape)
    for fibre, kind in enumerate(targets.kind):
        if kind in ("SKY", "BAD"):
            continue
        w = wave[fibre]
        shape = _shape(str(kind), w, targets.z[fibre], targets.temperature[fibre])
        out[fibre] = shape / np.median(shape) * ab_flux(targets.mag[fibre], w)
    return out


def target_lines(targets: Targets) -> tuple[Floats, Floats, Floats]:
    """Narrow emission lines: wavelength, flux (1e-17 erg/(s cm2)), sigma (Angstrom), each [nfibre, nline].

    The flux is zero where a target has none.
    """
    rest, width = np.array(_ELG_LINES).T
    elg = targets.kind == "ELG"
    wave = rest * (1.0 + targets.z[:, np.newaxis])
    flux = np.zeros(wave.shape)
    mag = np.broadcast_to(targets.mag[:, np.newaxis], wave.shape)
    flux[elg] = ab_flux(mag[elg], wave[elg]) * width * (1.0 + targets.z[elg, np.newaxis])
    return wave, flux, wave * _ELG_SIGMA


def ab_flux(mag: Floats | float, wave: Floats) -> Floats:
    """f_lambda of an AB magnitude, 1e-17 erg/(s cm2 Angstrom)."""
    flux: Floats = AB_ZERO * 10.0 ** (-0.4 * np.asarray(mag)) * LIGHT_SPEED / wave**2 / 1e-17
    return flux


def _shape(kind: str, wave: Floats, z: float, temperature: float) -> Floats:
    rest = wave / (1.0 + z)
    if kind == "STD":  # a black body with Balmer absorption, relative to a spectrum flat in f_nu
        shape = wave**-3.0 / np.expm1(1.438777e8 / (wave * temperature))
        for line in _BALMER:
            shape = shape * (1.0 - 0.45 / (1.0 + ((wave - line) / 7.0) ** 2))
        return shape
    if kind == "QSO":
        shape = (wave / 6000.0) ** 0.5
        for line, width, sigma in _QSO_LINES:
            shape = shape * (1.0 + width / (sigma * np.sqrt(2.0 * np.pi)) * np.exp(-0.5 * ((rest - line) / sigma) ** 2))
        return shape
    if kind == "LRG":  # the break at 4000 Angstrom
        return (0.35 + 0.65 / (1.0 + np.exp(-(rest - 4000.0) / 50.0))) * (wave / 6000.0) ** 1.5
    return np.ones_like(wave)


def fibermap_table(instrument: SimInstrument, targets: Targets, exptime: float) -> NDArray[np.void]:
    """Rows of the fibre map of one spectrograph: a structured array with columns named as in DESI's data model."""
    layout, n = instrument.layout, len(targets.fiber)
    rng = stream(instrument.seed, Purpose.TARGETS, instrument.spectrograph, 0, 1)
    table = np.zeros(n, dtype=_FIBERMAP_COLUMNS)
    fibre = np.arange(n)
    table["TARGETID"] = 39_000_000_000_000 + targets.fiber.astype(np.int64)
    table["FIBER"], table["PETAL_LOC"], table["DEVICE_LOC"] = targets.fiber, instrument.spectrograph, fibre
    table["LOCATION"] = 1000 * instrument.spectrograph + fibre
    table["FIBERSTATUS"] = np.where(targets.kind == "BAD", BROKEN_FIBER, 0)
    table["OBJTYPE"] = np.where(targets.kind == "BAD", "BAD", np.where(targets.kind == "SKY", "SKY", "TGT"))
    table["DESI_TARGET"] = [TARGET_BITS[k] for k in targets.kind]
    table["FA_TYPE"] = np.where(targets.kind == "STD", 3, np.where(targets.kind == "SKY", 4, 1))
    x, y = focal_plane(instrument.spectrograph, layout)
    table["FIBERASSIGN_X"] = table["FIBER_X"] = x
    table["FIBERASSIGN_Y"] = table["FIBER_Y"] = y
    table["TARGET_RA"] = table["FIBER_RA"] = 180.0 - x / 250.0
    table["TARGET_DEC"] = table["FIBER_DEC"] = 30.0 + y / 250.0
    nanomaggies = np.where(targets.mag < 90.0, 10.0 ** (-0.4 * (targets.mag - 22.5)), 0.0)
    for band in "GRZ":
        table[f"FLUX_{band}"] = nanomaggies
        table[f"FIBERFLUX_{band}"] = table[f"FIBERTOTFLUX_{band}"] = 0.7 * nanomaggies
    table["LAMBDA_REF"], table["EXPTIME"], table["EBV"] = 5400.0, exptime, rng.uniform(0.01, 0.05, n)
    return table


_COLUMNS = {
    "i8": ("TARGETID", "LOCATION", "DESI_TARGET", "BGS_TARGET", "MWS_TARGET", "SCND_TARGET"),
    "i4": ("FIBER", "FIBERSTATUS", "DEVICE_LOC"),
    "i2": ("PETAL_LOC",),
    "u1": ("FA_TYPE",),
    "S3": ("OBJTYPE",),
    "f8": ("TARGET_RA", "TARGET_DEC", "FIBER_RA", "FIBER_DEC", "FIBER_X", "FIBER_Y", "DELTA_X", "DELTA_Y", "EXPTIME"),
    "f4": (
        "FIBERASSIGN_X", "FIBERASSIGN_Y", "LAMBDA_REF", "EBV",
        *(prefix + band for prefix in ("FLUX_", "FIBERFLUX_", "FIBERTOTFLUX_") for band in "GRZ"),
    ),
}  # fmt: skip
_FIBERMAP_COLUMNS = np.dtype([(name, kind) for kind, names in _COLUMNS.items() for name in names])


def focal_plane(petal: int, layout: Layout) -> tuple[Floats, Floats]:
    """Millimetres on the focal plane: the fibres fill a wedge of 36 degrees out to 400 mm evenly."""
    fibre = np.arange(layout.nfibre)
    radius = FOCAL_RADIUS_MM * np.sqrt((fibre + 10.0) / (layout.nfibre + 20.0))
    angle = np.deg2rad(36.0 * (petal + (fibre * 0.6180339887) % 1.0))
    return radius * np.cos(angle), radius * np.sin(angle)


def fibre_throughput(instrument: SimInstrument, wave: Floats) -> Floats:
    """Throughput of each fibre relative to the mean of the live ones (the true fibre flat), at `wave` [nfibre or 1, n]."""
    full = layout_of(instrument.arm, "full")
    t = (2.0 * wave - full.wave_first - full.wave_last) / (full.wave_last - full.wave_first)
    c = instrument.hardware.throughput
    return c[:, :1] + c[:, 1:2] * t + c[:, 2:] * t**2
