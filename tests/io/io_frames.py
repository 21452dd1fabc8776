"""Small raw files of several kinds, made with astropy, which the code under test does not use for reading or writing."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

NAMES = "ABCD"


def desi_sections(amps: str = NAMES, ny: int = 20, nx: int = 16, pre: int = 4, over: int = 8, rows: int = 3) -> dict[str, str]:
    """Sections of a small camera read out as DESI's are, by keywords that end in the characters of `amps`."""
    a, b, c, d = amps
    left, right = (pre + 1, pre + nx), (pre + nx + 2 * over + 1, pre + 2 * nx + 2 * over)
    low, high = (2, 1 + ny), (2 + ny + 2 * rows, 1 + 2 * ny + 2 * rows)
    out = {}
    for amp, x, y in ((a, left, low), (b, right, low), (c, left, high), (d, right, high)):
        is_left, is_low = x is left, y is low
        bias = (x[1] + 1, x[1] + over) if is_left else (x[0] - over, x[0] - 1)
        prescan = (1, pre) if is_left else (x[1] + 1, x[1] + pre)
        orow = (y[1] + 1, y[1] + rows) if is_low else (y[0] - rows, y[0] - 1)
        cx = (1, nx) if is_left else (nx + 1, 2 * nx)
        cy = (1, ny) if is_low else (ny + 1, 2 * ny)
        for key, sx, sy in (("DATASEC", x, y), ("BIASSEC", bias, y), ("PRESEC", prescan, y), ("ORSEC", x, orow), ("CCDSEC", cx, cy)):
            out[f"{key}{amp}"] = f"[{sx[0]}:{sx[1]}, {sy[0]}:{sy[1]}]"
    return out


def desi_shape(ny: int = 20, nx: int = 16, pre: int = 4, over: int = 8, rows: int = 3) -> tuple[int, int]:
    """Shape of the raw image of that camera."""
    return (2 * (1 + ny + rows), 2 * (pre + nx + over))


def desi_cards(camera: str = "r0", expid: int = 102, amps: str = NAMES, **changes: Any) -> dict[str, Any]:
    """Header of a camera. A change to None leaves the card out."""
    cards: dict[str, Any] = {
        "CAMERA": camera, "EXPID": expid, "NIGHT": 20220101, "FLAVOR": "science", "PROGRAM": "dark", "EXPTIME": 900.0,
        "DATE-OBS": "2022-01-02T06:02:00.000", "AIRMASS": 1.15, "SEEING": 1.25, "SPECID": 4, "DETECTOR": "SN-1",
        **desi_sections(amps), **{f"GAIN{a}": 1.2 + 0.1 * i for i, a in enumerate(amps)}, **{f"RDNOISE{a}": 2.5 for a in amps},
    }  # fmt: skip
    cards |= {k.replace("_", "-"): v for k, v in changes.items()}
    return {k: v for k, v in cards.items() if v is not None}


def write_desi(
    folder: Path,
    cameras: Mapping[str, Mapping[str, Any]] | None = None,
    *,
    expid: int = 102,
    night: int | None = 20220101,
    fibermap: int | None = 102,
) -> Path:
    """A raw file with an extension per camera, and a fibre map of exposure `fibermap` beside it (None: none). Returns its path."""
    cameras = {"r0": desi_cards(expid=expid)} if cameras is None else cameras
    folder = folder if night is None else folder / str(night) / f"{expid:08d}"
    folder.mkdir(parents=True, exist_ok=True)
    hdus: list[Any] = [fits.PrimaryHDU(header=fits.Header({"TELESCOP": "TEST"}))]
    for camera, cards in cameras.items():
        pixels = (1000 + np.arange(np.prod(desi_shape())) % 97).reshape(desi_shape()).astype(np.int32)
        hdus.append(fits.CompImageHDU(pixels, header=fits.Header(dict(cards)), name=camera.upper(), compression_type="RICE_1"))
    path = folder / f"desi-{expid:08d}.fits.fz"
    fits.HDUList(hdus).writeto(path, overwrite=True)
    if fibermap is not None:
        write_fibermap(folder / f"fibermap-{expid:08d}.fits", fibermap)
    return path


def fibermap_hdu(expid: int, petals: int = 2, each: int = 4) -> fits.BinTableHDU:
    """A fibre map whose rows are not in the order of FIBER."""
    fiber = np.arange(petals * each, dtype=np.int32)[::-1]
    columns = [
        fits.Column("FIBER", "J", array=fiber),
        fits.Column("PETAL_LOC", "I", array=(fiber // each).astype(np.int16)),
        fits.Column("OBJTYPE", "3A", array=np.where(fiber % each == 0, "SKY", "TGT")),
        fits.Column("FLUX_R", "D", array=fiber * 1.5),
        fits.Column("FIBERSTATUS", "J", array=np.zeros_like(fiber)),
    ]
    return fits.BinTableHDU.from_columns(columns, name="FIBERMAP", header=fits.Header({"EXPID": expid}))


def write_fibermap(path: Path, expid: int) -> Path:
    """A fibre map of its own."""
    fits.HDUList([fits.PrimaryHDU(), fibermap_hdu(expid)]).writeto(path, overwrite=True)
    return path


def write_plain(path: Path, pixels: Any, cards: Mapping[str, Any] | None = None, **options: Any) -> Path:
    """An image in the primary HDU."""
    header = fits.Header({k.replace("_", "-"): v for k, v in (cards or {}).items()})
    fits.PrimaryHDU(pixels, header=header).writeto(path, overwrite=True, **options)
    return path
