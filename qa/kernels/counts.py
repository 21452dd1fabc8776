"""Counts of good and of bright pixels along the rows, in one pass and without a copy."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from quicklook.ccd.arrays import Float32, UInt16
from quicklook.core.compiled import jit

Counts = npt.NDArray[np.int64]


@jit
def _above(pixels, mask, edge, good, above):  # type: ignore[no-untyped-def]
    for i in range(pixels.shape[0]):
        line, marks = pixels[i], mask[i]
        n = np.int32(0)
        m = np.int32(0)
        for j in range(line.size):
            ok = marks[j] == 0
            n += np.int32(ok)
            m += np.int32(ok & (line[j] > edge))
        good[i] = n
        above[i] = m


def count_above(pixels: Float32, mask: UInt16, edge: float) -> tuple[Counts, Counts]:
    """Of each row of [ny, nx]: pixels whose mask is 0, and those of them that lie above the edge."""
    good, above = np.empty(pixels.shape[0], np.int64), np.empty(pixels.shape[0], np.int64)
    _above(pixels, mask, np.float32(edge), good, above)
    return good, above
