"""Building of calibrations from raw files: gather, vet, build, write, enter into the index. Used by `calib build` and by the daemon."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from quicklook.ccd.leftout import LeftOut
from quicklook.core.builder import Builder
from quicklook.core.calibration import CalibrationSource, NoCalibrations
from quicklook.core.chain import Step
from quicklook.core.contract import contract_of
from quicklook.core.errors import BadConfig, QuicklookError
from quicklook.core.group import GroupOutcome, GroupRunner, Member, MemberVerdict, Streamed
from quicklook.core.judge import Judge
from quicklook.core.keys import PartKey, Unit
from quicklook.core.limits import LimitSet
from quicklook.core.product import Calibration
from quicklook.core.runner import Observer
from quicklook.core.status import Status
from quicklook.io.calib import INDEX, open_calibrations
from quicklook.io.desitree import PATTERN as TREE
from quicklook.io.reader import Peek, Reader, open_reader

if TYPE_CHECKING:
    from quicklook.service.site import Site

T = TypeVar("T")
S = TypeVar("S")

MOST_THREADS = 4
"""Exposures that are read at the same time; more would take more memory than a group needs."""
CORRECTIONS = ("bias", "dark", "mask", "pixflat")
"""Kinds of calibrations that the images of a group are corrected with where there are any."""
QUALITY: dict[Status, Literal["good", "provisional"]] = {Status.NORMAL: "good", Status.WARNING: "provisional"}
"""Quality of a calibration in the index by the verdict of its QAs; with any other it is bad, and never chosen."""


class Prefetched(Streamed[T]):
    """A streamed sequence that loads the next few items in threads while the last one is worked on."""

    ahead = 2

    def __iter__(self) -> Iterator[T]:
        with ThreadPoolExecutor(self.ahead, thread_name_prefix="group") as pool:
            rest = iter(self._loaders)
            waiting = deque(pool.submit(load) for load in islice(rest, self.ahead))
            try:
                while waiting:
                    item = waiting.popleft().result()
                    waiting.extend(pool.submit(load) for load in [next(rest, None)] if load is not None)
                    yield item
                    del item  # not kept while the next one is waited for
            finally:
                pool.shutdown(wait=True, cancel_futures=True)


def _map_in_threads(threads: int, function: Callable[[S], T], items: Iterable[S]) -> Iterator[T]:
    with ThreadPoolExecutor(threads, thread_name_prefix="vet") as pool:
        try:
            yield from pool.map(function, items)
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exposures:
    """Raw files of a group: members by camera, in the order of their numbers, and what could not be read at all."""

    by_camera: dict[str, tuple[Member, ...]]
    unreadable: tuple[MemberVerdict, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Built:
    """A calibration that was built, or why it was not: judged result, exposures that were taken and left out, and products by kind."""

    builder: Builder
    instrument: str
    camera: str
    group: GroupOutcome
    members: tuple[MemberVerdict, ...]
    seconds: float

    @property
    def status(self) -> Status:
        """The verdict of the QAs of the group."""
        return self.group.outcome.result.status

    @property
    def quality(self) -> Literal["good", "provisional", "bad"]:
        """good, provisional or bad."""
        return QUALITY.get(self.status, "bad")

    @property
    def products(self) -> dict[str, Calibration]:
        """The calibrations by kind; empty where a step failed."""
        made = self.group.outcome.products
        return {t.kind: p for t in self.builder.products for p in [made.get(t)] if isinstance(p, Calibration)}

    @property
    def made_from(self) -> tuple[int, ...]:
        """Numbers of the exposures that were taken."""
        return tuple(m.expid for m in self.members if m.taken)

    @property
    def nights(self) -> tuple[int, ...]:
        """Their nights, each once."""
        return tuple(dict.fromkeys(m.night for m in self.members if m.taken))

    @property
    def made_without(self) -> tuple[str, ...]:
        """Kinds of calibrations that its exposures would have been corrected with, had there been any (`CORRECTIONS`)."""
        result = self.group.outcome.result
        used = {c.kind for c in result.provenance.calibrations}
        asked = {kind for step in self.builder.member.steps for kind in _asked(step, result.tags)}
        return tuple(k for k in CORRECTIONS if k in asked - used) if self.products else ()

    @property
    def remarks(self) -> tuple[str, ...]:
        """What a reader of the index should know of it.

        That its exposures are of several nights, which were in order and yet left out, and what they were not corrected with.
        """
        several = [f"made from exposures of {len(self.nights)} nights ({', '.join(map(str, self.nights))})"] if len(self.nights) > 1 else []
        odd = [str(m.expid) for m in self.members if not m.taken and m.status in self.builder.accept]
        lacking = [f"made without {', '.join(self.made_without)}"] if self.made_without else []
        return (*several, *([f"left out, though in order by themselves: {', '.join(odd)}"] if odd else []), *lacking)

    @property
    def night(self) -> int:
        """The night of the first of them."""
        taken = [m.night for m in self.members if m.taken]
        return taken[0] if taken else self.group.outcome.result.night


class Building:
    """Builds calibrations. `threads`: exposures that are read at the same time; 0: as many as there are cores, four at most."""

    def __init__(self, reader: Reader, limits: LimitSet, calibrations: CalibrationSource, *, threads: int = 0) -> None:
        self.reader = reader
        self._judge, self._calibrations = Judge(limits), calibrations
        self._threads = threads or min(MOST_THREADS, len(os.sched_getaffinity(0)))

    @classmethod
    def of(cls, site: Site, *, threads: int = 0) -> Building:
        """For a site; a folder of calibrations that has no index yet has no calibrations."""
        folder = Path(site.file.calib) if site.file.calib else None
        has_index = folder is not None and ((folder / INDEX).is_file() or any(folder.glob(TREE)))
        calibrations = open_calibrations(folder) if has_index else NoCalibrations()
        return cls(open_reader(site.instrument), site.limits(), calibrations, threads=threads)

    def find(self, raw: Path, expids: Iterable[int], night: int | None) -> list[Path]:
        """Raw files of exposures by number under the folder `raw`. Raises BadConfig where one is not there."""
        out: list[Path] = []
        for expid in expids:
            found = self.reader.locate(raw, expid, night)
            if not found:
                what = f"exposure {expid}{f' of night {night}' if night else ''}"
                raise BadConfig(f"there is no {what} under {raw}", what_next="Check night and numbers, or the raw folder.")
            out += found
        return out

    def gather(self, files: Iterable[Path]) -> Exposures:
        """What the files hold, by their headers alone."""
        by_camera: dict[str, list[Member]] = {}
        unreadable: list[MemberVerdict] = []
        for path in files:
            try:
                peek = self.reader.peek(path)
            except QuicklookError as error:
                unreadable.append(MemberVerdict(night=0, expid=0, file=_text(path.name), status=None, taken=False, reasons=[str(error)]))
                continue
            for camera in peek.cameras:
                by_camera.setdefault(camera, []).append(self._member(path, peek, camera))
        in_order = {c: tuple(sorted(m, key=lambda one: one.key)) for c, m in sorted(by_camera.items())}
        return Exposures(by_camera=in_order, unreadable=tuple(unreadable))

    def _member(self, path: Path, peek: Peek, camera: str) -> Member:
        read = partial(self.reader.read, path, camera)
        return Member(key=PartKey(peek.unit, camera), read=read, file=_text(path.name), flavor=peek.flavor)

    def build(
        self,
        builder: Builder,
        exposures: Exposures,
        camera: str,
        *,
        observer: Observer | None = None,
        told: Callable[[MemberVerdict], None] = lambda _verdict: None,
    ) -> Built:
        """Build the calibration of one camera, in memory; `told` hears of each exposure that was vetted, in order.

        Raises BadConfig where no file has the camera. What fails otherwise is in the result.
        """
        members, start = exposures.by_camera.get(camera, ()), time.perf_counter()
        if not members:
            raise BadConfig(f"no file has camera {camera}; there are: {', '.join(exposures.by_camera) or 'none'}")
        threads: dict[str, Any] = {}
        if self._threads > 1:
            threads = {"each": partial(_map_in_threads, self._threads), "stream": Prefetched}
        runner = GroupRunner(
            builder=builder, judge=self._judge, calibrations=self._calibrations, clock=time.perf_counter, told=told, **threads
        )
        group = runner.run(members, observer=observer)
        return _told(
            Built(
                builder=builder,
                instrument=self.reader.instrument.name,
                camera=camera,
                group=group,
                members=(*exposures.unreadable, *_used(group)),
                seconds=time.perf_counter() - start,
            )
        )


def _asked(step: Step, tags: Mapping[str, str]) -> Iterator[str]:
    """Kinds of calibrations that a step takes if there are any, those apart that its parameters do without."""
    if step.plugin is None:
        return
    params: object = None
    with suppress(BadConfig):  # parameters that depend on what the exposures do not share
        params = step.params.resolve(tags)
    for need in contract_of(step.plugin).inputs:
        if getattr(params, f"use_{need.type.kind}", "auto") != "no":
            yield need.type.kind


def _told(built: Built) -> Built:
    """The same, with a word in the verdict if there was no bias. That is no fault of the exposures, and their QAs have judged what it did to them."""
    if "bias" not in built.made_without:
        return built
    what = f"the structure of the bias is still in the images; `quicklook calib build bias --camera {built.camera}` makes one, then build this anew"
    result = built.group.outcome.result
    result = result.model_copy(update={"reasons": [*result.reasons, f"made without {', '.join(built.made_without)}: {what}"]})
    return replace(built, group=replace(built.group, outcome=replace(built.group.outcome, result=result)))


def _used(group: GroupOutcome) -> Iterator[MemberVerdict]:
    """What was found of each exposure; one that the algorithm of the group has left out was not taken."""
    left_out = group.outcome.products.get(LeftOut)
    why = dict(zip(left_out.units, left_out.why, strict=True)) if isinstance(left_out, LeftOut) else {}
    for member in group.members:
        odd = why.get(str(Unit(member.night, member.expid))) if member.taken else None
        yield member if odd is None else member.model_copy(update={"taken": False, "reasons": [odd]})


def _text(name: str) -> str:
    """The name of a file as text that can stand in a result."""
    return name.encode(errors="backslashreplace").decode()


def numbers(text: str) -> list[int]:
    """Numbers of exposures from ``14-18,20``. Raises BadConfig."""
    out: list[int] = []
    for word in filter(None, (w.strip() for w in text.split(","))):
        first, dash, last = word.partition("-")
        if not first.isdigit() or (dash and not last.isdigit()) or (dash and int(last) < int(first)) or len(word) > 40:
            raise BadConfig(f"--expid {text}: {word!r} is no number and no range of numbers; write 14-18,20")
        if int(last or first) - int(first) > 10_000:
            raise BadConfig(f"--expid {text}: {word} are more exposures than any calibration is made from")
        out += range(int(first), int(last or first) + 1)
    if not out:
        raise BadConfig("--expid names no exposure; write 14-18,20")
    return list(dict.fromkeys(out))


def cameras_of(exposures: Exposures, wanted: Sequence[str]) -> list[str]:
    """The cameras to build: those that are named, else all that the files have. Raises BadConfig for one that no file has."""
    absent = [c for c in wanted if c not in exposures.by_camera]
    if absent or not exposures.by_camera:
        there = ", ".join(exposures.by_camera) or "none"
        why = "; ".join(f"{m.file}: {m.reasons[0]}" for m in exposures.unreadable[:3])
        raise BadConfig(f"no file has camera {', '.join(absent) or 'of this instrument'}; there are: {there}" + (f" ({why})" if why else ""))
    return list(wanted) or list(exposures.by_camera)
