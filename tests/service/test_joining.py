"""Frames and housekeeping joined by the daemon: in time, late, never, over a restart; and the flag of tests."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from bench_site import ByHand, by_hand, said
from session_site import SESSION, outcomes, record_of, session_site, take_zero, turn

from monitor.hk.during import ExposureReader
from quicklook.core.hkframes import ChannelDuring, ExposureHousekeeping
from quicklook.core.metrics import Coord
from quicklook.core.results import MetricResult, UnitVerdict
from quicklook.service.daemon import Daemon
from quicklook.service.journal.jobs import Job
from quicklook.service.sessions import testhk
from quicklook.service.site import Site, load_site

CONFIG = """
sources:
  cryo:
    plugin: text
    params: {path: "LOG", delimiter: comma, time: time, time_format: unix}
    silent_after_s: null
channels:
  - {name: ccd_temp, unit: degC, stale_after_s: 30}
limits:
  - name: cold
    channels: ccd_temp
    unit: degC
    performance: [-121, -119]
    persistence: {count: 2, of: 3, clear: 2}
    reason: Dark current holds at -120 degC alone.
    action: Wait until it has settled.
exposures:
  margin_s: 5
  channels:
    - {channels: ccd_temp, spoils: read_noise, why: Noise grows with temperature.}
"""


class Place:
    """A bench whose zeros begin at 20:MM:00, with a log of its cryostat that grows."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.log = folder, folder / "hk.csv"
        self.log.write_text("time,ccd_temp\n")
        (folder / "hk.yaml").write_text(CONFIG.replace("LOG", str(self.log)))

    def site(self, *, session: str = "", **housekeeping: Any) -> Site:
        settings = {"config": str(self.folder / "hk.yaml"), "every_s": 0.1, "wait_s": 90.0, **housekeeping}
        made = session_site(self.folder, session or SESSION, housekeeping=settings)
        if session:
            return made
        return load_site(None, options={k: getattr(made.file, k) for k in ("cameras", "raw", "out", "plots", "chains", "sinks")}
                         | {"instrument": str(self.folder / "bench.yaml"), "watch": made.file.watch.model_dump(), "housekeeping": settings,
                            "work": {"executor": "inline"}})  # fmt: skip

    def samples(self, minute: int, level: float = -120.0, seconds: int = 20) -> None:
        """A row a second about the zero that begins at this minute, from before it to after it."""
        start = datetime(2022, 1, 1, 20, minute, tzinfo=UTC).timestamp()
        with self.log.open("a") as file:
            file.writelines(f"{start + s - 10},{level + 0.01 * (s % 3)}\n" for s in range(seconds))


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(tmp_path)


@pytest.fixture
def daemons() -> Iterator[list[Daemon]]:
    started: list[Daemon] = []
    yield started
    for daemon in started:
        daemon.stop()


def begun(daemons: list[Daemon], site: Site) -> tuple[Daemon, ByHand]:
    daemon, hand = by_hand(site)
    daemons.append(daemon)
    return daemon, hand


def verdicts(daemon: Daemon) -> list[UnitVerdict]:
    return [UnitVerdict.model_validate(e.payload) for e in said(daemon, "unit_verdict")]


def looked_for(daemon: Daemon, job: Job) -> bool:
    """Whether the store was read for the exposure of a job."""
    wishes = daemon._closing._joining._wishes
    return any(key[0] == str(job.unit) and wish.found is not None for key, wish in list(wishes.items()))


def judged(daemon: Daemon, hand: ByHand, n: int, *, first_look: bool = True) -> None:
    """Wait for the camera of the next exposure and for the first look at its housekeeping, and say that it is in order."""
    turn(daemon, lambda: hand.jobs)
    job = hand.jobs[0]
    if first_look:
        turn(daemon, lambda: looked_for(daemon, job))
    hand.judge(job)
    hand.written(job)
    turn(daemon, lambda: len(verdicts(daemon)) >= n)


def metric(verdict: UnitVerdict, name: str) -> MetricResult:
    return next(m for q in verdict.qas if q.name == "housekeeping" for m in q.metrics if m.name == name)


def value(verdict: UnitVerdict, statistic: str) -> float | None:
    found = metric(verdict, "hk_temperature")
    at: list[Coord] = found.coords["statistic"]
    return found.values[at.index(statistic)]


def test_the_housekeeping_of_an_exposure_stands_in_its_verdict_and_in_events(place: Place, daemons: list[Daemon]) -> None:
    daemon, hand = begun(daemons, place.site())
    place.samples(1)
    take_zero(place.folder, 1)
    judged(daemon, hand, 1)
    (verdict,) = verdicts(daemon)
    assert verdict.status == "NORMAL"
    assert value(verdict, "mean") == pytest.approx(-119.99, abs=0.01)
    assert metric(verdict, "hk_invalid_fraction").values == [0.0]
    assert metric(verdict, "hk_out_of_range").status == "NORMAL"
    (event,) = [e for e in said(daemon, "qa") if e.payload["name"] == "housekeeping"]
    assert (event.part, event.unit) == (None, "20220101/00000001")
    turn(daemon, lambda: (place.folder / "out/live/exposures/20220101/00000001/verdict.json").is_file())


def test_a_channel_out_of_its_range_makes_it_a_warning_that_says_which_and_why(place: Place, daemons: list[Daemon]) -> None:
    daemon, hand = begun(daemons, place.site())
    place.samples(1, level=-110.0)
    take_zero(place.folder, 1)
    judged(daemon, hand, 1)
    (verdict,) = verdicts(daemon)
    assert verdict.status == "WARNING"
    assert any("ccd_temp" in r and "above -119" in r for r in verdict.reasons), verdict.reasons
    assert verdict.causes == []  # nothing was found that it could be the cause of


def test_what_comes_late_is_unknown_first_and_then_a_new_revision(place: Place, daemons: list[Daemon]) -> None:
    daemon, hand = begun(daemons, place.site(wait_s=0.3))
    take_zero(place.folder, 1)
    judged(daemon, hand, 1)
    (first,) = verdicts(daemon)
    assert (first.revision, first.status) == (0, "UNKNOWN")
    assert metric(first, "hk_invalid_fraction").values == [None]
    place.samples(1)
    turn(daemon, lambda: len(verdicts(daemon)) == 2)
    second = verdicts(daemon)[1]
    assert (second.revision, second.status) == (1, "NORMAL")
    assert value(second, "mean") == pytest.approx(-119.99, abs=0.01)
    for _ in range(30):
        daemon.step()
    assert len(verdicts(daemon)) == 2  # and that is the end of it


def test_one_that_is_lacking_is_waited_for_once(place: Place, daemons: list[Daemon]) -> None:
    daemon, hand = begun(daemons, place.site(wait_s=1.5))
    take_zero(place.folder, 1)
    turn(daemon, lambda: hand.jobs)
    began = time.monotonic()
    judged(daemon, hand, 1)
    assert time.monotonic() - began > 1.4
    daemon._closing._joining.wait_s = 1e9
    take_zero(place.folder, 2)
    judged(daemon, hand, 2)


def test_samples_that_come_while_the_daemon_is_away(place: Place, daemons: list[Daemon]) -> None:
    daemon, hand = begun(daemons, place.site(wait_s=0.1))
    take_zero(place.folder, 1)
    judged(daemon, hand, 1)
    daemons.remove(daemon)
    daemon.stop()
    place.samples(1)
    again, _ = begun(daemons, place.site(wait_s=0.1))
    turn(again, lambda: len(verdicts(again)) == 2)
    assert [(v.revision, str(v.status)) for v in verdicts(again)] == [(0, "UNKNOWN"), (1, "NORMAL")]


def test_a_person_who_has_changed_the_verdict_meanwhile_is_not_overruled(place: Place, daemons: list[Daemon]) -> None:
    daemon, hand = begun(daemons, place.site(wait_s=0.1))
    take_zero(place.folder, 1)
    judged(daemon, hand, 1)
    with daemon.journal.transaction() as connection:
        from quicklook.service.journal import jobs
        from quicklook.service.verdicts.concluding import conclude_anew

        row = jobs.latest_unit(connection, jobs.Unit(20220101, 1), "live")
        assert row is not None
        assert conclude_anew(connection, row, daemon.site.out)  # as an override, or a rerun, opens a revision
    turn(daemon, lambda: len(verdicts(daemon)) == 2)
    place.samples(1)
    turn(daemon, lambda: len(verdicts(daemon)) == 3)
    assert [v.revision for v in verdicts(daemon)] == [0, 1, 2]


def test_a_store_that_hangs_holds_no_verdict_back(place: Place, daemons: list[Daemon], monkeypatch: pytest.MonkeyPatch) -> None:
    free, plain = threading.Event(), ExposureReader.during

    def hanging(reader: ExposureReader, start: datetime | None, exptime_s: float) -> ExposureHousekeeping:
        free.wait(250)
        return plain(reader, start, exptime_s)

    monkeypatch.setattr(ExposureReader, "during", hanging)
    daemon, hand = begun(daemons, place.site(wait_s=0.3))
    place.samples(1)
    take_zero(place.folder, 1)
    judged(daemon, hand, 1, first_look=False)
    (first,) = verdicts(daemon)
    assert first.status == "UNKNOWN"
    assert any("not read within" in r for r in first.reasons), first.reasons
    free.set()
    turn(daemon, lambda: len(verdicts(daemon)) == 2)
    assert verdicts(daemon)[1].status == "NORMAL"


@pytest.mark.parametrize("break_it", [lambda r, *_: 1 / 0, lambda r, *_: ExposureHousekeeping(start=None, exptime_s=1.0, problem="no disk")])
def test_a_reader_that_fails_costs_its_own_qa_alone(
    place: Place, daemons: list[Daemon], monkeypatch: pytest.MonkeyPatch, break_it: Callable[..., Any]
) -> None:
    monkeypatch.setattr(ExposureReader, "during", break_it)
    daemon, hand = begun(daemons, place.site(wait_s=0.3))
    take_zero(place.folder, 1)
    judged(daemon, hand, 1)
    (verdict,) = verdicts(daemon)
    assert (verdict.status, verdict.parts) == ("UNKNOWN", {"a": "NORMAL"})


def test_without_housekeeping_nothing_is_said_of_it(place: Place, daemons: list[Daemon]) -> None:
    daemon, hand = begun(daemons, place.site(config=""))
    take_zero(place.folder, 1)
    judged(daemon, hand, 1, first_look=False)
    (verdict,) = verdicts(daemon)
    assert not [q for q in verdict.qas if q.name == "housekeeping"]


# ---- tests of a session


def hk_flag(place: Place, daemons: list[Daemon], **levels: float) -> dict[str, Any]:
    """What BIAS01 says, whose three zeros had these levels (by minute)."""
    daemon = Daemon(place.site(session=SESSION, wait_s=0.3))
    daemon.start()
    daemons.append(daemon)
    for n in (1, 2, 3):
        if f"m{n}" in levels:
            place.samples(n, levels[f"m{n}"])
    deadline = time.monotonic() + 60
    store = place.folder / "out/hk.sqlite"
    while levels and time.monotonic() < deadline and not (store.is_file() and _rows(store) >= 20 * len(levels)):
        time.sleep(0.05)
    for n in (1, 2, 3):
        take_zero(place.folder, n)
    outcomes(daemon)
    return record_of(daemon, "BIAS01")


def _rows(store: Path) -> int:
    from monitor.hk.store import HkStore

    reader = HkStore(store, writing=False)
    try:
        return len(reader.read(["ccd_temp"], 0, 1e12).get("ccd_temp", ((), ()))[0])
    finally:
        reader.close()


def test_hk_ool_is_raised_by_a_channel_out_of_its_limits(place: Place, daemons: list[Daemon]) -> None:
    record = hk_flag(place, daemons, m1=-120.0, m2=-110.0, m3=-120.0)
    (raised,) = [r for r in record["flags"]["raised"] if r["name"] == "HK_OOL"]
    assert "hk_out 1" in raised["why"]
    assert "ccd_temp" in raised["why"]
    assert "2" in raised["why"].split("exposure")[-1]


def test_hk_ool_is_clear_where_all_is_known(place: Place, daemons: list[Daemon]) -> None:
    assert "HK_OOL" in hk_flag(place, daemons, m1=-120.0, m2=-120.0, m3=-120.0)["flags"]["clear"]


def test_hk_ool_is_not_known_where_an_exposure_has_no_samples(place: Place, daemons: list[Daemon]) -> None:
    flags = hk_flag(place, daemons, m1=-120.0, m2=-120.0)["flags"]
    assert "HK_OOL" in flags["not_known"]
    assert "ccd_temp" in flags["why"]["HK_OOL"]


def test_an_exposure_whose_housekeeping_cannot_be_read_is_not_clear(monkeypatch: pytest.MonkeyPatch) -> None:
    sound = ChannelDuring(channel="ccd_temp", judged=True)
    joined = [ExposureHousekeeping(start=None, exptime_s=1.0, channels=(sound,)), ExposureHousekeeping(start=None, exptime_s=1.0, problem="broken")]
    monkeypatch.setattr(testhk, "joined_many", lambda place, exposures: joined[: len(exposures)])
    taken = [SimpleNamespace(tags={}, unit=f"20220101/0000010{i}") for i in (1, 2)]
    assert testhk.hk_facts(None, taken[:1]).numbers == {"hk_out": 0}  # type: ignore[arg-type]
    facts = testhk.hk_facts(None, taken)  # type: ignore[arg-type]
    assert (facts.numbers, list(facts.unknown)) == ({}, ["hk_out"])
