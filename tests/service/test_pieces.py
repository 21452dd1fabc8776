"""Which piece is done next: the newest exposure, what is urgent, nothing that was superseded; and how far a sink is."""

from __future__ import annotations

import random

import pytest

from quicklook.core.events import Event
from quicklook.core.sink import Piece
from quicklook.service.publishing.pieces import Backlog


def event(seq: int, expid: int = 1, *, revision: int = 0, part: str = "r0") -> Event:
    return Event(kind="plots", unit=f"20220101/{expid:08d}", part=part, revision=revision, payload={}, epoch="e", seq=seq, time=0)


def pieces(of: Event, *names: str) -> list[Piece]:
    """One a name; those in capitals are urgent."""
    return [Piece(name=n, line=f"{of.unit} {of.part}", urgent=n.isupper()) for n in names]


def add(backlog: Backlog, of: Event, *names: str):
    return backlog.add(of, pieces(of, *names))


def order(backlog: Backlog) -> list[str]:
    out = []
    while (task := backlog.next()) is not None:
        out.append(f"{task.event.unit[-1]}{task.event.part}{task.piece.name}")
        backlog.done([task])
    return out


def test_the_newest_exposure_goes_first_and_what_is_urgent_of_the_others_before_their_rest() -> None:
    backlog = Backlog(most=100)
    for seq, expid in enumerate((1, 2, 3), start=1):
        add(backlog, event(2 * seq, expid), "A", "x")
        add(backlog, event(2 * seq + 1, expid, part="z0"), "A", "x")
    newest, others = ["3r0A", "3z0A", "3r0x", "3z0x"], ["2r0A", "2z0A", "1r0A", "1z0A", "2r0x", "2z0x", "1r0x", "1z0x"]
    assert order(backlog) == newest + others
    assert backlog.position == 7


def test_what_is_urgent_in_an_older_exposure_waits_for_the_rest_of_the_newest_alone() -> None:
    backlog = Backlog(most=100)
    add(backlog, event(1, 1), "A")
    add(backlog, event(2, 2), "x")
    add(backlog, event(3, 3), "x")
    assert order(backlog) == ["3r0x", "1r0A", "2r0x"]


def test_of_one_camera_the_last_revision_alone_is_done_and_what_it_superseded_is_told() -> None:
    backlog = Backlog(most=100)
    assert add(backlog, event(1), "a", "b") == []
    first = backlog.next()
    assert first is not None
    skips = add(backlog, event(2, revision=1), "a", "b", "c")
    assert [(s.event.seq, [p.name for p in s.pieces], s.by.seq) for s in skips] == [(1, ["b"], 2)]
    backlog.skip(skips)
    assert backlog.next() is None, "both would write the same files"
    backlog.done([first])
    assert order(backlog) == ["1r0a", "1r0b", "1r0c"]
    assert backlog.position == 2


def test_the_only_revision_of_a_camera_is_never_skipped() -> None:
    backlog = Backlog(most=100)
    add(backlog, event(1, part="r0"), "a")
    assert add(backlog, event(2, revision=1, part="z0"), "a") == []
    assert sorted(order(backlog)) == ["1r0a", "1z0a"]


def test_an_earlier_revision_that_comes_late_is_skipped_too() -> None:
    backlog = Backlog(most=100)
    add(backlog, event(1, revision=2), "a")
    skips = add(backlog, event(2, revision=1), "a")
    assert [(s.event.seq, s.by.seq) for s in skips] == [(2, 1)]


def test_beyond_its_bound_the_oldest_leave_and_are_read_again_when_there_is_room() -> None:
    backlog, events = Backlog(most=3), [event(i, i) for i in range(1, 9)]
    for one in events:
        add(backlog, one, "a")
    assert backlog.waiting == 3
    assert not backlog.again(), "there is work yet"
    assert order(backlog) == ["8r0a", "7r0a", "6r0a"]
    assert backlog.position == 0, "five are not done"
    assert backlog.again()
    rest = []
    while True:
        for one in events[backlog.read_to :]:
            add(backlog, one, "a")
        rest += order(backlog)
        if not backlog.again():
            break
    assert rest == ["5r0a", "4r0a", "3r0a", "2r0a", "1r0a"], "each once"
    assert backlog.position == 8


@pytest.mark.parametrize("seed", range(20))
def test_whatever_comes_in_whatever_order_each_piece_is_done_or_skipped_once(seed: int) -> None:
    rng = random.Random(seed)
    backlog = Backlog(most=rng.choice([3, 10, 1000]))
    events = [event(i, rng.randint(1, 6), revision=rng.randint(0, 3), part=rng.choice(["r0", "z0"])) for i in range(1, 60)]
    names = {e.seq: rng.sample("abcDE", rng.randint(0, 4)) for e in events}
    settled: list[tuple[int, str]] = []
    newest = {(e.unit, e.part): max((o.revision, o.seq) for o in events if (o.unit, o.part) == (e.unit, e.part) and names[o.seq]) for e in events
              if names[e.seq]}  # fmt: skip
    running = []
    while True:
        for one in events[backlog.read_to : backlog.read_to + rng.randint(1, 20)]:
            skips = add(backlog, one, *names[one.seq])
            backlog.skip(skips)
            settled += [(s.event.seq, p.name) for s in skips for p in s.pieces]
            assert all((s.by.revision, s.by.seq) > (s.event.revision, s.event.seq) for s in skips)
        for _ in range(rng.randint(0, 10)):
            if (task := backlog.next()) is not None:
                running.append(task)
        assert len({t.piece.line for t in running}) == len({(t.piece.line, t.event.seq) for t in running}), "one event at a time writes a file"
        rng.shuffle(running)
        while running and rng.random() < 0.7:
            task = running.pop()
            if rng.random() < 0.1:
                backlog.back(task)
            else:
                backlog.done([task])
                settled.append((task.event.seq, task.piece.name))
        assert all((s, n) in settled for s in range(1, backlog.position + 1) for n in names[s]), "nothing before the position is left"
        if backlog.position == len(events) and not running:
            break
        if not backlog.waiting and not running:
            backlog.again()
    assert sorted(settled) == sorted((s, n) for s, of in names.items() for n in of)
    done_last = {(e.unit, e.part): (e.revision, e.seq) for e in events if (e.revision, e.seq) == newest.get((e.unit, e.part))}
    assert done_last == newest
