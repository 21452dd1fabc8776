"""Who attends the daemon: each function gives one where the site asks for it."""

from __future__ import annotations

from collections.abc import Callable

from quicklook.service.attending import Attendant, Surroundings

FACTORIES: tuple[Callable[[Surroundings], Attendant | None], ...] = ()
"""They raise BadConfig where the site asks for what cannot be done."""


def attendants(around: Surroundings) -> list[Attendant]:
    """Those that the site asks for, started, in order. Raises BadConfig."""
    return [attendant for make in FACTORIES if (attendant := make(around)) is not None]
