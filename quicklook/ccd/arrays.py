"""Checks that every array class makes once, when it is made."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from quicklook.core.errors import BadData

Float32 = npt.NDArray[np.float32]
Float64 = npt.NDArray[np.float64]
UInt16 = npt.NDArray[np.uint16]
Raw = npt.NDArray[Any]


def check_array(
    name: str, array: npt.NDArray[Any], *, shape: tuple[int, ...] | None = None, dtype: npt.DTypeLike = np.float32, ndim: int = 2
) -> None:
    """Refuse an array of another shape or dtype (BadData says which and what was wanted) and make it read-only."""
    if not isinstance(array, np.ndarray):
        raise BadData(f"{name} is a {type(array).__name__}, not an array")
    if array.dtype != np.dtype(dtype):
        raise BadData(f"{name} holds {array.dtype}, it must be {np.dtype(dtype)}")
    if array.ndim != ndim or array.size == 0:
        raise BadData(f"{name} has shape {array.shape}; it must have {ndim} axes, none of them empty")
    if shape is not None and array.shape != shape:
        raise BadData(f"{name} has shape {array.shape}, it must be {shape}")
    array.flags.writeable = False
