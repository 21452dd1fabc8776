"""How results look in a terminal. Every colour has its word beside it."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from quicklook.core.judge import number
from quicklook.core.results import MetricResult, PartResult, QAResult, StepResult
from quicklook.core.status import Status

STYLE = {Status.NORMAL: "green", Status.WARNING: "yellow", Status.ALARM: "bold red", Status.UNKNOWN: "bold magenta"}
MARK = {Status.NORMAL: "●", Status.WARNING: "▲", Status.ALARM: "■", Status.UNKNOWN: "?"}


def status_text(status: Status | None) -> Text:
    """Mark and word, coloured; a dash for what has no status."""
    return Text(f"{MARK[status]} {status}", style=STYLE[status]) if status else Text("–", style="dim")


def values_text(metric: MetricResult, most: int = 6) -> str:
    """``A 2.61  B 2.90 electron``; long ones as a range."""
    if metric.not_applicable:
        return f"does not apply: {metric.not_applicable}"
    if not metric.values:
        return "not measured"
    shown = ["not measured" if v is None else number(v) for v in metric.values]
    unit = f" {metric.unit}" if metric.unit else ""
    names = list(metric.coords)
    if len(names) == 1 and len(shown) <= most:
        coords = metric.coords[names[0]]
        return "  ".join(f"{c} {v}" for c, v in zip(coords, shown, strict=True)) + unit
    if len(shown) == 1:
        return shown[0] + unit
    known = [v for v in metric.values if v is not None]
    spread = f"{number(min(known))} to {number(max(known))}{unit}" if known else "not measured"
    return f"{spread} ({len(shown)} values)"


class LiveTable:
    """A table of steps and QAs that fills while a chain runs; an observer of the runner."""

    def __init__(self, title: str) -> None:
        self.title = title
        self._rows: list[tuple[str, str, str, Text]] = []

    def begins(self, step: str, qa: str = "") -> None:
        """Nothing is shown before it has ended."""

    def step(self, result: StepResult) -> None:
        """A step has ended."""
        note = Text(result.failure.message, style=STYLE[Status.UNKNOWN]) if result.failure else Text("")
        status = Text("failed", style=STYLE[Status.UNKNOWN]) if result.failure else Text("done", style="dim")
        if result.not_applicable:
            note, status = Text(f"does not apply: {result.not_applicable}"), Text("left out", style="dim")
        self._rows.append((result.name, f"{result.seconds:.3f}", note.plain, status))

    def qa(self, result: QAResult) -> None:
        """A QA has been judged."""
        if result.failure or result.not_applicable:
            why = result.failure.message if result.failure else f"does not apply: {result.not_applicable}"
            self._rows.append((f"  {result.name}", f"{result.seconds:.3f}", why, status_text(result.status)))
            return
        for i, metric in enumerate(result.metrics):
            seconds = f"{result.seconds:.3f}" if i == 0 else ""
            name = f"  {result.name}" if i == 0 else ""
            self._rows.append((name, seconds, f"{metric.name}: {values_text(metric)}", status_text(metric.status)))

    def __rich__(self) -> Table:
        # all as Text: names of files and values of headers may hold what looks like markup
        table = Table(title=Text(self.title), title_justify="left", title_style="bold", expand=False, pad_edge=False)
        table.add_column("step / QA", no_wrap=True)
        table.add_column("seconds", justify="right", no_wrap=True)
        table.add_column("measured")
        table.add_column("status", no_wrap=True)
        for row in self._rows:
            table.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
        return table


def reasons_block(reasons: Iterable[str], indent: str = "  ") -> str:
    """Reasons as wrapped lines."""
    return "\n".join(textwrap.fill(r, width=110, initial_indent=f"{indent}- ", subsequent_indent=f"{indent}  ") for r in reasons)


def show_verdict(console: Console, result: PartResult) -> None:
    """One line with the verdict, then its reasons and what to do."""
    line = Text.assemble(f"{result.night}/{result.expid:08d} {result.part}: ", status_text(result.status))
    line.append(f"   {result.measured} of {result.expected} QAs measured", style="dim")
    parts: list[Text] = [line]
    if result.reasons:
        parts.append(Text(reasons_block(result.reasons)))
    actions = dict.fromkeys(_what_next(result))
    if actions:
        parts.append(Text("  what to do:\n" + reasons_block(actions, "    ")))
    console.print(Group(*parts), soft_wrap=True)


def _what_next(result: PartResult) -> Iterator[str]:
    """What to do for the failed steps, then for the metrics that make the verdict; QAs that only did not run for a failed step say nothing."""
    yield from (s.failure.what_next for s in result.steps if s.failure)
    ran = [q for q in result.qas if q.failure is None or q.failure.error != "NotRun"]
    yield from (action for q in ran for m in q.metrics if m.status is result.status for action in _actions(m))


def _actions(metric: MetricResult) -> list[str]:
    if metric.status in (None, Status.NORMAL) or not metric.limits:
        return []
    index = metric.limit_of[metric.worst] if metric.worst is not None and metric.limit_of else 0
    return [metric.limits[index or 0].action]
