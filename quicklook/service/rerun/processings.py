"""The processings of an exposure: under which tags there are results, in which revisions, which of them is the default and which the last.

The default of an output folder is one tag: what stands unless another one is asked for. It is kept in ``<out>/default.json``; without that file it is
the tag of live work. The last of an exposure is what was concluded latest, under whatever tag.
"""

from __future__ import annotations

import json
import logging
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import sqlalchemy as sa

from quicklook.core.errors import BadConfig
from quicklook.core.history import Selection
from quicklook.core.keys import Unit
from quicklook.core.results import UnitVerdict
from quicklook.core.status import Status
from quicklook.io.atomic import write_json
from quicklook.io.folders import exposure_folder
from quicklook.io.history import FileHistory
from quicklook.io.revisions import of_revision, revision_in
from quicklook.service.journal.journal import UNITS, Journal, journal_path

log = logging.getLogger("quicklook.aim")

DEFAULT, LAST = "default", "last"
LIVE = "live"
_NAMED = re.compile(r"(?P<tag>[A-Za-z0-9][A-Za-z0-9_.-]*)(?:@(?P<revision>\d+))?\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class Processing:
    """One revision of the results of an exposure under one tag. `time_ns`: when it was concluded, UTC."""

    unit: Unit
    tag: str
    revision: int
    status: Status
    time_ns: int
    parts: tuple[str, ...]
    default: bool = False
    last: bool = False


def is_live(out: Path, tag: str) -> bool:
    """Whether a daemon has worked in an output folder under a tag. A journal that cannot be read says nothing. Raises Transient (it is locked)."""
    if not journal_path(out).is_file():
        return False
    try:
        journal = Journal(journal_path(out), time.time_ns, to_read=True)
    except BadConfig as error:
        log.warning("whether tag %s is of live work is not known: %s", tag, error)
        return False
    try:
        with journal.reading() as connection:
            return connection.execute(sa.select(UNITS.c.unit).where(UNITS.c.tag == tag).limit(1)).first() is not None
    finally:
        journal.close()


def stored_units(out: Path) -> list[tuple[Unit, str]]:
    """Exposures that have results under any tag, by night and number, and the flavor that their verdict says."""
    history = FileHistory(out)
    found: dict[Unit, str] = {}
    for tag in history.tags():
        for verdict in history.verdicts(Selection(tag=tag, newest_first=False)):
            found.setdefault(Unit(verdict.night, verdict.expid), verdict.tags.get("flavor", ""))
    return sorted(found.items())


def default_tag(out: Path, live: str = LIVE) -> str:
    """The tag that stands in an output folder; `live` is that of live work. Raises BadConfig where what says it cannot be read."""
    path = out / "default.json"
    try:
        tag = json.loads(path.read_bytes())["tag"]
    except FileNotFoundError:
        return live
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadConfig(f"{path} cannot be read ({type(error).__name__})", what_next="Set it again: quicklook aim --make-default TAG.") from error
    return str(tag)


def make_default(out: Path, tag: str) -> None:
    """Make a tag the default of an output folder. Raises BadConfig where it has no results."""
    tags = FileHistory(out).tags()
    if tag not in tags:
        raise BadConfig(f"{out} has no results under tag {tag!r}; it has: {', '.join(tags) or 'none'}", what_next="Name one of these.")
    write_json(out / "default.json", {"tag": tag})


def processings(out: Path, unit: Unit, *, live: str = LIVE) -> tuple[Processing, ...]:
    """Every revision of an exposure under every tag, the last one first."""
    history, standing = FileHistory(out), default_tag(out, live)
    found: list[Processing] = []
    for tag in history.tags():
        verdicts = list(history.verdicts(Selection(tag=tag, units=frozenset({unit}), all_revisions=True)))
        latest = max((v.revision for v in verdicts), default=-1)
        found += [_processing(out, unit, v, default=tag == standing and v.revision == latest) for v in verdicts]
    found.sort(key=lambda p: (p.time_ns, p.tag, p.revision), reverse=True)
    return tuple(_marked(found))


def _marked(found: list[Processing]) -> Iterator[Processing]:
    for i, p in enumerate(found):
        yield Processing(
            unit=p.unit, tag=p.tag, revision=p.revision, status=p.status, time_ns=p.time_ns, parts=p.parts, default=p.default, last=i == 0
        )


def _processing(out: Path, unit: Unit, verdict: UnitVerdict, *, default: bool) -> Processing:
    return Processing(
        unit=unit, tag=verdict.tag, revision=verdict.revision, status=verdict.status, default=default,
        time_ns=_concluded_ns(exposure_folder(out, verdict.tag, unit), verdict.revision), parts=tuple(verdict.parts),
    )  # fmt: skip


def _concluded_ns(folder: Path, revision: int) -> int:
    """When a revision got its verdict: as its receipt says, else when its file was written."""
    plain = folder / "receipt.json"
    for path in (of_revision(plain, revision), plain):
        try:
            if revision_in(path) == revision:
                return int(json.loads(path.read_bytes())["times_ns"]["verdict"])
        except (OSError, ValueError, KeyError, TypeError):
            continue
    kept = of_revision(folder / "verdict.json", revision)
    return _changed_ns(kept if kept.is_file() else folder / "verdict.json")


def find_processing(out: Path, unit: Unit, name: str, *, live: str = LIVE) -> Processing | None:
    """The processing of an exposure by name: ``default``, ``last``, a tag (its latest revision) or ``tag@revision``; None where there is none.

    Raises BadConfig for a name that can be none.
    """
    found = processings(out, unit, live=live)
    if name == DEFAULT:
        return next((p for p in found if p.default), None)
    if name == LAST:
        return next((p for p in found if p.last), None)
    named = _NAMED.match(name)
    if named is None:
        raise BadConfig(f"{name!r} names no processing; write default, last, a tag, or a tag and a revision as in live@0")
    of_tag = sorted((p for p in found if p.tag == named["tag"]), key=lambda p: -p.revision)
    return next((p for p in of_tag if named["revision"] is None or p.revision == int(named["revision"])), None)


def tag_of(out: Path, name: str, *, live: str = LIVE) -> str:
    """A tag by name: ``default``, ``last`` (the one under which an exposure was concluded latest), or a tag that has results. Raises BadConfig."""
    tags = FileHistory(out).tags()
    tag = default_tag(out, live) if name == DEFAULT else max(tags, key=lambda t: _written_ns(out / t), default="") if name == LAST else name
    if tag not in tags:
        raise BadConfig(f"{out} has no results under tag {tag or name!r}; it has: {', '.join(tags) or 'none'}", what_next="Name one of these.")
    return tag


def _written_ns(folder: Path) -> int:
    """When a verdict was written latest; folders tell nothing, for they change when products are removed."""
    return max(map(_changed_ns, folder.glob("exposures/*/*/verdict.json")), default=0)


def _changed_ns(path: Path) -> int:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return 0
