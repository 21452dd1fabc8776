"""How the spectra lie on the detector: along which axis light is dispersed, and whether there are fibres or one long slit."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]
APERTURE = 5.0
"""Width of an aperture of a slit that is proposed, pixel."""
_RED = 1.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Optics:
    """`transpose`: dispersion runs along x (None: not known); `flip`: wavelength falls along the dispersion (a guess by the colour of the lamp).

    `slit`: first and last pixel across the dispersion of a long slit; None where there is none. `fibres`: peaks across the dispersion.
    """

    transpose: bool | None
    flip: bool
    slit: tuple[int, int] | None
    fibres: int
    unsure: tuple[str, ...]

    @property
    def apertures(self) -> int:
        """Apertures that are proposed for a slit."""
        return max(1, round((self.slit[1] - self.slit[0] + 1) / APERTURE)) if self.slit else 0


def find_optics(arc: Array | None, flat: Array | None) -> Optics:
    """From trimmed frames [ny, nx], bias subtracted, either of them None. Lines of an arc lie along the dispersion, and a flat is smooth there."""
    unsure = list[str]()
    roughness = [(_rough(arc, a) if arc is not None else None, _rough(flat, a) if flat is not None else None) for a in (0, 1)]
    if arc is None and flat is None:
        return Optics(transpose=None, flip=False, slit=None, fibres=0, unsure=("orientation: neither an arc nor a flat is among the files",))
    scores = [(a if a is not None else 1.0) / max(f if f is not None else 1.0, 1e-6) for a, f in roughness]
    transpose = scores[1] > scores[0]
    clear = max(scores) / max(min(scores), 1e-9)
    if arc is None:
        unsure.append("orientation: by a flat alone (it is smooth along the dispersion); give an arc to be certain")
    elif clear < 3:
        unsure.append(f"orientation: lines are only {clear:.1f} times as marked along {'x' if transpose else 'y'} as along the other axis")
    slit, fibres = (None, 0) if flat is None else _across(flat if not transpose else flat.T)
    if flat is None:
        unsure.append("fibres or slit: no flat is among the files")
    flip = flat is not None and _falls(flat if not transpose else flat.T)
    return Optics(transpose=transpose, flip=flip, slit=slit, fibres=fibres, unsure=tuple(unsure))


def _rough(image: Array, axis: int) -> float:
    """Structure finer than 25 pixels of the mean profile along an axis (0: y), relative to its level."""
    other = 1 - axis
    profile = np.mean(np.clip(image, *np.percentile(image[::7, ::7], [0.5, 99.9])), axis=other)
    profile = profile - min(float(np.percentile(profile, 1)), 0.0)
    smooth = _running_median(profile, 51)
    edge = max(3, profile.size // 20)
    fine = (profile - smooth)[edge:-edge]
    return float(np.std(fine)) / max(float(np.mean(np.abs(profile[edge:-edge]))), 1e-6) + 1e-4


def _running_median(values: Array, width: int) -> Array:
    half = min(width, values.size) // 2
    padded = np.pad(values, half, mode="reflect")
    return np.asarray(np.median(np.lib.stride_tricks.sliding_window_view(padded, 2 * half + 1), axis=1))


def _across(flat: Array) -> tuple[tuple[int, int] | None, int]:
    """Extent of a long slit, or None; number of peaks. `flat` with the dispersion along y."""
    ny = flat.shape[0]
    middle = flat[int(0.48 * ny) : int(0.52 * ny) + 1]
    brightest = int(np.argmax([float(np.median(b)) for b in np.array_split(flat, 9)]))
    profile = np.median(np.array_split(flat, 9)[brightest] if float(np.median(middle)) <= 0 else middle, axis=0)
    level = float(np.percentile(profile, 90))
    lit = profile > 0.5 * level
    runs = np.flatnonzero(np.diff(np.concatenate([[0], lit.astype(np.int8), [0]])))
    lengths = runs[1::2] - runs[::2]
    if not lengths.size:
        return None, 0
    longest = int(np.argmax(lengths))
    if lengths[longest] > max(0.1 * profile.size, 25) and lengths[longest] > 0.7 * lit.sum():
        return (int(runs[2 * longest]), int(runs[2 * longest + 1]) - 1), 0
    smooth = np.convolve(profile, np.ones(3) / 3, mode="same")
    peaks = (smooth[1:-1] > smooth[:-2]) & (smooth[1:-1] >= smooth[2:]) & (smooth[1:-1] > 0.25 * level)
    return None, int(peaks.sum())


def _falls(flat: Array) -> bool:
    """Whether the lamp, which is bright in the red, is brighter at small y."""
    blocks = [float(np.percentile(b, 80)) for b in np.array_split(flat, 4)]
    return blocks[0] > _RED * blocks[-1]
