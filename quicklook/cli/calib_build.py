"""`quicklook calib build`: make calibrations from raw files, judge them, write them, enter them into the index."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from quicklook.cli.options import BadAmpsOption, CalibOption, CamerasOption, InstrumentOption, RawOption, SetOption, SiteOption, TagOption, site_of

if TYPE_CHECKING:
    from rich.console import Console

    from quicklook.core.builder import Builder
    from quicklook.core.status import Status
    from quicklook.service.calibrating.building import Building, Built, Exposures
    from quicklook.service.site import Site


def register(group: typer.Typer) -> None:
    """Add the command to the group `quicklook calib`."""
    group.command("build")(build)


def build(
    kind: Annotated[str, typer.Argument(help="Builder: a name (see `quicklook list builders`) such as bias, dark, traces, or a file.")],
    more: Annotated[list[Path] | None, typer.Argument(metavar="[FILE]...", help="Raw files; the same as --files.")] = None,
    files: Annotated[list[Path] | None, typer.Option("--files", help="A raw file; may be repeated, and further files may follow.")] = None,
    expid: Annotated[str | None, typer.Option(help="Exposures of the raw folder: numbers and ranges, as in 14-18,20.")] = None,
    night: Annotated[int | None, typer.Option(help="Night YYYYMMDD of the exposures of --expid.")] = None,
    camera: CamerasOption = None,
    site: SiteOption = None,
    instrument: InstrumentOption = None,
    calib: CalibOption = None,
    raw: RawOption = None,
    out: Annotated[Path | None, typer.Option(help="Folder for what is made, with an index of its own; default: --calib.", file_okay=False)] = None,
    add: Annotated[bool, typer.Option("--add/--no-add", help="Enter what is made into the index of the folder.")] = True,
    tag: TagOption = None,
    sets: SetOption = None,
    badamps: BadAmpsOption = None,
    plots: Annotated[bool, typer.Option(help="Draw plots.")] = True,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Verdicts alone, no progress and no table.")] = False,
) -> None:
    """Make a calibration from the exposures of a group: each is checked first, and what is not in order is left out and named.

    The calibration is judged as exposures are: NORMAL makes it good, WARNING provisional; anything else bad, and it is never chosen.

    Exit status: 0 NORMAL or WARNING, 1 ALARM, 3 UNKNOWN in any camera or a step that failed, 2 it could not run.
    """
    from rich.console import Console

    from quicklook.core.errors import BadConfig
    from quicklook.core.status import exit_status
    from quicklook.service.calibrating.building import Building, cameras_of, numbers

    described = site_of(site, sets, badamps, instrument=instrument, calib=calib, raw=raw, tag=tag or "calib")
    building, builder = Building.of(described), described.builder(kind)
    paths = [*(files or []), *(more or [])]
    if missing := [str(p) for p in paths if not p.is_file()]:
        raise BadConfig(f"there is no file {', '.join(missing)}")
    if expid is not None:
        paths += building.find(described.raw, numbers(expid), night)
    if not paths:
        raise BadConfig("nothing to build from: name raw files, or --expid (and --night)")
    target = _target(described, out)
    exposures = building.gather(list(dict.fromkeys(paths)))
    judged: list[tuple[Status, bool]] = []
    console = Console()
    for name in cameras_of(exposures, camera or ()):
        built = _build(console, building, builder, exposures, name, quiet)
        judged.append((built.status, not _write(console, built, target, add, plots)))
    raise typer.Exit(exit_status(judged))


def _target(site: Site, out: Path | None) -> Path:
    """The folder that calibrations are written into. Raises BadConfig where none is named."""
    from quicklook.core.errors import BadConfig

    folder = out or (Path(site.file.calib) if site.file.calib else None)
    if folder is None:
        raise BadConfig("where shall the calibration go? give --calib FOLDER, or --out FOLDER")
    return folder


def _build(console: Console, building: Building, builder: Builder, exposures: Exposures, camera: str, quiet: bool) -> Built:
    from rich.live import Live
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    from quicklook.cli.view import LiveTable

    if quiet:
        return building.build(builder, exposures, camera)
    count = len(exposures.by_camera.get(camera, ()))
    table = LiveTable(f"{builder.name} of camera {camera} from {count} exposures")
    with Progress(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), console=console, transient=True) as progress:
        task = progress.add_task(f"{camera}: looking at exposures", total=count)
        built = building.build(builder, exposures, camera, observer=table, told=lambda _verdict: progress.advance(task))
    with Live(table, console=console, vertical_overflow="visible"):
        pass
    if not console.is_terminal:
        console.print()
    return built


def _write(console: Console, built: Built, folder: Path, add: bool, plots: bool) -> bool:
    """Show and write what was built; whether it was written, and not refused by the index."""
    from rich.text import Text

    from quicklook.cli.view import reasons_block, show_verdict
    from quicklook.core.errors import BadData
    from quicklook.service.calibrating.builtfiles import left_out_words, write_built

    show_verdict(console, built.group.outcome.result)
    if left_out := left_out_words(built.members):
        console.print(Text("  left out:\n" + reasons_block(left_out, "    ")), soft_wrap=True)
    try:
        written = write_built(built, folder, add=add, plots=plots)
    except BadData as error:
        console.print(Text.assemble(("  ? UNKNOWN", "bold magenta"), f" {error} {error.what_next}"), soft_wrap=True)
        return False
    lines = [f"{built.seconds:.1f} s; {_made_from(built)}; result in {written.result}"]
    lines += [f"{kind}: {path} ({built.quality}{_chosen(built, add)})" for kind, path in written.calibrations.items()]
    console.print("\n".join(f"  {line}" for line in lines), style="dim", highlight=False, markup=False, soft_wrap=True)
    return True


def _made_from(built: Built) -> str:
    """The exposures that it is made from, by number, and by night where they are of several."""
    if not built.products:
        return "nothing was made"
    by_night: dict[int, list[str]] = {}
    for member in built.members:
        if member.taken:
            by_night.setdefault(member.night, []).append(str(member.expid))
    named = [", ".join(numbers) + (f" of night {night}" if len(by_night) > 1 else "") for night, numbers in by_night.items()]
    return "made from " + "; ".join(named)


def _chosen(built: Built, add: bool) -> str:
    if not add:
        return ", not in the index"
    return ", in the index, never chosen" if built.quality == "bad" else ", in the index"
