"""Spectra on one wavelength grid for all fibres, with a resolution matrix: the form that other programs of the field take.

Our own products have a sample for every row of the detector, so that neighbouring samples are independent. On a common grid they are not:
IVAR is of each sample by itself. Use it to look at, and to hand on to programs that know no other form; measure on the rows.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

from quicklook.ccd.arrays import Float32, Float64, Raw
from quicklook.ccd.image import HeaderValue
from quicklook.ccd.spectra import SpecMask, UInt32
from quicklook.core.errors import BadData
from quicklook.io.atomic import atomic
from quicklook.io.fibermap import put_fibermap
from quicklook.io.fitswrite import Card, cards_of, write_image_hdu
from quicklook.io.hdus import Hdus
from quicklook.io.spectrafile import fibermap_of, read_frame, read_sky
from quicklook.io.tablefile import column_units, write_table_hdu

STEP = 0.8
"""Angstrom."""
ORIGIN = 3600.0
RANGES = {"b": (3600.0, 5800.0), "r": (5760.0, 7620.0), "z": (7520.0, 9824.0)}
"""Grid of the DESI data model (frame files): 0.8 Angstrom, by arm."""
_COVERED = 0.5
"""A bin less than half of which was measured is not known."""
_OWN = ("SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "EXTNAME", "BZERO", "BSCALE", "BUNIT", "XTENSION", "PCOUNT", "GCOUNT")


def common_grid(wave: Float64, camera: str) -> Float64:
    """The grid [n] for spectra at `wave` [nfibre, nwave]: within the range of the arm, and where all fibres are. Raises BadData where it is empty."""
    first, last = RANGES.get(camera[:1], (-np.inf, np.inf))
    low, high = max(first, float(wave[:, 0].max())), min(last, float(wave[:, -1].min()))
    grid = ORIGIN + STEP * np.arange(np.ceil((low - ORIGIN) / STEP - 1e-9), np.floor((high - ORIGIN) / STEP + 1e-9) + 1)
    if len(grid) < 2:
        raise BadData(f"the spectra of {camera} have no wavelengths in common within {first:g} to {last:g} Angstrom")
    return grid


def rebin(wave: Float64, flux: Float32, ivar: Float32, mask: UInt32, grid: Float64) -> tuple[Float32, Float32, UInt32]:
    """Flux per Angstrom, ivar and mask [nfibre, nwave] averaged over the bins of a uniform grid [n], light conserved.

    Samples with ivar 0 are left out of a bin; a bin that they fill by more than half has ivar 0 and SOMEBADPIX or ALLBADPIX. The mask of a bin
    is that of all its samples.
    """
    n = len(grid)
    edges = np.concatenate([grid - 0.5 * STEP, grid[-1:] + 0.5 * STEP])
    out_flux, out_ivar, out_mask = np.zeros((len(flux), n), np.float32), np.zeros((len(flux), n), np.float32), np.zeros((len(flux), n), np.uint32)
    for i in range(len(flux)):
        out_flux[i], out_ivar[i], out_mask[i] = _rebin_one(wave[i], flux[i], ivar[i], mask[i], edges)
    return out_flux, out_ivar, out_mask


def _rebin_one(wave: Float64, flux: Float32, ivar: Float32, mask: UInt32, edges: Float64) -> tuple[Raw, Raw, Raw]:
    middle = 0.5 * (wave[1:] + wave[:-1])
    own = np.concatenate([[2.0 * wave[0] - middle[0]], middle, [2.0 * wave[-1] - middle[-1]]])
    first = np.clip(np.searchsorted(own, edges[:-1], side="right") - 1, 0, len(wave) - 1)
    reach = int(np.ceil(STEP / np.diff(own).min())) + 1
    good = (ivar > 0) & np.isfinite(flux)
    light, variance, covered, bits = np.zeros(len(first)), np.zeros(len(first)), np.zeros(len(first)), np.zeros(len(first), np.uint32)
    for k in range(reach):
        j = np.minimum(first + k, len(wave) - 1)
        overlap = np.minimum(edges[1:], own[j + 1]) - np.maximum(edges[:-1], own[j])
        overlap = np.where((overlap > 0) & (first + k < len(wave)), overlap, 0.0)
        used = np.where(good[j], overlap, 0.0)
        light += used * np.where(good[j], flux[j], 0.0)
        variance += used**2 / np.where(good[j], ivar[j], 1.0)
        covered += used
        bits |= np.where(overlap > 0, mask[j], np.uint32(0)).astype(np.uint32)
    known = covered > _COVERED * STEP
    safe = np.where(covered > 0, covered, 1.0)
    bad = np.where(covered > 0, np.uint32(SpecMask.SOMEBADPIX), np.uint32(SpecMask.ALLBADPIX))
    return light / safe, np.where(known, safe**2 / np.where(variance > 0, variance, 1.0), 0.0), bits | np.where(known, np.uint32(0), bad)


def resolution(sigma: Float32, wave: Float64, grid: Float64) -> Float32:
    """Resolution matrix [nfibre, ndiag, n] of Gaussian line-spread functions, in the diagonal form of the DESI data model.

    Element [i, k, j] is the share of the light at grid sample j that falls into sample j - offset, offset = ndiag // 2 - k; `sigma` [nfibre, nwave]
    in Angstrom at `wave`.
    """
    from scipy.special import ndtr

    width = np.array([np.interp(grid, wave[i], sigma[i]) for i in range(len(sigma))])
    width = np.maximum(width, 1e-3)
    half = max(1, int(np.ceil(4.0 * float(np.median(width)) / STEP)))
    offsets = np.arange(half, -half - 1, -1)
    edges = -offsets[np.newaxis, :, np.newaxis] * STEP
    upper, lower = ndtr((edges + 0.5 * STEP) / width[:, np.newaxis, :]), ndtr((edges - 0.5 * STEP) / width[:, np.newaxis, :])
    return np.asarray(upper - lower, np.float32)


def export_product(path: Path, folder: Path) -> Path:
    """Write a frame or sky file of ours on the common grid into a folder, under its name; returns the path.

    Raises BadData where it is neither, and as the readers of `quicklook.io.spectrafile`.
    """
    hdus = Hdus(path)
    name = hdus.first(("FLUX", "SKY"))
    if name is None:
        raise BadData(f"{path.name} holds neither spectra (FLUX) nor a sky model (SKY); it has {', '.join(hdus.structure.names)}")
    kept: Mapping[str, HeaderValue] = {k: v for k, v in hdus.header(name).items() if k not in _OWN and v is not None}
    unit = str(hdus.card("BUNIT", name) or "electron/Angstrom")
    out = folder / path.name
    if name == "FLUX":
        frame = read_frame(path)
        grid = common_grid(frame.wave, frame.camera)
        planes = rebin(frame.wave, frame.flux, frame.ivar, frame.mask, grid)
        extra = resolution(frame.sigma, frame.wave, grid) if frame.sigma.any() else None
        fibermap = frame.fibermap
    else:
        sky = read_sky(path)
        grid = common_grid(sky.wave, str(hdus.card("CAMERA", "SKY") or ""))
        planes, extra, fibermap = rebin(sky.wave, sky.flux, sky.ivar, sky.mask, grid), None, fibermap_of(hdus, len(sky.flux))
    cards: list[Card] = [("BUNIT", unit), *cards_of(kept)]
    with atomic(out, sync=False) as f:
        write_image_hdu(f, planes[0], name=name, cards=cards, primary=True)
        write_image_hdu(f, planes[1], name="IVAR", cards=[("BUNIT", f"1/({unit})**2")])
        write_image_hdu(f, planes[2], name="MASK")
        write_image_hdu(f, grid, name="WAVELENGTH", cards=[("BUNIT", "Angstrom")])
        if extra is not None:
            write_image_hdu(f, extra, name="RESOLUTION")
        put_fibermap(f, fibermap)
        if hdus.has("SCORES"):
            write_table_hdu(f, hdus.table("SCORES"), name="SCORES", units=column_units(hdus.header("SCORES")))
    return out
