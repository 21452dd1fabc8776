"""Independent random streams: one for each seed, purpose, camera and exposure."""

from __future__ import annotations

from enum import IntEnum

import numpy as np


class Purpose(IntEnum):
    """What a random stream is drawn for; the numbers are part of the seeds and must not change."""

    HARDWARE = 1
    TARGETS = 2
    PHOTONS = 3
    COSMICS = 4
    READOUT = 5
    FLEXURE = 6
    PLAN = 7
    DRIFT = 8
    LINES = 9
    FIBRES = 10
    GUIDE = 11


def stream(seed: int, purpose: Purpose, *key: int) -> np.random.Generator:
    """Generator that depends on seed, purpose and key alone, so that nothing depends on what else was drawn.

    The key goes into SeedSequence as a spawn key and not as entropy: entropy is padded with zeros, by which
    [seed, camera] and [seed, camera, 0] would be the same stream.
    """
    return np.random.default_rng(np.random.SeedSequence(seed, spawn_key=(int(purpose), *key)))
