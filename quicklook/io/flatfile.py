"""Fibre flats and flux calibrations on disk, in the DESI data model."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from quicklook.ccd.arrays import Float32, Raw
from quicklook.ccd.exposure import Exposure, FiberMap
from quicklook.ccd.spectra import FiberFlat, FluxCalib
from quicklook.core.errors import BadData
from quicklook.io.atomic import atomic
from quicklook.io.fitswrite import Card, cards_of, write_image_hdu
from quicklook.io.hdus import Hdus
from quicklook.io.headercards import exposure_cards
from quicklook.io.spectrafile import Provenance, fibermap_columns
from quicklook.io.tablefile import write_table_hdu


def read_fiberflat(path: str | Path) -> FiberFlat:
    """A fibre flat: FIBERFLAT, IVAR, MASK [nfibre, nwave], MEANSPEC, WAVELENGTH [nwave] or [nfibre, nwave], optional FIBERMAP.

    Where a value is not finite its ivar is 0 and the value 1. Fibres without a FIBERMAP are numbered from FIBERMIN or 0.
    Raises BadData and as `quicklook.io.fitsfile.inspect`.
    """
    hdus = Hdus(path)
    flat, ivar = hdus.array("FIBERFLAT", np.float32), hdus.array("IVAR", np.float32)
    mask = hdus.array("MASK", np.uint32) if hdus.has("MASK") else np.zeros(flat.shape, np.uint32)
    good = np.isfinite(flat) & np.isfinite(ivar)
    if not good.any():
        raise BadData(f"{hdus.path.name} holds no finite fibre flat")
    flat[~good], ivar[~good] = 1.0, 0.0
    wave = hdus.array("WAVELENGTH", np.float64, ndim=(1, 2))
    mean = hdus.array("MEANSPEC", np.float32, ndim=(1,)) if hdus.has("MEANSPEC") else np.ones(flat.shape[1], np.float32)
    return FiberFlat(flat=flat, ivar=ivar, mask=mask, wave=wave, meanspec=mean, fiber=_fibres(hdus, len(flat)))


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
    """Write a fibre flat as `read_fiberflat` reads it. Without a fibre map of the same fibres FIBERMAP holds their numbers alone."""
    same = fibermap is not None and np.array_equal(fibermap.fiber, flat.fiber)
    columns = fibermap_columns(fibermap) if same and fibermap is not None else {"FIBER": np.asarray(flat.fiber, np.int32)}
    cards: list[Card] = [("BUNIT", "", "relative"), *exposure_cards(exposure, camera)]
    with atomic(path, sync=sync) as f:
        write_image_hdu(f, flat.flat, name="FIBERFLAT", cards=[*cards, *cards_of(provenance or {})], primary=True)
        write_image_hdu(f, flat.ivar, name="IVAR")
        write_image_hdu(f, flat.mask, name="MASK")
        write_image_hdu(f, flat.meanspec, name="MEANSPEC", cards=[("BUNIT", "electron/Angstrom")])
        write_image_hdu(f, flat.wave, name="WAVELENGTH", cards=[("BUNIT", "Angstrom")])
        write_table_hdu(f, columns, name="FIBERMAP")


def read_fluxcalib(path: str | Path) -> FluxCalib:
    """A flux calibration, electron per 1e-17 erg/cm2: an average one [nwave] with ATERM (PAIRMASS) and STERM (PSEEING), or one of each fibre.

    One of each fibre whose unit (BUNIT) counts seconds already holds the exposure time; samples that are masked or have no ivar are 0 in it, and
    what is divided by 0 is masked. Raises BadData and as `quicklook.io.fitsfile.inspect`.
    """
    hdus = Hdus(path)
    calib = hdus.array(0, np.float32, ndim=(1, 2))
    if not np.isfinite(calib).any():
        raise BadData(f"{hdus.path.name} holds no finite flux calibration")
    calib[~np.isfinite(calib)] = 0.0
    wave = hdus.array("WAVELENGTH", np.float64, ndim=(1,))
    if calib.ndim == 2:
        calib[_unusable(hdus, calib)] = 0.0
        timed = re.search(r"\bs\b", str(hdus.card("BUNIT", 0) or "").lower()) is not None
        return FluxCalib(calib=calib, wave=wave, fiber=_fibres(hdus, len(calib)), times_exptime=timed)
    airmass, seeing = hdus.first(("ATERM", "ATMOSPHERIC_EXTINCTION")), hdus.first(("STERM", "SEEING_TERM"))
    return FluxCalib(
        calib=calib,
        wave=wave,
        aterm=hdus.array(airmass, np.float32, ndim=(1,)) if airmass else None,
        sterm=hdus.array(seeing, np.float32, ndim=(1,)) if seeing else None,
        pairmass=_pivot(hdus, airmass, "PAIRMASS", 1.0),
        pseeing=_pivot(hdus, seeing, "PSEEING", 1.1),
    )


def _unusable(hdus: Hdus, calib: Float32) -> Raw:
    bad = np.zeros(calib.shape, bool)
    if hdus.has("MASK"):
        bad |= hdus.array("MASK", np.uint32) != 0
    if hdus.has("IVAR"):
        bad |= hdus.array("IVAR", np.float32) <= 0
    return bad


def _pivot(hdus: Hdus, name: str | None, key: str, default: float) -> float:
    value = hdus.card(key, name, 0) if name else None
    return float(value) if isinstance(value, int | float) else default
