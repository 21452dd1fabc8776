"""How a run of aim mode is shown: a bar while it goes, and a summary."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bar
from rich.text import Text

from quicklook.cli.past import counted
from quicklook.core.status import Status

if TYPE_CHECKING:
    from quicklook.core.keys import PartKey
    from quicklook.core.results import Failure, UnitVerdict
    from quicklook.service.rerun.aim import Summary
    from quicklook.service.rerun.aimplan import Plan

_SHOWN = 10


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


def show_summary(console: Console, summary: Summary, plan: Plan, out: Path, other: str = "") -> None:
    """Verdicts, failures, seconds, and what comes next; `other` is a tag to compare with."""

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
            say(f"    {key}: {failure.message} {failure.what_next}")
    if summary.stopped:
        say(f"stopped: {summary.stopped}")
        say(f"  go on: quicklook aim --resume --tag {plan.tag}")
    else:
        say(f"  results: {out / plan.tag}" + (f"; compare them: quicklook diff {other} {plan.tag}" if other else ""))
