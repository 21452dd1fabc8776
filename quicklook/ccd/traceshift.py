"""What was measured when traces were moved onto an exposure: the shift, and the fit of an arc."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from quicklook.ccd.arrays import Float64, check_array
from quicklook.core.errors import BadData
from quicklook.core.product import Product


@dataclass(frozen=True, slots=True, kw_only=True)
class ShiftSamples:
    """Single measurements of a shift, each of a group of fibres at one wavelength: arrays [nsample], the same length, which may be 1 of NaN.

    `fibre` is the middle row of the group, `wave` vacuum Angstrom, `shift` and `error` pixels.
    """

    fibre: Float64
    wave: Float64
    shift: Float64
    error: Float64

    def __post_init__(self) -> None:
        for name in ("fibre", "wave", "shift", "error"):
            check_array(f"shift samples {name}", getattr(self, name), shape=self.fibre.shape, dtype=np.float64, ndim=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class AxisShift:
    """Shift of the traces along one axis of the detector, exposure minus calibration, pixels.

    `model` [ni, nj]: coefficients of u^i P_j(t), u = -1 ... 1 across the fibres, P_j the Legendre polynomial of the reduced wavelength t of the
    traces. `mean`, `low`, `high` of the model over all fibres and the wavelengths on the detector. `rms`: scatter of the samples about the
    model; `error`: that of `mean`. All NaN where nothing was measured, then `remark` says why, and `model` is zero.
    """

    model: Float64
    mean: float
    low: float
    high: float
    rms: float
    error: float
    samples: ShiftSamples
    remark: str = ""

    def __post_init__(self) -> None:
        check_array("shift model", self.model, dtype=np.float64)
        if not np.isfinite(self.model).all():
            raise BadData("a shift of the traces is no number")

    @property
    def measured(self) -> bool:
        """Whether the shift is known."""
        return bool(np.isfinite(self.mean))


@dataclass(frozen=True, slots=True, kw_only=True)
class TraceShift(Product):
    """How far the traces of an exposure lie from those of the calibration: `x` across the dispersion, `y` along it.

    `y_expected`: whether this flavor has lines from which y can be measured (a flat has none). `lines_found`: which part of the lines of the sky
    that must be bright was found where the traces have it, 0 ... 1; NaN where that could not be said, None where there is no sky.
    """

    kind = "traceshift"

    camera: str
    x: AxisShift
    y: AxisShift
    y_expected: bool = True
    lines_found: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ArcFit(Product):
    """The lines of an arc as they were fitted, [nline] each, in the order of wavelength.

    `wave` vacuum Angstrom; `residual` (median over fibres of measured minus fitted place) and `scatter` (1.4826 MAD over fibres), pixels; `sigma`:
    Gaussian sigma of the line-spread function, median over fibres, pixels; `flux`: electrons, median over fibres; `nfibre`: how many fibres gave a
    good fit; `used`: whether it went into the solution. `remark`: what the solution could not be given, and why; empty for a full one.
    """

    kind = "arcfit"

    camera: str
    wave: Float64
    residual: Float64
    scatter: Float64
    sigma: Float64
    flux: Float64
    nfibre: Float64
    used: Float64
    remark: str = ""

    def __post_init__(self) -> None:
        for name in ("wave", "residual", "scatter", "sigma", "flux", "nfibre", "used"):
            check_array(f"arc fit {name}", getattr(self, name), shape=self.wave.shape, dtype=np.float64, ndim=1)
