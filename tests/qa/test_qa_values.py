"""Short forms that QAs share."""

from __future__ import annotations

import numpy as np
import pytest

from qa.values import row_medians


@pytest.mark.parametrize("size", [1, 2, 7, 8])
def test_row_medians_are_those_of_numpy(size: int) -> None:
    rng = np.random.default_rng(size)
    values = rng.normal(size=(20, size)).astype(np.float32)
    good = rng.random(values.shape) < 0.6
    good[0], good[1] = False, True
    values[~good] = np.nan
    found = row_medians(values, good)
    for row, used, median in zip(values, good, found, strict=True):
        assert (median == np.median(row[used].astype(float))) if used.any() else np.isnan(median)
