"""Who attends the daemon: each function gives one where the site asks for it."""

from __future__ import annotations

from collections.abc import Callable

from quicklook.service.hosting.page import page_of
from quicklook.service.journal.retention import keeper
from quicklook.service.running.attending import Attendant, Surroundings
from quicklook.service.running.diskroom import disk_watch
from quicklook.service.running.housekeeping import housekeeping_watch
from quicklook.service.running.memory import thrift
from quicklook.service.sessions.session import session_of

FACTORIES: tuple[Callable[[Surroundings], Attendant | None], ...] = (disk_watch, housekeeping_watch, keeper, session_of, thrift, page_of)
"""They raise BadConfig where the site asks for what cannot be done."""


def attendants(around: Surroundings) -> list[Attendant]:
    """Those that the site asks for, started, in order. Raises BadConfig."""
    return [attendant for make in FACTORIES if (attendant := make(around)) is not None]
