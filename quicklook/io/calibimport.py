"""A calibration file from anywhere taken into a folder of calibrations: copied, checked, added to its index."""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from quicklook.core.errors import BadConfig, BadData, QuicklookError, describe
from quicklook.io.atomic import atomic
from quicklook.io.calibadd import NOTHING_ADDED, add_calibration, check_kind
from quicklook.io.calibentry import CalibEntry, as_night, kind_name
from quicklook.io.calibfile import checksum
from quicklook.io.calibsize import CameraFacts
from quicklook.io.calibstore import INDEX, FolderStore
from quicklook.io.fitsfile import inspect
from quicklook.io.hdu import HduInfo

_QUALITIES = ("good", "provisional", "bad")
_CARDS = (("kind", "CALKIND"), ("camera", "CAMERA"), ("instrument", "INSTRUME"), ("quality", "QUALITY"))
_MOST = 100
"""Cards MADE00 to MADE99."""


def import_calibration(
    folder: Path, file: Path, fields: Mapping[str, Any], tags: Mapping[str, str], *, in_place: bool = False,
    replaced: Callable[[CalibEntry], None] = lambda _entry: None, facts: CameraFacts | None = None, unchecked: bool = False,
) -> CalibEntry:  # fmt: skip
    """Add `file` to the index of a folder, copied into it unless it lies there or `in_place`; `fields` are those of the entry.

    What is not given is that of the entry that lists the file already (`replaced` hears of it), else that of its header, where a builder of ours
    wrote it: kind, camera, instrument, night (from which it is valid), exposures, quality (CALKIND, CAMERA, INSTRUME, NIGHT, MADEnn, QUALITY). Of a
    file that has changed since, the header says night, exposures and quality. Nothing stays where it is refused: BadConfig (fields, or another file
    of that name), BadData (called bad by its header or entry, and no quality is given; a raw frame), and as `add_calibration`, which `tags`, `facts`
    and `unchecked` are for.
    """
    folder = folder.parent if folder.name == INDEX else folder
    if not file.is_file():
        raise BadData(f"{file} is no regular file", what_next=NOTHING_ADDED)
    _check_name(file)
    hdus = _hdus(file)
    header = _stated(hdus)
    kind = fields.get("kind") or header.get("kind")
    if not kind:
        raise BadConfig(f"of which kind is {file.name}? give --kind, as its header does not say it (CALKIND)", what_next="Give --kind.")
    check_kind(kind_name(str(kind)))
    inside = file.resolve().is_relative_to(folder.resolve())
    target = file.resolve() if inside or in_place else folder / file.name
    path = str(target.relative_to(folder.resolve())) if inside else str(target) if in_place else file.name
    before = _listed(folder, kind_name(str(kind)), path)
    known = _known(file, header, before)
    if before is None and fields.get("default"):
        known.pop("valid_from", None)  # a default holds on any night, unless somebody says from when
    entry = _entry({"kind": kind, **known, **fields, "path": path})
    if "quality" not in fields and entry.quality == "bad":
        raise BadData(f"{file.name} is not added: {_who_says_bad(header, before)}", what_next=_CALLED_BAD)
    if kind_name(entry.kind) in _NO_RAW and _raw_frame(hdus):
        raise BadData(f"{file.name} is not added: it holds whole numbers of 16 bit and no CALKIND, so it is a raw frame", what_next=_RAW_FRAME)
    copied = not (inside or in_place) and _copy(file, target)
    try:
        added = add_calibration(folder, entry, tags, facts=facts, unchecked=unchecked)
    except QuicklookError:
        if copied:
            target.unlink(missing_ok=True)
        raise
    if before is not None:
        replaced(before)
    return added


_CALLED_BAD = "Make it again; or give --quality bad to list it unused, --quality provisional to use it all the same."
_RAW_FRAME = "Make a calibration from several such frames with `quicklook calib build`, and add that."
_NO_RAW = ("bias", "dark", "pixflat", "psf", "pixeltraces", "fiberflat", "fluxcal", "sky")


def _listed(folder: Path, kind: str, path: str) -> CalibEntry | None:
    """The entry of that kind and path in the index of a folder, None where there is none."""
    if not (folder / INDEX).is_file():
        return None
    return next((e for e in FolderStore(folder).entries() if (e.of_kind, e.path) == (kind, path)), None)


def _known(file: Path, header: Mapping[str, Any], before: CalibEntry | None) -> dict[str, Any]:
    """What is known of it from its header and from the entry that lists it; its quality is the worse of both."""
    if before is None:
        return dict(header)
    old = before.model_dump(exclude={"sha256"})
    try:
        same = checksum(file) == before.sha256
    except OSError as error:
        raise BadData(f"{file} cannot be read: {error.strerror or error}", what_next=NOTHING_ADDED) from error
    made = {} if same or not before.sha256 else {k: header[k] for k in ("night", "made_from") if k in header}
    quality = "good" if before.size_unchecked and before.quality == "provisional" else before.quality  # provisional for want of a size alone
    return {**old, **made, "quality": max(header.get("quality", "good"), quality, key=_QUALITIES.index)}


def _who_says_bad(header: Mapping[str, Any], before: CalibEntry | None) -> str:
    if header.get("quality") == "bad":
        return "its builder called it bad (QUALITY in its header)"
    return f"the index has marked it as bad{f' ({before.comment})' if before and before.comment else ''}"


def _check_name(file: Path) -> None:
    """Refuse a name that could not be written into an index: no UTF-8, or with control characters."""
    try:
        str(file.resolve()).encode()
        odd = not file.name.isprintable()
    except UnicodeEncodeError:
        odd = True
    if odd:
        raise BadConfig(f"the name {str(file)!a} could not stand in an index; rename the file", what_next=NOTHING_ADDED)


def _hdus(file: Path) -> tuple[HduInfo, ...]:
    """The HDUs of a file; none where it is no FITS file: text lists of lines and fibres are not."""
    try:
        return tuple(inspect(file).hdus)
    except QuicklookError:
        return ()


def _stated(hdus: tuple[HduInfo, ...]) -> dict[str, Any]:
    """Fields of the entry by the header. What is no calibration of ours (CALKIND) has its camera alone: its NIGHT may be of anything."""
    header = hdus[0].header if hdus else {}
    words = {name: str(header.get(card) or "").strip() for name, card in _CARDS}
    if not words["kind"]:
        return {"camera": words["camera"]} if words["camera"] else {}
    out: dict[str, Any] = {k: v for k, v in words.items() if v}
    if words["quality"] not in _QUALITIES:
        out.pop("quality", None)
    try:
        night = as_night(header.get("NIGHT"))
    except ValueError:
        night = None
    made = tuple(header[k] for k in (f"MADE{i:02d}" for i in range(_MOST)) if isinstance(header.get(k), int))
    return out | ({"night": night, "valid_from": night} if night else {}) | ({"made_from": made} if made else {})


def _raw_frame(hdus: tuple[HduInfo, ...]) -> bool:
    """Whether it is a frame as a camera writes it: whole numbers of 16 bit, and nobody calls it a calibration."""
    images = [h for h in hdus if h.is_image and h.shape]
    if not images or any(h.header.get("CALKIND") for h in hdus):
        return False
    return all((h.header.get("ZBITPIX") or h.header.get("BITPIX")) == 16 for h in images)


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
