"""What aim mode will do: exposures, their cameras, the revision of each; kept beside the results, so that an interrupted run goes on."""

from __future__ import annotations

import fcntl
import hashlib
import json
from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Literal

from pydantic import Field, ValidationError

from quicklook.core.errors import BadConfig, describe
from quicklook.core.keys import PartKey, Unit
from quicklook.core.results import Record
from quicklook.io.atomic import write_json
from quicklook.io.folders import exposure_folder
from quicklook.io.revisions import next_revision, revision_in
from quicklook.service.rerun.choosing import Chosen
from quicklook.service.workers.processing import Recipe


class Mode(Record):
    """How data are done again: the whole chain, from a step on, or some QAs alone; the last two on what is stored under `source`."""

    from_step: str = ""
    only_qa: list[str] = Field(default_factory=list)
    source: str = ""


class PlannedUnit(Record):
    """An exposure: the files of its cameras that are done, those whose results under the tag are taken over, and whether that is all of it."""

    unit: str
    revision: int
    tags: dict[str, str]
    cameras: dict[str, str]
    kept: list[str] = Field(default_factory=list)
    whole: bool = True

    @property
    def key(self) -> Unit:
        """Its night and number."""
        return Unit.parse(self.unit)

    @property
    def flavor(self) -> str:
        """By which its chain is chosen."""
        return self.tags.get("flavor", "")


class Options(Record):
    """What was given on the command line and holds for all of a run, so that it goes on as it has begun. `calib`: a folder, absolute."""

    calib: str | None = None
    sets: list[str] = Field(default_factory=list)
    badamps: str | None = None
    write: str | None = None
    goals: list[str] = Field(default_factory=list)
    draw: bool = False

    def over(self, begun: Options) -> Options:
        """These, and where one is not given that of `begun`."""
        return begun.model_copy(update={name: value for name in type(self).model_fields if (value := getattr(self, name))})


class Plan(Record):
    """The contents of ``<out>/<tag>/aim.json``. `configuration`: see `configuration_of`."""

    schema_version: int = 1
    tag: str
    mode: Mode = Mode()
    options: Options = Options()
    state: Literal["running", "done"] = "running"
    started_ns: int
    configuration: dict[str, str] = Field(default_factory=dict)
    units: list[PlannedUnit]

    @property
    def cameras(self) -> int:
        """Cameras that are done."""
        return sum(len(u.cameras) for u in self.units)


@dataclass(slots=True, kw_only=True)
class Existing:
    """Cameras that have results under the tag already, exposures of which all have, and exposures whose chain the mode does not apply to."""

    cameras: int = 0
    exposures: int = 0
    unfit: int = 0


def plan_units(chosen: Iterable[Chosen], out: Path, tag: str, *, skip_existing: bool) -> tuple[list[PlannedUnit], Existing]:
    """The exposures with their next revision under the tag; with `skip_existing` those cameras are left out that have results there.

    Results of other cameras under the tag are taken over: the new verdict is over all that the tag has.
    """
    units, existing = [], Existing()
    for one in chosen:
        folder = exposure_folder(out, tag, one.unit)
        stored = _stored(folder, one.unit)
        there = [c for c in one.cameras if c in stored]
        existing.cameras += len(there)
        existing.exposures += len(there) == len(one.cameras)
        todo = {c: str(p.absolute()) for c, p in one.cameras.items() if not (skip_existing and c in there)}
        if todo:
            kept = [c for c in stored if c not in todo]
            units.append(
                PlannedUnit(
                    unit=str(one.unit),
                    revision=next_revision(folder),
                    tags=one.tags,
                    cameras=todo,
                    kept=kept,
                    whole=not one.left_out - set(kept),
                )
            )
    return units, existing


def _stored(folder: Path, unit: Unit) -> list[str]:
    """Cameras of an exposure that have a merged QA in its folder."""
    ending = f"-{unit.expid:08d}.json"
    found = sorted(p for p in folder.glob(f"qa-*{ending}") if revision_in(p) is not None)
    return [p.name.removeprefix("qa-").removesuffix(ending) for p in found]


def configuration_of(recipe: Recipe, flavors: Iterable[str]) -> dict[str, str]:
    """What the results depend on: checksums of chains by flavor, of limits and of the instrument; the folder of calibrations, products.

    Raises BadConfig for a flavor without a chain.
    """
    chains = {flavor: recipe.chain_for(flavor).sha256 for flavor in sorted(set(flavors))}
    instrument = hashlib.sha256(recipe.instrument.model_dump_json(warnings=False).encode()).hexdigest()
    calib = str(recipe.calib) if recipe.calib is not None else ""
    return {**chains, "limits": recipe.limits.sha256, "instrument": instrument, "calibrations": calib, "products": ",".join(recipe.products)}


_FOLDERS = ("calibrations", "products")


def differences(begun: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    """In what two configurations differ, in words; what was not noted then does not count."""
    words = {"limits": "the limits", "instrument": "the instrument"}
    out = []
    for name in (n for n in begun if begun[n] != now.get(n)):
        if name in _FOLDERS:
            out.append(f"{name}: {begun[name] or 'none'} then, {now.get(name) or 'none'} now")
        else:
            out.append(words.get(name, f"chain or parameters for {name or 'other flavors'}"))
    return out


@dataclass(slots=True)
class PlanFile:
    """A plan on disk, and beside it what of it is done, a line for each camera and each exposure. One process at a time has it."""

    folder: Path
    done: set[str] = field(default_factory=set)
    _lock: IO[str] | None = None

    @property
    def path(self) -> Path:
        """``<out>/<tag>/aim.json``."""
        return self.folder / "aim.json"

    @property
    def log(self) -> Path:
        """``<out>/<tag>/aim.done``."""
        return self.folder / "aim.done"

    def lock(self) -> None:
        """Take it. Raises BadConfig where another process has it, or the folder cannot be used."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._lock = (self.folder / ".aim.lock").open("a", encoding="utf-8")
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise BadConfig(f"another aim run works in {self.folder}", what_next="Wait for it, or name another --tag.") from error
        except OSError as error:
            raise BadConfig(f"{self.folder} cannot be used: {error.strerror}", what_next="Give access, or name another --out.") from error

    def release(self) -> None:
        """Let others have it."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def read(self) -> Plan | None:
        """The plan, and into `done` what is done of it; None where there is none. Raises BadConfig where it cannot be read."""
        try:
            plan = Plan.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            return None
        except (OSError, ValidationError) as error:
            raise BadConfig(f"{self.path} cannot be read: {describe(error)[:160]}", what_next="Remove it, or name another --tag.") from error
        with suppress(FileNotFoundError):
            lines = self.log.read_text(encoding="utf-8").split("\n")
            self.done = set(lines[:-1])  # the last one is empty, or was not written to its end
        return plan

    def begin(self, plan: Plan) -> None:
        """Write a new plan, of which nothing is done."""
        self.log.unlink(missing_ok=True)
        self.done = set()
        write_json(self.path, plan.model_dump(mode="json"))

    def end(self, plan: Plan) -> None:
        """Say that all of it is done."""
        write_json(self.path, {**plan.model_dump(mode="json"), "state": "done"})

    def note(self, what: PartKey | Unit) -> None:
        """One more camera, or exposure, is done."""
        with self.log.open("a", encoding="utf-8") as f:
            f.write(f"{what}\n")
        self.done.add(str(what))

    def is_done(self, what: PartKey | Unit) -> bool:
        """Whether a camera, or an exposure, is done."""
        return str(what) in self.done


def unfinished(out: Path) -> list[str]:
    """Tags of an output folder that have a run that was not finished, the latest first."""
    found = []
    for path in out.glob("*/aim.json"):
        with suppress(OSError, ValueError):
            content = json.loads(path.read_bytes())
            if isinstance(content, Mapping) and content.get("state") == "running":
                found.append((path.stat().st_mtime_ns, path.parent.name))
    return [tag for _, tag in sorted(found, reverse=True)]
