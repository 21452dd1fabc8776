"""What was built, as files: the calibrations, the result beside them, the plots, and the entries in the index."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from pydantic import Field

from quicklook.core.events import Event, PlotsReady, draft
from quicklook.core.group import MemberVerdict
from quicklook.core.keys import Unit
from quicklook.core.results import SCHEMA_VERSION, PartResult, Record
from quicklook.core.sink import SinkContext
from quicklook.io.atomic import write_json
from quicklook.io.calibadd import add_calibration
from quicklook.io.calibentry import CalibEntry
from quicklook.io.calibwrite import calibration_name, write_calibration
from quicklook.io.plotfiles import save_plots
from quicklook.service.calibrating.building import Built
from quicklook.service.calibrating.origin import Origin
from quicklook.service.publishing.sinks import make_sink


class BuildRecord(Record):
    """The contents of ``calib-<builder>-<camera>-<night>-<first exposure>.json``.

    `quality` good, provisional or bad; `made_from` the exposures that are in it, `nights` theirs; `files` names of the calibration files by kind;
    `members` what was found of each exposure, with the reason where it was left out; `remarks` what should be known of them; `result` the judged
    result of the group.
    """

    schema_version: int = SCHEMA_VERSION
    builder: str
    instrument: str
    camera: str
    quality: str
    made_from: list[int]
    nights: list[int] = Field(default_factory=list)
    remarks: list[str] = Field(default_factory=list)
    files: dict[str, str]
    members: list[MemberVerdict]
    result: PartResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Written:
    """What was written: the calibrations by kind, the result, and the entries that were added to the index."""

    calibrations: dict[str, Path]
    result: Path
    entries: tuple[CalibEntry, ...]


def write_built(built: Built, folder: Path, *, add: bool | Collection[str] = True, plots: bool = True) -> Written:
    """Write calibrations, result and plots into `folder`; enter them, or those of the kinds `add`, into its index (made if need be).

    One of bad quality is written and entered too, and never chosen. An earlier file is never overwritten: the index has its checksum, and its result
    says how it was made. Raises BadConfig, BadData (a calibration that the index refuses; its files stay, for a look at them), Transient.
    """
    unit = built.group.outcome.result
    first = built.made_from[0] if built.made_from else unit.expid
    files: dict[str, Path] = {}
    for kind, product in built.products.items():
        with reserved(folder / calibration_name(kind, built.camera, built.night, first)) as path:
            files[kind] = write_calibration(product, path, origin_of(built).cards())
    with reserved(folder / f"calib-{built.builder.name}-{built.camera}-{built.night:08d}-{first:08d}.json") as result:
        write_json(result, _record(built, files).model_dump(mode="json"), sync=False)
    if plots and built.group.outcome.plots:
        _draw(built, folder, folder / "plots" / result.stem.removeprefix("calib-"), Unit(built.night, first))
    kinds = set(files) if add is True else set(add or ())
    entries = tuple(add_calibration(folder, origin_of(built).entry(kind, path), unit.tags) for kind, path in files.items() if kind in kinds)
    return Written(calibrations=files, result=result, entries=entries)


def _record(built: Built, files: Mapping[str, Path]) -> BuildRecord:
    return BuildRecord(
        builder=built.builder.name,
        instrument=built.instrument,
        camera=built.camera,
        quality=built.quality,
        made_from=list(built.made_from),
        nights=list(built.nights),
        remarks=list(built.remarks),
        files={kind: path.name for kind, path in files.items()},
        members=list(built.members),
        result=built.group.outcome.result,
    )


@contextmanager
def reserved(path: Path) -> Iterator[Path]:
    """The path, or the first with a number behind it that is no file, for this writer alone: an empty file holds it until the block has written it.

    Where the block fails nothing is left. Raises Transient and BadConfig as `quicklook.io.atomic.atomic`.
    """
    taken = _take(path)
    try:
        yield taken
    except BaseException:
        with suppress(OSError):
            if taken.stat().st_size == 0:
                taken.unlink()
        raise


def _take(path: Path) -> Path:
    for number in itertools.count(1):
        out = path if number == 1 else path.with_name(f"{path.stem}-{number}{path.suffix}")
        if out.exists():
            continue
        try:
            out.parent.mkdir(parents=True, exist_ok=True)
            out.touch(exist_ok=False)
        except FileExistsError:
            continue
        except OSError:
            return out  # the writing itself says what is wrong with the folder
        return out
    raise AssertionError("there is no last number")


def origin_of(built: Built) -> Origin:
    """How it was made, for its header and its entry."""
    return Origin(
        instrument=built.instrument,
        camera=built.camera,
        night=built.night,
        made_from=[(m.night, m.expid) for m in built.members if m.taken],
        by=("BUILDER", built.builder.name),
        result=built.group.outcome.result,
        quality=built.quality,
        valid_days=built.builder.valid_days,
        remarks=built.remarks,
    )


def save_plots_of(built: Built, folder: Path, root: Path) -> PlotsReady:
    """Write the plots as data into `folder`; the event that has them drawn names the file relative to `root`."""
    first, plots = built.made_from[0] if built.made_from else built.group.outcome.result.expid, built.group.outcome.plots
    path = folder / f"plots-{built.builder.name}-{built.camera}-{first:08d}.npz"
    save_plots(path, plots)
    status_of = {name: qa.status for qa in built.group.outcome.result.qas for name in qa.plots}
    return PlotsReady(path=str(path.relative_to(root)), names=[p.name for p in plots], statuses=[status_of.get(p.name) for p in plots])


def _draw(built: Built, root: Path, folder: Path, unit: Unit) -> None:
    said = draft(save_plots_of(built, folder, root), unit=unit, part=built.camera, tag=built.group.outcome.result.tag)
    sink = make_sink("render", {})
    sink.open(SinkContext(out=str(root)))
    sink.accept(Event(**said.model_dump(), epoch="", seq=1, time=0))
    sink.close()


def left_out_words(members: Iterable[MemberVerdict]) -> list[str]:
    """A sentence for each exposure that was left out."""
    out = []
    for m in members:
        if not m.taken:
            name = m.file or str(m.expid)
            out.append(f"{name} was left out ({m.status or 'not looked at'}): {'; '.join(m.reasons[:2]) or 'its status is not accepted'}")
    return out
