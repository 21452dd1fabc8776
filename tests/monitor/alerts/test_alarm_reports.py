"""Messages of alarms name the report, where there is one or will be."""

from __future__ import annotations

from pathlib import Path

import pytest

from monitor.alerts.model import Incident, Notice, NoticeKind
from monitor.alerts.reports import report_of
from monitor.alerts.text import Writer
from quicklook.core.severity import Severity

OF_UNIT = {"unit": "20220101/00000102", "tag": "live"}
OF_TEST = {"run": "20260101T000000-ab12", "test": "BIAS01.2"}


def incident(facts: dict[str, str]) -> Incident:
    return Incident(key="k", rule="r", what="w", facts=facts, severity=Severity.ALARM, worst=Severity.ALARM, began=1, seen=1)


@pytest.mark.parametrize(
    ("facts", "place"),
    [
        (OF_UNIT, "live/exposures/20220101/00000102/index.html"),
        (OF_TEST, "tests/20260101T000000-ab12/BIAS01.2/report-BIAS01.2.pdf"),
    ],
)
def test_a_report_that_is_there_or_will_be(tmp_path: Path, facts: dict[str, str], place: str) -> None:
    assert report_of(incident(facts), tmp_path, made=False) == ""
    assert report_of(incident(facts), tmp_path, made=True) == f"{tmp_path / place} (being made)"
    (tmp_path / place).parent.mkdir(parents=True)
    (tmp_path / place).touch()
    assert report_of(incident(facts), tmp_path, made=False) == str(tmp_path / place)


def test_the_report_of_a_test_as_html_alone_is_found(tmp_path: Path) -> None:
    page = tmp_path / "tests/20260101T000000-ab12/BIAS01.2/report-BIAS01.2.html"
    page.parent.mkdir(parents=True)
    page.touch()
    assert report_of(incident(OF_TEST), tmp_path, made=True) == str(page)


@pytest.mark.parametrize(
    "facts",
    [{}, {"unit": "x", "tag": "live"}, {**OF_UNIT, "tag": "../.."}, {**OF_TEST, "test": "../../etc/passwd"}, {"run": "", "test": "a"}, {"channel": "T"}],
)
def test_what_has_no_report_names_none(tmp_path: Path, facts: dict[str, str]) -> None:
    assert report_of(incident(facts), tmp_path, made=True) == ""


def test_the_message_that_is_shipped_says_where(repo_root: Path) -> None:
    template = (repo_root / "configs/alerts/message.txt.jinja").read_text()
    notice = Notice(kind=NoticeKind.FIRING, incident=incident(OF_UNIT), channels=("a",))
    said = Writer(template, report=lambda _: "/out/index.html").write("a", [notice], 5).text
    assert "report      /out/index.html" in said
    assert "report" not in Writer(template).write("a", [notice], 5).text
