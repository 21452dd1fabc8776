"""What works beside the frames inside the daemon: each has its turns, hears of every exposure that ends, and stops with it.

To add one: a module of its own with a class that has these methods, and a line in `attendants.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import sqlalchemy as sa

from quicklook.service.journal.journal import Journal
from quicklook.service.site import Site
from quicklook.service.verdicts.concluding import Conclusion
from quicklook.service.workers.processing import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Surroundings:
    """What the daemon gives to those who attend it. `wake` ends its pause, `stop` ends it in good order; both from any thread. `arriving`: files are
    looked for, or were found and are not taken yet; `reloaded`: it has another configuration, and was not started.
    """

    site: Site
    recipe: Recipe
    journal: Journal
    wake: Callable[[], None]
    stop: Callable[[], None]
    arriving: Callable[[], bool] = lambda: False
    reloaded: bool = False


class Attendant(Protocol):
    """One that attends the daemon. All methods are called in its thread, and are to be quick; Transient leaves the call to be made again."""

    def turn(self) -> None:
        """Called at every turn of the daemon, at least once a second."""

    def closed(self, connection: sa.Connection, done: Conclusion) -> None:
        """An exposure has its verdict; called in the transaction in which that is written."""

    @property
    def idle(self) -> bool:
        """Whether nothing of its own is left to do."""

    def close(self) -> None:
        """The daemon ends."""
