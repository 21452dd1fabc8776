"""What a verdict looks like in the terminal."""

from __future__ import annotations

import io

from rich.console import Console

from quicklook.cli.view import show_verdict
from quicklook.core.errors import BadData
from quicklook.core.results import Failure, LimitUsed, MetricResult, PartResult, Provenance, QAResult, StepResult
from quicklook.core.status import Status


def shown(failed: bool) -> str:
    error = BadData("too few", what_next="Take more exposures.")
    not_run = Failure(error="NotRun", message="step members failed: too few", what_next="See the step that failed.")
    limit = LimitUsed(normal=(0.0, 1.0), warning=(0.0, 2.0), action="Have the clocking looked at.")
    metric = MetricResult(name="noise", unit="", values=[None], status=Status.UNKNOWN, statuses=[Status.UNKNOWN], limits=[limit], limit_of=[0], worst=0)
    qa = QAResult(
        name="structure", step="members", group="", status=Status.UNKNOWN, seconds=0.0, metrics=[metric], failure=not_run if failed else None
    )
    step = StepResult(name="members", algorithm="read", seconds=0.0, failure=Failure.of(error) if failed else None)
    result = PartResult(
        night=20220101, expid=1, part="a", tag="live", revision=0, tags={}, status=Status.UNKNOWN, reasons=["UNKNOWN: step members failed: too few"],
        measured=0, expected=1, steps=[step], qas=[qa], provenance=Provenance(versions={}, chain="c", config_sha256="", limits_sha256=""),
    )  # fmt: skip
    console = Console(file=io.StringIO(), width=120)
    show_verdict(console, result)
    return str(console.file.getvalue())  # type: ignore[attr-defined]


def test_of_a_failed_step_its_own_action_is_shown_alone() -> None:
    text = shown(failed=True)
    assert "- Take more exposures." in text
    assert "clocking" not in text


def test_of_a_metric_that_was_not_measured_the_action_is_shown() -> None:
    text = shown(failed=False)
    assert "- Have the clocking looked at." in text
    assert "Take more" not in text
