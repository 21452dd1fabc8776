"""Calibrations that are read from arrays and tables by name: photon transfer, reference arc and flat, traces without wavelengths."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from quicklook.ccd.arrays import Raw
from quicklook.ccd.calibs import PhotonTransfer, ReferenceArc, ReferenceFlat
from quicklook.ccd.pixeltraces import PixelTraces
from quicklook.core.errors import BadData
from quicklook.io.hdus import Hdus


def _column(hdus: Hdus, table: str, name: str) -> Raw:
    columns = hdus.table(table)
    if name not in columns:
        raise BadData(f"{hdus.path.name}: its table {table} has no column {name}; it has {', '.join(columns)}")
    return columns[name]


def read_pixeltraces(path: Path) -> PixelTraces:
    """Traces without wavelengths: XPIXEL, XSIG [nfibre, ncoef], a table FIBERMAP of FIBER, LIT. Raises BadData."""
    hdus = Hdus(path)
    size = [hdus.card(key, "XPIXEL") for key in ("NPIX_X", "NPIX_Y")]
    if not all(isinstance(n, int) for n in size):
        raise BadData(f"{path.name}: NPIX_X and NPIX_Y are {size[0]} and {size[1]}; they must be whole numbers")
    return PixelTraces(
        x=hdus.array("XPIXEL", np.float64),
        xsig=hdus.array("XSIG", np.float64),
        npix_x=size[0],
        npix_y=size[1],
        fiber=_column(hdus, "FIBERMAP", "FIBER").astype(np.int32),
        lit=_column(hdus, "FIBERMAP", "LIT").astype(np.bool_),
        slit=hdus.card("SLIT", "XPIXEL") is True,
    )


def read_ptc(path: Path) -> PhotonTransfer:
    """Photon transfer: LEVEL, VARIANCE [namp, npoint], a table PTC with a row an amplifier; SECONDS, SIGNAL where there are any. Raises BadData."""
    hdus = Hdus(path)
    number = {key: _column(hdus, "PTC", key).astype(np.float64) for key in ("GAIN", "GAIN_ERR", "RDNOISE", "RDN_ERR", "FULLWELL", "LINEARITY")}
    return PhotonTransfer(
        amp=tuple(str(a).strip() for a in _column(hdus, "PTC", "AMP")),
        gain=number["GAIN"],
        gain_error=number["GAIN_ERR"],
        read_noise=number["RDNOISE"],
        read_noise_error=number["RDN_ERR"],
        full_well=number["FULLWELL"],
        linearity=number["LINEARITY"],
        level=hdus.array("LEVEL", np.float64),
        variance=hdus.array("VARIANCE", np.float64),
        seconds=hdus.array("SECONDS", np.float64, ndim=(1,)) if hdus.has("SECONDS") else None,
        signal=hdus.array("SIGNAL", np.float64) if hdus.has("SIGNAL") else None,
    )


def read_refarc(path: Path) -> ReferenceArc:
    """Reference arc: AREA, SIGMA [nfibre, nline], WAVELENGTH [nline], a table FIBERMAP of FIBER. Raises BadData."""
    hdus = Hdus(path)
    return ReferenceArc(
        wave=hdus.array("WAVELENGTH", np.float64, ndim=(1,)),
        fiber=_column(hdus, "FIBERMAP", "FIBER").astype(np.int32),
        area=hdus.array("AREA", np.float64),
        sigma=hdus.array("SIGMA", np.float64),
    )


def read_refflat(path: Path) -> ReferenceFlat:
    """Reference flat: LEVEL [nfibre], a table FIBERMAP of FIBER. Raises BadData."""
    hdus = Hdus(path)
    return ReferenceFlat(fiber=_column(hdus, "FIBERMAP", "FIBER").astype(np.int32), level=hdus.array("LEVEL", np.float64, ndim=(1,)))
