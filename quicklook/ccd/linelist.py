"""Lines of known wavelength: of the night sky, of arc lamps. A list may be a calibration; without one the shipped list is taken."""

from __future__ import annotations

import functools
import importlib.resources
import re
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from quicklook.ccd.arrays import Float64, check_array
from quicklook.core.errors import BadData
from quicklook.core.product import Calibration

L = TypeVar("L", bound="LineList")


@dataclass(frozen=True, slots=True, kw_only=True)
class LineList(Calibration):
    """Lines in the order of wavelength.

    `wave` vacuum Angstrom; `sigma` Angstrom, how far the centroid at the resolution of the instrument may be from `wave` (blends, laboratory
    error); `window` Angstrom, half width of the fit that this holds for (a wider one meets neighbours); `strength` typical relative brightness, for
    the choice among lines; `name` who emits it. All [nline].
    """

    kind = "lines"

    wave: Float64
    sigma: Float64
    window: Float64
    strength: Float64
    name: tuple[str, ...]

    def __post_init__(self) -> None:
        for what, array in (("wave", self.wave), ("sigma", self.sigma), ("window", self.window), ("strength", self.strength)):
            check_array(f"line list {what}", array, shape=self.wave.shape, dtype=np.float64, ndim=1)
        if len(self.name) != len(self.wave):
            raise BadData(f"line list of {len(self.wave)} wavelengths has {len(self.name)} names")
        positive = all(np.all((a > 0) & np.isfinite(a)) for a in (self.wave, self.sigma, self.window, self.strength))
        if not (positive and np.all(np.diff(self.wave) > 0)):
            raise BadData("a line list has rising wavelengths, and sigma, window and strength above zero")


@dataclass(frozen=True, slots=True, kw_only=True)
class SkyLines(LineList):
    """Emission lines of the night sky that stand alone at the resolution of the instrument."""

    kind = "skylines"


@dataclass(frozen=True, slots=True, kw_only=True)
class ArcLines(LineList):
    """Lines of the arc lamps."""

    kind = "arclines"


@dataclass(frozen=True, slots=True, kw_only=True)
class LampLines(LineList):
    """Lines of the lamps from which an arc is identified: more of them than are fitted, faint and blended ones too."""

    kind = "lamplines"


def air_to_vacuum(wave: Float64) -> Float64:
    """Vacuum wavelengths of wavelengths in standard air, Angstrom, above 2000 Angstrom.

    Source: Ciddor (1996, Applied Optics 35, 1566), refractive index of air at 15 C, 101325 Pa, 450 ppm CO2; iterated, since it is given for vacuum.
    """
    vacuum = np.asarray(wave, np.float64)
    for _ in range(3):
        s2 = (1e4 / vacuum) ** 2
        vacuum = wave * (1.0 + 0.05792105 / (238.0185 - s2) + 0.00167917 / (57.362 - s2))
    return np.asarray(np.where(np.asarray(wave) < 2000.0, wave, vacuum))


def parse_lines(text: str, wanted: type[L]) -> L:
    """A line list from text: a line each of wavelength, sigma, window, strength, name; # begins a comment. Raises BadData.

    Vacuum Angstrom; wavelengths in air, where a line `# medium: air` says so.
    """
    rows = [r.split() for r in (line.partition("#")[0] for line in text.splitlines()) if r.strip()]
    medium = next((m.group(1) for m in re.finditer(r"^#\s*medium:\s*(\S+)\s*$", text, re.MULTILINE)), "vacuum")
    if medium not in ("air", "vacuum"):
        raise BadData(f"the medium of a line list is air or vacuum, not {medium}")
    try:
        table = sorted((float(r[0]), float(r[1]), float(r[2]), float(r[3]), " ".join(r[4:])) for r in rows)
    except (ValueError, IndexError) as error:
        raise BadData(f"a line list has lines of wavelength, sigma, window, strength, name: {error}") from error
    if not table:
        raise BadData("the line list is empty")
    columns = [np.array([row[i] for row in table], np.float64) for i in range(4)]
    if medium == "air":
        columns[0] = air_to_vacuum(columns[0])
    return wanted(wave=columns[0], sigma=columns[1], window=columns[2], strength=columns[3], name=tuple(row[4] for row in table))


@functools.cache
def shipped_lines(wanted: type[L]) -> L:
    """The list of that kind that comes with the project (package data configs/lines)."""
    return parse_lines((importlib.resources.files("configs") / "lines" / f"{wanted.kind}.txt").read_text("utf-8"), wanted)
