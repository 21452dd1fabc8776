"""Spectrograph against spectrograph: one that is dim among its like."""

from __future__ import annotations

import math

import numpy as np
from pydantic import Field

from qa.cameras import centre, magnitudes
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Coord, Measures, MetricDef, measured
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg
from quicklook.core.unitparts import PartSummary, UnitParts

OFFSET = MetricDef(
    "spectrograph_offset", "mag", dims=("measure", "camera"),
    doc="A measure of the light of a camera less the median over the spectrographs in the same arm; fainter is positive.",
)  # fmt: skip


class SpectrographAgreementParams(Params):
    """Parameters of `spectrograph_agreement`."""

    measures: tuple[str, ...] = Field(
        ("delta_mag", "sky_light", "flat_level"), description="metrics that are compared: magnitudes, or light over light"
    )
    at_least: int = Field(3, ge=2, description="spectrographs of an arm; of fewer it cannot be said which is unlike the others")
    max_error: float = Field(0.05, gt=0, description="a camera whose median is known no better is left out [mag]")


class SpectrographAgreement(MonitoringAlg[SpectrographAgreementParams]):
    """Compares the cameras of each arm with one another, in what they see of the same kind: targets, sky, lamp.

    What dims all spectrographs alike (clouds) does not count; what is left is one spectrograph, its fibres, its shutter or its calibrations.
    Formula: spectrograph_offset = m - median(m of the cameras of the arm), mag, m = median over the n elements of a measure in mag (-2.5 lg of
    light over light); its error, 1.2533 x 1.4826 MAD / sqrt(n), leaves a camera out where it is above `max_error`.
    Source: own definition: the cameras of an arm are each other's reference.
    """

    name = "spectrograph_agreement"
    group = "Exposure"
    metrics = (OFFSET,)

    def measure(self, parts: UnitParts) -> Measures:
        """Of all cameras of an exposure. Raises NotApplicable where no arm has enough of them with any of the measures."""
        offsets: dict[str, dict[str, float]] = {}
        for name in self.params.measures:
            for cameras in parts.by_tag("arm").values():
                offsets[name] = offsets.get(name, {}) | self._offsets(cameras, name)
        offsets = {name: found for name, found in offsets.items() if found}
        if not offsets:
            wanted = ", ".join(self.params.measures)
            raise NotApplicable(f"no arm has {self.params.at_least} spectrographs in which one of these is known well enough: {wanted}")
        names = list(dict.fromkeys(camera for found in offsets.values() for camera in found))
        values = [[found.get(camera, math.nan) for camera in names] for found in offsets.values()]
        absent: list[Coord | tuple[Coord, ...]] = [(name, camera) for name, found in offsets.items() for camera in names if camera not in found]
        metric = measured(OFFSET.name, values, measure=tuple(offsets), camera=names, left_out=absent)
        return Measures((metric,), plots=(_plot(offsets),))

    def _offsets(self, cameras: tuple[PartSummary, ...], name: str) -> dict[str, float]:
        known = {}
        for camera in cameras:
            value, error = centre(list(magnitudes(camera, name).values()))
            if math.isfinite(value) and not error > self.params.max_error:  # one value alone has no scatter: its QA vouches for it
                known[camera.part] = value
        if len(known) < self.params.at_least:
            return {}
        typical = float(np.median(list(known.values())))  # of all: of three, two of which are alike, only the third is off
        return {camera: value - typical for camera, value in known.items()}


def _plot(offsets: dict[str, dict[str, float]]) -> Plot:
    panels = []
    for name, found in offsets.items():
        arms = sorted({c[:1] for c in found})
        numbers = {camera: float(camera[1:]) if camera[1:].isdigit() else float(i) for i, camera in enumerate(found)}
        layers: list[Scatter | Line] = []
        for arm in arms:
            own = [c for c in found if c[:1] == arm]
            layers.append(Scatter(x=np.array([numbers[c] for c in own]), y=np.array([found[c] for c in own]), label=f"arm {arm}"))
        title = f"{name}: offset from the median of the arm"
        ends = min(numbers.values()) - 0.5, max(numbers.values()) + 0.5
        axes = Axis(label="spectrograph", range=ends), Axis(label="offset (fainter up)", unit="mag")
        panels.append(Panel(x=axes[0], y=axes[1], layers=tuple(layers), title=title, metric=OFFSET.name))
    return Plot(name="spectrograph_agreement", title="Spectrograph against spectrograph", panels=tuple(panels), columns=min(2, len(panels)))
