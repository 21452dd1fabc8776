"""Raw frames of detectors that are read out in several ways, without a word on it in their headers."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

GAIN, NOISE = 1.5, 4.0
"""electron/ADU; read noise in electron."""


@dataclass(frozen=True)
class Readout:
    """A detector: shape of its raw image, and of every amplifier its data, bias level (ADU) and the strips that share it, as (y0, y1, x0, x1)."""

    shape: tuple[int, int]
    data: Mapping[str, tuple[int, int, int, int]]
    strips: Mapping[str, tuple[tuple[int, int, int, int], ...]]
    level: Mapping[str, float]


ONE = Readout(shape=(300, 440), data={"A": (0, 300, 0, 400)}, strips={"A": ((0, 300, 400, 440),)}, level={"A": 1010.0})
"""One amplifier, overscan at the right."""
SIDE = Readout(
    shape=(200, 660),
    data={"L": (0, 200, 0, 300), "R": (0, 200, 300, 600)},
    strips={"L": ((0, 200, 600, 630),), "R": ((0, 200, 630, 660),)},
    level={"L": 940.0, "R": 970.0},
)
"""Two amplifiers side by side, both overscans at the right end."""
QUADRANTS = Readout(
    shape=(420, 560),
    data={"A": (0, 200, 20, 260), "B": (0, 200, 300, 540), "C": (220, 420, 20, 260), "D": (220, 420, 300, 540)},
    strips={
        "A": ((0, 200, 260, 280), (0, 200, 0, 20), (200, 210, 20, 260)),
        "B": ((0, 200, 280, 300), (0, 200, 540, 560), (200, 210, 300, 540)),
        "C": ((220, 420, 260, 280), (220, 420, 0, 20), (210, 220, 20, 260)),
        "D": ((220, 420, 280, 300), (220, 420, 540, 560), (210, 220, 300, 540)),
    },
    level={"A": 1000.0, "B": 1030.0, "C": 1055.0, "D": 1015.0},
)
"""Four quadrants read out from the corners: prescans outside, overscans and rows of parallel overscan in the middle."""


def light(kind: str, shape: tuple[int, int], transpose: bool) -> np.ndarray:
    """Electrons on the detector (its data put together) with the spectrum along y, or along x (`transpose`): a long slit."""
    ny, nx = shape[::-1] if transpose else shape
    y, x = np.arange(ny)[:, None], np.arange(nx)[None, :]
    slit = (x > 0.1 * nx) & (x < 0.85 * nx)
    spectrum = {
        "zero": 0.0 * y,
        "flat": 9000.0 + 30000.0 * y / ny,
        "arc": 20.0 + sum(20000.0 * np.exp(-0.5 * ((y - p * ny) / 1.5) ** 2) for p in (0.07, 0.21, 0.26, 0.4, 0.55, 0.61, 0.83, 0.94)),
        "science": 150.0 + 0.0 * y,
    }[kind]
    out = spectrum * np.where(slit, 1.0, 0.03)
    return np.asarray(out.T if transpose else out, np.float64)


def raw(readout: Readout, kind: str, transpose: bool, seed: int) -> np.ndarray:
    """A raw frame, uint16."""
    rng = np.random.default_rng(seed)
    ys, xs = (sorted({d[i : i + 2] for d in readout.data.values()}) for i in (0, 2))
    image = light(kind, (sum(b - a for a, b in ys), sum(b - a for a, b in xs)), transpose)
    out = np.zeros(readout.shape)
    y_at, x_at = _starts(ys), _starts(xs)
    for name, (y0, y1, x0, x1) in readout.data.items():
        part = image[y_at[y0, y1] : y_at[y0, y1] + y1 - y0, x_at[x0, x1] : x_at[x0, x1] + x1 - x0]
        out[y0:y1, x0:x1] = rng.poisson(part) / GAIN + readout.level[name]
        for a, b, c, d in readout.strips[name]:
            out[a:b, c:d] = readout.level[name]
    corners = out == 0
    out[corners] = 1000.0
    return np.clip(np.rint(out + rng.normal(0, NOISE / GAIN, out.shape)), 0, 65535).astype(np.uint16)


def _starts(spans: list[Any]) -> dict[Any, int]:
    out, at = {}, 0
    for a, b in spans:
        out[a, b] = at
        at += b - a
    return out


SET = (("zero", 0.0), ("zero", 0.0), ("flat", 10.0), ("flat", 10.0), ("arc", 20.0), ("science", 600.0))


def write_set(folder: Path, readout: Readout, transpose: bool = False, first: int = 31) -> list[Path]:
    """Two zeros, two flats, an arc, a science frame: x0031.fits, x0032.fits, ..."""
    paths = []
    for k, (kind, exptime) in enumerate(SET):
        cards = {
            "EXPTIME": exptime,
            "IMAGETYP": {"zero": "BIAS", "science": "OBJECT"}.get(kind, kind.upper()),
            "DATE-OBS": f"2020-03-04T0{k}:10:00.5",
        }
        hdu = fits.PrimaryHDU(raw(readout, kind, transpose, 100 + k))
        hdu.header.update({**cards, "OBJECT": "star", "FRAMENO": first + k, "LONGITUD": -110.6, "AIRMASS": 1.1})
        paths.append(folder / f"x{first + k:04d}.fits")
        hdu.writeto(paths[-1])
    return paths
