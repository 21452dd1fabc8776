"""The history on disk: merged QA and verdicts below an output folder, read one file at a time, and only those that are asked for."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from quicklook.core.errors import describe
from quicklook.core.history import Selection
from quicklook.core.keys import Unit
from quicklook.core.results import PartResult, Record, UnitVerdict
from quicklook.io.folders import exposure_folder

log = logging.getLogger("quicklook.history")

_FLAVOR = re.compile(r'"flavor":\s*"([^"\\]*)"')
_STATUS = re.compile(r'"status":')
_HEAD = 4096
"""The tags of a result stand before anything long."""

R = TypeVar("R", PartResult, UnitVerdict)


class FileHistory:
    """Results below ``<out>/<tag>/exposures/<night>/<expid>/``. Implements `quicklook.core.history.History`.

    A file that cannot be read, is no result, or says that it belongs to another exposure is left out, with a warning that names it, and
    counted in `skipped`.
    """

    def __init__(self, out: str | Path) -> None:
        self._out = Path(out)
        self._skipped: dict[Path, str] = {}

    @property
    def skipped(self) -> Sequence[str]:
        """A sentence for each file that was left out."""
        return tuple(self._skipped.values())

    def tags(self) -> tuple[str, ...]:
        """Tags that have exposures."""
        return tuple(sorted(p.parent.name for p in self._out.glob("*/exposures") if p.is_dir()))

    def nights(self, tag: str = "live") -> tuple[int, ...]:
        """Nights that have a folder under the tag, oldest first."""
        return tuple(night for night, _ in _numbered(self._out / tag / "exposures"))

    def units(self, wanted: Selection) -> Iterator[Unit]:
        """Exposures that have a folder, in the order of the selection; what only a result says (its flavor) does not count."""
        for night, folder in _ordered(_numbered(self._out / wanted.tag / "exposures"), wanted):
            if wanted.takes_night(night):
                exposures = _ordered(_numbered(folder), wanted)
                yield from (unit for expid, _ in exposures if wanted.takes_unit(unit := Unit(night, expid)))

    def results(self, wanted: Selection) -> Iterator[PartResult]:
        """Results of parts, from ``qa-<part>-<expid>.json``."""
        for unit in self.units(wanted):
            ending = f"-{unit.expid:08d}"
            for path in self._files(unit, wanted, "qa-", ending):
                part = path.name.removeprefix("qa-").rpartition(ending)[0]
                result = self._read(path, PartResult, unit, wanted) if wanted.takes_part(part) else None
                if result is not None and result.part != part:
                    self._skip(path, f"it says that it is of {result.part}")
                elif result is not None:
                    yield result

    def verdicts(self, wanted: Selection) -> Iterator[UnitVerdict]:
        """Verdicts of exposures, from ``verdict.json``."""
        for unit in self.units(wanted):
            seen: set[int] = set()
            for path in self._files(unit, wanted, "verdict", ""):
                verdict = self._read(path, UnitVerdict, unit, wanted)
                if verdict is not None and verdict.revision not in seen:
                    seen.add(verdict.revision)
                    yield verdict

    def _files(self, unit: Unit, wanted: Selection, start: str, ending: str) -> list[Path]:
        """Files of an exposure, of the latest revision alone or of all, the latest first."""
        folder = exposure_folder(self._out, wanted.tag, unit)
        latest = sorted(folder.glob(f"{start}*{ending}.json" if ending else f"{start}.json"))
        if not wanted.all_revisions:
            return latest
        return [file for plain in latest for file in (plain, *_earlier(plain))]

    def _read(self, path: Path, model: type[R], unit: Unit, wanted: Selection) -> R | None:
        try:
            content = path.read_bytes()
            if wanted.flavors and not _may_be(content[:_HEAD].decode(errors="replace"), wanted):
                return None
            found: R = model.model_validate_json(content)
        except FileNotFoundError:
            return None  # it has just been renamed to the name of its revision
        except (OSError, ValidationError) as error:
            self._skip(path, _short(error, model))
            return None
        if (found.night, found.expid) != (unit.night, unit.expid):
            self._skip(path, f"it says that it is of {found.night:08d}/{found.expid:08d}")
            return None
        return found if wanted.takes_flavor(found.tags) else None

    def _skip(self, path: Path, why: str) -> None:
        if path not in self._skipped:
            self._skipped[path] = f"{path} is left out: {why}"
            log.warning("%s", self._skipped[path])


def _short(error: OSError | ValidationError, model: type[Record]) -> str:
    if isinstance(error, ValidationError):
        first = describe(error).partition("; ")[0]
        return f"it is no {model.__name__} that this version can read ({first[:160]})"
    return error.strerror or describe(error)


def _may_be(head: str, wanted: Selection) -> bool:
    """Whether the beginning of a file leaves it open that its flavor is wanted: most of a history is told apart by it, without parsing."""
    tags = _STATUS.split(head, maxsplit=1)[0]
    found = _FLAVOR.search(tags)
    return found is None or found[1] in wanted.flavors


def _numbered(folder: Path) -> list[tuple[int, Path]]:
    """Folders in a folder whose names are numbers, in ascending order; none where it is not there."""
    try:
        return sorted((int(p.name), p) for p in folder.iterdir() if p.name.isascii() and p.name.isdigit() and p.is_dir())
    except OSError:
        return []


def _ordered(found: list[tuple[int, Path]], wanted: Selection) -> list[tuple[int, Path]]:
    return found[::-1] if wanted.newest_first else found


def _earlier(plain: Path) -> list[Path]:
    """Files of the same thing that carry the number of an earlier revision, latest first."""
    start = f"{plain.stem}.rev"
    numbered = [(p.name.removeprefix(start).removesuffix(plain.suffix), p) for p in plain.parent.glob(f"{start}*{plain.suffix}")]
    return [p for _, p in sorted(((int(n), p) for n, p in numbered if n.isascii() and n.isdigit()), reverse=True)]
