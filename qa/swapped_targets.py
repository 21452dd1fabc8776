"""Fibres that have each other's targets: their light against the catalogue, as the fibre map has it and exchanged."""

from __future__ import annotations

import numpy as np
from pydantic import Field

from qa.fiberlight import bad_fibers, catalogue_light
from qa.swaps import Expected, departing, exchanged, expected, told
from qa.values import numbered, scalar
from quicklook.ccd.arrays import Raw
from quicklook.ccd.spectra import Frame, SkyModel
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measured, Measures, MetricDef, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Layer, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

_CHUNK, _CHUNKS = 16, 16
_FEW, _MANY = 5, 0.05
_SAMPLE = 64

SWAPPED = MetricDef(
    "swapped_targets", "", doc="Number of pairs of fibres, each of which has the light that the catalogue promises for the target of the other."
)
TOLD = MetricDef("swapped_targets_told", "", doc="Part of all pairs of fibres whose exchange would be seen: that of two alike never is.")
OFF = MetricDef("departing_fibers", "", doc="Number of fibres whose light is not what sky and catalogue let expect, those of the pairs left out.")


class SwappedTargetsParams(Params):
    """Parameters of `swapped_targets`."""

    least: float = Field(3.0, gt=0.0, description="each fibre of a pair departs from its own target by more [sigma]")
    agree: float = Field(4.0, gt=0.0, description="and from that of the other by less [sigma]")
    evidence: float = Field(16.0, gt=0.0, description="ln of the likelihood of the exchanged order over that of the stated one, at least")


class SwappedTargets(MonitoringAlg[SwappedTargetsParams]):
    """Finds fibres of a science exposure that have each other's light: a fibre map, or a list of fibres, that has two of them the wrong way round.

    Stated and exchanged order are compared for every pair of fibres, sky fibres among them: where a sky fibre has the light of a target whose fibre
    has sky alone, the exchange is surest. Two targets that are alike, or both too faint to be told from the sky, cannot be told apart: that is
    no finding, and swapped_targets_told says how often it is so.
    Formula: x = mean flux of a fibre - mean sky; m = c catalogue (fibre flux in the band of the arm; 0 in a sky fibre), c such that the median
    target has x = m; D(x, m) = -2 ln(L(x) / L(m)), L = 0.9 exp(-z^2/2) + 0.1 (s/w) exp(-v^2/2) + exp(-18), z = (x - m)/s, v = (x - m)/w, s^2 =
    noise^2 + (l sky)^2 + (f m)^2, l and f the scatter, in this exposure, of the sky fibres about the sky and of the targets about the catalogue; w
    as s with the larger of 0.25 and 3 f, for the targets that are odd. swapped_targets = pairs i, j with D(x_i, m_i) and D(x_j, m_j) > `least`^2,
    D(x_i, m_j) and D(x_j, m_i) < `agree`^2, and ln of the ratio of the likelihoods (D(x_i, m_i) + D(x_j, m_j) - D(x_i, m_j) - D(x_j, m_i)) / 2 >
    `evidence`; each fibre is in one pair. departing_fibers = other fibres with D(x, m) > (`least` + 1)^2. It does not apply where these are more
    than 5 and more than a twentieth of the fibres: then pairs come about by chance. swapped_targets_told = part of the pairs, of an even sample of
    64 fibres, that would be found.
    Source: own definition: a likelihood ratio, with errors that are a mixture of two Gaussians and a floor.
    """

    name = "swapped_targets"
    group = "Fibres"
    metrics = (SWAPPED, TOLD, OFF)

    def measure(self, frame: Frame, sky: SkyModel) -> Measures:
        """Of flat-fielded spectra and the model of their sky. Raises NotApplicable where the fibre map has no targets with a flux."""
        if sky.flux.shape != frame.flux.shape or not (sky.fiber is None or np.array_equal(sky.fiber, frame.fibermap.fiber)):
            raise NotApplicable("there is no sky model of these fibres")
        catalogue = catalogue_light(frame)
        if not np.isfinite(catalogue).any():
            raise NotApplicable("the fibre map states no flux of any target (FIBERFLUX, FLUX)")
        of = _expected(frame, sky, catalogue)
        if of is None:
            raise NotApplicable("too few targets stand out of the sky to tell what light a magnitude gives here")
        p, number = self.params, np.asarray(frame.fibermap.fiber)
        off = departing(of, p.least)
        pairs = exchanged(of, off, p.agree, p.evidence)
        others = np.setdiff1d(departing(of, p.least + 1.0), np.array(pairs, np.int64).ravel())
        part = told(of, p.least, p.evidence, _SAMPLE)
        metrics = (
            _swapped(of, pairs, others, number, part),
            scalar(TOLD, part, f"targets scatter by {of.scatter:.2f} about the catalogue"),
            scalar(OFF, int(others.size), numbered("fibre", number[others])),
        )
        facts = {"fibers": int(of.known.sum()), "scatter": of.scatter}
        return Measures(metrics, plots=(_plot(frame, of, pairs, others),), facts=facts)


def _expected(frame: Frame, sky: SkyModel, catalogue: Raw) -> Expected | None:
    from qa.kernels.skyparts import whole_light

    live, whole = ~bad_fibers(frame), np.empty((len(catalogue), 3))
    whole_light(frame.flux, frame.ivar, frame.mask, sky.flux, _CHUNK, max(_CHUNK, frame.flux.shape[1] // _CHUNKS), whole)
    empty = live & (np.array(frame.fibermap.objtype) == "SKY")
    light, level, noise = whole.T
    return expected(light, level, noise, np.where(live, catalogue, np.nan), empty)


def _swapped(of: Expected, pairs: list[tuple[int, int]], others: Raw, number: Raw, part: float) -> Measured:
    if others.size > max(_FEW, _MANY * of.known.sum()):
        return not_applicable(SWAPPED.name, f"{others.size} fibres have other light than the catalogue promises: among so many no pair can be told")
    if not pairs and not part > 0:
        return not_applicable(SWAPPED.name, "by noise and by the scatter of the targets no pair of fibres could be told from its exchange")
    said = [_words(of, a, b, number) for a, b in pairs[:_FEW]] + (["and more"] if len(pairs) > _FEW else [])
    return scalar(SWAPPED, len(pairs), "; ".join(said))


def _words(of: Expected, a: int, b: int, number: Raw) -> str:
    """``fibres 7 and 19 (light 310 and 2, expected 0 and 305 electron/Angstrom beyond the sky)``."""
    light, due = (f"{v[a]:.3g} and {v[b]:.3g}" for v in (of.light, of.expect))
    return f"fibres {number[a]} and {number[b]} (light {light}, expected {due} electron/Angstrom beyond the sky)"


def _plot(frame: Frame, of: Expected, pairs: list[tuple[int, int]], others: Raw) -> Plot:
    """Light against what is expected, both in units of the error of a fibre with sky alone, so that faint and bright are seen at once."""
    unit = float(np.median(of.error[of.known]))
    x, y = (np.arcsinh(v / unit / 2.0) for v in (of.expect, of.light))
    swapped = np.isin(np.arange(len(x)), pairs)
    odd = np.isin(np.arange(len(x)), others)
    groups = (("as expected", of.known & ~swapped & ~odd), ("departs", odd), ("exchanged", swapped))
    layers: list[Layer] = [Scatter(x=x[g], y=y[g], label=name) for name, g in groups if g.any()]
    ends = np.array([0.0, float(np.max(x[of.known], initial=1.0))])
    layers.append(Line(x=ends, y=ends, label="as the catalogue has it"))
    scale = "arsinh(x / 2 sigma)"
    axes = Axis(label="expected", unit=scale), Axis(label="measured", unit=scale)
    panel = Panel(x=axes[0], y=axes[1], layers=tuple(layers), title="Light beyond the sky")
    number = np.asarray(frame.fibermap.fiber, np.float64)
    own = of.own()
    points = tuple(Scatter(x=number[g], y=own[g], label=name) for name, g in groups if g.any())
    second = Panel(x=Axis(label="fibre"), y=Axis(label="measured - expected", unit="sigma"), layers=points, title="By fibre; 6 sigma are the most")
    return Plot(name="swapped_targets", title=f"Fibres against the catalogue, camera {frame.camera}", panels=(panel, second), columns=2)
