"""Boxcar extraction: the light of each fibre in a window centred on its trace, row by row, as electrons of all its light.

Window of `width` pixels centred on the trace, not on a pixel: the pixels at its edges count by the part of them that lies in it. With
b_f the sum in the window of fibre f and C_fg the fraction of the light of fibre g that falls into it (from the profile),

    electrons_f = (b_f - C_f,f-1 b_f-1 / C_f-1,f-1 - C_f,f+1 b_f+1 / C_f+1,f+1) / C_ff.

The variance is that of the pixels without light in the window, sum of w^2, plus that of the light, sum of w^2 P times a model of b from the
other rows of the fibre, never from the sample itself, so that weighted sums of spectra are unbiased (`algorithms.kernels.lightrows`), for the
mean place of the window within a pixel (at 7 pixels the sum of w^2 is within 4 % and C_ff within 0.05 % of their means). Without the noise of the
amplifiers, or where flagged pixels (of low response) claim more than twice as much, it is the sum of w^2 / ivar.

Where a pixel of the window is unusable, the electrons come from the others by the profile (Horne 1986, PASP 98, 609): sum of P D / V over
sum of P^2 / V, with the variance 1 / sum of P^2 / V, and for the error of the profile (error x fraction of the light that is
lost x electrons)^2. Where less than a given fraction of the light is left, the sample is lost: ivar 0, a value for display alone.
What a neighbour of a lost sample gets of its light is not known: its variance says so, and beside saturated light it is lost too.

All of it runs along the rows of the image, as they lie in memory: the sums of 512 rows, and, ten rows around each being known, their spectra.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from algorithms.kernels.extraction import (
    NOISE_UNKNOWN,
    Bits,
    Float32,
    PixelNoise,
    Settings,
    Spectra,
    Sums,
    UInt16,
    image_arrays,
    new_spectra,
    new_sums,
)
from algorithms.kernels.lightrows import HALO
from algorithms.kernels.profile import NO_WINGS, Profile, window_tables
from algorithms.kernels.rowsums import Places, fill_lost, new_places, sum_rows
from algorithms.kernels.spectra import Room, make_grid, make_rows, new_room
from algorithms.kernels.tracegrid import STEP, Knots
from quicklook.core.compiled import run_tasks

BLOCKS, FIBRES = 16, 50
"""Blocks of rows, and fibres, that make one task."""


def boxcar(
    pixels: Float32,
    ivar: Float32,
    mask: UInt16,
    knots: Knots,
    *,
    noise: PixelNoise = NOISE_UNKNOWN,
    alive: npt.NDArray[np.bool_] | None = None,
    wings: Profile = NO_WINGS,
    settings: Settings = Settings(),  # noqa: B008
    bits: Bits = Bits(),  # noqa: B008
) -> Spectra:
    """Spectra of an image (electron) with its ivar and mask, all [ny, nx], along the traces `knots`; one sample for every row.

    `noise` of the amplifiers without light; without it the variances are sums of those of the pixels. `alive` [nfibre]: fibres that are not get
    ivar 0 and the bit for a bad fibre. A repaired sample has no bit: its ivar says what it is worth.
    Agrees with the reference of the tests (float64, exact windows) within 1e-3 of the flux + 4e-4 of the brightest fibre's, and 2e-3 of ivar.
    Does not depend on the number of threads. Raises ValueError for arrays that do not fit together.
    """
    ny, nfibre = pixels.shape[0], knots.x.shape[0]
    image = image_arrays(pixels, ivar, mask)
    if (knots.x.shape[1] - 1) * STEP < ny - 1:
        raise ValueError(f"the traces reach to row {(knots.x.shape[1] - 1) * STEP}, the image has {ny} rows")
    on = np.ones(nfibre, np.bool_) if alive is None else np.ascontiguousarray(alive, np.bool_)
    tables = window_tables(settings.width, float(knots.xsig.min()), float(knots.xsig.max()), wings)
    out, always = new_spectra(nfibre, ny), not _covers(noise, pixels.shape)

    rooms: list[tuple[Sums, Places, Room]] = []  # taken and given back by the tasks: memory made anew for each would cost a tenth of the time

    def of_rows(span: tuple[int, int]) -> None:
        first, last = max(span[0] * STEP - HALO, 0), min(span[1] * STEP + HALO, ny)
        try:
            room = rooms.pop()
        except IndexError:
            room = new_sums(nfibre, BLOCKS * STEP + 2 * HALO), new_places(pixels.shape[1], nfibre, settings.width), new_room(nfibre)
        sum_rows(image, knots, tables, settings, bits, always, first, last, first, room[1], room[0], out.mask)
        fill_lost(room[0], last - first)
        make_rows(image.mask, knots, tables, noise, bits, always, *span, first, room[0], room[2], out)
        rooms.append(room)

    run_tasks(of_rows, blocks_of(ny))
    finish(knots, on, bits, out)
    return out


def blocks_of(ny: int) -> list[tuple[int, int]]:
    """First and last (exclusive) block of each task."""
    n = -(-ny // STEP)
    return [(k, min(k + BLOCKS, n)) for k in range(0, n, BLOCKS)]


def finish(knots: Knots, alive: npt.NDArray[np.bool_], bits: Bits, out: Spectra) -> None:
    """Wavelengths, line-spread functions and bits of whole fibres."""
    nfibre = len(alive)
    fibres = [(k, min(k + FIBRES, nfibre)) for k in range(0, nfibre, FIBRES)]
    run_tasks(lambda s: make_grid(knots, alive, bits, *s, out), fibres)


def _covers(noise: PixelNoise, shape: tuple[int, ...]) -> bool:
    """Whether the variance without light is known for all pixels."""
    area = sum(int((y1 - y0) * (x1 - x0)) for y0, y1, x0, x1 in noise.boxes)
    return area == shape[0] * shape[1] and bool(np.isfinite(noise.variance).all())
