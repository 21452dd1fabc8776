"""The pattern of the names of files, from the names of the examples."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from quicklook.io.bringup.examples import WORDS, Unsure

_TIMES = (
    (r"\d{8}T\d{6}", "%Y%m%dT%H%M%S"),
    (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", "%Y-%m-%dT%H:%M:%S"),
    (r"\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d", "%Y-%m-%dT%H-%M-%S"),
)
_DATE = re.compile(r"(19|20)\d\d(0[1-9]|1[0-2])([0-2]\d|3[01])")
_SUFFIX = re.compile(r"(\.fits?|\.fts)?(\.gz|\.fz|\.bz2)?\Z", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class NameProposal:
    """The part `files` of a description; whether names hold a number, a camera."""

    files: dict[str, Any]
    numbered: bool
    camera: bool


def propose_names(names: Sequence[str], unsure: Unsure) -> NameProposal:
    """A pattern with {expid:d} where names differ by a number, a regular expression where they hold a time."""
    for pattern, written in _TIMES:
        if all(re.search(pattern, n) for n in names):
            return _timed(names, pattern, written, unsure)
    stems, suffixes = [_SUFFIX.sub("", n) for n in names], sorted({_suffix(n) for n in names})
    parts = [re.findall(r"\d+|\D+", s) for s in stems]
    shape = {tuple("9" if p.isdigit() else p for p in one) for one in parts}
    if len(shape) != 1:
        return _mixed(parts, suffixes, unsure)
    columns = list(zip(*parts, strict=True))
    differ = [i for i, c in enumerate(columns) if len(set(c)) > 1 and c[0].isdigit()]
    digits = [i for i, c in enumerate(columns) if c[0].isdigit()]
    if not digits:
        unsure.add("files.patterns: the names hold no number")
        return NameProposal(files={"patterns": [f"*{s}" for s in suffixes]}, numbered=False, camera=False)
    place = max(differ, key=lambda i: (len(set(columns[i])), -_span(columns[i]), i)) if differ else digits[-1]
    if not differ and len(names) == 1:
        unsure.add("files.patterns: one name alone; the last number in it is taken for that of the exposure")
    text = "".join(_field(c, i, place, differ) for i, c in enumerate(columns))
    if len(differ) > 1:
        unsure.add("files.patterns: names differ by several numbers; the one with most values is taken for that of the exposure, * for the others")
    return NameProposal(files={"patterns": [text + s for s in _both(suffixes)]}, numbered=True, camera=False)


def _span(column: Sequence[str]) -> int:
    """Range of the numbers: those that count exposures lie closer than times do."""
    return max(map(int, column)) - min(map(int, column))


def _suffix(name: str) -> str:
    found = _SUFFIX.search(name)
    return found[0] if found else ""


def _both(suffixes: Sequence[str]) -> list[str]:
    """The suffixes, and the same without and with compression by gzip."""
    out = list(suffixes)
    for s in suffixes:
        plain = s.removesuffix(".gz")
        out += [x for x in (plain + ".gz", plain) if x not in out and plain and not s.endswith((".fz", ".bz2"))]
    return out


def _field(column: Sequence[str], i: int, place: int, differ: Sequence[int]) -> str:
    if i != place:
        return "*" if i in differ or _DATE.fullmatch(column[0]) else column[0]
    widths = {len(c) for c in column}
    width = widths.pop() if len(widths) == 1 else 0
    return f"{{expid:{width}d}}" if width >= 3 else "{expid:d}"


def _mixed(parts: Sequence[Sequence[str]], suffixes: Sequence[str], unsure: Unsure) -> NameProposal:
    """Names of several kinds: the last number of each is that of the exposure."""
    unsure.add("files.patterns: the names are of several kinds; the last number of each is taken for that of the exposure")
    patterns = list[str]()
    for one in parts:
        last = max((i for i, p in enumerate(one) if p.isdigit()), default=None)
        text = "".join("{expid:d}" if i == last else p if not p.isdigit() else "*" for i, p in enumerate(one))
        patterns += [text + s for s in _both(suffixes)]
    kept = list(dict.fromkeys(patterns))[:20]
    return NameProposal(files={"patterns": kept}, numbered=all("{expid" in p for p in kept), camera=False)


def _timed(names: Sequence[str], pattern: str, written: str, unsure: Unsure) -> NameProposal:
    """Names that hold a time: the exposure is numbered by it (HHMMSS); words that differ are the camera, or the kind of exposure."""
    heads = [re.split(pattern, n, maxsplit=1)[0] for n in names]
    tails = [re.split(pattern, n, maxsplit=1)[1] for n in names]
    fraction = r"(?:\.\d+)?" if all(re.match(r"\.\d", t) for t in tails) else ""
    words = [re.split(r"([_.\-])", re.sub(r"^\.\d+", "", t) if fraction else t) for t in tails]
    head = re.escape(heads[0]) if len(set(heads)) == 1 else "[^/]*"
    body, camera = "", False
    if len({len(w) for w in words}) == 1:
        for column in zip(*words, strict=True):
            kind = any(word.search(c) for _, word in WORDS for c in column if c)
            if kind:
                body += "(?P<kind>[A-Za-z]+)"
            elif len(set(column)) > 1 and not camera:
                body, camera = body + "(?P<camera>[A-Za-z0-9]+)", True
            else:
                body += "[^/]*" if len(set(column)) > 1 else re.escape(column[0])
    else:
        body = "[^/]*"
    unsure.add(
        "files.patterns: exposures are numbered by the time in their names, HHMMSS" + ("; what differs in them is the camera" if camera else "")
    )
    files = {"patterns": [f"regex:{head}(?P<time>{pattern}){fraction}{body}"], "time_format": written, "expid_from_time": True}
    return NameProposal(files=files, numbered=True, camera=camera)
