"""The fine structure of a bias, dark or pixel flat, compared with the last good one of its camera: with the wrong sign, or turned, it is refused.

A detector keeps its structure from pixel to pixel. Where that stands out of the noise of both images they agree in it; where it does not nothing is
said. Differences of neighbours along x are compared, so that levels and slopes, which may change, do not count.
"""

from __future__ import annotations

import numpy as np

from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.calibs import Bias, Dark, PixelFlat
from quicklook.core.product import Calibration
from quicklook.io.calibentry import CalibEntry
from quicklook.io.calibothers import last_good
from quicklook.io.calibspectra import SpectraCheck
from quicklook.io.calibstore import CalibIndexStore

OPPOSITE, ALIKE = -0.3, 0.5
"""Correlations: of two images of one detector it is positive or, in noise, around 0; the same structure has more than the second."""
MAX_RATIO = 5.0
"""The same structure so many times as strong, or weak, is in another unit, or of another temperature: that is doubtful."""
_CLIP = 5.0
_SAMPLE = 1 << 19
_ROWS, _COLUMNS = 16, 1024
"""So many rows are looked for among all others, by so many pixels of each: chance gives a correlation of 0.03."""
_CHANGED = "If the detector has changed, let the other one end before this one begins (valid_to, valid_from)."


def compare_image(store: CalibIndexStore, entry: CalibEntry, calibration: Calibration) -> SpectraCheck:
    """What speaks against an image by the last good one of its kind and camera in the index; nothing where there is none of its size."""
    if not isinstance(calibration, Bias | Dark | PixelFlat):
        return SpectraCheck()
    found = last_good(store, entry, (entry.of_kind,))
    if found is None:
        return SpectraCheck()
    other, before = found
    if not isinstance(before, Bias | Dark | PixelFlat) or before.pixels.shape != calibration.pixels.shape:
        return SpectraCheck()
    return compare_structure(calibration.pixels, before.pixels, other.path)


def compare_structure(pixels: Raw, before: Raw, name: str) -> SpectraCheck:
    """Two images [ny, nx] of one detector; `name` is that of the one before."""
    step = max(1, pixels.size // _SAMPLE)
    (one, size), (other, usual) = _structure(pixels[::step]), _structure(before[::step])
    alike = float(np.mean(one * other))
    if alike < OPPOSITE:
        return SpectraCheck(wrong=f"it is {name} with the other sign (correlation {alike:.2f}). {_CHANGED}")
    if alike < ALIKE and -float(np.mean(one * other[:, ::-1])) > ALIKE:
        return SpectraCheck(wrong=f"it is {name} with its columns in the opposite order. {_CHANGED}")
    if alike < ALIKE and (moved := _moved(pixels, before)):
        return SpectraCheck(wrong=f"it is {name} with its rows in another order: row {moved[0]} of it is row {moved[1]} there. {_CHANGED}")
    ratio = size / usual if alike > ALIKE and usual > 0 else 1.0
    if not 1 / MAX_RATIO < ratio < MAX_RATIO:
        return SpectraCheck(doubt=f"its structure is that of {name}, {ratio:.3g} times as strong; is it in another unit?")
    return SpectraCheck()


def _structure(pixels: Raw) -> tuple[Float64, float]:
    """Differences of neighbours [ny, nx - 1], outliers clipped, of mean square 1; and their scatter before that. 0 where there is none."""
    with np.errstate(invalid="ignore", over="ignore"):
        steps = np.diff(pixels.astype(np.float64), axis=1)
    known = np.isfinite(steps)
    scatter = 1.4826 * float(np.median(np.abs(steps[known]))) if known.any() else 0.0
    if not scatter > 0:
        return np.zeros_like(steps), 0.0
    clipped = np.clip(np.where(known, steps, 0.0), -_CLIP * scatter, _CLIP * scatter)
    return np.asarray(clipped / np.sqrt(np.mean(clipped**2))), scatter


def _moved(pixels: Raw, before: Raw) -> tuple[int, int] | None:
    """A row of an image and the one that it was before, where most rows have the structure of others; None where they have not."""
    rows = np.linspace(0, len(pixels) - 1, _ROWS).round().astype(np.int64)
    one, other = _structure(pixels[rows, :_COLUMNS])[0], _structure(before[:, :_COLUMNS])[0]
    match = one @ other.T / one.shape[1]
    best = match.argmax(axis=1)
    elsewhere = (best != rows) & (match.max(axis=1) > ALIKE)
    return (int(rows[elsewhere][0]), int(best[elsewhere][0])) if 2 * elsewhere.sum() > _ROWS else None
