"""Exposure logs: the one that the daemon keeps, a line of tab-separated text for each verdict, and those of a test bench (`EXP_LOG_<ddmmyy>.txt`)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quicklook.core.errors import BadData

COLUMNS = (
    "night", "expid", "revision", "start", "flavor", "program", "exptime", "test", "cameras", "missing", "status", "decision", "measured", "why",
    "file",
)  # fmt: skip
_LARGEST = 64 << 20
_LONGEST_NUMBER = 18
_OBSID = ("obsid", "expid")
_CAMERA = ("roe", "ccd")


@dataclass(frozen=True, slots=True, kw_only=True)
class LogRows:
    """Rows of a log by column, and what is wrong with the others, in sentences. A last line that is still being written is in neither."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[Mapping[str, str], ...]
    wrong: tuple[str, ...] = ()


def read_log(path: str | Path) -> LogRows:
    """A tab-separated log that may still grow. Raises BadData where it cannot be read, or has no line of names."""
    path = Path(path)
    try:
        if path.stat().st_size > _LARGEST:
            raise BadData(f"{path} is larger than {_LARGEST >> 20} MiB; it is no log of exposures")
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise BadData(f"{path} cannot be read: {error.strerror or error}") from error
    whole = text[: text.rfind("\n") + 1].splitlines()
    if not whole or "\t" not in whole[0]:
        raise BadData(f"{path} has no line of column names, separated by tabs", what_next="Give a log of exposures.")
    names = tuple(name.strip() for name in whole[0].split("\t"))
    rows, wrong = [], []
    for number, line in enumerate(whole[1:], 2):
        cells = [cell.strip() for cell in line.split("\t")]
        if len(cells) == len(names):
            rows.append(dict(zip(names, cells, strict=True)))
        elif line.strip():
            wrong.append(f"{path.name}:{number} has {len(cells)} columns, its names are {len(names)}")
    return LogRows(path=path, columns=names, rows=tuple(rows), wrong=tuple(wrong))


def bench_exposures(log: LogRows) -> dict[int, tuple[str, ...]]:
    """Exposures of a bench's log, each with its cameras (``ROE1_CCD2``). Raises BadData for a log that has no numbers of exposures."""
    by_name = {name.lower(): name for name in log.columns}
    number = next((by_name[name] for name in _OBSID if name in by_name), None)
    if number is None:
        raise BadData(f"{log.path} has no column ObsID; it has: {', '.join(log.columns)}", what_next="Give the bench's log of exposures.")
    out: dict[int, list[str]] = {}
    for row in log.rows:
        if row[number].isdecimal() and len(row[number]) <= _LONGEST_NUMBER:
            camera = "_".join(row[by_name[name]] for name in _CAMERA if name in by_name)
            out.setdefault(int(row[number]), []).append(camera)
    return {expid: tuple(dict.fromkeys(cameras)) for expid, cameras in out.items()}


def explog_path(out: Path, tag: str, night: int) -> Path:
    """Where the log of a night is."""
    return out / tag / "exposures" / str(night) / "exposures.tsv"


def add_row(path: Path, row: Mapping[str, str]) -> None:
    """Add a verdict, unless it is there; what a cell holds stays on its line. Raises OSError."""
    line = "\t".join(_cell(row.get(name, "")) for name in COLUMNS) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    there = path.read_text(encoding="utf-8") if path.is_file() else ""
    if f"\n{line}" in there:
        return
    start = "" if there.endswith("\n") or not there else "\n"
    with path.open("a", encoding="utf-8") as file:
        file.write((start if there else "\t".join(COLUMNS) + "\n") + line)


def _cell(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())
