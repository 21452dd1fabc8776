"""The sink that draws: plots of QAs, configured figures and contact sheets as PNG, each with an event that says so.

The newest exposure is drawn first, and what is not NORMAL before the rest. What a later revision has superseded before it was drawn is left out, and
an event says so; as data it is kept.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from pydantic import Field

from monitor.render.sheets import SheetKeeper
from quicklook.core.errors import BadData, NotReadyYet
from quicklook.core.events import Draft, Event, PlotDrawn, PlotsReady, PlotsSkipped, ProductWritten, UnitDone, draft
from quicklook.core.keys import Unit
from quicklook.core.params import Params
from quicklook.core.plots import Plot
from quicklook.core.plotspecs import FigureSpec, load_plot_specs
from quicklook.core.sink import Piece, PiecedSink, PoolSize, SinkContext
from quicklook.core.status import Status

_LONGEST = 80
_SEEN_TO = (Status.ALARM, Status.WARNING)
_FIGURES, _CONTACT = "figures", "contact"
_FILES = 3
"""Files of plots that are kept in memory by a process that draws."""
_FIRST = (Status.ALARM, Status.WARNING, Status.UNKNOWN, Status.NORMAL)


class RenderParams(Params):
    """Parameters of the renderer."""

    dpi: float = Field(120.0, gt=0, le=600, description="pixels an inch of the pictures; their width is 7.2 to 14.4 inch")
    figures: tuple[str, ...] = Field(("default",), description="files of configured figures (names or paths); a later one goes before")
    only: tuple[str, ...] = Field((), description="of these figures the named ones alone, whether their conditions hold or not")
    folder: str = Field("", description="folder for configured figures; default: beside the plots of the exposure")
    processes: int = Field(1, ge=1, le=64, description="processes that draw; more than one takes time from the work on exposures where cores are few")
    nice: int = Field(5, ge=0, le=19, description="how far they stand back behind all other work of the machine")
    queue: int = Field(500, ge=10, description="files of plots that wait in memory; further ones wait in the journal")
    deadline_s: float = Field(60.0, gt=0, description="seconds after which a picture is given up")
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


@dataclass(frozen=True, slots=True)
class _Loaded:
    """The plots of a file, the names of their pictures, and what these end with."""

    plots: tuple[Plot, ...]
    names: list[str]
    folder: Path
    suffix: str


class RenderSink(PiecedSink[RenderParams]):
    """Draws plots to ``plots/<name>-<camera>-<expid>.png`` beside the plots as data, and answers with one event of kind ``plot`` for each.

    So it does with the configured figures of each camera (``figure-<name>-<camera>-<expid>.png``), from its stored result, and with
    ``contact-<expid>.png``, when an exposure is done. Every picture is a piece of its own: one that fails or crashes costs no other.
    """

    name = "render"
    kinds = (PlotsReady.kind, UnitDone.kind)

    @property
    def pool(self) -> PoolSize:
        """As the parameters say."""
        p = self.params
        return PoolSize(processes=p.processes, nice=p.nice, most=p.queue, deadline_s=p.deadline_s)

    def check(self) -> None:
        """Read the configured figures. Raises BadConfig, with file and line, for what is wrong with them."""
        self._figures  # noqa: B018

    @cached_property
    def _figures(self) -> tuple[FigureSpec, ...]:
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

    def begin(self, context: SinkContext) -> None:
        """Remember where plots lie."""
        self._out = Path(context.out)
        self._sheets = SheetKeeper(self._out, self.params.dpi)
        self._loaded: OrderedDict[tuple[str, int, int, int], _Loaded] = OrderedDict()

    def open(self, context: SinkContext) -> None:
        """As `begin`; load what draws, so that the first plot does not wait for it."""
        import monitor.render.renderer  # noqa: F401

        self.begin(context)

    def pieces(self, event: Event) -> Sequence[Piece]:
        """One for each plot of a file, those that somebody should look at first; one for the configured figures; the contact sheet if it is due."""
        if event.kind == UnitDone.kind:
            return self._sheet_pieces(event)
        if event.kind == ProductWritten.kind:
            return [Piece(name=_FIGURES, line=f"{event.tag} {event.payload['path']}", data={"result": event.payload["path"]})]
        ready = PlotsReady.model_validate(event.payload)
        line = f"{event.tag} {ready.path}"
        asked = [(status, i, name) for i, (name, status) in enumerate(zip(ready.names, ready.statuses, strict=True))]
        found = [
            Piece(name=f"plot {i}", line=line, urgent=status in _SEEN_TO, data={"plot": name, "index": i, "status": status and status.value})
            for status, i, name in sorted(asked, key=lambda one: _urgency(one[0]))
        ]
        if event.part and event.unit:
            suffix = _suffix(event.part, Unit.parse(event.unit))
            result = Path(ready.path).parent.parent / f"qa{suffix}.json"
            found += [Piece(name=_FIGURES, line=line, data={"result": str(result)}), *self._sheet_pieces(event)]
        return found

    def _sheet_pieces(self, event: Event) -> list[Piece]:
        verdict = self._sheets.due(event) if self.params.contact and event.unit else None
        if verdict is None:
            return []
        data = {"verdict": verdict.model_dump(mode="json")}
        return [Piece(name=_CONTACT, line=f"{_CONTACT} {event.tag} {event.unit}", urgent=verdict.status in _SEEN_TO, data=data)]

    def work(self, event: Event, piece: Piece) -> Sequence[Draft]:
        """Draw a piece. Raises Transient where a picture cannot be written now, NotReadyYet or BadData where the file of plots is gone or broken."""
        if piece.name == _CONTACT:
            drawn = self._sheets.sheet(UnitDone.model_validate(piece.data["verdict"]), event.tag, _footer(event.model_copy(update={"part": None})))
            return [self._written(event, _CONTACT, drawn.data, drawn.path, None)] if drawn is not None else []
        if piece.name == _FIGURES:
            return self._draw_figures(event, self._out / piece.data["result"])
        return [self._draw_plot(event, piece)]

    def skipped(self, event: Event, pieces: Sequence[Piece], by: Event) -> Sequence[Draft]:
        """Which plots are not drawn, and what takes their place. A contact sheet that is drawn a little later is nothing to tell."""
        names = [str(p.data.get("plot", p.name)) for p in pieces if p.name != _CONTACT]
        if not names:
            return []
        path = PlotsReady.model_validate(event.payload).path
        told = PlotsSkipped(names=names, path=path, by=by.seq, by_revision=by.revision)
        unit = Unit.parse(event.unit) if event.unit else None
        return [draft(told, unit=unit, part=event.part, tag=event.tag, revision=event.revision)]

    def _draw_plot(self, event: Event, piece: Piece) -> Draft:
        found, index, name = self._plots_of(event), int(piece.data["index"]), piece.data["plot"]
        if index >= len(found.plots) or found.plots[index].name != name:  # the file was written anew
            index = next((i for i, p in enumerate(found.plots) if p.name == name), -1)
        if index < 0:
            raise BadData(f"{found.folder} has no plot {name} of {event.unit} any more")
        status = Status(piece.data["status"]) if piece.data["status"] else None
        return self._draw(event, found.plots[index], status, found.folder / f"{found.names[index]}{found.suffix}.png")

    def _plots_of(self, event: Event) -> _Loaded:
        """The file of plots of an event; the last few are kept, as their plots are asked for one by one."""
        from quicklook.io.plotfiles import load_plots
        from quicklook.io.revisions import of_revision

        source = self._out / PlotsReady.model_validate(event.payload).path
        suffix = _suffix(event.part, Unit.parse(event.unit) if event.unit else None)
        kept = of_revision(source, event.revision)
        if kept.is_file():  # a later revision has come meanwhile, and this one was kept under its number
            source, suffix = kept, f"{suffix}.rev{event.revision}"
        try:
            about = source.stat()
        except OSError as error:
            raise NotReadyYet(f"{source} is not there") from error
        key = (str(source), about.st_ino, about.st_size, about.st_mtime_ns)
        if key not in self._loaded:
            plots = load_plots(source)
            self._loaded[key] = _Loaded(plots, file_names(p.name for p in plots), source.parent, suffix)
        self._loaded.move_to_end(key)
        while len(self._loaded) > _FILES:
            self._loaded.popitem(last=False)
        return self._loaded[key]

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
