"""Whether a flat lies along the dispersion where its traces have it, though a continuum has no lines."""

from __future__ import annotations

import math

import numpy as np
from numpy.polynomial import legendre
from pydantic import Field

from qa.values import scalar
from quicklook.ccd.arrays import Float64
from quicklook.ccd.image import Image
from quicklook.ccd.spectra import TraceSet
from quicklook.ccd.traceshift import TraceShift
from quicklook.core.errors import BadData
from quicklook.core.metrics import Measures, MetricDef, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_SIGMA = 1.1
_DIM = 0.1
_GROUPS = 25

SHIFT = MetricDef(
    "flat_wavelength_shift", "pixel",
    doc="Shift of a flat along the dispersion against the traces, from their tilts: what its wavelengths are wrong by.",
)  # fmt: skip
ERROR = MetricDef("flat_wavelength_error", "pixel", doc="Error of that shift, from the scatter of the fibres.")


class FlatWavelengthsParams(Params):
    """Parameters of `flat_wavelengths`."""

    samples: int = Field(120_000, ge=1000, description="number of profiles that are fitted, over all fibres")
    blocks: int = Field(8, ge=3, le=64, description="number of parts of the wavelengths, in each of which a fibre has one shift")
    max_error: float = Field(0.2, gt=0.0, description="an error above which nothing is said: traces too straight, or too little light [pixel]")


class FlatWavelengths(MonitoringAlg[FlatWavelengthsParams]):
    """Measures a shift of a flat along the dispersion, for which it has no lines.

    The traces are not parallel to the columns, and lean differently at the ends of slit and spectrum: light that has moved by s along y lies
    -(dx/dy) s beside its trace. What all wavelengths of a fibre share, and what all fibres share at a wavelength, may be flexure across the
    dispersion, a rotation, a change of scale, or an error of a trace, and is taken out. It rests on the image moving as a whole: a camera whose
    distortion changes by some thousandths of a pixel looks the same, and for both an arc is what helps. How well it is known is a matter of
    light and tilt; a shift of less than some three errors, near half a pixel where it is known to 0.15, is not told from none.
    Formula: flat_wavelength_shift = sum(d t) / sum(t^2), pixel, d = measured shift across and t = -dx/dy of the blocks of all fibres, both without
    their means over fibres and over blocks, with a cut at 5 sigma; flat_wavelength_error = sqrt(sum((d - s t)^2) / (blocks - free means) /
    sum(t^2)). d comes from fits A P + B P' + level to the profiles: sum B / sum A.
    Source: own definition: linear least squares on the geometry of the traces.
    """

    name = "flat_wavelengths"
    group = "Fibres"
    metrics = (SHIFT, ERROR)

    def measure(self, image: Image, traces: TraceSet, shift: TraceShift) -> Measures:
        """Of a flat and its traces as `flexure` has moved them; it does not apply where the error is larger than is of use.

        NaN where no light lies on the traces. Raises BadData for traces of another detector.
        """
        from qa.kernels.profiles import shift_along

        ny, nx = image.shape
        if (traces.npix_y, traces.npix_x) != (ny, nx):
            raise BadData(f"camera {image.camera}: traces of {traces.npix_x} x {traces.npix_y} pixels, the image has {nx} x {ny}; certify others")
        across, slope = self._blocks(image, traces, shift)
        if not np.isfinite(across).any():
            why = "no light lies on the traces"
            return Measures((scalar(SHIFT, math.nan, why), scalar(ERROR, math.nan, why)))
        found = shift_along(across, slope)
        if not found.error <= self.params.max_error:
            known = f"would be known to {found.error:.2f} pixel alone" if math.isfinite(found.error) else "cannot be known"
            why = f"a shift along the dispersion {known}: the traces lean too little, or have too little light; an arc tells"
            return Measures((not_applicable(SHIFT.name, why), not_applicable(ERROR.name, why)))
        told = f"known to {found.error:.2f}; a pixel along moves the light {1000 * found.lever:.1f} thousandths of one across"
        return Measures(
            (scalar(SHIFT, found.shift, told), scalar(ERROR, found.error)),
            plots=(_plot(image.camera, found.own, found.tilt, found.shift),),
            facts={"lever": found.lever, "fibers": int(np.isfinite(found.own).any(axis=1).sum())},
        )


    def _blocks(self, image: Image, traces: TraceSet, shift: TraceShift) -> tuple[Float64, Float64]:
        """Shift across against the traces of the calibration (NaN without light), and mean dx/dy of what it rests on, [nfibre, nblock]."""
        from qa.kernels.profiles import profile_shifts

        blocks = self.params.blocks
        n = max(4 * blocks, min(6 * image.shape[0] // 5, self.params.samples // traces.nfibre))
        t = np.linspace(-1.0, 1.0, 2 * n + 1)[1::2]
        x, y, slope, sigma = _places(traces, t)
        row, block = np.rint(y).astype(np.int64), np.arange(n) * blocks // n
        moved, lean, light = (np.zeros((traces.nfibre, blocks)) for _ in range(3))
        profile_shifts(image.pixels, image.ivar, x + slope * (row - y), row, sigma, slope, block, _noise2(image), moved, lean, light)
        lit = light > _DIM * float(np.median(light[light > 0])) if (light > 0).any() else np.zeros(light.shape, bool)
        middle = (np.arange(blocks) + 0.5) * 2.0 / blocks - 1.0
        across = np.divide(moved, light, out=np.full(light.shape, math.nan), where=lit) + _model(shift, traces, middle)
        return across, np.divide(lean, light, out=np.full(light.shape, math.nan), where=lit)


def _series(c: Float64, t: Float64) -> Float64:
    """Legendre series of all fibres [nfibre, ncoef] at [n]: [n, nfibre]."""
    return np.asarray(legendre.legvander(t, c.shape[1] - 1) @ c.T)


def _derivative(c: Float64) -> Float64:
    return np.asarray(legendre.legder(c, axis=1))


def _places(traces: TraceSet, t: Float64) -> tuple[Float64, Float64, Float64, Float64]:
    """x, y, dx/dy and the width across, pixels, of all fibres at reduced wavelengths [n]: [n, nfibre]."""
    x, y = _series(traces.x, t), _series(traces.y, t)
    with np.errstate(divide="ignore", invalid="ignore"):
        slope = np.nan_to_num(_series(_derivative(traces.x), t) / _series(_derivative(traces.y), t), posinf=0.0, neginf=0.0)
    sigma = np.full(x.shape, _SIGMA) if traces.xsig is None else _series(traces.xsig, t)
    return x, y, slope, np.where((sigma > 0.3) & (sigma < 5.0), sigma, _SIGMA)


def _model(shift: TraceShift, traces: TraceSet, t: Float64) -> Float64:
    """By how much `flexure` has moved the traces in x, [nfibre, n]."""
    middle = _series(traces.x, np.zeros(1))[0]
    low, high = float(middle.min()), float(middle.max())
    u = 2.0 * (middle - low) / (high - low) - 1.0 if high > low else np.zeros(len(middle))
    model = shift.x.model
    return np.asarray(u[:, None] ** np.arange(model.shape[0]) @ model @ legendre.legvander(t, model.shape[1] - 1).T)


def _noise2(image: Image) -> float:
    noise = [v for v in image.read_noise.values() if math.isfinite(v) and v > 0]
    return float(np.median(noise)) ** 2 if noise else 9.0


def _plot(camera: str, own: Float64, tilt: Float64, shift: float) -> Plot:
    """Means of groups of measurements of like tilt, beside what the shift found, and one pixel, make of them."""
    use = np.isfinite(own) & np.isfinite(tilt)
    order = np.argsort(tilt[use])
    groups = [g for g in np.array_split(order, _GROUPS) if g.size]
    x = np.array([float(tilt[use][g].mean()) for g in groups])
    y = np.array([float(own[use][g].mean()) for g in groups])
    ends = x[[0, -1]]
    lines = tuple(Line(x=ends, y=size * ends, label=label) for size, label in ((shift, f"shift {shift:+.2f} pixel"), (1.0, "1 pixel")))
    axes = Axis(label="across, by one pixel along", unit="pixel"), Axis(label="measured across", unit="pixel")
    panel = Panel(x=axes[0], y=axes[1], layers=(Scatter(x=x, y=y, label="measured"), *lines), title="Light beside the traces, by their tilt")
    return Plot(name="flat_wavelengths", title=f"Flat along the dispersion, camera {camera}", panels=(panel,))
