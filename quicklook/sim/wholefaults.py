"""Faults of whole exposures, which show where cameras are compared: from faint to strong, for a scorecard of the QAs over cameras."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from quicklook.core.errors import BadConfig
from quicklook.sim.faults import Fault
from quicklook.sim.plan import PlannedExposure

CAMERAS = ("b0", "r0", "z0", "r3", "r7")
"""The arms of a spectrograph, and one arm of three spectrographs that lie far apart on the focal plane."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeFault:
    """A fault of an exposure: what it is, its five strengths from faint to strong (numbers, or cameras), what they are."""

    description: str
    strengths: tuple[float | str, ...]
    strength_doc: str

    @property
    def labels(self) -> tuple[str, ...]:
        """The strengths as text."""
        return tuple(s if isinstance(s, str) else f"{s:g}" for s in self.strengths)


_FACTORS = (0.95, 0.9, 0.85, 0.75, 0.6)
_MAGNITUDES = (0.05, 0.1, 0.2, 0.3, 0.5)
WHOLE_FAULTS: Mapping[str, WholeFault] = MappingProxyType(
    {
        "camera_absent": WholeFault(description="a camera is not in the raw file", strengths=CAMERAS, strength_doc="which"),
        "dim_arm": WholeFault(description="one arm of a spectrograph is dim", strengths=_FACTORS, strength_doc="factor on the light of z0"),
        "dim_spectrograph": WholeFault(description="one spectrograph of three is dim", strengths=_FACTORS, strength_doc="factor on the light of r3"),
        "half_field": WholeFault(
            description="targets are fainter on one side of the field", strengths=_MAGNITUDES, strength_doc="mag, edge less centre"
        ),
        "radial": WholeFault(description="targets are fainter at the edge of the field", strengths=_MAGNITUDES, strength_doc="mag, edge less centre"),
        "quadrupole": WholeFault(
            description="targets are fainter along one axis of the field and brighter along the other", strengths=_MAGNITUDES, strength_doc="mag"
        ),
    }
)
"""All of them by name."""
_DIM = {"dim_arm": "z0", "dim_spectrograph": "r3"}
_PATTERNS = ("half_field", "radial", "quadrupole")


def with_whole_fault(planned: PlannedExposure, name: str, strength: float | str, cameras: Sequence[str]) -> tuple[PlannedExposure, tuple[str, ...]]:
    """The exposure with the fault, and the cameras that are in its file. Raises BadConfig for a fault that is not known or not possible."""
    if name not in WHOLE_FAULTS:
        raise BadConfig(f"fault {name!r} of exposures is not known: use one of {', '.join(WHOLE_FAULTS)}")
    wanted = strength if isinstance(strength, str) else _DIM.get(name)
    if wanted is not None and wanted not in cameras:
        raise BadConfig(f"fault {name}: camera {wanted} is none of {', '.join(cameras)}")
    if isinstance(strength, str):
        return planned, tuple(c for c in cameras if c != strength)
    if name in _DIM:
        fault = Fault(name="low_throughput", strength=strength, camera=_DIM[name])
        return replace(planned, faults=(*planned.faults, fault)), tuple(cameras)
    first, second, third = (strength if name == p else 0.0 for p in _PATTERNS)
    return replace(planned, field_pattern=(first, second, third)), tuple(cameras)
