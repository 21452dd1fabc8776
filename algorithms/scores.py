"""One value per fibre and stage: the columns of the SCORES table of the DESI data model."""

from __future__ import annotations

import functools

import numpy as np
import numpy.typing as npt
from pydantic import Field

from quicklook.ccd.arrays import Float64
from quicklook.ccd.photometry import AB_FLUX
from quicklook.ccd.scorenames import stage_word
from quicklook.ccd.spectra import Frame, Scores
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

_GRID = np.arange(3500.0, 10_000.0, 2.0)
_SMOOTH = 50
"""Half width, in steps of 2 Angstrom, of the mean over which a feature counts as continuum."""
_RESOLUTION = 0.8
"""Sigma of the line-spread function that narrow lines are given, Angstrom."""


class ScoresParams(Params):
    """Parameters of `compute_scores`."""

    templates: tuple[str, ...] = Field(("ELG", "LRG", "QSO", "STD"), description="target classes whose template S/N is stated for calibrated frames")


class ComputeScores(PipelineAlg[ScoresParams]):
    """Light, mean and median flux of every fibre at this stage, and the S/N that typical targets would have."""

    name = "compute_scores"

    def run(self, frame: Frame, scores: Scores | None) -> Scores:
        """The scores so far, and those of this stage of the frame added. NaN for fibres without usable samples."""
        columns, units = stage_scores(frame, self.params.templates)
        before = scores if scores is not None and np.array_equal(scores.fiber, frame.fibermap.fiber) else None
        return Scores(
            camera=frame.camera,
            fiber=frame.fibermap.fiber,
            columns={**(before.columns if before else {}), **columns},
            units={**(before.units if before else {}), **units},
        )


def stage_scores(frame: Frame, templates: tuple[str, ...] = ("ELG", "LRG", "QSO", "STD")) -> tuple[dict[str, Float64], dict[str, str]]:
    """Columns [nfibre] and their units, named as in the DESI data model (SUM_RAW_COUNT_R, TSNR2_ELG_R, ...).

    SUM is the integral of the flux over wavelength: electrons, then 1e-17 erg/(s cm2); it does not depend on the sampling, but what is masked is
    missing in it. MEAN and MEDIAN have the unit of the flux. NaN for a fibre without usable samples.
    """
    from algorithms.kernels import scores as kernel

    arm = frame.camera[:1].upper()
    stage = stage_word(frame.stage)
    out = np.empty((3, frame.flux.shape[0]))
    kernel.moments(frame.flux, frame.ivar, frame.mask, frame.wave, np.empty(frame.flux.shape[1], np.float32), out)
    names = tuple(f"{what}_{stage}_COUNT_{arm}" for what in ("SUM", "MEAN", "MEDIAN"))
    columns = {name: out[i].copy() for i, name in enumerate(names)}
    units = dict(zip(names, (_integrated(frame.unit), frame.unit, frame.unit), strict=True))
    if frame.stage == "cframe":
        table = np.array([template(kind) for kind in templates]).reshape(len(templates), _GRID.size)
        snr2 = np.empty((len(templates), frame.flux.shape[0]))
        grid = (float(_GRID[0]), float(_GRID[1] - _GRID[0]))
        kernel.template_snr2(frame.ivar, frame.mask, frame.wave, *grid, table, np.zeros(_GRID.size), snr2)
        for kind, values in zip(templates, snr2, strict=True):
            columns[f"TSNR2_{kind}_{arm}"], units[f"TSNR2_{kind}_{arm}"] = values.copy(), ""
    return columns, units


def _integrated(unit: str) -> str:
    """The unit of a flux times Angstrom."""
    return unit.removesuffix("/Angstrom") if unit.endswith("/Angstrom") else unit.replace(" Angstrom)", ")")


def _gauss(wave: Float64, centre: float, sigma: float) -> Float64:
    return np.asarray(np.exp(-0.5 * ((wave - centre) / sigma) ** 2))


def _elg(wave: Float64, z: float) -> Float64:
    """[OII] doublet of 1e-16 erg/(s cm2) and its fainter companions, on a continuum of magnitude 23."""
    flux = AB_FLUX * 10 ** (-0.4 * 23.0) / wave**2
    for rest, light in ((3727.1, 4.3), (3729.9, 5.7), (4862.7, 3.0), (4960.3, 2.0), (5008.2, 6.0)):
        sigma = np.hypot(_RESOLUTION, 70.0 / 299_792.458 * rest * (1 + z))
        flux = flux + light / (np.sqrt(2 * np.pi) * sigma) * _gauss(wave, rest * (1 + z), float(sigma))
    return flux


def _lrg(wave: Float64, z: float) -> Float64:
    """The break at 4000 Angstrom and the strongest absorption lines, magnitude 21."""
    rest = wave / (1 + z)
    shape = 0.35 + 0.65 / (1 + np.exp(-(rest - 4000.0) / 40.0))
    for centre in (3934.8, 3969.6, 4305.6, 5176.6, 5895.6):
        shape = shape * (1 - 0.35 * _gauss(rest, centre, 6.0))
    return np.asarray(AB_FLUX * 10 ** (-0.4 * 21.0) / wave**2 * shape)


def _qso(wave: Float64, z: float) -> Float64:
    """Broad lines on a power law, magnitude 22."""
    rest = wave / (1 + z)
    shape = np.ones_like(wave)
    for centre, strength, width in ((1215.7, 3.0, 18.0), (1549.1, 1.2, 18.0), (1908.7, 0.7, 20.0), (2799.0, 0.8, 20.0), (4862.7, 0.8, 25.0)):
        shape = shape + strength * _gauss(rest, centre, width)
    return np.asarray(AB_FLUX * 10 ** (-0.4 * 22.0) / wave**2 * shape)


def _std(wave: Float64, z: float) -> Float64:
    """Balmer lines of a star of magnitude 18."""
    shape = np.ones_like(wave)
    for centre in (3890.2, 3971.2, 4102.9, 4341.7, 4862.7, 6564.6):
        shape = shape - 0.4 / (1 + ((wave - centre * (1 + z)) / 6.0) ** 2)
    return np.asarray(AB_FLUX * 10 ** (-0.4 * 18.0) / wave**2 * shape)


_TEMPLATES = {"ELG": (_elg, 0.6, 1.6), "LRG": (_lrg, 0.4, 1.0), "QSO": (_qso, 0.8, 3.2), "STD": (_std, -0.001, 0.001)}
"""Spectrum and range of redshift of each class."""


@functools.cache
def template(kind: str) -> npt.NDArray[np.float64]:
    """Mean square, over the redshifts of a class, of what a spectrum has beyond its own mean over 200 Angstrom, on 3500, 3502 ... Angstrom.

    Unit (1e-17 erg/(s cm2 Angstrom))^2. The sum of it times ivar is the template S/N squared, as in Guy et al. 2023, AJ 165, 144, section 4.14, but
    for templates of analytic form. Raises KeyError for a class that has none.
    """
    spectrum, low, high = _TEMPLATES[kind]
    box = np.ones(2 * _SMOOTH + 1) / (2 * _SMOOTH + 1)
    total = np.zeros(_GRID.size)
    redshifts = np.linspace(low, high, 64)
    fine = np.arange(_GRID[0] - 4 * _SMOOTH, _GRID[-1] + 4 * _SMOOTH + 0.5, 2.0)
    for z in redshifts:
        flux = spectrum(fine, float(z))
        feature = flux - np.convolve(flux, box, mode="same")
        total += feature[2 * _SMOOTH : 2 * _SMOOTH + _GRID.size] ** 2
    made = total / redshifts.size
    made.flags.writeable = False
    return np.asarray(made)
