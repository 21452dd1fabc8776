"""Traces before their wavelengths are known, and what has to be known of a spectrograph to find both."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quicklook.ccd.arrays import Float64, Raw, check_array
from quicklook.core.errors import BadData
from quicklook.core.product import Calibration, Product


@dataclass(frozen=True, slots=True, kw_only=True)
class Spectrograph(Product):
    """What the description of an instrument says of the spectra on one camera; everything may be unknown.

    `fibres`: number of fibres (0: not known), in bundles of `bundle` (0: none). `slit`: apertures of a long slit, `fibres` of them, in place of
    fibres. `first_fibre`: number of the first one. `dispersion`: Angstrom per row, `centre`: vacuum Angstrom at the middle row (None: not known),
    both roughly, to within `dispersion_error` (relative) and `centre_error` (Angstrom). Wavelength rises with the row. `lamps`: elements whose
    lines an arc may have; empty: any.
    """

    kind = "spectrograph"

    camera: str
    fibres: int = 0
    bundle: int = 0
    slit: bool = False
    first_fibre: int = 0
    dispersion: float | None = None
    dispersion_error: float = 0.06
    centre: float | None = None
    centre_error: float = 200.0
    lamps: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelTraces(Calibration):
    """Where the light of every fibre lies, row by row, without wavelengths: a type of its own, so that no step takes a row for a wavelength.

    `x` [nfibre, ncoef] float64: Legendre series of x (CCD pixel) in 2 y / (npix_y - 1) - 1, y the row. `xsig` [nfibre, n]: Gaussian sigma of the
    profile across the dispersion, pixel, in the same form; for the apertures of a slit their width / sqrt(12), that of a uniform profile. `fiber`
    int32 [nfibre]: numbers, `lit` bool [nfibre]: whether light was seen; the traces of dark fibres are those of their neighbours, moved by the pitch.
    `slit`: these are apertures of a slit.
    """

    kind = "pixeltraces"

    x: Float64
    xsig: Float64
    npix_x: int
    npix_y: int
    fiber: Raw
    lit: Raw
    slit: bool = False

    def __post_init__(self) -> None:
        check_array("pixel traces x", self.x, dtype=np.float64)
        check_array("pixel traces xsig", self.xsig, shape=(self.nfibre, self.xsig.shape[1]), dtype=np.float64)
        check_array("pixel traces lit", self.lit, shape=(self.nfibre,), dtype=np.bool_, ndim=1)
        if len(self.fiber) != self.nfibre:
            raise BadData(f"{self.nfibre} traces, {len(self.fiber)} fibre numbers")
        if self.npix_y < 2 or not np.isfinite(self.x).all():
            raise BadData("pixel traces hold values that are no numbers")
        self.fiber.flags.writeable = False

    @property
    def nfibre(self) -> int:
        """Number of fibres."""
        return int(self.x.shape[0])

    def at_rows(self, series: Float64, rows: Raw) -> Float64:
        """A series of every fibre at rows [nrow]; gives [nfibre, nrow]."""
        t = 2.0 * np.asarray(rows, np.float64) / (self.npix_y - 1) - 1.0
        return np.asarray(series @ np.polynomial.legendre.legvander(t, series.shape[1] - 1).T, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceFit(Product):
    """How well traces follow the light of the flats they were found in; arrays [nfibre] float64, NaN where there was no light.

    `rms`: scatter of the measured places about the series, pixel; `sigma`: width, median along the trace, pixel; `flux`: electron in a row, median
    along the trace; `coverage`: fraction of the rows where the trace was measured; `centre`: x at the middle row. `expected`: fibres that the
    instrument has (0: not known); `pitch`: median distance of neighbours, pixel. `dark`: numbers of fibres without light.
    """

    kind = "tracefit"

    camera: str
    fiber: Raw
    rms: Float64
    sigma: Float64
    flux: Float64
    coverage: Float64
    centre: Float64
    expected: int
    pitch: float
    dark: tuple[int, ...]
    slit: bool = False

    def __post_init__(self) -> None:
        for name in ("rms", "sigma", "flux", "coverage", "centre"):
            check_array(f"trace fit {name}", getattr(self, name), shape=(len(self.fiber),), dtype=np.float64, ndim=1)
        self.fiber.flags.writeable = False
