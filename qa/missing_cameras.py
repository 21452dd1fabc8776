"""Cameras that every exposure has and this one has not."""

from __future__ import annotations

from qa.values import scalar
from quicklook.core.errors import NotApplicable
from quicklook.core.metrics import Measures, MetricDef
from quicklook.core.params import Params
from quicklook.core.plots import Axis, Panel, Plot, Table
from quicklook.core.plugin import MonitoringAlg
from quicklook.core.unitparts import UnitParts

MISSING = MetricDef("missing_cameras", "", doc="Number of cameras that every exposure has and of which nothing came with this one.")
ARRIVED, ABSENT = "arrived", "MISSING"


class MissingCamerasParams(Params):
    """Nothing to set: which cameras are expected is said by the site (`cameras`) or the instrument (`cameras.expected`)."""


class MissingCameras(MonitoringAlg[MissingCamerasParams]):
    """Counts the cameras that are expected and absent: one finding that names all of them, whether their file never came or the camera is not in it.

    Formula: missing_cameras = number of names in `cameras` of the site (else `cameras.expected` of the instrument) that are no part of the exposure
    when it is concluded: when all that came are judged, or at the deadline of the site (`watch.unit_s`). A count, without an error.
    Source: own definition: the site says which cameras every exposure has.
    """

    name = "missing_cameras"
    group = "Exposure"
    metrics = (MISSING,)

    def measure(self, parts: UnitParts) -> Measures:
        """Of all cameras of an exposure. Raises NotApplicable where none is expected by name."""
        if not parts.expected:
            raise NotApplicable("no camera is expected by name (`cameras` of the site)")
        missing = parts.missing
        number = scalar(MISSING, len(missing), f"{', '.join(missing)} of {len(parts.expected)}" if missing else "")
        return Measures((number,), plots=(_plot(parts),), facts={"missing": ", ".join(missing) or None, "expected": len(parts.expected)})


def _plot(parts: UnitParts) -> Plot:
    """The cameras with their verdicts: a spectrograph a row where the names are an arm and a number, else a camera a row."""
    said = {p.part: str(p.status) if p.status else ARRIVED for p in parts.parts} | dict.fromkeys(parts.missing, ABSENT)
    if said and all(len(n) == 2 and n[1].isdigit() for n in said):
        arms = sorted({name[0] for name in said})
        rows = tuple((n, *(said.get(arm + n, "-") for arm in arms)) for n in sorted({name[1] for name in said}))
        table = Table(header=("spectrograph", *arms), rows=rows)
    else:
        table = Table(header=("camera", "verdict"), rows=tuple(sorted(said.items())))
    panel = Panel(x=Axis(label="arm"), y=Axis(label="spectrograph"), layers=(table,), title="Cameras of the exposure")
    return Plot(name="missing_cameras", title="Cameras", panels=(panel,))
