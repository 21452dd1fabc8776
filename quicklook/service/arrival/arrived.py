"""What the watcher gives: files that are complete, and files that cannot be taken."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from quicklook.core.results import Failure

_AHEAD_NS, _SET_NS = 2 * 10**9, 60 * 10**9
"""So much may the clock of a file server be ahead; so much later than its last change a file may be given its name, or its access."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrived:
    """A complete file: path, size (bytes), time of its last change (UTC ns), when it was first noticed (UTC ns), and what the check has given.

    `closed_ns`: when it was there with its last byte (UTC ns; see `closed_at`), None where that is not known.
    """

    path: Path
    size: int
    mtime_ns: int
    seen_ns: int
    facts: object = None
    closed_ns: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rejected:
    """A file that cannot be taken as it is now. It is looked at again when it changes.

    `barred`: what is in the way may pass without that (access that is not given, a disk that fails): it is tried again with every scan.
    """

    path: Path
    size: int
    mtime_ns: int
    failure: Failure
    barred: bool = False


def closed_at(mtime_ns: int, ctime_ns: int, now_ns: int) -> int | None:
    """When a file was complete, by the time of its last change and that of the last change of what the system knows of it (UTC ns); None: not known.

    Who copies a file may give it the time of the original (rsync -t, cp -p): then it was complete when that was set. A time in the future is none.
    """
    known = [t for t in (mtime_ns, ctime_ns) if t <= now_ns + _AHEAD_NS]
    if len(known) == 2 and ctime_ns - mtime_ns < _SET_NS:
        return mtime_ns
    return ctime_ns if ctime_ns in known else None
