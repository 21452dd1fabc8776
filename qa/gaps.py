"""What is said of elements of a metric that were not measured."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from quicklook.core.metrics import Coord


def gaps(values: npt.ArrayLike, *names: Sequence[Coord], why: str) -> dict[Coord | tuple[Coord, ...], str]:
    """`why` for every element of `values` that is NaN, by its coordinates; one list of names for each axis."""
    lost = np.argwhere(np.isnan(np.asarray(values, np.float64)))
    return {tuple(axis[i] for axis, i in zip(names, at, strict=True)): why for at in lost}
