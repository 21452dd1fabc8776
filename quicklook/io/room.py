"""Room on a disk: how much there is, when that is little, and how much is to be kept free."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path

from quicklook.core.errors import NoSpace

_WARN_FRACTION, _KEEP_FRACTION = 0.1, 0.02
"""On a small disk these parts of it count, where they are less."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """Room on the disk of a folder, byte."""

    path: Path
    total: int
    free: int

    def warns_at(self, gb: float) -> float:
        """Free bytes below which a warning is due: so many 1e9 bytes, or a tenth of the disk where that is less."""
        return min(gb * 1e9, _WARN_FRACTION * self.total)

    def keeps(self, gb: float) -> float:
        """Bytes to be kept free: so many 1e9 bytes, or a fiftieth of the disk where that is less."""
        return min(gb * 1e9, _KEEP_FRACTION * self.total)


def room_of(folder: Path) -> Room:
    """Of a folder, or of the first above it that is there. Raises OSError."""
    there = next((p for p in (folder, *folder.absolute().parents) if p.exists()), folder)
    usage = shutil.disk_usage(there)
    return Room(path=folder, total=usage.total, free=usage.free)


def check_room(folder: Path, keep_gb: float) -> None:
    """Raises NoSpace where less is free than is to be kept; where nobody can say, nothing is raised."""
    try:
        room = room_of(folder)
    except OSError:
        return
    if room.free < room.keeps(keep_gb):
        raise NoSpace(f"only {room.free / 1e9:.2f} GB are free for {folder}, of which {room.keeps(keep_gb) / 1e9:.2f} GB are kept")
