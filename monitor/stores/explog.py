"""The sink that keeps the log of exposures: a line of text for each verdict, in a file for each night."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path

from quicklook.core.errors import BadData, Transient
from quicklook.core.events import Decided, Draft, Event, Seen, UnitDone
from quicklook.core.keys import Unit
from quicklook.core.plugin import NoParams
from quicklook.core.sink import Sink, SinkContext
from quicklook.io.explog import add_row, explog_path, read_log

_KEEP = 256


class ExposureLog(Sink[NoParams]):
    """Writes ``exposures.tsv`` in the folder of each night: number, start, flavor, exposure time, cameras, verdict, decision and why."""

    name = "explog"
    kinds = (Seen.kind, UnitDone.kind, Decided.kind)

    def open(self, context: SinkContext) -> None:
        """Remember where to write."""
        self._out = Path(context.out)
        self._facts: OrderedDict[tuple[str, str], dict[str, str]] = OrderedDict()

    def accept(self, event: Event) -> Sequence[Draft]:
        """Write a line once an exposure has its decision. Raises Transient where the file cannot be written now."""
        if event.unit is None:
            return []
        facts = self._facts.setdefault((event.unit, event.tag), {})
        self._facts.move_to_end((event.unit, event.tag))
        while len(self._facts) > _KEEP:
            self._facts.popitem(last=False)
        if event.kind == Seen.kind:
            facts["file"] = str(event.payload.get("path") or event.payload["file"])
        elif event.kind == UnitDone.kind:
            facts |= _of_verdict(UnitDone.model_validate(event.payload))
        else:
            self._write(event, facts, Decided.model_validate(event.payload))
        return []

    def _write(self, event: Event, facts: dict[str, str], card: Decided) -> None:
        unit = Unit.parse(event.unit or "")
        row = {**facts, "night": str(unit.night), "expid": str(unit.expid), "revision": str(event.revision), "status": card.status}
        if not row.get("cameras"):  # a restart was between the verdict and the decision, or the decision was made anew
            row = {**_known(explog_path(self._out, event.tag, unit.night), str(unit.expid)), **{k: v for k, v in row.items() if v}}
        row |= {"decision": card.decision, "why": card.why, "measured": f"{card.measured}/{card.expected}"}
        try:
            add_row(explog_path(self._out, event.tag, unit.night), row)
        except OSError as error:
            raise Transient(f"the log of exposures cannot be written: {error.strerror or error}") from error


def _known(path: Path, expid: str) -> Mapping[str, str]:
    """The last line of an exposure in the log; nothing where it has none."""
    try:
        return next((r for r in reversed(read_log(path).rows) if r.get("expid") == expid), {})
    except BadData:
        return {}


def _of_verdict(done: UnitDone) -> dict[str, str]:
    tags = {name: done.tags.get(name, "") for name in ("start", "flavor", "program", "exptime", "test")}
    return {**tags, "cameras": ",".join(done.parts), "missing": ",".join(done.missing)}
