"""The sink that draws: plots of QAs, configured figures and contact sheets as PNG, each with an event that says so."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Sequence
from pathlib import Path

from pydantic import Field

from monitor.render.sheets import SheetKeeper
from quicklook.core.events import Draft, Event, PlotDrawn, PlotsReady, ProductWritten, UnitDone, draft
from quicklook.core.keys import Unit
from quicklook.core.params import Params
from quicklook.core.plots import Plot
from quicklook.core.plotspecs import FigureSpec, load_plot_specs
from quicklook.core.sink import Sink, SinkContext
from quicklook.core.status import Status

_LONGEST = 80
_FIRST = (Status.ALARM, Status.WARNING, Status.UNKNOWN, Status.NORMAL)


class RenderParams(Params):
    """Parameters of the renderer."""

    dpi: float = Field(120.0, gt=0, le=600, description="pixels an inch of the pictures; their width is 7.2 to 14.4 inch")
    figures: tuple[str, ...] = Field(("default",), description="files of configured figures (names or paths); a later one goes before")
    only: tuple[str, ...] = Field((), description="of these figures the named ones alone, whether their conditions hold or not")
    folder: str = Field("", description="folder for configured figures; default: beside the plots of the exposure")
    contact: bool = Field(True, description="whether a sheet with a small picture of every camera is drawn of each exposure")


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
    """Draws plots to ``plots/<name>-<camera>-<expid>.png`` beside the plots as data, and answers with one event of kind ``plot`` for each.

    So it does with the configured figures of each camera (``figure-<name>-<camera>-<expid>.png``), from its stored result, and with
    ``contact-<expid>.png``, when an exposure is done.
    """

    name = "render"
    kinds = (PlotsReady.kind, UnitDone.kind)
    isolated = True

    def check(self) -> None:
        """Read the configured figures. Raises BadConfig, with file and line, for what is wrong with them."""
        self._specs()

    def _specs(self) -> tuple[FigureSpec, ...]:
        from quicklook.core.declared import declared_metrics
        from quicklook.core.errors import BadConfig
        from quicklook.core.validation import suggest
        from quicklook.io.configfiles import find_config

        found = load_plot_specs([find_config("plots", name) for name in self.params.figures], declared_metrics())
        names = [spec.name for spec in found]
        for name in self.params.only:
            if name not in names:
                raise BadConfig(f"there is no figure {name!r}{suggest(name, names, noun='figures')}")
        return found

    def open(self, context: SinkContext) -> None:
        """Remember where plots lie; load what draws, so that the first plot does not wait for it."""
        import monitor.render.renderer  # noqa: F401

        self._out = Path(context.out)
        self._figures = self._specs()
        self._sheets = SheetKeeper(self._out, self.params.dpi)

    def accept(self, event: Event) -> Sequence[Draft]:
        """Draw what the event asks for: all plots of a file and the figures of its camera, or (of a stored result) the figures alone.

        Raises Transient where a picture cannot be written now, NotReadyYet or BadData where the file of plots is gone or broken.
        """
        if event.kind == UnitDone.kind:
            return self._contact(event)
        if event.kind == ProductWritten.kind:
            return self._draw_figures(event, self._out / ProductWritten.model_validate(event.payload).path)
        drafts = self._draw_plots(event)
        if event.part and event.unit:
            ready = self._out / PlotsReady.model_validate(event.payload).path
            drafts += self._draw_figures(event, ready.parent.parent / f"qa{_suffix(event.part, Unit.parse(event.unit))}.json")
            drafts += self._contact(event)
        return drafts

    def _draw_plots(self, event: Event) -> list[Draft]:
        from quicklook.io.plotfiles import load_plots
        from quicklook.io.revisions import of_revision

        ready = PlotsReady.model_validate(event.payload)
        source = self._out / ready.path
        suffix = _suffix(event.part, Unit.parse(event.unit) if event.unit else None)
        kept = of_revision(source, event.revision)
        if kept.is_file():  # a later revision has come meanwhile, and this one was kept under its number
            source, suffix = kept, f"{suffix}.rev{event.revision}"
        plots = load_plots(source)
        status_of = dict(zip(ready.names, ready.statuses, strict=False))
        names = file_names(p.name for p in plots)
        # those that somebody should look at come first: of many cameras the last plots are late
        order = sorted(zip(plots, names, strict=True), key=lambda both: _urgency(status_of.get(both[0].name)))
        return [self._draw(event, p, status_of.get(p.name), source.parent / f"{n}{suffix}.png") for p, n in order]

    def _draw_figures(self, event: Event, result_file: Path) -> list[Draft]:
        """The configured figures of a result; none where it is not there (what was built from a group has none) or cannot be read."""
        from pydantic import ValidationError

        from quicklook.core.figures import figures_of
        from quicklook.core.results import PartResult
        from quicklook.io.revisions import of_revision

        kept = of_revision(result_file, event.revision)
        source = kept if kept.is_file() else result_file
        try:
            result = PartResult.model_validate_json(source.read_bytes())
        except (OSError, ValidationError) as error:
            self.log.info("no figures of %s: %s", source, error)
            return []
        folder = Path(self.params.folder) if self.params.folder else source.parent / "plots"
        ending = source.stem.removeprefix("qa")
        found = figures_of(self._figures, result, names=self.params.only)
        return [self._draw(event, f.plot, f.status, folder / f"{f.plot.name}{ending}.png") for f in found]

    def _draw(self, event: Event, plot: Plot, status: Status | None, path: Path) -> Draft:
        from monitor.render.renderer import render_png

        return self._written(event, plot.name, render_png(plot, dpi=self.params.dpi, status=status, footer=_footer(event)), path, event.part)

    def _contact(self, event: Event) -> list[Draft]:
        """The contact sheet, where the event makes one due."""
        drawn = self._sheets.sheet(event, _footer(event)) if self.params.contact and event.unit else None
        return [self._written(event, "contact", drawn.data, drawn.path, None)] if drawn is not None else []

    def _written(self, event: Event, name: str, data: bytes, path: Path, part: str | None) -> Draft:
        from quicklook.io.atomic import atomic

        with atomic(path, sync=False) as file:
            file.write(data)
        shown = str(path.relative_to(self._out)) if path.is_relative_to(self._out) else str(path)
        drawn = PlotDrawn(name=name, path=shown, sha256=hashlib.sha256(data).hexdigest(), size=len(data))
        unit = Unit.parse(event.unit) if event.unit else None
        return draft(drawn, unit=unit, part=part, tag=event.tag, revision=event.revision)


def _urgency(status: Status | None) -> int:
    """Rank of a plot in the order of drawing: alarms first, plots without a status last."""
    return _FIRST.index(status) if status in _FIRST else len(_FIRST)


def _suffix(part: str | None, unit: Unit | None) -> str:
    return "".join(f"-{word}" for word in (file_names([part])[0] if part else "", f"{unit.expid:08d}" if unit else "") if word)


def _footer(event: Event) -> str:
    """What the plot belongs to."""
    part = f" camera {event.part}" if event.part else ""
    return f"{event.unit or ''}{part}, tag {event.tag}, revision {event.revision}".strip()
