"""Signal-to-noise of the targets against their magnitudes."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from pydantic import Field

from qa.targets import CLASSES, Catalogue, catalogue, in_blocks, on_focal_plane
from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.photometry import NANOMAGGIE_ZERO, ab_magnitude
from quicklook.ccd.spectra import Frame
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Coord, Measured, Measures, MetricDef, measured
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_FAR = 2.5
"""A class whose faintest target is so much brighter than the fiducial magnitude says nothing of it by itself."""
_SHOWN = 1.0

FIDUCIAL = MetricDef(
    "fiducial_snr", "", dims=("target",), doc="S/N per sample of a target of the fiducial magnitude, from a fit to the targets of a class."
)
ERROR = MetricDef("fiducial_snr_error", "", dims=("target",), doc="Error of fiducial_snr by the scatter of the targets about the fit.")
SCATTER = MetricDef("snr_scatter", "", doc="Robust scatter of the S/N about the fits, relative to them.")

Fit = tuple[float, float]


class SnrParams(Params):
    """Parameters of `snr`."""

    fiducial_mag: float = Field(22.0, gt=10.0, lt=30.0, description="magnitude at which the S/N is stated, in the band of the arm [mag]")
    min_targets: int = Field(3, ge=1, description="with fewer targets a class is left out")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seen:
    """Row, class, catalogue flux (nanomaggies) and S/N of every target with a magnitude and a usable spectrum."""

    row: Raw
    kind: Raw
    flux: Float64
    snr: Float64

    def of(self, kind: str) -> tuple[Float64, Float64]:
        """Flux and S/N of a class."""
        own = self.kind == kind
        return self.flux[own], self.snr[own]


class Snr(MonitoringAlg[SnrParams]):
    """Measures the S/N of the targets against their magnitude, and states it for one magnitude, by class.

    The S/N of a spectrum is the median, over 32 blocks of wavelength, of the mean of flux / error per sample; f is the flux of the catalogue in the
    band of the arm.
    Formula: S/N = a f / sqrt(1 + b f): signal over the root of the variance of read-out and sky (the 1) and of the signal itself (b f); (f / S/N)^2
    is then a straight line in f, which is fitted robustly for each class. fiducial_snr = the fit at `fiducial_mag`, per sample; fiducial_snr_error
    = fiducial_snr x scatter of the targets near that magnitude x sqrt(pi / (2 n)); snr_scatter = 1.4826 MAD of S/N / fit - 1.
    Source: it stands for FIDSNR_TGT (Calculate_SNR) of DESI's quick-look, with its magnitude 22 and the band of each arm. The form is that of any
    photon counter (Howell 2006, Handbook of CCD Astronomy, section 4.4).
    """

    name = "snr"
    group = "Spectra"
    metrics = (FIDUCIAL, ERROR, SCATTER)

    def measure(self, frame: Frame) -> Measures:
        """Of sky-subtracted, best of calibrated spectra.

        A class of which the fibre map has targets, but too few with a magnitude and a usable spectrum, is NaN and says so. Raises NotApplicable
        where there are no targets of a known class, BadData where the fibre map does not say which classes or magnitudes its targets have.
        """
        known = catalogue(frame)
        kinds = [k for k in CLASSES if known.marked(k) >= self.params.min_targets]
        if not kinds:
            raise NotApplicable(f"the fibre map has fewer than {self.params.min_targets} targets of any class")
        seen = _seen(frame, known)
        common = fit(seen.flux, seen.snr)
        fits = {k: fit(*seen.of(k), like=common) for k in kinds if np.count_nonzero(seen.kind == k) >= self.params.min_targets}
        off = _residuals(seen, fits)
        fiducial = self._fiducial(known, seen, fits, kinds, common)
        facts: dict[str, str | int | float | bool | None] = {"band": known.band, "fiducial_mag": self.params.fiducial_mag}
        facts["targets"] = int(seen.row.size)
        metrics = (fiducial, _errors(fiducial, seen, off, self.params.fiducial_mag), _scatter(off))
        return Measures(metrics, plots=(self._plot(frame, known.band, seen, fits, off),), facts=facts)

    def _fiducial(self, known: Catalogue, seen: _Seen, fits: Mapping[str, Fit], kinds: list[str], common: Fit) -> Measured:
        """S/N at the fiducial magnitude; a class that does not come within a magnitude of it is represented by the fit to all targets."""
        flux = 10 ** (-0.4 * (self.params.fiducial_mag - NANOMAGGIE_ZERO))
        values: dict[str, float] = dict.fromkeys(kinds, math.nan)
        remarks: dict[Coord | tuple[Coord, ...], str] = {
            k: known.why(k, int(np.count_nonzero(seen.kind == k))) for k in kinds if k not in fits
        }  # fmt: skip
        for kind, own in fits.items():
            faintest = float(seen.of(kind)[0].min())
            far = faintest > _FAR * flux
            value = float(curve(np.array([flux]), common if far else own)[0])
            values[kind] = value if math.isfinite(value) else math.nan
            if not math.isfinite(value):
                remarks[kind] = "the S/N of the targets does not follow their flux"
            elif far:
                remarks[kind] = f"from targets of all classes: the faintest {kind} has magnitude {float(ab_magnitude(faintest)):.1f}"
        return measured(FIDUCIAL.name, list(values.values()), target=list(values), remarks=remarks)

    def _plot(self, frame: Frame, band: str, seen: _Seen, fits: Mapping[str, Fit], off: Float64) -> Plot:
        points, lines = _curves(seen, fits)
        mag, told = ab_magnitude(seen.flux), np.isfinite(off)
        shown = np.clip(off, -_SHOWN, _SHOWN)
        residuals = [Scatter(x=mag[own], y=shown[own], label=k) for k in fits if (own := told & (seen.kind == k)).any()]
        x, y = Axis(label=f"magnitude {band}", unit="mag"), Axis(label="S/N / fit - 1")
        panels = [
            Panel(x=x, y=Axis(label="S/N of a sample", log=True), layers=(*points, *lines), title="S/N against magnitude"),
            Panel(x=x, y=y, layers=tuple(residuals), title="What the fits leave"),
        ]
        panels += on_focal_plane(frame.fibermap, seen.row[told], shown[told], y, "Residuals on the focal plane")
        return Plot(name="snr", title=f"S/N, camera {frame.camera}", panels=tuple(panels), columns=2)


def _curves(seen: _Seen, fits: Mapping[str, Fit]) -> tuple[list[Scatter], list[Line]]:
    """Points of each class, and one line that is broken between the fits: S/N against magnitude."""
    points: list[Scatter] = []
    fits_x: list[Float64] = []
    fits_y: list[Float64] = []
    for kind, own in fits.items():
        flux, snr = seen.of(kind)
        mag, snr = ab_magnitude(flux[snr > 0]), snr[snr > 0]
        points.append(Scatter(x=mag, y=snr, label=kind))
        if mag.size and math.isfinite(own[0]):
            grid = np.linspace(float(mag.min()), float(mag.max()), 40)
            fits_x.append(np.append(grid, np.nan))
            fits_y.append(np.append(curve(10 ** (-0.4 * (grid - NANOMAGGIE_ZERO)), own), np.nan))
    return points, [Line(x=np.concatenate(fits_x), y=np.concatenate(fits_y), label="fits")] if fits_x else []


def _seen(frame: Frame, known: Catalogue) -> _Seen:
    rows = known.rows()
    snr = in_blocks(frame, rows).median_snr()
    good = np.isfinite(snr)
    return _Seen(row=rows[good], kind=known.kind[rows][good], flux=known.flux[rows][good], snr=snr[good])


def curve(flux: Float64, own: Fit) -> Float64:
    """S/N of a target: a f / sqrt(1 + b f), a its S/N in the noise of sky and read-out, b what its own photons add to it."""
    a, b = own
    return np.asarray(a * flux / np.sqrt(1.0 + np.maximum(b * flux, 0.0)))


def fit(flux: Float64, snr: Float64, like: Fit = (math.nan, math.nan)) -> Fit:
    """The two numbers of `curve`: (f/snr)^2 is a straight line in f; robust, by repeated weighted least squares. NaN where there is no fit.

    Of few targets, or of a narrow range of f, a alone is fitted, and b is that of `like` (0 where it has none).
    """
    if snr.size < 2:
        return math.nan, math.nan
    good = snr > 0.02 * max(float(np.median(snr)), 1e-9)
    if np.count_nonzero(good) < 2 or not np.median(snr) > 0:
        return math.nan, math.nan
    f, y = flux[good], (flux[good] / snr[good]) ** 2
    typical, wide = float(np.median(y)), f.size >= 4 and np.ptp(f) > 0.3 * f.mean()
    if not wide:
        b = like[1] if math.isfinite(like[1]) else 0.0
        return 1.0 / math.sqrt(float(np.median(y / (1.0 + b * f)))), b
    c0, c1, weight = typical, 0.0, np.ones(f.size)
    for _ in range(8):
        w = weight / np.maximum(c0 + c1 * f, 1e-3 * typical)
        c0, c1 = _straight(f, y, w, typical)
        off = np.abs(y / np.maximum(c0 + c1 * f, 1e-9) - 1)
        weight = 1.0 / np.maximum(1.0, off / max(1.5 * float(np.median(off)), 1e-9))
    return 1.0 / math.sqrt(c0), c1 / c0


def _straight(f: Float64, y: Float64, w: Float64, typical: float) -> Fit:
    """Constant and slope of a line through y with weights w, none of them negative."""
    w2 = w * w
    s, sf, sy = float(w2.sum()), float(w2 @ f), float(w2 @ y)
    sff, sfy = float(w2 @ (f * f)), float(w2 @ (f * y))
    c1 = (s * sfy - sf * sy) / max(s * sff - sf * sf, 1e-300)
    c0 = (sy - c1 * sf) / s
    if c1 < 0:
        return sy / s, 0.0
    return (c0, c1) if c0 > 0 else (1e-6 * typical, sfy / sff)


def _residuals(seen: _Seen, fits: Mapping[str, Fit]) -> Float64:
    """S/N over the fit of the class, less 1, of each target; NaN where there is no fit."""
    off = np.full(seen.row.size, np.nan)
    for kind, own in fits.items():
        use = seen.kind == kind
        off[use] = seen.snr[use] / curve(seen.flux[use], own) - 1.0
    return off


def _robust(off: Float64) -> float:
    return float(1.4826 * np.median(np.abs(off - np.median(off))))


def _errors(fiducial: Measured, seen: _Seen, off: Float64, mag: float) -> Measured:
    """Relative scatter of the targets near the fiducial magnitude over the root of their number, times sqrt(pi/2), for the fit is robust."""
    near = np.exp(-0.5 * (ab_magnitude(seen.flux) - mag) ** 2)
    values, remarks = [], dict(fiducial.remarks)
    for kind, value in zip(fiducial.coords["target"], fiducial.values, strict=True):
        own = np.isfinite(off) & ((seen.kind == kind) | ("all classes" in fiducial.remarks.get((kind,), "")))
        weight, number = near[own], float(near[own].sum())
        known = number > 0.5 and int(np.count_nonzero(own)) > 1
        spread = math.sqrt(float(weight @ np.minimum(np.square(off[own]), 1.0)) / number) if known else math.nan
        values.append(value * spread * math.sqrt(0.5 * math.pi / number) if known else math.nan)
        remarks.setdefault((kind,), "" if known else "too few targets near that magnitude tell")
    return measured(ERROR.name, values, target=fiducial.coords["target"], remarks={k: v for k, v in remarks.items() if v})


def _scatter(off: Float64) -> Measured:
    known = off[np.isfinite(off)]
    if known.size < 3:
        return measured(SCATTER.name, math.nan, remarks={(): "no fit"})
    return measured(SCATTER.name, _robust(known))
