"""A sink in processes of its own: what crashes or hangs costs itself alone, nothing is done twice or left out, and its answers come in time."""

from __future__ import annotations

import os
import time

import pytest
from piece_toys import maker

from quicklook.core.events import PlotsReady, draft
from quicklook.core.keys import Unit
from quicklook.core.sink import SinkContext
from quicklook.service.journal.ahead import done_ahead, settle
from quicklook.service.journal.journal import Journal
from quicklook.service.publishing.piecefeeder import PieceThread


@pytest.fixture
def journal(tmp_path):
    log = Journal(tmp_path / "j.sqlite", time.time_ns)
    yield log
    log.close()


@pytest.fixture
def start(journal, tmp_path):
    threads = []

    def begin(**params: object) -> PieceThread:
        make = maker(**params)
        threads.append(PieceThread(journal, make(), make, SinkContext(out=str(tmp_path))))
        threads[-1].ready(60)
        return threads[-1]

    yield begin
    for thread in threads:
        thread.stop(60)


def ask(journal, *names: str, expid: int = 1, revision: int = 0) -> int:
    ready = PlotsReady(path="p", names=list(names), statuses=[None] * len(names))
    return journal.append([draft(ready, unit=Unit(20220101, expid), part="r0", revision=revision)])[0].seq


def wait_for(condition, seconds: float = 120.0) -> bool:
    end = time.monotonic() + seconds
    while not (holds := bool(condition())) and time.monotonic() < end:
        time.sleep(0.02)
    return holds


def answers(journal) -> list[str]:
    said = {"product": lambda e: f"{e.payload['path']} {e.payload['name']}", "plots_skipped": lambda e: f"skipped {e.payload['path']}",
            "sink_gave_up": lambda e: f"gave up {e.payload['seq']}: {e.payload['failure']['message']}"}  # fmt: skip
    return [said[e.kind](e) for e in journal.events() if e.kind in said]


def caught_up(journal) -> bool:
    return journal.position("toy") == journal.last_seq()


def test_a_piece_that_ends_its_process_or_hangs_or_fails_costs_itself_alone(journal, start):
    first = ask(journal, "a", "die", "bad", "b", "die once", "hang", expid=1)
    second = ask(journal, "c", expid=2)
    start(deadline_s=4.0)
    assert wait_for(lambda: caught_up(journal))
    said = answers(journal)
    assert {f"{first} a", f"{first} b", f"{first} die once", f"{second} c"} <= set(said)
    given_up = [s for s in said if s.startswith("gave up")]
    assert len(given_up) == 3, "one for each reason"
    assert any("its process ended with status -9" in s for s in given_up)
    assert any("cannot be drawn" in s for s in given_up)
    assert any("took longer than 4 s" in s for s in given_up)


def test_a_full_disk_is_waited_for_and_nothing_is_given_up(journal, start, tmp_path, monkeypatch):
    monkeypatch.setattr("quicklook.service.publishing.piecefeeder._PAUSES_S", (0.05,))
    seq = ask(journal, "later", "a")
    start()
    assert wait_for(lambda: (tmp_path / "log").exists() and (tmp_path / "log").read_text().count("later") > 2)
    assert journal.position("toy") < seq
    (tmp_path / "there").touch()
    assert wait_for(lambda: caught_up(journal))
    assert sorted(answers(journal)) == [f"{seq} a", f"{seq} later"]


def test_what_was_done_out_of_order_is_not_done_again_after_a_crash(journal, start, tmp_path):
    seqs = [ask(journal, "a", "b", expid=i) for i in (1, 2)]
    assert done_ahead(journal, "toy") == (0, set())
    settle(journal, "toy", 0, [(seqs[1], "a"), (seqs[1], "b"), (seqs[0], "b")])
    start()
    assert wait_for(lambda: caught_up(journal))
    assert (tmp_path / "log").read_text() == f"{seqs[0]} a\n"
    assert done_ahead(journal, "toy")[1] == set(), "what lies before the position is forgotten"


def test_the_newest_is_done_first_superseded_ones_are_told_and_all_stand_back(journal, start):
    ask(journal, "a", expid=1)
    ask(journal, "a", expid=3)
    ask(journal, "a", expid=1, revision=1)
    ask(journal, "a", "B", expid=2)
    start(processes=2)
    assert wait_for(lambda: caught_up(journal))
    said = answers(journal)
    assert sorted(said) == ["2 a", "3 a", "4 B", "4 a", "skipped 1"]
    assert said[0] == "skipped 1"
    assert {e.payload["size"] for e in journal.events() if e.kind == "product"} == {min(19, os.nice(0) + 5)}, "niceness"


def test_it_stops_in_good_order_and_goes_on_at_the_next_start(journal, start, tmp_path):
    ask(journal, *[f"p{i}" for i in range(300)])
    thread = start()
    assert wait_for(lambda: (tmp_path / "log").exists())
    pids = thread.feeder.pids
    thread.stop(60)
    assert not thread._thread.is_alive()
    assert pids
    done = len(answers(journal))
    assert 0 < done < 300
    start()
    assert wait_for(lambda: caught_up(journal))
    assert sorted(answers(journal)) == sorted(f"1 p{i}" for i in range(300)), "each once"
    assert len((tmp_path / "log").read_text().splitlines()) == 300
