"""Whose calibration a file says it is, by its header, against whose it is said to be when it is added."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Iterable
from pathlib import Path

from quicklook.core.errors import QuicklookError
from quicklook.io.calibentry import CalibEntry, kind_name
from quicklook.io.configfiles import list_configs
from quicklook.io.fitsfile import inspect
from quicklook.io.hdu import HduInfo


def contradiction(path: Path, entry: CalibEntry) -> str:
    """Why the header of a file says that it is not what its entry says: of another kind, camera, instrument or detector; empty where nothing does.

    CAMERA counts where it is written as the cameras of the entry are (b0 for r3, not a word for them), and where the entry is not for hardware
    that may be mounted elsewhere (serial, when). INSTRUME counts where it is the name of another instrument that is described here.
    """
    try:
        hdus = inspect(path).hdus
    except QuicklookError:  # lists of lines and fibres are text
        return ""
    kind, ours = _card(hdus, "CALKIND"), bool(_card(hdus, "CALKIND"))
    if kind and kind_name(kind) != entry.of_kind:
        return f"its header says that it is a {kind} (CALKIND), not a {entry.of_kind}"
    camera = _card(hdus, "CAMERA")
    if camera and not (entry.serial or entry.when) and _another(camera, entry.camera, ours=ours):
        return f"its header says that it is of camera {camera} (CAMERA), not of {' or '.join(entry.camera)}"
    instrument = _plain(_card(hdus, "INSTRUME"))
    mine = [_plain(n) for n in entry.instrument]
    if instrument and instrument in map(_plain, list_configs("instruments")) and not any(fnmatch.fnmatchcase(instrument, m) for m in mine):
        return f"its header says that it is of instrument {_card(hdus, 'INSTRUME')} (INSTRUME), not of {' or '.join(entry.instrument)}"
    detector, stated = _card(hdus, "DETECTOR"), entry.when.get("detector", ())
    if detector and stated and not _fits(detector, stated):
        return f"its header says that it is of detector {detector} (DETECTOR), not of {' or '.join(stated)}"
    return ""


def _card(hdus: Iterable[HduInfo], key: str) -> str:
    """The first text of that keyword, without quotes that were written into it; empty where there is none."""
    found = (h.stored.get(key) for h in hdus)
    return next((v.strip(" '\"") for v in found if isinstance(v, str) and v.strip(" '\"")), "")


def _plain(name: str) -> str:
    return re.sub(r"[\s_-]+", "_", name.strip().lower())


def _fits(name: str, patterns: Iterable[str]) -> bool:
    return any(fnmatch.fnmatchcase(name.lower(), p.lower()) for p in patterns)


def _another(camera: str, patterns: Iterable[str], *, ours: bool) -> bool:
    """Whether it is the name of another camera. What a builder of ours did not write must look like a name: letters and digits in the same places."""
    if _fits(camera, patterns):
        return False
    numbered = any(c.isdigit() for c in camera)
    return ours or (numbered and any(re.fullmatch(_form(p), camera.lower()) for p in patterns))


def _form(pattern: str) -> str:
    """What names look like that are written as a pattern is: of r* and r3 a letter and what may follow it."""
    wild = {"*": ".*", "?": "."}
    return "".join(wild.get(c) or ("[a-z]" if c.isalpha() else r"\d" if c.isdigit() else re.escape(c)) for c in pattern)
