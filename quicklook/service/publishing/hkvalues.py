"""Housekeeping as it stands now, for those who ask the replay socket: by the store that the watch of the daemon writes."""

from __future__ import annotations

import math
import time
from pathlib import Path

from quicklook.core.errors import BadData, QuicklookError, describe
from quicklook.core.housekeeping_watch import HkRow, hk_monitor
from quicklook.core.wire import HkNow, HkRequest
from quicklook.io.configfiles import find_config

_KEPT_S = 1.0
"""Who asks more often gets what the last one got: it costs the daemon one look a second at most."""


class HkValues:
    """Of a configuration (a name or a path, "" for none) and a store. The store is opened at each look: who asks may do so from any thread."""

    def __init__(self, config: str, store: str) -> None:
        self._config, self._store = config, Path(store)
        self._now = HkNow(time=0, note="")
        self._wrong: QuicklookError | None = None
        self._looked = -math.inf

    def __call__(self, request: HkRequest) -> HkNow:
        """The rows, the worst first. Raises BadData, BadConfig where the site watches no housekeeping or nothing is known yet, Transient where it
        cannot be read now."""
        if time.monotonic() - self._looked >= _KEPT_S:
            self._looked, self._wrong = time.monotonic(), None
            try:
                self._now = self._look()
            except QuicklookError as error:
                self._wrong = error
        if self._wrong is not None:
            raise self._wrong.with_traceback(None)
        rows = self._now.rows
        return self._now.model_copy(update={"id": request.id, "rows": rows[: request.most], "left_out": max(0, len(rows) - request.most)})

    def _look(self) -> HkNow:
        if not self._config:
            raise BadData("this daemon watches no housekeeping", what_next="Name a configuration in its site, under `housekeeping`.")
        if not self._store.is_file():
            raise BadData("the daemon has watched no housekeeping yet", what_next="Ask again in a moment.")
        try:
            view, now = hk_monitor().view(find_config("hk", self._config), self._store), time.time()
            try:
                rows: tuple[HkRow, ...] = view.rows(now)
                return HkNow(time=round(now * 1e9), note=view.note(), rows=list(rows))
            finally:
                view.close()
        except QuicklookError:
            raise
        except Exception as error:  # a configuration that was edited, a store of another version: whatever it is, others are answered
            raise BadData(f"housekeeping cannot be read: {describe(error)}") from error
