"""What can be wrong with a simulated exposure: a registry of faults at the level of raw data."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Literal

from quicklook.core.errors import BadConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class FaultKind:
    """One kind of fault.

    `strength` is the default, None where the fault has no strength; `amp` is the default amplifier (position letter
    A..D), None where the fault is not of an amplifier; `level` says whether pixels, a header, files or calibrations are touched;
    `needs_light`: only flavors with light on the fibres can have it; `needs_sky`: only science exposures.
    """

    description: str
    level: Literal["pixels", "header", "file", "calibration"]
    strength: float | None = None
    strength_doc: str = ""
    amp: str | None = None
    needs_light: bool = False
    needs_sky: bool = False


FAULTS: Mapping[str, FaultKind] = MappingProxyType(
    {
        "dead_amp": FaultKind(description="an amplifier reads one constant value, its overscan too", level="pixels", amp="B"),
        "saturated_amp": FaultKind(
            description="every pixel of an amplifier reads 65535, its overscan too", level="pixels", amp="B"
        ),
        "hot_noise_amp": FaultKind(
            description="more read noise in an amplifier; its header keeps the nominal one",
            level="pixels", amp="C", strength=3.0, strength_doc="factor on the read noise",
        ),
        "bias_step": FaultKind(
            description="the bias of an amplifier jumps half way through its read-out",
            level="pixels", amp="A", strength=20.0, strength_doc="height of the step, ADU",
        ),
        "light_leak": FaultKind(
            description="a smooth background of light, brightest at the lower right corner",
            level="pixels", strength=300.0, strength_doc="electrons per pixel at the corner",
        ),
        "saturated": FaultKind(
            description="a few fibres are far too bright: their pixels reach 65535 ADU",
            level="pixels", strength=6.0e5, strength_doc="electrons per row, mean over the rows of a fibre", needs_light=True,
        ),
        "cosmics_storm": FaultKind(
            description="far more cosmic rays than usual", level="pixels", strength=10.0, strength_doc="factor on their number",
        ),
        "trace_shift": FaultKind(
            description="the spectra lie beside their traces, on top of the flexure",
            level="pixels", strength=1.5, strength_doc="pixels across the dispersion", needs_light=True,
        ),
        "wavelength_shift": FaultKind(
            description="the spectra are shifted along the dispersion, on top of the flexure",
            level="pixels", strength=1.0, strength_doc="pixels along the dispersion", needs_light=True,
        ),
        "lost_sky": FaultKind(
            description="every second sky fibre sees a star or a galaxy",
            level="pixels", strength=20.0, strength_doc="their mean AB magnitude", needs_sky=True,
        ),
        "low_throughput": FaultKind(
            description="sky and targets are dimmer than they should be: clouds, a half-closed shutter, bad pointing",
            level="pixels", strength=0.4, strength_doc="factor on sky and targets", needs_sky=True,
        ),
        "nan_calib": FaultKind(
            description="the pixel flat of the calibrations has NaN in a block and in single pixels",
            level="calibration", strength=200.0, strength_doc="number of single pixels; a sixteenth of it squared are in the block",
        ),
        "missing_fibermap": FaultKind(description="the fibre map is not written", level="file"),
        "wrong_night": FaultKind(
            description="NIGHT in the raw headers is late; the folder and the fibre map are right",
            level="header", strength=1.0, strength_doc="days",
        ),
        "truncated_file": FaultKind(
            description="the end of the raw file is cut off",
            level="file", strength=0.7, strength_doc="fraction of the bytes that is kept",
        ),
        "missing_camera": FaultKind(description="one camera is not in the raw file", level="file"),
        "missing_keywords": FaultKind(
            description="cards are left out of the headers: EXPTIME, FLAVOR, and GAIN and BIASSEC of an amplifier",
            level="header", amp="A",
        ),
    }
)  # fmt: skip
"""All faults by name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """A fault of one exposure. None takes the default of its kind; `camera` None hits every camera.

    `keys` are the cards that missing_keywords leaves out, in place of its own choice. Raises BadConfig.
    """

    name: str
    strength: float | None = None
    camera: str | None = None
    amp: str | None = None
    keys: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in FAULTS:
            raise BadConfig(f"fault {self.name!r} is not known: use one of {', '.join(FAULTS)}")
        if self.amp is not None and (len(self.amp) != 1 or self.amp not in "ABCD"):
            raise BadConfig(f"fault {self.name}: amplifier {self.amp!r} is not one of A, B, C, D")
        if self.keys and self.name != "missing_keywords":
            raise BadConfig(f"fault {self.name}: keys belong to missing_keywords alone; leave them out")
        if self.kind.strength is not None and not self.value >= 0.0 and self.name not in ("bias_step", "trace_shift", "wavelength_shift"):
            raise BadConfig(f"fault {self.name}: strength {self.value} must not be negative: {self.kind.strength_doc}")
        if self.name == "truncated_file" and not 0.0 <= self.value < 1.0:
            raise BadConfig(f"fault truncated_file: strength {self.value} is not a fraction from 0 to 1 of the bytes kept")

    @property
    def kind(self) -> FaultKind:
        """Its entry in the registry."""
        return FAULTS[self.name]

    @property
    def value(self) -> float:
        """Its strength, else the default of its kind (0 where there is none)."""
        return (self.kind.strength or 0.0) if self.strength is None else self.strength

    @property
    def amp_index(self) -> int:
        """0..3 for amplifier A..D."""
        return "ABCD".index(self.amp or self.kind.amp or "A")

    def hits(self, camera: str) -> bool:
        """Whether this camera has the fault."""
        return self.camera is None or self.camera == camera


def find_fault(faults: Sequence[Fault], name: str, camera: str | None = None) -> Fault | None:
    """The first fault of this name that hits the camera (any camera where None is given)."""
    return next((f for f in faults if f.name == name and (camera is None or f.hits(camera))), None)
