"""Tables of metrics, one value or several a row, from any other program: comma-separated values with a line of names."""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from quicklook.core.errors import BadConfig, BadData
from quicklook.core.history import Sample, is_night
from quicklook.core.keys import PartKey, Unit
from quicklook.core.metrics import MetricDef
from quicklook.core.validation import suggest

_NIGHT, _EXPID, _PART = ("night",), ("expid", "exposure"), ("camera", "part")
TAGS = ("flavor", "program", "camera", "arm", "spectrograph", "test")
"""Columns that are tags; all others that hold no metric are coordinates where the metric has such a dimension."""


def parse_columns(texts: Sequence[str], definitions: Mapping[str, MetricDef]) -> dict[str, str]:
    """Columns by metric from ``read_noise=RDNOISE`` or ``read_noise`` (a column of that name). Raises BadConfig for an unknown metric."""
    found = {}
    for text in texts:
        metric, _, column = (part.strip() for part in text.partition("="))
        if metric not in definitions:
            raise BadConfig(f"no QA measures {metric!r}{suggest(metric, sorted(definitions), noun='metrics')}")
        found[metric] = column or metric
    return found


def read_table(path: str | Path, columns: Mapping[str, str], definitions: Mapping[str, MetricDef], camera_tags: str = "") -> list[Sample]:
    """The values of some metrics in a table, with the tags and coordinates that its other columns give (case does not matter).

    Needed are columns night (YYYYMMDD), expid and camera. Units are those of the metrics: a table does not say. `camera_tags` is a regular
    expression whose named groups are tags that the name of a camera holds. An empty value is NaN. Raises BadData, with the line, for what
    is no number, no night, or a row of too few or too many columns, BadConfig for a column that is not there.
    """
    try:
        with open(path, encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            names = {n.strip().lower(): n for n in rows.fieldnames or () if n}
            wanted = {metric: _column(path, names, (column.lower(),)) for metric, column in columns.items()}
            keys = tuple(_column(path, names, each) for each in (_NIGHT, _EXPID, _PART))
            return [s for row in rows for s in _samples(path, rows.line_num, row, wanted, keys, names, definitions, camera_tags)]
    except OSError as error:
        raise BadConfig(f"{path} cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise _bad(f"{path} is no table of comma-separated values: {error}") from error


def _bad(what: str) -> BadData:
    """The table is wrong, not an exposure."""
    return BadData(what, what_next="Correct the table.")


def _column(path: str | Path, names: Mapping[str, str], wanted: tuple[str, ...]) -> str:
    found = next((names[w] for w in wanted if w in names), None)
    if found is None:
        raise BadConfig(f"{path} has no column {' or '.join(wanted)}{suggest(wanted[0], sorted(names), noun='columns')}")
    return found


def _samples(
    path: str | Path,
    line: int,
    row: Mapping[str, str | None],
    wanted: Mapping[str, str],
    keys: tuple[str, ...],
    names: Mapping[str, str],
    definitions: Mapping[str, MetricDef],
    camera_tags: str,
) -> Iterator[Sample]:
    where = f"{path}:{line}"
    if None in row or None in row.values():
        raise _bad(f"{where}: the row has too {'many' if None in row else 'few'} columns, there are {len(names)} names")
    night, expid = (_whole(where, key, row[key]) for key in keys[:2])
    if night and not is_night(f"{night:08d}"):
        raise _bad(f"{where}: {keys[0]} is {row[keys[0]]}, which is no night (YYYYMMDD)")
    part = (row[keys[2]] or "").strip()
    tags = {low: (row[name] or "").strip() for low, name in names.items() if low in TAGS}
    if camera_tags and (match := re.fullmatch(camera_tags, part)):
        tags |= {k: v for k, v in match.groupdict().items() if v is not None}
    for metric, column in wanted.items():
        definition = definitions[metric]
        coords = {d: (row[names[d]] or "").strip() for d in definition.dims if d in names}
        text = (row[column] or "").strip()
        yield Sample(
            metric=metric,
            unit=definition.unit,
            key=PartKey(Unit(night, expid), part),
            value=_number(where, column, text) if text else math.nan,
            coords=coords,
            tags={"camera": part, "night": f"{night:08d}", **tags},
        )


def _number(where: str, column: str, text: str | None) -> float:
    try:
        return float(text or "")
    except ValueError as error:
        raise _bad(f"{where}: {column} is {text!r}, which is no number") from error


def _whole(where: str, column: str, text: str | None) -> int:
    number = _number(where, column, text)
    if not number.is_integer():
        raise _bad(f"{where}: {column} is {text!r}, which is no whole number")
    return int(number)
