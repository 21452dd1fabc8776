"""The sink that draws: for every file of plots as data, a PNG of each plot beside it, and an event that says so."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import Field

from quicklook.core.events import Draft, Event, PlotDrawn, PlotsReady, draft
from quicklook.core.keys import Unit
from quicklook.core.params import Params
from quicklook.core.sink import Sink, SinkContext

_LONGEST = 80


class RenderParams(Params):
    """Parameters of the renderer."""

    dpi: float = Field(120.0, gt=0, le=600, description="pixels an inch of the pictures; their width is 7.2 to 14.4 inch")


def file_names(names: Iterable[str]) -> list[str]:
    """Names that can be file names, one for each, all different, whatever letters the plots' own names have."""
    out: list[str] = []
    for name in names:
        plain = re.sub(r"[^A-Za-z0-9_.+-]+", "_", name).lstrip(".")[:_LONGEST] or "plot"
        taken = {n.casefold() for n in out}
        number = 1
        unique = plain
        while unique.casefold() in taken:
            number += 1
            unique = f"{plain}-{number}"
        out.append(unique)
    return out


class RenderSink(Sink[RenderParams]):
    """Draws plots to ``plots/<name>-<camera>-<expid>.png`` beside the plots as data, and answers with one event of kind ``plot`` for each."""

    name = "render"
    kinds = (PlotsReady.kind,)
    isolated = True

    def open(self, context: SinkContext) -> None:
        """Remember where plots lie; load what draws, so that the first plot does not wait for it."""
        import monitor.render.renderer  # noqa: F401

        self._out = Path(context.out)

    def accept(self, event: Event) -> Sequence[Draft]:
        """Draw all plots of the file that the event names.

        Raises Transient where a picture cannot be written now, NotReadyYet or BadData where the file of plots is gone or broken.
        """
        from monitor.render.renderer import render_png
        from quicklook.io.atomic import atomic
        from quicklook.io.plotfiles import load_plots
        from quicklook.io.revisions import of_revision

        ready = PlotsReady.model_validate(event.payload)
        unit = Unit.parse(event.unit) if event.unit else None
        source = self._out / ready.path
        suffix = _suffix(event.part, unit)
        kept = of_revision(source, event.revision)
        if kept.is_file():  # a later revision has come meanwhile, and this one was kept under its number
            source, suffix = kept, f"{suffix}.rev{event.revision}"
        plots = load_plots(source)
        drafts = []
        status_of = dict(zip(ready.names, ready.statuses, strict=False))
        for plot, name in zip(plots, file_names(p.name for p in plots), strict=True):
            data = render_png(plot, dpi=self.params.dpi, status=status_of.get(plot.name), footer=_footer(event))
            path = source.parent / f"{name}{suffix}.png"
            with atomic(path, sync=False) as file:
                file.write(data)
            drawn = PlotDrawn(name=plot.name, path=str(path.relative_to(self._out)), sha256=hashlib.sha256(data).hexdigest(), size=len(data))
            drafts.append(draft(drawn, unit=unit, part=event.part, tag=event.tag, revision=event.revision))
        return drafts


def _suffix(part: str | None, unit: Unit | None) -> str:
    return "".join(f"-{word}" for word in (file_names([part])[0] if part else "", f"{unit.expid:08d}" if unit else "") if word)


def _footer(event: Event) -> str:
    """What the plot belongs to."""
    part = f" camera {event.part}" if event.part else ""
    return f"{event.unit or ''}{part}, tag {event.tag}, revision {event.revision}".strip()
