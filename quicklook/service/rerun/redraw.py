"""Pictures drawn again from plots as data, by the sink that draws."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from quicklook.core.events import Event, PlotsReady, draft
from quicklook.core.keys import PartKey
from quicklook.core.sink import SinkContext
from quicklook.core.status import Status
from quicklook.io.plotfiles import load_plots
from quicklook.service.publishing.sinks import make_sink


def redraw(
    out: Path, data: Path, key: PartKey, tag: str, revision: int, statuses: Mapping[str, Status | None], *, dpi: float | None = None
) -> list[Path]:
    """Draw all plots of a file of plots below the output folder `out`; returns the pictures.

    `statuses` by the names of plots; `dpi` pixels an inch (default: that of the sink).

    Raises NotReadyYet, BadData (the file), Transient (the pictures cannot be written).
    """
    names = [p.name for p in load_plots(data)]
    ready = PlotsReady(path=str(data.relative_to(out)), names=names, statuses=[statuses.get(n) for n in names])
    said = draft(ready, unit=key.unit, part=key.part or None, tag=tag, revision=revision)
    sink = make_sink("render", {} if dpi is None else {"dpi": dpi})
    sink.open(SinkContext(out=str(out)))
    answers = sink.accept(Event(**said.model_dump(), epoch="", seq=1, time=0))
    sink.close()
    return [out / str(a.payload["path"]) for a in answers]
