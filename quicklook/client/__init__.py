"""What a listener imports: subscribe to the events of a daemon, and get what was missed by itself.

    from quicklook.client import Subscriber

    with Subscriber(topics=["verdict/"], since="snapshot") as events:
        for message in events:
            print(message.event.unit, message.event.payload["status"])

`AsyncSubscriber` is the same for asyncio. `Controller` gives commands.
"""

from __future__ import annotations

from quicklook.client.aio import AsyncSubscriber
from quicklook.client.control import Controller, fetch_state
from quicklook.client.messages import DEFAULT_ENDPOINT, Message, decode
from quicklook.client.subscriber import Subscriber
from quicklook.core.wire import State
from quicklook.io.curvekeys import ClientKeys

__all__ = ["DEFAULT_ENDPOINT", "AsyncSubscriber", "ClientKeys", "Controller", "Message", "State", "Subscriber", "decode", "fetch_state"]
