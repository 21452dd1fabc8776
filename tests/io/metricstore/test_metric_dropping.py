"""Old elements are dropped: medians and statuses stay, what is new stays whole, and a rebuild brings elements back."""

from __future__ import annotations

import pytest
import sqlalchemy as sa
from pgserver import PgServer
from store_events import START, Told, exposure

from quicklook.core.errors import Transient
from quicklook.io.metricstore import MetricStore
from quicklook.io.metricstore.dropping import DAY_NS, Dropping, before_days, count_old
from quicklook.io.metricstore.opening import open_store
from quicklook.io.metricstore.writing import Writer

LATER_NS = (START + 600 * 86400) * 10**9


def store_of(url: str) -> sa.Engine:
    """Exposures 7 and 8 of two cameras as they came, and exposure 9 of the same night processed 600 days later."""
    engine, told = open_store(url, to_read=False), Told()
    for expid in (7, 8):
        assert Writer(engine).write(exposure(told, expid, ("b0", "r0"))) == []
    again = [e.model_copy(update={"time": LATER_NS}) for e in exposure(told, 9)]
    assert Writer(engine).write(again) == []
    return engine


def drop(engine: sa.Engine, days: float = 400.0) -> Dropping:
    work = Dropping(engine, before_days(days, LATER_NS + DAY_NS))
    while work.turn(2):
        pass
    return work


def test_old_elements_go_and_their_median_stays(url: str) -> None:
    engine = store_of(url)
    assert count_old(engine, before_days(400, LATER_NS)) == 4
    with MetricStore(url) as store:
        before = store.history("read_noise", summary=True)
    work = drop(engine)
    assert (work.cameras, work.metrics) == (4, 4), "of each camera the one metric with several elements"
    assert count_old(engine, before_days(400, LATER_NS)) == 0
    with MetricStore(url) as store:
        found = store.history("read_noise")
        assert found.medians
        assert list(zip(found["expid"], found["camera"], found["amp"], found["value"], found["status"], strict=True)) == [
            (7, "b0", "", 3.75, "WARNING"), (7, "r0", "", 3.75, "WARNING"), (8, "b0", "", 3.75, "WARNING"), (8, "r0", "", 3.75, "WARNING"),
            *((9, "r0", amp, value, status) for amp, value, status in zip("ABCD", (2.0, 3.0, 4.5, 8.0), ("NORMAL", "NORMAL", "WARNING", "NORMAL"), strict=True)),
        ]  # fmt: skip
        assert found["normal_high"].tolist() == [4.0] * 7 + [9.0]
        after = store.history("read_noise", summary=True)
        assert not after.medians
        for column in ("value", "low", "high", "status", "normal_high"):
            assert after[column].tolist() == before[column].tolist()
        assert store.history("read_noise", "amp = A")["expid"].tolist() == [9], "which element it is, is not known of a median"
        assert store.history("dead_fibers")["value"].tolist() == [7.0, 7.0, 8.0, 8.0, 9.0]
    engine.dispose()


def test_what_is_written_again_is_whole_again_and_can_be_dropped_again(url: str) -> None:
    engine = store_of(url)
    drop(engine)
    assert Writer(engine).write(exposure(Told("two"), 7, ("b0", "r0"))) == []
    with MetricStore(url) as store:
        assert len(store.history("read_noise", "expid = 7")) == 8
    assert drop(engine).metrics == 2
    assert drop(engine).cameras == 0
    engine.dispose()


def test_a_database_that_is_away_loses_nothing(pg_server: PgServer) -> None:
    engine = store_of(pg_server.empty())
    pg_server.stop()
    work = Dropping(engine, LATER_NS)
    try:
        with pytest.raises(Transient):
            work.turn()
    finally:
        pg_server.start()
    while work.turn():
        pass
    assert work.cameras == 4
    engine.dispose()


@pytest.mark.parametrize("days", [1e300, 40000.0])
def test_absurd_numbers_of_days(days: float) -> None:
    assert before_days(days, LATER_NS) < -(10**18)
