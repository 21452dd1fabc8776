"""What a message has besides: how a channel of housekeeping was before, and what has likely led to a bad frame."""

from __future__ import annotations

import time
from email.message import Message as Mail
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from servers import MailServer, text_of

from monitor.alerts.hktrend import hk_trend
from monitor.alerts.likely import likely_cause
from monitor.alerts.model import Incident
from monitor.alerts.sink import AlarmParams, Alarms
from monitor.alerts.trend import Trend, picture
from monitor.hk.store import HkStore
from quicklook.core.events import Event, Heartbeat, HkChanged, UnitDone, draft
from quicklook.core.housekeeping import Batch, HkChange, HkState
from quicklook.core.keys import Unit
from quicklook.core.results import Cause, Spoiled, UnitVerdict
from quicklook.core.severity import Severity
from quicklook.core.sink import SinkContext
from quicklook.core.status import Status

S = 1_000_000_000
NOW = 1_700_000_000.0
SENTENCE = (
    "likely: CCD_TEMP was 8 degC above its range (-132, limit warm -140 degC) all through the exposure; at the same time read_noise of r0 (ALARM)."
)


@pytest.fixture
def place(tmp_path: Path) -> tuple[str, Path]:
    """A configuration, and a store of ten hours with a sample a second: cold with an outlier of two, warm for the last minute."""
    config = {
        "sources": {"s": {"plugin": "text", "params": {"path": "none"}}},
        "channels": [{"name": "t", "unit": "degC", "plausible": [-200, 100]}],
        "limits": [
            {"name": "cold", "channels": "t", "unit": "degC", "performance": [-125, -115], "survival": [-133, 35], "reason": "R.", "action": "A."}
        ],
    }
    (tmp_path / "hk.yaml").write_text(yaml.safe_dump(config))
    times = NOW - np.arange(36_000)[::-1]
    values = np.where(times > NOW - 60, 60.0, -120.0)
    values[20_000], values[20_500], values[21_000] = -119.0, -121.5, 1e20
    store = HkStore(tmp_path / "hk.sqlite", writing=True)
    store.append("s", [Batch(source="s", times=times, channels=("t", "other"), values=np.column_stack([values, values]))], {})
    words = {"word": ["on"] * 10}
    store.append("s", [Batch(source="s", times=times[-10:], channels=(), values=np.empty((10, 0)), texts=words)], {})
    store.close()
    return str(tmp_path / "hk.yaml"), tmp_path / "hk.sqlite"


def incident(channel: str = "t", since: str = "2023-11-14T22:12:21+00:00", **more: Any) -> Incident:
    facts = {"channel": channel, "since": since}
    return Incident(key="hk/x", rule="hk", facts=facts, severity=Severity.ALARM, worst=Severity.ALARM, began=int(NOW * S), seen=int(NOW * S), **more)


def test_a_channel_has_its_last_hours_with_the_ranges_of_its_limits(place: tuple[str, Path]) -> None:
    trend = hk_trend(incident(), place[0], str(place[1]))
    assert trend is not None
    assert trend.words == "-121.5 to -119 in the 6 h before -> 60 degC", "no extreme is lost, and no fill value is there"
    assert (trend.normal, trend.warning) == ((-125.0, -115.0), (-133.0, 35.0))
    assert len(trend.times) < 250
    assert list(trend.times) == sorted(trend.times)
    assert set(trend.values[trend.before :]) == {60.0}
    assert picture(trend, incident()).startswith(b"\x89PNG")
    again = Trend.model_validate_json(trend.model_dump_json())
    assert again == trend, "it is kept with its message"


def test_what_is_stale_ends_with_its_last_value(place: tuple[str, Path]) -> None:
    late = incident(since="2023-11-14T22:13:20+00:00").model_copy(update={"told_at": int((NOW + 7200) * S)})
    trend = hk_trend(late, place[0], str(place[1]))
    assert trend is not None
    assert trend.words.endswith("in the 4 h before -> 60 degC")
    assert hk_trend(late.model_copy(update={"told_at": int((NOW + 90_000) * S)}), place[0], str(place[1])) is None


@pytest.mark.parametrize("facts", [{}, {"channel": "unknown"}, {"channel": "word"}, {"channel": "t", "since": "no time"}, {"channel": "x*"}])
def test_where_there_is_nothing_to_show_there_is_none(place: tuple[str, Path], facts: dict[str, str]) -> None:
    known = facts.get("channel") == "t"
    bare = incident().model_copy(update={"facts": facts})
    assert (hk_trend(bare, place[0], str(place[1])) is not None) == known
    assert hk_trend(incident(), "", "") is None
    assert hk_trend(incident(), place[0], str(place[1].with_name("gone"))) is None


def test_few_samples_are_drawn_with_and_without_limits(tmp_path: Path) -> None:
    for normal in ((None, None), (0.0, None)):
        trend = Trend(metric="t", unit="", times=(NOW, NOW + 1), values=(1.0, 1.0), before=0, normal=normal)
        assert trend.words == "1 to 1 in the last 1 s -> 1"
        assert picture(trend, incident()).startswith(b"\x89PNG")


def verdict(*spoiled: tuple[str, str]) -> UnitVerdict:
    cause = Cause(
        channel="CCD_TEMP", limit="warm", overlap=1.0, sentence=SENTENCE,
        spoiled=[Spoiled(part=p, qa=m, metric=m, status=Status.ALARM) for p, m in spoiled],
    )  # fmt: skip
    return UnitVerdict.model_construct(causes=[cause], night=20231114, expid=1)


class Kept:
    """A history of one verdict, or of one that cannot be read."""

    def __init__(self, found: UnitVerdict | Exception) -> None:
        self.found = found

    def verdicts(self, _wanted: object) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        yield self.found


def test_a_camera_has_the_cause_of_its_own_metric_alone() -> None:
    facts = {"unit": "20231114/1", "part": "r0", "metric": "read_noise"}
    bad = incident().model_copy(update={"facts": facts})
    assert likely_cause(bad, Kept(verdict(("b0", "x"), ("r0", "read_noise"))), "live") == SENTENCE  # type: ignore[arg-type]
    assert likely_cause(bad, Kept(verdict(("b0", "read_noise"))), "live") == ""  # type: ignore[arg-type]
    assert likely_cause(bad, Kept(OSError("the disk")), "live") == ""  # type: ignore[arg-type]
    odd = bad.model_copy(update={"facts": {**facts, "unit": "no unit"}})
    assert likely_cause(odd, Kept(verdict(("r0", "read_noise"))), "live") == ""  # type: ignore[arg-type]


def test_messages_have_the_trend_of_a_channel_and_the_cause_of_an_exposure(tmp_path: Path, place: tuple[str, Path]) -> None:
    with MailServer() as mail:
        sink = Alarms(AlarmParams.model_validate({"channels": {"mail": {"url": mail.url}}, "routes": {"ALARM": ["mail"], "WARNING": ["mail"]}}))
        sink.check()
        sink.open(SinkContext(out=str(tmp_path), epoch="e", hk_config=place[0], hk_store=str(place[1])))
        change = HkChange(
            subject="t/cold", channel="t", limit="cold", kind="absolute", state=HkState.VIOLATING, before=HkState.NORMAL, severity=Severity.ALARM,
            time=NOW, since=NOW - 59, direction="high", level="survival", value=60.0, bound=35.0, unit="degC", reason="R.", action="A.",
        )  # fmt: skip
        done = UnitDone(
            night=20231114, expid=1, tag="live", revision=0, status=Status.ALARM, reasons=["bad"], parts={}, causes=verdict(("r0", "x")).causes
        )
        payloads = [(HkChanged(changes=[change]), None), (done, Unit(20231114, 1))]
        beats: list[tuple[Any, Unit | None]] = [(Heartbeat(waiting=0, running=0, done=0, failed=0), None)] * 3
        for seq, (payload, unit) in enumerate([*payloads, *beats], 1):
            made = draft(payload, unit=unit)
            sink.accept(Event(**made.model_dump(), epoch="e", seq=seq, time=int(NOW * S) + seq * 5 * S))
        end = time.monotonic() + 60
        while len(mail.got) < 2 and time.monotonic() < end:
            time.sleep(0.05)
        sink.close()
    said = {str(m["Subject"]): m for m in mail.got}
    hk, frame = (next(m for subject, m in said.items() if word in subject) for word in ("t cold", "exposure"))
    assert "trend       -121.5 to -119 in the 6 h before -> 60 degC" in body(hk)
    assert [p.get_content_type() for p in hk.walk()].count("image/png") == 1
    assert f"cause       {SENTENCE}" in body(frame)


def body(mail: Mail) -> str:
    return text_of(next(p for p in mail.walk() if p.get_content_type() == "text/plain"))
