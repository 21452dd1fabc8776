"""`quicklook plot`: configured figures of stored results, made when somebody asks."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import InstrumentOption, OutOption, SiteOption, TagOption

if TYPE_CHECKING:
    from quicklook.core.results import PartResult
    from quicklook.service.site import Site


def register(app: typer.Typer) -> None:
    """Add the command to the app."""
    app.command("plot")(plot)


def plot(
    exposure: Annotated[str, typer.Argument(help="NIGHT/EXPID, as in 20220101/102.")],
    camera: Annotated[str | None, typer.Argument(help="Cameras, separated by commas; default: all that have a result.")] = None,
    config: Annotated[list[Path] | None, typer.Option("--config", help="File of figures, in place of those of the site; may be repeated.")] = None,
    figure: Annotated[list[str] | None, typer.Option("--figure", help="This figure alone, whatever its conditions; may be repeated.")] = None,
    to: Annotated[Path | None, typer.Option("--to", help="Folder for the pictures; default: beside the other plots.", file_okay=False)] = None,
    site: SiteOption = None,
    instrument: InstrumentOption = None,
    out: OutOption = None,
    tag: TagOption = None,
) -> None:
    """Draw configured figures of stored results: metrics against each other, on the focal plane, in a grid. Nothing is measured, no pixel is read.

    Exit status: 0 they are drawn, 2 there is nothing to draw, or the configuration is wrong.
    """
    from quicklook.cli.past import described
    from quicklook.core.errors import BadData

    place = described(site, instrument, out, tag)
    _check(place, config or [], figure or [])
    results = _results(place, exposure, camera)
    drawn = [path for result in results for path in _draw(place, result, config or [], figure or [], to)]
    if not drawn:
        what_next = "Name one with --figure to have it drawn in any case."
        raise BadData(f"no figure applies to {exposure}: of none that is for such exposures anything was measured", what_next=what_next)
    for path in drawn:
        typer.echo(str(path))


def _check(site: Site, config: list[Path], figures: list[str]) -> None:
    """Raises BadConfig, with file and line, for what is wrong with files of figures, and for a figure that none of them has."""
    from quicklook.core.declared import declared_metrics
    from quicklook.core.errors import BadConfig
    from quicklook.core.plotspecs import load_plot_specs
    from quicklook.core.validation import suggest
    from quicklook.io.configfiles import find_config

    files = [str(path) for path in config] or site.file.sinks.get("render", {}).get("figures", ("default",))
    names = [spec.name for spec in load_plot_specs([find_config("plots", name) for name in files], declared_metrics())]
    for name in figures:
        if name not in names:
            raise BadConfig(f"--figure {name}: there is no such figure{suggest(name, names, noun='figures')}")


def _results(site: Site, exposure: str, camera: str | None) -> list[PartResult]:
    """Stored results of the cameras. Raises BadConfig for what names no exposure, BadData where there is none."""
    from quicklook.core.errors import BadConfig, BadData
    from quicklook.core.history import Selection
    from quicklook.core.keys import Unit
    from quicklook.io.history import FileHistory
    from quicklook.service.verdicts.explain import nothing_under

    try:
        unit = Unit.parse(exposure)
    except ValueError as error:
        raise BadConfig(str(error)) from error
    cameras = frozenset(c.strip() for c in camera.split(",")) if camera else frozenset()
    wanted = Selection(tag=site.file.tag, units=frozenset({unit}), parts=cameras)
    history = FileHistory(site.out)
    found = list(history.results(wanted))
    if not found and not history.nights(wanted.tag):
        raise nothing_under(history, wanted.tag)
    if not found:
        of = f" of camera {camera}" if camera else ""
        what_next = "Check night, number and camera, the output folder (--out or --site) and the tag (--tag)."
        raise BadData(f"there is no result{of} of {unit} under tag {site.file.tag!r} in {site.out}", what_next=what_next)
    return found


def _draw(site: Site, result: PartResult, config: list[Path], figures: list[str], to: Path | None) -> list[Path]:
    from quicklook.core.events import Event, ProductWritten
    from quicklook.core.keys import Unit
    from quicklook.core.sink import SinkContext
    from quicklook.io.folders import exposure_folder
    from quicklook.service.publishing.sinks import make_sink

    params = {**site.file.sinks.get("render", {}), "only": figures, "folder": str(to.absolute()) if to else ""}
    if config:
        params["figures"] = [str(path) for path in config]
    sink = make_sink("render", params)
    sink.open(SinkContext(out=str(site.out)))
    unit = Unit(result.night, result.expid)
    path = exposure_folder(site.out, result.tag, unit) / f"qa-{result.part}-{unit.expid:08d}.json"
    stored = ProductWritten(name="qa", path=str(path.relative_to(site.out)), sha256="", size=0)
    about = {"unit": str(unit), "part": result.part, "tag": result.tag, "revision": result.revision}
    answers = sink.accept(Event(**about, kind=stored.kind, payload=stored.model_dump(mode="json"), epoch="", seq=1, time=0))
    sink.close()
    return [site.out / str(said.payload["path"]) for said in answers]
