"""The index of results that opens without a daemon: production (tag) > night > exposure, as pages with relative links.

Lines of a night are kept beside its page (``.index.json``), so that one more exposure costs one line.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import quote

from quicklook.core.errors import BadData
from quicklook.core.history import Selection
from quicklook.core.keys import Unit
from quicklook.core.reporting import IndexPage, IndexRow, Reporter
from quicklook.core.results import UnitVerdict
from quicklook.core.status import Status, worst
from quicklook.io.atomic import atomic, write_json
from quicklook.io.folders import exposure_folder
from quicklook.io.history import FileHistory
from quicklook.service.reporting.exposures import DECISIONS, exposure_report
from quicklook.service.reporting.place import ReportPlace
from quicklook.service.reporting.secrets import clean_record
from quicklook.service.reporting.stored import read_card
from quicklook.service.reporting.words import now_words
from quicklook.service.sessions.testruns import TestedRecord, read_record, tests_folder

PAGE, _LINES = "index.html", ".index.json"
_EXPOSURES = ["exposure", "start, UTC", "flavor", "time, s", "cameras", "decision", "why"]
_ALL = 10_000


def write_exposure_page(reporter: Reporter, place: ReportPlace, unit: Unit) -> Path:
    """The page of an exposure, with links to its plots, drawn or not yet. Raises BadData where nothing of it can be read, Transient."""
    folder = exposure_folder(place.out, place.tag, unit)
    document = clean_record(exposure_report(place, unit, most_plots=_ALL, link=True))
    others = sorted(p.name for pattern in ("report-*.pdf", "report-*.html") for p in folder.glob(pattern))
    links = {"all results": "../../../../index.html", f"tag {place.tag}": "../../../index.html", f"night {unit.night:08d}": "../index.html"}
    path = folder / PAGE
    _write(path, reporter.html(document, base=folder, links=links | {name: quote(name) for name in others}))
    return path


def add_exposure(reporter: Reporter, place: ReportPlace, verdict: UnitVerdict) -> None:
    """A verdict in the page of its night, and those above it. Raises Transient, BadConfig where they cannot be written."""
    folder = place.out / place.tag / "exposures" / f"{verdict.night:08d}"
    lines = _lines(folder)
    lines[f"{verdict.expid:08d}"] = _line(place, verdict)
    new = len(lines) == 1 or not (place.out / place.tag / PAGE).is_file()
    before = _summary_of(_lines(folder))
    write_json(folder / _LINES, lines, sync=False)
    _write_night(reporter, place, verdict.night, lines)
    if new or _summary_of(lines) != before:
        write_tag(reporter, place)


def write_night(reporter: Reporter, place: ReportPlace, night: int) -> int:
    """The page of a night anew, from the verdicts that are there; returns how many."""
    folder = place.out / place.tag / "exposures" / f"{night:08d}"
    wanted = Selection(tag=place.tag, first_night=night, last_night=night, newest_first=False)
    lines = {f"{v.expid:08d}": _line(place, v) for v in FileHistory(place.out).verdicts(wanted)}
    if lines:
        write_json(folder / _LINES, lines, sync=False)
        _write_night(reporter, place, night, lines)
    return len(lines)


def write_all(reporter: Reporter, place: ReportPlace, *, pages: bool = True) -> int:
    """Every page of a tag anew, those of exposures too with `pages`; returns how many exposures there are."""
    count = 0
    for night in FileHistory(place.out).nights(place.tag):
        count += write_night(reporter, place, night)
        for unit in FileHistory(place.out).units(Selection(tag=place.tag, first_night=night, last_night=night)) if pages else ():
            with suppress(BadData):
                write_exposure_page(reporter, place, unit)
    write_tag(reporter, place)
    return count


# ---- pages


def _write_night(reporter: Reporter, place: ReportPlace, night: int, lines: dict[str, Any]) -> None:
    folder = place.out / place.tag / "exposures" / f"{night:08d}"
    rows = [_row(name, lines[name]) for name in sorted(lines)]
    up = [("all results", "../../../index.html"), (f"tag {place.tag}", "../../index.html")]
    reports = sorted(p.name for p in folder.glob("report-*") if p.suffix in (".pdf", ".html"))
    up += [(name, quote(name)) for name in reports]
    page = IndexPage(title=f"Night {night:08d}, tag {place.tag}", up=up, columns=_EXPOSURES, rows=rows, made=now_words())
    _write(folder / PAGE, reporter.index(page))


def _row(name: str, line: dict[str, Any]) -> IndexRow:
    return IndexRow(status=_status(line.get("status")), cells=[str(c) for c in line.get("cells", [])], links=[(name, f"{quote(name)}/{PAGE}")])


def write_tag(reporter: Reporter, place: ReportPlace) -> None:
    """The page of a tag, and the one above all tags."""
    folder = place.out / place.tag
    rows = []
    for night in reversed(FileHistory(place.out).nights(place.tag)):
        below, report = folder / "exposures" / f"{night:08d}", f"report-{night:08d}.pdf"
        status, count = _summary_of(_lines(below))
        links = [(f"{night:08d}", f"exposures/{night:08d}/{PAGE}")]
        links += [("report", f"exposures/{night:08d}/{report}")] if (below / report).is_file() else []
        rows.append(IndexRow(status=status, cells=[f"{night:08d}", str(count) if count else "not counted"], links=links))
    page = IndexPage(title=f"Tag {place.tag}", up=[("all results", "../index.html")], columns=["night", "exposures"], rows=rows, made=now_words())
    _write(folder / PAGE, reporter.index(page))
    write_top(reporter, place)


def write_top(reporter: Reporter, place: ReportPlace) -> None:
    """The page above all tags, with the tests of sessions."""
    history, rows = FileHistory(place.out), []
    for tag in history.tags():
        nights = history.nights(tag)
        status = worst(_summary_of(_lines(place.out / tag / "exposures" / f"{n:08d}"))[0] for n in nights[-1:])
        there = (place.out / tag / PAGE).is_file()
        last = f"{nights[-1]:08d}" if nights else "none"
        links = [(tag, f"{quote(tag)}/{PAGE}")] if there else []
        rows.append(IndexRow(status=status, cells=[tag, str(len(nights)), last], links=links))
    for path in sorted(tests_folder(place.out).glob("*/*/test.json"), reverse=True):
        record = read_record(path, TestedRecord) if not path.parent.parent.is_symlink() else None
        if record is not None:
            made = sorted(p for p in path.parent.glob("report-*") if p.suffix in (".pdf", ".html"))
            links = [(p.name, quote(str(p.relative_to(place.out)))) for p in sorted(made, key=lambda p: p.suffix != ".html")]
            cells = [f"test {record.name}", str(len(record.exposures)), record.run]
            rows.append(IndexRow(status=record.status, cells=cells, links=links))
    note = "The status of a tag is that of its last night. Results of every exposure are beside its page: merged QA, verdict, plots."
    columns = ["tag or test", "nights or exposures", "last night or run"]
    page = IndexPage(title=f"Results in {place.out.name}", columns=columns, rows=rows, made=now_words(), note=note)
    _write(place.out / PAGE, reporter.index(page))


def _write(path: Path, text: str) -> None:
    with atomic(path, sync=False) as file:
        file.write(text.encode("utf-8", "replace"))


# ---- lines


def _line(place: ReportPlace, verdict: UnitVerdict) -> dict[str, Any]:
    tags = verdict.tags
    card = read_card(exposure_folder(place.out, place.tag, Unit(verdict.night, verdict.expid)), verdict)
    decision = DECISIONS.get(card.decision, str(card.decision)) if card is not None else ""
    why = card.why if card is not None else (verdict.reasons[0] if verdict.reasons else "")
    cameras = str(len(verdict.parts)) + (f", {len(verdict.missing)} missing" if verdict.missing else "")
    start = tags.get("start", "")[:19].replace("T", " ")
    why = why if verdict.status is not Status.NORMAL else ""
    cells = [f"{verdict.expid}", start, tags.get("flavor", ""), tags.get("exptime", ""), cameras, decision, why[:300]]
    return {"status": str(verdict.status), "revision": verdict.revision, "cells": cells}


def _lines(folder: Path) -> dict[str, Any]:
    try:
        found = json.loads((folder / _LINES).read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    good = isinstance(found, dict) and all(isinstance(v, dict) and isinstance(v.get("cells"), list) for v in found.values())
    return found if good else {}


def _summary_of(lines: dict[str, Any]) -> tuple[Status | None, int]:
    return worst(_status(line.get("status")) for line in lines.values()), len(lines)


def _status(text: object) -> Status | None:
    return Status(text) if isinstance(text, str) and text in Status.__members__ else None
