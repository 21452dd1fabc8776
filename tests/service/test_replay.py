"""The replay socket, and subscribers that get what they missed: late, lossy, cut off, of another journal."""

from __future__ import annotations

import asyncio
import hashlib
import json
import time

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from wire_tools import publisher, raw_socket, take, wait_for

from quicklook.client import AsyncSubscriber, Subscriber, fetch_state
from quicklook.client.messages import Batch, Message
from quicklook.client.ordering import Order
from quicklook.core.errors import BadConfig, Transient
from quicklook.core.events import Heartbeat, PlotDrawn, draft
from quicklook.core.wire import EventsAnswer, EventsRequest, replay_endpoint
from quicklook.service.publishing.replay import Replay
from quicklook.service.publishing.vitals import prune


@pytest.fixture
def out(tmp_path):
    with publisher(tmp_path) as made:
        yield made


def test_a_late_subscriber_gets_everything_once_and_in_order(out):
    first = out.started(2300)
    with Subscriber(out.endpoint, since=0, timeout_s=60) as events:
        assert take(events, 2300) == first
        later = out.started(20)
        assert take(events, 20) == later
        assert events.gaps == 0
        assert events.position == (out.journal.epoch, later[-1])


def test_one_that_goes_on_from_a_number_gets_what_is_after_it(out):
    seqs = out.started(10)
    with Subscriber(out.endpoint, since=seqs[3], epoch=out.journal.epoch) as events:
        assert take(events, 6) == seqs[4:]


def test_a_subscriber_of_chosen_topics_is_told_by_the_next_heartbeat_what_it_missed(out):
    with Subscriber(out.endpoint, ["started/r0/"]) as events:
        assert wait_for(lambda: out.beats() and events.receive(0.1) is None and events.position[1] > 0)
        events._socket.setsockopt_string(zmq.UNSUBSCRIBE, "started/")  # it loses these and does not know
        time.sleep(0.3)
        mine, others = out.started(5), out.started(5, part="b0")
        assert out.published(others[-1])
        out.beats()
        assert take(events, 5) == mine
        assert events.gaps == 0
        assert events.receive(0.05) is None


def test_one_that_is_cut_off_goes_on_without_gap(out):
    with Subscriber(out.endpoint, since=0) as events:
        seqs = out.started(5)
        assert take(events, 5) == seqs
        out.stop()
        lost = out.started(7)
        out.journal.advance("zmq", lost[-1])  # published to nobody
        out.start()
        last = out.started(3)
        assert take(events, 10, beat=out.beats) == [*lost, *last]
        assert events.gaps == 0


def test_a_slow_subscriber_that_loses_messages_gets_them_by_asking(tmp_path):
    with publisher(tmp_path, high_water_mark=5) as out, Subscriber(out.endpoint, since=0) as events:
        assert wait_for(lambda: out.beats() and events.receive(0.1) is not None)
        seqs = [s for _ in range(10) for s in out.started(200)]
        assert out.published(seqs[-1])
        assert take(events, 2000, beat=out.beats) == seqs


def test_a_snapshot_and_then_what_comes_after_it(out):
    out.started(3)
    with Subscriber(out.endpoint, since="snapshot") as events:
        state = events.snapshot()
        assert state is not None
        assert (state.epoch, state.seq) == (out.journal.epoch, 3)
        seqs = out.started(4)
        assert take(events, 4) == seqs
        assert events.state == state


def test_another_journal_is_begun_from_its_first_event(tmp_path, out):
    out.started(5)
    with Subscriber(out.endpoint, since=3, epoch="of an earlier journal") as events:
        assert take(events, 5) == [1, 2, 3, 4, 5]
    with Subscriber(out.endpoint, since=999) as events:
        assert take(events, 5) == [1, 2, 3, 4, 5]


def test_asyncio_gets_the_same(out):
    seqs = out.started(1200)

    async def listen() -> list[int]:
        seen = []
        async with AsyncSubscriber(out.endpoint, since=0, timeout_s=60) as events:
            first = asyncio.create_task(events.receive(60))
            await asyncio.sleep(0)
            first.cancel()  # loses nothing
            async for message in events:
                seen.append(message.event.seq)
                if len(seen) == 1000:
                    seqs.extend(out.started(5))
                if len(seen) == 1205:
                    break
            assert await events.receive(0.01) is None
            assert events.gaps == 0
        async with AsyncSubscriber(out.endpoint, since="snapshot") as events:
            state = await events.snapshot()
            assert state is not None
            assert state.seq == 1205
        return seen

    assert asyncio.run(listen()) == seqs


def test_heartbeats_that_are_kept_no_longer_are_no_gap(out):
    out.beats(50)
    seqs = out.started(3)
    with out.journal.transaction() as connection:
        assert prune(connection, time.time_ns()) == 50
    with Subscriber(out.endpoint, since=0) as events:
        assert take(events, 3) == seqs
        assert events.gaps == 0
    assert out.beats() == [54], "numbers go on"


def test_attachments_come_again(out):
    (out.out / "a.png").write_bytes(b"picture")
    plot = PlotDrawn(name="a", path="a.png", sha256=hashlib.sha256(b"picture").hexdigest(), size=7)
    out.journal.append([draft(plot), draft(plot.model_copy(update={"path": "gone.png"}))])
    with Subscriber(out.endpoint, ["plot/"], since=0) as events:
        first, second = events.receive(60), events.receive(60)
    assert first is not None
    assert first.attachments == (b"picture",)
    assert first.replayed
    assert second is not None
    assert second.attachments == ()


def test_the_picture_of_an_earlier_revision_is_its_own(out):
    plots = [PlotDrawn(name="a", path="a.png", sha256=hashlib.sha256(text).hexdigest(), size=3) for text in (b"old", b"new", b"gone")]
    (out.out / "a.rev0.png").write_bytes(b"old")  # as it is kept when the next revision is drawn
    (out.out / "a.png").write_bytes(b"new")
    out.journal.append([draft(plot, revision=n) for n, plot in enumerate(plots)])
    with Subscriber(out.endpoint, ["plot/"], since=0) as events:
        assert [(m.attachments if m else None) for m in (events.receive(60) for _ in plots)] == [(b"old",), (b"new",), ()]


def test_without_a_replay_socket_gaps_are_counted(tmp_path):
    with publisher(tmp_path, replay="") as out, Subscriber(out.endpoint, replay="") as events:
        assert wait_for(lambda: out.beats() and events.receive(0.1) is not None)
        while events.receive(0.2) is not None:
            pass
        out.stop()
        lost = out.started(7)
        out.journal.advance("zmq", lost[-1])
        out.start()
        assert wait_for(lambda: out.beats() and events.receive(0.1) is not None)
        assert events.gaps >= 7
    with pytest.raises(BadConfig, match="needs the replay socket"):
        Subscriber(out.endpoint, replay="", since=0)
    with pytest.raises(Transient, match="does not tell the state"):
        fetch_state(f"ipc://{tmp_path}/nobody", timeout_s=0.05)


# ---- what the replay socket answers


@pytest.fixture
def replay(out):
    made = Replay(out.out)
    yield made
    made.close()


def ask(replay: Replay, **request) -> tuple[dict, list[dict]]:
    head, *events = replay(json.dumps({"ask": "events", **request}).encode(), "")
    return json.loads(head), [json.loads(e) for e in events]


def test_answers_have_what_was_asked_for_and_say_how_far_they_go(out, replay):
    out.started(4)
    out.beats(3)
    out.started(3)
    head, events = ask(replay, after=2, until=8, kinds=["started"], id=7)
    assert [e["seq"] for e in events] == [3, 4, 8]
    assert (head["id"], head["through"], head["last"], head["epoch"]) == (7, 8, 10, out.journal.epoch)
    head, events = ask(replay, after=0, limit=2)
    assert (head["through"], len(events)) == (2, 2)
    head, events = ask(replay, after=4, until=6, kinds=["started"])
    assert (head["through"], events) == (6, [])
    head, events = ask(replay, epoch="other", after=4)
    assert (head["epoch"], head["through"], events) == (out.journal.epoch, 0, [])


def test_the_text_of_a_replayed_event_is_that_of_the_journal(out, replay):
    out.started(1)
    _, events = ask(replay)
    assert events == [json.loads(e.model_dump_json()) for e in out.journal.events()]


def test_an_answer_ends_at_about_a_megabyte(out, replay):
    big = draft(Heartbeat(waiting=0, running=0, done=0, failed=0, sinks={"x" * 50_000: 1}))
    out.journal.append([big] * 60)
    head, events = ask(replay)
    assert 20 <= len(events) <= 22
    assert head["through"] == len(events)


GARBAGE = [b"", b"\x00\xff", b"{}", b"null", b"[" * 5000, b'{"ask":"events","after":-1}', b'{"ask":"events","after":1e400}', b'{"ask":"events","limit":100000}', b'{"ask":"shell"}', b'{"ask":"events","after":99999999999999999999999}']  # fmt: skip


@pytest.mark.parametrize("body", GARBAGE)
def test_garbage_is_answered_with_what_is_wrong(replay, body):
    (answer,) = replay(body, "")
    assert json.loads(answer)["error"] == "BadData"
    assert "ask" in json.loads(answer)["what_next"]


def test_no_request_breaks_it(replay):
    @settings(max_examples=60, deadline=None, derandomize=True)
    @given(st.one_of(st.binary(max_size=300), st.recursive(st.none() | st.integers() | st.text(), lambda x: st.dictionaries(st.sampled_from(["ask", "after", "kinds", "id"]), x)).map(lambda x: json.dumps(x).encode())))
    def check(body: bytes) -> None:
        assert json.loads(replay(body, "")[0])

    check()


def test_one_that_asks_and_does_not_read_or_sends_garbage_hinders_nobody(out):
    out.started(3000)
    where = replay_endpoint(out.endpoint)
    with raw_socket(zmq.DEALER, where, kept=1) as greedy, raw_socket(zmq.DEALER, where) as vandal:
        for _ in range(100):
            greedy.send(b'{"ask": "events"}')
            vandal.send_multipart([b"x"] * 20)
            vandal.send(b"\xff" * 100)
        assert fetch_state(where, timeout_s=60).seq == 3000
        with Subscriber(out.endpoint, since=2990) as events:
            assert take(events, 10) == list(range(2991, 3001))


# ---- the order, by itself


def answer(order: Order, seqs: list[int], through: int, last: int) -> list[int]:
    head = EventsAnswer(epoch="e", through=through, last=last)
    return [m.event.seq for m in order.answered(Batch(head=head, messages=tuple(live(s, kind="qa") for s in seqs)))]


def live(seq: int, kind: str = "qa", **fields) -> Message:
    from quicklook.core.events import Event

    return Message(event=Event(kind=kind, payload={"name": "n"}, part="r0", epoch="e", seq=seq, time=1), **fields)


def test_the_order_asks_for_exactly_what_may_be_missing():
    order = Order(["qa/"], "now")
    assert order.request(live(10, since=1, before={"qa": 9})) is None  # the first one: it begins here
    assert order.take(live(10))
    assert order.request(live(15, since=1, before={"qa": 10, "step": 14})) is None, "nothing wanted was between"
    request = order.request(live(15, since=1, before={"qa": 12, "step": 14}))
    assert isinstance(request, EventsRequest)
    assert (request.after, request.until, request.kinds) == (10, 12, ["qa"])
    assert answer(order, [11, 12], 12, 15) == [11, 12]
    assert order.request(live(15, since=1, before={"qa": 12})) is None
    assert order.take(live(15))
    assert not order.take(live(15)), "once"
    assert order.request(live(20, since=19, before={})) is not None, "a publisher that has just begun does not know what was before"


@pytest.mark.parametrize("since", ["later", -1, 2**64])
def test_a_start_that_is_none_is_refused(since):
    with pytest.raises(BadConfig, match="since="):
        Order([""], since)
