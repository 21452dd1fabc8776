"""Removing intermediate products from an output folder: those of named kinds, and nothing else.

Raw files, merged QA, verdicts, decisions, receipts, plots, calibrations and the journal are never touched. A file is removed where it lies in the
folder of an exposure that holds a result of ours for that very exposure and tag, and has the name that a product of the kind has there.
"""

from __future__ import annotations

import re
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from quicklook.core.errors import BadConfig
from quicklook.core.keys import Unit
from quicklook.core.validation import suggest
from quicklook.io.products import can_write, product_name
from quicklook.io.recordfile import RECORDS

INTERMEDIATE = ("preproc", "psf", "frame", "fframe", "sframe", "sky", "fiberflat", *RECORDS)
"""Kinds that may be removed: what steps hand to one another. Calibrated spectra and calibrations are what the work is for."""
_HEAD = 4096
_TAG = re.compile(rb'"tag":\s*"([^"\\]*)"')
_NUMBERS = re.compile(rb'"night":\s*(\d+),\s*"expid":\s*(\d+)')


@dataclass(frozen=True, slots=True, kw_only=True)
class Removable:
    """A product that may be removed: its file, size (byte), kind, tag, exposure."""

    path: Path
    size: int
    kind: str
    tag: str
    unit: Unit


def check_kinds(kinds: Sequence[str]) -> None:
    """Raises BadConfig for a kind that is no intermediate product."""
    known = [k for k in INTERMEDIATE if can_write(k)]
    for kind in kinds:
        if kind not in known:
            final = can_write(kind)
            why = f"products of kind {kind} are results" if final else f"there is no kind {kind!r}{suggest(kind, known, noun='kinds')}"
            more = f"; removed can be: {', '.join(known)}" if final else ""
            raise BadConfig(f"--kind: {why}{more}", what_next="Name one of these.")


def removable(out: Path, kinds: Sequence[str], tags: Collection[str] = (), older_than_days: float = 0.0) -> list[Removable]:
    """Products of these kinds, of these tags (none: all), not changed for so long; earlier revisions of them too.

    Raises BadConfig where `out` is no output folder of ours, or has no such tag.
    """
    check_kinds(kinds)
    folders = [*_exposures(out)]
    if not folders:
        why = "it has no results under <tag>/exposures/<night>/<number>"
        raise BadConfig(f"{out} is no output folder of quicklook: {why}", what_next="Name another folder.")
    known = sorted({tag for tag, _, _ in folders})
    for tag in tags:
        if tag not in known:
            raise BadConfig(f"{out} has no results under tag {tag!r}; it has: {', '.join(known)}")
    before = time.time() - older_than_days * 86400.0
    found = []
    for tag, unit, folder in folders:
        if not tags or tag in tags:
            found += [r for r in _products(folder, tag, unit, kinds) if older_than_days <= 0 or r.path.stat().st_mtime < before]
    return found


def _exposures(out: Path) -> Iterator[tuple[str, Unit, Path]]:
    """Folders of exposures that hold a result of ours."""
    for folder in sorted(out.glob("*/exposures/[0-9]*/[0-9]*")):
        tag, night, number = folder.parts[-4], folder.parts[-2], folder.parts[-1]
        plain = (out / tag, out / tag / "exposures", folder.parent, folder)
        numbered = night.isdigit() and number.isdigit() and len(night) == 8 and len(number) >= 8
        if not numbered or any(p.is_symlink() or not p.is_dir() for p in plain):
            continue
        unit = Unit(int(night), int(number))
        if any(_is_ours(path, tag, unit) for path in (*folder.glob("verdict*.json"), *folder.glob("qa-*.json"))):
            yield tag, unit, folder


def _is_ours(path: Path, tag: str, unit: Unit) -> bool:
    """Whether a file is a merged QA or a verdict of this exposure under this tag."""
    with suppress(OSError), path.open("rb") as file:
        head = file.read(_HEAD)
        said, numbers = _TAG.search(head), _NUMBERS.search(head)
        own = said is not None and said[1] == tag.encode() and numbers is not None and b'"schema_version"' in head
        return own and numbers is not None and (int(numbers[1]), int(numbers[2])) == (unit.night, unit.expid)
    return False


def _products(folder: Path, tag: str, unit: Unit, kinds: Sequence[str]) -> Iterator[Removable]:
    for kind in dict.fromkeys(kinds):
        start, _, suffix = product_name(kind, "\0", unit.expid).partition("\0")
        ending, dot, extension = suffix.rpartition(".")
        name = re.compile(rf"{re.escape(start)}[^/]+{re.escape(ending)}(?:\.rev\d+)?{re.escape(dot + extension)}\Z")
        for path in sorted(p for p in folder.iterdir() if name.match(p.name)):
            if path.is_file() and not path.is_symlink():
                yield Removable(path=path, size=path.stat().st_size, kind=kind, tag=tag, unit=unit)


def remove(found: Sequence[Removable]) -> tuple[int, list[str]]:
    """Remove the files; returns how many bytes that gave back, and a sentence for each that could not be removed."""
    freed, failed = 0, []
    for one in found:
        try:
            one.path.unlink()
            freed += one.size
        except FileNotFoundError:
            continue
        except OSError as error:
            failed.append(f"{one.path} cannot be removed: {error.strerror or error}")
    return freed, failed
