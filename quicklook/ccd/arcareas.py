"""The lines of one arc exposure as they were measured, fibre by fibre."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quicklook.ccd.arrays import Float64, Raw, check_array
from quicklook.core.errors import BadData
from quicklook.core.product import Product


@dataclass(frozen=True, slots=True, kw_only=True)
class ArcAreas(Product):
    """`wave` [nline] vacuum Angstrom and `name` of the lines, `fiber` int32 [nfibre]; float64 [nfibre, nline]: `area` electron/s and `sigma`
    (Gaussian, Angstrom), NaN where a line was not well measured."""

    kind = "arcareas"

    camera: str
    wave: Float64
    name: tuple[str, ...]
    fiber: Raw
    area: Float64
    sigma: Float64

    def __post_init__(self) -> None:
        check_array("arc areas wave", self.wave, dtype=np.float64, ndim=1)
        if len(self.name) != len(self.wave):
            raise BadData(f"{len(self.wave)} arc lines have {len(self.name)} names")
        for what in ("area", "sigma"):
            check_array(f"arc areas {what}", getattr(self, what), shape=(len(self.fiber), len(self.wave)), dtype=np.float64)
        self.fiber.flags.writeable = False
