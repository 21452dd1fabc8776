"""The sink `metrics` behind a journal: all is stored, once, in order, though the database goes away or the daemon dies."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pgserver import PgServer

from monitor.stores.metrics import MetricSink
from monitor.web.pages.trends_history import Wanted, metric_history
from quicklook.core.errors import BadConfig, Transient
from quicklook.core.events import Draft, Heartbeat, PartVerdict, QADone, Seen, SinkGaveUp, draft
from quicklook.core.keys import Unit
from quicklook.core.results import MetricResult
from quicklook.core.sink import SinkContext
from quicklook.core.status import Status
from quicklook.io.metricstore import MetricStore, store_path
from quicklook.io.metricstore.place import StoreParams
from quicklook.service.hosting.host import JournalHost
from quicklook.service.journal.journal import Journal
from quicklook.service.publishing import sinks
from quicklook.service.publishing.sinks import Feeder, SinkThread
from quicklook.service.publishing.vitals import Vitals
from quicklook.service.rerun.restoring import restore
from quicklook.service.settings import SiteFile
from quicklook.service.site import load_site

AMPS = ["A", "B", "C", "D"]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    made = Journal(tmp_path / "journal.sqlite", time.time_ns)
    yield made
    made.close()


@pytest.fixture(scope="module")
def server() -> Iterator[PgServer]:
    made = PgServer()
    yield made
    made.close()


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sinks, "_PAUSES_S", (0.05, 0.2))


def told(expid: int, camera: str = "r0", revision: int = 0) -> list[Draft]:
    unit = Unit(20220101, expid)
    noise = MetricResult(name="read_noise", unit="electron", coords={"amp": list(AMPS)}, values=[float(expid)] * 4, status=None, statuses=[None] * 4)
    qa = QADone(name="read_noise", step="read", group="CCDs", status=None, seconds=0.1, metrics=[noise])
    verdict = PartVerdict(status=Status.NORMAL, reasons=[], measured=1, expected=1, seconds=1.0)
    seen = Seen(file="f", size=1, parts=[camera], tags={"flavor": "zero", "start": "2022-01-02T00:00:00+00:00"})
    first = [draft(seen, unit=unit)]
    return [*first, draft(qa, unit=unit, part=camera, revision=revision), draft(verdict, unit=unit, part=camera, revision=revision)]


def wait_for(condition: Callable[[], Any], timeout_s: float = 120.0) -> None:
    end = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.02)


def context_of(journal: Journal, out: Path) -> SinkContext:
    return SinkContext(out=str(out), epoch=journal.epoch)


class Watched(MetricSink):
    """Counts how often it could not write."""

    failed = 0

    def flush(self) -> Sequence[Draft]:
        try:
            return super().flush()
        except Transient:
            self.failed += 1
            raise


def run_to_end(journal: Journal, sink: MetricSink, out: Path) -> None:
    thread = SinkThread(journal, sink, context_of(journal, out))
    wait_for(lambda: journal.position("metrics") == journal.last_seq())
    thread.stop(60)


def test_a_site_has_it_unless_it_says_otherwise(journal: Journal, tmp_path: Path) -> None:
    assert "metrics" in SiteFile(instrument="desi").sinks
    for expid in range(5):
        journal.append(told(expid))
    run_to_end(journal, MetricSink(), tmp_path)
    with MetricStore(store_path(tmp_path)) as store:
        assert store.query("read_noise where amp = A")["value"].tolist() == [0.0, 1.0, 2.0, 3.0, 4.0]
        assert store.query("verdicts")["status"].tolist() == ["NORMAL"] * 5


@pytest.mark.parametrize(
    ("how", "away_s"), [(signal.SIGINT, 0.5), (signal.SIGQUIT, 0.5), pytest.param(signal.SIGQUIT, 60.0, marks=pytest.mark.long)]
)
def test_a_server_that_goes_away_and_comes_back_has_all_of_it(journal: Journal, tmp_path: Path, server: PgServer, how: signal.Signals, away_s: float) -> None:
    server.empty()
    sink = Watched(StoreParams(url=server.url))
    thread = SinkThread(journal, sink, context_of(journal, tmp_path))
    for expid in range(10):
        journal.append(told(expid))
    wait_for(lambda: journal.position("metrics") == journal.last_seq())
    began = threading.Event()

    def night() -> None:  # goes on whatever the database does
        for expid in range(10, 60):
            journal.append(told(expid))
            began.set()
            time.sleep(0.01)

    writer = threading.Thread(target=night)
    writer.start()
    assert began.wait(60)
    server.stop(how)
    writer.join(120)
    assert not writer.is_alive(), "nobody waits for it"
    journal.append(told(60))
    failed = sink.failed
    wait_for(lambda: sink.failed > failed)  # it knows that the server is away: what was stored before is remembered
    held = journal.position("metrics")
    assert held < journal.last_seq()
    time.sleep(away_s)
    assert journal.position("metrics") == held
    server.start()
    wait_for(lambda: journal.position("metrics") == journal.last_seq())
    thread.stop(60)
    with MetricStore(server.url) as store:
        assert store.query("read_noise where amp = D")["expid"].tolist() == list(range(61))
        assert store.query("verdicts")["expid"].tolist() == list(range(61))


def test_a_server_that_is_away_at_the_start_is_waited_for(journal: Journal, tmp_path: Path, server: PgServer) -> None:
    server.empty()
    server.stop()
    journal.append(told(1))
    thread = SinkThread(journal, MetricSink(StoreParams(url=server.url)), context_of(journal, tmp_path))
    thread.ready(0.3)  # a daemon starts all the same
    assert journal.position("metrics") == 0
    server.start()
    wait_for(lambda: journal.position("metrics") == journal.last_seq())
    thread.stop(60)


def test_what_was_stored_and_not_remembered_is_stored_once(journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for expid in range(4):
        journal.append(told(expid))
    first = Feeder(journal, MetricSink(), context_of(journal, tmp_path), threading.Event())
    assert first.open()
    with monkeypatch.context() as patch:
        patch.setattr(journal, "advance", lambda *_args: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            first.feed()
    first.sink.close()
    assert journal.position("metrics") == 0, "it died before it could remember"
    run_to_end(journal, MetricSink(), tmp_path)
    with MetricStore(store_path(tmp_path)) as store:
        assert store.query("read_noise where amp = A")["expid"].tolist() == [0, 1, 2, 3]


def test_what_is_gathered_and_not_written_comes_again(journal: Journal, tmp_path: Path) -> None:
    sink = MetricSink()
    sink.open(context_of(journal, tmp_path))
    for event in journal.append(told(1)):
        assert sink.accept(event) == []
    sink.close()  # as if it was killed
    run_to_end(journal, sink, tmp_path)
    with MetricStore(store_path(tmp_path)) as store:
        assert len(store.query("read_noise")) == 4


def test_an_event_that_cannot_be_stored_is_told_and_the_others_are_there(journal: Journal, tmp_path: Path) -> None:
    journal.append(told(1))
    broken = told(2)[1].model_copy(update={"payload": {"metrics": [{"name": "x"}]}})
    journal.append([broken])
    journal.append(told(3))
    run_to_end(journal, MetricSink(), tmp_path)
    wait_for(lambda: journal.position("metrics") == journal.last_seq())
    gave_up = journal.events(kinds=[SinkGaveUp.kind])
    assert [(e.payload["name"], e.payload["seq"], e.unit) for e in gave_up] == [("metrics", 4, "20220101/00000002")]
    with MetricStore(store_path(tmp_path)) as store:
        assert store.query("read_noise where amp = A")["expid"].tolist() == [1, 3]


def test_a_store_that_cannot_be_used_hinders_no_start_and_is_taken_when_it_is_mended(journal: Journal, tmp_path: Path) -> None:
    path = store_path(tmp_path)
    path.write_bytes(b"no database " * 500)
    with pytest.raises(Transient, match="file is not a database"):
        MetricSink().open(context_of(journal, tmp_path))
    journal.append(told(1))
    thread = SinkThread(journal, MetricSink(), context_of(journal, tmp_path))
    thread.ready(0.2)
    Vitals(journal, "live", tmp_path).beat(workers=0, pids=[], sinks=["metrics"])
    assert journal.events(kinds=[Heartbeat.kind])[-1].payload["sinks"]["metrics"] == 3, "the heartbeat says how far it is behind"
    path.unlink()
    wait_for(lambda: journal.position("metrics") == journal.last_seq())
    thread.stop(60)


def test_a_store_that_is_moved_away_while_it_is_written_is_made_anew(journal: Journal, tmp_path: Path) -> None:
    """As docs/how-to/query-metrics.md says it: move the file away, and rebuild. What comes then went into the file that was moved."""
    path = store_path(tmp_path)
    thread = SinkThread(journal, MetricSink(), context_of(journal, tmp_path))
    journal.append(told(1))
    wait_for(lambda: journal.position("metrics") == journal.last_seq())
    host = JournalHost(load_site(None, options={"instrument": "desi", "raw": str(tmp_path), "calib": str(tmp_path), "out": str(tmp_path)}))
    with MetricStore(path) as reader:
        assert not reader.replaced
        assert len(host.metrics().query("verdicts")) == 1
        for beside in tmp_path.glob("metrics.sqlite*"):
            beside.rename(tmp_path / f"old-{beside.name}")
        assert reader.replaced
        journal.append(told(2))
        wait_for(lambda: journal.position("metrics") == journal.last_seq())
        assert reader.replaced
    restore(str(path), tmp_path)
    journal.append(told(3))
    wait_for(lambda: journal.position("metrics") == journal.last_seq())
    thread.stop(60)
    with MetricStore(path) as store:
        assert sorted(store.query("verdicts")["expid"].tolist()) == [1, 2, 3]
        assert not store.replaced
    assert len(host.metrics().query("verdicts")) == 3, "the live page looks into the new one"
    host.close()


def test_what_is_old_is_dropped_where_nothing_comes(journal: Journal, tmp_path: Path) -> None:
    journal.append([*told(1), *told(2)])  # the exposures are of 2022, and were judged now
    for days, left in ((400.0, 8), (0.0, 8), (1e-9, 2)):
        sink = MetricSink(StoreParams(elements_days=days))
        sink.open(context_of(journal, tmp_path))
        for event in journal.events():
            sink.accept(event)
        for due in (False, True, True, True):
            if due:
                sink._next = 0.0
            assert sink.flush() == []
        with MetricStore(store_path(tmp_path)) as store:
            assert len(store.query("read_noise")) == left
            host: Any = SimpleNamespace(about=lambda: SimpleNamespace(tag="live"), metrics=lambda store=store: store)
            found = metric_history(host, "read_noise", Wanted())
            assert (len(found), bool(found.note)) == (left, left == 2), "the page says what it has not"
        sink.close()


def test_old_elements_that_cannot_be_dropped_hold_nothing_up(journal: Journal, tmp_path: Path) -> None:
    sink = MetricSink(StoreParams(elements_days=1.0))
    sink.open(context_of(journal, tmp_path))
    other = MetricStore(store_path(tmp_path), to_read=False)
    with other.engine.begin() as connection:
        connection.exec_driver_sql("ALTER TABLE quicklook_values RENAME TO away")
        connection.exec_driver_sql("INSERT INTO quicklook_results (night, expid, revision, time_ns, has_metrics) VALUES (1, 1, 0, 0, 1)")
    sink._next = 0.0
    assert sink.flush() == []
    assert sink._next > time.monotonic() + 3600, "it is tried again tomorrow"
    other.close()
    sink.close()


def test_a_locked_file_is_waited_for(journal: Journal, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sink = MetricSink()
    sink.open(context_of(journal, tmp_path))
    other = MetricStore(store_path(tmp_path), to_read=False)
    journal.append(told(1))
    events = journal.events()
    with sink._engine.connect() as connection:  # so that it does not wait for half a minute
        connection.exec_driver_sql("PRAGMA busy_timeout=50")
    with other.engine.begin():
        for event in events:
            sink.accept(event)
        with pytest.raises(Transient, match="locked"):
            sink.flush()
    sink.flush()
    assert len(other.query("read_noise")) == 4
    other.close()
    sink.close()


@pytest.mark.parametrize(
    "params",
    [{"url": "postgresql://ql:secret@h/x"}, {"url": "mysql://h/x"}, {"url": "env:NOT_THERE_AT_ALL"}, {"password": "secret"}, {"url": "postgresql://q@h/x", "password": "file:/no/x"}],
)
def test_a_site_that_says_it_wrongly_is_refused(params: dict[str, str]) -> None:
    with pytest.raises(BadConfig) as refused:
        MetricSink(StoreParams(**params)).check()
    assert "secret" not in str(refused.value)
