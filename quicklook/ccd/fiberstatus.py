"""FIBERSTATUS: what is known of a fibre, and which of it makes a fibre useless. The one place where these bits stand."""

from __future__ import annotations

from enum import IntFlag

import numpy as np

from quicklook.ccd.arrays import Raw
from quicklook.ccd.exposure import FiberMap


class FiberStatus(IntFlag):
    """Bits of FIBERSTATUS in use here, numbered as in the DESI data model (fibermask); 0 is good."""

    BROKENFIBER = 1 << 2
    BADFIBER = 1 << 16
    BADTRACE = 1 << 17
    BADFLAT = 1 << 18


BROKEN = int(FiberStatus.BROKENFIBER | FiberStatus.BADFIBER | FiberStatus.BADTRACE)
"""A fibre that gives no light, or none that can be extracted."""
UNUSABLE = BROKEN | int(FiberStatus.BADFLAT)
"""A fibre whose spectrum cannot be used; other bits (a positioner that is stuck) say where it looks, not whether it gives light."""


def fiber_status(fibermap: FiberMap) -> Raw:
    """FIBERSTATUS of each fibre, int64 [nfibre]; 0 where the fibre map has no such column.

    What is no number (NaN, infinite, no integer that fits) says nothing good of a fibre: BADFIBER.
    """
    given = fibermap.columns.get("FIBERSTATUS")
    if given is None:
        return np.zeros(len(fibermap.fiber), np.int64)
    column = np.asarray(given)
    if column.dtype.kind in "iub":
        return column.astype(np.int64)
    values = _numbers(column)
    known = np.isfinite(values) & (np.abs(values) < 2.0**63)
    return np.where(known, np.where(known, values, 0.0).astype(np.int64), int(FiberStatus.BADFIBER))


def _numbers(column: Raw) -> Raw:
    """As float64; text and objects that are no numbers are NaN."""
    if column.dtype.kind == "f":
        return column.astype(np.float64)
    out = np.full(len(column), np.nan)
    for i, value in enumerate(column):
        try:
            out[i] = float(value)
        except (TypeError, ValueError):
            continue
    return out


def known_bad(fibermap: FiberMap) -> Raw:
    """Whether the fibre map says that a fibre cannot be used, bool [nfibre]: by its status, or as OBJTYPE BAD."""
    return np.asarray(((fiber_status(fibermap) & UNUSABLE) != 0) | np.array([t == "BAD" for t in fibermap.objtype]))
