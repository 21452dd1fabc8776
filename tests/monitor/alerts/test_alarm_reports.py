"""Messages of alarms name the report, where there is one or will be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from monitor.alerts.model import Incident, Notice, NoticeKind
from monitor.alerts.reports import report_of
from monitor.alerts.text import Writer
from quicklook.core.severity import Severity
from quicklook.service.publishing.sinks import make_sink

OF_UNIT = {"unit": "20220101/00000102", "tag": "live"}
BOTH = ("exposures.html", "tests.pdf", "tests.html")
OF_TEST = {"run": "20260101T000000-ab12", "test": "BIAS01.2"}


def incident(facts: dict[str, str]) -> Incident:
    return Incident(key="k", rule="r", what="w", facts=facts, severity=Severity.ALARM, worst=Severity.ALARM, began=1, seen=1)


@pytest.mark.parametrize(
    ("facts", "place", "of", "switch"),
    [
        (OF_UNIT, "live/exposures/20220101/00000102/index.html", "exposures.html", {"pages": False}),
        (OF_TEST, "tests/20260101T000000-ab12/BIAS01.2/report-BIAS01.2.pdf", "tests.pdf", {"tests": ["png"]}),
    ],
)
def test_a_report_that_is_there_or_will_be(tmp_path: Path, facts: dict[str, str], place: str, of: str, switch: dict[str, Any]) -> None:
    assert report_of(incident(facts), tmp_path, made=()) == ""
    assert report_of(incident(facts), tmp_path, made=make_sink("reports", {}).reports) == f"{tmp_path / place} (being made)"
    without = make_sink("reports", switch).reports
    assert without
    assert of not in without
    assert report_of(incident(facts), tmp_path, made=without) == "", "the site does not want them"
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).touch()
    assert report_of(incident(facts), tmp_path, made=()) == str(tmp_path / place)


def test_the_report_of_a_test_as_html_alone_is_found(tmp_path: Path) -> None:
    page = tmp_path / "tests/20260101T000000-ab12/BIAS01.2/report-BIAS01.2.html"
    assert report_of(incident(OF_TEST), tmp_path, made=("tests.html",)) == f"{page} (being made)"
    page.parent.mkdir(parents=True)
    page.touch()
    assert report_of(incident(OF_TEST), tmp_path, made=BOTH) == str(page)


@pytest.mark.parametrize(
    "facts",
    [{}, {"unit": "x", "tag": "live"}, {**OF_UNIT, "tag": "../.."}, {**OF_TEST, "test": "../../etc/passwd"}, {"run": "", "test": "a"}, {"channel": "T"}],
)
def test_what_has_no_report_names_none(tmp_path: Path, facts: dict[str, str]) -> None:
    assert report_of(incident(facts), tmp_path, made=BOTH) == ""


def test_the_message_that_is_shipped_says_where(repo_root: Path) -> None:
    template = (repo_root / "configs/alerts/message.txt.jinja").read_text()
    notice = Notice(kind=NoticeKind.FIRING, incident=incident(OF_UNIT), channels=("a",))
    said = Writer(template, report=lambda _: "/out/index.html").write("a", [notice], 5).text
    assert "report      /out/index.html" in said
    assert "report" not in Writer(template).write("a", [notice], 5).text
