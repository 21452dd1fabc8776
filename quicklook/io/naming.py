"""What the path of a raw file says: night, number, camera, time, by the patterns of the instrument."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from quicklook.io.instrument import Instrument, Site
from quicklook.io.patterns import FIELD, compile_pattern

_TEMPORARY = (".*", "*~", "#*#", "*.tmp", "*.temp", "*.part", "*.partial", "*.filepart", "*.crdownload", "*.lock", "*.swp", "*.tmp.*", "*.nfs*")


@dataclass(frozen=True, slots=True, kw_only=True)
class PathFacts:
    """What a path says; None where it does not. `groups` holds every named field as text."""

    night: int | None = None
    expid: int | None = None
    camera: str = ""
    start: datetime | None = None
    groups: Mapping[str, str] = field(default_factory=dict)


def is_temporary(name: str, instrument: Instrument) -> bool:
    """Whether a file of that name is one that is still being written, or is to be ignored."""
    return any(fnmatch.fnmatchcase(name, p) for p in (*_TEMPORARY, *instrument.files.ignore))


def match_path(path: Path, instrument: Instrument) -> PathFacts | None:
    """What the path says, None where its name fits no pattern."""
    text = path.as_posix()
    for pattern in instrument.files.patterns:
        if found := compile_pattern(pattern).search(text):
            return _facts({k: v for k, v in found.groupdict().items() if v is not None}, instrument)
    return None


def _facts(groups: dict[str, str], instrument: Instrument) -> PathFacts:
    start = _start(groups, instrument)
    expid = _number(groups.get("expid"))
    if expid is None and start is not None and instrument.files.expid_from_time:
        expid = int(start.strftime("%H%M%S"))
    return PathFacts(
        night=_number(groups.get("night")),
        expid=expid,
        camera=instrument.camera_name(groups.get("camera", "")),
        start=None if start is None else start - timedelta(hours=instrument.site.utc_offset_hours),
        groups=groups,
    )


def _number(text: str | None) -> int | None:
    return int(text) if text and text.isdigit() else None


def _start(groups: Mapping[str, str], instrument: Instrument) -> datetime | None:
    """Time in the name, in the time zone of the instrument."""
    text = groups.get("date", "") + groups.get("time", "")
    if not text or not instrument.files.time_format:
        return None
    try:
        return datetime.strptime(text, instrument.files.time_format).replace(tzinfo=UTC)
    except ValueError:
        return None


def night_of(time: datetime, site: Site) -> int:
    """Night (YYYYMMDD of its evening) that a time belongs to: local mean solar time, less the hour at which nights change."""
    east = site.longitude_deg - 360 if site.longitude_deg > 180 else site.longitude_deg
    local = time + timedelta(hours=east / 15 - site.night_change_hour)
    return int(local.strftime("%Y%m%d"))


def locate(root: Path, instrument: Instrument, night: int | None, expid: int) -> Iterator[Path]:
    """Files under `root` whose path says that they belong to an exposure (of a night, where given), or whose path says nothing of the night."""
    seen: set[Path] = set()
    for pattern in instrument.files.patterns:
        for path in sorted(root.glob(_glob(pattern, night, expid))):
            facts = match_path(path, instrument)
            fits = facts is not None and facts.expid == expid and (night is None or night_in_path(facts, instrument) in (None, night))
            if fits and path not in seen and not is_temporary(path.name, instrument):
                seen.add(path)
                yield path


def night_in_path(facts: PathFacts, instrument: Instrument) -> int | None:
    """The night that a path says, by itself or by the time in it; None where it does not."""
    return facts.night if facts.night is not None or facts.start is None else night_of(facts.start, instrument.site)


def _glob(pattern: str, night: int | None, expid: int) -> str:
    if pattern.startswith("regex:"):
        return "**/*"
    known = {"night": night, "expid": expid}

    def fill(match: re.Match[str]) -> str:
        value = known.get(match[1] or "")
        return "*" if value is None else f"{value:0{int(match[2] or 0)}d}"

    return "**/" + FIELD.sub(fill, pattern)
