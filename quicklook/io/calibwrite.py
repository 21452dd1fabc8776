"""Calibration files of every kind, written as `quicklook.io.calibfile` loads them. A further kind is added by `register_calibration_writer`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from quicklook.ccd.arrays import Float32
from quicklook.ccd.calibs import BadPixelMask, Bias, Dark, PhotonTransfer, PixelFlat, ReferenceArc, ReferenceFlat
from quicklook.ccd.image import HeaderValue
from quicklook.ccd.pixeltraces import PixelTraces
from quicklook.core.errors import BadConfig
from quicklook.core.product import Calibration
from quicklook.io.atomic import atomic
from quicklook.io.coaddfile import put_coadd
from quicklook.io.configfiles import find_config, list_configs
from quicklook.io.fitssum import write_sums
from quicklook.io.fitswrite import Card, cards_of, write_image_hdu
from quicklook.io.flatfile import put_fiberflat, put_fluxcalib
from quicklook.io.spectrafile import put_sky
from quicklook.io.tablefile import write_table_hdu
from quicklook.io.tracefile import put_traces

Put = Callable[[BinaryIO, Any, list[Card]], None]
"""Writes the HDUs of a calibration; the cards are for the first of them."""
_WRITERS: dict[str, Put] = {}


def register_calibration_writer(kind: str, put: Put) -> None:
    """Say how calibrations of a kind are written."""
    _WRITERS[kind] = put


def can_write_calibration(kind: str) -> bool:
    """Whether calibrations of that kind have a form on disk."""
    return kind in _WRITERS


def check_writable(kinds: Iterable[str]) -> None:
    """Raises BadConfig for a kind that has no form on disk; where it is the name of a builder, with what that makes."""
    for kind in kinds:
        if kind in _WRITERS:
            continue
        made = find_config("builders", kind).get(("product",)) if kind in list_configs("builders") else ()
        makes = " and ".join(made if isinstance(made, list) else [str(made)] if made else [])
        hint = f"the builder {kind} makes {makes}" if makes else f"there are {', '.join(sorted(_WRITERS))}"
        raise BadConfig(f"calibrations of kind {kind!r} have no form on disk; {hint}")


def write_calibration(product: Calibration, path: str | Path, cards: Mapping[str, HeaderValue] | None = None, *, sync: bool = True) -> Path:
    """Write a calibration whole or not at all; `cards` (CAMERA, NIGHT, what it was made from) go into the first header. Returns the path.

    Each HDU carries its sums (CHECKSUM, DATASUM), so that damage is found wherever the file goes.

    Read again by `load_calibration`, it is the same, but for a variance, which goes through its inverse (a float32). Raises BadConfig for a kind that
    has no form on disk, and as `quicklook.io.atomic.atomic`.
    """
    put = _WRITERS.get(product.kind)
    if put is None:
        raise BadConfig(f"a calibration {product.kind!r} has no form on disk; there are {', '.join(sorted(_WRITERS))}")
    with atomic(path, sync=sync) as f:
        put(f, product, [("CALKIND", product.kind, "kind of the calibration"), *cards_of(cards or {})])
        write_sums(f)
    return Path(path)


def calibration_name(kind: str, camera: str, night: int, expid: int) -> str:
    """Name of the file of a calibration, such as ``bias-r0-20220101-00000014.fits``; expid is the first exposure that it was made from."""
    return f"{kind}-{camera}-{night:08d}-{expid:08d}.fits"


def _inverse(variance: Float32) -> Float32:
    """Inverse variance; 0 where it is not known."""
    known = np.isfinite(variance) & (variance > 0)
    return np.divide(np.float32(1.0), variance, out=np.zeros_like(variance), where=known)


def _bias(f: BinaryIO, bias: Bias, cards: list[Card]) -> None:
    write_image_hdu(f, bias.pixels, name="IMAGE", cards=[("BUNIT", "adu"), *cards], primary=True)
    if bias.variance is not None:
        write_image_hdu(f, _inverse(bias.variance), name="IVAR", cards=[("BUNIT", "1/adu**2")])


def _dark(f: BinaryIO, dark: Dark, cards: list[Card]) -> None:
    stated = cards_of({"DETTEMP": dark.temperature_c, "EXPTIME": dark.seconds})
    write_image_hdu(f, dark.pixels, name="IMAGE", cards=[("BUNIT", "electron/s"), *stated, *cards], primary=True)
    if dark.variance is not None:
        write_image_hdu(f, _inverse(dark.variance), name="IVAR", cards=[("BUNIT", "s**2/electron**2")])


def _pixflat(f: BinaryIO, flat: PixelFlat, cards: list[Card]) -> None:
    write_image_hdu(f, flat.pixels, name="IMAGE", cards=[("BUNIT", "", "relative"), *cards], primary=True)
    if flat.ivar is not None:
        write_image_hdu(f, flat.ivar, name="IVAR")


def _mask(f: BinaryIO, mask: BadPixelMask, cards: list[Card]) -> None:
    write_image_hdu(f, mask.pixels, name="IMAGE", cards=cards, primary=True, dtype="i4")


def _pixeltraces(f: BinaryIO, traces: PixelTraces, cards: list[Card]) -> None:
    size: list[Card] = [("NPIX_X", int(traces.npix_x)), ("NPIX_Y", int(traces.npix_y)), ("SLIT", bool(traces.slit))]
    write_image_hdu(f, traces.x, name="XPIXEL", cards=[("BUNIT", "pixel"), *size, *cards], primary=True)
    write_image_hdu(f, traces.xsig, name="XSIG", cards=[("BUNIT", "pixel")])
    write_table_hdu(f, {"FIBER": np.asarray(traces.fiber, np.int32), "LIT": traces.lit}, name="FIBERMAP")


_PTC_UNITS = {"GAIN": "electron/adu", "GAIN_ERR": "electron/adu", "RDNOISE": "electron", "RDN_ERR": "electron", "FULLWELL": "electron"}


def _ptc(f: BinaryIO, ptc: PhotonTransfer, cards: list[Card]) -> None:
    columns = {
        "AMP": np.array(ptc.amp), "GAIN": ptc.gain, "GAIN_ERR": ptc.gain_error, "RDNOISE": ptc.read_noise, "RDN_ERR": ptc.read_noise_error,
        "FULLWELL": ptc.full_well, "LINEARITY": ptc.linearity,
    }  # fmt: skip
    write_image_hdu(f, ptc.level, name="LEVEL", cards=[("BUNIT", "adu"), *cards], primary=True)
    write_image_hdu(f, ptc.variance, name="VARIANCE", cards=[("BUNIT", "adu**2")])
    write_table_hdu(f, columns, name="PTC", units=_PTC_UNITS)
    if ptc.seconds is not None and ptc.signal is not None:
        write_image_hdu(f, ptc.seconds, name="SECONDS", cards=[("BUNIT", "s")])
        write_image_hdu(f, ptc.signal, name="SIGNAL", cards=[("BUNIT", "adu")])


def _refarc(f: BinaryIO, arc: ReferenceArc, cards: list[Card]) -> None:
    write_image_hdu(f, arc.area, name="AREA", cards=[("BUNIT", "electron/s"), *cards], primary=True)
    write_image_hdu(f, arc.sigma, name="SIGMA", cards=[("BUNIT", "Angstrom")])
    write_image_hdu(f, arc.wave, name="WAVELENGTH", cards=[("BUNIT", "Angstrom")])
    write_table_hdu(f, {"FIBER": np.asarray(arc.fiber, np.int32)}, name="FIBERMAP")


def _refflat(f: BinaryIO, flat: ReferenceFlat, cards: list[Card]) -> None:
    write_image_hdu(f, flat.level, name="LEVEL", cards=[("BUNIT", "electron/(s Angstrom)"), *cards], primary=True)
    write_table_hdu(f, {"FIBER": np.asarray(flat.fiber, np.int32)}, name="FIBERMAP")


register_calibration_writer("bias", _bias)
register_calibration_writer("dark", _dark)
register_calibration_writer("pixflat", _pixflat)
register_calibration_writer("mask", _mask)
register_calibration_writer("psf", put_traces)
register_calibration_writer("pixeltraces", _pixeltraces)
register_calibration_writer("fiberflat", put_fiberflat)
register_calibration_writer("fluxcal", put_fluxcalib)
register_calibration_writer("sky", put_sky)
register_calibration_writer("ptc", _ptc)
register_calibration_writer("coadd", put_coadd)
register_calibration_writer("refarc", _refarc)
register_calibration_writer("refflat", _refflat)
