"""`quicklook calib`: what the index of calibrations holds, what is chosen from it, and adding to it."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from quicklook.cli import calib_build
from quicklook.cli.options import CalibOption, CamerasOption, InstrumentOption, OneCameraOption, RawOption, SiteOption, one_of, site_of

if TYPE_CHECKING:
    from rich.console import Console

    from quicklook.io.calib import CalibFolder, DesiCalibTree, LayeredCalibrations
    from quicklook.io.calibcensus import EntryCheck
    from quicklook.io.calibentry import CalibEntry

    Index = CalibFolder | DesiCalibTree | LayeredCalibrations


UNCHECKED = "its size was never checked against its camera"
WIDTH = 150
"""Characters of a table that goes into a file or a pipe."""


class Quality(StrEnum):
    """What a calibration is said to be worth."""

    good = "good"
    provisional = "provisional"
    bad = "bad"


KindOption = Annotated[str | None, typer.Option("--kind", help="Kind: bias, dark, pixflat, mask, psf, fiberflat, fluxcal, ...")]
NightOption = Annotated[str | None, typer.Option("--night", help="Night, YYYYMMDD or YYYY-MM-DD.")]
WhenOption = Annotated[list[str] | None, typer.Option("--when", metavar="TAG=VALUE", help="A tag, such as detector=SN-1; may be repeated.")]
LikeOption = Annotated[Path | None, typer.Option("--like", help="Raw file of the camera, for its size and tags.", dir_okay=False)]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def register(app: typer.Typer) -> None:
    """Add the group of commands to the app."""
    group = typer.Typer(name="calib", help="Calibrations: list, show, check, add to the index, build.", no_args_is_help=True)
    group.command("list")(show_list)
    group.command("show")(show)
    group.command("add")(add)
    group.command("check")(check)
    calib_build.register(group)
    app.add_typer(group)


def folder_of(calib: Path | None, site: Path | None) -> Path:
    """The folder of calibrations that is meant. Raises BadConfig where nothing names one."""
    from quicklook.core.errors import BadConfig

    if calib is None and site is not None:
        named = site_of(site).file.calib
        calib = Path(named) if named else None
    if calib is None:
        raise BadConfig("which calibrations? give --calib FOLDER, or --site FILE (or QUICKLOOK_SITE) with `calib` in it")
    return calib


def show_list(
    calib: CalibOption = None, site: SiteOption = None, kind: KindOption = None, camera: CamerasOption = None, night: NightOption = None,
    as_json: JsonOption = False,
) -> None:  # fmt: skip
    """List calibrations: kind, camera, nights, quality, age, what they were made from, file.

    The age counts to --night, else to now. With --night those that hold on it.
    """
    import json

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from quicklook.io.calib import open_index

    index = open_index(folder_of(calib, site))
    chosen = [e for e in index.entries() if _wanted(e, kind, camera, night_of(night))]
    rows = [_row(e, night_of(night)) for e in chosen]
    if as_json:
        typer.echo(json.dumps([{**e.model_dump(mode="json", exclude_defaults=True), "age_days": _age(e, night_of(night))} for e in chosen], indent=1))
        return
    table = Table(title=Text(f"{index.name}: {len(rows)} of {len(index.entries())} calibrations"), title_justify="left", pad_edge=False)
    for name in ("kind", "for", "nights", "quality", "age, d", "made from", "file"):
        table.add_column(name, justify="right" if name.startswith("age") else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    wide = None if sys.stdout.isatty() or "COLUMNS" in os.environ else WIDTH
    Console(highlight=False, width=wide).print(table)


def night_of(text: str | None) -> int | None:
    """A night as it was typed. Raises BadConfig."""
    from quicklook.core.errors import BadConfig
    from quicklook.io.calibentry import as_night

    try:
        night: int | None = as_night(text)
    except ValueError as error:
        raise BadConfig(f"--night {text}: {error}") from error
    return night


def _wanted(entry: CalibEntry, kind: str | None, cameras: Sequence[str] | None, night: int | None) -> bool:
    from quicklook.io.calibentry import kind_name

    here = entry.model_copy(update={"instrument": ("*",), "serial": (), "when": {}})
    return (
        (kind is None or entry.of_kind == kind_name(kind))
        and (not cameras or any(not here.misfit({"camera": camera}) for camera in cameras))
        and (night is None or entry.valid(night))
    )


def _age(entry: CalibEntry, night: int | None) -> float | None:
    from datetime import UTC, datetime

    from quicklook.io.calibchoice import age_days

    return age_days(entry.night or entry.valid_from, night or int(datetime.now(UTC).strftime("%Y%m%d")))


def _row(entry: CalibEntry, night: int | None) -> tuple[str, ...]:
    from quicklook.io.calibcensus import whose
    from quicklook.io.calibentry import nights_text

    age = _age(entry, night)
    made = ", ".join(map(str, entry.made_from[:6])) + (f", ... ({len(entry.made_from)})" if len(entry.made_from) > 6 else "")
    nights = nights_text(entry.valid_from, entry.valid_to) + (", default" if entry.default else "")
    quality = entry.quality + (", size never checked" if entry.size_unchecked else "")
    return (entry.kind, whose(entry, most=1), nights, quality, "" if age is None else f"{age:.0f}", made, entry.path)


def show(
    what: Annotated[str, typer.Argument(help="A file of the index, or a kind: then with --camera and --night.")],
    calib: CalibOption = None, site: SiteOption = None, instrument: InstrumentOption = None, camera: OneCameraOption = None,
    night: NightOption = None, when: WhenOption = None, like: LikeOption = None,
) -> None:  # fmt: skip
    """Show one calibration with its statistics; for a kind, which one a frame would get, what else was possible, and why others were not.

    Where that hangs on a tag of the frame which is not stated (specid, object, ...) none is named: give --like FILE or --when TAG=VALUE.
    Exit status 1 where the file cannot be used, where no frame of that camera and night would get one, or where it cannot be told.
    """
    from rich.console import Console

    from quicklook.core.errors import BadConfig
    from quicklook.io.calib import open_index

    index = open_index(folder_of(calib, site))
    console = Console(highlight=False, soft_wrap=True)
    named = [e for e in index.entries() if what in (e.path, Path(e.path).name)]
    if named:
        good = [_show_entry(console, index, e) for e in named]
        raise typer.Exit(0 if all(good) else 1)
    night_wanted, name = night_of(night), one_of(camera, "--camera")
    if like is None and (not name or night_wanted is None):
        raise BadConfig(f"{index.name} lists no file {what!r}; for a kind give --camera and --night, or --like FILE")
    raise typer.Exit(_show_choice(console, index, what, name, night_wanted or 0, _tags(site, instrument, name, like, when, night_wanted)))


def _show_entry(console: Console, index: Index, entry: CalibEntry) -> bool:
    from quicklook.core.errors import QuicklookError
    from quicklook.io.calibadd import examine
    from quicklook.io.calibreview import facts_text

    for name, value in entry.model_dump(exclude_defaults=True, mode="json").items():
        shown = UNCHECKED if name == "size_unchecked" else ", ".join(map(str, value)) if isinstance(value, list) else str(value)
        console.print(f"{name:18s} {shown}", markup=False)
    try:
        found = examine(index.locate(entry), entry.of_kind, {}, sha256=entry.sha256).found
    except QuicklookError as error:
        console.print(f"cannot be used: {error}", style="bold red", markup=False)
        return False
    for name, text in facts_text(found.facts).items():
        console.print(f"{name:18s} {text}", markup=False)
    return True


def _show_choice(console: Console, index: Index, kind: str, camera: str, night: int, tags: dict[str, str]) -> int:
    from quicklook.core.keys import PartKey, Unit
    from quicklook.io.calibadd import check_kind
    from quicklook.io.calibcensus import unstated
    from quicklook.io.calibchoice import in_order, renewal, used_of
    from quicklook.io.calibentry import kind_name

    kind = kind_name(kind)
    check_kind(kind)
    part = PartKey(Unit(night or int(tags.get("night", 0)), 0), camera or tags.get("camera", ""))
    tags = {"camera": part.part, **tags}
    candidates = index.candidates(kind, part, tags)
    possible = in_order(candidates, part.unit.night)
    lacking = unstated(candidates, part.unit.night)
    console.print(f"{kind} for camera {part.part} on night {part.unit.night}:", markup=False)
    if lacking:
        wanted = " ".join("--instrument NAME" if tag == "instrument" else f"--when {tag}=VALUE" for tag in lacking)
        console.print(f"  it hangs on {', '.join(lacking)} of the frame, which is not stated: give --like FILE, or {wanted}", markup=False)
    elif possible:
        used = used_of(possible, part)
        how = {"night": "made in that night", "valid": "valid on it", "default": "the default"}[used.chosen_as]
        age = "" if used.age_days is None else f", {used.age_days:g} days old{' - stale' if used.stale else ''}"
        console.print(f"  chosen        {used.source} ({how}{age})", markup=False)
    else:
        console.print(f"  there is none; {renewal(kind, part)}", markup=False)
    for other in possible if lacking else possible[1:]:
        console.print(f"  also possible {other.path}", markup=False)
    for other in (c for c in candidates if c.why_not):
        console.print(f"  not           {other.path}: {other.why_not}", markup=False)
    return 0 if possible and not lacking else 1


def _tags(
    site: Path | None, instrument: str | None, camera: str, like: Path | None, when: list[str] | None, night: int | None
) -> dict[str, str]:
    """Tags of the frames that are meant: from a raw file, from the instrument, as given."""
    from quicklook.core.errors import BadConfig
    from quicklook.io.hardware import hardware_tags
    from quicklook.io.reader import camera_tags, open_reader

    tags: dict[str, str] = {}
    if site is not None or instrument is not None:
        described = site_of(site, instrument=instrument).instrument
        camera = described.camera_name(camera) if camera else ""
        if like is not None:
            reader = open_reader(described)
            tags |= reader.read(like, camera or reader.peek(like).cameras[0]).tags
        elif camera:
            tags |= {"instrument": described.name, **camera_tags(described, camera), **hardware_tags(described, camera, night or 0)}
    elif like is not None:
        raise BadConfig("--like needs --instrument NAME or --site FILE, to read the raw file")
    return tags | pairs_of(when)


def pairs_of(words: list[str] | None) -> dict[str, str]:
    """Tags from TAG=VALUE. Raises BadConfig."""
    from quicklook.core.errors import BadConfig

    pairs = [w.partition("=") for w in words or []]
    if wrong := [f"{name}{sign}{value}" for name, sign, value in pairs if not (name and sign and value)]:
        raise BadConfig(f"--when {wrong[0]}: write TAG=VALUE, as in detector=SN-1")
    return {name.strip(): value.strip() for name, _, value in pairs}


def add(
    file: Annotated[Path, typer.Argument(help="The calibration.", exists=True, dir_okay=False)],
    calib: CalibOption = None, site: SiteOption = None, instrument: InstrumentOption = None, kind: KindOption = None, camera: CamerasOption = None,
    valid_from: Annotated[str | None, typer.Option("--from", help="First night; default: its own by its header, else since ever.")] = None,
    valid_to: Annotated[str | None, typer.Option("--to", help="Last night; default: until further notice.")] = None,
    night: Annotated[str | None, typer.Option("--night", help="Night of the exposures that it was made from.")] = None,
    made_from: Annotated[str | None, typer.Option("--made-from", help="Numbers of those exposures, separated by commas.")] = None,
    quality: Annotated[Quality | None, typer.Option(help="Quality; a bad one is never used. Default: as its builder called it, else good.")] = None,
    serial: Annotated[str | None, typer.Option(help="Serial number of its hardware.")] = None,
    when: WhenOption = None,
    default: Annotated[bool, typer.Option("--default", help="For want of any other.")] = False,
    stale_days: Annotated[float | None, typer.Option(min=0.0, help="Older than this it gives a warning.")] = None,
    comment: Annotated[str, typer.Option(help="Anything worth knowing.")] = "",
    like: LikeOption = None,
    raw: RawOption = None,
    in_place: Annotated[bool, typer.Option("--in-place", help="List it where it lies; default: it is copied into the folder.")] = False,
    unchecked: Annotated[bool, typer.Option("--unchecked", help="Though nothing tells the size of its camera; then it is provisional.")] = False,
) -> None:  # fmt: skip
    """Add a calibration to the index, if it is one: read to its last byte, its values, units and size checked. Else nothing is added.

    Its size is compared with --like FRAME, else with others of its camera in the index, else with the sections that the instrument declares, else
    with a raw frame of its camera in the raw folder (--raw, or that of the site). Where none of them tells, it is refused.

    What is not given stays as it is where the index lists the file already: its entry is replaced. Of a calibration that was built here, the header
    says the rest: kind, camera, instrument, night, exposures, quality. One that its builder called bad needs --quality.
    """
    from quicklook.io.calibimport import import_calibration
    from quicklook.io.camerafacts import InstrumentFacts

    described = site_of(site, instrument=instrument, raw=raw) if site is not None or instrument is not None else None
    facts = InstrumentFacts(described.instrument, described.raw if described.file.raw else None) if described is not None else None
    of = (described.instrument.name,) if described is not None and instrument else ()
    fields: dict[str, Any] = {
        "kind": kind, "camera": tuple(camera or ()), "instrument": of, "valid_from": valid_from,
        "valid_to": valid_to, "night": night, "made_from": _numbers(made_from), "quality": quality and quality.value, "serial": serial,
        "when": {k: (v,) for k, v in pairs_of(when).items()}, "default": default or None, "stale_days": stale_days, "comment": comment,
    }  # fmt: skip
    given = {k: v for k, v in fields.items() if v not in (None, "", (), {})}
    before: list[CalibEntry] = []
    tags = _tags(site, instrument, (camera or [""])[0], like, None, None) if like else {}
    folder = folder_of(calib, site)
    added = import_calibration(folder, file, given, tags, in_place=in_place, replaced=before.append, facts=facts, unchecked=unchecked)
    typer.echo(f"{'replaced' if before else 'added'} {added.kind} for {' '.join(added.camera)}: {added.path}{_changes(before, added)}")
    if added.quality == "provisional":
        typer.echo(f"It is provisional: {UNCHECKED if added.size_unchecked else added.comment or 'so it is called'}.")


def _changes(before: list[CalibEntry], added: CalibEntry) -> str:
    """What an entry said that its replacement says otherwise."""
    if not before:
        return ""
    old, new = before[0].model_dump(mode="json", exclude={"sha256", "shapes"}), added.model_dump(mode="json")
    said = [f"{k} was {old[k]}, is {new[k]}" for k in old if old[k] != new[k]]
    return f" ({'; '.join(said) or 'as it was'})"


def _numbers(text: str | None) -> tuple[int | str, ...]:
    words = [w.strip() for w in (text or "").split(",") if w.strip()]
    return tuple(int(w) if w.isdigit() and len(w) < 19 else w for w in words)


def check(
    calib: CalibOption = None, site: SiteOption = None, as_json: JsonOption = False,
    write: Annotated[bool, typer.Option("--write", help="Write the checksums of good files into entries that have none.")] = False,
) -> None:  # fmt: skip
    """Verify every calibration of the index: read to its last byte, checksum, size, values. Names files that are not listed, overlaps and gaps.

    Exit status 0 where every one can be used (those marked as bad apart), 1 where one cannot, 2 where the index cannot be read.
    """
    import json

    from rich.console import Console

    from quicklook.io.calib import open_index
    from quicklook.io.calibcensus import take_census, write_checksums

    folder = folder_of(calib, site)
    index, console = open_index(folder), Console(highlight=False, soft_wrap=True)
    folder = folder if folder.is_dir() else folder.parent
    census = take_census(index, folder, (lambda _check: None) if as_json else (lambda c: _tell(console, c)))
    written = write_checksums(folder, census) if write else []
    if as_json:
        files = [{"path": c.entry.path, "kind": c.entry.kind, "wrong": c.wrong, "size_checked": not c.entry.size_unchecked} for c in census.checks]
        found = {"files": files, "unlisted": [str(p) for p in census.unlisted], "overlaps": list(census.overlaps), "gaps": list(census.gaps)}
        typer.echo(json.dumps(found, indent=1))
        raise typer.Exit(0 if census.good else 1)
    for title, lines in (("not listed", census.unlisted), ("overlap", census.overlaps), ("gap", census.gaps)):
        for line in lines:
            console.print(f"{title:10s}  {line}", markup=False)
    for entry in written:
        console.print(f"checksum    of {entry.path} is in the index now", markup=False)
    damaged = sum(c.damaged for c in census.checks)
    console.print(f"{len(census.checks)} calibrations, {damaged} of them cannot be used", markup=False)
    raise typer.Exit(0 if census.good else 1)


def _tell(console: Console, checked: EntryCheck) -> None:
    entry = checked.entry
    word = "bad" if entry.quality == "bad" else "BROKEN" if checked.wrong else "good"
    said = checked.wrong or (UNCHECKED if entry.size_unchecked else "")
    console.print(f"{word:10s}  {entry.kind:10s} {entry.path}{f': {said}' if said else ''}", markup=False)
