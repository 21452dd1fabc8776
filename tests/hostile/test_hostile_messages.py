"""Messages that no daemon has sent: BadData and nothing else, and a subscriber goes on with the next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import zmq
from corpus import GOOD_FRAMES, hostile_frames
from hypothesis import given, settings
from hypothesis import strategies as st

from quicklook.client import Subscriber, decode
from quicklook.core.errors import BadConfig, BadData


def test_the_good_message_is_good() -> None:
    message = decode(GOOD_FRAMES)
    assert (message.event.topic, message.event.seq, message.attachments) == ("verdict/r0/-", 1, (b"attachment",))


@pytest.mark.parametrize("frames", [pytest.param(f, id=n) for n, f in hostile_frames().items()])
def test_frames_that_are_no_message(frames: list[bytes]) -> None:
    with pytest.raises(BadData, match="message|event"):
        decode(frames)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=4))
def test_any_frames(frames: list[bytes]) -> None:
    with pytest.raises(BadData):
        decode(frames)


@settings(max_examples=500, deadline=None)
@given(at=st.integers(0, len(GOOD_FRAMES[1]) - 1), byte=st.integers(0, 255))
def test_one_byte_that_was_changed(at: int, byte: int) -> None:
    """BadData, or a message that says what is written there."""
    body = bytearray(GOOD_FRAMES[1])
    body[at] = byte
    try:
        message = decode([GOOD_FRAMES[0], bytes(body)])
    except BadData:
        return
    said = json.loads(body)
    assert {k: v for k, v in message.event.model_dump(mode="json").items() if k in said} == said
    assert message.attachments == ()


def test_a_subscriber_goes_on_after_garbage(tmp_path: Path) -> None:
    endpoint = f"ipc://{tmp_path}/events"
    with zmq.Context() as context, context.socket(zmq.XPUB) as publisher, Subscriber(endpoint) as events:
        publisher.setsockopt(zmq.LINGER, 0)
        publisher.bind(endpoint)
        assert publisher.poll(60_000), "the subscriber did not connect"
        publisher.recv()
        for frames in hostile_frames().values():
            if frames:
                publisher.send_multipart(frames)
        publisher.send_multipart(GOOD_FRAMES)
        message = events.receive(60)
        assert message is not None
        assert message.event.seq == 1
        assert events.receive(0.05) is None
        assert events.gaps == 0


@pytest.mark.parametrize("endpoint", ["", "nonsense", "tcp://", "tcp://127.0.0.1", "http://127.0.0.1:80", "tcp://127.0.0.1:port"])
def test_an_address_that_is_none(endpoint: str) -> None:
    with pytest.raises(BadConfig, match="is no address") as caught:
        Subscriber(endpoint)
    assert caught.value.what_next == "Write tcp://HOST:PORT."
