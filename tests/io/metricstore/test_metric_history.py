"""What is asked of a store, and that it is what was written: the same on SQLite and on PostgreSQL."""

from __future__ import annotations

import itertools
import json
import math
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from store_events import LIMIT, Told, exposure, metric, noise, qa, seen, unit_of, verdict

from quicklook.core.decision import Decision
from quicklook.core.errors import BadConfig
from quicklook.core.events import Decided, Event, HkChanged, Overridden, Receipt, TestDone, UnitDone
from quicklook.core.housekeeping import HkChange, HkState
from quicklook.core.results import Remark
from quicklook.core.severity import Severity
from quicklook.core.status import Status
from quicklook.io.metricstore import MetricStore
from quicklook.io.metricstore.opening import open_store
from quicklook.io.metricstore.writing import Writer


class Filled:
    """A store, with what writes into it."""

    def __init__(self, url: str) -> None:
        self.engine = open_store(url, to_read=False)
        self.writer = Writer(self.engine)
        self.store = MetricStore(url)
        self.told = Told()

    def write(self, *events: Event) -> None:
        assert self.writer.write(events) == []


@pytest.fixture
def filled(url: str) -> Iterator[Filled]:
    made = Filled(url)
    yield made
    made.store.close()
    made.engine.dispose()


def test_elements_come_back_with_coordinates_statuses_and_their_own_limits(filled: Filled) -> None:
    filled.write(*exposure(filled.told, 7))
    found = filled.store.query("read_noise")
    assert found["amp"].tolist() == ["A", "B", "C", "D"]
    assert found["value"].tolist() == [2.0, 3.0, 4.5, 8.0]
    assert found["status"].tolist() == ["NORMAL", "NORMAL", "WARNING", "NORMAL"]
    assert found["normal_high"].tolist() == [4.0, 4.0, 4.0, 9.0]
    assert found["warning_low"].tolist()[:3] == [0.5] * 3
    assert math.isnan(found["warning_low"][3])
    assert {n: set(found[n].tolist()) for n in ("night", "expid", "camera", "tag", "revision", "flavor")} == {
        "night": {20220101}, "expid": {7}, "camera": {"r0"}, "tag": {"live"}, "revision": {0}, "flavor": {"science"},
    }  # fmt: skip
    assert found["time_ns"][0] == 1_641_081_600_000_000_000 + 7 * 60 * 10**9, "the start of the exposure"
    assert found.units == dict.fromkeys(("value", "normal_low", "normal_high", "warning_low", "warning_high"), "electron")
    assert found.header("value") == "read_noise [electron]"


CONDITIONS = [
    ("read_noise where camera=r0 and amp=A", [2.0, 2.0]),
    ("read_noise where amp in (A, D) and expid = 8", [2.0, 8.0, 2.0, 8.0]),
    ("read_noise where status = WARNING and camera = b0", [4.5, 4.5]),
    ("read_noise where value > 4 and not status = WARNING and expid < 8", [8.0, 8.0]),
    ("read_noise where camera = r0 and (amp = A or amp = B) and night >= 20220101 and expid >= 8", [2.0, 3.0]),
    ("read_noise where night > 20220101", []),
    ("read_noise where exptime > 800 and camera = r0 and amp = A", [2.0, 2.0]),
    ("read_noise where exptime > 1000", []),
    # nights as dates are nights, and never texts: as such 20220101 would stand behind 2022-06-01
    ("dead_fibers where camera = r0 and night >= 2022-01-01 and night < 2022/06/01", [7.0, 8.0]),
    ("dead_fibers where night >= 2022-06-01", []),
    ("dead_fibers where camera = r0 and night in (2021-12-31, 2022.01.01)", [7.0, 8.0]),
    ("dead_fibers where camera = r0 and time > 2022-01-02T00:07:30", [8.0]),
    ("dead_fibers where camera = r0 and not time > 2022-01-02T00:07:30Z and time >= 2022-01-01", [7.0]),
    ("dead_fibers where camera = r0 and time = 2022-01-02T02:08:00+02:00", [8.0]),
    # statuses in the order of their severity, in any case
    ("read_noise where status >= warning and expid = 7 and camera = r0", [4.5]),
    ("read_noise where status > Normal and expid = 7 and camera = r0", [4.5]),
    ("read_noise where status <= UNKNOWN and expid = 7 and camera = r0", [2.0, 3.0, 8.0]),
    ("read_noise where status < NORMAL", []),
    ("read_noise where status not in (warning) and expid = 7 and camera = r0 and value < 4", [2.0, 3.0]),
    ("dead_fibers where camera in (r0)", [7.0, 8.0]),
    ("dead_* where camera = 'r0'", [7.0, 8.0]),
    ("read_noise where step = read and group = CCDs and qa = read_noise and expid = 7 and camera != b0 and amp != A", [3.0, 4.5, 8.0]),
]


def test_conditions(filled: Filled) -> None:
    for expid in (7, 8):
        filled.write(*exposure(filled.told, expid, ("b0", "r0")))
    assert {text: filled.store.query(text)["value"].tolist() for text, _ in CONDITIONS} == dict(CONDITIONS)


def test_the_newest_rows_are_given_in_the_order_of_time(filled: Filled) -> None:
    for expid in (9, 7, 8):
        filled.write(*exposure(filled.told, expid))
    found = filled.store.history("dead_fibers", limit=2)
    assert found["expid"].tolist() == [8, 9]
    assert found.more
    assert not filled.store.history("dead_fibers", limit=3).more
    assert filled.store.history("dead_fibers", since="2022-01-02T00:08", until="2022-01-02T00:08:30")["expid"].tolist() == [8]
    assert filled.store.history("dead_fibers", since=20220101, until=20220101)["expid"].tolist() == [7, 8, 9]
    assert filled.store.history("dead_fibers", since="2022-01-01", until="2022-01-01")["expid"].tolist() == [7, 8, 9], "a date is a night"
    assert len(filled.store.history("dead_fibers", since=20220102)) == 0
    assert filled.store.history("read_noise", "camera = r0", summary=True)["value"].tolist() == [3.75] * 3, "the median"


def test_what_comes_twice_is_there_once_and_a_later_revision_takes_the_place_of_an_earlier(filled: Filled) -> None:
    first = exposure(filled.told, 7)
    filled.write(*first)
    filled.write(*first[1:], *first[1:2])
    again = exposure(filled.told, 7, level=2.5, revision=1)
    filled.write(*again)
    filled.write(*first)  # events that come once more after a crash
    assert filled.store.query("read_noise where amp = A")["value"].tolist() == [2.5]
    every = filled.store.query("read_noise where amp = A", revision="all")
    assert (every["value"].tolist(), every["revision"].tolist()) == ([2.0, 2.5], [0, 1])


def test_a_verdict_that_a_person_changed_keeps_the_metrics(filled: Filled) -> None:
    filled.write(*exposure(filled.told, 7))
    unit = unit_of(7)
    change = Overridden(part="r0", was=Status.NORMAL, status=Status.ALARM, by="me", reason="a 'quoted' reason", time=5)
    filled.write(filled.told(change, unit, "r0", revision=1), filled.told(verdict(Status.ALARM, ["said so"]), unit, "r0", revision=1))
    assert filled.store.query("read_noise where amp = A")["revision"].tolist() == [0]
    assert filled.store.query("verdicts")["status"].tolist() == ["ALARM"]
    assert filled.store.query("verdicts", revision="all")["status"].tolist() == ["NORMAL", "ALARM"]
    found = filled.store.query("overrides where by = me")
    assert (found["was"].tolist(), found["reason"].tolist()) == (["NORMAL"], ["a 'quoted' reason"])


def test_tags_keep_processings_apart(filled: Filled) -> None:
    filled.write(*exposure(filled.told, 7), *exposure(filled.told, 7, level=2.5, tag="new"))
    assert filled.store.query("read_noise where amp = A", tag="new")["value"].tolist() == [2.5]
    assert len(filled.store.query("read_noise where amp = A")) == 2
    assert filled.store.query("read_noise where amp = A and tag = live", tag="new")["tag"].tolist() == ["live"], "what the condition says counts"


def test_what_was_not_measured_is_never_left_out_nor_called_good(filled: Filled) -> None:
    unit = unit_of(7)
    unknown = metric("dead_fibers", [], status=Status.UNKNOWN, limits=[LIMIT])
    away = metric("sky_level", [], not_applicable="no sky fibres")
    gap = noise((2.0, None, 4.5, 8.0))
    filled.write(filled.told(seen(7), unit), filled.told(qa(unknown, away, gap), unit, "r0"))
    found = filled.store.query("dead_fibers")
    assert (found["status"].tolist(), [math.isnan(v) for v in found["value"]]) == (["UNKNOWN"], [True])
    assert found["normal_low"].tolist() == [1.0]
    assert len(filled.store.query("sky_level")) == 0
    assert filled.store.query("read_noise where status = UNKNOWN")["amp"].tolist() == ["B"]
    assert filled.store.query("read_noise where not value > 2")["amp"].tolist() == ["A"], "what is not known is neither"


def test_many_elements_are_packed_without_loss(filled: Filled) -> None:
    values = np.random.default_rng(1).normal(size=500).tolist()
    values[3] = None
    fibers = metric("width", values, "pixel", coords={"fiber": list(range(500))})
    grid = metric("chi2", list(range(6)), coords={"line": [5578.9, 6301.9], "fiber": [1, 2, 3]})
    filled.write(filled.told(seen(7), unit_of(7)), filled.told(qa(fibers, grid), unit_of(7), "r0"))
    found = filled.store.history("width")
    assert found["fiber"].dtype == np.int64
    assert [None if math.isnan(v) else v for v in found["value"].tolist()] == values
    assert filled.store.query("width where fiber = 499")["value"].tolist() == [values[499]]
    assert filled.store.query("chi2 where line > 6000 and fiber in (1, 3)")["value"].tolist() == [3.0, 5.0]
    whole = filled.store.history("width", summary=True)
    assert (whole["low"][0], whole["high"][0]) == (np.nanmin(found["value"]), np.nanmax(found["value"]))
    assert "fiber" not in whole.columns
    assert whole["value"][0] == pytest.approx(np.nanmedian([np.nan if v is None else v for v in values]))


def test_a_sieve_by_status_is_no_other_answer(filled: Filled) -> None:
    """The database looks at the status of a metric, of which no element is worse; the condition itself at each element."""
    filled.write(*exposure(filled.told, 7, ("b0", "r0")))
    unknown = metric("sky_level", [], status=Status.UNKNOWN, limits=[LIMIT])
    gap = noise((None, 3.0, 3.5, 8.0)).model_copy(update={"status": Status.UNKNOWN})
    filled.write(filled.told(seen(8), unit_of(8)), filled.told(qa(gap, unknown), unit_of(8), "r0"))
    for wanted in ("NORMAL", "UNKNOWN", "WARNING", "ALARM"):
        for text in (f"status = {wanted}", f"status >= {wanted}", f"status < {wanted}", f"status in ({wanted}, ALARM)", f"status != {wanted}"):
            found = filled.store.query(f"* where {text}")
            slow = filled.store.query(f"* where ({text}) or ({text} and expid < 0)")  # nothing is required of it
            assert list(found.rows()) == list(slow.rows()), text
    assert "amp" not in filled.store.query("* where status = UNKNOWN and value > 1e9").columns
    assert filled.store.query("* where status = UNKNOWN and expid = 8")["metric"].tolist() == ["read_noise", "sky_level"]


def test_several_metrics_stand_below_each_other_with_their_units(filled: Filled) -> None:
    filled.write(*exposure(filled.told, 7))
    found = filled.store.query("read_noise, dead_fibers where camera = r0")
    assert found["metric"].tolist() == ["read_noise"] * 4 + ["dead_fibers"]
    assert found["unit"].tolist() == ["electron"] * 4 + [""]
    assert found["amp"].tolist() == ["A", "B", "C", "D", ""]
    assert found.header("value") == "value"


def test_a_metric_whose_unit_has_changed_says_the_unit_of_every_row(filled: Filled) -> None:
    filled.write(filled.told(seen(7), unit_of(7)), filled.told(qa(metric("level", [1.0], "adu")), unit_of(7), "r0"))
    filled.write(filled.told(seen(8), unit_of(8)), filled.told(qa(metric("level", [2.0], "electron")), unit_of(8), "r0"))
    found = filled.store.query("level")
    assert found["unit"].tolist() == ["adu", "electron"]
    assert found.units == {}


def test_lists_of_what_else_there_is(filled: Filled) -> None:
    unit = unit_of(7)
    filled.write(*exposure(filled.told, 7))
    whole = UnitDone(night=unit.night, expid=7, tag="live", revision=0, tags={"flavor": "science"}, status=Status.ALARM, reasons=["a", "b"], parts={})
    card = Decided(
        night=unit.night, expid=7, tag="live", revision=0, status=Status.ALARM, decision=Decision.REPEAT, rule="bad", why="it is bad", action="again",
        measured=1, expected=2, cameras=1, cameras_expected=1,
    )  # fmt: skip
    test = TestDone(run="r", name="BIAS01", status=Status.WARNING, reasons=["x"], complete=True, exposures=["20220101/00000007"], flags=["RON_OOL"], path="p")
    change = HkChange(
        subject="T/limit", channel="T", limit="limit", kind="absolute", state=HkState.VIOLATING, before=HkState.NORMAL, severity=Severity.ALARM,
        time=1_641_081_600.5, since=0.0, value=3.0, bound=2.0, unit="K",
    )  # fmt: skip
    filled.write(
        filled.told(whole, unit), filled.told(card, unit), filled.told(Receipt(times={}, seconds_to_verdict=4.5), unit),
        filled.told(test, unit).model_copy(update={"unit": None}), filled.told(HkChanged(changes=[change]), unit).model_copy(update={"unit": None}),
    )  # fmt: skip
    ask = filled.store.query
    assert ask("verdicts where not camera = r0")["status"].tolist() == [], "the exposure as a whole has no camera"
    assert ask("verdicts where reasons = 'a; b'")["status"].tolist() == ["ALARM"]
    assert ask("exposures where program = dark")["seconds_to_verdict"].tolist() == [4.5]
    assert ask("exposures where start > 2022 and exptime = 900").header("seconds_to_verdict") == "seconds_to_verdict [s]"
    assert ask("decisions where decision = repeat")["why"].tolist() == ["it is bad"]
    assert ask("decisions where program = dark and exptime > 800 and status >= warning")["why"].tolist() == ["it is bad"]
    assert ask("verdicts where exptime = 900 and time < 2023-01-01")["status"].tolist() == ["NORMAL", "ALARM"], "tags of the exposure"
    assert len(ask("decisions where program = bright")) == 0
    assert ask("tests where status = WARNING")["exposures"].tolist() == ["20220101/00000007"]
    assert ask("flags where flag = RON_OOL")["test"].tolist() == ["BIAS01"]
    assert ask("housekeeping where state = VIOLATING and value > 2")["limit"].tolist() == ["limit"]
    assert len(ask("housekeeping", since=20220103)) == 0
    filled.write(filled.told(test.model_copy(update={"flags": []}), unit).model_copy(update={"unit": None}))
    assert len(ask("flags")) == 0, "a test that is done again has the flags of now"


def test_tables_for_astropy_and_pandas_and_text(filled: Filled) -> None:
    pandas = pytest.importorskip("pandas")
    filled.write(*exposure(filled.told, 7))
    found = filled.store.query("read_noise where camera = r0")
    table = found.to_astropy()
    assert str(table["value"].unit) == "electron"
    assert table["time"][0].isot == "2022-01-02T00:07:00.000"
    frame = found.to_pandas()
    assert frame["time"][0] == pandas.Timestamp("2022-01-02T00:07", tz="UTC")
    assert (frame["value"].tolist(), frame.attrs["units"]["value"]) == ([2.0, 3.0, 4.5, 8.0], "electron")
    lines = found.to_csv().splitlines()
    assert lines[0].startswith("time,night,expid,camera,tag,revision,flavor,amp,read_noise [electron],status,normal_low [electron]")
    assert lines[4] == "2022-01-02T00:07:00.000Z,20220101,7,r0,live,0,science,D,8.0,NORMAL,,9.0,,"
    assert json.loads(json.dumps(found.to_json(), allow_nan=False))["rows"][3][-4:] == [None, 9.0, None, None]
    assert len(filled.store.query("read_noise where camera = b9").to_astropy()) == 0


WRONG = [
    ("read_nois", "did you mean 'read_noise'"),
    ("read_noise where cam = r0", "did you mean camera"),
    ("read_noise where camera = 'r0", "a quote that is not closed"),
    ("read_noise where camera = r0; DROP TABLE quicklook_values", "'and' or 'or' is expected"),
    ("read_noise; DROP TABLE quicklook_values", "cannot be read"),
    ("read_noise where", "cannot be read"),
    ("where camera = r0", "cannot be read"),
    ("", "cannot be read"),
    ("where", "name of a metric"),
    ("verdicts, read_noise", "asked for alone"),
    ("nothing.recorded", "nothing was recorded"),
    ("READ_NOIS", "did you mean 'read_noise'"),
    ("read_noise where value > 2.7electron", "units are not written"),
    ("read_noise where value in (1, x)", "'x' is none"),
    ("read_noise where expid = last", "expid is a number"),
    ("read_noise where night = tonight", "'tonight' is no night"),
    ("read_noise where time > noon", "is no time"),
    ("read_noise where status = GOOD", "no such status"),
    ("verdicts where status = NORMALLY", "did you mean 'NORMAL'"),
    ("verdicts where seconds > fast", "seconds is a number"),
]


def test_what_cannot_be_asked_is_told_with_what_is_near(filled: Filled) -> None:
    filled.write(*exposure(filled.told, 7))
    for text, said in WRONG:
        with pytest.raises(BadConfig, match=said):
            filled.store.query(text)
    with pytest.raises(BadConfig, match="neither a night nor a time"):
        filled.store.query("read_noise", since="yesterday")


WORDS = ["x' OR '1'='1", "'; DROP TABLE quicklook_values; --", "\0", "é\u2028", "%s", ":p0", "\\", "r0\0", "9" * 400, "1e999"]


def test_words_of_a_condition_are_never_a_part_of_the_question(filled: Filled) -> None:
    filled.write(*exposure(filled.told, 7))
    for word, name in itertools.product(WORDS, ("camera", "night", "expid", "amp", "value", "start")):
        quote = "'" if "'" not in word else '"'
        text = f"read_noise where {name} = {quote}{word}{quote}"
        if name in ("night", "expid", "value") and not word[0].isdigit():
            with pytest.raises(BadConfig):
                filled.store.query(text)
        else:
            assert len(filled.store.query(text)) == 0
        assert isinstance(filled.store.doubts(text), list)
    assert len(filled.store.query("read_noise")) == 4


def test_names_and_values_that_are_strange_are_kept(filled: Filled) -> None:
    unit = unit_of(10**18 - 1)
    strange = metric("level", [1.7e308, -1.7e308, 5e-324], "<b>", coords={"amp": ["'; --", "a\0b", "ünï 🔭 <script>"]}, remarks=[Remark(at=["a\0b"], text="x\0")])
    facts = seen(1, object="<script>alert('\0')</script>", start="no time", exptime="nan")
    filled.write(filled.told(facts, unit, tag="t"), filled.told(qa(strange), unit, "r'0\0", tag="t"), filled.told(verdict(reasons=["\0"]), unit, "r'0\0", tag="t"))
    found = filled.store.query("level")
    assert found["value"].tolist() == [1.7e308, -1.7e308, 5e-324]
    assert found["amp"].tolist() == ["'; --", "a\0b", "ünï 🔭 <script>"]
    assert filled.store.query("level where amp = \"'; --\"")["expid"].tolist() == [10**18 - 1]
    assert filled.store.query("exposures")["flavor"].tolist() == ["science"]
    assert filled.store.doubts("verdicts where camera = x") == ["no recent result has camera 'x'; there are r'0\ufffd"]
    assert len(filled.store.query("verdicts where camera = \"r'0�\"")) == 1


def test_an_event_that_cannot_be_stored_is_left_out_alone(filled: Filled) -> None:
    good = exposure(filled.told, 7)
    broken = [good[1].model_copy(update={"payload": {"name": "x"}}), good[1].model_copy(update={"unit": "no unit"})]
    assert [e.payload for e, _ in filled.writer.write([good[0], *broken, *good[1:]])] == [b.payload for b in broken]
    assert len(filled.store.query("read_noise")) == 4


def test_readers_see_whole_exposures_while_they_are_written(filled: Filled) -> None:
    filled.write(*exposure(filled.told, 1))
    stop, counts, errors = threading.Event(), set(), []

    def read() -> None:
        while not stop.is_set():
            try:
                counts.add(len(filled.store.query("read_noise")) % 12)
            except Exception as error:
                errors.append(error)

    readers = [threading.Thread(target=read) for _ in range(3)]
    for reader in readers:
        reader.start()
    filled.write(*exposure(filled.told, 2, ("b0", "z0")))
    for expid in range(3, 20):
        filled.write(*exposure(filled.told, expid, ("b0", "r0", "z0")))
    stop.set()
    for reader in readers:
        reader.join(30)
    assert errors == []
    assert counts <= {4, 0}, "in one transaction all or nothing"
    assert len(filled.store.query("read_noise", limit=10_000)) == 4 * (1 + 2 + 17 * 3)


def test_two_writers_share_what_repeats(filled: Filled, url: str) -> None:
    other, errors = Filled(url), []

    def work(which: Filled, first: int, epoch: str) -> None:
        which.told = Told(epoch)
        for expid in range(first, first + 15):
            try:
                which.write(*exposure(which.told, expid, ("b0", "r0")))
            except Exception as error:
                errors.append(error)

    threads = [threading.Thread(target=work, args=args) for args in ((filled, 100, "one"), (other, 200, "two"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    other.store.close()
    other.engine.dispose()
    assert errors == []
    assert [i.name for i in filled.store.metrics()] == ["dead_fibers", "read_noise"]
    assert len(filled.store.query("dead_fibers")) == 60


def test_a_camera_has_the_tags_of_its_merged_file(tmp_path: Path) -> None:
    filled = Filled(str(tmp_path / "m.sqlite"))
    filled.writer = Writer(filled.engine, tmp_path)
    (tmp_path / "qa.json").write_text(json.dumps({"night": 1, "tags": {"flavor": "science", "arm": "r", "serial": "s-1"}, "status": "NORMAL"}))
    from quicklook.core.events import ProductWritten

    unit = unit_of(7)
    for name in ("qa.json", "gone.json"):
        filled.write(*exposure(filled.told, 7), filled.told(ProductWritten(name="qa", path=name, sha256="", size=1), unit, "r0"))
    assert filled.store.query("read_noise where arm = r and serial = s-1 and program = dark and amp = A")["camera"].tolist() == ["r0"]
    filled.store.close()
    filled.engine.dispose()
