"""A test of a session that is worked on: what it needs, and what its sub-tasks have found so far."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from quicklook.core.chain import Chain
from quicklook.core.errors import NotReadyYet
from quicklook.core.flags import Flags, Found
from quicklook.core.history import Selection
from quicklook.core.keys import Unit
from quicklook.core.metrics import MetricDef
from quicklook.core.results import MetricResult, PartResult
from quicklook.core.series import AnalysisFile
from quicklook.core.session import SessionFile, SessionTest, SubTask
from quicklook.core.status import Status
from quicklook.io.history import FileHistory
from quicklook.service.sessions.testruns import SubTaskDone, Taken
from quicklook.service.workers.processing import Recipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """All that is needed to work on a test; can be pickled.

    `recipe` is that of the daemon, with the builders by the name of the analysis; `chains` are those of the test by flavor (none: the results of the
    daemon are taken); `metrics` are the declared ones. `earlier` are folders of the same test, the latest first, of which the state of what is
    switched off is taken.
    """

    run: str
    name: str
    repetition: int
    session: SessionFile
    test: SessionTest
    taken: tuple[Taken, ...]
    aborted: tuple[str, ...]
    strays: Mapping[str, str]
    extra: tuple[str, ...]
    timed_out: bool
    todo: tuple[SubTask, ...]
    recipe: Recipe
    chains: Mapping[str, Chain]
    analyses: Mapping[str, AnalysisFile]
    metrics: Mapping[str, MetricDef]
    flags: Flags
    cameras: tuple[str, ...]
    folder: Path
    earlier: tuple[Path, ...] = ()

    @property
    def units(self) -> list[str]:
        """Its exposures, ``night/expid``."""
        return [t.unit for t in self.taken]

    @property
    def of(self) -> dict[str, Any]:
        """What the state of a sub-task is of: the tag under which the exposures were processed, and the exposures."""
        return {"tag": self.recipe.tag, "exposures": self.units}


@dataclass(slots=True)
class Testing:
    """One test that is worked on, and the sub-tasks that are over."""

    work: Work
    states: dict[SubTask, SubTaskDone] = field(default_factory=dict)

    def data(self, sub: SubTask) -> dict[str, Any]:
        """What a sub-task before has found. Raises NotReadyYet where it has not."""
        state = self.states[sub]
        if state.state not in ("done", "reused"):
            why = f"it failed: {state.failure.message}" if state.failure else "it is switched off and was never done"
            raise NotReadyYet(f"{self.work.name} needs what {sub} finds, and {why}", what_next=f"Switch {sub} on (`todo`), or mend what it says.")
        return state.data

    @property
    def taken(self) -> list[Taken]:
        """The exposures, as `init` has found them."""
        return [Taken.model_validate(t) for t in self.data(SubTask.INIT)["exposures"]]

    def results(self, tag: str, metrics: Collection[str] = ()) -> dict[str, list[Digest]]:
        """The merged QAs of the exposures under a tag, by exposure, with the values of these metrics: read one by one, they may be thousands."""
        units, seen = frozenset(Unit.parse(t.unit) for t in self.taken), set[str]()
        out: dict[str, list[Digest]] = {}
        for result in FileHistory(self.work.recipe.out).results(Selection(tag=tag, units=units, newest_first=False)) if units else ():
            out.setdefault(str(Unit(result.night, result.expid)), []).append(_digest(result, metrics, seen))
        return out


@dataclass(frozen=True, slots=True, kw_only=True)
class Digest:
    """What is kept of the merged QA of a camera: what is not NORMAL (of each metric the first that is, too), and some metrics whole."""

    part: str
    status: Status
    tags: Mapping[str, str]
    found: tuple[Found, ...]
    metrics: Mapping[str, MetricResult]


def judged(result: PartResult) -> Iterator[Found]:
    """Its judged metrics, those that are NORMAL too: a flag is clear only where something was measured."""
    for metric in (m for qa in result.qas for m in qa.metrics if m.status is not None):
        yield Found(metric=metric.name, where=f"{result.expid} {result.part}", status=metric.status, reason=metric.reason)


def _digest(result: PartResult, metrics: Collection[str], seen: set[str]) -> Digest:
    telling = []
    for found in judged(result):
        if found.status is not Status.NORMAL or found.metric not in seen:
            telling.append(found)
        if found.status is Status.NORMAL:
            seen.add(found.metric)
    named = {m.name: m for qa in result.qas for m in qa.metrics if m.name in metrics}
    return Digest(part=result.part, status=result.status, tags=result.tags, found=tuple(telling), metrics=named)
