"""Which lines of an arc were identified, and how well a wavelength solution passes through them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from quicklook.ccd.arrays import Float64, Raw, check_array
from quicklook.core.product import Product


@dataclass(frozen=True, slots=True, kw_only=True)
class LineIdentification(Product):
    """The lines of an arc and the wavelength solution through them.

    [nfibre]: `nlines` that went into the solution, `rms` of their residuals (Angstrom; NaN where there are none). [nline], found lines in order of
    rows: `row` in the reference fibre, `height` of the peak (electron), `wave` of the entry of the list (NaN: not identified), `residual` and
    `scatter` over the fibres (Angstrom), `sigma` of the line-spread function (pixel, median over the fibres). `by_lamp`: identified lines by element.
    `faint_lamps`: elements of the lamps that have no bright lines in this range, and of which none was identified; `other_lamps`: those of
    which lines were identified though they are not among the described ones.
    `bright_matched`: fraction of the bright lines that are identified. `chance`: log10 of the expected number of wavelength scales that
    meet as many lines by chance, `rival`: the same for the next best scale. `degree` in wavelength; `dispersion` at the middle, Angstrom per row.
    """

    kind = "lineid"

    camera: str
    fiber: Raw
    nlines: Float64
    rms: Float64
    row: Float64
    height: Float64
    wave: Float64
    residual: Float64
    scatter: Float64
    sigma: Float64
    name: tuple[str, ...]
    by_lamp: Mapping[str, int] = field(default_factory=dict)
    faint_lamps: tuple[str, ...] = ()
    other_lamps: tuple[str, ...] = ()
    bright_matched: float
    chance: float
    rival: float
    degree: int
    dispersion: float

    def __post_init__(self) -> None:
        for name in ("nlines", "rms"):
            check_array(f"line identification {name}", getattr(self, name), shape=(len(self.fiber),), ndim=1, dtype=np.float64)
        for name in ("row", "height", "wave", "residual", "scatter", "sigma"):
            check_array(f"line identification {name}", getattr(self, name), shape=self.row.shape, ndim=1, dtype=np.float64)
        self.fiber.flags.writeable = False
