"""What a calibration is compared with: the last good one of its camera in the index that can be read."""

from __future__ import annotations

from collections.abc import Collection

from quicklook.core.errors import QuicklookError
from quicklook.core.product import Calibration
from quicklook.io.calibentry import CalibEntry
from quicklook.io.calibfile import read_kind
from quicklook.io.calibsize import others_of
from quicklook.io.calibstore import CalibIndexStore


def last_good(store: CalibIndexStore, entry: CalibEntry, kinds: Collection[str]) -> tuple[CalibEntry, Calibration] | None:
    """The last good one of one of these kinds beside `entry`, for the same camera and time, with its entry; None if there is none.

    One that cannot be read is passed over: who uses it is told what is wrong with it.
    """
    for other in reversed(others_of(store, entry)):
        if other.of_kind in kinds and other.quality == "good":
            try:
                return other, read_kind(store.locate(other), other.of_kind, sha256=other.sha256)
            except (QuicklookError, OSError):
                continue
    return None
