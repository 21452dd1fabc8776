"""One value per fibre and stage: the columns of the SCORES table of the DESI data model."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from quicklook.ccd.arrays import Float64
from quicklook.ccd.scorenames import stage_word
from quicklook.ccd.spectra import Frame, Scores
from quicklook.ccd.templates import GRID, template
from quicklook.core.params import Params
from quicklook.core.plugin import PipelineAlg

_TEMPLATES = ("ELG", "LRG", "QSO", "BGS", "STD")


class ScoresParams(Params):
    """Parameters of `compute_scores`."""

    templates: tuple[str, ...] = Field(_TEMPLATES, description="target classes whose template S/N is stated for calibrated frames")


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


def stage_scores(frame: Frame, templates: tuple[str, ...] = _TEMPLATES) -> tuple[dict[str, Float64], dict[str, str]]:
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
        table = np.array([template(kind) for kind in templates]).reshape(len(templates), GRID.size)
        snr2 = np.empty((len(templates), frame.flux.shape[0]))
        grid = (float(GRID[0]), float(GRID[1] - GRID[0]))
        kernel.template_snr2(frame.ivar, frame.mask, frame.wave, *grid, table, np.zeros(GRID.size), snr2)
        for kind, values in zip(templates, snr2, strict=True):
            columns[f"TSNR2_{kind}_{arm}"], units[f"TSNR2_{kind}_{arm}"] = values.copy(), ""
    return columns, units


def _integrated(unit: str) -> str:
    """The unit of a flux times Angstrom."""
    return unit.removesuffix("/Angstrom") if unit.endswith("/Angstrom") else unit.replace(" Angstrom)", ")")
