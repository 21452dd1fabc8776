"""The text of `calib.yaml` with an entry more: what people have written, comments and order, stays as it is."""

from __future__ import annotations

import json
import re
from typing import Any

from quicklook.core.errors import BadConfig
from quicklook.core.yamlsource import Document, parse_yaml, validate
from quicklook.io.calibentry import CalibEntry, CalibIndex

EMPTY = "# Index of calibrations; `quicklook calib list` shows it, `quicklook calib check` verifies it.\ncalibrations: []\n"

_PLAIN = re.compile(r"[A-Za-z][A-Za-z0-9_./-]*\Z")
_WORDS = ("null", "true", "false", "yes", "no", "on", "off", "y", "n")
_NIGHTS = ("valid_from", "valid_to", "night")
_NAMES = ("instrument", "camera", "serial", "when")


def with_entry(text: str, source: str, entry: CalibEntry) -> str:
    """The text with an entry at the end of the list, in place of one of the same kind and path. Raises BadConfig where it is no index.

    Where the list is not written with a line (or several) to an item, the whole file is written anew below its first comments.
    """
    doc = parse_yaml(text, source)
    index = validate(CalibIndex, doc)
    kept = [i for i, e in enumerate(index.calibrations) if (e.of_kind, e.path) != (entry.of_kind, entry.path)]
    wanted = (*(index.calibrations[i] for i in kept), entry)
    changed = _inserted(text, doc, len(index.calibrations), kept, entry)
    if changed is None or _entries(changed, source) != wanted:
        changed = _anew(text, index, wanted)
    if _entries(changed, source) != wanted:
        raise BadConfig(f"{source}: the entry for {entry.path} cannot be written; add it by hand")
    return changed


def with_checksum(text: str, source: str, entry: CalibEntry, sha256: str) -> str:
    """The text with a checksum written into an entry that stands in it, which keeps its place. Raises BadConfig where the entry is not there."""
    doc = parse_yaml(text, source)
    index = validate(CalibIndex, doc)
    if entry not in index.calibrations:
        raise BadConfig(f"{source}: the entry for {entry.path} has changed; try again")
    i = index.calibrations.index(entry)
    wanted = (*index.calibrations[:i], entry.model_copy(update={"sha256": sha256}), *index.calibrations[i + 1 :])
    lines = text.splitlines()
    if span := _span(lines, doc.line(("calibrations", i))):
        first, after = span
        if lines[first].lstrip("- ").startswith("{"):
            lines[after - 1] = re.sub(r"\s*\}(\s*(#.*)?)\Z", lambda end: f", sha256: {json.dumps(sha256)}}}{end[1]}", lines[after - 1])
        else:
            indent = len(lines[first]) - len(lines[first].lstrip())
            lines.insert(after, f"{' ' * (indent + 2)}sha256: {json.dumps(sha256)}")
    changed = "\n".join(lines) + "\n"
    return changed if _entries(changed, source) == wanted else _anew(text, index, wanted)


def _entries(text: str, source: str) -> tuple[CalibEntry, ...]:
    try:
        return validate(CalibIndex, parse_yaml(text, source)).calibrations
    except BadConfig:
        return ()


def _inserted(text: str, doc: Document, count: int, kept: list[int], entry: CalibEntry) -> str | None:
    """The text with lines added and removed; None where the list is not one of lines."""
    lines = text.splitlines()
    if count == 0:
        empty = re.compile(r"calibrations:\s*\[\s*\](\s*#.*)?\Z")
        at = next((i for i, line in enumerate(lines) if empty.match(line)), None)
        if at is None:
            return None
        found = empty.match(lines[at])
        lines[at : at + 1] = [f"calibrations:{(found[1] if found else '') or ''}", *item_lines(entry, "  ")]
        return "\n".join(lines) + "\n"
    spans = [_span(lines, doc.line(("calibrations", i))) for i in range(count)]
    if any(s is None for s in spans) or len(set(spans)) < count:
        return None
    start, end = spans[-1] or (0, 0)
    indent = lines[start][: len(lines[start]) - len(lines[start].lstrip())]
    out = lines[:end] + item_lines(entry, indent) + lines[end:]
    for i in sorted(set(range(count)) - set(kept), reverse=True):
        first, last = spans[i] or (0, 0)
        del out[first:last]
    return "\n".join(out) + "\n"


def _span(lines: list[str], number: int) -> tuple[int, int] | None:
    """First line of the item that begins in line `number` (from 1), and the line after its last; None where it does not begin with a dash."""
    start = number - 1
    while start >= 0 and not lines[start].lstrip().startswith("-"):
        start -= 1
    if start < number - 2 or start < 0:
        return None
    depth = len(lines[start]) - len(lines[start].lstrip())
    end = last = start + 1
    while end < len(lines):
        line = lines[end]
        if line.strip() and len(line) - len(line.lstrip()) <= depth:
            break
        end += 1
        last = end if line.strip() else last
    return start, last


def item_lines(entry: CalibEntry, indent: str) -> list[str]:
    """An entry as an item of a list, a line to a field; what is as by default is left out."""
    data = entry.model_dump(exclude_defaults=True)
    lines = [f"{key}: {_field(key, data[key])}" for key in type(entry).model_fields if key in data]
    return [f"{indent}{'- ' if i == 0 else '  '}{line}" for i, line in enumerate(lines)]


def _field(key: str, value: Any) -> str:
    if key in _NIGHTS:
        text = f"{value:08d}"
        return f"{text[:4]}-{text[4:6]}-{text[6:]}"
    return _value(_bare(value) if key in _NAMES else value)


def _bare(value: Any) -> Any:
    """A list of one name as the name alone."""
    if isinstance(value, dict):
        return {k: _bare(v) for k, v in value.items()}
    return value[0] if isinstance(value, tuple) and len(value) == 1 else value


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_value(str(k))}: {_value(v)}" for k, v in value.items()) + "}"
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_value(v) for v in value) + "]"
    if isinstance(value, str):
        return value if _PLAIN.match(value) and value.lower() not in _WORDS else json.dumps(value)
    return json.dumps(value)


def _anew(text: str, index: CalibIndex, entries: tuple[CalibEntry, ...]) -> str:
    lines = text.splitlines()
    head = next((i for i, line in enumerate(lines) if line.strip() and not line.startswith("#")), len(lines))
    out = lines[:head]
    if index.stale_days:
        out.append(f"stale_days: {_value(index.stale_days)}")
    out.append("calibrations:")
    out += [line for entry in entries for line in item_lines(entry, "  ")]
    return "\n".join(out) + "\n"
