"""The ledger of a night: what was expected, seen and processed, exposure by exposure, held against the files that are there.

It is right when every raw file of the night was taken, every exposure has its verdict, every camera that is expected has come and was processed (or
a person has said that it is not to be), and all that was written is there.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import sqlalchemy as sa
from pydantic import Field

from quicklook.core.errors import BadData, QuicklookError, describe
from quicklook.core.events import ProductWritten, Refused, UnitDone
from quicklook.core.keys import Unit
from quicklook.core.results import Record
from quicklook.core.status import Status
from quicklook.io.folders import exposure_folder
from quicklook.io.naming import match_path, night_in_path, night_of
from quicklook.io.reader import Reader
from quicklook.service.arrival import tree
from quicklook.service.arrival.patience import Look
from quicklook.service.journal import jobs
from quicklook.service.journal.journal import EVENTS, UNITS, Journal
from quicklook.service.rerun.cleaning import INTERMEDIATE


class LedgerLine(Record):
    """An exposure: cameras by what became of them, and what is wrong. `removed`: products that were there and can be made again.

    `unknown`: cameras that were processed so long ago that the journal has forgotten what was written for them: their files are not compared.
    """

    unit: str
    revision: int
    flavor: str = ""
    status: Status | None = None
    expected: list[str]
    seen: list[str]
    processed: list[str]
    unknown: list[str] = Field(default_factory=list)
    failed: list[str] = Field(default_factory=list)
    ignored: list[str] = Field(default_factory=list)
    waiting: list[str] = Field(default_factory=list)
    products: int = 0
    removed: int = 0
    problems: list[str] = Field(default_factory=list)


class Ledger(Record):
    """The books of a night under a tag. `stray`: what is wrong with raw files that belong to no exposure, by path, relative to the raw folder.

    `gone`: raw files that were taken and are not there any more (moved to an archive, perhaps). `missing_numbers`: between the first and the last.
    """

    night: int
    tag: str
    exposures: list[LedgerLine]
    raw_files: int
    stray: dict[str, str] = Field(default_factory=dict)
    gone: int = 0
    missing_numbers: list[int] = Field(default_factory=list)
    totals: dict[str, int] = Field(default_factory=dict)

    @property
    def reconciled(self) -> bool:
        """Whether nothing is wrong."""
        return not self.stray and not any(line.problems for line in self.exposures)

    @property
    def compared(self) -> bool:
        """Whether there was anything to hold against each other, and all of it could be: of what was not looked at nothing is said to be right."""
        return bool(self.exposures or self.raw_files) and not self.totals.get("cameras_unknown")


def latest_night(journal: Journal, tag: str) -> int:
    """The last night of which the journal has an exposure. Raises BadData where it has none."""
    with journal.reading() as connection:
        last = connection.execute(sa.select(sa.func.max(UNITS.c.unit)).where(UNITS.c.tag == tag)).scalar()
    if last is None:
        raise BadData(f"the journal has no exposure under tag {tag}", what_next="Name the night with --night.")
    return Unit.parse(str(last)).night


def ledger_of(
    journal: Journal,
    out: Path,
    raw: Path,
    reader: Reader,
    night: int,
    tag: str,
    *,
    verify: bool = False,
    filed: bool = True,
    look: Look = lambda _path: None,
) -> Ledger:
    """The books of a night; with `verify` the checksums of what was written are compared too. Raises what the journal raises.

    `filed`: verdicts and receipts are written as files (by the sink of that name). `look` is told what is looked at next. Raises BadData for what is
    no night.
    """
    _check_night(night)
    with journal.reading() as connection:
        rows = jobs.units_of_night(connection, tag, night)
        lines = [_line(connection, row, _Results(out, look, verify=verify, filed=filed)) for row in rows]
        taken = {row.path: row for row in jobs.files(connection, tag)}
        refused = _refusals(connection, tag)
    stray, n_files = dict[str, str](), 0
    for path in _raw_files(raw, reader, night, set(taken), look):
        n_files += 1
        if wrong := _wrong_with_file(path, taken.get(str(path)), refused):
            stray[os.path.relpath(path, raw)] = wrong
    own = {row.path for row in rows}
    numbers = [Unit.parse(line.unit).expid for line in lines]
    ledger = Ledger(
        night=night,
        tag=tag,
        exposures=lines,
        raw_files=n_files,
        stray=stray,
        gone=sum(not _exists(path, look) for path in own),
        missing_numbers=_between(numbers),
    )
    return ledger.model_copy(update={"totals": _totals(ledger)})


# ---- exposures


class _Results(NamedTuple):
    """Where what was written is, and what of it is compared."""

    out: Path
    look: Look
    verify: bool
    filed: bool


def _line(connection: sa.Connection, row: jobs.UnitRow, results: _Results) -> LedgerLine:
    states = jobs.part_states(connection, row)
    by_state = {state: [p.part for p in states if p.state == state] for state in (jobs.DONE, jobs.FAILED, jobs.IGNORED, jobs.OPEN, jobs.RUNNING)}
    seen = [p.part for p in states]
    waiting = [*by_state[jobs.OPEN], *by_state[jobs.RUNNING]]
    line = LedgerLine(
        unit=str(row.unit),
        revision=row.revision,
        flavor=row.tags.get("flavor", ""),
        status=_verdict(connection, row),
        expected=list(row.expected) or seen,
        seen=seen,
        processed=by_state[jobs.DONE],
        failed=by_state[jobs.FAILED],
        ignored=by_state[jobs.IGNORED],
        waiting=waiting,
    )
    problems = [*_camera_problems(line, states), *_verdict_problems(line, row, results)]
    n, removed, missing, told = _products(connection, row, results)
    unknown = [camera for camera in line.processed if camera not in told]
    return line.model_copy(update={"products": n, "removed": removed, "unknown": unknown, "problems": [*problems, *missing]})


_OF_UNIT = (EVENTS.c.unit == sa.bindparam("of_unit"), EVENTS.c.tag == sa.bindparam("of_tag"))
_OF_WHOLE = (EVENTS.c.kind == UnitDone.kind, EVENTS.c.part.is_(None), EVENTS.c.revision == sa.bindparam("of_revision"), *_OF_UNIT)
_VERDICT = sa.select(sa.func.json_extract(EVENTS.c.payload, "$.status")).where(*_OF_WHOLE).order_by(EVENTS.c.seq.desc()).limit(1)
_WRITTEN = sa.select(EVENTS.c.part, EVENTS.c.payload).where(EVENTS.c.kind == ProductWritten.kind, *_OF_UNIT).order_by(EVENTS.c.seq)


def _verdict(connection: sa.Connection, row: jobs.UnitRow) -> Status | None:
    said = connection.execute(_VERDICT, {"of_unit": str(row.unit), "of_tag": row.tag, "of_revision": row.revision}).scalar()
    return Status(said) if said else None


def _camera_problems(line: LedgerLine, states: Sequence[jobs.PartState]) -> Iterator[str]:
    if never := [c for c in line.expected if c not in line.seen]:
        yield f"expected and never seen: {' '.join(never)}"
    if line.failed:
        why = next((r for p in states if p.part in line.failed for r in p.reasons), "")
        yield f"failed: {' '.join(line.failed)}{f' ({why})' if why else ''}; do them again with `quicklook jobs {line.unit} --requeue`"
    if line.waiting:
        yield f"not done yet: {' '.join(line.waiting)}"


def _verdict_problems(line: LedgerLine, row: jobs.UnitRow, results: _Results) -> Iterator[str]:
    if not row.closed or line.status is None:
        yield "it has no verdict"
    folder = exposure_folder(results.out, row.tag, row.unit)
    results.look(folder)
    for name in ("verdict.json", "receipt.json") if results.filed and line.status is not None else ():
        if not (folder / name).is_file():
            yield f"{name} is not there"
    for camera in line.processed:
        if not os.path.isfile(f"{folder}/qa-{camera}-{row.unit.expid:08d}.json"):
            yield f"the merged QA of {camera} is not there"


def _products(connection: sa.Connection, row: jobs.UnitRow, results: _Results) -> tuple[int, int, list[str], set[str]]:
    """How many files were written for the cameras, how many intermediate ones of them are gone, what is wrong with the others, and for which cameras
    the journal has any."""
    last, cameras = dict[str, ProductWritten](), set[str]()
    for camera, payload in connection.execute(_WRITTEN, {"of_unit": str(row.unit), "of_tag": row.tag}):
        written = ProductWritten.model_validate_json(payload)
        last[written.path] = written
        cameras.add(camera)
    found, removed, problems = 0, 0, list[str]()
    for path, written in last.items():
        wrong = _wrong_with_product(os.path.join(results.out, path), written, results)
        found += not wrong
        if wrong == _GONE and written.name in INTERMEDIATE:
            removed += 1
        elif wrong and written.name != "qa":  # that is looked for by its name, which changes with revisions
            problems.append(f"{Path(path).name} {wrong}")
    return found, removed, problems, cameras


_GONE = "was written and is not there"


def _wrong_with_product(path: str, written: ProductWritten, results: _Results) -> str:
    results.look(path)
    try:
        size = os.stat(path).st_size
    except OSError:
        return _GONE
    if written.name == "qa":
        return ""
    if size != written.size:
        return f"has {size} bytes, {written.size} were written"
    if results.verify:
        with open(path, "rb") as file:
            if hashlib.file_digest(file, "sha256").hexdigest() != written.sha256:
                return "is not what was written: its checksum differs"
    return ""


# ---- raw files


def _raw_files(raw: Path, reader: Reader, night: int, taken: set[str], look: Look) -> Iterator[Path]:
    """Raw files of a night: by their path, or by their header where the path does not say. Folders of other nights are not looked into."""
    near = _nights_near(night)
    look(raw)
    for entries, _ in tree.walk(str(raw)):
        for path in (Path(entry.path) for entry in entries):
            look(path)
            elsewhere = any(_is_other_night(name, near) for name in path.relative_to(raw).parts[:-1])
            if not elsewhere and reader.accepts(path) and _night_of(path, reader, taken) == night:
                yield path


def _exists(path: str, look: Look) -> bool:
    look(path)
    return os.path.exists(path)


def _night_of(path: Path, reader: Reader, taken: set[str]) -> int | None:
    """As the path says of what was taken, else as the header does, the path, or the time of its last change; None where it has gone just now."""
    facts = match_path(path, reader.instrument)
    said = night_in_path(facts, reader.instrument) if facts is not None else None
    if said is not None and str(path) in taken:
        return said
    try:
        return reader.peek(path).unit.night
    except (QuicklookError, OSError):
        return said if said is not None else _night_of_change(path, reader)


def _night_of_change(path: Path, reader: Reader) -> int | None:
    try:
        return night_of(datetime.fromtimestamp(path.stat().st_mtime, UTC), reader.instrument.site)
    except OSError:
        return None


def _check_night(night: int) -> None:
    try:
        datetime.strptime(f"{night:08d}", "%Y%m%d")
    except ValueError as error:
        raise BadData(f"{night} is no night", what_next="Write it as YYYYMMDD, as in 20220131.") from error


def _nights_near(night: int) -> frozenset[str]:
    middle = datetime.strptime(f"{night:08d}", "%Y%m%d")
    return frozenset((middle + timedelta(days=d)).strftime("%Y%m%d") for d in (-1, 0, 1))


def _is_other_night(name: str, near: frozenset[str]) -> bool:
    return len(name) == 8 and name.isdigit() and name.startswith(("19", "20")) and name not in near


def _wrong_with_file(path: Path, row: Any, refused: Mapping[str, str]) -> str:
    if row is None:
        return "it was never seen; is the daemon running, and does it watch this folder?"
    if row.state != jobs.TAKEN:
        return f"it was refused: {refused.get(str(path)) or refused.get(path.name, 'see the log')}"
    try:
        stat = path.stat()
    except OSError as error:
        return f"it cannot be looked at: {describe(error)}"
    if (stat.st_size, stat.st_mtime_ns) != (row.size, row.mtime_ns):
        return "it has changed since it was taken"
    return ""


def _refusals(connection: sa.Connection, tag: str) -> dict[str, str]:
    """The last reason for which each file was refused, by its path; by its name where an older program has not said that."""
    query = sa.select(EVENTS.c.payload).where(EVENTS.c.kind == Refused.kind, EVENTS.c.tag == tag).order_by(EVENTS.c.seq)
    said = (json.loads(payload) for payload in connection.execute(query).scalars())
    return {one.get("path") or one["file"]: one["failure"]["message"] for one in said}


# ---- sums


def _between(numbers: Sequence[int], most: int = 1000) -> list[int]:
    there = set(numbers)
    return [n for n in range(min(there), max(there)) if n not in there][:most] if there and max(there) - min(there) < 10**6 else []


def _totals(ledger: Ledger) -> dict[str, int]:
    def cameras(of: Callable[[LedgerLine], list[str]]) -> int:
        return sum(len(of(line)) for line in ledger.exposures)

    verdicts = Counter(str(line.status) for line in ledger.exposures if line.status is not None)
    return {
        "exposures": len(ledger.exposures),
        "with_verdict": verdicts.total(),
        **{f"verdict_{name}": n for name, n in sorted(verdicts.items())},
        "cameras_expected": cameras(lambda line: line.expected),
        "cameras_seen": cameras(lambda line: line.seen),
        "cameras_processed": cameras(lambda line: line.processed),
        "cameras_unknown": cameras(lambda line: line.unknown),
        "cameras_failed": cameras(lambda line: line.failed),
        "cameras_ignored": cameras(lambda line: line.ignored),
        "cameras_waiting": cameras(lambda line: line.waiting),
        "products": sum(line.products for line in ledger.exposures),
        "products_removed": sum(line.removed for line in ledger.exposures),
        "raw_files": ledger.raw_files,
        "raw_files_stray": len(ledger.stray),
        "problems": len(ledger.stray) + sum(len(line.problems) for line in ledger.exposures),
    }
