"""Exposures that are there, chosen by night, number, camera, test and by conditions on what their headers say."""

from __future__ import annotations

import os
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from quicklook.core.errors import BadConfig, QuicklookError, describe
from quicklook.core.keys import Unit
from quicklook.core.selection import Numbers, Parts
from quicklook.core.where import Where
from quicklook.io.hardware import hardware_tags
from quicklook.io.instrument import Instrument
from quicklook.io.naming import match_path, night_in_path
from quicklook.io.reader import Peek, Reader, camera_tags

FACTS = (
    "night", "expid", "flavor", "program", "object", "exptime", "start", "airmass", "seeing", "transparency", "temperature_c", "ra_deg", "dec_deg",
)  # fmt: skip
"""What is known of an exposure beside its tags."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Wanted:
    """What is wanted. What is left out does not select. `tests` by exposure, where exposures come from a session; `test_tags` by their headers."""

    nights: Numbers | None = None
    expids: Numbers | None = None
    parts: Parts = field(default_factory=Parts)
    where: Where | None = None
    tests: Mapping[Unit, str] | None = None
    test_tags: frozenset[str] = frozenset()

    def takes_unit(self, unit: Unit) -> bool:
        """Whether an exposure is wanted, as far as its key says."""
        if self.tests is not None and unit not in self.tests:
            return False
        return (self.nights is None or unit.night in self.nights) and (self.expids is None or unit.expid in self.expids)

    def may_take(self, night: int | None, expid: int | None) -> bool:
        """As `takes_unit`, by a name that may say only one of both, or nothing."""
        if self.tests is not None and not any(expid in (None, u.expid) and night in (None, u.night) for u in self.tests):
            return False
        return (self.nights is None or night is None or night in self.nights) and (self.expids is None or expid is None or expid in self.expids)


@dataclass(slots=True, kw_only=True)
class Chosen:
    """An exposure, its cameras that are wanted with their files, and those that are there and not wanted."""

    unit: Unit
    tags: dict[str, str]
    cameras: dict[str, Path] = field(default_factory=dict)
    left_out: set[str] = field(default_factory=set)

    @property
    def flavor(self) -> str:
        """science, arc, ..."""
        return self.tags.get("flavor", "")


@dataclass(slots=True, kw_only=True)
class Choice:
    """The exposures, by night and number; files that cannot be read, and why; files of a camera that another one has too; files looked at."""

    exposures: list[Chosen] = field(default_factory=list)
    unreadable: dict[Path, str] = field(default_factory=dict)
    doubles: list[Path] = field(default_factory=list)
    looked_at: int = 0

    @property
    def cameras(self) -> int:
        """Number of cameras of all exposures."""
        return sum(len(e.cameras) for e in self.exposures)


def fact_names(tag_names: Collection[str]) -> frozenset[str]:
    """Names that a condition may use, where these are the tags of the site."""
    return frozenset((*FACTS, *tag_names, "camera", "test"))


def facts_of(peek: Peek) -> dict[str, str]:
    """What is known of an exposure, as text; what is not known is left out."""
    exposure = peek.exposure
    own = {name: getattr(exposure, name) for name in FACTS if hasattr(exposure, name)}
    own |= {"night": f"{peek.unit.night:08d}", "expid": peek.unit.expid, "start": exposure.start.isoformat() if exposure.start else None}
    numbers = {name: value for name, value in own.items() if value is not None and value == value}  # NaN is not known
    return {**peek.tags, **{name: str(value) for name, value in numbers.items() if str(value)}}


def raw_files(root: Path, reader: Reader, wanted: Wanted) -> Iterator[Path]:
    """Files of the instrument below a folder whose names do not say that they are not wanted, in order. Raises BadConfig where there is no folder."""
    if not root.is_dir():
        raise BadConfig(f"there is no folder {root} of raw files", what_next="Name it: `raw` of the site, or --raw.")
    seen: set[tuple[int, int]] = set()
    for folder, below, names in os.walk(root, followlinks=True):
        stat = os.stat(folder)
        below[:] = sorted(b for b in below if not b.startswith(".")) if (stat.st_dev, stat.st_ino) not in seen else []
        if (stat.st_dev, stat.st_ino) in seen:
            continue
        seen.add((stat.st_dev, stat.st_ino))
        for path in (Path(folder, name) for name in sorted(names)):
            facts = match_path(path, reader.instrument) if reader.accepts(path) else None
            if facts is None and not reader.accepts(path):
                continue
            if facts is None or wanted.may_take(night_in_path(facts, reader.instrument), facts.expid):
                yield path


def choose(root: Path, reader: Reader, wanted: Wanted) -> Choice:
    """Look at the headers of what is there and choose.

    Raises BadConfig: no such folder; an item of --camera that no exposure has.
    """
    choice, units = Choice(), dict[Unit, Chosen]()
    known: dict[str, dict[str, str]] = {}
    for path in raw_files(root, reader, wanted):
        choice.looked_at += 1
        try:
            peek = reader.peek(path)
        except QuicklookError as error:
            choice.unreadable[path] = describe(error)
            continue
        if wanted.takes_unit(peek.unit):
            _add(choice, units, known, reader.instrument, peek, wanted)
    if known and (idle := wanted.parts.idle(known)):
        raise BadConfig(f"--camera: no exposure that is chosen has {', '.join(idle)}; there are: {', '.join(sorted(known))}")
    choice.exposures = [units[u] for u in sorted(units) if units[u].cameras]
    return choice


def _add(choice: Choice, units: dict[Unit, Chosen], known: dict[str, dict[str, str]], instrument: Instrument, peek: Peek, wanted: Wanted) -> None:
    facts = facts_of(peek)
    if wanted.tests is not None:
        facts["test"] = wanted.tests[peek.unit]
    if wanted.test_tags and facts.get("test", "") not in wanted.test_tags:
        return
    exposure = units.setdefault(peek.unit, Chosen(unit=peek.unit, tags=dict(peek.tags)))
    for camera in peek.cameras:
        tags = camera_tags(instrument, camera)
        known[camera] = tags
        of_camera = {**facts, **hardware_tags(instrument, camera, peek.unit.night), **tags, "camera": camera}
        if not wanted.parts.takes(camera, tags) or (wanted.where is not None and not wanted.where(of_camera)):
            exposure.left_out.add(camera)
        elif camera in exposure.cameras:
            choice.doubles.append(peek.path)
        else:
            exposure.cameras[camera] = peek.path
