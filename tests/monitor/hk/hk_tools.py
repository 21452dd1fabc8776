"""Helpers of the tests of housekeeping: small configurations, batches, a source in memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from monitor.hk.checker import Checker
from monitor.hk.loading import HkConfig, load_hk
from quicklook.core.document import Document
from quicklook.core.housekeeping import Batch, HkChange, HkSource, SourceContext, Taken
from quicklook.core.plugin import NoParams

WHY = {"reason": "It matters.", "action": "Do something."}


def config(limits: Any = (), **more: Any) -> HkConfig:
    """A configuration with one source `s`; each limit gets a reason and an action."""
    data = {"sources": {"s": {"plugin": "text"}}, "limits": [{**WHY, **limit} for limit in limits], **more}
    return load_hk(Document.from_data(data, "test.yaml"))


def batch(times: Sequence[float], source: Any = "s", texts: Any = None, **columns: Any) -> Batch:
    """A batch of columns by name."""
    values = np.column_stack(list(columns.values())).astype(float) if columns else np.empty((len(times), 0))
    return Batch(source=source, times=np.asarray(times, dtype=float), channels=tuple(columns), values=values, texts=texts or {})


def fed(checker: Checker, times: Sequence[float], **columns: Any) -> list[HkChange]:
    """Feed row by row, ticking after each."""
    out: list[HkChange] = []
    for i, t in enumerate(times):
        out += checker.feed(batch([t], **{n: [c[i]] for n, c in columns.items()}))
        out += checker.tick(t)
    return out


def story(changes: Sequence[HkChange], subject: str) -> list[str]:
    """The states that a subject went through."""
    return [str(c.state) for c in changes if c.subject == subject]


class MemorySource(HkSource[NoParams]):
    """Gives what the test puts into `coming`; its position is how many it gave."""

    name = "memory"

    def __init__(self) -> None:
        super().__init__()
        self.coming: list[Taken | Exception] = []
        self.opened: list[dict[str, str]] = []

    def open(self, context: SourceContext) -> None:
        """Remember the positions that it was given."""
        self.opened.append(dict(context.positions))

    def poll(self, now: float) -> Taken:
        """The next one."""
        found = self.coming.pop(0) if self.coming else Taken()
        if isinstance(found, Exception):
            raise found
        return found
