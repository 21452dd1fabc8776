"""What was found along a long slit."""

from __future__ import annotations

import math

import numpy as np

from qa.values import scalar
from quicklook.ccd.slit import SlitObjects
from quicklook.core.metrics import Measures, MetricDef, measured, not_applicable
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Line, Panel, Plot, Scatter
from quicklook.core.plugin import MonitoringAlg

FOUND = MetricDef("objects_found", "", doc="Number of objects that stand out of the sky along the slit.")
SNR = MetricDef("object_snr", "", dims=("object",), doc="S/N of the mean light of an object in its apertures; object 1 is the brightest.")
PLACE = MetricDef("object_place", "", dims=("object",), doc="Place of an object along the slit, in numbers of apertures.")
FWHM = MetricDef("object_fwhm", "", dims=("object",), doc="Full width at half maximum of an object along the slit, in apertures: the seeing.")


class SlitObjectsParams(Params):
    """Nothing to set."""


class SlitObjectsQa(MonitoringAlg[SlitObjectsParams]):
    """Reports the objects on the slit: how many, how bright, where, how wide.

    Formula: e = light of an aperture less the sky under it, mean over wavelength, electron/Angstrom, with the error s. objects_found = peaks of e
    above `detect` errors and above `contrast` of the sky (`locate_object`); over the apertures of an object: object_snr = sum e / sqrt(sum s^2),
    object_place = sum(e x number) / sum e, object_fwhm = distance of the places where e falls to half of its peak, by straight lines between
    apertures.
    Source: standard formulas: S/N of a sum, centroid, full width at half maximum.
    """

    name = "slit_objects"
    group = "Spectra"
    metrics = (FOUND, SNR, PLACE, FWHM)

    def measure(self, found: SlitObjects) -> Measures:
        """Of what `locate_object` has found."""
        number = tuple(range(1, len(found.objects) + 1))
        count = scalar(FOUND, len(found.objects), found.remark)
        if not number:
            why = "no object stands out along the slit"
            return Measures((count, *(not_applicable(d.name, why) for d in (SNR, PLACE, FWHM))), plots=(_plot(found),))
        metrics = (
            measured(SNR.name, [o.snr for o in found.objects], object=number),
            measured(PLACE.name, [o.place for o in found.objects], object=number),
            measured(FWHM.name, [o.fwhm for o in found.objects], object=number),
        )
        first = found.objects[0]
        facts = {"first_aperture": first.first, "last_aperture": first.last, "over_sky": first.fraction if math.isfinite(first.fraction) else None}
        return Measures((count, *metrics), plots=(_plot(found),), facts=facts)


def _plot(found: SlitObjects) -> Plot:
    number = np.arange(found.profile.size, dtype=np.float64)
    seen = np.isfinite(found.profile)
    layers: list[Line | Scatter] = [Line(x=number[seen], y=found.profile[seen], label="light"), Line(x=number, y=found.sky, label="sky")]
    for k, o in enumerate(found.objects, 1):
        own = (number >= o.first) & (number <= o.last) & seen
        layers.append(Scatter(x=number[own], y=found.profile[own], label=f"object {k}"))
    y = Axis(label="mean light", unit="electron/Angstrom")
    panel = Panel(x=Axis(label="aperture"), y=y, layers=tuple(layers), title="Along the slit" if found.objects else "Along the slit: nothing found")
    return Plot(name="slit_objects", title=f"Objects on the slit, camera {found.camera}", panels=(panel,))
