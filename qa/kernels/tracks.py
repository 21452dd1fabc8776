"""Pixels that carry a bit of a mask, and how many groups they make."""

from __future__ import annotations

import numpy as np

from quicklook.ccd.arrays import Float32, UInt16
from quicklook.ccd.memo import remembered
from quicklook.core.compiled import jit

_CHUNK = 64  # pixels that are looked at together: most of them hold nothing


@jit
def _quads(below, above, first, last):  # type: ignore[no-untyped-def]
    """Four times the Euler number from the quads of two lines whose upper right pixel is first ... last - 1."""
    one = 0
    three = 0
    diagonal = 0
    a, b, c, d = below[first - 1 : last - 1], below[first:last], above[first - 1 : last - 1], above[first:last]
    for j in range(b.size):
        n = a[j] + b[j] + c[j] + d[j]
        one += n == 1
        three += n == 3
        diagonal += (n == 2) & (a[j] == d[j])
    return one - three - 2 * diagonal


@jit
def _held(line, out):  # type: ignore[no-untyped-def]
    """All bits of each chunk of a line, of what is left behind the whole ones in the last."""
    whole = line.size // _CHUNK
    for k in range(whole):
        part = line[k * _CHUNK : (k + 1) * _CHUNK]
        held = np.uint16(0)
        for j in range(_CHUNK):  # of known length: the compiler makes a few instructions of it
            held |= part[j]
        out[k] = held
    held = np.uint16(0)
    for j in range(whole * _CHUNK, line.size):
        held |= line[j]
    out[whole] = held


@jit
def _count(mask, bit, other, y0, y1, x0, x1):  # type: ignore[no-untyped-def]
    """Pixels of a section that carry the bit, four times the Euler number of the groups that they make, and pixels that carry the other bit."""
    chunks = (x1 - x0) // _CHUNK + 1  # the last holds at least the place behind the last pixel
    held = np.zeros(chunks, np.uint16)
    lines = np.zeros((2, chunks * _CHUNK + 1), np.uint8)  # pixel x of the section stands at x + 1
    full = np.zeros((2, chunks), np.bool_)
    pixels = 0
    euler = 0
    others = 0
    for y in range(y0, y1 + 1):
        new = (y - y0) % 2
        old = 1 - new
        row = mask[min(y, y1 - 1), x0:x1]
        if y < y1:
            _held(row, held)
        else:
            held[:] = 0
        for k in range(chunks):
            part = row[k * _CHUNK : (k + 1) * _CHUNK]
            if (held[k] & bit) != 0:
                line = lines[new, k * _CHUNK + 1 : (k + 1) * _CHUNK + 1]
                for j in range(part.size):
                    line[j] = (part[j] & bit) != 0
                    pixels += line[j]
                full[new, k] = True
            elif full[new, k]:
                lines[new, k * _CHUNK + 1 : (k + 1) * _CHUNK + 1] = 0
                full[new, k] = False
            if (held[k] & other) != 0:
                for j in range(part.size):
                    others += (part[j] & other) != 0
        before = False
        for k in range(chunks):
            here = full[0, k] or full[1, k]
            if here or before:
                euler += _quads(lines[old], lines[new], k * _CHUNK + 1, (k + 1) * _CHUNK + 1)
            before = here
    return pixels, euler, others


@jit
def _pixels(mask, bit, y0, y1, x0, x1):  # type: ignore[no-untyped-def]
    """Pixels of a section that carry the bit."""
    pixels = 0
    for y in range(y0, y1):
        line = mask[y, x0:x1]
        held = np.uint16(0)
        for j in range(line.size):
            held |= line[j]
        if (held & bit) != 0:
            for j in range(line.size):
                pixels += (line[j] & bit) != 0
    return pixels


def count_pixels(mask: UInt16, bit: int, section: tuple[slice, slice]) -> int:
    """Pixels of a section of the mask [ny, nx] that carry `bit`. Lines without it are passed at the speed of the memory."""
    rows, columns = section
    return int(_pixels(mask, np.uint16(bit), rows.start, rows.stop, columns.start, columns.stop))


@jit
def _unusable(mask, ivar, bit, y0, y1, step, x0, x1):  # type: ignore[no-untyped-def]
    """Pixels that are masked or have no weight, and those that carry the bit, of every `step`-th line of a section."""
    lost = 0
    marked = 0
    for y in range(y0, y1, step):
        line, weight = mask[y, x0:x1], ivar[y, x0:x1]
        for j in range(line.size):
            lost += (line[j] != 0) | (weight[j] <= np.float32(0))
            marked += (line[j] & bit) != 0
    return lost, marked


def count_unusable(mask: UInt16, ivar: Float32, bit: int, section: tuple[slice, slice], step: int) -> tuple[int, int, int]:
    """Of every `step`-th line of a section [ny, nx]: pixels that are masked or have inverse variance 0, those that carry `bit`, and all."""
    rows, columns = section
    lost, marked = _unusable(mask, ivar, np.uint16(bit), rows.start, rows.stop, step, columns.start, columns.stop)
    return int(lost), int(marked), len(range(rows.start, rows.stop, step)) * (columns.stop - columns.start)


def count_groups(mask: UInt16, bit: int, section: tuple[slice, slice], other: int = 0) -> tuple[int, int, int]:
    """Pixels of a section of the mask [ny, nx] that carry `bit`, the number of connected groups of them, less their holes, and pixels with `other`.

    Pixels that touch at a corner are connected; what lies outside of the section is not looked at. Source: the Euler number from counts
    of 2 x 2 quads, (Q1 - Q3 - 2 QD) / 4 (Gray 1971, IEEE Trans. Comput. C-20, 551). What is asked of a mask that cannot change is found out once:
    going through it takes longer than all that is done with it.
    """
    rows, columns = section
    where = rows.start, rows.stop, columns.start, columns.stop

    def count() -> tuple[int, int, int]:
        pixels, euler, others = _count(mask, np.uint16(bit), np.uint16(other), *where)
        return int(pixels), euler // 4, int(others)

    return remembered(mask, ("groups", bit, other, where), count)
