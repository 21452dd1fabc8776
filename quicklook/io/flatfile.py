"""Fibre flats and flux calibrations on disk, in the DESI data model."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from quicklook.ccd.arrays import Float32, Float64, Raw
from quicklook.ccd.exposure import Exposure, FiberMap
from quicklook.ccd.spectra import FiberFlat, FluxCalib
from quicklook.core.errors import BadData
from quicklook.io.atomic import atomic
from quicklook.io.fitswrite import Card, cards_of, write_image_hdu
from quicklook.io.hdus import Hdus
from quicklook.io.headercards import exposure_cards
from quicklook.io.spectrafile import Provenance, put_rows_of
from quicklook.io.tablefile import write_table_hdu

MAX_LOST = 0.1
"""Fraction of the samples that may be no numbers without being masked: the ends of spectra; where more are, something failed when it was made."""


def read_fiberflat(path: str | Path) -> FiberFlat:
    """A fibre flat: FIBERFLAT, IVAR, MASK [nfibre, nwave], MEANSPEC, WAVELENGTH [nwave] or [nfibre, nwave], optional FIBERMAP.

    Where a value is not finite its ivar is 0 and the value 1. Fibres without a FIBERMAP are numbered from FIBERMIN or 0.
    Raises BadData and as `quicklook.io.fitsfile.inspect`.
    """
    hdus = Hdus(path)
    flat = hdus.array("FIBERFLAT", np.float32)
    ivar = _plane(hdus, "IVAR", np.float32, flat.shape)
    mask = _plane(hdus, "MASK", np.uint32, flat.shape) if hdus.has("MASK") else np.zeros(flat.shape, np.uint32)
    good = np.isfinite(flat) & np.isfinite(ivar)
    if not good.any():
        raise BadData(f"{hdus.path.name} holds no finite fibre flat")
    _check_lost(hdus, ~good & (mask == 0) & ~(ivar <= 0))
    flat[~good], ivar[~good] = 1.0, 0.0
    wave = rising_waves(hdus, (flat.shape[1:], flat.shape))
    mean = hdus.array("MEANSPEC", np.float32, ndim=(1,)) if hdus.has("MEANSPEC") else np.ones(flat.shape[1], np.float32)
    return FiberFlat(flat=flat, ivar=ivar, mask=mask, wave=wave, meanspec=mean, fiber=_fibres(hdus, len(flat)))


def _check_lost(hdus: Hdus, lost: Raw) -> None:
    """Raises BadData where too many values are no numbers although they are stated to be good."""
    if (share := float(lost.mean())) > MAX_LOST:
        raise BadData(f"{hdus.path.name}: {100 * share:.3g} % of its values are no numbers and not masked (at most {100 * MAX_LOST:g} % may be)")


def _plane(hdus: Hdus, name: str, dtype: Any, shape: tuple[int, ...]) -> Raw:
    """An image of that shape. Raises BadData where it has another."""
    values = hdus.array(name, dtype, ndim=(len(shape),))
    if values.shape != shape:
        raise BadData(f"{hdus.path.name}, {name}: is {_size(values.shape)}, the values are {_size(shape)}")
    return values


def _size(shape: tuple[int, ...]) -> str:
    return " x ".join(str(n) for n in shape)


def rising_waves(hdus: Hdus, shapes: tuple[tuple[int, ...], ...]) -> Float64:
    """HDU WAVELENGTH, Angstrom, of one of these shapes. Raises BadData: another shape, values that are not finite, or do not rise."""
    wave = hdus.array("WAVELENGTH", np.float64, ndim=tuple(len(s) for s in shapes))
    if wave.shape not in shapes:
        raise BadData(f"{hdus.path.name}, WAVELENGTH: is {_size(wave.shape)}, it must be {' or '.join(_size(s) for s in shapes)}")
    if not np.isfinite(wave).all() or not (np.diff(wave, axis=-1) > 0).all():
        at = np.argwhere(~np.isfinite(wave) | ~(np.diff(wave, axis=-1, prepend=-np.inf) > 0))[0]
        place = ", ".join(str(i) for i in at)
        raise BadData(f"{hdus.path.name}, WAVELENGTH: must be numbers that rise; sample {place} is {wave[tuple(at)]:g} Angstrom")
    return np.asarray(wave)


def _fibres(hdus: Hdus, n: int) -> Raw:
    if hdus.has("FIBERMAP"):
        fiber = hdus.table("FIBERMAP").get("FIBER")
        if fiber is not None and len(fiber) == n:
            return np.asarray(fiber, np.int32)
    first = hdus.card("FIBERMIN", 0)
    return np.arange(n, dtype=np.int32) + np.int32(first if isinstance(first, int) else 0)


def write_fiberflat(
    path: str | Path,
    flat: FiberFlat,
    exposure: Exposure,
    camera: str,
    provenance: Provenance | None = None,
    *,
    fibermap: FiberMap | None = None,
    sync: bool = True,
) -> None:
    """Write a fibre flat as `read_fiberflat` reads it. Without a fibre map that has its fibres FIBERMAP holds their numbers alone."""
    with atomic(path, sync=sync) as f:
        put_fiberflat(f, flat, [*exposure_cards(exposure, camera), *cards_of(provenance or {})], fibermap)


def put_fiberflat(f: BinaryIO, flat: FiberFlat, more: Iterable[Card], fibermap: FiberMap | None = None) -> None:
    """The HDUs of a fibre flat, see `write_fiberflat`; `more` are cards of the first."""
    write_image_hdu(f, flat.flat, name="FIBERFLAT", cards=[("BUNIT", "", "relative"), *more], primary=True)
    write_image_hdu(f, flat.ivar, name="IVAR", cards=[("BUNIT", "", "1/relative**2")])
    write_image_hdu(f, flat.mask, name="MASK")
    write_image_hdu(f, flat.meanspec, name="MEANSPEC", cards=[("BUNIT", "electron/Angstrom")])
    write_image_hdu(f, flat.wave, name="WAVELENGTH", cards=[("BUNIT", "Angstrom")])
    put_rows_of(f, flat.fiber, fibermap)


def read_fluxcalib(path: str | Path) -> FluxCalib:
    """A flux calibration, electron per 1e-17 erg/cm2: an average one [nwave] with ATERM (PAIRMASS) and STERM (PSEEING), or one of each fibre.

    One of each fibre whose unit (BUNIT) counts seconds already holds the exposure time; samples that are masked or have no ivar are 0 in it, and
    what is divided by 0 is masked. Raises BadData and as `quicklook.io.fitsfile.inspect`.
    """
    hdus = Hdus(path)
    calib = hdus.array(0, np.float32, ndim=(1, 2))
    if not np.isfinite(calib).any():
        raise BadData(f"{hdus.path.name} holds no finite flux calibration")
    _check_lost(hdus, ~np.isfinite(calib) & (~_unusable(hdus, calib) if calib.ndim == 2 else True))
    calib[~np.isfinite(calib)] = 0.0
    wave = rising_waves(hdus, (calib.shape[-1:],))
    if calib.ndim == 2:
        calib[_unusable(hdus, calib)] = 0.0
        timed = re.search(r"\bs\b", str(hdus.card("BUNIT", 0) or "").lower()) is not None
        return FluxCalib(calib=calib, wave=wave, fiber=_fibres(hdus, len(calib)), times_exptime=timed)
    airmass, seeing = hdus.first(("ATERM", "ATMOSPHERIC_EXTINCTION")), hdus.first(("STERM", "SEEING_TERM"))
    return FluxCalib(
        calib=calib,
        wave=wave,
        aterm=_plane(hdus, airmass, np.float32, calib.shape) if airmass else None,
        sterm=_plane(hdus, seeing, np.float32, calib.shape) if seeing else None,
        ivar=_average_ivar(hdus, calib),
        pairmass=_pivot(hdus, airmass, "PAIRMASS", 1.0),
        pseeing=_pivot(hdus, seeing, "PSEEING", 1.1),
    )


def _average_ivar(hdus: Hdus, calib: Float32) -> Float32 | None:
    """ivar of an average calibration, where the file has one of its shape."""
    info = hdus.structure.find("IVAR")
    return hdus.array("IVAR", np.float32, ndim=(1,)) if info is not None and info.shape == calib.shape else None


def _unusable(hdus: Hdus, calib: Float32) -> Raw:
    bad = np.zeros(calib.shape, bool)
    if hdus.has("MASK"):
        bad |= _plane(hdus, "MASK", np.uint32, calib.shape) != 0
    if hdus.has("IVAR"):
        bad |= ~(_plane(hdus, "IVAR", np.float32, calib.shape) > 0)
    return bad


def _pivot(hdus: Hdus, name: str | None, key: str, default: float) -> float:
    value = hdus.card(key, name, 0) if name else None
    return float(value) if isinstance(value, int | float) else default


_CALIB_UNITS = {False: "10**+17 cm2 electron / erg", True: "10**+17 cm2 electron s / erg"}


def put_fluxcalib(f: BinaryIO, flux: FluxCalib, more: Iterable[Card]) -> None:
    """The HDUs of a flux calibration as `read_fluxcalib` reads them; ATERM and STERM where there are; `more` are cards of the first."""
    cards: list[Card] = [("BUNIT", _CALIB_UNITS[flux.times_exptime and flux.calib.ndim == 2])]
    if flux.fiber is not None and len(flux.fiber):
        cards += [("FIBERMIN", int(flux.fiber[0])), ("FIBERMAX", int(flux.fiber[-1]))]
    write_image_hdu(f, flux.calib, name="FLUXCALIB", cards=[*cards, *more], primary=True)
    if flux.ivar is not None:
        write_image_hdu(f, flux.ivar, name="IVAR")
    for name, term, key, pivot in (("ATERM", flux.aterm, "PAIRMASS", flux.pairmass), ("STERM", flux.sterm, "PSEEING", flux.pseeing)):
        if term is not None:
            write_image_hdu(f, term, name=name, cards=[(key, float(pivot))])
    write_image_hdu(f, flux.wave, name="WAVELENGTH", cards=[("BUNIT", "Angstrom")])
    if flux.fiber is not None and len(flux.fiber):
        write_table_hdu(f, {"FIBER": np.asarray(flux.fiber, np.int32)}, name="FIBERMAP")
