"""A calibration file from anywhere taken into a folder of calibrations: copied, checked, added to its index."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quicklook.core.errors import BadConfig, BadData, QuicklookError, describe
from quicklook.io.atomic import atomic
from quicklook.io.calibadd import NOTHING_ADDED, add_calibration, check_kind
from quicklook.io.calibentry import CalibEntry, kind_name
from quicklook.io.calibstore import INDEX
from quicklook.io.fitsfile import inspect


def import_calibration(folder: Path, file: Path, fields: Mapping[str, Any], tags: Mapping[str, str], *, in_place: bool = False) -> CalibEntry:
    """Add `file` to the index of a folder, copied into it unless it lies there or `in_place`; `fields` are those of the entry.

    Kind and camera that are not given are those of its header (CALKIND, CAMERA). Nothing stays where it is refused: BadConfig (fields, or another
    file of that name), and as `add_calibration`.
    """
    folder = folder.parent if folder.name == INDEX else folder
    if not file.is_file():
        raise BadData(f"{file} is no regular file", what_next=NOTHING_ADDED)
    _check_name(file)
    stated = {**_stated(file), **fields}
    if "kind" not in stated:
        raise BadConfig(f"of which kind is {file.name}? give --kind, as its header does not say it (CALKIND)", what_next="Give --kind.")
    check_kind(kind_name(str(stated["kind"])))
    inside = file.resolve().is_relative_to(folder.resolve())
    target = file.resolve() if inside or in_place else folder / file.name
    path = str(target.relative_to(folder.resolve())) if inside else str(target) if in_place else file.name
    entry = _entry({**stated, "path": path})
    copied = not (inside or in_place) and _copy(file, target)
    try:
        return add_calibration(folder, entry, tags)
    except QuicklookError:
        if copied:
            target.unlink(missing_ok=True)
        raise


def _check_name(file: Path) -> None:
    """Refuse a name that could not be written into an index: no UTF-8, or with control characters."""
    try:
        str(file.resolve()).encode()
        odd = not file.name.isprintable()
    except UnicodeEncodeError:
        odd = True
    if odd:
        raise BadConfig(f"the name {str(file)!a} could not stand in an index; rename the file", what_next=NOTHING_ADDED)


def _stated(file: Path) -> dict[str, Any]:
    """Kind and camera by the header; nothing where it is no FITS file: text lists of lines and fibres are not."""
    try:
        header = inspect(file).hdus[0].header
    except QuicklookError:
        return {}
    kind, camera = header.get("CALKIND"), header.get("CAMERA")
    return {k: v.strip() for k, v in (("kind", kind), ("camera", camera)) if isinstance(v, str) and v.strip()}


def _entry(fields: Mapping[str, Any]) -> CalibEntry:
    try:
        return CalibEntry(**fields)
    except ValidationError as error:
        raise BadConfig(describe(error), what_next="Correct what is said of the calibration; nothing was added.") from error


def _copy(file: Path, target: Path) -> bool:
    """Copy whole or not at all; False where the same is there. Raises BadConfig where another one is."""
    if target.exists():
        if filecmp.cmp(file, target, shallow=False):
            return False
        raise BadConfig(f"{target} is there already and is another file; rename the new one, or remove the old one", what_next=NOTHING_ADDED)
    try:
        with file.open("rb") as source, atomic(target) as f:
            shutil.copyfileobj(source, f, 1 << 20)
    except OSError as error:
        raise BadData(f"{file} cannot be read: {error.strerror or error}", what_next=NOTHING_ADDED) from error
    return True
