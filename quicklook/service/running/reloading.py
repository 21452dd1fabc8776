"""Another configuration for a daemon that runs: it is checked first, and a bad one is refused while the old one goes on."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from typing import cast

from quicklook.core.errors import BadConfig, QuicklookError
from quicklook.service.publishing.sinks import make_sink
from quicklook.service.sessions.sessionplan import plan_session
from quicklook.service.site import Site

log = logging.getLogger("quicklook.daemon")

_AGAIN_S = 2.0
PATIENCE_S = 60.0
"""What is worked on beside the frames has so long to end before a reload."""

Reread = Callable[[], Site]
"""Reads the site again, as the daemon was started."""


class Reloading:
    """The site that a daemon is to work by next, and how to read it, which whoever made the daemon says.

    `busy`: whether something beside the frames is being worked on, as a test of a session: that may end first, while the work on frames goes on.
    What takes longer is ended, and begun again after the reload. `changes` counts how often the daemon has begun again, by the new site or, where
    that could not be used after all, by the old one.
    """

    def __init__(self, busy: Callable[[], bool] = lambda: False) -> None:
        self.reread: Reread | None = None
        self.changes = 0
        self._busy, self._wanted, self._since = busy, cast("Site | None", None), 0.0

    @property
    def site(self) -> Site | None:
        """The site to begin with as soon as the frames that are being worked on are done; None: no other, or not yet."""
        waits = self._wanted is not None and self._busy() and time.monotonic() - self._since < PATIENCE_S
        return None if waits else self._wanted

    def want(self, site: Site) -> None:
        """Work by this one next."""
        self._since = time.monotonic()
        self._wanted = site  # last: the daemon may take it at once

    def ask(self, old: Site, wake: Callable[[], None]) -> str:
        """Read and check it; says what comes of it. Raises BadConfig as `checked` does."""
        new = checked(self.reread, old)
        later = f"; a test is worked on, and has {PATIENCE_S:g} s to end" if self._busy() else ""
        self.want(new)
        wake()
        return f"{new.source} is in order and is used from now on{later}"

    def change(self, old: Site, stop: Callable[[], None], begin: Callable[[Site], None], stopping: Callable[[], bool]) -> bool:
        """Stop the daemon in good order and begin with the new site; with the old one where the new one cannot be used after all.

        Where neither can now (a scheduler of workers that is away), both are tried again until one can, or somebody wants the daemon to stop:
        then False.
        """
        new, self._wanted = self._wanted or old, None
        stop()
        while not (_begun(new, begin, "the new configuration cannot be used, the old one goes on") or _begun(old, begin, "nor can the old one now")):
            if stopping():
                return False
            time.sleep(_AGAIN_S)
        self.changes += 1
        return True


def _begun(site: Site, begin: Callable[[Site], None], otherwise: str) -> bool:
    """Whether it could begin; it is said why not."""
    try:
        begin(site)
    except QuicklookError as error:
        log.error("%s: %s", otherwise, error)
    except Exception:  # of a plugin that the new configuration names, perhaps: the daemon is not to end by it
        log.exception("%s", otherwise)
    else:
        return True
    return False


def checked(reread: Reread | None, old: Site) -> Site:
    """The site as it is described now. Raises BadConfig where it cannot be used, or what it changes needs a restart."""
    if reread is None:
        raise BadConfig("this daemon cannot read its configuration again", what_next="Stop it and start it again.")
    site = reread()
    site.check()
    recipe = site.live_recipe()
    site.build_plans(recipe.builders)
    if site.file.session.file:
        plan_session(site)
    for name, params in site.file.sinks.items():
        make_sink(name, params, site.document)
    for name in ("out", "tag"):
        if getattr(site.file, name) != getattr(old.file, name):
            raise BadConfig(f"{site.source}: `{name}` cannot change while the daemon runs", what_next="Stop the daemon and start it again.")
    return site
