"""How much of the spectra is left after each stage, by what the fibre map says should be there."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from qa.values import numbered, scalar
from quicklook.ccd.arrays import Raw
from quicklook.ccd.fiberstatus import known_bad
from quicklook.ccd.spectra import Frame, SpecMask
from quicklook.core.metrics import Coord, Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_OF_STAGE = {
    "fiberflat": SpecMask.LOWFLAT | SpecMask.BADFIBERFLAT,
    "sky": SpecMask.BADSKY,
    "fluxcal": SpecMask.BADFLUXCALIB,
}
"""The bits by which later stages mask a sample; all others are set by the extraction."""
_DONE = {"frame": (), "fframe": ("fiberflat",), "sframe": ("fiberflat", "sky"), "cframe": ("fiberflat", "sky", "fluxcal")}
"""The stages that a frame has been through after the extraction, by its own name for them."""
_SAMPLES, _BINS = 512, 128

USABLE = MetricDef(
    "usable_samples", "", dims=("stage",),
    doc="Part of the samples, of fibres that are not known to be bad, that are usable after a stage (extraction, fiberflat, sky, fluxcal).",
)  # fmt: skip
FIBERS = MetricDef(
    "usable_fibers", "", dims=("objtype",),
    doc="Part of the fibres that look at targets (TGT) or the sky (SKY), and are not known to be bad, whose spectrum is usable at the end.",
)  # fmt: skip
KNOWN = MetricDef("known_bad_fraction", "", doc="Part of the fibres that the fibre map or the calibration calls bad.")


class UsableSpectraParams(Params):
    """Parameters of `usable_spectra`."""

    least: float = Field(0.5, gt=0.0, le=1.0, description="a spectrum is usable if at least this part of its samples is")


class UsableSpectra(MonitoringAlg[UsableSpectraParams]):
    """Counts what is left of the spectra after each stage, and the fibres without a usable spectrum by what they look at.

    Formula: usable_samples = samples that no stage up to this one has masked (after the last: mask 0 and ivar above 0) / samples, of fibres that
    are not known to be bad; usable_fibers = 1 - fibres of an OBJTYPE with less than `least` of their samples usable / fibres of it, known bad ones
    apart; known_bad_fraction = fibres that map or calibration call bad / fibres. Of about 512 samples of each spectrum; the error of a part f of n
    samples is sqrt(f (1 - f) / n).
    Source: the bits are those of the DESI data model (specmask); the division by stages is own definition.
    """

    name = "usable_spectra"
    group = "Fibres"
    metrics = (USABLE, FIBERS, KNOWN)

    def measure(self, frame: Frame) -> Measures:
        """Of the last frame of a chain: the bits of its mask say at which stage a sample was lost."""
        step = max(1, frame.flux.shape[1] // _SAMPLES)
        mask = frame.mask[:, ::step]
        bad = known_bad(frame.fibermap) | ((mask & np.uint32(SpecMask.BADFIBER)) != 0).all(axis=1)
        usable = (mask == 0) & (frame.ivar[:, ::step] > 0)
        part = usable.mean(axis=1)
        number = frame.fibermap.fiber
        known = scalar(KNOWN, float(bad.mean()), numbered("fibre", number[bad]))
        metrics = (_stages(frame.stage, mask, usable, ~bad), self._fibers(frame, part, bad), known)
        return Measures(metrics, plots=(_plot(frame, step, usable, part, bad),), facts={"rests_on": frame.stage, "fibers": len(number)})

    def _fibers(self, frame: Frame, part: Raw, bad: Raw) -> Measured:
        """By OBJTYPE; NaN for a kind of which all fibres are known to be bad."""
        objtype = np.array(frame.fibermap.objtype)
        values: dict[str, float] = {}
        remarks: dict[Coord | tuple[Coord, ...], str] = {}
        for kind in ("TGT", "SKY"):
            of_kind = objtype == kind
            live = of_kind & ~bad
            if not of_kind.any():
                continue
            lost = live & ~(part >= self.params.least)
            values[kind] = 1.0 - float(lost.sum()) / float(live.sum()) if live.any() else math.nan
            remarks[kind] = numbered("without a usable spectrum: fibre", frame.fibermap.fiber[lost])
            if not live.any():
                remarks[kind] = f"all {int(of_kind.sum())} fibres of this kind are known to be bad"
        if not values:
            return not_applicable(FIBERS.name, "the fibre map has neither targets (TGT) nor sky fibres (SKY)")
        return measured(FIBERS.name, list(values.values()), objtype=tuple(values), remarks={k: r for k, r in remarks.items() if r})


def _stages(stage: str, mask: Raw, usable: Raw, live: Raw) -> Measured:
    """Part of the samples that no stage up to each has masked. What the stages have not masked and has no weight was lost in the last one."""
    names = ("extraction", *_DONE.get(stage, ()))
    if not live.any():
        return measured(USABLE.name, [math.nan] * len(names), stage=names, remarks=dict.fromkeys(names, "every fibre is known to be bad"))
    mask = mask[live]
    later = np.uint32(sum(int(b) for b in _OF_STAGE.values()))
    values: list[float] = []
    for name in names[:-1]:
        later &= ~np.uint32(_OF_STAGE.get(name, 0))
        values.append(1.0 - np.count_nonzero(mask & ~later) / mask.size)
    return measured(USABLE.name, [*values, float(usable[live].mean())], stage=names)


def _plot(frame: Frame, step: int, usable: Raw, part: Raw, bad: Raw) -> Plot:
    number = np.asarray(frame.fibermap.fiber, np.float64)
    groups = (("", ~bad), ("known bad", bad))
    layers = tuple(Scatter(x=number[g], y=part[g], label=name) for name, g in groups if g.any())
    y = Axis(label="usable part", range=(0.0, 1.0))
    panels = [Panel(x=Axis(label="fibre"), y=y, layers=layers, title="Of each fibre", metric=FIBERS.name)]
    if not bad.all():
        every = max(1, usable.shape[1] // _BINS)
        along = usable[:, ::every][~bad].mean(axis=0)
        wave = np.median(frame.wave[:, :: step * every][~bad], axis=0)
        axes = Axis(label="wavelength", unit="Angstrom"), y
        panels.append(Panel(x=axes[0], y=axes[1], layers=(Line(x=wave, y=along),), title="Along the spectrum", metric=USABLE.name))
    return Plot(name="usable_spectra", title=f"Usable spectra, camera {frame.camera}", panels=tuple(panels), columns=2)
