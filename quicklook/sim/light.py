"""From spectra to expected electrons: along the rows of each fibre, then on the image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from quicklook.sim.geometry import Layout
from quicklook.sim.traces import Floats, Traces

HALF_ROWS = 8
"""Rows on either side of its centre that light is spread over: 6 sigma and more, so that all of it is counted."""
WING_SIGMA = 3.0
_CHUNK_ROWS = 256


@dataclass(frozen=True, slots=True, kw_only=True)
class LightPath:
    """Where the light of an exposure falls, [nfibre, ny + 2 HALF_ROWS]: rows beyond the image spread light into it.

    `wave`: vacuum Angstrom at the middle of the row; `dwave`: Angstrom per row; `x`, `sigma_x`, `sigma_y`: pixel.
    """

    traces: Traces
    wave: Floats
    dwave: Floats
    x: Floats
    sigma_x: Floats
    sigma_y: Floats

    def on_image(self, values: Floats) -> Floats:
        """The rows that are on the image: [nfibre, ny]."""
        return values[:, HALF_ROWS:-HALF_ROWS]


def light_path(layout: Layout, traces: Traces) -> LightPath:
    """Follow each fibre along the rows."""
    rows = np.arange(-HALF_ROWS, layout.ny + HALF_ROWS, dtype=np.float64)
    wave = traces.wave_of_rows(rows)
    return LightPath(
        traces=traces,
        wave=wave,
        dwave=np.gradient(wave, axis=1),
        x=traces.at(traces.x, wave),
        sigma_x=traces.at(traces.sigma_x, wave),
        sigma_y=traces.at(traces.sigma_y, wave),
    )


def spread_continuum(path: LightPath, density: Floats) -> Floats:
    """Expected electrons per fibre and row [nfibre, ny] of a smooth spectrum, electrons per Angstrom at `path.wave`."""
    electrons = density * path.dwave
    offsets = np.arange(-HALF_ROWS, HALF_ROWS + 1)
    ny = electrons.shape[1] - 2 * HALF_ROWS
    out = np.zeros((len(electrons), ny))
    below = _cumulative((offsets[0] - 0.5) / path.sigma_y)
    for offset in offsets:
        above = _cumulative((offset + 0.5) / path.sigma_y)
        start = HALF_ROWS - offset  # source row of image row 0
        out += (electrons * (above - below))[:, start : start + ny]
        below = above
    return out


def spread_lines(path: LightPath, wave: Floats, electrons: Floats, width: Floats | float = 0.0) -> Floats:
    """Expected electrons per fibre and row [nfibre, ny] of emission lines.

    `wave`, `electrons`: [n] or [nfibre, n], Angstrom and electrons; `width`: intrinsic Gaussian sigma, Angstrom.
    A line that falls off the image loses the part that falls off.
    """
    traces, nfibre = path.traces, len(path.wave)
    ny = path.wave.shape[1] - 2 * HALF_ROWS
    wave = np.broadcast_to(np.atleast_2d(wave), (nfibre, np.shape(wave)[-1]))
    y = traces.at(traces.y, wave)
    per_row = float(np.mean(path.dwave))
    sigma = np.hypot(traces.at(traces.sigma_y, wave), np.asarray(width) / per_row)
    half = min(int(np.ceil(7.0 * float(sigma.max(initial=1.0)))), ny)
    nearest = np.rint(y).astype(np.int64)
    offsets = np.arange(-half, half + 1)
    edges = np.arange(-half, half + 2) - 0.5 + (nearest - y)[:, :, np.newaxis]
    share = np.diff(_cumulative(edges / sigma[:, :, np.newaxis]), axis=-1)
    rows = nearest[:, :, np.newaxis] + offsets
    inside = (rows >= 0) & (rows < ny)
    index = (np.arange(nfibre)[:, np.newaxis, np.newaxis] * ny + rows)[inside]
    weights = (np.broadcast_to(electrons, wave.shape)[:, :, np.newaxis] * share)[inside]
    total = np.bincount(index, weights=weights, minlength=nfibre * ny)
    return np.asarray(total, np.float64).reshape(nfibre, ny)


def image_of(path: LightPath, counts: Floats, layout: Layout, wings: float) -> NDArray[np.float32]:
    """Expected electrons on the image [ny, nx], float32: each row of `counts` [nfibre, ny] spread across its trace.

    The profile is a Gaussian integrated over the pixels, with a fraction `wings` in a Gaussian of 3 pixel.
    """
    image = np.zeros((layout.ny, layout.nx), np.float32)
    live = np.flatnonzero(counts.any(axis=1))
    x, sigma = path.on_image(path.x), path.on_image(path.sigma_x)
    for start in range(0, layout.ny, _CHUNK_ROWS):
        rows = slice(start, min(layout.ny, start + _CHUNK_ROWS))
        _add_rows(image[rows], counts[live, rows], x[live, rows], sigma[live, rows], wings)
    return image


def _add_rows(image: NDArray[np.float32], counts: Floats, x: Floats, sigma: Floats, wings: float) -> None:
    half = int(np.ceil(7.0 * (WING_SIGMA if wings else float(sigma.max(initial=1.0)))))
    nearest = np.rint(x).astype(np.int64)
    rows = np.broadcast_to(np.arange(image.shape[0]), x.shape)

    def below(edge: int) -> Floats:
        distance = nearest - x + (edge - 0.5)
        core = _cumulative(distance / sigma)
        return core if wings == 0.0 else (1.0 - wings) * core + wings * _cumulative(distance / WING_SIGMA)

    low = below(-half)
    for offset in range(-half, half + 1):
        high = below(offset + 1)
        column = nearest + offset
        ok = (column >= 0) & (column < image.shape[1])
        # two fibres never share a pixel of one row at the same offset, so plain indexing adds each of them once
        image[rows[ok], column[ok]] += (counts * (high - low))[ok].astype(np.float32)
        low = high


def _cumulative(z: Floats) -> Floats:
    """Integral of the unit Gaussian up to z."""
    from scipy.special import ndtr

    value: Floats = ndtr(z)
    return value
