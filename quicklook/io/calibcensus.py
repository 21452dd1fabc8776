"""An index of calibrations looked at as a whole: every file, files that nobody lists, nights that overlap, nights without any."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol

from quicklook.core.errors import QuicklookError
from quicklook.io.calibadd import examine
from quicklook.io.calibchoice import Candidate, in_order, nights_misfit
from quicklook.io.calibentry import NOT_STATED, CalibEntry, nights_text
from quicklook.io.calibfile import checksum
from quicklook.io.calibstore import INDEX, FolderStore

SUFFIXES = (".fits", ".fits.gz", ".fits.fz", ".fit", ".fts")


class Listed(Protocol):
    """An index whose entries can be listed."""

    @property
    def name(self) -> str:
        """For messages."""
        ...

    def entries(self) -> tuple[CalibEntry, ...]:
        """All entries."""
        ...

    def locate(self, entry: CalibEntry) -> Path:
        """The file of one."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryCheck:
    """An entry, and why it cannot be used; empty where it can."""

    entry: CalibEntry
    path: Path
    wrong: str = ""

    @property
    def damaged(self) -> bool:
        """Whether somebody must do something: one that is marked as bad is used by nobody."""
        return bool(self.wrong) and self.entry.quality != "bad"


@dataclass(frozen=True, slots=True, kw_only=True)
class Census:
    """What was found: every entry, files of the folder that none lists, nights on which two hold, nights on which none does."""

    checks: tuple[EntryCheck, ...]
    unlisted: tuple[Path, ...]
    overlaps: tuple[str, ...]
    gaps: tuple[str, ...]

    @property
    def good(self) -> bool:
        """Whether every entry can be used, the bad ones apart."""
        return not any(c.damaged for c in self.checks)


def take_census(index: Listed, folder: Path, told: Callable[[EntryCheck], None] = lambda _check: None) -> Census:
    """Verify an index; `told` hears of each entry as it is done. Raises BadConfig where the index itself cannot be read."""
    entries = index.entries()
    checks = []
    for entry in entries:
        checks.append(check_entry(index, entry))
        told(checks[-1])
    usable = [e for e in entries if e.quality != "bad"]
    return Census(
        checks=tuple(checks),
        unlisted=tuple(unlisted(index, folder)),
        overlaps=tuple(_overlaps(usable)),
        gaps=tuple(_gaps(usable)),
    )


def check_entry(index: Listed, entry: CalibEntry) -> EntryCheck:
    """Load the file of an entry, compare its checksum, and its size with the recorded one, and look at its values."""
    path = index.locate(entry)
    try:
        examine(path, entry.of_kind, entry.shapes, sha256=entry.sha256)
    except QuicklookError as error:
        return EntryCheck(entry=entry, path=path, wrong=str(error))
    return EntryCheck(entry=entry, path=path)


def write_checksums(folder: Path, census: Census) -> list[CalibEntry]:
    """Write the checksum of every file that was found in order into its entry where that has none; returns those entries.

    From then on damage is found when the file is used. Raises BadConfig, Transient, OSError.
    """
    if not (folder / INDEX).is_file():  # a DESI tree has no place for them
        return []
    store = FolderStore(folder)
    listed = store.entries()
    lacking = [c for c in census.checks if not (c.wrong or c.entry.sha256) and c.entry.quality != "bad" and c.entry in listed]
    for check in lacking:
        store.stamp(check.entry, checksum(check.path))
    return [c.entry for c in lacking]


def unlisted(index: Listed, folder: Path) -> Iterator[Path]:
    """FITS files in the folder that no entry names."""
    listed = {index.locate(e).resolve() for e in index.entries()}
    for path in sorted(folder.rglob("*")):
        if path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".") and path.is_file() and path.resolve() not in listed:
            yield path


def _groups(entries: Sequence[CalibEntry]) -> Mapping[tuple[object, ...], list[CalibEntry]]:
    """Entries that stand for the same thing on different nights, in the order of their begin; defaults left out."""
    groups: dict[tuple[object, ...], list[CalibEntry]] = {}
    for e in entries:
        if not e.default:
            groups.setdefault((e.of_kind, e.instrument, e.camera, e.serial, tuple(sorted(e.when.items()))), []).append(e)
    return {k: sorted(g, key=lambda e: e.valid_from or 0) for k, g in groups.items()}


def _overlaps(entries: Sequence[CalibEntry]) -> Iterator[str]:
    """Of two that hold on one night the later begin counts. One without an end that another follows is no overlap: that is how they go."""
    for group in _groups(entries).values():
        for one, other in itertools.pairwise(group):
            if one.valid_from == other.valid_from:
                yield f"{_who(one)}: {one.path} and {other.path} both begin {nights_text(one.valid_from, None)}; the one listed last is used"
            elif one.valid_to is not None and (other.valid_from or 0) <= one.valid_to:
                last = min(one.valid_to, other.valid_to or one.valid_to)
                yield f"{_who(one)}: {one.path} and {other.path} both hold {other.valid_from} to {last}; {other.path} is used there"


def _gaps(entries: Sequence[CalibEntry]) -> Iterator[str]:
    for key, group in _groups(entries).items():
        if any(e.default and e.of_kind == key[0] and (e.instrument, e.camera) == (group[0].instrument, group[0].camera) for e in entries):
            continue
        end = group[0].valid_to
        for one in group[1:]:
            if end is not None and one.valid_from and (first := _day_after(end)) < one.valid_from:
                yield f"{_who(one)}: none from {first} until {_day_after(one.valid_from, -1)}"
            end = None if end is None or one.valid_to is None else max(end, one.valid_to)


def _day_after(night: int, days: int = 1) -> int:
    try:
        return int((datetime.strptime(f"{night:08d}", "%Y%m%d") + timedelta(days=days)).strftime("%Y%m%d"))
    except OverflowError:  # until the end of the year 9999
        return night


def unstated(candidates: Sequence[Candidate], night: int) -> tuple[str, ...]:
    """Tags that are not stated of a part, and on which it hangs which of the candidates it gets: those that one asks for which would go first."""
    asked = {}
    freed = list[Candidate]()
    for c in candidates:
        free = c.why_not.endswith(f"not {NOT_STATED}") and c.quality != "bad" and not nights_misfit(c.valid_from, c.valid_to, night)
        freed.append(replace(c, why_not="") if free else c)
        asked[id(freed[-1])] = c.why_not.removeprefix("is for ").split(" ")[0] if free else ""
    ahead = itertools.takewhile(bool, (asked[id(c)] for c in in_order(freed, night)))
    return tuple(dict.fromkeys(ahead))


def _who(entry: CalibEntry) -> str:
    return f"{entry.of_kind} of {whose(entry)}"


def whose(entry: CalibEntry, most: int = 9) -> str:
    """For which cameras or hardware it is, in a few words: `most` tags at most, then how many more."""
    tags = [*(f"serial {s}" for s in entry.serial), *(f"{k} {' '.join(v)}" for k, v in entry.when.items())]
    names = [" ".join(entry.camera)] if entry.camera != ("*",) or not tags else []
    more = [f"+{len(tags) - most}"] if len(tags) > most else []
    return ", ".join([*names, *tags[:most], *more])
