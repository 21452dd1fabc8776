"""What is published, who may listen, and that one who stalls or sends garbage costs the others nothing."""

from __future__ import annotations

import json
import os
import socket as tcp
import threading
import time
from contextlib import suppress

import pytest
import zmq
from wire_tools import in_thread, publisher, raw_socket, take, wait_for
from zmq.auth import load_certificate

from quicklook.client import ClientKeys, Subscriber
from quicklook.core.errors import BadConfig, Transient
from quicklook.core.wire import Published, replay_endpoint
from quicklook.io.curvekeys import new_client, new_server, read_pair
from quicklook.service.publishing.doors import Door, check_endpoint
from quicklook.service.publishing.sinks import make_sink


@pytest.fixture
def keys(tmp_path):
    new_server(tmp_path / "keys")
    return tmp_path / "keys"


def test_an_event_says_what_was_before_it(tmp_path):
    with publisher(tmp_path) as out, raw_socket(zmq.SUB, out.endpoint) as listener:
        listener.setsockopt(zmq.SUBSCRIBE, b"")
        assert wait_for(lambda: out.beats() and listener.poll(100))
        first = Published.model_validate_json(listener.recv_multipart()[1])
        seq = out.started(2)
        told = [Published.model_validate_json(listener.recv_multipart()[1]) for _ in range(seq[-1] - first.seq)][-1]
        assert told.seq == seq[1]
        assert told.since is not None
        assert told.before is not None
        assert (told.since <= first.seq, told.before["started"]) == (True, seq[0])
        assert told.event() == out.journal.events(seq[0])[0]


def test_only_clients_with_keys_get_in_and_what_they_get_is_encrypted(tmp_path, keys):
    handed = new_client(keys, "guest", commands=False)
    with publisher(tmp_path, "tcp://127.0.0.1:*", keys=str(keys)) as out:
        publish_at, replay_at = out.sink.endpoints
        good = ClientKeys.load(handed)
        other = new_server(tmp_path / "elsewhere") or new_client(tmp_path / "elsewhere", "spy", commands=True)
        spy = ClientKeys(own=read_pair(other / "client.key_secret"), server=good.server)
        seqs = out.started(5)
        with Subscriber(publish_at, replay=replay_at, since=0, keys=good) as guest:
            assert take(guest, 5, beat=out.beats) == seqs
            for wrong in (spy, None):
                with Subscriber(publish_at, replay=replay_at, since=0, keys=wrong) as stranger:
                    out.beats()
                    assert stranger.receive(0.4) is None
            seqs = out.started(2)
            assert take(guest, 2, beat=out.beats) == seqs


@pytest.mark.parametrize("endpoint", ["tcp://0.0.0.0:5556", "tcp://*:5556", "tcp://10.0.0.1:5556", "tcp://host.example:5556", "tcp://[::]:5556"])
def test_off_the_loopback_keys_are_needed(endpoint, keys):
    with pytest.raises(BadConfig, match="quicklook keys new FOLDER"):
        make_sink("zmq", {"endpoint": endpoint})
    with pytest.raises(BadConfig, match="quicklook keys new FOLDER"):
        make_sink("zmq", {"endpoint": "tcp://127.0.0.1:1", "replay": endpoint})
    make_sink("zmq", {"endpoint": endpoint, "keys": str(keys)})


def test_keys_that_others_can_read_or_that_are_none_are_refused(keys, tmp_path):
    (keys / "server.key_secret").chmod(0o640)
    with pytest.raises(BadConfig, match="chmod 600"):
        check_endpoint("tcp://*:1", str(keys))
    with pytest.raises(BadConfig, match="cannot be read as a key"):
        check_endpoint("tcp://*:1", str(tmp_path / "nowhere"))
    (keys / "server.key_secret").chmod(0o600)
    (keys / "server.key_secret").write_text("nonsense")
    with pytest.raises(BadConfig, match="no secret key"):
        check_endpoint("tcp://*:1", str(keys))


def test_keys_on_disk_are_for_their_owner_and_are_not_written_over(keys):
    handed = new_client(keys, "guest", commands=False)
    assert keys.stat().st_mode & 0o777 == 0o700
    for path in (keys / "server.key_secret", handed / "client.key_secret"):
        assert path.stat().st_mode & 0o777 == 0o600
    with pytest.raises(BadConfig, match="there already"):
        new_server(keys)
    with pytest.raises(BadConfig, match="there already"):
        new_client(keys, "guest", commands=False)
    for name in ("", "../x", "a/b", "x" * 65):
        with pytest.raises(BadConfig, match="name of a client"):
            new_client(keys, name, commands=False)
    assert load_certificate(handed / "client.key_secret")[1] is not None, "pyzmq reads them too"


@pytest.mark.parametrize(("endpoint", "replay"), [("tcp://127.0.0.1:5556", "tcp://127.0.0.1:5557"), ("ipc:///tmp/x", "ipc:///tmp/x.replay"), ("tcp://127.0.0.1:*", "tcp://127.0.0.1:*"), ("tcp://[::1]:7", "tcp://[::1]:8")])  # fmt: skip
def test_where_the_replay_socket_is(endpoint, replay):
    assert replay_endpoint(endpoint) == replay


def test_the_socket_of_another_daemon_is_not_taken_away(tmp_path, monkeypatch):
    monkeypatch.setattr("quicklook.service.publishing.doors._CLOSING_S", 0.2)
    with publisher(tmp_path) as out, pytest.raises(Transient, match="in use"):
        Door("", ()).socket(zmq.PUB, out.endpoint, high_water_mark=1)
    door = Door("", ())
    with tcp.socket(tcp.AF_UNIX) as killed:  # what a killed daemon leaves behind is in nobody's way
        killed.bind(f"{tmp_path}/left")
    for _ in range(2):  # nor is what was closed a moment ago
        door.socket(zmq.PUB, f"ipc://{tmp_path}/left", high_water_mark=1).close(0)


def test_there_is_no_port_after_the_last_one():
    with pytest.raises(BadConfig, match="no port after it"):
        replay_endpoint("tcp://127.0.0.1:65535")


# ---- those who disturb


def latencies_ms(out, events: Subscriber, n: int) -> list[float]:
    """From the journal to a subscriber: milliseconds of `n` events, one after the other."""
    took = []
    for _ in range(n):
        (seq,) = out.started()
        while (message := events.receive(60)) is not None and message.event.seq != seq:
            pass
        assert message is not None, "an event has not come"
        took.append((time.time_ns() - message.event.time) / 1e6)
        time.sleep(0.005)
    return sorted(took)


def tcp_port(endpoint: str) -> int:
    return int(endpoint.rpartition(":")[2])


def stalled(endpoint: str) -> zmq.Socket[bytes]:
    """A subscriber to everything that never reads."""
    made = zmq.Context.instance().socket(zmq.SUB)
    for option, value in ((zmq.LINGER, 0), (zmq.RCVHWM, 1), (zmq.RCVBUF, 4096)):
        made.setsockopt(option, value)
    made.setsockopt(zmq.SUBSCRIBE, b"")
    made.connect(endpoint)
    return made


def disturb(publish_at: str, replay_at: str, stop: list[bool]) -> None:
    """Garbage into both sockets, as ZeroMQ and as bytes; subscriptions without end; answers that nobody reads; connections that come and go."""
    with raw_socket(zmq.XSUB, publish_at, kept=1) as subscriptions, raw_socket(zmq.DEALER, replay_at, kept=1) as asker:
        while not stop:
            with suppress(zmq.Again):
                for n in range(20):
                    subscriptions.send(os.urandom(30 + n), zmq.NOBLOCK)
                    asker.send_multipart([os.urandom(20)] * (1 + n % 6), zmq.NOBLOCK)
                asker.send(json.dumps({"ask": "events", "after": 0}).encode(), zmq.NOBLOCK)
            for endpoint in (publish_at, replay_at):
                with tcp.create_connection(("127.0.0.1", tcp_port(endpoint))) as raw:
                    raw.sendall(os.urandom(200))
                with raw_socket(zmq.SUB, endpoint) as again:
                    again.setsockopt(zmq.SUBSCRIBE, b"started/")
            time.sleep(0.01)


def memory_kb() -> int:
    with open("/proc/self/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS"))


def test_who_stalls_or_sends_garbage_is_not_noticed_by_the_others(tmp_path):
    """The wide margin is for a machine that others use: a delay by those who disturb would be seconds, or for ever."""
    with publisher(tmp_path, "tcp://127.0.0.1:*", high_water_mark=100) as out:
        publish_at, replay_at = out.sink.endpoints
        with Subscriber(publish_at, replay=replay_at, since=0) as events:
            latencies_ms(out, events, 3)
            alone = latencies_ms(out, events, 15)
            sleeper, stop = stalled(publish_at), []
            noise = in_thread(lambda: disturb(publish_at, replay_at, stop))
            try:
                out.started(1000)
                assert len(take(events, 1000, beat=out.beats)) == 1000
                disturbed = latencies_ms(out, events, 15)
            finally:
                stop.append(True)
                noise.join(20)
                sleeper.close()
            assert events.gaps == 0
    assert disturbed[7] < 10 * alone[7] + 300


def subscribe_by_hand(port: int, topics: int, size: int, until: threading.Event) -> None:
    """As a subscriber that keeps no list of its own: the greeting of ZMTP 3.0, READY, then subscriptions; it stays, unless it is cut off."""
    ready = b"\x05READY" + b"\x0bSocket-Type" + (3).to_bytes(4, "big") + b"SUB"
    with tcp.create_connection(("127.0.0.1", port)) as raw, suppress(OSError):
        raw.sendall(b"\xff" + bytes(8) + b"\x7f\x03\x00" + b"NULL".ljust(20, b"\0") + bytes(32))
        raw.sendall(b"\x04" + bytes([len(ready)]) + ready)
        for _ in range(topics):
            raw.sendall(b"\x02" + (size + 1).to_bytes(8, "big") + b"\x01" + os.urandom(size))
        until.wait(20)


def test_huge_subscriptions_cost_their_sender_the_connection_and_nobody_else(tmp_path):
    """Each byte of a subscription costs the publisher about 50: these 12 MB would be 600."""
    with publisher(tmp_path, "tcp://127.0.0.1:*") as out:
        publish_at, replay_at = out.sink.endpoints
        with Subscriber(publish_at, ["started/"], replay=replay_at, since=0) as events:
            assert take(events, len(out.started(3)), beat=out.beats)
            before = memory_kb()
            stop = threading.Event()
            noise = in_thread(lambda: subscribe_by_hand(tcp_port(publish_at), 200, 60_000, stop))
            assert len(take(events, len(out.started(500)), beat=out.beats)) == 500
            grown = memory_kb() - before
            stop.set()
            noise.join(20)
            assert grown < 100_000


def test_requests_without_end_are_not_kept(tmp_path):
    """Ten clients ask faster than they are answered; 100 MB of requests were kept for them."""
    context = zmq.Context()
    with publisher(tmp_path, "tcp://127.0.0.1:*") as out:
        askers = [context.socket(zmq.DEALER) for _ in range(10)]
        for asker in askers:
            asker.setsockopt(zmq.SNDHWM, 1)
            asker.setsockopt(zmq.LINGER, 0)
            asker.connect(out.sink.endpoints[1])
        before, request = memory_kb(), b'{"ask": "events", "kinds": ["' + b"x" * 60_000 + b'"]}'
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            for asker in askers:
                with suppress(zmq.Again):
                    asker.send(request, zmq.NOBLOCK)
        grown = memory_kb() - before
        context.destroy(linger=0)
    assert grown < 40_000


@pytest.mark.long
def test_the_others_are_as_fast_as_before_and_memory_stays(tmp_path):
    """The same for longer, with numbers (medians of 300 events), and a subscriber that stalls while 60 MB are published."""
    with publisher(tmp_path, "tcp://127.0.0.1:*", high_water_mark=200) as out:
        publish_at, replay_at = out.sink.endpoints
        with Subscriber(publish_at, replay=replay_at, since=0) as events:
            latencies_ms(out, events, 20)
            alone = latencies_ms(out, events, 300)
            sleeper, stop = stalled(publish_at), []
            noise = in_thread(lambda: disturb(publish_at, replay_at, stop))
            memory = []
            try:
                for _ in range(100):
                    memory.append(memory_kb() / 1000)
                    assert len(take(events, len(out.started(1000)), beat=out.beats)) == 1000
                disturbed = latencies_ms(out, events, 300)
            finally:
                stop.append(True)
                noise.join(20)
                sleeper.close()
            assert events.gaps == 0
    print(f"median {alone[150]:.1f} ms alone, {disturbed[150]:.1f} ms disturbed; 95 % {alone[285]:.1f}, {disturbed[285]:.1f} ms; memory {memory[0]:.0f} {memory[50]:.0f} {memory[-1]:.0f} MB")
    assert disturbed[150] < 3 * alone[150] + 50
    # what is kept for the one that stalls is soon full; the second half of the 60 MB stays nowhere
    assert memory[-1] - memory[50] < 20
