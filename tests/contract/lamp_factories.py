"""Photon transfer, arc areas and the references of lamps for the contract suite."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from spectra_factories import INSTRUMENT

from quicklook.ccd.arcareas import ArcAreas
from quicklook.ccd.calibs import PhotonTransfer, ReferenceArc, ReferenceFlat
from quicklook.core.product import Product

AMPS = ("A", "B", "C", "D")
WAVES = np.array([5854.1, 6404.0, 7034.4])


def photon_transfer(case: Any, number: int) -> PhotonTransfer:
    """One of four amplifiers has no gain, none a full well."""
    gain = np.array([1.28, 1.33, np.nan, 1.3])
    level = np.tile(np.array([10.0, 1000.0, 20_000.0, np.nan]), (4, 1))
    return PhotonTransfer(
        amp=AMPS,
        gain=gain,
        gain_error=0.01 * gain,
        read_noise=np.full(4, 2.8),
        read_noise_error=np.full(4, 0.01),
        full_well=np.full(4, np.nan),
        linearity=np.full(4, 0.003 + 0.001 * number),
        level=level,
        variance=level / 1.3 + 4.0,
    )


def _lines(number: int) -> dict[str, np.ndarray]:
    """Areas and widths [nfibre, nline], a fibre without light."""
    rng, n = np.random.default_rng(number), INSTRUMENT.layout.nfibre
    area, sigma = rng.normal(1000.0, 30.0, (n, len(WAVES))), rng.normal(0.6, 0.02, (n, len(WAVES)))
    area[INSTRUMENT.layout.dead_fibre] = sigma[INSTRUMENT.layout.dead_fibre] = np.nan
    return {"area": area, "sigma": sigma}


def _fibres() -> np.ndarray:
    return np.arange(INSTRUMENT.layout.nfibre, dtype=np.int32)


def arc_areas(case: Any, number: int) -> ArcAreas:
    return ArcAreas(camera="r0", wave=WAVES.copy(), name=("Ne I", "Ne I", "Ne I"), fiber=_fibres(), **_lines(number))


def reference_arc(case: Any, number: int) -> ReferenceArc:
    return ReferenceArc(wave=WAVES.copy(), fiber=_fibres(), **_lines(99))


def reference_flat(case: Any, number: int) -> ReferenceFlat:
    level = np.linspace(90.0, 110.0, INSTRUMENT.layout.nfibre)
    level[INSTRUMENT.layout.dead_fibre] = np.nan
    return ReferenceFlat(fiber=_fibres(), level=level)


FACTORIES: dict[type[Product], Callable[[Any, int], Product]] = {
    PhotonTransfer: photon_transfer,
    ArcAreas: arc_areas,
    ReferenceArc: reference_arc,
    ReferenceFlat: reference_flat,
}
