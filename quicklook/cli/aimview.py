"""How a run of aim mode is shown: what is to be done, a bar while it goes, and a summary."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Self

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from quicklook.cli.past import counted
from quicklook.core.status import Status

if TYPE_CHECKING:
    from quicklook.core.keys import PartKey, Unit
    from quicklook.core.results import Failure, UnitVerdict
    from quicklook.service.rerun.aim import Summary
    from quicklook.service.rerun.aimplan import Existing, Plan
    from quicklook.service.rerun.choosing import Choice
    from quicklook.service.rerun.processings import Processing
    from quicklook.service.site import Site

_SHOWN = 10
_LISTED = 20


def sayer(console: Console) -> Callable[[str], None]:
    """Prints a line as it is: names may hold what looks like markup, or no text at all."""

    def say(text: str) -> None:
        console.print(text.encode(errors="backslashreplace").decode(), markup=False, highlight=False, soft_wrap=True)

    return say


def announce(console: Console, plan: Plan, choice: Choice, existing: Existing, site: Site, *, skip_existing: bool, dry: bool) -> None:
    """What is to be done, counts first; the exposures one by one where that is all."""
    say = sayer(console)
    nights = len({u.key.night for u in plan.units})
    counts = f"{counted(len(plan.units), 'exposure')}, {counted(plan.cameras, 'camera')} of {counted(nights, 'night')}"
    say(f"{counts} -> tag {plan.tag} in {site.out}")
    for flavor, n in sorted(Counter(u.flavor for u in plan.units).items()):
        say(f"  {n:6d}  {flavor or 'flavor unknown'}: chain {site.chain_name(flavor)}")
    mode = plan.mode
    if mode.from_step or mode.only_qa:
        say(f"          {f'from step {mode.from_step} on' if mode.from_step else 'QA ' + ', '.join(mode.only_qa)}, products of tag {mode.source}")
    for line in _left_out(choice, existing, skip_existing=skip_existing, steps=bool(mode.from_step)):
        say(line)
    if dry:
        for unit in plan.units[:_LISTED]:
            taken = f"  (with {' '.join(unit.kept)} as they are)" if unit.kept else ""
            say(f"{unit.unit}  {unit.flavor:8s} revision {unit.revision}  {' '.join(unit.cameras)}{taken}")
        if len(plan.units) > _LISTED:
            say(f"and {len(plan.units) - _LISTED} more")


def _left_out(choice: Choice, existing: Existing, *, skip_existing: bool, steps: bool) -> Iterable[str]:
    if not choice.exposures:
        files = counted(choice.looked_at, "file")
        yield f"          nothing is chosen: {files} of these nights and numbers {'was' if choice.looked_at == 1 else 'were'} looked at"
    if existing.unfit:
        yield f"  {existing.unfit:6d}  left out (exposures): their chain has no such {'step' if steps else 'QA'}"
    if existing.cameras and skip_existing:
        yield f"  {existing.cameras:6d}  cameras left out: they have results under the tag"
    elif existing.cameras:
        yield f"  {existing.cameras:6d}  cameras have results under the tag: those are kept as earlier revisions (--skip-existing leaves them out)"
    if choice.unreadable:
        yield f"  {len(choice.unreadable):6d}  files cannot be read:"
        yield from (f"          {path.name}: {why}" for path, why in list(choice.unreadable.items())[:_LISTED])
    if choice.doubles:
        yield f"  {len(choice.doubles):6d}  files left out: another one has the same camera of the same exposure, such as {choice.doubles[0]}"


def list_processings(console: Console, out: Path, units: Sequence[tuple[Unit, str]], live: str, *, as_json: bool = False) -> int:
    """The processings of exposures (with their flavors), the last one first; 3 where there is no exposure."""
    from quicklook.service.rerun.processings import processings

    found = [(str(unit), flavor, processings(out, unit, live=live)) for unit, flavor in units]
    if as_json:
        lists = [{"exposure": unit, "flavor": flavor, "processings": [_data(p) for p in each]} for unit, flavor, each in found]
        typer.echo(json.dumps(lists, indent=1))
    for unit, flavor, each in () if as_json else found:
        sayer(console)(f"{unit}  {flavor}: {counted(len(each), 'processing')}")
        for p in each:
            when = datetime.fromtimestamp(p.time_ns / 1e9, UTC).strftime("%Y-%m-%d %H:%M:%S")
            marks = " ".join(m for m, on in (("default", p.default), ("last", p.last)) if on)
            sayer(console)(f"    {p.tag}@{p.revision}  {p.status}  {counted(len(p.parts), 'camera')}  {when}  {marks}".rstrip())
    return 0 if found else 3


def _data(p: Processing) -> dict[str, object]:
    times = {"time_ns": p.time_ns, "default": p.default, "last": p.last}
    return {"tag": p.tag, "revision": p.revision, "status": p.status, "cameras": list(p.parts), **times}


class Progress:
    """A bar over the cameras, on the error output; tells of every exposure that is no longer NORMAL, and of failures, as they come."""

    def __init__(self, cameras: int, exposures: int, *, quiet: bool = False) -> None:
        self._console = Console(stderr=True)
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TextColumn("cameras"), TimeRemainingColumn())
        self._bar = Bar(*columns, console=self._console, disable=quiet or not self._console.is_terminal, transient=True)
        self._task = self._bar.add_task(f"0 of {exposures} exposures", total=cameras)
        self._exposures, self._done = exposures, 0

    def __enter__(self) -> Self:
        self._bar.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._bar.stop()

    def part(self, key: PartKey, status: Status | None, failure: Failure | None) -> None:
        """A camera is done, or failed."""
        self._bar.advance(self._task)
        if failure is not None:
            self._console.print(Text(f"{key} failed: {failure.message}", style="magenta"), soft_wrap=True)
        elif status is Status.ALARM:
            self._console.print(Text(f"{key}: ALARM", style="red"), soft_wrap=True)

    def unit(self, verdict: UnitVerdict) -> None:
        """An exposure has its verdict."""
        del verdict
        self._done += 1
        self._bar.update(self._task, description=f"{self._done} of {self._exposures} exposures")


def show_summary(console: Console, summary: Summary, plan: Plan, out: Path, other: str, goes_on: str) -> None:
    """Verdicts, failures, seconds, and what comes next; `other` is a tag to compare with, `goes_on` the command for a run that was stopped."""

    def say(text: str) -> None:
        console.print(Text(text), soft_wrap=True)

    rate = summary.seconds / len(summary.parts) if summary.parts else 0.0
    say(f"{counted(len(summary.units), 'exposure')}, {counted(len(summary.parts), 'camera')} in {summary.seconds:.1f} s ({rate:.2f} s a camera)")
    for what, statuses in (("exposures", summary.units), ("cameras", summary.parts)):
        counts = Counter(statuses.values())
        worst_first = sorted(counts, key=lambda s: -s.severity)
        if counts:
            say(f"  {what}: {', '.join(f'{counts[s]} {s}' for s in worst_first)}")
    if summary.failures:
        say(f"  {counted(len(summary.failures), 'camera')} failed:")
        for key, failure in list(summary.failures.items())[:_SHOWN]:
            say(f"    {key}: {failure.message}{f' -> {failure.what_next}' if failure.what_next else ''}")
    if summary.stopped:
        say(f"stopped: {summary.stopped}")
        say(f"  go on: {goes_on}")
    else:
        say(f"  results: {out / plan.tag}" + (f"; compare them: quicklook diff {other} {plan.tag}" if other else ""))
