"""A large image made small: means of blocks of good pixels."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quicklook.core.compiled import jit


@jit
def _block_means(pixels, mask, by, bx, step, out, masked):  # type: ignore[no-untyped-def]
    ny, nx = pixels.shape
    # Sums down the columns first: that loop is vectorised.
    sums = np.empty(nx, np.float32)
    good = np.empty(nx, np.int32)
    for i in range(out.shape[0]):
        sums[:] = 0.0
        good[:] = 0
        rows = 0
        for y in range(i * by, min((i + 1) * by, ny), step):
            rows += 1
            for x in range(nx):
                ok = mask[y, x] == 0
                sums[x] += pixels[y, x] if ok else np.float32(0.0)
                good[x] += ok
        for b in range(out.shape[1]):
            first, last = b * bx, min((b + 1) * bx, nx)
            total = 0.0
            n = 0
            for x in range(first, last):
                total += sums[x]
                n += good[x]
            out[i, b] = total / n if n > 0 else np.nan
            masked[i, b] = 2 * (rows * (last - first) - n) >= rows


def preview(pixels: npt.NDArray[np.float32], mask: npt.NDArray[np.uint16], size: int) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.bool_], int]:
    """Image [ny, nx] in blocks of equal size, so that its long side has at most `size` pixels.

    Returns the means of the good pixels of each block (NaN where there is none), where at least half a column of a block is masked, and the
    size of the blocks. Of large blocks every fourth row is read. Equal to a loop in plain numpy to 1e-5 of the mean.
    """
    block = -(-max(pixels.shape) // size)
    shape = (-(-pixels.shape[0] // block), -(-pixels.shape[1] // block))
    out, masked = np.empty(shape, np.float32), np.empty(shape, np.bool_)
    _block_means(pixels, mask, block, block, 4 if block >= 8 else 1, out, masked)
    return out, masked, block
