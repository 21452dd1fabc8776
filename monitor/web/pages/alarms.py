"""Page Alarms: what stands, what is muted, what has been, and how good the alarms are."""

from __future__ import annotations

from pydantic import Field

from monitor.web.routing import Page, Route
from quicklook.core.alarms import ReportCard
from quicklook.core.hosting import AlarmsNow, Host
from quicklook.core.results import Record


class AlarmsAsk(Record):
    """So many of the last incidents."""

    past: int = Field(200, ge=0, le=5000)


def alarms(host: Host, ask: AlarmsAsk) -> AlarmsNow:
    """Alarms, mutes, incidents."""
    return host.alarms(ask.past)


class ReportAsk(Record):
    """The last so many days."""

    days: float = Field(30.0, ge=0.01, le=36_500, allow_inf_nan=False)


def report(host: Host, ask: ReportAsk) -> ReportCard:
    """The report card."""
    return host.alarm_report(ask.days)


PAGE = Page(
    name="alarms", title="Alarms", path="/alarms", key="a", template="alarms.html",
    routes=(
        Route("GET", "/alarms", alarms, "Alarms and mutes that stand, and the last incidents", shared=True),
        Route("GET", "/alarms/report", report, "Report card: how many, useful or noise, how soon acknowledged", name="alarm_report", shared=True),
    ),
)  # fmt: skip
