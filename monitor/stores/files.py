"""The sink that keeps, beside the products of every exposure, its verdict and its latency receipt as JSON."""

from __future__ import annotations

import json
import logging
from collections import OrderedDict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from quicklook.core.events import Decided, Draft, Event, PartVerdict, PlotDrawn, ProductWritten, Receipt, Seen, Started, UnitDone
from quicklook.core.keys import Unit
from quicklook.core.plugin import NoParams
from quicklook.core.sink import Sink, SinkContext
from quicklook.io.atomic import write_json
from quicklook.io.folders import exposure_folder
from quicklook.io.revisions import of_revision, revision_in

log = logging.getLogger("quicklook.files")

_WORDS = {UnitDone.kind: "verdict", Decided.kind: "decision"}
"""Files that every revision of an exposure has."""
_KEEP = 64
"""Receipts kept in memory: plots and products of an exposure come within seconds of its verdict."""


class FileSink(Sink[NoParams]):
    """Writes ``verdict.json``, ``decision.json`` and ``receipt.json`` of every exposure: of its latest revision, whichever comes last.

    Verdict and decision of every revision are beside as ``verdict.rev0.json``, and so is the receipt of one that was overtaken.
    """

    name = "files"
    kinds = (Seen.kind, Started.kind, PartVerdict.kind, UnitDone.kind, Decided.kind, Receipt.kind, ProductWritten.kind, PlotDrawn.kind)

    def open(self, context: SinkContext) -> None:
        """Remember where to write."""
        self._out = Path(context.out)
        self._receipts: OrderedDict[tuple[str, str, int], dict[str, Any]] = OrderedDict()

    def accept(self, event: Event) -> Sequence[Draft]:
        """Write what the event changes."""
        if event.unit is None:
            return []
        folder = exposure_folder(self._out, event.tag, Unit.parse(event.unit))
        if event.kind in _WORDS:
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"{_WORDS[event.kind]}.json"
            write_json(of_revision(path, event.revision), event.payload)
            if self._is_latest(path, event.revision):
                write_json(path, event.payload)
        elif event.kind == Receipt.kind:
            self._write_receipt(event, folder, event.payload["times"], event.payload["seconds_to_verdict"])
        elif event.kind in (ProductWritten.kind, PlotDrawn.kind):
            self._late(event, folder)
        return []

    def _late(self, event: Event, folder: Path) -> None:
        """A product or a plot: its time is added to a receipt that is already there."""
        what = "plots_drawn" if event.kind == PlotDrawn.kind else "products_written"
        self._write_receipt(event, folder, {f"{event.part}/{what}" if event.part else what: event.time}, None)

    def _write_receipt(self, event: Event, folder: Path, times: dict[str, int], seconds: float | None) -> None:
        key = (event.unit or "", event.tag, event.revision)
        plain = folder / "receipt.json"
        known = self._receipts.get(key) or self._stored(plain, event.revision)
        known["times_ns"] |= times
        known["seconds_to_verdict"] = seconds if seconds is not None else known["seconds_to_verdict"]
        self._receipts[key] = known
        self._receipts.move_to_end(key)
        while len(self._receipts) > _KEEP:
            self._receipts.popitem(last=False)
        if known["seconds_to_verdict"] is not None:  # else the one that is there stays: a verdict that a person has changed has none of its own
            folder.mkdir(parents=True, exist_ok=True)
            path = plain if self._is_latest(plain, event.revision) else of_revision(plain, event.revision)
            times = dict(sorted(known["times_ns"].items(), key=lambda item: item[1]))
            about = {"unit": event.unit, "tag": event.tag, "revision": event.revision}
            write_json(path, {**about, "seconds_to_verdict": known["seconds_to_verdict"], "seconds": _seconds(times), "times_ns": times})

    @staticmethod
    def _is_latest(path: Path, revision: int) -> bool:
        """Whether nothing later is written there; what is earlier is kept under its number."""
        there = revision_in(path)
        if there is not None and there < revision and not of_revision(path, there).exists():
            path.rename(of_revision(path, there))
        return there is None or there <= revision

    @staticmethod
    def _stored(plain: Path, revision: int) -> dict[str, Any]:
        """What an earlier run of the daemon has written for this revision."""
        for path in (plain, of_revision(plain, revision)):
            if path.is_file() and (stored := json.loads(path.read_text(encoding="utf-8"))).get("revision") == revision:
                return {"times_ns": dict(stored["times_ns"]), "seconds_to_verdict": stored["seconds_to_verdict"]}
        return {"times_ns": {}, "seconds_to_verdict": None}


def _seconds(times_ns: dict[str, int]) -> dict[str, float]:
    """The same times, in their order, in second after the file was closed."""
    start = times_ns.get("closed", min(times_ns.values(), default=0))
    return {name: round((t - start) / 1e9, 4) for name, t in times_ns.items()}
