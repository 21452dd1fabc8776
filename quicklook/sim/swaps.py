"""Fibres that have each other's targets, where the fibre map has them the other way round."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from quicklook.core.errors import BadConfig
from quicklook.sim.faults import find_fault
from quicklook.sim.instrument import SimInstrument
from quicklook.sim.plan import PlannedExposure
from quicklook.sim.streams import Purpose, stream
from quicklook.sim.targets import Targets

SWAPPED = "swapped_fibers"
_STREAM = 4
_EMPTY, _ALIKE = 25.0, 0.2
"""Magnitude that counts for empty sky; those of fibres that differ by no more count as alike."""


def swapped_pairs(instrument: SimInstrument, planned: PlannedExposure, targets: Targets) -> NDArray[np.int64]:
    """Rows [n, 2] of fibres whose targets are exchanged: those that the fault names, two by two, else one pair of sound fibres, alike in all arms.

    The first of that pair is one of the brighter targets, the second what differs from it most nearly by the strength of the fault.
    Raises BadConfig for a fibre that there is not.
    """
    fault = find_fault(planned.faults, SWAPPED, instrument.camera)
    if fault is None or planned.flavor != "science":
        return np.empty((0, 2), np.int64)
    if fault.fibers:
        if strange := [i for i in fault.fibers if not 0 <= i < len(targets.mag)]:
            raise BadConfig(f"fault {SWAPPED}: {instrument.camera} has no fibre {strange[0]}; its rows are 0 to {len(targets.mag) - 1}")
        return np.array(fault.fibers, np.int64).reshape(-1, 2)
    rng = stream(instrument.seed, Purpose.FIBRES, instrument.spectrograph, _STREAM, planned.tileid)
    sound = np.setdiff1d(np.arange(len(targets.mag)), [instrument.layout.dead_fibre, *instrument.low_fibres])
    mag = np.minimum(targets.mag[sound], _EMPTY)
    first = rng.permutation(np.argsort(mag)[: len(sound) // 3])[0]
    off = np.abs(np.abs(mag - mag[first]) - fault.value)
    off[first] = np.inf
    second = rng.permutation(np.flatnonzero(off <= off.min() + _ALIKE))[0]
    return np.asarray(sound[np.array([[first, second]])])


def exchanged(targets: Targets, pairs: NDArray[np.int64]) -> Targets:
    """Targets as the fibres see them where those of the rows `pairs` [n, 2] are exchanged; the numbers of the fibres stay."""
    order = np.arange(len(targets.fiber))
    order[pairs] = pairs[:, ::-1]
    return replace(targets, kind=targets.kind[order], mag=targets.mag[order], z=targets.z[order], temperature=targets.temperature[order])
