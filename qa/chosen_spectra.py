"""Spectra of a few fibres to look at, each with its error and the model of the sky. No limits: it is there for the eye."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from qa.fiberlight import usable
from qa.targets import STANDARD, classes_of
from quicklook.ccd.arrays import Float64, Raw
from quicklook.ccd.fiberstatus import known_bad
from quicklook.ccd.spectra import Frame, SkyModel
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measures, MetricDef, measured
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot
from quicklook.core.plugin import MonitoringAlg

_EVERY = 16
"""A sixteenth of the samples tells how bright a fibre is."""
_LONG = 1024
_MARGIN = 1.2

CHOSEN = MetricDef("chosen_fiber", "", dims=("role",), doc="Number of the fibre whose spectrum is shown as the brightest target and so on.")


class ChosenSpectraParams(Params):
    """Parameters of `chosen_spectra`."""

    points: int = Field(512, ge=16, le=8192, description="points of a curve at most; samples are averaged")


class ChosenSpectra(MonitoringAlg[ChosenSpectraParams]):
    """Shows the spectra of the brightest target, the faintest, a standard star and a sky fibre, with one standard error and the sky.

    Formula: brightness = mean flux of the usable samples, in the unit of the frame; star and sky fibre are those in the middle of their kind. A
    point is the mean of n neighbouring usable samples, its error sqrt(sum of 1 / ivar) / n. chosen_fiber is the number of the fibre.
    Source: own definition: a choice of spectra for the eye, on which no limit rests.
    """

    name = "chosen_spectra"
    group = "Spectra"
    metrics = (CHOSEN,)

    def measure(self, frame: Frame, sky: SkyModel | None) -> Measures:
        """Of any frame of spectra; the sky is shown where it is on the samples of the frame. Raises NotApplicable where no fibre is usable."""
        chosen = _chosen(frame)
        if not chosen:
            raise NotApplicable("no fibre that is a target or a sky fibre has a usable spectrum")
        model = sky if sky is not None and sky.flux.shape == frame.flux.shape else None
        panels = tuple(self._panel(frame, model, row, role) for role, row in chosen.items())
        number = [float(frame.fibermap.fiber[row]) for row in chosen.values()]
        stage = "before the sky is subtracted" if frame.stage in ("frame", "fframe") else "less the sky"
        plot = Plot(name=self.name, title=f"Spectra {stage}, camera {frame.camera}", panels=panels, columns=2, caption="Shaded: one standard error.")
        return Measures((measured(CHOSEN.name, number, role=list(chosen)),), plots=(plot,))

    def _panel(self, frame: Frame, sky: SkyModel | None, row: int, role: str) -> Panel:
        good = usable(frame.flux[row], frame.ivar[row], frame.mask[row])
        part = np.arange(good.size) * min(self.params.points, good.size) // good.size
        count = np.bincount(part, good)
        flux = _mean(part, np.where(good, frame.flux[row], 0), count)
        variance = np.divide(1.0, frame.ivar[row], out=np.zeros(good.size), where=good)
        error = np.sqrt(_mean(part, variance, count) / np.maximum(count, 1))
        wave = np.bincount(part, frame.wave[row]) / np.bincount(part)
        lines = [Line(x=wave, y=flux, error=error, label="spectrum")]
        top, bottom = (float(v) for v in np.nanpercentile(flux, (99.5, 0.5)))
        if sky is not None:
            seen = good & np.isfinite(sky.flux[row])
            model = _mean(part, np.where(seen, sky.flux[row], 0), np.bincount(part, seen))
            lines.append(Line(x=wave, y=model, label="model of the sky"))
            top = max(top, 2 * float(np.nanmedian(model))) if np.isfinite(model).any() else top
        span = (min(_MARGIN * bottom, 0.0), _MARGIN * top) if top > 0 else (None, None)
        title = f"{role[0].upper()}{role[1:]}, fibre {frame.fibermap.fiber[row]}"
        return Panel(x=Axis(label="wavelength", unit="Angstrom"), y=Axis(label="flux", unit=frame.unit, range=span), layers=tuple(lines), title=title)


def _mean(part: Raw, values: Raw, count: Raw) -> Float64:
    total = np.bincount(part, values)
    return np.asarray(np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0))


def _chosen(frame: Frame) -> dict[str, int]:
    """Rows by what they are shown as; what there is none of is left out, and no fibre is shown twice."""
    step = _EVERY if frame.flux.shape[1] >= _LONG else 1
    flux, ivar = frame.flux[:, ::step], frame.ivar[:, ::step]
    good = usable(flux, ivar, frame.mask[:, ::step])
    count = good.sum(axis=1)
    light = np.where(good, flux, 0).sum(axis=1, dtype=np.float64) / np.maximum(count, 1)
    objtype, sound = np.array(frame.fibermap.objtype), (count > 0.5 * good.shape[1]) & ~known_bad(frame.fibermap)
    order = np.argsort(light, kind="stable")
    targets, skies = order[(sound & (objtype == "TGT"))[order]], order[(sound & (objtype == "SKY"))[order]]
    stars = targets[(classes_of(frame.fibermap) == STANDARD)[targets]]
    middle = skies[skies.size // 2 :][:1]
    wanted = {"brightest target": targets[-1:], "faintest target": targets[:1], "standard star": stars[stars.size // 2 :][:1], "sky fibre": middle}
    out: dict[str, int] = {}
    for role, rows in wanted.items():
        if rows.size and int(rows[0]) not in out.values():
            out[role] = int(rows[0])
    return out
