"""Steps of the preprocessed image at the borders of amplifiers: a wrong bias level, or a wrong gain."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from qa.values import judged
from quicklook.ccd.arrays import Float32, Raw
from quicklook.ccd.exposure import Exposure
from quicklook.ccd.geometry import Amplifier, Section
from quicklook.ccd.health import cause
from quicklook.ccd.image import Image
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measured, Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Bars, Panel, Plot
from quicklook.core.plugin import MonitoringAlg

if TYPE_CHECKING:
    from qa.kernels.borders import Step

_DARK = ("zero", "dark")
_FLAT, _SCIENCE = "flat", "science"
_PLACES = 1024  # along a border: of longer ones an even sample
_STRETCHES = 24  # of rows
_HUGE = np.float32(1e12)  # electron: no charge, but what a broken calibration makes
_GAP = 2  # pixels of a valley between two fibres
_LEAST = 32  # pixels that a border is long

STEP = MetricDef(
    "amp_border_step", "electron", dims=("border",),
    doc="Background on the second side of the border of two amplifiers minus that on the first, between the fibres where there is light.",
)  # fmt: skip
ERROR = MetricDef("amp_border_error", "electron", dims=("border",), doc="Error of that step, from its scatter along the border.")
EXCESS = MetricDef(
    "amp_border_excess", "electron", dims=("border",), doc="Size of that step less four times its error, and at least 0: what noise does not make."
)  # fmt: skip
RATIO = MetricDef(
    "amp_border_ratio", "", dims=("border",),
    doc="Light on the second side of a border that the spectra cross over that on the first, less 1: an error of one of the gains.",
)  # fmt: skip
RATIO_EXCESS = MetricDef(
    "amp_border_ratio_excess", "", dims=("border",),
    doc="Size of that ratio, or of the one that all borders there share, less four times its error, and at least 0: what noise does not make.",
)  # fmt: skip


class AmpBordersParams(Params):
    """Parameters of `amp_borders`."""

    reach: int = Field(16, ge=4, description="pixels on either side of a border that the spectra cross [pixel]")
    near: int = Field(24, ge=8, description="pixels on either side of a border that runs along the spectra: some fibres [pixel]")
    wide: int = Field(200, ge=8, description="as `near`, in flats, whose light fills the valleys: a bundle of fibres, with a gap [pixel]")
    rows: int = Field(16, ge=2, description="rows whose mean shows the valleys between fibres [pixel]")
    darkest: float = Field(
        0.2, gt=0.0, le=1.0, description="part of the columns, with the least light, that tells where the spectra cross the border"
    )
    brightest: float = Field(0.3, gt=0.0, le=1.0, description="part of the columns, with the most light, that tells the ratio")
    ratio_error: float = Field(0.03, gt=0.0, description="a ratio that is known worse than this is stated of flats alone")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Border:
    """Between two amplifiers; `crossed`: the spectra cross it, it lies along x from `low` to `high` at y = `at`; else along y at x = `at`."""

    first: str
    second: str
    crossed: bool
    at: int
    low: int
    high: int
    depth: int

    @property
    def name(self) -> str:
        return f"{self.first}-{self.second}"


class AmpBorders(MonitoringAlg[AmpBordersParams]):
    """Compares the background on both sides of every border between two amplifiers, which see the same light: a step is an error of a bias, a ratio
    one of a gain.

    Where the spectra (along y) cross the border, or there is no light: over the columns, with light the darkest of them alone. Where the border
    runs along the spectra: between the deepest valleys of the profile, over stretches of rows.
    Formula: amp_border_step = median(s2 - s1), electron. Across: s = 1.5 near - 0.5 far, the means of the near and the far half of `reach` pixels,
    carried to the border in a straight line. Along: s = mean of the two neighbouring pixels that are least in the means of every second row of a
    stretch, read from the rows between. amp_border_error = 1.2533 x 1.4826 MAD / sqrt(places); amp_border_ratio = sum(s2) / sum(s1) - 1 over the
    brightest columns, its error that of the scatter, and in quadrature what it differs from the ratio by pixels twice as far: a line of the sky at
    the border is no straight line; amp_border_excess and amp_border_ratio_excess = max(|value| - 4 errors, 0). Where the ratios of all borders at one
    place along the spectra have one sign and lie within three errors of their weighted mean, as when both lower gains are wrong, that excess is at
    least the one of the mean, whose error is that of the noise and, in quadrature, what it differs from the mean by pixels twice as far beyond that.
    Source: own definition: neighbours are their own reference, none is needed. 1.2533 = sqrt(pi/2) is the error of a median over that of a mean.
    """

    name = "amp_borders"
    metrics = (STEP, ERROR, EXCESS, RATIO, RATIO_EXCESS)

    def measure(self, image: Image, exposure: Exposure | None = None) -> Measures:
        """Per border. Raises NotApplicable where there is none between two amplifiers that are not known to be bad."""
        from qa.kernels.borders import Step

        found = _borders(judged(image.amplifiers))
        if not found:
            raise NotApplicable(f"no two amplifiers of {image.camera} have a border")
        flavor = exposure.flavor if exposure is not None else ""
        why = {b.name: _why(image, b) for b in found}
        steps = {b.name: Step() if why[b.name] else self._step(image, b, flavor) for b in found}
        told = {k: why[k] or _words(s) for k, s in steps.items()}
        names, values = tuple(steps), list(steps.values())
        excess = [max(abs(s.height) - 4.0 * s.error, 0.0) if math.isfinite(s.height) else math.nan for s in values]
        step = _measured(STEP, names, [s.height for s in values], told)
        ratio, beyond = self._ratio(image, [b for b in found if b.crossed], why, flavor)
        metrics = (
            step,
            _measured(ERROR, names, [s.error for s in values], told),
            _measured(EXCESS, names, excess, told),
            ratio,
            beyond,
        )
        panels = [
            _bars(STEP, step, "Step of the background", "step"),
            _bars(EXCESS, metrics[2], "Size of that step, less 4 errors", "excess"),
        ]
        if ratio.not_applicable is None:
            panels += [
                _bars(RATIO, ratio, "Ratio of the light, less 1", "ratio - 1"),
                _bars(RATIO_EXCESS, beyond, "Size of that ratio, less 4 errors", "excess"),
            ]
        plot = Plot(name="amp_borders", title=f"Borders of amplifiers, camera {image.camera}", panels=tuple(panels), columns=2)
        return Measures(metrics, plots=(plot,))

    def _step(self, image: Image, border: _Border, flavor: str) -> Step:
        from qa.kernels import borders

        p, dark = self.params, flavor in _DARK
        if dark or border.crossed:
            sides = _across(image, border, p.reach)
            return borders.step_across(*sides, 1.0 if dark else p.darkest)
        rows = max(1, min(p.rows, (border.high - border.low) // _LEAST))
        sides = _along(image, border, p.wide if flavor == _FLAT else p.near, rows)
        return borders.step_along(*sides, rows, _GAP)

    def _ratio(self, image: Image, found: Sequence[_Border], why: dict[str, str], flavor: str) -> tuple[Measured, Measured]:
        """The ratio and what of it is no noise; in science exposures at the borders where there is light enough to tell it."""
        from qa.kernels.borders import Step

        if not found or flavor not in (_FLAT, _SCIENCE):
            told = "a ratio is measured in flats and science exposures, at borders that the spectra cross"
            return not_applicable(RATIO.name, told), not_applicable(RATIO_EXCESS.name, told)
        parts = {b.name: self._sides(image, b) for b in found if not why[b.name]}
        ratios = {b.name: _told(*parts[b.name]) if b.name in parts else Step() for b in found}
        joint = {b.name: _together([parts[c.name] for c in found if c.at == b.at and c.name in parts]) for b in found}
        if flavor == _SCIENCE:
            ratios = {k: r for k, r in ratios.items() if why[k] or min(r.error, joint[k].error) < self.params.ratio_error}
        if not ratios:
            told = f"the light at the border tells no ratio to {self.params.ratio_error:g}"
            return not_applicable(RATIO.name, told), not_applicable(RATIO_EXCESS.name, told)
        words = {k: why[k] or _ratio_words(r, joint[k]) for k, r in ratios.items()}
        beyond = [max(_beyond(r), _beyond(joint[k]), 0.0) if math.isfinite(r.height) else math.nan for k, r in ratios.items()]
        names = tuple(ratios)
        return _measured(RATIO, names, [r.height for r in ratios.values()], words), _measured(RATIO_EXCESS, names, beyond, words)

    def _sides(self, image: Image, border: _Border) -> tuple[Step, Step]:
        """The ratio by pixels near the border, and by pixels twice as far."""
        from qa.kernels.borders import ratio_across

        near, far = (ratio_across(*_across(image, border, n * self.params.reach), self.params.brightest) for n in (1, 2))
        return near, far


def _told(near: Step, far: Step) -> Step:
    return replace(near, error=math.hypot(near.error, near.height - far.height))


def _together(parts: Sequence[tuple[Step, Step]]) -> Step:
    """The ratio that all borders at one place along the spectra share, known better than each; NaN where they differ, or one tells nothing."""
    from qa.kernels.borders import Step

    each = [_told(near, far) for near, far in parts]
    if len(each) < 2 or not all(r.error > 0 for r in each) or len({r.height > 0 for r in each}) > 1:
        return Step()
    weight = np.array([1.0 / r.error**2 for r in each])
    weight /= weight.sum()
    height, away = (float(weight @ [side.height for side in sides]) for sides in zip(*parts, strict=True))
    if any(abs(r.height - height) > 3.0 * r.error for r in each):
        return Step()
    noise = math.sqrt(float(np.square(weight * [near.error for near, _ in parts]).sum()))
    return Step(height, math.hypot(noise, max(abs(height - away) - noise, 0.0)), sum(r.places for r in each))


def _beyond(ratio: Step) -> float:
    return abs(ratio.height) - 4.0 * ratio.error if math.isfinite(ratio.height) else 0.0


def _ratio_words(own: Step, joint: Step) -> str:
    together = f"; all borders there together {joint.height:+.3g} +- {joint.error:.2g}" if math.isfinite(joint.height) else ""
    return f"{own.height:+.3g} +- {own.error:.2g}{together}"


def _borders(amps: Sequence[Amplifier]) -> tuple[_Border, ...]:
    """Where two sections of the trimmed image touch."""
    made = []
    for p, q in itertools.permutations(amps, 2):
        a, b = p.ccd, q.ccd
        low, high = (max(a.x0, b.x0), min(a.x1, b.x1)), (max(a.y0, b.y0), min(a.y1, b.y1))
        if a.y1 == b.y0 and low[1] - low[0] >= _LEAST:
            made.append(_border(p.name, q.name, True, b.y0, low, min(_height(a), _height(b))))
        if a.x1 == b.x0 and high[1] - high[0] >= _LEAST:
            made.append(_border(p.name, q.name, False, b.x0, high, min(a.x1 - a.x0, b.x1 - b.x0)))
    return tuple(made)


def _height(section: Section) -> int:
    return section.y1 - section.y0


def _border(first: str, second: str, crossed: bool, at: int, ends: tuple[int, int], depth: int) -> _Border:
    return _Border(first=first, second=second, crossed=crossed, at=at, low=ends[0], high=ends[1], depth=depth)


def _good(image: Image, at: tuple[slice | Raw, slice]) -> tuple[Float32, Raw]:
    good = image.mask[at] == 0
    good &= image.ivar[at] > 0
    values = image.pixels[at]
    good &= np.abs(values) < _HUGE
    return values, good


def _across(image: Image, border: _Border, reach: int) -> tuple[Float32, Raw, Float32, Raw]:
    """Both sides of a border [distance, place], the nearest pixel first, and which pixels are good: of a long border an even sample of places."""
    reach, step = max(2, min(reach, border.depth)), max(1, (border.high - border.low) // _PLACES)
    out: list[Raw] = []
    for near in (slice(border.at - reach, border.at), slice(border.at, border.at + reach)):
        along = slice(border.low, border.high, step)
        values, good = _good(image, (near, along) if border.crossed else (along, near))
        values, good = (values, good) if border.crossed else (values.T, good.T)
        out += [values, good] if near.start == border.at else [values[::-1], good[::-1]]
    return out[0], out[1], out[2], out[3]


def _along(image: Image, border: _Border, wide: int, rows: int) -> tuple[Float32, Raw, Float32, Raw]:
    """Both sides of a border that runs along the rows [row, distance], in stretches of `rows`, evenly spread."""
    wide, n = max(2 * _GAP, min(wide, border.depth)), border.high - border.low
    starts = border.low + np.unique(np.linspace(0, n - rows, min(n // rows, _STRETCHES)).astype(np.intp))
    along = (starts[:, None] + np.arange(rows)).ravel()
    first, second = _good(image, (along, slice(border.at - wide, border.at))), _good(image, (along, slice(border.at, border.at + wide)))
    return *first, *second


def _why(image: Image, border: _Border) -> str:
    return next((f"{n}: {cause(image.dead[n])}" for n in (border.first, border.second) if n in image.dead), "")


def _words(step: Step) -> str:
    return f"{step.height:+.2g} +- {step.error:.2g} electron" if math.isfinite(step.height) else "too few good pixels at the border"


def _measured(definition: MetricDef, names: Sequence[str], values: Sequence[float], told: Mapping[str, str]) -> Measured:
    return measured(definition.name, list(values), border=tuple(names), remarks={k: v for k, v in told.items() if v})


def _bars(definition: MetricDef, got: Measured, title: str, label: str) -> Panel:
    names = tuple(str(c) for c in got.coords["border"])
    layers = (Bars(names=names, heights=np.array(got.values)),)
    return Panel(x=Axis(label="border"), y=Axis(label=label, unit=definition.unit), layers=layers, title=title, metric=definition.name)
