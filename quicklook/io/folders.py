"""Where files lie in an output folder."""

from __future__ import annotations

from pathlib import Path

from quicklook.core.keys import Unit


def exposure_folder(out: Path, tag: str, unit: Unit) -> Path:
    """``<out>/<tag>/exposures/<night>/<expid:08d>``: all files of one exposure under one tag."""
    return out / tag / "exposures" / f"{unit.night:08d}" / f"{unit.expid:08d}"
