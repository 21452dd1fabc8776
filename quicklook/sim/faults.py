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
    `needs_light`: only flavors with light on the fibres can have it; `needs_sky`: only science exposures; `of_fibers`: some fibres have it, that
    can be named; `limits`: the strengths that mean something; `whole`: only whole numbers do.
    """

    description: str
    level: Literal["pixels", "header", "file", "calibration"]
    strength: float | None = None
    strength_doc: str = ""
    amp: str | None = None
    needs_light: bool = False
    needs_sky: bool = False
    of_fibers: bool = False
    limits: tuple[float, float] = (0.0, 1e9)
    whole: bool = False


FAULTS: Mapping[str, FaultKind] = MappingProxyType(
    {
        "dead_amp": FaultKind(description="an amplifier reads one constant value, its overscan too", level="pixels", amp="B"),
        "saturated_amp": FaultKind(
            description="every pixel of an amplifier reads 65535, its overscan too", level="pixels", amp="B"
        ),
        "hot_noise_amp": FaultKind(
            description="more read noise in an amplifier; its header keeps the nominal one",
            level="pixels", amp="C", strength=3.0, strength_doc="factor on the read noise", limits=(0.0, 1e4),
        ),
        "bias_step": FaultKind(
            description="the bias of an amplifier jumps half way through its read-out",
            level="pixels", amp="A", strength=20.0, strength_doc="height of the step, ADU", limits=(-1e5, 1e5),
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
            description="far more cosmic rays than usual", level="pixels", strength=10.0, strength_doc="factor on their number", limits=(0.0, 1e3),
        ),
        "trace_shift": FaultKind(
            description="the spectra lie beside their traces, on top of the flexure",
            level="pixels", strength=1.5, strength_doc="pixels across the dispersion", needs_light=True, limits=(-500.0, 500.0),
        ),
        "wavelength_shift": FaultKind(
            description="the spectra are shifted along the dispersion, on top of the flexure",
            level="pixels", strength=1.0, strength_doc="pixels along the dispersion", needs_light=True, limits=(-500.0, 500.0),
        ),
        "lost_sky": FaultKind(
            description="every second sky fibre sees a star or a galaxy",
            level="pixels", strength=20.0, strength_doc="their mean AB magnitude", needs_sky=True, limits=(5.0, 40.0),
        ),
        "low_throughput": FaultKind(
            description="sky and targets are dimmer than they should be: clouds, a half-closed shutter, bad pointing",
            level="pixels", strength=0.4, strength_doc="factor on sky and targets", needs_sky=True, limits=(0.0, 100.0),
        ),
        "dead_fibers": FaultKind(
            description="fibres that the calibrations do not know to be broken give no light",
            level="pixels", needs_light=True, of_fibers=True,
        ),
        "low_fibers": FaultKind(
            description="fibres that the calibrations do not know to be low have lost most of their light",
            level="pixels", strength=0.1, strength_doc="factor on their light", needs_light=True, of_fibers=True, limits=(0.0, 1.0),
        ),
        "swapped_fibers": FaultKind(
            description="two fibres have each other's target, where the fibre map has them the other way round",
            level="pixels", strength=8.0, strength_doc="mag, by how much the targets differ; empty sky counts as 25",
            needs_sky=True, of_fibers=True, limits=(0.0, 10.0),
        ),
        "nan_calib": FaultKind(
            description="the pixel flat of the calibrations has NaN in a block and in single pixels",
            level="calibration", strength=200.0, strength_doc="number of single pixels; a sixteenth of it squared are in the block",
            limits=(0.0, 1e7),
        ),
        "missing_fibermap": FaultKind(description="the fibre map is not written", level="file"),
        "wrong_night": FaultKind(
            description="NIGHT in the raw headers is late; the folder and the fibre map are right",
            level="header", strength=1.0, strength_doc="days", limits=(1.0, 1e5), whole=True,
        ),
        "truncated_file": FaultKind(
            description="the end of the raw file is cut off",
            level="file", strength=0.7, strength_doc="fraction of the bytes that is kept", limits=(0.0, 0.9999),
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

    `keys` are the cards that missing_keywords leaves out, `fibers` the rows (0, 1, ...) of the fibres that have a fault of fibres, in place of
    its own choice. Raises BadConfig.
    """

    name: str
    strength: float | None = None
    camera: str | None = None
    amp: str | None = None
    keys: tuple[str, ...] = ()
    fibers: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if self.name not in FAULTS:
            raise BadConfig(f"fault {self.name!r} is not known: use one of {', '.join(FAULTS)}")
        if self.amp is not None and (len(self.amp) != 1 or self.amp not in "ABCD"):
            raise BadConfig(f"fault {self.name}: amplifier {self.amp!r} is not one of A, B, C, D")
        if self.keys and self.name != "missing_keywords":
            raise BadConfig(f"fault {self.name}: keys belong to missing_keywords alone; leave them out")
        if self.amp is not None and self.kind.amp is None:
            raise BadConfig(f"fault {self.name}: is of no amplifier; leave {self.amp} out")
        if self.fibers and not self.kind.of_fibers:
            raise BadConfig(f"fault {self.name}: is of no fibres; leave {', '.join(str(i) for i in self.fibers)} out")
        if self.name == "swapped_fibers" and (len(self.fibers) % 2 or len(set(self.fibers)) < len(self.fibers)):
            raise BadConfig(f"fault {self.name}: fibres are exchanged two by two, each once, as in fibers=5+17")
        self._check_strength()

    def _check_strength(self) -> None:
        kind, (low, high) = self.kind, self.kind.limits
        if kind.strength is None and self.strength is not None:
            raise BadConfig(f"fault {self.name}: has no strength; leave {self.strength:g} out")
        if kind.strength is not None and not low <= self.value <= high:
            raise BadConfig(f"fault {self.name}: strength {self.value:g} is not between {low:g} and {high:g}: {kind.strength_doc}")
        if kind.whole and self.value != round(self.value):
            raise BadConfig(f"fault {self.name}: strength {self.value:g} is no whole number: {kind.strength_doc}")

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


_SETTINGS = ("camera", "amp", "fibers", "keys")


def parse_fault(text: str) -> Fault:
    """A fault as text: NAME[:STRENGTH][,camera=r0][,amp=C][,fibers=5+17][,keys=EXPTIME+FLAVOR]. Raises BadConfig."""
    head, *rest = (part.strip() for part in text.split(","))
    name, colon, strength = head.partition(":")
    given = dict(part.partition("=")[::2] for part in rest)
    if strange := [key for key in given if key not in _SETTINGS]:
        raise BadConfig(f"fault {text}: {strange[0]!r} is not one of {', '.join(_SETTINGS)}; write such as dead_amp,camera=r0,amp=C")
    many = {key: tuple(filter(None, given.get(key, "").split("+"))) for key in ("fibers", "keys")}
    try:
        value, fibers = float(strength) if colon else None, tuple(int(i) for i in many["fibers"])
    except ValueError as error:
        raise BadConfig(f"fault {text}: strength and fibres are numbers, as in low_fibers:0.3,fibers=5+17") from error
    return Fault(name=name, strength=value, camera=given.get("camera"), amp=given.get("amp"), fibers=fibers, keys=many["keys"])
